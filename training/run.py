"""Prepare a run before anything is compiled: dataset, recipe, features and folder.

If they do not fit together, the run is refused here.
"""

import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path
from typing import Any

import jax
import numpy as np

from schemas.digest import canonical_json
from schemas.manifest import Manifest, read_manifest
from schemas.runtime import destinations
from schemas.runtime.documents import parse_json
from schemas.runtime.errors import Interrupted, UserError, suggestion
from schemas.runtime.hashes import sha256
from schemas.runtime.locks import claimed, writable
from schemas.runtime.machine import instructions, processor
from schemas.runtime.publish import (
    REMOVED_MARK,
    REPLACED_MARK,
    entries,
    exists,
    publish,
    read,
    set_aside,
    set_aside_folders,
    sweep,
    sweep_removed,
)
from schemas.task import Task, find_task
from training.class_weights import balanced_weights
from training.contract import fields_read, find_learn, find_model
from training.crop import Crop, plan_crop
from training.dataset_moments import moments_of, read_column, read_samples
from training.export.predictor import Predictor
from training.features import Features
from training.loss_problems import loss_problems
from training.model_building import features_of
from training.recipe import Recipe

MODEL_FOLDERS = {"best", ".best.new", ".best.old"}
REPORT_FILES = {"metrics.jsonl", "metrics.csv", "curves.png", "tensorboard"}
WRITTEN_NAMES = {  # names that may stand in the folders that are replaced as a whole
    **dict.fromkeys(sorted(MODEL_FOLDERS), r"model\.safetensors|model\.json|README\.md"),
    "tensorboard": r"events\.out\.tfevents\..*",
    "checkpoints": r"\d+(\..*)?|_.*",
    "damaged": r"\d.*",
}
RUN_NAMES = {"run.json", "checkpoints", "damaged"} | MODEL_FOLDERS | REPORT_FILES  # all that a run's folder may hold
CHECKED_PIXELS = 16  # number of pixels whose projections are checked
MAX_ROUNDING = 1e-5  # relative rounding error that is allowed in these projections
VERSION = 1  # raised when the same recipe would lead to another result


@dataclass(frozen=True)
class Run:
    """A training run: the data, the recipe, and the folder where it is kept."""

    data: Path
    out: Path
    manifest: Manifest
    recipe: Recipe
    features: Features
    ranges: Mapping[str, list[tuple[float, float]]]  # range of each value of the task's scalars in the training samples
    crop: Crop | None = None  # plan for cutting training samples into parts
    mode: str = "auto"
    keep_every: int | None = None
    start: Predictor | None = None  # the model whose parameters it starts from; None: parameters drawn by the seed

    @property
    def identity(self) -> dict[str, Any]:
        """Everything on which the result of the run depends."""
        manifest = self.manifest
        data = {"task": manifest.task.name, "schema": manifest.task.version, "digest": manifest.root_digest}
        known = {"version": VERSION, "data": data, "recipe": self.recipe.model_dump(mode="json")}
        return known if self.start is None else known | {"from": _start_identity(self.start)}

    @property
    def digest(self) -> str:
        """The sha256 of the identity under which the folder was begun, perhaps by a program with fewer settings."""
        stored = read(self.out / "run.json")
        return sha256(canonical_json(json.loads(stored) if stored else self.identity))


def _start_identity(start: Predictor) -> dict[str, str]:
    """Return those properties of the model to start from on which the result depends, besides those in the recipe."""
    moments = start.card.model_dump(mode="json", include={"moments"})
    return {"weights_sha256": start.card.weights_sha256, "moments_sha256": sha256(canonical_json(moments))}


