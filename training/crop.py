"""Parts of samples: random parts to learn from, or all parts that cover a sample.

In each epoch another random part of each sample is drawn. Its corner is a Philox draw of (seed, step, row of the
batch), on the coarsest of the related grids. It is the same from memory and from the store, and on any number of
devices.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import product
from typing import Any

import numpy as np

from schemas.runtime.errors import UserError
from schemas.task import SAMPLE, Field, Task
from training.features import Features

CORNER_STREAM = 1  # word of the Philox counter that is reserved for corners


@dataclass(frozen=True)
class Crop:
    """A plan for cutting samples into parts."""

    task: Task  # task of whole samples
    sizes: Mapping[str, int]  # sizes of whole samples
    lengths: Mapping[str, int]  # lengths of a part, along each dimension of the targets that is cut
    seed: int | None = None  # seed of random parts; None: the parts that cover a sample, one after another

    @cached_property
    def target_dims(self) -> dict[str, str]:
        """For each dimension that is cut, the dimension of the targets to which it relates."""
        roots = self.task.related("same", "coarser")
        known = {roots[dim]: dim for dim in self.lengths}
        return {dim: known[root] for dim, root in roots.items() if root in known and dim in self.sizes}

    @cached_property
    def steps(self) -> dict[str, int]:
        """Distance [pixel of the targets] between the places at which all grids can be cut."""
        shortest = {d: self.sizes[t] // math.gcd(self.sizes[t], self.sizes[d]) for d, t in self.target_dims.items()}
        return {dim: math.lcm(*(n for d, n in shortest.items() if self.target_dims[d] == dim)) for dim in self.lengths}

    @property
    def cut_sizes(self) -> dict[str, int]:
        """Lengths of all dimensions for a part."""
        cut = {dim: self._in_pixels_of(dim, self.lengths[target]) for dim, target in self.target_dims.items()}
        return {**self.sizes, **cut}

    def _in_pixels_of(self, dim: str, place: Any) -> Any:
        """Return a place or a length of the targets in pixels of another dimension."""
        return place * self.sizes[dim] // self.sizes[self.target_dims[dim]]

    @property
    def cut_task(self) -> Task:
        """Task of parts. Constants that are cut have a sample axis, because each part holds another part of them."""
        return replace(self.task, fields=tuple(map(self._cut_field, self.task.fields)))

    def _cut_field(self, field: Field) -> Field:
        return replace(field, dims=(SAMPLE, *field.dims)) if self.cuts(field) and not field.per_sample else field

    def cuts(self, field: Field) -> bool:
        """Return whether a part of a sample holds only a part of the field."""
        return bool(self.target_dims.keys() & set(field.dims))

    @cached_property
    def cover_corners(self) -> np.ndarray:
        """Corners (part, dimension) of parts that cover a sample.

        The last part along each dimension ends where the sample ends.
        """
        along = []
        for dim, length in self.lengths.items():
            last = self.sizes[dim] - length
            along.append([*range(0, last, length), last])
        return np.array(list(product(*along)))

    @property
    def parts(self) -> int:
        """Number of parts of a sample in an epoch."""
        return 1 if self.seed is not None else len(self.cover_corners)

    def corners(self, step: int, ids: np.ndarray) -> np.ndarray:
        """Return the corners of the parts of a batch.

        Args:
            step: step of the run.
            ids: rows of the batch, as numbered by `Order`.

        Returns:
            Corners (row, dimension) [pixel of the targets].
        """
        if self.seed is None:
            covered: np.ndarray = self.cover_corners[ids % self.parts]
            return covered
        rng = np.random.Generator(np.random.Philox(key=self.seed, counter=[0, 0, CORNER_STREAM, step]))
        places = [(self.sizes[dim] - length) // self.steps[dim] + 1 for dim, length in self.lengths.items()]
        drawn: np.ndarray = rng.integers(0, places, (len(ids), len(places))) * list(self.steps.values())
        return drawn

    def starts(self, field: Field, corner: Any) -> list[Any]:
        """Return where a part begins along each dimension of a field, without the sample axis.

        Args:
            field: the field.
            corner: corner of the part, (..., dimension) [pixel of the targets].
        """
        place = {dim: corner[..., i] for i, dim in enumerate(self.lengths)}
        dims = [dim for dim in field.dims if dim != SAMPLE]
        return [self._in_pixels_of(dim, place[self.target_dims[dim]]) if dim in self.target_dims else 0 for dim in dims]

    def part(self, field: Field, values: np.ndarray, corner: np.ndarray) -> np.ndarray:
        """Return a part of the values of one sample.

        Args:
            field: the field.
            values: values of the whole sample.
            corner: corner of the part, (dimension,) [pixel of the targets].
        """
        shape = field.shape(self.cut_sizes)
        return values[tuple(slice(int(a), int(a) + n) for a, n in zip(self.starts(field, corner), shape, strict=True))]


def _why_whole(features: Features, lengths: Mapping[str, int], length: int, whole: bool) -> str:
    """Return the reason why samples are not cut; empty if they may be, or if they are as long as a part."""
    if not features.target_grid:
        return "the target is one value of a whole sample"
    if not lengths:
        smaller = any(features.sizes[dim] != length for dim in features.target_grid)
        shown = ", ".join(f"{dim} {features.sizes[dim]}" for dim in features.target_grid)
        return f"samples are smaller ({shown})" if smaller else ""
    if features.task.window:
        return f"the window {features.task.window} belongs to whole samples"
    return "the network's input or output depends on whole samples" if features.needs_whole_samples or whole else ""


def plan_crop(features: Features, length: int, *, whole: bool, asked: bool = True) -> Crop | None:
    """Return a plan for parts of one length along each dimension of the targets.

    Args:
        features: conversion of fields of whole samples.
        length: length of a part [pixel of the targets].
        whole: whether the model maps whole samples.
        asked: whether the recipe asks for parts; if not, samples that must not be cut stay whole, and a length that
            does not suit the grids is reduced.

    Returns:
        The plan; None if samples stay whole, or are no longer than a part.

    Raises:
        UserError: the recipe asks for parts of samples that must not be cut, or the length does not suit the grids.
    """
    lengths = {dim: length for dim in features.target_grid if features.sizes[dim] > length}
    if why := _why_whole(features, lengths, length, whole):
        if asked:
            raise UserError(f"crop = {length}: {why}; give crop=none")
        return None
    if not lengths:
        return None
    crop = Crop(features.task, features.sizes, lengths)
    if not asked:  # the length that the task proposes suits most factors of its grids, not all
        length -= length % math.lcm(*crop.steps.values())
        return replace(crop, lengths=dict.fromkeys(lengths, length)) if length else None
    if wrong := [f"{n} along {dim}" for dim, n in crop.steps.items() if length % n]:
        raise UserError(f"crop = {length}: must be a multiple of {', '.join(wrong)}, the pixels under one coarse pixel")
    return crop
