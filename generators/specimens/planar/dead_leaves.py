"""Dead leaves: discs and polygons that fall on one another until they cover a field of view, seen from above.

    density of radii r ~ r^-3 between the smallest and the largest

With this law a picture looks the same at every scale (Lee, Mumford and Huang, Int. J. Comput. Vision 41 (2001) 35).
Objects that hide one another make the edges that sums of waves lack. Leaf 0 lies on top; the last one covers the rest.
The image is periodic in the field of view. Lengths are relative to its longer side; leaves do not depend on the grid.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from physics.compiled import compiled

COVERAGE = 8.0  # area of all leaves, relative to the field of view; about exp(-8) of it is left for the last leaf
MAX_CORNERS = 6  # maximum number of corners of a polygon; the minimum is 4
MAX_STRETCH = 2.0  # largest ratio of the long axis of a leaf to its short one

# Normal (cosine, sine) of each edge of a polygon, by its number of corners.
_ANGLES = [[(2 * k + 1) * np.pi / max(corners, 1) for k in range(MAX_CORNERS)] for corners in range(MAX_CORNERS + 1)]
EDGE_NORMALS = np.stack([np.cos(_ANGLES), np.sin(_ANGLES)], axis=-1)

type Floats = NDArray[np.float64]
type Pair = tuple[float, float]


@dataclass(frozen=True)
class Leaves:
    """The leaves of a field of view, one row per leaf, from the top."""

    middle: Floats  # (leaf, 2): y, x, relative to the longer side of the field of view
    axes: Floats  # (leaf, 2): cosine and sine of the angle of the long axis with x
    radius: Floats  # (leaf, 2): radius along the long and the short axis of the ellipse through the corners
    apothem: Floats  # distance of the middle of an edge, relative to that of a corner; 1: a disc
    corners: NDArray[np.int64]  # number of corners; 0: a disc


def draw_leaves(extent: Pair, radii: Pair, polygons: float, rng: np.random.Generator) -> Leaves:
    """Draw the leaves on a field of view.

    Args:
        extent: height and width, relative to the longer one
        radii: smallest and largest radius; the radius of a leaf is that of the disc of equal area
        polygons: share of leaves that are polygons
        rng: random numbers
    """
    count = _count_leaves(extent, radii)
    u = rng.random((count, 7))
    inverse_square = radii[0] ** -2 - u[:, 0] * (radii[0] ** -2 - radii[1] ** -2)
    corners = np.where(u[:, 1] < polygons, 4 + (u[:, 2] * (MAX_CORNERS - 3)).astype(np.int64), 0)
    half_angle = np.pi / np.maximum(corners, 3)
    # Factor on the radius that gives a polygon the area of the disc.
    radius_factor = np.where(corners > 0, np.sqrt(half_angle / (np.sin(half_angle) * np.cos(half_angle))), 1.0)
    stretch = MAX_STRETCH ** (u[:, 3] / 2)
    radius = (radius_factor / np.sqrt(inverse_square))[:, None] * np.stack([stretch, 1 / stretch], axis=1)
    angle = 2 * np.pi * u[:, 4]
    axes = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    return Leaves(u[:, 5:] * extent, axes, radius, np.where(corners > 0, np.cos(half_angle), 1.0), corners)


def _count_leaves(extent: Pair, radii: Pair) -> int:
    """Return the number of leaves whose areas sum to COVERAGE times the area of the field of view.

    The mean square of radii from a to b is 2 ln(b/a) / (a^-2 - b^-2).
    """
    a, b = radii
    mean_square = 2 * np.log(b / a) / (a**-2 - b**-2) if b > a else a**2
    return int(np.ceil(COVERAGE * extent[0] * extent[1] / (np.pi * mean_square)))


def visible_leaves(leaves: Leaves, shape: tuple[int, int], extent: Pair) -> NDArray[np.int32]:
    """Return the index of the leaf that is visible at the middle of each pixel (y, x).

    Args:
        leaves: the leaves
        shape: pixels (y, x), which fill the field of view
        extent: height and width, relative to the longer one
    """
    return _visible_leaves(leaves.middle, leaves.axes, leaves.radius, leaves.apothem, leaves.corners, *shape, *extent)


@compiled
def mean_values(values: Floats, top: NDArray[np.int32], points: int) -> Floats:
    """Return the mean of the leaves' values over pixels of points x points sub-pixels.

    Args:
        values: (leaf,)
        top: index of the visible leaf at each sub-pixel (y, x), from `visible_leaves`
        points: sub-pixels per pixel along each side
    """
    ny, nx = top.shape[0] // points, top.shape[1] // points
    out = np.zeros((ny, nx))
    for i in range(ny * points):
        for j in range(nx * points):
            out[i // points, j // points] += values[top[i, j]]
    return out / points**2


@compiled
def _visible_leaves(
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
    """Find the visible leaves, from the top.

    `free[row, j]` is j while pixel j is not covered. Otherwise it points to a later pixel, and in the end to the first
    one that is not covered. So covered pixels are skipped, and the time hardly depends on how often leaves overlap.
    """
    out = np.full((ny, nx), radius.shape[0] - 1, np.int32)
    free = np.arange(nx + 1).astype(np.int32) + np.zeros((ny, 1), np.int32)
    dy, dx = height / ny, width / nx
    for n in range(radius.shape[0]):
        first, last = _pixel_range(middle[n, 0] / dy, 0.0, radius[n, 0] / dy, ny)
        for i in range(first, last):
            row, y = i % ny, (i + 0.5) * dy - middle[n, 0]
            shift, half = _chord(y, axes[n, 0], axes[n, 1], radius[n, 0], radius[n, 1])
            left, right = _pixel_range(middle[n, 1] / dx, shift / dx, half / dx, nx)
            j = left
            while j < right:
                covered = _next_free(free[row], j % nx) - j % nx
                if covered:
                    j += covered
                    continue
                x = (j + 0.5) * dx - middle[n, 1]
                along = (x * axes[n, 0] + y * axes[n, 1]) / radius[n, 0]
                across = (y * axes[n, 0] - x * axes[n, 1]) / radius[n, 1]
                if _is_inside(along, across, apothem[n], corners[n]):
                    out[row, j % nx] = n
                    free[row, j % nx] = j % nx + 1
                j += 1
    return out


@compiled
def _pixel_range(middle: float, shift: float, reach: float, count: int) -> tuple[int, int]:
    """Return the first and the last + 1 of the pixels within `reach` of middle + shift, with a margin of one pixel.

    They are cut to one period about `middle`; indices are not wrapped.
    """
    first = max(np.floor(middle + shift - reach - 1.0), np.ceil(middle - count / 2 - 0.5))
    last = min(np.ceil(middle + shift + reach + 1.0), first + count, np.ceil(middle + count / 2 - 0.5))
    return int(first), int(last)


@compiled
def _chord(y: float, cos: float, sin: float, long: float, short: float) -> Pair:
    """Return middle and half the length of an ellipse's chord in x at height y: a x^2 + 2 b x y + c y^2 = 1."""
    a = (cos / long) ** 2 + (sin / short) ** 2
    b = cos * sin * (long**-2 - short**-2)
    c = (sin / long) ** 2 + (cos / short) ** 2
    return -b * y / a, np.sqrt(max((b * y) ** 2 - a * (c * y * y - 1), 0.0)) / a


@compiled
def _next_free(free: NDArray[np.int32], j: int) -> int:
    """Return the first free pixel from j on, or the end of the row, and compress the path for later calls."""
    while free[j] != j:
        free[j] = free[free[j]]
        j = free[j]
    return j


@compiled
def _is_inside(along: float, across: float, apothem: float, corners: int) -> bool:
    """Return True if a point lies in the disc or regular polygon that the unit circle encloses."""
    square = along * along + across * across
    if square >= 1.0 or corners == 0:
        return square < 1.0
    if square < apothem * apothem:
        return True
    for k in range(corners):
        if along * EDGE_NORMALS[corners, k, 0] + across * EDGE_NORMALS[corners, k, 1] >= apothem:
            return False
    return True
