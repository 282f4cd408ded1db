"""Images larger than those a network was trained on: cut into overlapping tiles, inverted, blended.

Along an axis of n pixels, tiles of m start every m (1 - overlap) pixels; the last lies flush with the border. Tile k
has the weight of a Hann window, sampled between its zeros so that it is positive everywhere, over the sum of all:

    h(i) = sin^2(pi (i + 1/2) / m),   w_k(x) = h(x - s_k) / sum_j h(x - s_j)

Tiles form a grid, so weights of several axes are products, and they sum to 1: an identity comes out as it went in.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import reduce
from itertools import batched, product
from math import prod

import numpy as np

from inference.contract import Arrays
from schemas.core import SAMPLE, Field, Task
from schemas.objects import sha256

type Predict = Callable[[Arrays], Arrays]
type Corner = tuple[int, ...]  # where a tile starts, per dimension that is cut


def starts(length: int, tile: int, overlap: float) -> list[int]:
    """Where tiles begin along an axis; tile <= length.

    >>> starts(10, 4, 0.5)
    [0, 2, 4, 6]
    >>> starts(11, 4, 0.25)
    [0, 3, 6, 7]
    """
    step = max(round(tile * (1 - overlap)), 1)
    return [*range(0, length - tile, step), length - tile]


def weights(length: int, tile: int, overlap: float) -> dict[int, np.ndarray]:
    """The weight (tile,) of each tile along an axis, by its start; they sum to 1 at every pixel."""
    window = np.sin(np.pi * (np.arange(tile) + 0.5) / tile) ** 2
    total = np.zeros(length)
    for start in starts(length, tile, overlap):
        total[start : start + tile] += window
    return {start: window / total[start : start + tile] for start in starts(length, tile, overlap)}


def spatial(task: Task, inputs: tuple[str, ...]) -> tuple[str, ...]:
    """The dimensions along which images can be cut: those of the targets that all inputs with a sample axis share."""
    targets, fields = task.of("target"), [task[name] for name in inputs if task[name].role == "input"]
    common = set.intersection(*(set(field.dims) for field in (*targets, *fields)))
    return tuple(dim for dim in targets[0].dims if dim in common - {SAMPLE})


def as_stored(field: Field, values: np.ndarray) -> np.ndarray:
    """Values in the dtype of a field; classes are rounded."""
    kind = np.dtype(field.dtype)
    rounded = np.rint(values) if kind.kind in "iu" and values.dtype.kind == "f" else values
    return rounded.astype(kind, copy=False)


@dataclass(frozen=True)
class Tiles:
    """How images are cut: pixels of a tile along each dimension that is cut, and their relative overlap."""

    lengths: Mapping[str, int]
    overlap: float

    def count(self, sizes: Mapping[str, int]) -> int:
        """Tiles of an image; 1 if it is not cut."""
        return prod(len(starts(sizes[dim], tile, self.overlap)) for dim, tile in self.lengths.items())

    def apply(
        self, predict: Predict, task: Task, sizes: Mapping[str, int], block: Arrays, batch: int
    ) -> dict[str, np.ndarray]:
        """What `predict` makes of the tiles of a block, blended; `batch` tiles at once.

        Memory: the block, its targets in float64, and `batch` tiles.
        """
        grid = {dim: weights(sizes[dim], tile, self.overlap) for dim, tile in self.lengths.items()}
        samples = len(next(values for name, values in block.items() if task[name].per_sample))
        targets = task.of("target")
        out = {f.name: np.zeros((samples, *f.shape(sizes)), np.result_type(f.dtype, float)) for f in targets}
        for group in self._groups(task, block, grid):
            for part in batched(product(group, range(samples)), batch):
                predicted = predict(self._stack(task, block, part))
                for field in targets:
                    self._add(out[field.name], field, grid, part, predicted[field.name])
        return {field.name: as_stored(field, out[field.name]) for field in targets}

    def _groups(
        self, task: Task, block: Arrays, grid: Mapping[str, Mapping[int, np.ndarray]]
    ) -> Iterator[list[Corner]]:
        """Tiles at which all constants have the same values, for constants have no batch axis: mostly, all tiles."""
        constants = [name for name in block if not task[name].per_sample]
        groups: dict[str, list[Corner]] = {}
        for corner in product(*grid.values()):
            key = sha256(b"".join(self._cut(task[name], block[name], corner).tobytes() for name in constants))
            groups.setdefault(key, []).append(corner)
        yield from groups.values()

    def _stack(self, task: Task, block: Arrays, part: tuple[tuple[Corner, int], ...]) -> dict[str, np.ndarray]:
        first, _ = part[0]
        return {
            name: np.stack([self._cut(task[name], values[i : i + 1], corner)[0] for corner, i in part])
            if task[name].per_sample
            else self._cut(task[name], values, first)
            for name, values in block.items()
        }

    def _cut(self, field: Field, values: np.ndarray, corner: Corner) -> np.ndarray:
        return values[self._index(field, corner)]

    def _index(self, field: Field, corner: Corner) -> tuple[slice, ...]:
        place = dict(zip(self.lengths, corner, strict=True))
        return tuple(
            slice(place[dim], place[dim] + self.lengths[dim]) if dim in place else slice(None) for dim in field.dims
        )

    def _add(
        self,
        out: np.ndarray,
        field: Field,
        grid: Mapping[str, Mapping[int, np.ndarray]],
        part: tuple[tuple[Corner, int], ...],
        predicted: np.ndarray,
    ) -> None:
        for (corner, i), tile in zip(part, predicted, strict=True):
            place = dict(zip(self.lengths, corner, strict=True))
            along = [grid[dim][place[dim]] if dim in place else np.ones(1) for dim in field.dims[1:]]
            out[i][self._index(field, corner)[1:]] += tile * reduce(np.multiply, np.ix_(*along))
