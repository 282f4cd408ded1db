"""Contact of two bodies: the distance that one moves along a line until a plane separates it from the other.

Let P and S be the convex hulls of `fixed` and `moving`, and u the direction `along`. P and S + t u touch if t u lies in
D = {p - s: p in P, s in S}. The required shift is the t at which the line along u leaves D. It is found as in Snethen,
"XenoCollide", Game Programming Gems 7 (2008): a portal is a triangle of three points of D through which the line
passes. It is moved outwards to the point of D that is farthest along its normal, until no point lies beyond it. The
farthest point of D is the difference of the farthest points of P and S.
"""

import numpy as np

from generators.specimens.particles.mesh import Floats, Mesh
from physics.compiled import compiled

PRECISION = 1e-9  # error of the shift, relative to the extent of the bodies
MAX_PORTALS = 200  # maximum number of portals; bodies of thousands of triangles need about twenty
# Distance and radius of the first portal [extents]. If the line misses D by more than about PORTAL_RADIUS /
# PORTAL_DISTANCE = 1e-5 extents, the portal keeps a corner of this first triangle, and the shift is large and negative.
PORTAL_DISTANCE, PORTAL_RADIUS = 1e3, 0.01


@compiled
def clearance(fixed: Mesh, moving: Mesh, along: Floats) -> float:
    """Return the smallest shift t of `moving` along a direction beyond which a plane separates it from `fixed`.

    The result is accurate to PRECISION, and never too small. If `moving` never meets `fixed` along this
    line, t is large and negative.

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
    for _ in range(MAX_PORTALS):
        normal = np.cross(b - a, c - a)
        speed = _dot(normal, along)
        if speed <= 0:
            break
        d = _support_point(fixed, normal) - _support_point(moving, -normal)
        # From this shift on, a plane with this normal separates the bodies.
        shift = min(shift, _dot(normal, d) / speed)
        if _dot(normal, d - a) <= PRECISION * extent * speed:
            break
        if _turn_about(along, b, d) >= 0 and _turn_about(along, d, a) >= 0:
            c = d
        elif _turn_about(along, c, d) >= 0 and _turn_about(along, d, b) >= 0:
            a = d
        else:
            b = d
    return float(shift)


@compiled
def _first_portal(along: Floats, extent: float) -> tuple[Floats, Floats, Floats]:
    """Return a triangle around the line, counterclockwise, far behind D: the first portal."""
    axis = np.zeros(3)
    axis[np.argmin(np.abs(along))] = 1.0
    v = np.cross(along, axis)
    v = v / np.sqrt(_dot(v, v))
    w = np.cross(along, v)
    middle, radius = -PORTAL_DISTANCE * extent * along, PORTAL_RADIUS * extent
    left, right = 0.75**0.5 * w - 0.5 * v, -(0.75**0.5) * w - 0.5 * v
    return middle + radius * v, middle + radius * left, middle + radius * right


@compiled
def _support_point(mesh: Mesh, normal: Floats) -> Floats:
    """Return the vertex with the largest normal . p, the support point of a mesh in a direction."""
    highest, vertex = -np.inf, np.zeros(3)
    for t in range(mesh.shape[0]):
        for v in range(3):
            height = normal[0] * mesh[t, v, 0] + normal[1] * mesh[t, v, 1] + normal[2] * mesh[t, v, 2]
            if height > highest:
                highest = height
                vertex[:] = mesh[t, v]
    return vertex


@compiled
def _turn_about(along: Floats, a: Floats, b: Floats) -> float:
    """Return u . (a x b), which is positive if b lies counterclockwise of a about the line along u."""
    return _dot(along, np.cross(a, b))


@compiled
def _dot(a: Floats, b: Floats) -> float:
    return float(a[0] * b[0] + a[1] * b[1] + a[2] * b[2])
