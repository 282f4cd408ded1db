"""A trained model as a folder: `model.safetensors`, `model.json` (all that is needed to use it), `README.md`.

The folder works wherever it is copied. It holds data only, no pickle: the code of task and model is found by name.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

import jax
import jax.numpy as jnp
import numpy as np
from pydantic import BaseModel, ConfigDict, Field
from safetensors.numpy import load as load_arrays
from safetensors.numpy import save as save_arrays

from schemas import slices
from schemas.digest import canonical
from schemas.documents import document, parsed
from schemas.publish import REPLACED, aside, exists, inside, is_folder, publish_folder, read, sha256
from schemas.runtime.errors import UserError
from schemas.runtime.settings import make, refuse_paths
from schemas.task import Task, find_task, task_names
from training import checkpoints
from training.assembly import assemble, features_of
from training.checkpoints import Place
from training.contract import find_learn, find_model, model_names, versions
from training.features import Features
from training.moments import Normalised
from training.network import Named, Network
from training.recipe import Recipe, recipe_of
from training.steps import best_parameters

FORMAT = 2  # of model.json; a reader refuses a newer one
PARTS = ("parameters", "rest")  # of the arrays in a file
BATCH = 64  # samples at most that are predicted at once


class Ancestor(BaseModel):
    """A model that another one was started from."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    weights_sha256: str
    dataset_digest: str
    dataset_family: str
    samples: int
    step: int


