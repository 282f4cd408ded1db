"""Dead leaves: discs and polygons that fall on one another until they cover a field, seen from above.

    density of radii r ~ r^-3 between the smallest and the largest

The law under which a picture looks the same at every scale (Lee, Mumford and Huang, Int. J. Comput. Vision 41 (2001)
35): objects that hide one another make the edges that sums of waves lack. Leaf 0 lies on top, the last one covers what
is left. The field is periodic; lengths are relative to its longer side, leaves lie in it whatever the grid.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from physics.compiled import compiled

COVER = 8.0  # times that the leaves cover the field: the last one is seen in exp(-8) of it
CORNERS = 6  # of a polygon, at most; 4 at least
STRETCH = 2.0  # of a leaf's long axis to its short one, at most

# Of each edge of a polygon, by its corners: cosine and sine.
_ANGLES = [[(2 * k + 1) * np.pi / max(corners, 1) for k in range(CORNERS)] for corners in range(CORNERS + 1)]
NORMALS = np.stack([np.cos(_ANGLES), np.sin(_ANGLES)], axis=-1)

type Floats = NDArray[np.float64]
type Pair = tuple[float, float]


@dataclass(frozen=True)
class Leaves:
    """A row for each leaf, from the top."""

    middle: Floats  # (leaf, 2): y, x, relative to the longer side of the field
    axes: Floats  # (leaf, 2): what turns a place (y, x) is cos, sin of the long axis with x
    radius: Floats  # (leaf, 2): along the long and the short axis, of the circle through the corners
    apothem: Floats  # of the middle of an edge to a corner; 1: a disc
    corners: NDArray[np.int64]  # 0: a disc


def fall(field: Pair, radii: Pair, polygons: float, rng: np.random.Generator) -> Leaves:
    """The leaves on a field. radii: the smallest and the largest, of discs of their area. polygons: their share."""
    count = _count(field, radii)
    u = rng.random((count, 7))
    square = radii[0] ** -2 - u[:, 0] * (radii[0] ** -2 - radii[1] ** -2)
    corners = np.where(u[:, 1] < polygons, 4 + (u[:, 2] * (CORNERS - 3)).astype(np.int64), 0)
    half = np.pi / np.maximum(corners, 3)
    wider = np.where(corners > 0, np.sqrt(half / (np.sin(half) * np.cos(half))), 1.0)  # of the same area as the disc
    stretch = STRETCH ** (u[:, 3] / 2)
    radius = (wider / np.sqrt(square))[:, None] * np.stack([stretch, 1 / stretch], axis=1)
    angle = 2 * np.pi * u[:, 4]
    axes = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    return Leaves(u[:, 5:] * field, axes, radius, np.where(corners > 0, np.cos(half), 1.0), corners)


def _count(field: Pair, radii: Pair) -> int:
    """Leaves whose areas sum to COVER fields; <r^2> = 2 ln(b/a) / (a^-2 - b^-2)."""
    low, high = radii
    square = 2 * np.log(high / low) / (low**-2 - high**-2) if high > low else low**2
    return int(np.ceil(COVER * field[0] * field[1] / (np.pi * square)))


def seen(leaves: Leaves, shape: tuple[int, int], field: Pair) -> NDArray[np.int32]:
    """The number of the leaf that is seen at the middle of each pixel (y, x); the pixels fill the field."""
    return _seen(leaves.middle, leaves.axes, leaves.radius, leaves.apothem, leaves.corners, *shape, *field)


@compiled
def means(values: Floats, top: NDArray[np.int32], points: int) -> Floats:
    """Mean of the leaves' values over pixels of points x points places. values: (leaf,). top: of `seen`."""
    ny, nx = top.shape[0] // points, top.shape[1] // points
    out = np.zeros((ny, nx))
    for i in range(ny * points):
        for j in range(nx * points):
            out[i // points, j // points] += values[top[i, j]]
    return out / points**2


@compiled
def _seen(
    middle: Floats,
    axes: Floats,
    radius: Floats,
    apothem: Floats,
    corners: NDArray[np.int64],
    ny: int,
    nx: int,
    height: float,
    width: float,
) -> NDArray[np.int32]:
    """What is covered is passed over (`free`), so that the time hardly depends on how often it is covered."""
    out = np.full((ny, nx), radius.shape[0] - 1, np.int32)
    free = np.arange(nx + 1).astype(np.int32) + np.zeros((ny, 1), np.int32)
    dy, dx = height / ny, width / nx
    for n in range(radius.shape[0]):
        first, last = _span(middle[n, 0] / dy, 0.0, radius[n, 0] / dy, ny)
        for i in range(first, last):
            row, y = i % ny, (i + 0.5) * dy - middle[n, 0]
            shift, half = _chord(y, axes[n, 0], axes[n, 1], radius[n, 0], radius[n, 1])
            left, right = _span(middle[n, 1] / dx, shift / dx, half / dx, nx)
            j = left
            while j < right:
                covered = _next(free[row], j % nx) - j % nx
                if covered:
                    j += covered
                    continue
                x = (j + 0.5) * dx - middle[n, 1]
                along = (x * axes[n, 0] + y * axes[n, 1]) / radius[n, 0]
                across = (y * axes[n, 0] - x * axes[n, 1]) / radius[n, 1]
                if _inside(along, across, apothem[n], corners[n]):
                    out[row, j % nx] = n
                    free[row, j % nx] = j % nx + 1
                j += 1
    return out


@compiled
def _span(middle: float, shift: float, reach: float, count: int) -> tuple[int, int]:
    """The pixels within reach of a shifted middle, one more on each side; none beyond half a period from the middle."""
    first = max(np.floor(middle + shift - reach - 1.0), np.ceil(middle - count / 2 - 0.5))
    last = min(np.ceil(middle + shift + reach + 1.0), first + count, np.ceil(middle + count / 2 - 0.5))
    return int(first), int(last)


@compiled
def _chord(y: float, cos: float, sin: float, long: float, short: float) -> Pair:
    """Middle and half the length of an ellipse's chord in x at the height y: a x^2 + 2 b x y + c y^2 = 1."""
    a = (cos / long) ** 2 + (sin / short) ** 2
    b = cos * sin * (long**-2 - short**-2)
    c = (sin / long) ** 2 + (cos / short) ** 2
    return -b * y / a, np.sqrt(max((b * y) ** 2 - a * (c * y * y - 1), 0.0)) / a


@compiled
def _next(free: NDArray[np.int32], j: int) -> int:
    """The first pixel from j on that nothing covers, or the end of the row; shortens the way there for later."""
    while free[j] != j:
        free[j] = free[free[j]]
        j = free[j]
    return j


@compiled
def _inside(along: float, across: float, apothem: float, corners: int) -> bool:
    """Whether a place lies in a regular polygon, or the disc, that the unit circle encloses."""
    square = along * along + across * across
    if square >= 1.0 or corners == 0:
        return square < 1.0
    if square < apothem * apothem:
        return True
    for k in range(corners):  # noqa: SIM110 (numba knows no all)
        if along * NORMALS[corners, k, 0] + across * NORMALS[corners, k, 1] >= apothem:
            return False
    return True
