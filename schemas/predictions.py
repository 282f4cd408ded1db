"""What was inferred from one split of a dataset, by one method: a Zarr v3 store of the task's targets.

tie-unet.zarr/zarr.json            who predicted what from which samples; consolidated metadata at the end
tie-unet.zarr/phase/c/...          an object per unit of the dataset, coded as the dataset's own
"""

import json
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import numpy as np
import zarr
from pydantic import BaseModel, ConfigDict, Field, model_validator
from zarr.core.buffer import Buffer
from zarr.storage import MemoryStore

from schemas.documents import document
from schemas.objects import inside, read
from schemas.runtime.errors import UserError
from schemas.store import consolidate, create_array, encode, open_split
from schemas.target_kinds import probability
from schemas.task import SAMPLE, SPLITS, Task
from schemas.task import Field as ArrayField

KEY = "drybeam_predictions"
FORMAT = 2  # of the metadata and the layout; a reader refuses a newer one
CONVENTION = {
    "uuid": "5b7f3f0e-8f0c-4c39-9a55-2f0f7b1c6d42",
    "name": KEY,
    "description": "targets predicted from one split of a dataset, by one network or classical method",
}

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
    unit: Length  # samples in an object
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
        names = {
            "kind",
            "method",
            "version",
            "settings",
            "dataset_digest",
            "split",
            "split_digest",
            "samples",
            "unit",
            "chunks",
        }
        plain = self.model_dump(mode="json", include={*names, "sizes", "tiles", "overlap"})
        plain |= {"probabilities": True} if self.probabilities else {}
        return plain | {"weights": self.weights and self.weights.sha256, "task": self.task.identity()}


def metadata(predictions: Predictions) -> dict[str, bytes]:
    """All zarr.json of a store, by key. With consolidated metadata if its status is complete."""
    objects: dict[str, Buffer] = {}
    store = MemoryStore(objects)
    attributes = {"zarr_conventions": [CONVENTION], KEY: predictions.model_dump(mode="json")}
    root = zarr.create_group(store, attributes=attributes)
    for field in predictions.stored:
        shape = field.shape(predictions.sizes)
        shard = (predictions.unit, *shape)
        create_array(root, field, (predictions.samples, *shape), predictions.chunks[field.name], shard)
    if predictions.status == "complete":
        consolidate(store, [""])
    return {key: data.to_bytes() for key, data in objects.items()}


def objects(predictions: Predictions, start: int, values: Arrays) -> dict[str, bytes]:
    """The objects that hold one unit from sample `start` on, by key."""
    described = metadata(predictions)
    return {
        f"{field.name}/{key}": data
        for field in predictions.stored
        for key, data in encode(described[f"{field.name}/zarr.json"], start, values[field.name]).items()
    }


def read_predictions(path: Path, *, incomplete: bool = False) -> Predictions:
    """What the predictions at a path are.

    Raises UserError if there are none, if their metadata are damaged or newer than this reader, or if they are
    incomplete and `incomplete` does not say that this will do.
    """
    data = read(inside(path, "zarr.json"))
    if data is None:
        raise UserError(f"{path}: no predictions here (no zarr.json); make some with: infer ... --out {path}")
    found = _parse(path, data)
    if found.status != "complete" and not incomplete:
        raise UserError(f"{path}: incomplete; run the same `infer` command again to finish it")
    return found


def _parse(path: Path, data: bytes) -> Predictions:
    try:
        content = json.loads(data)["attributes"][KEY]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise UserError(f"{path}/zarr.json: not the metadata of predictions, or damaged; give another path") from None
    return document(Predictions, content, FORMAT, f"{path}/zarr.json", "infer again, to another path")


def read_rows(path: Path, predictions: Predictions, rows: slice, *, everything: bool = False) -> Arrays:
    """Read some rows of all targets, or of all fields; UserError if an object is missing or damaged."""
    fields = predictions.stored if everything else predictions.targets
    return {field.name: read_target(path, predictions, field, rows) for field in fields}


def read_target(
    path: Path, predictions: Predictions, field: ArrayField, rows: slice, window: tuple[slice, ...] = ()
) -> np.ndarray:
    """Some rows of one target, of each sample only a window if one is given; UserError as `read_rows`."""
    try:
        values = np.asarray(open_split(path, "")[field.name][rows, *window])  # type: ignore[index]
    except UserError:
        raise
    except Exception as error:  # whatever a missing or damaged object makes a codec raise
        raise _unreadable(path, rows, type(error).__name__) from None
    whole = np.broadcast_to(0, (rows.stop - rows.start, *field.shape(predictions.sizes)))
    expected = whole[:, *window].shape
    if values.shape != expected:
        raise _unreadable(path, rows, f"{field.name} has shape {values.shape}, not {expected}")
    return values


def _unreadable(path: Path, rows: slice, reason: str) -> UserError:
    return UserError(
        f"{path}: samples {rows.start}:{rows.stop} cannot be read ({reason}); run the same `infer` command again"
    )
