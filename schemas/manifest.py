"""The manifest of a dataset: root attributes from which it can be read, checked and made again."""

import math
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AliasChoices, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, model_validator

from schemas.digest import canonical_json
from schemas.runtime.documents import Metadata
from schemas.runtime.errors import Interrupted, UserError, nearest
from schemas.runtime.hashes import sha256
from schemas.runtime.publish import inside, is_folder, read, reading, signature
from schemas.runtime.terminal import one_line
from schemas.task import SAMPLE, SPLITS, Task

FORMAT = 2  # format of the manifest and of the layout; format 1 had other names for grids and ambiguities


class Layout(BaseModel):
    """Division of samples into objects and chunks: a property of the store, not of the identity of the dataset."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    # samples in an object of a simulated array; older versions wrote it as `unit`
    shard: int = Field(ge=1, le=10**7, validation_alias=AliasChoices("shard", "unit"))
    block: int = Field(ge=1, le=10**7)  # samples in an object of a parameter
    chunks: dict[str, tuple[Annotated[int, Field(ge=1)], ...]]  # shape of a chunk by simulated array


class Statistics(BaseModel):
    """Statistics of one field over the first training samples."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    samples: int
    mean: float
    std: float
    min: float
    max: float


class ComparedSlice(BaseModel):
    """Comparison of one slice of a sample with a better approximation, at some of its values."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    split: str
    sample: Annotated[int, Field(ge=0)]
    slice: tuple[Annotated[int, Field(ge=0)], ...]
    values: Annotated[int, Field(ge=1)]  # number of values compared
    error: Annotated[float, Field(ge=0, allow_inf_nan=False)]  # sqrt(sum difference^2 / sum reference^2)
    ratio: Annotated[float, Field(allow_inf_nan=False)]  # sum of the stored approximation / sum of the reference


class Accuracy(BaseModel):
    """Difference between the approximation of a recipe and a better one, as `dataset certify` found."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    about: Annotated[str, BeforeValidator(one_line)]
    slices: tuple[ComparedSlice, ...]

    @property
    def error(self) -> float:
        """Root of the mean squared error of the slices."""
        return math.sqrt(sum(one.error**2 for one in self.slices) / max(len(self.slices), 1))


class SourceFile(BaseModel):
    """A file from which measurements were imported."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Annotated[str, BeforeValidator(one_line)]  # names on disk may hold any bytes
    sha256: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


class Manifest(BaseModel):
    """Content of the root attributes under the key `drybeam`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: int
    task: Task
    sizes: dict[str, Annotated[int, Field(ge=1)]]
    samples: dict[str, Annotated[int, Field(ge=0)]]
    origin: Literal["simulated", "measured"]
    seed: Annotated[int, Field(ge=0)] | None
    recipe: dict[str, Any] | None
    # unit and meaning of each setting of the recipe; older versions wrote them as `knobs`
    settings: dict[str, dict[str, Any]] = Field(validation_alias=AliasChoices("settings", "knobs"))
    generator_version: int | None
    platform: str
    packages: dict[str, str]
    layout: Layout
    status: Literal["incomplete", "complete"] = "incomplete"
    root_digest: str | None = None
    metadata_digest: str | None = None  # older versions did not write it
    split_digests: dict[str, str] = {}
    statistics: dict[str, Statistics] = {}
    sources: list[SourceFile] = []  # files of a measurement, in the order of samples and planes
    accuracy: Accuracy | None = None  # what `dataset certify` found; a property of the store, not of the samples

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if not self.samples or (unknown := self.samples.keys() - set(SPLITS)):
            raise ValueError(f"splits must be some of {', '.join(SPLITS)}")
        if unknown := {dim for field in self.task.fields for dim in field.dims} - {SAMPLE, *self.sizes}:
            raise ValueError(f"dimensions without a size: {', '.join(sorted(unknown))}")
        if not any(field.per_sample for field in self.task.fields):
            raise ValueError("at least one field must have a value per sample")
        canonical_json(self.recipe)  # ValueError: a number is NaN or infinite
        if self.origin == "simulated" and (self.seed is None or self.recipe is None):
            raise ValueError("a simulated dataset must have a seed and a recipe")
        return self

    @property
    def identity(self) -> list[Any]:
        """Everything that the bits of a sample depend on, besides its split and index."""
        return [self.recipe, self.seed, self.generator_version, self.task.identity(), self.platform]

    def sealed(self) -> Self:
        """Return the manifest with its metadata digest: the hash of everything but samples, layout and packages.

        It covers the task with its units, formula and ambiguities, the recipe, the sources and the platform. Statistics
        follow from the samples, which the root digest covers.
        """
        left_out = {
            "format",
            "layout",
            "packages",
            "status",
            "split_digests",
            "statistics",
            "metadata_digest",
            "accuracy",
        }
        known = self.model_dump(mode="json", exclude=left_out)
        return self.model_copy(update={"metadata_digest": sha256(canonical_json(known))})

    @property
    def family(self) -> str:
        """Hash shared by all datasets with the same samples, whatever their number; empty for measurements."""
        return sha256(canonical_json(self.identity)) if self.origin == "simulated" else ""

    def same_plan(self, other: "Manifest") -> bool:
        """Return True if both manifests describe the same objects: same samples, same numbers, same layout."""
        return (self.identity, self.samples, self.layout) == (other.identity, other.samples, other.layout)

    def refuse_empty(self, path: Path, split: str) -> None:
        """Refuse a split without samples.

        Args:
            path: the dataset, for the message.
            split: name of the split.

        Raises:
            UserError: the split has no samples.
        """
        if not self.samples.get(split):
            there = ", ".join(f"{name} ({n:,})" for name, n in self.samples.items() if n) or "none"
            raise UserError(
                f"--split {split}: {path} has no samples in this split; samples are in: {there}"
                f"{nearest(split, self.samples)}"
            )

    @property
    def first_split(self) -> str:
        """The first split that has samples; "train" if none has."""
        return next((split for split in self.splits if self.samples[split]), "train")

    @property
    def splits(self) -> list[str]:
        """Names of the splits, in order."""
        return [split for split in SPLITS if split in self.samples]


