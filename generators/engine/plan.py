"""From a recipe to the list of jobs: a pure function, whose result is small however many samples are asked for."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

from generators.recipe import Recipe
from schemas import digest
from schemas.manifest import Manifest, read_manifest, receipts_of
from schemas.runtime.errors import Interrupted, UserError
from schemas.runtime.locks import lock_of, locked, waiting
from schemas.store import is_simulated, shard_ranges
from schemas.task import Field, Task

RECEIPT_FOLDER = "receipts"  # folder of receipts in the folder of a run
SLICE_FOLDER = "slices"  # folder of the finished slices of unfinished samples

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

    @contextmanager
    def shared(self) -> Iterator[None]:
        """Hold the lock of the store together with other writers of this plan, so that nobody replaces objects.

        Raises:
            Interrupted: the dataset has become another one meanwhile, larger or of another recipe
        """
        with locked(lock_of(self.out), shared=True):
            self.refuse_if_changed()
            yield

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Hold the lock of the store alone, so that objects may be replaced. Wait for other writers of this plan.

        Raises:
            Interrupted: as `shared`
        """
        with waiting(self.out, "another `generate`"):
            self.refuse_if_changed()
            yield

    def refuse_if_changed(self) -> None:
        """Refuse to write if the root of the store is of another plan.

        Raises:
            Interrupted: the dataset has become another one meanwhile
        """
        try:
            same = read_manifest(self.out, incomplete=True).same_plan(self.manifest)
        except UserError:  # somebody has removed it
            same = False
        if not same:
            raise Interrupted(f"{self.out}: changed by another `generate` meanwhile; run the same command again")

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

    @cached_property
    def receipt(self) -> Path:
        """Path of the receipt of this job. It names the job to the end, so that two plans never share a receipt."""
        identity = [self.plan.fingerprint, self.plan.manifest.layout.model_dump(mode="json"), self.start, self.stop]
        mark = hashlib.sha256(digest.canonical_json(identity)).hexdigest()[:12]
        return self.plan.run / RECEIPT_FOLDER / f"{self._name}-{mark}.json"

    @property
    def old_receipt(self) -> Path:
        """Path of the receipt that older versions wrote."""
        return self.plan.run / RECEIPT_FOLDER / f"{self._name}.json"

    @property
    def _name(self) -> str:
        return f"{self.kind}-{self.split}-{self.start:012d}"

    def __str__(self) -> str:
        return f"{self.split} {self.kind} {self.start}:{self.stop}"

    def fields(self) -> list[str]:
        """Return the names of the fields that this job writes."""
        return [field.name for field in self._fields()]

    def object_keys(self) -> list[str]:
        """Return the keys in the store of the objects that this job writes: one per field."""
        layout = self.plan.manifest.layout
        index = self.start // (layout.shard if self.kind == "samples" else layout.block)
        ends = [(field.name, "/0" * (len(field.dims) - 1)) for field in self._fields()]
        return [f"{self.split}/{name}/c/{index}{rest}" for name, rest in ends]

    def _fields(self) -> Iterator[Field]:
        simulated = self.kind == "samples"
        return (f for f in self.plan.task.fields if f.per_sample and is_simulated(f) == simulated)
