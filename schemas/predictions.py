"""Predictions: the targets inferred from one split of a dataset by one method, as a Zarr v3 store.

tie-unet.zarr/zarr.json         which method predicted from which samples; consolidated metadata when complete
tie-unet.zarr/phase/c/...       one object per shard of the dataset, with the codecs of the dataset
"""

from pathlib import Path
from typing import Annotated, Any, Literal, Self

import numpy as np
from pydantic import AliasChoices, BaseModel, ConfigDict, Field, model_validator

from schemas import digest
from schemas.runtime.documents import Metadata
from schemas.runtime.errors import UserError
from schemas.runtime.publish import reading
from schemas.store import Array, describe, encoded, open_split, shard_ranges
from schemas.target_kinds import probability_field
from schemas.task import SAMPLE, SPLITS, Task
from schemas.task import Field as ArrayField

FORMAT = 2  # format of the metadata and the layout; readers refuse newer formats

type Count = Annotated[int, Field(ge=0)]
type Length = Annotated[int, Field(ge=1)]
type Arrays = dict[str, np.ndarray]

_STRICT = ConfigDict(frozen=True, extra="forbid", strict=True)


class Tuning(BaseModel):
    """Record of how the settings of a classical method were chosen."""

    model_config = _STRICT

    split: str
    samples: Length
    combinations: Length  # number of combinations of settings that were tried
    nrms: float  # mean `metric` of the chosen settings, the lowest of all combinations
    metric: str = "nrms"  # stores without this key were tuned by nrms
    fixed: list[str]  # settings that the user gave
    edges: list[str]  # settings whose best value is the first or the last of the values tried
    dataset: str | None = None  # root digest of the dataset that was used; None: that of the predictions


class Weights(BaseModel):
    """Identity of the network that made the predictions, or of what a classical method has learned.

    A classical method learns the same from the same samples. Its hash is that of its name, version, settings, training
    dataset and number of samples, and it has 0 parameters.
    """

    model_config = _STRICT

    sha256: str  # hash of the weights and of everything that turns them into predictions
    parameters: Count
    trained_on: str  # root digest of the training dataset
    family: str  # `Manifest.family` of the training dataset
    samples: Count  # number of training samples
    before: list[str] = []  # digests and families of the datasets of earlier trainings


class Predictions(BaseModel):
    """Content of the root attributes under the key `drybeam_predictions`."""

    model_config = _STRICT

    format: int
    name: str  # label in tables and plots
    kind: Literal["network", "classical"]
    method: str
    version: int  # version of the method; a network is identified by its weights
    about: str
    settings: dict[str, float | str]
    weights: Weights | None
    task: Task
    sizes: dict[str, Length]
    dataset_digest: str
    family: str  # `Manifest.family` of the dataset
    split: str
    split_digest: str
    samples: Length
    shard: Length = Field(validation_alias=AliasChoices("shard", "unit"))  # samples in an object; formerly `unit`
    chunks: dict[str, tuple[Length, ...]]  # shape of a chunk by target
    tiles: dict[str, Length]  # pixels of a tile along each dimension that was cut; empty: whole images
    overlap: float  # overlap of neighbouring tiles, relative to their length
    probabilities: bool = False  # True: the probability of each class is stored, too
    half: Literal[0, 1] | None = None  # the half of the counts that was inverted; None: all of the measurement
    tuning: Tuning | None
    history: list[dict[str, float | int | str | None]]  # learning curves of the training
    hardware: str
    packages: dict[str, str]
    seconds_per_sample: float | None = None  # time of only the inversion, without the first (compiling) batch
    # By first sample of a finished shard, the digest of its values; None: an older version wrote these predictions.
    digests: dict[str, str] | None = None
    status: Literal["incomplete", "complete"] = "incomplete"

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.split not in SPLITS:
            raise ValueError(f"split must be one of {', '.join(SPLITS)}")
        if unknown := {dim for field in self.stored for dim in field.dims} - {SAMPLE, *self.sizes}:
            raise ValueError(f"dimensions without a size: {', '.join(sorted(unknown))}")
        if self.chunks.keys() != {field.name for field in self.stored} or not self.chunks:
            raise ValueError("chunks must be given for each stored field, and for no other")
        return self

    @property
    def targets(self) -> tuple[ArrayField, ...]:
        """The fields that are predicted."""
        return self.task.of("target")

    @property
    def stored(self) -> tuple[ArrayField, ...]:
        """The stored fields: all targets, and the probabilities of their classes if these were asked for."""
        classes = [field for field in self.targets if field.classes and self.probabilities]
        return (*self.targets, *map(probability_field, classes))

    @property
    def seen(self) -> str:
        """Reason why scores of these samples are not an independent test; empty if they are."""
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
        """Everything that the predicted values depend on, apart from rounding."""
        names = (
            "kind method version settings dataset_digest split split_digest samples shard chunks sizes tiles overlap"
        )
        plain = self.model_dump(mode="json", include=set(names.split()))
        plain |= {"probabilities": True} if self.probabilities else {}
        plain |= {} if self.half is None else {"half": self.half}
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
    """Return the content of every zarr.json of a store by key, with consolidated metadata if the status is complete."""
    arrays = [_array(predictions, field) for field in predictions.stored]
    complete = predictions.status == "complete"
    return describe(METADATA.attributes(predictions), {"": arrays}, complete=complete)