def prepare(data: Path, out: Path, recipe: Recipe, start: Predictor | None = None, **options: Any) -> Run:
    """Return the run of a recipe on a dataset, after checking that they suit each other.

    Args:
        data: the dataset.
        out: folder of the run.
        recipe: recipe of the run.
        start: model to start from.
        options: `mode` and `keep_every` of `Run`.

    Raises:
        UserError: the message lists what the dataset lacks for the recipe, or for the model to start from.
    """
    manifest = read_manifest(data)
    if start and (found := start.adapt(manifest.sizes).reasons_to_refuse(manifest.task, manifest.sizes)):
        raise UserError(f"{data}: the model to start from cannot read it: {'; '.join(found)}")
    if not manifest.task.of("target"):
        raise UserError(f"{data}: cannot be used for training: it holds measurements, without targets")
    _refuse_unknown_names(manifest.task, recipe)
    features = features_of(manifest.task, recipe, {}, manifest.sizes)
    recipe = recipe.model_copy(update={"input": features.input, "head": features.head})
    if found := _dataset_problems(manifest, features, recipe):
        raise UserError(f"{data}: cannot be used for training: {'; '.join(found)}")
    try:
        recipe.used_samples(manifest.samples["train"])
    except ValueError as error:
        raise UserError(f"{data}: {error}") from None
    recipe = _balance_classes(data, manifest, features, recipe)
    crop, recipe = _choose_crop(features, recipe)
    unnormalised = recipe.normalisation == "none"
    moments = start.card.moments if start else moments_of(data, manifest, features, unnormalised=unnormalised)
    features = replace(features, moments=moments)
    _refuse_negative_weights(data, manifest, features)
    if crop:
        features = replace(features, task=crop.cut_task, sizes=crop.cut_sizes, cut=True)
    ranges = _parameter_ranges(data, features)
    return Run(data, out, manifest, recipe, features, ranges, crop=crop, start=start, **options)


def _balance_classes(data: Path, manifest: Manifest, features: Features, recipe: Recipe) -> Recipe:
    """Return the recipe with class weights as numbers, which travel with the model."""
    if recipe.loss.classes != "balanced":
        return recipe
    (field,) = (field for field in features.targets if field.classes)
    weights = balanced_weights(data, manifest, field, recipe.used_samples(manifest.samples["train"]))
    return recipe.model_copy(update={"loss": recipe.loss.model_copy(update={"classes": weights})})


def _refuse_negative_weights(data: Path, manifest: Manifest, features: Features) -> None:
    """Raise UserError if the operator has negative weights.

    The weights of CHECKED_PIXELS pixels are checked, with the fields of the first sample.
    """
    if (operator := features.operator) is None:
        return
    task, row = features.task, next(read_samples(data, manifest, operator.fields))
    fields: Any = {name: np.repeat(v[:1], CHECKED_PIXELS, 0) if task[name].per_sample else v for name, v in row.items()}
    shape = features.targets[0].shape(features.sizes)
    places = np.random.default_rng(0).permutation(prod(shape))[:CHECKED_PIXELS]
    images: Any = np.zeros((CHECKED_PIXELS, prod(shape)), np.float32)
    images[range(len(places)), places] = 1
    found = np.asarray(operator.forward(images.reshape(-1, *shape), fields, features.sizes))
    if found.min() < -MAX_ROUNDING * abs(found).max():
        raise UserError(
            f"LEARN.operator of {task.name} has negative weights ({found.min():.2g}), but a network with physics "
            "inside divides by their sums, so there must be none; take another --model"
        )


def _choose_crop(features: Features, recipe: Recipe) -> tuple[Crop | None, Recipe]:
    """Return the plan for cutting samples, and the recipe with that length. If the recipe gives none, the task does."""
    asked = "crop" in recipe.model_fields_set
    if not (length := recipe.crop if asked else features.learn.crop):
        return None, recipe
    whole = find_model(recipe.network).FIT in ("any", "operator")
    crop = plan_crop(features, length, whole=whole, asked=asked)
    return crop, recipe if asked or not crop else recipe.model_copy(update={"crop": max(crop.lengths.values())})


