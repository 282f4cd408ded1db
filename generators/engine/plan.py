"""From a recipe to the list of jobs: a pure function, whose result is small however many samples are asked for."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

from generators.recipe import Recipe
from schemas import digest
from schemas.manifest import Manifest, receipts_of
from schemas.store import is_simulated, shard_ranges
from schemas.task import Task

RECEIPTS = "receipts"  # folder of receipts in the folder of a run
SLICES = "slices"  # folder of the finished slices of unfinished samples

type Kind = Literal["samples", "parameters"]


@dataclass(frozen=True)
class Plan:
    """A dataset to be made at a place. The manifest describes it; the recipe also knows where its input files are."""

    out: Path  # absolute, since workers have other working directories
    manifest: Manifest
    recipe: Recipe
    stores_slices: bool = False  # samples take so long that finished slices are stored, if they have slices

    @property
    def task(self) -> Task:
        """The task, with the optional fields that the recipe stores."""
        return self.manifest.task

    @property
    def run(self) -> Path:
        """Folder beside the store that holds the receipts."""
        return receipts_of(self.out)

    @cached_property
    def fingerprint(self) -> str:
        """Hash of everything that the bits of a sample depend on."""
        return hashlib.sha256(digest.canonical_json(self.manifest.identity)).hexdigest()

    def jobs(self) -> Iterator["Job"]:
        """Yield all jobs: parameters first, whose blocks are long, so that no worker is left with one at the end."""
        for split, n in self.manifest.samples.items():
            for start, stop in shard_ranges(n, self.manifest.layout.block):
                yield Job(self, "parameters", split, start, stop)
        for split, n in self.manifest.samples.items():
            for start, stop in shard_ranges(n, self.manifest.layout.shard):
                yield Job(self, "samples", split, start, stop)

    def count(self) -> int:
        """Return the number of jobs."""
        layout = self.manifest.layout
        return sum(-(-n // layout.shard) - (-n // layout.block) for n in self.manifest.samples.values())

    def nbytes(self) -> int:
        """Return the bytes of all samples before compression; images with noise hardly shrink."""
        sample = sum(field.nbytes(self.manifest.sizes) for field in self.task.fields if field.per_sample)
        return (sample + digest.LEAF_BYTES) * sum(self.manifest.samples.values())


@dataclass(frozen=True)
class Job:
    """Consecutive samples to be made: either their simulated arrays, or their parameters."""

    plan: Plan
    kind: Kind
    split: str
    start: int
    stop: int

    @property
    def receipt(self) -> Path:
        """Path of the receipt of this job."""
        return self.plan.run / RECEIPTS / f"{self.kind}-{self.split}-{self.start:012d}.json"

    def __str__(self) -> str:
        return f"{self.split} {self.kind} {self.start}:{self.stop}"

    def fields(self) -> list[str]:
        """Return the names of the fields that this job writes."""
        simulated = self.kind == "samples"
        return [f.name for f in self.plan.task.fields if f.per_sample and is_simulated(f) == simulated]
