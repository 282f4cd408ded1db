"""What was inferred from one split of a dataset, by one method: a Zarr v3 store of the task's targets.

tie-unet.zarr/zarr.json            who predicted what from which samples; consolidated metadata at the end
tie-unet.zarr/phase/c/...          an object per shard of the dataset, coded as the dataset's own
"""

from pathlib import Path
from typing import Annotated, Any, Literal, Self

import numpy as np
from pydantic import AliasChoices, BaseModel, ConfigDict, Field, model_validator

from schemas.runtime.documents import Metadata
from schemas.runtime.publish import reading
from schemas.store import Array, describe, encoded, open_split
from schemas.target_kinds import probability
from schemas.task import SAMPLE, SPLITS, Task
from schemas.task import Field as ArrayField

FORMAT = 2  # of the metadata and the layout; a reader refuses a newer one

type Count = Annotated[int, Field(ge=0)]
type Length = Annotated[int, Field(ge=1)]
type Arrays = dict[str, np.ndarray]

_STRICT = ConfigDict(frozen=True, extra="forbid", strict=True)


class Tuning(BaseModel):
    """How the settings of a classical method were chosen."""

    model_config = _STRICT

    split: str
    samples: Length
    combinations: Length  # tried
    nrms: float  # the least mean, that of the settings chosen, of the `metric`
    metric: str = "nrms"  # what stores without it were tuned by
    fixed: list[str]  # settings that the user gave
    edges: list[str]  # settings whose best value is the first or the last of those tried


class Weights(BaseModel):
    """Which network."""

    model_config = _STRICT

    sha256: str  # of the weights and of all that turns them into predictions
    parameters: Count
    trained_on: str  # root digest
    family: str  # of that dataset
    samples: Count  # it was trained with
    before: list[str] = []  # digests and families of the datasets that it was trained on before these


class Predictions(BaseModel):
    """What stands in the root attributes under `drybeam_predictions`."""

    model_config = _STRICT

    format: int
    name: str  # in tables and plots
    kind: Literal["network", "classical"]
    method: str
    version: int  # of the method; a network is known by its weights
    about: str
    settings: dict[str, float | str]
    weights: Weights | None
    task: Task
    sizes: dict[str, Length]
    dataset_digest: str
    family: str  # of the dataset
    split: str
    split_digest: str
    samples: Length
    shard: Length = Field(validation_alias=AliasChoices("shard", "unit"))  # samples in an object; formerly unit
    chunks: dict[str, tuple[Length, ...]]  # the smallest piece that is read, per target
    tiles: dict[str, Length]  # pixels along each dimension that was cut; empty: whole images
    overlap: float  # of neighbouring tiles, relative to their length
    probabilities: bool = False  # of classes, these are stored, too
    tuning: Tuning | None
    history: list[dict[str, float | int | str | None]]  # of training
    hardware: str
    packages: dict[str, str]
    seconds_per_sample: float | None = None  # inversion alone, in batches, without the first (compiling) one
    status: Literal["incomplete", "complete"] = "incomplete"

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.split not in SPLITS:
            raise ValueError(f"split must be one of {', '.join(SPLITS)}")
        if unknown := {dim for field in self.stored for dim in field.dims} - {SAMPLE, *self.sizes}:
            raise ValueError(f"dimensions without a size: {', '.join(sorted(unknown))}")
        if self.chunks.keys() != {field.name for field in self.stored} or not self.chunks:
            raise ValueError("chunks must be given for each field that is stored")
        return self

    @property
    def targets(self) -> tuple[ArrayField, ...]:
        """The fields that are predicted."""
        return self.task.of("target")

    @property
    def stored(self) -> tuple[ArrayField, ...]:
        """The targets, and the probabilities of their classes if these were asked for."""
        classes = [field for field in self.targets if field.classes and self.probabilities]
        return (*self.targets, *map(probability, classes))

    @property
    def seen(self) -> str:
        """Why its scores are not those of unseen samples; empty if they are."""
        if self.tuning and self.tuning.split == self.split:
            return f"{self.name} was tuned on samples of {self.split}"
        known = {self.dataset_digest, self.family} - {""}
        trained = {self.weights.trained_on, self.weights.family, *self.weights.before} if self.weights else set()
        if known & trained and self.split != "test":
            how = "trained with these samples" if self.split == "train" else "chosen by these samples"
            return f"{self.name} was {how}"
        return ""

    @property
    def fingerprint(self) -> dict[str, Any]:
        """All that the values depend on, but for rounding."""
        names = (
            "kind method version settings dataset_digest split split_digest samples shard chunks sizes tiles overlap"
        )
        plain = self.model_dump(mode="json", include=set(names.split()))
        plain |= {"probabilities": True} if self.probabilities else {}
        return plain | {"weights": self.weights and self.weights.sha256, "task": self.task.identity()}


METADATA = Metadata(
    model=Predictions,
    key="drybeam_predictions",
    uuid="5b7f3f0e-8f0c-4c39-9a55-2f0f7b1c6d42",
    about="targets predicted from one split of a dataset, by one network or classical method",
    format=FORMAT,
    what="predictions",
    command="infer ...",
)


def metadata(predictions: Predictions) -> dict[str, bytes]:
    """Return all zarr.json of a store, by key; with consolidated metadata if its status is complete."""
    arrays = [_array(predictions, field) for field in predictions.stored]
    complete = predictions.status == "complete"
    return describe(METADATA.attributes(predictions), {"": arrays}, complete=complete)


def _array(predictions: Predictions, field: ArrayField) -> Array:
    shape = field.shape(predictions.sizes)
    whole, shard = (predictions.samples, *shape), (predictions.shard, *shape)
    return Array(field, whole, predictions.chunks[field.name], shard)


def objects(predictions: Predictions, start: int, values: Arrays) -> dict[str, bytes]:
    """Return the objects that hold one shard from sample `start` on, by key."""
    stored = {field.name: values[field.name] for field in predictions.stored}
    return dict(encoded(metadata(predictions), start, stored))


def read_predictions(path: Path, *, incomplete: bool = False) -> Predictions:
    """Read the metadata of the predictions at a path.

    Raises:
        UserError: there are none, or they are damaged or newer than this reader, or incomplete and `incomplete` does
            not say that this will do.
    """
    return METADATA.read(path, "infer again, to another path", incomplete=incomplete)


def read_rows(path: Path, predictions: Predictions, rows: slice, *, everything: bool = False) -> Arrays:
    """Read some rows of all targets, or of all fields; UserError if an object is missing or damaged."""
    fields = predictions.stored if everything else predictions.targets
    return {field.name: read_target(path, predictions, field, rows) for field in fields}


def read_target(
    path: Path, predictions: Predictions, field: ArrayField, rows: slice, window: tuple[slice, ...] = ()
) -> np.ndarray:
    """Some rows of one target, of each sample only a window if one is given; UserError as `read_rows`."""
    whole = np.broadcast_to(0, (rows.stop - rows.start, *field.shape(predictions.sizes)))
    expected = whole[:, *window].shape
    with reading(f"{path}: samples {rows.start}:{rows.stop}", "run the same `infer` command again"):
        values = np.asarray(open_split(path, "")[field.name][rows, *window])  # type: ignore[index]
        if values.shape != expected:
            raise ValueError(f"{field.name} has shape {values.shape}, not {expected}")
    return values
