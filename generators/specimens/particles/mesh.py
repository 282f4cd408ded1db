"""Closed triangle meshes, and deformations that keep them closed to the last bit.

A mesh is a float64 array (triangle, vertex, coordinate) [nm], coordinates (z, y, x), z along the beam. There are no
indices: triangles share a vertex where its bits are equal. A mesh is closed if every directed edge occurs as often
as its reverse. In the order of the components, (b - a) x (c - a) points outwards.

So each operation is a function of a vertex's position alone, in arithmetic that repeats in every lane and every
position of a loop: no matrix product (BLAS promises no order of its sums) and no sine of a vector library.
"""

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from physics.compiled import compiled

type Mesh = NDArray[np.float64]
type Floats = NDArray[np.float64]

SERIES = np.array([(-1) ** k / math.factorial(2 * k + 1) for k in range(9)])  # next: 5e-14 at a quarter turn


def volume(mesh: Mesh) -> float:
    """Volume [nm^3]: by the divergence theorem, the sum of det(a, b, c) / 6 over the triangles."""
    a, b, c = mesh[:, 0], mesh[:, 1], mesh[:, 2]
    return float(np.sum(a * np.cross(b, c))) / 6


def transform(mesh: Mesh, matrix: ArrayLike, shift: ArrayLike = (0.0, 0.0, 0.0)) -> Mesh:
    """matrix @ p + shift for every vertex p = (z, y, x). A matrix of negative determinant would turn it inside out."""
    return _transform(mesh, np.ascontiguousarray(matrix, np.float64), np.ascontiguousarray(shift, np.float64))


def translate(mesh: Mesh, shift: ArrayLike) -> Mesh:
    """The mesh moved by `shift` (z, y, x) [nm]."""
    return transform(mesh, np.eye(3), shift)


def rotate(mesh: Mesh, quaternion: ArrayLike) -> Mesh:
    """The mesh turned about the origin by a quaternion (w, z, y, x) of any length but 0."""
    return transform(mesh, rotation(quaternion))


def rotation(quaternion: ArrayLike) -> Floats:
    """The rotation matrix (3, 3) of a quaternion (w, z, y, x) of any length but 0."""
    w, a, b, c = (float(part) for part in np.asarray(quaternion, np.float64).tolist())
    s = 2 / (w * w + a * a + b * b + c * c)
    return np.array(
        [
            [1 - s * (b * b + c * c), s * (a * b - w * c), s * (a * c + w * b)],
            [s * (a * b + w * c), 1 - s * (a * a + c * c), s * (b * c - w * a)],
            [s * (a * c - w * b), s * (b * c + w * a), 1 - s * (a * a + b * b)],
        ]
    )


def clip(mesh: Mesh, normal: ArrayLike, offset: float) -> Mesh:
    """The part of the body where normal . p <= offset, closed by a cap.

    normal: (z, y, x) of any length but 0. The cap is a fan from the mean of the cut's corners to each of its
    segments: exact for every closed mesh (where the fan overlaps itself, its signed areas cancel).
    """
    return _clip(mesh, np.ascontiguousarray(normal, np.float64), float(offset))


def reach(mesh: Mesh, normal: ArrayLike) -> float:
    """The largest normal . p in the mesh: its support in a direction."""
    z, y, x = (float(part) for part in np.asarray(normal, np.float64).tolist())
    return float(np.max(mesh[..., 0] * z + mesh[..., 1] * y + mesh[..., 2] * x))


def surface(mesh: Mesh, direction: ArrayLike) -> float:
    """The first t > 0 at which t `direction` lies on the surface, seen from the origin within the body."""
    return _surface(mesh, np.ascontiguousarray(direction, np.float64))


