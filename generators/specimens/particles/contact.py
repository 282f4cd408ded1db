"""Contact of two bodies: the distance that one moves along a line until a plane separates it from the other.

Bodies P and S + t u have a point in common if t u lies in D = {p - s}. So the answer is the point where the line along
u leaves the convex hull of D (hollows of a body count as filled). A portal is a triangle of three points of D through
which the line passes. It is moved outwards to the point of D farthest along its normal, until there is none beyond
(Snethen, "XenoCollide", Game Programming Gems 7 (2008)). The farthest point is a difference of support points.
"""

import numpy as np

from generators.specimens.particles.mesh import Floats, Mesh
from physics.compiled import compiled

PRECISION = 1e-9  # relative to the extent of the bodies
MOST = 200  # most portals; bodies of thousands of triangles need about twenty
BEHIND, WIDE = 1e3, 0.01  # position and radius of the first portal [extents]; a line misses D by 1e-5 or more


@compiled
def clearance(fixed: Mesh, moving: Mesh, along: Floats) -> float:
    """Return the smallest shift t of `moving` along a direction beyond which a plane separates it from `fixed`.

    The result is accurate to PRECISION, and never too small. Where the bodies pass each other, t is far below zero.

    Args:
        fixed: mesh [nm]
        moving: mesh [nm]
        along: unit vector (z, y, x)

    Returns:
        t [nm]
    """
    extent = max(np.max(np.abs(fixed)), np.max(np.abs(moving)))
    a, b, c = _first_portal(along, extent)
    shift = np.inf
    for _ in range(MOST):
        normal = np.cross(b - a, c - a)
        speed = _dot(normal, along)
        if speed <= 0:
            break
        d = _farthest(fixed, normal) - _farthest(moving, -normal)
        shift = min(shift, _dot(normal, d) / speed)  # a plane with this normal separates them from here on
        if _dot(normal, d - a) <= PRECISION * extent * speed:
            break
        if _turns(along, b, d) >= 0 and _turns(along, d, a) >= 0:
            c = d
        elif _turns(along, c, d) >= 0 and _turns(along, d, b) >= 0:
            a = d
        else:
            b = d
    return float(shift)


@compiled
def _first_portal(along: Floats, extent: float) -> tuple[Floats, Floats, Floats]:
    """Return three points about the line, counterclockwise, far behind D; they replace D if the line misses it."""
    least = np.zeros(3)
    least[np.argmin(np.abs(along))] = 1.0
    v = np.cross(along, least)
    v = v / np.sqrt(_dot(v, v))
    w = np.cross(along, v)
    behind, wide = -BEHIND * extent * along, WIDE * extent
    return behind + wide * v, behind + wide * (0.75**0.5 * w - 0.5 * v), behind + wide * (-(0.75**0.5) * w - 0.5 * v)


@compiled
def _farthest(mesh: Mesh, normal: Floats) -> Floats:
    """Return the vertex with the largest normal . p, the support point of a mesh in a direction."""
    best, where = -np.inf, np.zeros(3)
    for t in range(mesh.shape[0]):
        for v in range(3):
            height = normal[0] * mesh[t, v, 0] + normal[1] * mesh[t, v, 1] + normal[2] * mesh[t, v, 2]
            if height > best:
                best = height
                where[:] = mesh[t, v]
    return where


@compiled
def _turns(along: Floats, a: Floats, b: Floats) -> float:
    """Return u . (a x b), which is positive if b lies counterclockwise of a about the line along u."""
    return _dot(along, np.cross(a, b))


@compiled
def _dot(a: Floats, b: Floats) -> float:
    return float(a[0] * b[0] + a[1] * b[1] + a[2] * b[2])
