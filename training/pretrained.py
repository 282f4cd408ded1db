"""Start a run from the parameters of a trained model (`train --from RUN`).

The model's network, input, head, scalars and normalisation are kept, because parameters mean nothing without them. All
other settings may change.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from schemas.runtime.errors import UserError
from schemas.runtime.settings import make_settings
from training.contract import Learn, find_model
from training.export.predictor import Predictor
from training.export.store import load_model, load_recipe
from training.network import Named, Network
from training.recipe import Recipe, recipe_type

MODEL_SETTINGS = ("model", "target", "input", "head", "scalars", "normalisation")  # these are taken from the model
START_INDEPENDENT = ("adagrad_da",)  # optimizers whose first step does not depend on where it starts


def open_start(path: Path) -> Predictor:
    """Load the model to start from.

    Args:
        path: a run or a model.

    Raises:
        UserError: the model is missing, damaged, or newer than this program.
    """
    return _load_start(load_model, path)


def read_recipe(path: Path) -> Recipe:
    """Read the recipe of the model to start from.

    Args:
        path: a run or a model.

    Raises:
        UserError: the model is missing, damaged, or newer than this program.
    """
    return _load_start(load_recipe, path)


def recipe_from_model(
    path: Path, model: str | None, base: Mapping[str, Any], settings: Sequence[str], learn: Learn | None
) -> Recipe:
    """Return the recipe of a run that starts from a model. No device is used.

    Args:
        path: the model.
        model: name of the network, if it was asked for.
        base: settings of a named recipe or of a file.
        settings: `name=value` settings, which come after those.
        learn: the task's file, for the losses that it defines; None if there is no dataset.

    Returns:
        The complete recipe.

    Raises:
        UserError: a setting differs from that of the model (the first one is named), or the first step of the optimizer
            does not depend on where it starts.
    """
    kept = read_recipe(path).model_dump(mode="json", include=set(MODEL_SETTINGS))
    name = kept["model"]["name"]
    if model not in (None, name):
        raise _conflict_error(path, "model", model, name)
    kind = recipe_type(name, find_model(name), learn)
    asked = make_settings(kind, base, settings).model_dump(mode="json", include=set(MODEL_SETTINGS), exclude_unset=True)
    for setting, value, mine in _conflicts(asked, kept):
        raise _conflict_error(path, setting, value, mine)
    recipe = make_settings(kind, {**base, **kept}, settings)
    if recipe.optimizer.name in START_INDEPENDENT:
        raise UserError(
            f"optimizer.name = {recipe.optimizer.name}: its first step ignores the start; change it, or omit --from"
        )
    return recipe


def _load_start[T](load: Callable[[Path], T], path: Path) -> T:
    try:
        return load(path)
    except UserError as error:
        raise UserError(f"--from {error}") from None


def _conflicts(asked: Mapping[str, Any], kept: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Yield the settings that differ: name, value asked for, value kept."""
    for name, value in asked.items():
        if isinstance(value, Mapping):
            yield from _conflicts(value, kept[name], f"{prefix}{name}.")
        elif value != kept[name]:
            yield prefix + name, value, kept[name]


def _conflict_error(path: Path, setting: str, asked: Any, mine: Any) -> UserError:
    return UserError(
        f"--from {path}: {setting} = {_setting_text(asked)}: this model has {_setting_text(mine)}, which cannot "
        f"change; leave {setting} out, or train a new network without --from"
    )


def _setting_text(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)


def initial_arrays(start: Predictor, network: Network) -> tuple[Named, Named]:
    """Return the parameters and the rest to start from.

    Args:
        start: the model to start from.
        network: the network of the new run.

    Raises:
        UserError: the model is bound to other sizes than those of the dataset.
    """
    found = start.parameters, start.rest
    shapes, mine = ([{k: v.shape for k, v in part.items()} for part in parts] for parts in (network.shapes, found))
    if shapes != mine:
        name = start.card.recipe["model"]["name"]
        sizes = ", ".join(f"{dim} {start.card.sizes[dim]}" for dim in start.features.input_grid)
        raise UserError(f"--from: this {name} was made for images of {sizes}; give a dataset of that size")
    return found