def _array(predictions: Predictions, field: ArrayField) -> Array:
    shape = field.shape(predictions.sizes)
    whole, shard = (predictions.samples, *shape), (predictions.shard, *shape)
    return Array(field, whole, predictions.chunks[field.name], shard)


def objects(predictions: Predictions, start: int, values: Arrays) -> dict[str, bytes]:
    """Return the objects, by key, that hold one shard.

    Args:
        predictions: metadata of the store.
        start: first sample of the shard.
        values: by field, the predicted values (sample, ...).
    """
    stored = {field.name: values[field.name] for field in predictions.stored}
    return dict(encoded(metadata(predictions), start, stored))


def shard_digest(predictions: Predictions, values: Arrays) -> str:
    """Return the digest of one shard, as hexadecimal text.

    Args:
        predictions: metadata of the store.
        values: by field, the predicted values (sample, ...).
    """
    return digest.leaf({field.name: values[field.name].astype(field.dtype) for field in predictions.stored}).hex()


def is_intact(path: Path, predictions: Predictions, start: int, stop: int) -> bool:
    """Return True if a shard can be read and holds the values that were inferred.

    Args:
        path: the predictions.
        predictions: their metadata.
        start: first sample of the shard.
        stop: end of the shard.
    """
    try:
        _verify_shard(path, predictions, start, stop)
    except UserError:
        return False
    return True


def verify(path: Path, predictions: Predictions) -> None:
    """Check that every shard holds the values that were inferred.

    Args:
        path: the predictions.
        predictions: their metadata.

    Raises:
        UserError: a shard is damaged, or comes from other predictions.
    """
    for start, stop in shard_ranges(predictions.samples, predictions.shard):
        _verify_shard(path, predictions, start, stop)


def _verify_shard(path: Path, predictions: Predictions, start: int, stop: int) -> None:
    values = read_rows(path, predictions, slice(start, stop), everything=True)
    if predictions.digests is not None and predictions.digests.get(str(start)) != shard_digest(predictions, values):
        what = f"{path}: samples {start}:{stop} were not inferred with the others, or have been changed"
        raise UserError(f"{what}; run the same `infer` command again")


def read_predictions(path: Path, *, incomplete: bool = False) -> Predictions:
    """Read the metadata of predictions.

    Args:
        path: the predictions.
        incomplete: accept predictions that are not finished.

    Raises:
        UserError: the path holds no predictions; or their metadata are damaged or newer than this version; or they are
            not finished and `incomplete` is False.
    """
    return METADATA.read(path, "infer again, to another path", incomplete=incomplete)


def read_rows(path: Path, predictions: Predictions, rows: slice, *, everything: bool = False) -> Arrays:
    """Read some samples of all targets.

    Args:
        path: the predictions.
        predictions: their metadata.
        rows: the samples.
        everything: read all stored fields, also the probabilities of classes.

    Returns:
        By field, an array (sample, ...).

    Raises:
        UserError: an object is missing or damaged.
    """
    fields = predictions.stored if everything else predictions.targets
    return {field.name: read_target(path, predictions, field, rows) for field in fields}


def read_target(
    path: Path, predictions: Predictions, field: ArrayField, rows: slice, window: tuple[slice, ...] = ()
) -> np.ndarray:
    """Read some samples of one field.

    Args:
        path: the predictions.
        predictions: their metadata.
        field: the field.
        rows: the samples.
        window: the part of each sample that is read; empty: all of it.

    Returns:
        An array (sample, ...).

    Raises:
        UserError: an object is missing or damaged.
    """
    whole = np.broadcast_to(0, (rows.stop - rows.start, *field.shape(predictions.sizes)))
    expected = whole[:, *window].shape
    with reading(f"{path}: samples {rows.start}:{rows.stop}", "run the same `infer` command again"):
        values = np.asarray(open_split(path, "", {field.name: _array(predictions, field)})[field.name][rows, *window])
        if values.shape != expected:
            raise ValueError(f"{field.name} has shape {values.shape}, not {expected}")
    return values
