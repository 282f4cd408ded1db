"""Closed triangle meshes, and deformations that keep them closed to the last bit.

A mesh is a float64 array (triangle, vertex, coordinate) [nm] with coordinates (z, y, x), z along the beam. There are no
indices: triangles share a vertex where its bits are equal. A mesh is closed if every directed edge occurs as often as
its reverse. In the order of the components, (b - a) x (c - a) points outwards.

So each operation must be a function of the position of a vertex alone, in arithmetic that gives the same bits in every
SIMD lane and every position of a loop. Matrix products (BLAS promises no order of its sums) and the sine of a vector
library do not, and are not used.
"""

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from physics.compiled import compiled

type Mesh = NDArray[np.float64]
type Floats = NDArray[np.float64]

# At a quarter turn, the next term of the series is 5e-14.
SINE_SERIES = np.array([(-1) ** k / math.factorial(2 * k + 1) for k in range(9)])


def volume(mesh: Mesh) -> float:
    """Volume [nm^3] of a body, by the divergence theorem: the sum of det(a, b, c) / 6 over the triangles.

    Args:
        mesh: closed mesh [nm]
    """
    a, b, c = mesh[:, 0], mesh[:, 1], mesh[:, 2]
    return float(np.sum(a * np.cross(b, c))) / 6


def transform(mesh: Mesh, matrix: ArrayLike, shift: ArrayLike = (0.0, 0.0, 0.0)) -> Mesh:
    """Return the mesh with every vertex p = (z, y, x) moved to matrix @ p + shift.

    Args:
        mesh: mesh [nm]
        matrix: (3, 3), of positive determinant; a negative one would turn the mesh inside out
        shift: (z, y, x) [nm]
    """
    return _transform(mesh, np.ascontiguousarray(matrix, np.float64), np.ascontiguousarray(shift, np.float64))


def translate(mesh: Mesh, shift: ArrayLike) -> Mesh:
    """Return the mesh moved by a shift.

    Args:
        mesh: mesh [nm]
        shift: (z, y, x) [nm]
    """
    return transform(mesh, np.eye(3), shift)


def rotate(mesh: Mesh, quaternion: ArrayLike) -> Mesh:
    """Return the mesh turned about the origin.

    Args:
        mesh: mesh [nm]
        quaternion: (w, z, y, x) of any length but 0
    """
    return transform(mesh, rotation_matrix(quaternion))


def rotation_matrix(quaternion: ArrayLike) -> Floats:
    """Return the rotation matrix (3, 3) of a quaternion.

    Args:
        quaternion: (w, z, y, x) of any length but 0
    """
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
    """Return the part of the body where normal . p <= offset, closed by a cap.

    The cap is a fan from the mean of the cut's corners to each of its segments. This is exact for every closed mesh:
    where the fan overlaps itself, its signed areas cancel.

    Args:
        mesh: closed mesh [nm]
        normal: (z, y, x) of any length but 0
        offset: [nm] for a normal of length 1
    """
    return _clip(mesh, np.ascontiguousarray(normal, np.float64), float(offset))


def support(mesh: Mesh, normal: ArrayLike) -> float:
    """Return the largest normal . p in the mesh, its support in this direction.

    Args:
        mesh: mesh [nm]
        normal: (z, y, x)
    """
    z, y, x = (float(part) for part in np.asarray(normal, np.float64).tolist())
    return float(np.max(mesh[..., 0] * z + mesh[..., 1] * y + mesh[..., 2] * x))


def surface_distance(mesh: Mesh, direction: ArrayLike) -> float:
    """Return the first t > 0 at which t `direction` lies on the surface.

    Args:
        mesh: closed mesh [nm] about the origin
        direction: (z, y, x)
    """
    return _surface_distance(mesh, np.ascontiguousarray(direction, np.float64))