def _refuse_unknown_names(task: Task, recipe: Recipe) -> None:
    """Raise UserError if the recipe has a name that the task does not know."""
    learn = find_learn(task.name)
    named = {
        "--input": ((recipe.input,), learn.inputs),
        "head =": ((recipe.head,), () if recipe.target else learn.heads),
        "scalars =": (recipe.scalars, learn.scalar_parts),
        "--target": (recipe.targets, _learnable_fields(task)),
    }
    for option, (names, known) in named.items():
        if unknown := [name for name in names if name and name not in known]:
            if option == "--target" and unknown[0] in {field.name for field in find_task(task.name).of("target")}:
                raise UserError(
                    f"{option} {unknown[0]}: the dataset does not hold it; generate can store it (generate --task "
                    f"{task.name} --describe)"
                )
            raise UserError(f"{option} {unknown[0]}: unknown to {task.name}{suggestion(unknown[0], known)}")
    if told := [name for name in recipe.targets if name in recipe.scalars]:
        raise UserError(f"--target {told[0]}: is also in scalars, which the network receives; remove it there")
    if len({task.spatial(task[name]) for name in recipe.targets}) > 1:
        raise UserError(f"--target {recipe.target}: must not name images beside numbers; train two networks")


def _learnable_fields(task: Task) -> list[str]:
    """Return the targets, and the parameters that lie on no grid and of which each slice has its own value."""
    fields = (field for field in task.of("parameter") if not task.spatial(field))
    parameters = [field.name for field in fields if set(task.slices) <= set(field.dims)]
    return [*(field.name for field in task.of("target")), *parameters]


def _parameter_ranges(data: Path, features: Features) -> dict[str, list[tuple[float, float]]]:
    """Return the smallest and largest value of each parameter that makes a scalar, or belongs to the input.

    If a parameter has several values per sample or slice, each of them has its own range.
    """
    task, found = features.task, {}
    fields = {field.name: field for field in task.fields if not task.spatial(field)}
    read = [name for name in features.reads if name in fields and fields[name].role == "parameter"]
    for name in dict.fromkeys([*fields_read(features.learn.scalar_parts.values()), *read]):
        if name in fields:
            values = read_column(data, name).reshape(-1, prod(fields[name].shape(features.sizes)))
            found[name] = list(zip(values.min(0).tolist(), values.max(0).tolist(), strict=True))
    return found


def _dataset_problems(manifest: Manifest, features: Features, recipe: Recipe) -> list[str]:
    """Return a message for each thing that the dataset lacks."""
    found = []
    fields = {field.name: field for field in manifest.task.fields}
    if not manifest.samples.get("train"):
        found.append("it has no training samples")
    if not manifest.samples.get("validation") and (recipe.patience or recipe.schedule.name == "plateau"):
        found.append("it has no validation samples, which patience and schedule.name=plateau need")
    needed = dict.fromkeys([*features.reads, *features.normalised])
    found += [f"field {name} is missing" for name in needed if name not in fields]
    return found + list(loss_problems(features, recipe))


def claim(run: Run, *, overwrite: bool) -> AbstractContextManager[None]:
    """Hold the folder of the run for this process while entered. Nothing in it changes before `begin`.

    Args:
        run: the run.
        overwrite: whether the run that is there may be removed.

    Raises:
        UserError: another run is there (the message shows how it differs), or another process uses the folder.
    """

    def refuse() -> None:
        destinations.refuse_store("--out", run.out)
        _refuse_foreign(run.out, overwrite=overwrite)
        if _holds_network(run.out) and not overwrite:
            _refuse_other_run(run)

    return claimed("--out", run.out, refuse, by="another `train`")


def begin(run: Run, *, overwrite: bool) -> None:
    """Remove the old run if asked, clean up after killed processes, and write the identity of this run.

    The caller has entered `claim`, and knows that the run can begin.

    Args:
        run: the run.
        overwrite: whether to remove the run that is there.

    Raises:
        UserError: the folder holds files that `train` did not write, or cannot be written.
    """
    _refuse_foreign(run.out, overwrite=overwrite)
    with writable("--out", run.out):
        if overwrite:
            set_aside(run.out)
        sweep_removed(run.out)
        sweep(run.out)
        if not _holds_network(run.out):
            publish(run.out / "run.json", json.dumps(run.identity, indent=1).encode())


