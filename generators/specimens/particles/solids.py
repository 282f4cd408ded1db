"""Basic shapes of particles, about the origin; unstretched, each has the volume of the cube [-1, 1]^3 to rounding."""

from collections.abc import Iterable
from functools import cache
from itertools import combinations, permutations, product
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from generators.specimens.particles.mesh import Mesh, subdivide, volume

type Corner = tuple[float, float, float]
type Kind = Literal[
    "cuboid",
    "tetrahedron",
    "octahedron",
    "dodecahedron",
    "icosahedron",
    "cuboctahedron",
    "truncated_octahedron",
    "truncated_cube",
    "decahedron",
    "hexagonal_prism",
    "triangular_prism",
    "ellipsoid",
]

KINDS: tuple[Kind, ...] = get_args(Kind.__value__)  # datasets store the position of a kind: append, never reorder

CUBE_VOLUME = 8.0
GOLDEN_RATIO = (1 + 5**0.5) / 2
SUBDIVISIONS = 3  # 1280 triangles: the rms error of the thickness is 0.4 % of the radius


def solid(kind: Kind, half: ArrayLike) -> Mesh:
    """Return the mesh of a body, stretched.

    Its volume is that of the cuboid of half edges `half`, to rounding, so size has one meaning for all kinds.

    Args:
        kind: one of `KINDS`
        half: half edges (z, y, x) [nm] of the cuboid of equal volume; the body itself may extend farther
    """
    body = _sphere(SUBDIVISIONS) if kind == "ellipsoid" else _polyhedron(kind)
    return _stretch(body, half)


def cuboid(half: ArrayLike) -> Mesh:
    """Return a box of 12 triangles.

    Args:
        half: half edges (z, y, x) [nm]; the box extends from -half to half
    """
    return solid("cuboid", half)


def ellipsoid(half: ArrayLike, level: int = SUBDIVISIONS) -> Mesh:
    """Return an ellipsoid of 20 * 4**level triangles.

    Its volume is 4/3 pi z y x to rounding: vertices lie a little outside of the true surface, faces a little inside.

    Args:
        half: semi-axes (z, y, x) [nm]; those of `solid("ellipsoid", ...)` are longer by the factor (6 / pi)**(1/3)
        level: number of subdivisions
    """
    return _stretch(_sphere(level), np.asarray(half) * (4 / 3 * np.pi / CUBE_VOLUME) ** (1 / 3))


@cache
def radius(kind: Kind) -> float:
    """Return the distance of the farthest vertex from the middle, at half = (1, 1, 1).

    Args:
        kind: one of `KINDS`
    """
    return float(np.sqrt(np.max(np.sum(solid(kind, 1.0) ** 2, axis=-1))))


def hull(corners: ArrayLike) -> Mesh:
    """Return the convex polyhedron with these corners; the origin lies inside.

    A face of more than four corners is a fan about its centre, so that no triangle is a sliver.

    Args:
        corners: (corner, coordinate)
    """
    points = np.asarray(corners, dtype=np.float64)
    triangles: list[NDArray[np.float64]] = []
    for normal, face in _faces(points):
        ring = points[_order_corners(points[face], normal, face)]
        if len(ring) > 4:
            triangles += [np.array([ring.mean(0), ring[k - 1], ring[k]]) for k in range(len(ring))]
        else:
            triangles += [np.array([ring[0], ring[k - 1], ring[k]]) for k in range(2, len(ring))]
    return np.array(triangles)


def _faces(points: NDArray[np.float64]) -> Iterable[tuple[NDArray[np.float64], list[int]]]:
    """Return outward normal and corners of each face: a plane through three points with no point beyond it."""
    tolerance = 1e-9 * float(abs(points).max())
    a, b, c = points[np.array(list(combinations(range(len(points)), 3)))].transpose(1, 0, 2)
    normals = np.cross(b - a, c - a)
    normals *= np.sign(np.sum(normals * a, axis=1, keepdims=True))
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), tolerance**2)
    heights = normals @ points.T - np.sum(normals * a, axis=1, keepdims=True)
    bounding = np.all(heights < tolerance, axis=1) & np.any(heights < -tolerance, axis=1)
    rows = zip(normals[bounding], heights[bounding], strict=True)
    faces = {tuple(np.flatnonzero(height > -tolerance)): normal for normal, height in rows}
    return [(faces[face], [int(k) for k in face]) for face in sorted(faces)]


