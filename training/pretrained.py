"""What a run starts from, if not from chance: the parameters of a trained model (`train --from RUN`).

Its network, input, head, scalars and normalisation stay: parameters mean nothing without them. All else may be another.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from schemas.runtime.errors import UserError
from schemas.runtime.settings import make
from training.contract import Learn, find_model
from training.export.predictor import Predictor
from training.export.store import load_model, load_recipe
from training.network import Named, Network
from training.recipe import Recipe, recipe_of

KEPT = ("model", "target", "input", "head", "scalars", "normalisation")  # settings that are those of the model
FORGETFUL = ("adagrad_da",)  # optimizers whose first step does not know where it starts


def open_start(path: Path) -> Predictor:
    """The model to start from; UserError if it is missing, damaged or newer."""
    return _read(load_model, path)


def read_recipe(path: Path) -> Recipe:
    """The recipe of the model to start from; UserError if it is missing, damaged or newer."""
    return _read(load_recipe, path)


def adopt(
    path: Path, model: str | None, base: Mapping[str, Any], settings: Sequence[str], learn: Learn | None
) -> Recipe:
    """The recipe of a run from the model at a path; the device is not touched.

    model: its name, if told. base: settings of a named recipe or file.
    learn: of the dataset's task. UserError names the first setting that is told
    otherwise than the model has it.
    """
    kept = read_recipe(path).model_dump(mode="json", include=set(KEPT))
    name = kept["model"]["name"]
    if model not in (None, name):
        raise _refused(path, "model", model, name)
    kind = recipe_of(name, find_model(name), learn)
    told = make(kind, base, settings).model_dump(mode="json", include=set(KEPT), exclude_unset=True)
    for setting, value, mine in _conflicts(told, kept):
        raise _refused(path, setting, value, mine)
    recipe = make(kind, {**base, **kept}, settings)
    if recipe.optimizer.name in FORGETFUL:
        raise UserError(
            f"optimizer.name = {recipe.optimizer.name}: forgets where it starts; take another, or no --from"
        )
    return recipe


def _read[T](load: Callable[[Path], T], path: Path) -> T:
    try:
        return load(path)
    except UserError as error:
        raise UserError(f"--from {error}") from None


def _conflicts(told: Mapping[str, Any], kept: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Settings that differ: name, as told, as kept."""
    for name, value in told.items():
        if isinstance(value, Mapping):
            yield from _conflicts(value, kept[name], f"{prefix}{name}.")
        elif value != kept[name]:
            yield prefix + name, value, kept[name]


def _refused(path: Path, setting: str, told: Any, mine: Any) -> UserError:
    return UserError(
        f"--from {path}: {setting} = {_shown(told)}: this model has {_shown(mine)}, which stays; "
        f"leave {setting} out, or train a new network without --from"
    )


def _shown(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)


def arrays(start: Predictor, network: Network) -> tuple[Named, Named]:
    """Parameters and rest to start from; UserError if the network is bound to other sizes than the model's."""
    found = start.parameters, start.rest
    shapes, mine = ([{k: v.shape for k, v in part.items()} for part in parts] for parts in (network.shapes, found))
    if shapes != mine:
        name = start.card.recipe["model"]["name"]
        sizes = ", ".join(f"{dim} {start.card.sizes[dim]}" for dim in start.features.grid)
        raise UserError(f"--from: this {name} was made for images of {sizes}; give a dataset of that size")
    return found
