"""Run the command `train`, from its options to a trained run.

The command line and `drybeam` both call this module.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from schemas.manifest import read_manifest
from schemas.runtime.destinations import output_path
from schemas.runtime.errors import UserError
from schemas.runtime.settings import load_recipe, make_settings, recipe_name
from schemas.target_kinds import target_kind
from schemas.task import Field, Task
from training import losses
from training.class_losses import CLASS_TERMS
from training.contract import Learn, find_learn, find_model
from training.pretrained import MODEL_SETTINGS, open_start, read_recipe, recipe_from_model
from training.recipe import Recipe, recipe_type, target_names

if TYPE_CHECKING:
    from training.checkpoints import Memory
    from training.run import Run


@dataclass(frozen=True)
class Options:
    """Options of the command `train`; `train --help` describes each of them."""

    data: Path | None = None
    model: str | None = None
    recipe: str | None = None
    start: Path | None = None
    target: str | None = None
    input: str | None = None
    samples: str | None = None
    epochs: int | str | None = None
    batch_size: int | str | None = None
    optimizer: str | None = None
    learning_rate: float | str | None = None
    seed: int | str | None = None
    set: Sequence[str] = ()
    out: Path | None = None
    overwrite: bool = False
    mode: Literal["auto", "resident", "stream"] = "auto"
    keep_every: int | None = None
    coordinator: str | None = None
    processes: int | None = None
    process: int | None = None


OPTION_SETTINGS = {  # options that are short forms of a setting of the recipe
    "target": "target",
    "input": "input",
    "samples": "samples",
    "epochs": "epochs",
    "batch_size": "batch_size",
    "optimizer": "optimizer.name",
    "learning_rate": "optimizer.learning_rate",
    "seed": "seed",
}


@dataclass(frozen=True)
class TrainedRun:
    """A finished training run."""

    out: Path  # the folder of the run
    memory: "Memory"  # stored with the last checkpoint: history, best step, seconds
    first: bool  # True in the first process, which alone prints the result


def train(options: Options) -> TrainedRun:
    """Train a network on a dataset, or continue a run that was interrupted.

    Args:
        options: as on the command line; `data` is required.

    Returns:
        The finished run.

    Raises:
        UserError: an option is missing, or does not suit the dataset or the run in the output folder.
        Interrupted: the disk is full, or the run was asked to stop; the same call resumes.
    """
    if options.data is None:
        raise UserError("--data is missing: name the dataset, for example --data tie.zarr")
    if options.keep_every is not None and options.keep_every < 1:
        raise UserError(f"--keep-every {options.keep_every}: must be at least 1")
    import jax

    from training import devices
    from training.loop import train

    if jax.config.jax_enable_x64:  # checkpoints and weights have 32 bits
        raise UserError("jax_enable_x64 is on in this process, but networks are trained with 32 bits; switch it off")

    devices.connect(options.coordinator, options.processes, options.process)
    run = devices.in_all_processes(lambda: _prepare_run(options))
    return TrainedRun(run.out, train(run, overwrite=options.overwrite), devices.is_first_process())


def _prepare_run(options: Options) -> "Run":
    """Return the run that the options ask for, with everything checked before training begins."""
    from training.run import prepare

    assert options.data is not None
    task = read_manifest(options.data).task
    recipe = choose_recipe(options, task)
    out = options.out or Path("runs") / "-".join([task.name, *recipe.targets, recipe.network])
    if options.start and out.resolve() in (options.start.resolve(), options.start.resolve().parent):
        raise UserError(f"--from {options.start}: lies in {out}, the folder of the new run; give another --out")
    start = open_start(options.start) if options.start else None
    place = output_path("--out", out)
    if not _is_text(place):
        raise UserError(f"--out {out}: the library of checkpoints needs a path in UTF-8; choose another place")
    return prepare(options.data, place, recipe, start, mode=options.mode, keep_every=options.keep_every)


def _is_text(path: Path) -> bool:
    """Return True if a path is text in UTF-8; on disk, names may hold any bytes."""
    try:
        str(path.absolute()).encode()
    except UnicodeEncodeError:
        return False
    return True


def choose_recipe(options: Options, task: Task | None) -> Recipe:
    """Return the recipe that the options ask for.

    A named recipe or a file comes first. Options and `--set` then change single settings of it. With `--from`, the
    settings that belong to the model are taken from that model.

    Args:
        options: as on the command line.
        task: task of the dataset; None if no dataset is given.

    Returns:
        The complete recipe.

    Raises:
        UserError: a setting or a name is unknown, has a wrong value, or contradicts the model of `--from`.
    """
    learn = find_learn(task.name) if task else None
    target = options.target or ((read_recipe(options.start).target or None) if options.start else None)
    base = dict(_base_settings(options, task, target))
    inner = base.pop("model", {})
    if not isinstance(inner, dict):
        raise UserError(f'recipe: model = {inner!r}: must be an object of settings, such as {{"name": "unet"}}')
    inner = dict(inner)
    default = inner.pop("name", None)
    model = options.model or default
    if inner and model == default:
        base["model"] = inner
    given = {key: target if name == "target" else getattr(options, name) for name, key in OPTION_SETTINGS.items()}
    settings = [*(f"{key}={value}" for key, value in given.items() if value is not None), *options.set]
    if options.start:
        asked = base if options.recipe else {key: value for key, value in base.items() if key not in MODEL_SETTINGS}
        named = model if options.model or options.recipe else None
        return recipe_from_model(options.start, named, asked, settings, learn)
    model = model or ("convnet" if target and _are_numbers(task, target) else "unet")
    return make_settings(recipe_type(model, find_model(model), learn), base, settings)


def _base_settings(options: Options, task: Task | None, target: str | None) -> Mapping[str, Any]:
    learn = find_learn(task.name) if task else None
    recipes: Mapping[str, Mapping[str, Any]] = learn.recipes if learn else {"default": {}}
    name = recipe_name(options.recipe or "default", recipes)
    base = recipes[name] if name in recipes else load_recipe(name, recipes)
    if task is None or learn is None or (name not in recipes and "loss" in base):
        return base
    return _adapt_to_targets(base, task, learn, target)


def _learned_fields(task: Task, target: str | None) -> list[Field]:
    """Return the fields to learn. Names that the task does not know are left out; they are refused later."""
    if not target:
        return list(task.of("target"))
    return [field for field in task.fields if field.name in target_names(target)]


def _are_numbers(task: Task | None, target: str) -> bool:
    return task is None or not any(task.spatial(field) for field in _learned_fields(task, target))


def _adapt_to_targets(base: Mapping[str, Any], task: Task, learn: Learn, target: str | None) -> Mapping[str, Any]:
    """Return a recipe whose network and losses suit the fields to learn.

    Losses that cannot compare these fields are left out, and fields that no loss compares get the usual one of their
    kind. The losses that a task defines itself compare all of its targets together.
    """
    fields, own = _learned_fields(task, target), () if target else tuple(learn.losses)
    if not fields or (not target and not any(field.classes for field in fields)):
        return base
    if target:
        unsuited_settings = {"head", *_settings_for_images(base, task, target)}
        scalars = [name for name in base.get("scalars", ()) if name not in target_names(target)]
        base = {name: value for name, value in base.items() if name not in unsuited_settings}
        base = {**base, "scalars": scalars, "best": "loss"}
    compared = [losses.general_terms(field, fields) for field in fields]
    unsuited = {*losses.VALUE_TERMS, *CLASS_TERMS}.difference(*compared) | (set(learn.losses) - set(own))
    loss = {name: weight for name, weight in base.get("loss", {}).items() if name not in unsuited}
    lacking = [
        field
        for field, terms in zip(fields, compared, strict=True)
        if not any(loss.get(name) for name in (*terms, *own))
    ]
    usual = {losses.USUAL_TERMS[target_kind(task, field)]: 1 for field in lacking}
    return {**base, "loss": {"relative": 0, **loss, **usual}}


def _settings_for_images(base: Mapping[str, Any], task: Task, target: str) -> list[str]:
    """Return the settings of a recipe that suit only images, if the targets are numbers."""
    if not _are_numbers(task, target):
        return []
    network = base.get("model", {}).get("name")
    return ["loss", *(["model"] if network and find_model(network).FIT != "any" else [])]
