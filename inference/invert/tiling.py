"""Cut images that are too large for a network into overlapping tiles, and blend the predictions of the tiles.

Along an axis of n pixels, tiles of m pixels start every m (1 - overlap) pixels; the last tile ends at the border. The
weight of tile k, which starts at s_k, is a Hann window divided by the sum of all windows. It is sampled between its
zeros, so that it is positive everywhere:

    h(i) = sin^2(pi (i + 1/2) / m),   w_k(x) = h(x - s_k) / sum_j h(x - s_j)

Tiles form a grid, so the weights along several axes are multiplied. They sum to 1: a network that returns its input
would return the whole image unchanged.

Lengths are counted on the grid of the targets. Fields on coarser grids are cut at the same places: tiles start and end
between pixels of all grids. For targets with classes, probabilities are blended (those of labels are 1 and 0), and the
class with the highest probability is stored (the lower class if two are equal).
"""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from dataclasses import field as attribute
from functools import reduce
from itertools import batched, product
from math import prod
from typing import Any

import numpy as np

from inference.contract import Arrays
from schemas.runtime.hashes import sha256
from schemas.target_kinds import probability_field
from schemas.task import Field, Task

type Predict = Callable[[Arrays], Arrays]
type Corner = tuple[int, ...]  # first pixel of a tile along each dimension that is cut


def starts(length: int, tile: int, overlap: float, step: int = 1) -> list[int]:
    """Return the first pixels of the tiles along an axis.

    Args:
        length: length of the axis [pixel].
        tile: length of a tile, at most `length`.
        overlap: share of a tile that its neighbour covers.
        step: divides all first pixels; it must divide `length` and `tile`.

    >>> starts(10, 4, 0.5)
    [0, 2, 4, 6]
    >>> starts(11, 4, 0.25)
    [0, 3, 6, 7]
    >>> starts(30, 12, 0.25, 3)
    [0, 9, 18]
    """
    hop = max(round(tile / step * (1 - overlap)), 1) * step
    return [*range(0, length - tile, hop), length - tile]


def weights(length: int, tile: int, overlap: float, step: int = 1) -> dict[int, np.ndarray]:
    """Return the weight (tile,) of each tile along an axis, by its first pixel; they sum to 1 at every pixel.

    Args:
        length: length of the axis [pixel].
        tile: length of a tile.
        overlap: share of a tile that its neighbour covers.
        step: as in `starts`.
    """
    window = np.sin(np.pi * (np.arange(tile) + 0.5) / tile) ** 2
    total = np.zeros(length)
    for start in starts(length, tile, overlap, step):
        total[start : start + tile] += window
    return {start: window / total[start : start + tile] for start in starts(length, tile, overlap, step)}


def dims_to_cut(task: Task, inputs: tuple[str, ...]) -> tuple[str, ...]:
    """Return the dimensions of the targets along which images can be cut.

    All inputs must have this dimension, or a coarser one that covers the same length.

    Args:
        task: the task.
        inputs: the fields that the network or method reads.
    """
    roots, fields = _related_dims(task), [task[name] for name in inputs if task[name].role == "input"]
    common = [{roots.get(dim, dim) for dim in field.dims} for field in fields]
    return tuple(dim for dim in task.spatial(task.of("target")[0]) if all(roots[dim] in dims for dims in common))