METADATA = Metadata(
    model=Manifest,
    key="drybeam",
    uuid="0d1a9f5c-5a86-4c58-9f0e-6a1f6f0b7c11",
    about="datasets of simulated or measured images with their targets, parameters, recipe and digest",
    format=FORMAT,
    what="dataset",
    command="generate --task ...",
)


def read_manifest(path: Path, *, incomplete: bool = False) -> Manifest:
    """Read the manifest of a dataset.

    Args:
        path: the dataset.
        incomplete: accept a dataset that is not finished.

    Raises:
        UserError: the path holds no dataset, or is one of its splits; or the manifest is damaged or newer than this
            version; or the dataset is not finished and `incomplete` is False.
    """
    inside(path, "zarr.json")
    if path.absolute().name in SPLITS and read(path.absolute().parent / "zarr.json") is not None:
        raise UserError(f"{path}: is a split of a dataset; give the dataset itself, {path.absolute().parent}")
    kept = is_folder(receipts_of(path))
    mend = "delete this file and run `generate` again: finished shards are kept" if kept else "give another path"
    return METADATA.read(path, mend, incomplete=incomplete)


@contextmanager
def reading_split(path: Path, split: str, digest: str, what: str, remedy: str) -> Iterator[None]:
    """Read a part of a split. Whoever reads a dataset for a long time must not mix the samples of two.

    Args:
        path: the dataset.
        split: the split.
        digest: digest of the split when it was opened; empty: any is accepted.
        what: the part that is read, for messages.
        remedy: the remedy for damage, for messages.

    Raises:
        UserError: the part cannot be read.
        Interrupted: another dataset has taken the place meanwhile, so the part may be of either.
    """
    try:
        with reading(what, remedy):
            yield
    finally:  # also if objects are missing, because another `generate` has removed them
        if digest and _digest_at(path, split, signature(path / "zarr.json")) != digest:
            raise Interrupted(f"{path}: has become another dataset meanwhile; run the same command again")


@lru_cache(maxsize=16)
def _digest_at(path: Path, split: str, signature: object) -> str:
    """Return the digest of a split; empty if there is none. signature: that of the root, which tells if it is new."""
    with suppress(UserError):
        return read_manifest(path, incomplete=True).split_digests.get(split, "")
    return ""


def receipts_of(path: Path) -> Path:
    """Return the folder beside a dataset in which `generate` keeps its receipts."""
    return Path(f"{path.absolute()}.run")