@compiled
def subdivide(mesh: Mesh) -> Mesh:
    """Every triangle cut into four at the middles of its edges: the same body, more vertices to displace."""
    out = np.empty((4 * mesh.shape[0], 3, 3))
    for t in range(mesh.shape[0]):
        for k in range(3):
            a, b, c = mesh[t, 0, k], mesh[t, 1, k], mesh[t, 2, k]
            ab, bc, ca = 0.5 * (a + b), 0.5 * (b + c), 0.5 * (c + a)
            out[4 * t, 0, k], out[4 * t, 1, k], out[4 * t, 2, k] = a, ab, ca
            out[4 * t + 1, 0, k], out[4 * t + 1, 1, k], out[4 * t + 1, 2, k] = ab, b, bc
            out[4 * t + 2, 0, k], out[4 * t + 2, 1, k], out[4 * t + 2, 2, k] = ca, bc, c
            out[4 * t + 3, 0, k], out[4 * t + 3, 1, k], out[4 * t + 3, 2, k] = ab, bc, ca
    return out


@compiled
def inflate(mesh: Mesh, scale: float, length: float) -> Mesh:
    """Every vertex moved along its ray from the origin: p -> scale p + length p/|p|, no further in than the origin.

    length [nm] > 0 rounds corners and edges (scale = 1 - a, length = a r: the share a of the way to a sphere of
    radius r); scale = 1 lets the body grow. A body that the origin sees entirely stays one: it never cuts itself.
    """
    out = np.empty_like(mesh)
    for t in range(mesh.shape[0]):
        for v in range(3):
            z, y, x = mesh[t, v, 0], mesh[t, v, 1], mesh[t, v, 2]
            radius = (z * z + y * y + x * x) ** 0.5
            factor = max(scale + length / radius, 0.0) if radius > 0 else 0.0
            out[t, v, 0], out[t, v, 1], out[t, v, 2] = factor * z, factor * y, factor * x
    return out


@compiled
def displace(mesh: Mesh, strength: float, waves: Floats, phases: Floats) -> Mesh:
    """A wavy surface: every vertex moved along its ray by a sum of plane waves.

    p -> p (1 + strength/n sum_k sin 2 pi (waves_k . p + phases_k)), waves (n, 3) [1/nm], phases (n,) [turns].
    Below strength 1 a body that the origin sees entirely stays one, so it never cuts itself.
    """
    out = np.empty_like(mesh)
    for t in range(mesh.shape[0]):
        for v in range(3):
            z, y, x = mesh[t, v, 0], mesh[t, v, 1], mesh[t, v, 2]
            total = 0.0
            for k in range(waves.shape[0]):
                total += sine(waves[k, 0] * z + waves[k, 1] * y + waves[k, 2] * x + phases[k])
            scale = 1 + strength / waves.shape[0] * total
            out[t, v, 0], out[t, v, 1], out[t, v, 2] = scale * z, scale * y, scale * x
    return out


@compiled
def twist(mesh: Mesh, rate: float) -> Mesh:
    """Every plane of constant z turned about the z axis by the angle rate z, rate [rad/nm], from y towards x.

    The motion of space keeps the volume; a mesh follows it as its triangles shrink, with an error as their area.
    """
    out = np.empty_like(mesh)
    for t in range(mesh.shape[0]):
        for v in range(3):
            z, y, x = mesh[t, v, 0], mesh[t, v, 1], mesh[t, v, 2]
            turns = rate * z / (2 * np.pi)
            s, c = sine(turns), sine(turns + 0.25)
            out[t, v, 0], out[t, v, 1], out[t, v, 2] = z, c * y - s * x, s * y + c * x
    return out


@compiled
def sine(turns: float) -> float:
    """sin(2 pi turns) to 1e-13, from + and * alone: the same bits on every machine, and several at once in a loop."""
    u = turns - np.floor(turns + 0.5)
    u = min(max(u, -0.5 - u), 0.5 - u)  # sin(pi - a) = sin a: now |u| <= 1/4
    a = 2 * np.pi * u
    s = a * a
    series = SERIES[8]
    for k in range(7, -1, -1):
        series = SERIES[k] + s * series
    return float(a * series)