def cut_steps(task: Task, sizes: Mapping[str, int], dims: tuple[str, ...]) -> dict[str, int]:
    """Return the distance [pixel of the targets] of places where all grids can be cut, along each dimension.

    Args:
        task: the task.
        sizes: lengths of all dimensions.
        dims: the dimensions of the targets that are cut.
    """
    roots = _related_dims(task)
    others = {dim: [sizes[other] for other in _dims_of_root(roots, dim) if other in sizes] for dim in dims}
    return {dim: math.lcm(*(sizes[dim] // math.gcd(sizes[dim], n) for n in found)) for dim, found in others.items()}


def tile_sizes(task: Task, sizes: Mapping[str, int], lengths: Mapping[str, int]) -> dict[str, int]:
    """Return the lengths of all dimensions in a tile.

    Args:
        task: the task.
        sizes: lengths of all dimensions in whole images.
        lengths: lengths of a tile along the dimensions of the targets that are cut.
    """
    roots = _related_dims(task)
    known = {roots[dim]: dim for dim in lengths}
    cut = {dim: known[root] for dim, root in roots.items() if root in known and dim in sizes}
    return {**sizes, **{dim: lengths[target] * sizes[dim] // sizes[target] for dim, target in cut.items()}}


def _related_dims(task: Task) -> dict[str, str]:
    return task.related("same", "coarser")


def _dims_of_root(roots: Mapping[str, str], dim: str) -> list[str]:
    return [other for other, root in roots.items() if root == roots[dim]]


def to_stored(field: Field, values: np.ndarray) -> np.ndarray:
    """Return values in the dtype of a field.

    Values of integer fields are rounded. Of probabilities (..., class), the class with the highest one is returned, and
    of complex values of a periodic field the angle.

    Args:
        field: the target.
        values: predicted values, probabilities of classes, or complex values of a periodic field.
    """
    kind = np.dtype(field.dtype)
    if field.classes and values.ndim > len(field.dims):
        values = values.argmax(axis=-1)
    if field.period and values.dtype.kind == "c":
        values = np.angle(values) * (field.period / (2 * np.pi))
    if kind.kind in "iub" and values.dtype.kind == "f":
        lowest, highest = (0, 1) if kind.kind == "b" else (np.iinfo(kind).min, np.iinfo(kind).max)
        values = np.clip(np.rint(values), lowest, highest)
    return values.astype(kind, copy=False)


def stored_targets(task: Task, values: Arrays, *, probabilities: bool) -> dict[str, np.ndarray]:
    """Return all targets as they are stored, and the probabilities of their classes if asked for.

    Args:
        task: the task.
        values: predicted values by target.
        probabilities: also return the probability of each class.
    """
    targets = {}
    for field in task.of("target"):
        targets[field.name] = to_stored(field, values[field.name])
        if probabilities and field.classes:
            each = _blendable_values(field, values[field.name])
            targets[probability_field(field).name] = np.moveaxis(each, -1, 1).astype(np.float32)
    return targets


def _blendable_values(field: Field, values: np.ndarray) -> np.ndarray:
    """Return the values that are blended: probabilities of classes (sample, *dims, class), or the values themselves.

    Values of a periodic field are blended as complex numbers exp(2 pi i value / period).
    """
    if field.classes and values.ndim == len(field.dims):
        values = np.eye(len(field.classes))[values]
    return np.exp(2j * np.pi / field.period * values) if field.period else values


@dataclass(frozen=True)
class Tiles:
    """Tiles into which images are cut."""

    lengths: Mapping[str, int]  # pixels of a tile along each dimension that is cut
    overlap: float  # share of a tile that its neighbour covers
    steps: Mapping[str, int] = attribute(default_factory=dict)  # tiles begin at multiples of these

    def count(self, sizes: Mapping[str, int]) -> int:
        """Return the number of tiles of an image with these lengths; 1 if it is not cut."""
        return prod(len(starts(sizes[dim], *self._axis_arguments(dim))) for dim in self.lengths)

    def _axis_arguments(self, dim: str) -> tuple[int, float, int]:
        return self.lengths[dim], self.overlap, self.steps.get(dim, 1)

    def apply(
        self,
        predict: Predict,
        task: Task,
        sizes: Mapping[str, int],
        block: Arrays,
        batch: int,
        *,
        probabilities: bool = False,
    ) -> dict[str, np.ndarray]:
        """Predict the targets of a block tile by tile, and blend them.

        This needs memory for the block, its targets in float64, and `batch` tiles.

        Args:
            predict: function from fields of tiles to targets of tiles.
            task: the task.
            sizes: lengths of all dimensions in whole images.
            block: fields of some samples.
            batch: number of tiles predicted at once.
            probabilities: also return the probability of each class.
        """
        grid = {dim: weights(sizes[dim], *self._axis_arguments(dim)) for dim in self.lengths}
        samples = len(next(values for name, values in block.items() if task[name].per_sample))
        targets, cut = task.of("target"), _TileIndex(task, self.lengths, sizes)
        out = {
            f.name: np.zeros((samples, *f.shape(sizes), *([len(f.classes)] if f.classes else [])), _sum_dtype(f))
            for f in targets
        }
        for group in self._groups(cut, block, grid):
            for part in batched(product(group, range(samples)), batch):
                predicted = predict(self._stack(cut, block, part))
                for field in targets:
                    _add_tiles(cut, out[field.name], field, grid, part, _blendable_values(field, predicted[field.name]))
        return stored_targets(task, out, probabilities=probabilities)

    def _groups(
        self, cut: "_TileIndex", block: Arrays, grid: Mapping[str, Mapping[int, np.ndarray]]
    ) -> Iterator[list[Corner]]:
        """Yield groups of tiles in which all constants have the same values; usually, one group holds all tiles.

        Constants have no batch axis, so only tiles of one group can be predicted together.
        """
        constants = [name for name in block if not cut.task[name].per_sample]
        groups: dict[str, list[Corner]] = {}
        for corner in product(*grid.values()):
            parts = (block[name][cut.index(cut.task[name], corner)] for name in constants)
            groups.setdefault(sha256(b"".join(part.tobytes() for part in parts)), []).append(corner)
        yield from groups.values()

    def _stack(self, cut: "_TileIndex", block: Arrays, part: tuple[tuple[Corner, int], ...]) -> dict[str, np.ndarray]:
        """Return the fields of several tiles, stacked along the sample axis; constants are those of the first tile."""
        first, _ = part[0]
        return {
            name: np.stack([values[i][cut.index(field, corner)[1:]] for corner, i in part])
            if (field := cut.task[name]).per_sample
            else values[cut.index(field, first)]
            for name, values in block.items()
        }


@dataclass(frozen=True)
class _TileIndex:
    """Place of a tile in the fields of a task."""

    task: Task
    lengths: Mapping[str, int]
    sizes: Mapping[str, int]

    def index(self, field: Field, corner: Corner) -> tuple[slice, ...]:
        """Return the index of a tile along all axes of a field.

        Args:
            field: the field.
            corner: first pixel of the tile on the grid of the targets.
        """
        roots = _related_dims(self.task)
        place = {roots[dim]: (start, dim) for dim, start in zip(self.lengths, corner, strict=True)}
        return tuple(
            self._slice(dim, *place[roots[dim]]) if roots.get(dim) in place else slice(None) for dim in field.dims
        )

    def _slice(self, dim: str, start: int, cut: str) -> slice:
        places = (start, start + self.lengths[cut])
        return slice(*(place * self.sizes[dim] // self.sizes[cut] for place in places))


def _sum_dtype(field: Field) -> Any:
    """Return the dtype in which tiles are added."""
    return np.result_type(complex if field.period else field.dtype, float)


def _add_tiles(
    cut: _TileIndex,
    out: np.ndarray,
    field: Field,
    grid: Mapping[str, Mapping[int, np.ndarray]],
    part: tuple[tuple[Corner, int], ...],
    predicted: np.ndarray,
) -> None:
    """Add the tiles of a batch, multiplied by their weights, to the images."""
    for (corner, i), tile in zip(part, predicted, strict=True):
        place = dict(zip(cut.lengths, corner, strict=True))
        along = [grid[dim][place[dim]] if dim in place else np.ones(1) for dim in field.dims[1:]]
        weight = reduce(np.multiply, np.ix_(*along))
        extra = tile.ndim - weight.ndim  # number of axes of classes
        out[i][cut.index(field, corner)[1:]] += tile * weight.reshape(*weight.shape, *[1] * extra)