class Card(BaseModel):
    """What stands in model.json."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: int = FORMAT
    name: str
    task: Task
    sizes: dict[str, Annotated[int, Field(ge=1, le=1 << 20)]]  # of the training data
    recipe: dict[str, Any]
    moments: dict[str, Normalised]
    ranges: dict[str, list[tuple[float, float]]]  # of each value of the parameters that matter, over training samples
    run: str  # sha256 of the run's identity
    dataset_digest: str
    dataset_family: str
    dataset_recipe: dict[str, Any] | None
    samples: int
    parameters: int
    step: int
    epoch: int
    scores: dict[str, float]
    history: list[dict[str, float | int]]
    seconds: float
    places: list[Place]  # where it was made; several if it was moved
    weights_sha256: str = ""
    versions: dict[str, str] = {}  # of what it is made with, by `contract.versions`; none of older programs
    ancestors: list[Ancestor] = []  # the models it was started from, the first one first

    @property
    def lineage(self) -> list[Ancestor]:
        """What is known of a model that is started from this one."""
        known = self.model_dump(include=set(Ancestor.model_fields))
        return [*self.ancestors, Ancestor(**known)]


@dataclass(frozen=True)
class Trained:
    """A model that predicts."""

    card: Card
    features: Features
    network: Network
    parameters: Named
    rest: Named

    @property
    def inputs(self) -> tuple[str, ...]:
        """The dataset's fields that it reads."""
        return self.features.reads

    @property
    def task(self) -> Task:
        """That which it was trained for, with its own targets."""
        target = str(self.card.recipe.get("target", ""))
        return self.card.task.targeting(target) if target else self.card.task

    @property
    def identity(self) -> str:
        """Of all that its predictions depend on."""
        parts = self.card.model_dump(mode="json", include={"weights_sha256", "recipe", "moments", "sizes"})
        return sha256(canonical([parts, self.card.task.identity()]))

    @property
    def whole(self) -> bool:
        """Return whether images must not be cut for it."""
        return self.features.whole or self._fit in ("any", "operator")

    def fitted(self, sizes: Mapping[str, int]) -> "Trained":
        """The model for data of these sizes, if what it sees or applies is computed from whole samples.

        The same model if its weights are bound to the sizes of training: then `accepts` refuses those.
        """
        own = self.features.sizes
        known = {dim: sizes.get(dim, n) if dim in self.task.dims else n for dim, n in own.items()}
        if known == own or not self.whole or self._fit == "any" or self.features.other_factors(sizes):
            return self
        features = replace(self.features, sizes=known)
        network = assemble(_recipe(Path(self.card.name), self.card), features)
        if not all(_alike(*both) for both in zip((self.parameters, self.rest), network.shapes, strict=True)):
            return self
        return replace(self, features=features, network=network)

    def accepts(self, task: Task, sizes: Mapping[str, int]) -> list[str]:
        """Why it cannot read a dataset; empty if it can. Spatial sizes are the caller's affair."""
        if task.name != self.card.task.name:
            return [f"it was trained for the task {self.card.task.name}, the dataset is of {task.name}"]
        if _version(task.version)[:1] != _version(self.card.task.version)[:1]:
            return [f"it was trained on schema {self.card.task.version}, the dataset has {task.version}"]
        found = self.features.problems(task.sliced, sizes)
        if self._fit not in ("any", "operator"):
            return found
        bound = [dim for dim in (*self.features.grid, *self.features.out) if dim in sizes]
        wrong = [dim for dim in dict.fromkeys(bound) if sizes[dim] != self.features.sizes[dim]]
        return found + [
            f"{dim} has {sizes[dim]}, must be {self.features.sizes[dim]}: it is made for one size" for dim in wrong
        ]

    @property
    def _fit(self) -> str:
        return find_model(self.card.recipe["model"]["name"]).FIT

    def predict(self, fields: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The targets, (sample, ...) float32 in the dataset's units. fields: `inputs`, of any number of samples.

        Of a target with classes: their probabilities, (sample, ..., class).
        """
        task = self.task
        samples = len(next(fields[name] for name in self.inputs if task[name].per_sample))
        found = self._rows(slices.fold(task, {name: fields[name] for name in self.inputs}, samples))
        return slices.unfold(task, found, slices.lengths(task, fields)) if task.slices else found

    def _rows(self, fields: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The targets of slices."""
        count = len(next(fields[name] for name in self.inputs if self.features.task[name].per_sample))
        length = min(BATCH, 1 << (count - 1).bit_length())  # few lengths, so few compilations
        pieces = [self._piece(fields, slice(start, start + length)) for start in range(0, count, length)]
        return {name: np.concatenate([piece[name] for piece in pieces])[:count] for name in pieces[0]}

    def _piece(self, fields: Mapping[str, np.ndarray], rows: slice) -> dict[str, np.ndarray]:
        length = rows.stop - rows.start
        batch = {}
        for name in self.inputs:
            if self.features.task[name].per_sample:
                values = fields[name][rows]
                batch[name] = np.pad(values, [(0, length - len(values)), *[(0, 0)] * (values.ndim - 1)], mode="edge")
            else:
                batch[name] = fields[name]
        return {name: np.asarray(values) for name, values in self._predict(self.parameters, self.rest, batch).items()}

    @cached_property
    def _predict(self) -> Any:
        @jax.jit
        def predict(parameters: Named, rest: Named, batch: Mapping[str, Any]) -> dict[str, Any]:
            output, _, _ = self.network(parameters, rest, self.features.encode(batch), fields=batch)
            return self.features.stored(self.features.decode(output, batch))

        return predict


def save(folder: Path, card: Card, parameters: Named, rest: Named) -> None:
    """Write a model in place of the one in `folder`. Killed anywhere, it leaves the old one or the new one whole.

    While the new one takes its place, the old one lies beside it; `load_card` looks there.
    """
    weights = _packed(parameters, rest)
    card = card.model_copy(update={"weights_sha256": sha256(weights)})
    files = {"model.json": card.model_dump_json(indent=1), "README.md": _readme(card)}
    encoded = ((name, text.encode()) for name, text in files.items())
    publish_folder(folder, [("model.safetensors", weights), *encoded])


def _packed(parameters: Named, rest: Named) -> bytes:
    arrays = {f"parameters/{k}": np.asarray(v) for k, v in parameters.items()}
    return save_arrays(arrays | {f"rest/{k}": np.asarray(v) for k, v in rest.items()})


def load_card(path: Path) -> tuple[Path, Card]:
    """The folder and the card of a model: of a run, of its `best`, or of a copy. UserError if there is none."""
    folder = next((f for f in _places(path) if is_folder(f)), path)
    if folder.parent == path:
        inside(path, folder.name)
    data = read(inside(folder, "model.json"))
    if data is None:
        if exists(path / "run.json"):
            raise UserError(f"{path}: this run has no model yet; go on training: the first comes with the first epoch")
        raise UserError(f"{path}: no model here (no model.json); give a run's folder, or its best/")
    return folder, document(Card, parsed(data), FORMAT, f"{folder}/model.json", "copy the model again")


def _places(path: Path) -> tuple[Path, ...]:
    """Return where a model may lie: in a run, in a folder of its own, or beside these if a `save` died.

    Older programs put it aside as `.<name>.old`.
    """
    best, whole = path / "best", path.absolute()
    old = path / ".best.old", whole.with_name(f".{whole.name}.old")
    return best, *aside(best, REPLACED), old[0], path, *aside(whole, REPLACED), old[1]


def load_model(path: Path) -> Trained:
    """The model in a folder, ready to predict. UserError if it is damaged, or newer than this program."""
    card, weights = load_whole(path)
    _known(path, card)
    recipe = _recipe(path, card)
    _complete(path, card, recipe)
    features = features_of(card.task, recipe, card.moments, card.sizes)
    try:
        network = assemble(recipe, features)
    except (KeyError, TypeError, StopIteration, OverflowError) as error:  # a task or sizes that are none
        raise UserError(f"{path}/model.json: damaged ({type(error).__name__}: {error}); copy the model again") from None
    arrays = load_arrays(weights)
    parameters, rest = (_part(arrays, f"{part}/", like) for part, like in zip(PARTS, network.shapes, strict=True))
    if parameters is None or rest is None:
        raise UserError(f"{path}: the weights do not fit the model {card.recipe['model']['name']} of this program")
    return Trained(card, features, network, parameters, rest)


def load_recipe(path: Path) -> Recipe:
    """The recipe of the model in a folder, read from its card alone; UserError as `load_model`."""
    _, card = load_card(path)
    _known(path, card)
    return _recipe(path, card)


def load_checkpoint(run: Path, step: int) -> Trained:
    """The model as it was at a step whose checkpoint was kept. UserError if that is missing or damaged."""
    best = load_model(run)
    folder = load_card(run)[0].parent / "checkpoints"
    state, memory = checkpoints.at(folder, step, best.card.run)
    parameters, rest = best_parameters(state), state["rest"]
    row = next((row for row in memory.history if row["step"] == step), {})
    known = {
        "step": step,
        "epoch": int(row.get("epoch", step // -(-best.card.samples // best.card.recipe["batch_size"]))),
        "scores": {name: value for name, value in row.items() if "/" in name},
        "history": memory.history,
        "seconds": round(memory.seconds, 1),
        "places": memory.places,
        "weights_sha256": sha256(_packed(parameters, rest)),
    }
    return replace(best, card=best.card.model_copy(update=known), parameters=parameters, rest=rest)


def load_whole(path: Path) -> tuple[Card, bytes]:
    """The card and the weights that it vouches for; UserError if they do not belong together."""
    folder, card = load_card(path)
    file = inside(folder, "model.safetensors")
    weights = read(file)
    if weights is None or sha256(weights) != card.weights_sha256:
        raise UserError(f"{file}: missing, or not the weights of model.json; copy the model again")
    return card, weights


def _known(path: Path, card: Card) -> None:
    if card.task.name not in task_names():
        raise UserError(f"{path}: a model of the task {card.task.name}; there are: {', '.join(task_names())}")
    known = find_task(card.task.name).version
    if _version(card.task.version) > _version(known):
        raise UserError(
            f"{path}: trained on version {card.task.version} of the schema of {card.task.name}, this program knows "
            f"{known}; install a newer drybeam"
        )
    model = card.recipe.get("model")
    name = model.get("name") if isinstance(model, dict) else None
    if name not in model_names():
        raise UserError(f"{path}: a model {name!r}; this program has: {', '.join(model_names())}")
    for part, here in versions(card.task.name, name).items():
        if _version(found := card.versions.get(part, here))[:1] != _version(here)[:1]:
            raise UserError(
                f"{path}: was made with version {found} of {part} ({card.task.name}, {name}), this program has {here}; "
                "train it again, or install the drybeam that made it"
            )


def _complete(path: Path, card: Card, recipe: Recipe) -> None:
    """What the recipe asks for must be known here, and have moments."""
    task, learn = card.task, find_learn(card.task.name)
    if recipe.target and recipe.target not in [field.name for field in task.of("parameter")]:
        raise UserError(f"{path}/model.json: damaged: target {recipe.target}: no parameter; copy the model again")
    named = {
        "inputs": ((recipe.input,), learn.inputs),
        "heads": ((recipe.head,), learn.heads),
        "scalars": (recipe.scalars, learn.scalars),
    }
    for kind, (names, known) in named.items():
        if unknown := sorted({*names} - {"", *known}):
            there = ", ".join(known) or "none"
            raise UserError(f"{path}: a model with {', '.join(unknown)}; the {kind} of {task.name} are: {there}")
    features, fields = features_of(task, recipe, {}, card.sizes), {field.name for field in task.fields}
    if lacking := sorted({*features.reads, *features.normalised} - fields):
        raise UserError(f"{path}/model.json: damaged: task: no field {', '.join(lacking)}; copy the model again")
    if missing := [name for name in (*features.normalised, *features.derived) if name not in card.moments]:
        raise UserError(f"{path}/model.json: damaged: no moments of {', '.join(missing)}; copy the model again")


def _recipe(path: Path, card: Card) -> Recipe:
    name = card.recipe["model"]["name"]
    kind = recipe_of(name, find_model(name), find_learn(card.task.name))
    refuse_paths(kind, card.recipe, f"{path}/model.json")
    loss = card.recipe.get("loss")
    if isinstance(loss, dict):  # older programs had losses of other tasks, at 0
        known = kind().loss.weights
        loss = {key: value for key, value in loss.items() if value or key in known}
    try:
        return make(kind, card.recipe | {"loss": loss} if loss else card.recipe, [])
    except UserError as error:
        raise UserError(f"{path}/model.json: {error}") from None


def _part(arrays: Mapping[str, np.ndarray], prefix: str, like: Named) -> Named | None:
    """The arrays under a prefix, if they are those that are asked for."""
    found = {name.removeprefix(prefix): jnp.asarray(v) for name, v in arrays.items() if name.startswith(prefix)}
    return found if _alike(found, like) else None


def _alike(one: Named, other: Named) -> bool:
    """Return whether arrays have the same names, shapes and dtypes."""
    shapes = [{name: (value.shape, value.dtype) for name, value in arrays.items()} for arrays in (one, other)]
    return shapes[0] == shapes[1]


def _version(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".") if part.isdigit())


def _readme(card: Card) -> str:
    scores = "".join(f"| {name} | {value:.5g} |\n" for name, value in card.scores.items())
    inputs = card.recipe["input"]
    places = ", then ".join(place.hardware for place in card.places)
    sizes = ", ".join(f"{name} {value}" for name, value in card.sizes.items())
    ancestors = "".join(
        f"| started from | {model.name}, step {model.step:,}, weights `{model.weights_sha256[:16]}`, trained on "
        f"{model.samples:,} samples of the dataset with digest `{model.dataset_digest}` |\n"
        for model in card.ancestors
    )
    return f"""# {card.name}

{card.task.about}

| | |
|---|---|
| task | {card.task.name} {card.task.version} |
| network | {card.recipe["model"]["name"]}, {card.parameters:,} parameters, sees: {inputs} |
| trained on | {card.samples:,} samples of the dataset with digest `{card.dataset_digest}` |
{ancestors}| for | step {card.step:,}, epoch {card.epoch}, {card.seconds:,.0f} s on {places} |
| sizes of the training data | {sizes} |
{scores}
Use: `infer --model {card.name} --data ... --out predictions.zarr`. Valid for data as those it was trained on (all
knobs: `model.json`, `dataset_recipe`); beyond them nothing is promised. Scores are those of the validation samples:
`evaluate` compares with the classical methods on the test samples.
"""