@compiled
def _transform(mesh: Mesh, matrix: Floats, shift: Floats) -> Mesh:
    out = np.empty_like(mesh)
    for t in range(mesh.shape[0]):
        for v in range(3):
            z, y, x = mesh[t, v, 0], mesh[t, v, 1], mesh[t, v, 2]
            for k in range(3):
                out[t, v, k] = matrix[k, 0] * z + matrix[k, 1] * y + matrix[k, 2] * x + shift[k]
    return out


@compiled
def _surface(mesh: Mesh, ray: Floats) -> float:
    """A ray meets a triangle if it sees all edges turn the same way; an edge turns for two triangles with one bit."""
    first = np.inf
    for t in range(mesh.shape[0]):
        a, b, c = mesh[t, 0], mesh[t, 1], mesh[t, 2]
        ab, bc, ca = _determinant(ray, a, b), _determinant(ray, b, c), _determinant(ray, c, a)
        if ab >= 0 and bc >= 0 and ca >= 0 and ab + bc + ca > 0:
            first = min(first, _determinant(a, b, c) / (ab + bc + ca))
    return float(first)


@compiled
def _determinant(a: Floats, b: Floats, c: Floats) -> float:
    """a . (b x c); the other sign, and no other bit, with b and c exchanged."""
    z, y, x = b[1] * c[2] - b[2] * c[1], b[2] * c[0] - b[0] * c[2], b[0] * c[1] - b[1] * c[0]
    return float(a[0] * z + a[1] * y + a[2] * x)


@compiled
def _clip(mesh: Mesh, normal: Floats, offset: float) -> Mesh:
    """Sutherland and Hodgman's clipping, triangle by triangle: two parts of each at most, and one of the cap."""
    out = np.empty((3 * mesh.shape[0], 3, 3))
    rim = np.empty((mesh.shape[0], 2, 3))  # segments of the cut, in the sense of the cap
    height, corner = np.empty(3), np.empty((4, 3))
    kept = cuts = 0
    for t in range(mesh.shape[0]):
        inside = 0
        for v in range(3):
            height[v] = normal[0] * mesh[t, v, 0] + normal[1] * mesh[t, v, 1] + normal[2] * mesh[t, v, 2] - offset
            inside += height[v] <= 0
        if inside == 3:
            out[kept] = mesh[t]
            kept += 1
        elif inside > 0:
            corners = _cut(mesh[t], height, corner, rim[cuts])
            cuts += 1
            for v in range(2, corners):
                kept += _put(out, kept, corner[0], corner[v - 1], corner[v])
    centre = np.zeros(3)
    for cut in range(cuts):
        centre += rim[cut, 0] / cuts
    for cut in range(cuts):
        kept += _put(out, kept, centre, rim[cut, 0], rim[cut, 1])
    return out[:kept].copy()


@compiled
def _cut(triangle: Floats, height: Floats, corner: Floats, rim: Floats) -> int:
    """The part of a triangle with height <= 0: `corner`s, their number returned, and its edge at height 0, `rim`."""
    n = 0
    for v in range(3):
        w = (v + 1) % 3
        inside = height[v] <= 0
        if inside:
            corner[n] = triangle[v]
            n += 1
        if inside != (height[w] <= 0):
            # Always from inside to outside: the neighbour, who walks the other way, finds the same bits.
            a, b = (v, w) if inside else (w, v)
            along = height[a] / (height[a] - height[b])
            for k in range(3):
                corner[n, k] = triangle[a, k] + along * (triangle[b, k] - triangle[a, k])
            rim[1 if inside else 0] = corner[n]
            n += 1
    return n


@compiled
def _put(out: Mesh, place: int, a: Floats, b: Floats, c: Floats) -> int:
    """Writes a triangle, and says 1; or 0 if two vertices are one: its edges then cancel among themselves."""
    out[place, 0], out[place, 1], out[place, 2] = a, b, c
    return 0 if _same(a, b) or _same(b, c) or _same(c, a) else 1


@compiled
def _same(a: Floats, b: Floats) -> bool:
    return bool(a[0] == b[0] and a[1] == b[1] and a[2] == b[2])