def _order_corners(corners: NDArray[np.float64], normal: NDArray[np.float64], names: list[int]) -> list[int]:
    """Return the corners of a face in the order that turns about its normal."""
    spokes = corners - corners.mean(0)
    angles = np.arctan2(spokes @ np.cross(normal, spokes[0]), spokes @ spokes[0])
    return [names[k] for k in np.argsort(np.mod(angles + 1e-9, 2 * np.pi))]


@cache
def _polyhedron(kind: Kind) -> Mesh:
    return _normalise_volume(hull(CORNERS[kind]))


@cache
def _sphere(level: int) -> Mesh:
    """Return an icosahedron subdivided `level` times, with all vertices on one sphere."""
    mesh = hull(CORNERS["icosahedron"])
    for _ in range(level):
        mesh = subdivide(mesh)
        mesh = mesh / np.sqrt(mesh[..., :1] ** 2 + mesh[..., 1:2] ** 2 + mesh[..., 2:] ** 2)
    return _normalise_volume(mesh)


def _normalise_volume(mesh: Mesh) -> Mesh:
    return _stretch(mesh, (CUBE_VOLUME / volume(mesh)) ** (1 / 3))


def _stretch(mesh: Mesh, half: ArrayLike) -> Mesh:
    out: Mesh = mesh * np.asarray(half, dtype=np.float64)
    return out


def _all_signs(z: float, y: float, x: float) -> set[Corner]:
    return {(i * z, j * y, k * x) for i, j, k in product((-1, 1), repeat=3)}


def _all_permutations(z: float, y: float, x: float) -> list[Corner]:
    """Return the points with all signs and orders of the coordinates."""
    return sorted(set().union(*(_all_signs(*order) for order in permutations((z, y, x)))))


def _cyclic_permutations(z: float, y: float, x: float) -> list[Corner]:
    """Return the points with all signs and cyclic orders of the coordinates."""
    return sorted(_all_signs(z, y, x) | _all_signs(y, x, z) | _all_signs(x, z, y))


def _polygon(sides: int, z: float) -> list[Corner]:
    angles = [2 * np.pi * k / sides for k in range(sides)]
    return [(z, float(np.sin(angle)), float(np.cos(angle))) for angle in angles]


# All edges of a body are equal, and volumes agree with published ones. The decahedron is the pentagonal bipyramid: five
# tetrahedra about one edge, as in multiply twinned gold. Its edge is 2 sin(36 deg); its height over the pentagon
# follows from Pythagoras' theorem.
CORNERS: dict[Kind, list[Corner]] = {
    "cuboid": _all_permutations(1, 1, 1),
    "tetrahedron": [(1, 1, 1), (1, -1, -1), (-1, 1, -1), (-1, -1, 1)],
    "octahedron": _all_permutations(1, 0, 0),
    "dodecahedron": _all_permutations(1, 1, 1) + _cyclic_permutations(0, 1 / GOLDEN_RATIO, GOLDEN_RATIO),
    "icosahedron": _cyclic_permutations(0, 1, GOLDEN_RATIO),
    "cuboctahedron": _all_permutations(1, 1, 0),
    "truncated_octahedron": _all_permutations(2, 1, 0),
    "truncated_cube": _all_permutations(1, 1, 2**0.5 - 1),
    "decahedron": [*_polygon(5, 0), *((sign * (4 * np.sin(np.pi / 5) ** 2 - 1) ** 0.5, 0.0, 0.0) for sign in (-1, 1))],
    "hexagonal_prism": _polygon(6, -0.5) + _polygon(6, 0.5),
    "triangular_prism": _polygon(3, -(0.75**0.5)) + _polygon(3, 0.75**0.5),
}