@compiled
def subdivide(mesh: Mesh) -> Mesh:
    """Cut every triangle into four at the middles of its edges: the body stays, with more vertices to displace.

    Args:
        mesh: mesh [nm]
    """
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
    """Move every vertex along its ray from the origin: p -> scale p + length p/|p|, but never beyond the origin.

    length > 0 rounds corners and edges: with scale = 1 - a and length = a r, a vertex moves the share a of its way to a
    sphere of radius r. With scale = 1 the body grows. A body whose whole surface is visible from the origin stays so,
    and never intersects itself.

    Args:
        mesh: mesh [nm]
        scale: factor of each vertex
        length: added along the ray [nm]
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
    """Make a surface wavy: move every vertex along its ray by a sum of plane waves.

        p -> p (1 + strength/n sum_k sin 2 pi (waves_k . p + phases_k))

    Below strength 1, a body whose whole surface is visible from the origin stays so, and never intersects itself.

    Args:
        mesh: mesh [nm]
        strength: largest displacement, relative to the distance from the origin
        waves: wave vectors (n, 3) [1/nm]
        phases: (n,) [turns]
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
    """Turn every plane of constant z about the z axis by the angle rate z, from y towards x.

    The motion of space keeps the volume. A mesh approaches this as its triangles shrink, with an error proportional to
    their area.

    Args:
        mesh: mesh [nm]
        rate: [rad/nm]
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
    """Return sin(2 pi turns) to 1e-13.

    It uses only + and *, so bits are the same on every machine, and loops may compute several values at once.

    Args:
        turns: angle [turns]
    """
    u = turns - np.floor(turns + 0.5)
    u = min(max(u, -0.5 - u), 0.5 - u)  # uses sin(pi - a) = sin a, so that |u| <= 1/4
    a = 2 * np.pi * u
    s = a * a
    series = SINE_SERIES[8]
    for k in range(7, -1, -1):
        series = SINE_SERIES[k] + s * series
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
def _surface_distance(mesh: Mesh, ray: Floats) -> float:
    """Return the first t at which t times the ray meets a triangle, whose edges then all turn the same way about it.

    The two triangles of an edge compute the same bits for its turn, so no ray slips between them.
    """
    first = np.inf
    for t in range(mesh.shape[0]):
        a, b, c = mesh[t, 0], mesh[t, 1], mesh[t, 2]
        ab, bc, ca = _determinant(ray, a, b), _determinant(ray, b, c), _determinant(ray, c, a)
        if ab >= 0 and bc >= 0 and ca >= 0 and ab + bc + ca > 0:
            first = min(first, _determinant(a, b, c) / (ab + bc + ca))
    return float(first)


@compiled
def _determinant(a: Floats, b: Floats, c: Floats) -> float:
    """Return a . (b x c); exchanging b and c changes its sign and no other bit."""
    z, y, x = b[1] * c[2] - b[2] * c[1], b[2] * c[0] - b[0] * c[2], b[0] * c[1] - b[1] * c[0]
    return float(a[0] * z + a[1] * y + a[2] * x)


@compiled
def _clip(mesh: Mesh, normal: Floats, offset: float) -> Mesh:
    """Clip triangle by triangle (Sutherland and Hodgman): at most two parts of each, and one triangle of the cap."""
    out = np.empty((3 * mesh.shape[0], 3, 3))
    rim = np.empty((mesh.shape[0], 2, 3))  # segments of the cut, in the direction of the edges of the cap
    height, corner = np.empty(3), np.empty((4, 3))
    written = cuts = 0
    for t in range(mesh.shape[0]):
        inside = 0
        for v in range(3):
            height[v] = normal[0] * mesh[t, v, 0] + normal[1] * mesh[t, v, 1] + normal[2] * mesh[t, v, 2] - offset
            inside += height[v] <= 0
        if inside == 3:
            out[written] = mesh[t]
            written += 1
        elif inside > 0:
            corners = _cut_triangle(mesh[t], height, corner, rim[cuts])
            cuts += 1
            for v in range(2, corners):
                written += _write_triangle(out, written, corner[0], corner[v - 1], corner[v])
    centre = np.zeros(3)
    for cut in range(cuts):
        centre += rim[cut, 0] / cuts
    for cut in range(cuts):
        written += _write_triangle(out, written, centre, rim[cut, 0], rim[cut, 1])
    return out[:written].copy()


@compiled
def _cut_triangle(triangle: Floats, height: Floats, corner: Floats, rim: Floats) -> int:
    """Write the corners of the part of a triangle with height <= 0, and its edge at height 0; return their number."""
    n = 0
    for v in range(3):
        w = (v + 1) % 3
        inside = height[v] <= 0
        if inside:
            corner[n] = triangle[v]
            n += 1
        if inside != (height[w] <= 0):
            # Always computed from inside to outside, so the neighbour, which runs the other way, gets the same bits.
            a, b = (v, w) if inside else (w, v)
            share = height[a] / (height[a] - height[b])
            for k in range(3):
                corner[n, k] = triangle[a, k] + share * (triangle[b, k] - triangle[a, k])
            rim[1 if inside else 0] = corner[n]
            n += 1
    return n


@compiled
def _write_triangle(out: Mesh, index: int, a: Floats, b: Floats, c: Floats) -> int:
    """Write a triangle and return 1; return 0 if two vertices are equal, since its edges cancel among themselves."""
    out[index, 0], out[index, 1], out[index, 2] = a, b, c
    return 0 if _are_equal(a, b) or _are_equal(b, c) or _are_equal(c, a) else 1


@compiled
def _are_equal(a: Floats, b: Floats) -> bool:
    return bool(a[0] == b[0] and a[1] == b[1] and a[2] == b[2])