def refuse_if_changed(run: Run) -> None:
    """Refuse to write a model if the folder has become that of another run, which locks prevent where there are some.

    Args:
        run: the run.

    Raises:
        Interrupted: another `train` has taken the folder meanwhile.
    """
    try:
        _refuse_other_run(run)
    except UserError:
        raise Interrupted(f"{run.out}: changed by another `train` meanwhile; run the same command again") from None


def _refuse_other_run(run: Run) -> None:
    """Raise UserError if the run in the folder differs from this one."""
    path = run.out / "run.json"
    neutral = {"recipe": type(run.recipe)().model_dump(mode="json")}
    stored = parse_json(read(path))
    if stored is None:
        raise UserError(f"{path}: damaged; delete the run's folder, or give --overwrite")
    differences = list(_identity_differences(stored, json.loads(json.dumps(run.identity)), neutral))
    if differences:
        raise UserError(
            f"{run.out}: holds another run ({'; '.join(differences[:4])}); "
            "give another --out, or --overwrite to remove it"
        )


def _refuse_foreign(out: Path, *, overwrite: bool) -> None:
    """Raise UserError unless the folder is empty or holds a run.

    Files that `train` did not write are refused as well, in places that it replaces.
    """
    names = {path.name for path in entries(out)}
    if names and not _is_run(out / "run.json"):
        raise UserError(f"{out}: is not empty, and no run (run.json is missing or not ours); give another --out")
    ours = RUN_NAMES | {
        left.name for word in (REMOVED_MARK, REPLACED_MARK) for left in set_aside_folders(out / "best", word)
    }
    strangers = [*(sorted(names - ours) if overwrite else []), *_foreign_entries(out)]
    if strangers:
        raise UserError(
            f"{out}: holds {strangers[0]}, which `train` did not write; move it away, or give another --out"
        )


def _is_run(path: Path) -> bool:
    found = parse_json(read(path))
    return isinstance(found, dict) and {"version", "data", "recipe"} <= found.keys()


def _foreign_entries(out: Path) -> Iterator[str]:
    """Yield the entries that `train` did not write, in the folders that it replaces."""
    for folder, known in WRITTEN_NAMES.items():
        for path in entries(out / folder):
            if not re.fullmatch(known, path.name):
                yield f"{folder}/{path.name}"


def _holds_network(out: Path) -> bool:
    """Return whether the folder holds a model or a checkpoint, which could be lost."""
    return exists(out / "best") or any(entry.name.isdigit() for entry in entries(out / "checkpoints"))


def _identity_differences(old: Any, new: Any, neutral: Any, name: str = "") -> Iterator[str]:
    """Yield the differences between two identities.

    A setting that only one of them has is ignored if it changes nothing: if it has its default or is 0.
    """
    if not isinstance(old, Mapping) or not isinstance(new, Mapping):
        if old != new:
            yield f"{name.removeprefix('recipe.')} {json.dumps(old)}, now {json.dumps(new)}"
        return
    plain = neutral if isinstance(neutral, Mapping) else {}
    for key in dict.fromkeys([*old, *new]):
        added, removed = key not in old and new[key] == plain.get(key), key not in new and not old[key]
        if not (name.startswith("recipe") and (added or removed)):
            path = f"{name}.{key}".removeprefix(".")
            yield from _identity_differences(old.get(key), new.get(key), plain.get(key), path)


def arithmetic() -> str:
    """Return the settings of JAX and the instruction set of the processor, on which the rounding of weights depends."""
    flags = os.environ.get("XLA_FLAGS", "")
    precision = jax.config.jax_default_matmul_precision or "default"
    return f"matmul {precision}, {flags}{' ' if flags else ''}{instructions()}"


def hardware() -> str:
    """Return the name of the hardware, for people."""
    devices = jax.devices()
    kind = processor() if devices[0].platform == "cpu" else devices[0].device_kind
    return f"{len(devices)} x {kind}" if len(devices) > 1 else kind
