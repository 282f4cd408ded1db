"""What the tests of specimens share: when a mesh is closed, and a convex body without any mesh."""

import numpy as np
from numpy.typing import NDArray

from generators.specimens.particles.mesh import Mesh, rotate, rotation_matrix
from generators.specimens.particles.solids import cuboid

type Floats = NDArray[np.float64]

# Never square, never only even, never the same pixel twice.
GRIDS = [((64, 48), (0.7, 0.9)), ((33, 50), (1.3, 0.6)), ((41, 37), (0.8, 0.8))]


def is_closed(mesh: Mesh) -> bool:
    """Every directed edge occurs as often as its reverse, bit for bit."""
    ends = np.roll(mesh, -1, axis=1)
    edges = np.concatenate([mesh, ends], axis=2).reshape(-1, 6) + 0.0  # -0.0 becomes 0.0
    reverse = np.concatenate([edges[:, 3:], edges[:, :3]], axis=1)
    return np.array_equal(_rows(edges), _rows(reverse))


def _rows(table: Floats) -> Floats:
    return table[np.lexsort(table.T)]


class Box:
    """A turned cuboid: a mesh, and the half-spaces that bound it."""

    def __init__(self, half: tuple[float, ...], quaternion: tuple[float, ...]) -> None:
        self.half = np.array(half)
        self.axes = rotation_matrix(quaternion).T  # rows: the directions of its axes
        self.mesh = rotate(cuboid(half), quaternion)

    def holds(self, points: Floats) -> NDArray[np.bool_]:
        """Whether points (..., 3) lie within."""
        return np.all(abs(points @ self.axes.T) <= self.half, axis=-1)

    def chord(self, y: Floats, x: Floats) -> Floats:
        """Length of the line along z through (y, x): the interval that six half-spaces leave of it."""
        low, high = np.full(np.broadcast(y, x).shape, -np.inf), np.full(np.broadcast(y, x).shape, np.inf)
        for (nz, ny, nx), half in zip(self.axes, self.half, strict=True):
            ends = [(side * half - ny * y - nx * x) / nz for side in (-1, 1)]
            low, high = np.maximum(low, np.minimum(*ends)), np.minimum(high, np.maximum(*ends))
        return np.asarray(np.maximum(high - low, 0))
