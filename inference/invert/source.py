"""The samples that are inverted: one split of a dataset, read by runs of samples."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import zarr

from schemas import slices
from schemas.manifest import Manifest, read_manifest
from schemas.predictions import Predictions, read_rows
from schemas.runtime.publish import reading
from schemas.store import open_split
from schemas.task import Field, Task

type Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class Source:
    """One split of a complete dataset."""

    path: Path
    manifest: Manifest
    split: str
    target: str = ""  # a parameter that is looked for in place of the task's targets

    @property
    def samples(self) -> int:
        """How many there are."""
        return self.manifest.samples[self.split]

    @property
    def shard(self) -> int:
        """Samples in an object of the dataset."""
        return self.manifest.layout.shard

    @property
    def task(self) -> Task:
        """As the dataset has it, but for the target."""
        return self.manifest.task.targeting(self.target) if self.target else self.manifest.task

    def lacks(self, names: Iterable[str]) -> list[str]:
        """Those of these fields that the dataset does not have."""
        return sorted(set(names) - {field.name for field in self.task.fields})

    def read(self, names: Iterable[str], start: int, stop: int) -> Arrays:
        """Fields of samples start:stop, and whole fields without a sample axis. UserError if they are damaged."""
        return {name: self._read(self.task[name], start, stop) for name in names}

    def take(self, names: Iterable[str], rows: np.ndarray) -> Arrays:
        """Return fields of some samples, which rise, and whole fields without a sample axis. UserError as `read`."""
        first, last = int(rows[0]), int(rows[-1]) + 1
        if last - first == len(rows):
            return self.read(names, first, last)
        parts = np.split(rows, np.flatnonzero(np.diff(rows // self.shard)) + 1)  # an object is read once
        fields = [self.task[name] for name in names]
        return {
            field.name: np.concatenate([self._read(field, int(p[0]), int(p[-1]) + 1)[p - p[0]] for p in parts])
            if field.per_sample
            else self._read(field, 0, 0)
            for field in fields
        }

    def groups(self, number: str) -> list[np.ndarray]:
        """Return the samples of each group, by the parameter that numbers them; without one, all are one group."""
        if not number or self.lacks([number]):
            return [np.arange(self.samples)]
        numbers = self.read([number], 0, self.samples)[number]
        order = np.argsort(numbers, kind="stable")
        return np.split(order, np.flatnonzero(np.diff(numbers[order])) + 1)

    def window(self) -> np.ndarray | None:
        """The field that multiplies the targets, if the task has one."""
        name = self.task.window
        return None if name is None or self.lacks([name]) else self._read(self.task[name], 0, 0)

    @cached_property
    def _group(self) -> zarr.Group:
        return open_split(self.path, self.split)

    def _read(self, field: Field, start: int, stop: int) -> np.ndarray:
        rows: Any = slice(start, stop) if field.per_sample else ...
        expected = ((stop - start,) if field.per_sample else ()) + field.shape(self.manifest.sizes)
        mend = "heal the dataset: run its `generate` command again"
        with reading(f"{self.path}/{self.split}/{field.name}", mend):
            values = np.asarray(self._group[field.name][rows])
            if values.shape != expected:
                raise ValueError(f"shape {values.shape}, must be {expected}")
        return values


class Rows(Source):
    """The same, slice by slice, as scores see it: `task` is `Task.sliced`, `samples` counts slices."""

    @property
    def whole(self) -> Source:
        """Sample by sample."""
        return Source(self.path, self.manifest, self.split, self.target)

    @property
    def slices(self) -> int:
        """Rows of a sample."""
        return slices.count(self.manifest.task, self.manifest.sizes)

    @property
    def samples(self) -> int:
        """Return the number of slices."""
        return self.whole.samples * self.slices

    @property
    def task(self) -> Task:
        """The task of a slice."""
        return self.whole.task.sliced

    def read(self, names: Iterable[str], start: int, stop: int) -> Arrays:
        """Fields of slices start:stop, and whole fields without a sample axis. UserError if they are damaged."""
        first, last = start // self.slices, -(-stop // self.slices)
        return self._rows(self.whole.task, self.whole.read(names, first, last), start, stop)

    def predicted(self, path: Path, predictions: Predictions, start: int, stop: int) -> Arrays:
        """Predictions for slices start:stop. UserError if they are damaged."""
        first, last = start // self.slices, -(-stop // self.slices)
        return self._rows(predictions.task, read_rows(path, predictions, slice(first, last)), start, stop)

    def _rows(self, task: Task, found: Arrays, start: int, stop: int) -> Arrays:
        first, last = start // self.slices, -(-stop // self.slices)
        inside = slice(start - first * self.slices, stop - first * self.slices)
        folded = slices.fold(task, found, last - first, self.manifest.sizes)
        return {name: v[inside] if task.sliced[name].per_sample else v for name, v in folded.items()}

    def named(self, row: int) -> str:
        """Name the sample, and the slice, of a row."""
        sample, part = divmod(row, self.slices)
        task, sizes = self.manifest.task, self.manifest.sizes
        places = np.unravel_index(part, [sizes[dim] for dim in task.slices]) if task.slices else ()
        return ", ".join([f"sample {sample}", *(f"{dim} {i}" for dim, i in zip(task.slices, places, strict=True))])


def open_source(path: Path, split: str) -> Source:
    """A split to read; UserError if there is no such dataset, or no sample in that split."""
    manifest = read_manifest(path)
    manifest.refuse_empty(path, split)
    return Source(path, manifest, split)
