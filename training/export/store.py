"""A trained model as a folder: `model.safetensors`, `model.json` (all that is needed to use it), `README.md`.

The folder can be copied to any place. It holds only data and no pickle: the code of task and model is found by name.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import jax.numpy as jnp
import numpy as np
from safetensors.numpy import load as load_arrays
from safetensors.numpy import save as save_arrays

from schemas.runtime.documents import parse_document, parse_json
from schemas.runtime.errors import UserError
from schemas.runtime.hashes import sha256
from schemas.runtime.publish import (
    MAX_DOCUMENT,
    REPLACED_MARK,
    exists,
    inside,
    is_folder,
    publish_folder,
    read,
    set_aside_folders,
)
from schemas.runtime.terminal import printable
from schemas.task import find_task, task_names
from training import checkpoints
from training.contract import find_learn, model_names, versions
from training.export.card import FORMAT, ModelCard, readme, stored_recipe
from training.export.predictor import Predictor, same_structure, version_numbers
from training.model_building import build_network, features_of
from training.network import Named
from training.recipe import Recipe
from training.steps import best_parameters

PREFIXES = ("parameters", "rest")  # prefixes of the names of arrays in a file


def save(folder: Path, card: ModelCard, parameters: Named, rest: Named) -> None:
    """Write a model in place of the one in a folder. A kill at any time leaves the old one or the new one whole.

    While the new model takes its place, the old one lies beside it; `load_card` looks there.

    Args:
        folder: folder of the model.
        card: its card; the checksum of the weights is filled in.
        parameters: learned arrays by name.
        rest: other arrays by name.
    """
    weights = _encode_arrays(parameters, rest)
    card = card.model_copy(update={"weights_sha256": sha256(weights)})
    files = {"model.json": card.model_dump_json(indent=1), "README.md": printable(readme(card))}
    encoded = ((name, text.encode()) for name, text in files.items())
    publish_folder(folder, [("model.safetensors", weights), *encoded])


def _encode_arrays(parameters: Named, rest: Named) -> bytes:
    arrays = {f"parameters/{k}": np.asarray(v) for k, v in parameters.items()}
    return save_arrays(arrays | {f"rest/{k}": np.asarray(v) for k, v in rest.items()})


def load_card(path: Path) -> tuple[Path, ModelCard]:
    """Read the card of a model.

    Args:
        path: a run, its folder `best`, or a copy of that.

    Returns:
        The folder of the model, and the card.

    Raises:
        UserError: there is no model, or its card is damaged or newer than this program.
    """
    folder = next((f for f in _possible_folders(path) if is_folder(f)), path)
    if folder.parent == path:
        inside(path, folder.name)
    data = read(inside(folder, "model.json"), MAX_DOCUMENT)
    if data is None:
        if exists(path / "run.json"):
            raise UserError(f"{path}: this run has no model yet; continue training, the first evaluation writes one")
        raise UserError(f"{path}: no model here (no model.json); give a run's folder, or its best/")
    return folder, parse_document(ModelCard, parse_json(data), FORMAT, f"{folder}/model.json", "copy the model again")


def _possible_folders(path: Path) -> tuple[Path, ...]:
    """Return the folders where a model may lie.

    These are the folder `best` of a run, a separate folder, or one beside these if a `save` was killed. Older
    programs moved it aside as `.<name>.old`.
    """
    best, absolute = path / "best", path.absolute()
    old = path / ".best.old", absolute.with_name(f".{absolute.name}.old")
    return (
        best,
        *set_aside_folders(best, REPLACED_MARK),
        old[0],
        path,
        *set_aside_folders(absolute, REPLACED_MARK),
        old[1],
    )


def load_model(path: Path) -> Predictor:
    """Load a model, ready to predict.

    Args:
        path: a run, its folder `best`, or a copy of that.

    Raises:
        UserError: the model is missing, damaged, or newer than this program.
    """
    card, weights = load_card_and_weights(path)
    _refuse_unknown(path, card)
    recipe = stored_recipe(path, card)
    _refuse_incomplete(path, card, recipe)
    features = features_of(card.task, recipe, card.moments, card.sizes)
    try:
        network = build_network(recipe, features)
    except (KeyError, TypeError, StopIteration, OverflowError) as error:  # the task or the sizes make no sense
        raise UserError(f"{path}/model.json: damaged ({type(error).__name__}: {error}); copy the model again") from None
    try:
        arrays = load_arrays(weights)
    except Exception as error:  # the sha256 holds, but whoever wrote the model may have written anything
        reason = f"{type(error).__name__}: {error}"[:120]
        raise UserError(f"{path}/model.safetensors: damaged ({reason}); copy the model again") from None
    parameters, rest = (_select(arrays, f"{part}/", like) for part, like in zip(PREFIXES, network.shapes, strict=True))
    if parameters is None or rest is None:
        raise UserError(f"{path}: the weights do not fit the model {card.recipe['model']['name']} of this program")
    return Predictor(card, features, network, parameters, rest)


def load_recipe(path: Path) -> Recipe:
    """Read the recipe of a model from only its card.

    Args:
        path: a run, its folder `best`, or a copy of that.

    Raises:
        UserError: the model is missing, damaged, or newer than this program.
    """
    _, card = load_card(path)
    _refuse_unknown(path, card)
    return stored_recipe(path, card)


def load_checkpoint(run: Path, step: int) -> Predictor:
    """Load the model as it was at a step whose checkpoint was kept.

    Args:
        run: the run.
        step: step of the run.

    Raises:
        UserError: the checkpoint or the model is missing or damaged.
    """
    best = load_model(run)
    folder = load_card(run)[0].parent / "checkpoints"
    state, memory = checkpoints.read_checkpoint(folder, step, best.card.run)
    parameters, rest = best_parameters(state), state["rest"]
    row = next((row for row in memory.history if row["step"] == step), {})
    known = {
        "step": step,
        "epoch": int(row.get("epoch", step // -(-best.card.samples // best.card.recipe["batch_size"]))),
        "scores": {name: value for name, value in row.items() if "/" in name},
        "history": memory.history,
        "seconds": round(memory.seconds, 1),
        "places": memory.places,
        "weights_sha256": sha256(_encode_arrays(parameters, rest)),
    }
    return replace(best, card=best.card.model_copy(update=known), parameters=parameters, rest=rest)


def load_card_and_weights(path: Path) -> tuple[ModelCard, bytes]:
    """Read the card and the weights of a model.

    Args:
        path: a run, its folder `best`, or a copy of that.

    Raises:
        UserError: one of them is missing or damaged, or they do not belong together.
    """
    folder, card = load_card(path)
    file = inside(folder, "model.safetensors")
    weights = read(file)
    if weights is None or sha256(weights) != card.weights_sha256:
        raise UserError(f"{file}: missing, or not the weights of model.json; copy the model again")
    return card, weights


def _refuse_unknown(path: Path, card: ModelCard) -> None:
    """Raise UserError if this program lacks the task or the network of a model, or has incompatible versions."""
    if card.task.name not in task_names():
        raise UserError(f"{path}: unknown task {card.task.name}; there are: {', '.join(task_names())}")
    known = find_task(card.task.name).version
    if version_numbers(card.task.version) > version_numbers(known):
        raise UserError(
            f"{path}: trained on version {card.task.version} of the schema of {card.task.name}, but this program "
            f"knows {known}; install a newer drybeam"
        )
    model = card.recipe.get("model")
    name = model.get("name") if isinstance(model, dict) else None
    if name not in model_names():
        raise UserError(f"{path}: unknown network {name!r}; there are: {', '.join(model_names())}")
    for part, here in versions(card.task.name, name).items():
        if version_numbers(found := card.versions.get(part, here))[:1] != version_numbers(here)[:1]:
            raise UserError(
                f"{path}: made with version {found} of {part} ({card.task.name}, {name}), but this program has {here}; "
                "train it again, or install the drybeam that made it"
            )


def _refuse_incomplete(path: Path, card: ModelCard, recipe: Recipe) -> None:
    """Refuse a recipe that asks for names which are unknown here, or for fields without moments."""
    task, learn = card.task, find_learn(card.task.name)
    if wrong := set(recipe.targets) - {field.name for field in task.of("target", "parameter")}:
        what = f"target {', '.join(sorted(wrong))} is neither a target nor a parameter"
        raise UserError(f"{path}/model.json: damaged: {what}; copy the model again")
    named = {
        "inputs": ((recipe.input,), learn.inputs),
        "heads": ((recipe.head,), learn.heads),
        "scalars": (recipe.scalars, learn.scalar_parts),
    }
    for kind, (names, known) in named.items():
        if unknown := sorted({*names} - {"", *known}):
            listed = ", ".join(known) or "none"
            raise UserError(f"{path}: unknown {kind} {', '.join(unknown)}; those of {task.name} are: {listed}")
    features, fields = features_of(task, recipe, {}, card.sizes), {field.name for field in task.fields}
    if lacking := sorted({*features.reads, *features.normalised} - fields):
        raise UserError(f"{path}/model.json: damaged: task: no field {', '.join(lacking)}; copy the model again")
    if missing := [name for name in (*features.normalised, *features.derived) if name not in card.moments]:
        raise UserError(f"{path}/model.json: damaged: moments of {', '.join(missing)} missing; copy the model again")


def _select(arrays: Mapping[str, np.ndarray], prefix: str, like: Named) -> Named | None:
    """Return the arrays under a prefix, or None if their names, shapes or dtypes are not those expected."""
    found = {name.removeprefix(prefix): jnp.asarray(v) for name, v in arrays.items() if name.startswith(prefix)}
    return found if same_structure(found, like) else None
