"""Projection of a closed mesh along z: its thickness at pixel centres, and its voxels.

Pixel (i, j) lies at ((i - origin[0]) sampling[0], (j - origin[1]) sampling[1]); the origin is pixel N//2 unless another
is given. The line through a pixel's centre crosses the surface where it enters (sign -1) and leaves (sign +1).

Fill rule: row i meets an edge if it lies in [lower y, upper y). A triangle's span [left, right) between its two edges
holds pixel j if left <= j < right. The position of an edge in a row is computed from its lower end, whichever triangle
asks. So neighbours get the same bits: their spans meet without gap or overlap, and crossings of a line always cancel.
"""

import numpy as np
from numpy.typing import NDArray

from generators.specimens.particles.mesh import Floats, Mesh
from physics.compiled import compiled

type Pair = tuple[float, float]
type Point = tuple[float, float, float]
type Crossings = tuple[NDArray[np.int64], Floats, Floats]


def thickness(
    mesh: Mesh,
    shape: tuple[int, int],
    sampling: Pair,
    *,
    z_range: Pair | None = None,
    origin: Pair | None = None,
) -> Floats:
    """Return the length [nm] of the beam's path through the body at each pixel centre, (y, x) float64.

    Args:
        mesh: closed mesh [nm]
        shape: pixels (y, x); parts of the body outside are cut off
        sampling: (y, x) [nm]
        z_range: count only this part [nm]; consecutive ranges add up to the whole
        origin: fractional index of the pixel on the axis; N//2 if None
    """
    low, high = z_range if z_range is not None else (-np.inf, np.inf)
    y, x = origin if origin is not None else (shape[0] // 2, shape[1] // 2)
    _check_arguments(mesh, (*shape, *sampling))
    dy, dx = sampling
    return _thickness(mesh, *shape, float(dy), float(dx), float(y), float(x), float(low), float(high))


def fine_origin(shape: tuple[int, int], factor: int) -> Pair:
    """Return the origin of a finer grid whose blocks of pixels average to the pixels of `shape`.

    Block (i, j) of factor x factor pixels, sampled `factor` times finer, has its centre at pixel (i, j).

    Args:
        shape: pixels (y, x) of the coarse grid
        factor: ratio of the two samplings
    """
    middle = (factor - 1) / 2
    return shape[0] // 2 * factor + middle, shape[1] // 2 * factor + middle


def occupancy(mesh: Mesh, shape: tuple[int, int, int], sampling: tuple[float, float, float]) -> NDArray[np.bool_]:
    """Return True for each voxel (z, y, x) whose centre lies in the body.

    Args:
        mesh: closed mesh [nm]
        shape: voxels (z, y, x); voxel N//2 of each axis lies at 0
        sampling: (z, y, x) [nm]
    """
    _check_arguments(mesh, (*shape, *sampling))
    dz, dy, dx = sampling
    return _occupancy(mesh, *shape, float(dz), float(dy), float(dx))


def _check_arguments(mesh: Mesh, positive: tuple[float, ...]) -> None:
    if not all(number > 0 for number in positive):
        raise ValueError(f"shape and sampling must be positive, not {positive}")
    if not np.isfinite(mesh).all():
        raise ValueError("a mesh must have finite coordinates: a deformation has gone beyond its range")


@compiled
def _thickness(
    mesh: Mesh, ny: int, nx: int, dy: float, dx: float, y: float, x: float, low: float, high: float
) -> Floats:
    """Return the thickness of the body between the heights low and high along the beam, at each pixel."""
    pixels, heights, signs = _crossings(mesh, ny, nx, dy, dx, y, x)
    out = np.zeros(ny * nx)
    for n in range(pixels.shape[0]):
        out[pixels[n]] += signs[n] * min(max(heights[n], low), high)
    return out.reshape(ny, nx)


@compiled
def _occupancy(mesh: Mesh, nz: int, ny: int, nx: int, dz: float, dy: float, dx: float) -> NDArray[np.bool_]:
    """Mark voxel k as inside if more surfaces have been entered than left at or before its centre."""
    pixels, heights, signs = _crossings(mesh, ny, nx, dy, dx, float(ny // 2), float(nx // 2))
    entered = np.zeros((nz, ny * nx), np.int32)
    for n in range(pixels.shape[0]):
        k = int(min(max(np.ceil(heights[n] / dz + nz // 2), 0.0), float(nz)))
        if k < nz:
            entered[k, pixels[n]] -= int(signs[n])
    for k in range(1, nz):
        entered[k] += entered[k - 1]
    return (entered > 0).reshape(nz, ny, nx)


@compiled
def _crossings(mesh: Mesh, ny: int, nx: int, dy: float, dx: float, y: float, x: float) -> Crossings:
    """Return every crossing of the pixels' lines with the surface: flat pixel index, z [nm] and sign."""
    pixels, heights, signs = np.empty(4096, np.int64), np.empty(4096), np.empty(4096)
    count = 0
    for t in range(mesh.shape[0]):
        a, b, c = mesh[t, 0], mesh[t, 1], mesh[t, 2]
        low, middle, high, sign = _sort_corners(
            _grid_position(a, dy, dx, y, x), _grid_position(b, dy, dx, y, x), _grid_position(c, dy, dx, y, x)
        )
        first, half, last = _first_pixel(low[0], ny), _first_pixel(middle[0], ny), _first_pixel(high[0], ny)
        if first == last:
            continue
        maximum = (last - first) * nx
        if count + maximum > pixels.shape[0]:
            pixels, heights, signs = _enlarge(pixels, maximum), _enlarge(heights, maximum), _enlarge(signs, maximum)
        out = pixels[count:], heights[count:], signs[count:]
        lower = _write_crossings((low, middle), (low, high), first, half, nx, sign, out)
        count += lower
        out = pixels[count:], heights[count:], signs[count:]
        count += _write_crossings((middle, high), (low, high), half, last, nx, sign, out)
    return pixels[:count], heights[:count], signs[:count]


@compiled
def _grid_position(vertex: Floats, dy: float, dx: float, y: float, x: float) -> Point:
    """Return the coordinates of a vertex in the grid: y, x [pixels], z [nm]."""
    return vertex[1] / dy + y, vertex[2] / dx + x, vertex[0]


@compiled
def _sort_corners(a: Point, b: Point, c: Point) -> tuple[Point, Point, Point, float]:
    """Sort a triangle's corners by y; return them, and the sign of its crossings if its long edge has larger x."""
    sign = 1.0
    if b[0] < a[0]:
        a, b, sign = b, a, -sign
    if c[0] < b[0]:
        b, c, sign = c, b, -sign
    if b[0] < a[0]:
        a, b, sign = b, a, -sign
    return a, b, c, sign


@compiled
def _write_crossings(
    short: tuple[Point, Point], long: tuple[Point, Point], first: int, last: int, nx: int, sign: float, out: Crossings
) -> int:
    """Write the crossings of the rows first to last between two edges, and return their number.

    A span that runs from the long edge to the short one has the other sign. So where rounding swaps two edges that
    almost coincide, a sliver of the wrong sign cancels the surplus of its neighbours.
    """
    pixels, heights, signs = out
    count = 0
    for i in range(first, last):
        x0, x1 = _edge_coordinate(short, 1, i), _edge_coordinate(long, 1, i)
        left, right = _first_pixel(x0, nx), _first_pixel(x1, nx)
        if left == right:
            continue
        z0, z1 = _edge_coordinate(short, 2, i), _edge_coordinate(long, 2, i)
        for j in range(min(left, right), max(left, right)):
            pixels[count] = i * nx + j
            heights[count] = z0 + (j - x0) / (x1 - x0) * (z1 - z0)
            signs[count] = sign if left < right else -sign
            count += 1
    return count


@compiled
def _edge_coordinate(edge: tuple[Point, Point], axis: int, i: int) -> float:
    """Return a coordinate of an edge (lower end, upper end) in row i; the bound keeps level edges finite."""
    low, high = edge
    return low[axis] + (i - low[0]) * ((high[axis] - low[axis]) * (1 / max(high[0] - low[0], 1e-200)))


@compiled
def _first_pixel(position: float, size: int) -> int:
    """Return the first pixel at or after a position, within the grid."""
    return int(min(max(np.ceil(position), 0.0), float(size)))


@compiled
def _enlarge[T: np.generic](values: NDArray[T], added: int) -> NDArray[T]:
    out = np.empty(2 * values.shape[0] + added, values.dtype)
    out[: values.shape[0]] = values
    return out
