"""The card of a trained model: `model.json` as a typed document, and `README.md` for people."""

from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from schemas.runtime.errors import UserError
from schemas.runtime.settings import make_settings, refuse_paths
from schemas.runtime.terminal import count_text
from schemas.task import Task
from training.checkpoints import Place
from training.contract import find_learn, find_model
from training.moments import Normalised
from training.recipe import Recipe, recipe_type

FORMAT = 2  # format of model.json; a reader refuses a newer one


class Ancestor(BaseModel):
    """A model from which another one was started."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    weights_sha256: str
    dataset_digest: str
    dataset_family: str
    samples: int
    step: int


class ModelCard(BaseModel):
    """The contents of `model.json`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: int = FORMAT
    name: str
    task: Task
    sizes: dict[str, Annotated[int, Field(ge=1, le=1 << 20)]]  # lengths of the dimensions of the training data
    recipe: dict[str, Any]
    moments: dict[str, Normalised]
    ranges: dict[str, list[tuple[float, float]]]  # range of each value of the task's scalars in the training samples
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
    places: list[Place]  # hardware and packages of the run; several if it was continued elsewhere
    weights_sha256: str = ""
    versions: dict[str, str] = {}  # as returned by `contract.versions`; older programs did not write it
    ancestors: list[Ancestor] = []  # the models from which it was started, the oldest first

    @property
    def lineage(self) -> list[Ancestor]:
        """Ancestors of a model that is started from this one."""
        known = self.model_dump(include=set(Ancestor.model_fields))
        return [*self.ancestors, Ancestor(**known)]


def readme(card: ModelCard) -> str:
    """Return the model card as Markdown."""
    scores = "".join(f"| {name} | {value:.5g} |\n" for name, value in card.scores.items())
    inputs = card.recipe["input"]
    places = ", then ".join(place.hardware for place in card.places)
    dims = dict.fromkeys(dim for role in ("input", "target") for field in card.task.of(role) for dim in field.dims)
    sizes = ", ".join(f"{dim} {card.sizes[dim]}" for dim in dims if dim in card.sizes)
    ancestors = "".join(
        f"| started from | {model.name}, step {model.step:,}, weights `{model.weights_sha256[:16]}`, trained on "
        f"{count_text(model.samples, 'sample')} of the dataset with digest `{model.dataset_digest}` |\n"
        for model in card.ancestors
    )
    return f"""# {card.name}

{card.task.about}

| | |
|---|---|
| task | {card.task.name} {card.task.version} |
| network | {card.recipe["model"]["name"]}, {count_text(card.parameters, "parameter")}, input: {inputs} |
| trained on | {count_text(card.samples, "sample")} of the dataset with digest `{card.dataset_digest}` |
{ancestors}| training | to step {card.step:,}, epoch {card.epoch}; {card.seconds:,.0f} s on {places} |
| sizes of the training data | {sizes} |
{scores}
To use it: `infer --model FOLDER --data ... --out predictions.zarr`. The model is valid for data like those it was
trained on (`dataset_recipe` in `model.json` lists all settings); for other data nothing is promised. The scores are
those of the validation samples. `evaluate` compares the model with classical methods on the test samples.
"""


def stored_recipe(path: Path, card: ModelCard) -> Recipe:
    """Return the recipe that a card stores.

    Args:
        path: the model, for messages.
        card: the card.

    Raises:
        UserError: the recipe does not suit this program, or names a file.
    """
    name = card.recipe["model"]["name"]
    kind = recipe_type(name, find_model(name), find_learn(card.task.name))
    refuse_paths(kind, card.recipe, f"{path}/model.json")
    loss = card.recipe.get("loss")
    if isinstance(loss, dict):  # older programs stored losses of other tasks, with weight 0
        known = kind().loss.weights
        loss = {key: value for key, value in loss.items() if value or key in known}
    try:
        return make_settings(kind, card.recipe | {"loss": loss} if loss else card.recipe, [])
    except UserError as error:
        raise UserError(f"{path}/model.json: {error}") from None
