"""Read one split of a dataset, some samples at a time."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Literal

import numpy as np

from schemas import slices
from schemas.counting.counts import Counts, require_counts
from schemas.counting.thinning import halve
from schemas.manifest import Manifest, read_manifest, reading_split
from schemas.predictions import Predictions, read_target
from schemas.runtime.errors import UserError
from schemas.store import StoredArrays, open_split
from schemas.task import Field, Task

type Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class Source:
    """One split of a complete dataset."""

    path: Path
    manifest: Manifest
    split: str
    targets: tuple[str, ...] = ()  # targets or parameters that are predicted alone; empty: all targets of the task
    half: Literal[0, 1] | None = None  # the half of the counts that is read in place of the input; None: all of it

    @property
    def samples(self) -> int:
        """Number of samples."""
        return self.manifest.samples[self.split]

    @property
    def shard(self) -> int:
        """Number of samples in a shard of the dataset."""
        return self.manifest.layout.shard

    @property
    def task(self) -> Task:
        """Task of the dataset, whose targets are those that are predicted."""
        return self.manifest.task.targeting(self.targets) if self.targets else self.manifest.task

    def lacks(self, names: Iterable[str]) -> list[str]:
        """Return those of these fields that the dataset does not have."""
        return sorted(set(names) - {field.name for field in self.task.fields})

    def read(self, names: Iterable[str], start: int, stop: int) -> Arrays:
        """Read consecutive samples.

        Args:
            names: the fields; those without a sample axis are read as a whole.
            start: the first sample.
            stop: the sample after the last.

        Raises:
            UserError: the dataset is damaged.
        """
        if self.half is not None and stop > start:
            return self._take_half(tuple(names), np.arange(start, stop))
        return {name: self._read_field(self.task[name], start, stop) for name in names}

    def take(self, names: Iterable[str], rows: np.ndarray) -> Arrays:
        """Read some samples.

        Args:
            names: the fields; those without a sample axis are read as a whole.
            rows: the samples, in rising order.

        Raises:
            UserError: the dataset is damaged.
        """
        if self.half is not None:
            return self._take_half(tuple(names), rows)
        first, last = int(rows[0]), int(rows[-1]) + 1
        if last - first == len(rows):
            return self.read(names, first, last)
        parts = np.split(rows, np.flatnonzero(np.diff(rows // self.shard)) + 1)  # each shard is read once
        fields = [self.task[name] for name in names]
        return {
            field.name: np.concatenate([self._read_field(field, int(p[0]), int(p[-1]) + 1)[p - p[0]] for p in parts])
            if field.per_sample
            else self._read_field(field, 0, 0)
            for field in fields
        }

    def groups(self, number: str) -> list[np.ndarray]:
        """Return the samples of each group.

        Args:
            number: the parameter that numbers the groups; if it is empty or missing, all samples are one group.
        """
        if not number or self.lacks([number]):
            return [np.arange(self.samples)]
        numbers = self.read([number], 0, self.samples)[number]
        order = np.argsort(numbers, kind="stable")
        return np.split(order, np.flatnonzero(np.diff(numbers[order])) + 1)

    def window(self) -> np.ndarray | None:
        """Return the field that multiplies the targets, or None if the dataset has none."""
        name = self.task.window
        return None if name is None or self.lacks([name]) else self._read_field(self.task[name], 0, 0)

    @cached_property
    def counts(self) -> Counts:
        """Rule by which counts follow from an input.

        Raises:
            UserError: the task has no such rule, or the dataset lacks its fields.
        """
        return require_counts(self.task, self.path, "--halves")

    def _take_half(self, names: tuple[str, ...], rows: np.ndarray) -> Arrays:
        """Read some samples with one half of their counts."""
        scale = (self.counts.scale,) if self.counts.input in names else ()
        whole = self._whole.take(dict.fromkeys((*names, *scale)), rows)
        digest = self.manifest.split_digests.get(self.split, "")
        found = halve(self.task, self.counts, whole, self.half or 0, digest, rows, str(self.path))
        return {name: found[name] for name in names}

    @cached_property
    def _whole(self) -> "Source":
        return Source(self.path, self.manifest, self.split, self.targets)

    @cached_property
    def _group(self) -> StoredArrays:
        return open_split(self.path, self.split)

    def _read_field(self, field: Field, start: int, stop: int) -> np.ndarray:
        expected = ((stop - start,) if field.per_sample else ()) + field.shape(self.manifest.sizes)
        remedy = "repair the dataset: run its `generate` command again"
        digest, what = self.manifest.split_digests.get(self.split, ""), f"{self.path}/{self.split}/{field.name}"
        with reading_split(self.path, self.split, digest, what, remedy):
            group, rows = self._group, slice(start, stop)
            values = group.read(field.name, rows) if field.per_sample else np.asarray(group[field.name][...])
            if values.shape != expected:
                raise ValueError(f"shape {values.shape}, must be {expected}")
        return values


class Rows(Source):
    """One split of a dataset whose rows are slices, as scores need it: `task` is `Task.sliced`."""

    @property
    def samples_source(self) -> Source:
        """The same split, whose rows are whole samples."""
        return Source(self.path, self.manifest, self.split, self.targets, self.half)

    @property
    def slices(self) -> int:
        """Number of slices of a sample."""
        return slices.slices_per_sample(self.manifest.task, self.manifest.sizes)

    @property
    def samples(self) -> int:
        """Number of slices of all samples."""
        return self.samples_source.samples * self.slices

    @property
    def task(self) -> Task:
        """Task of a slice."""
        return self.samples_source.task.sliced

    def read(self, names: Iterable[str], start: int, stop: int) -> Arrays:
        """Read consecutive slices.

        Args:
            names: the fields; those without a sample axis are read as a whole.
            start: the first slice.
            stop: the slice after the last.

        Raises:
            UserError: the dataset is damaged.
        """
        source = self.samples_source
        return self._read_slices(source.task, partial(source.read, tuple(names)), start, stop)

    def read_predicted(self, path: Path, predictions: Predictions, start: int, stop: int) -> Arrays:
        """Read the predictions of the targets for consecutive slices.

        Args:
            path: the store of predictions.
            predictions: its metadata.
            start: the first slice.
            stop: the slice after the last.

        Raises:
            UserError: the predictions are damaged.
        """

        def read(first: int, last: int) -> Arrays:
            names = [field.name for field in self.task.of("target")]
            return {name: read_target(path, predictions, predictions.task[name], slice(first, last)) for name in names}

        return self._read_slices(predictions.task, read, start, stop)

    def _read_slices(self, task: Task, read: Callable[[int, int], Arrays], start: int, stop: int) -> Arrays:
        """Read the samples that some slices belong to, and return these slices."""
        first, last = start // self.slices, -(-stop // self.slices)
        inside = slice(start - first * self.slices, stop - first * self.slices)
        folded = slices.fold(task, read(first, last), last - first, self.manifest.sizes)
        return {name: v[inside] if task.sliced[name].per_sample else v for name, v in folded.items()}

    def row_text(self, row: int) -> str:
        """Return the number of the sample and the slice of a row in words, such as `sample 3, tilt 5`."""
        sample, part = divmod(row, self.slices)
        task, sizes = self.manifest.task, self.manifest.sizes
        places = np.unravel_index(part, [sizes[dim] for dim in task.slices]) if task.slices else ()
        return ", ".join([f"sample {sample}", *(f"{dim} {i}" for dim, i in zip(task.slices, places, strict=True))])


def open_tuning_source(path: Path) -> Source:
    """Open the validation samples of a dataset, or its training samples if there are none.

    Args:
        path: the dataset.

    Raises:
        UserError: there is no such dataset, or it has neither.
    """
    manifest = read_manifest(path)
    for split in ("validation", "train"):
        if manifest.samples.get(split):
            return open_source(path, split)
    raise UserError(f"--tune-on {path}: has no validation or training samples; generate some with --validation N")


def open_source(path: Path, split: str) -> Source:
    """Open a split of a dataset.

    Args:
        path: the dataset.
        split: train, validation or test.

    Raises:
        UserError: there is no such dataset, or the split is empty.
    """
    manifest = read_manifest(path)
    manifest.refuse_empty(path, split)
    return Source(path, manifest, split)
