"""Convex polygons in the plane, possibly with another one bitten off, and distances from their outline.

A point is (y, x). A polygon is an array (corner, coordinate) of its corners, turning from +y towards +x. So a point p
lies inside if (b - a) x (p - a) >= 0 for every edge from a to b, where u x v = u_y v_x - u_x v_y.
"""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from physics.compiled import compiled

type Floats = NDArray[np.float64]
type Mask = NDArray[np.bool_]
type Point = tuple[float, float]


def hull(points: Sequence[Point]) -> list[Point]:
    """Return the corners of the convex hull, no three of them in line.

    After Andrew, Inf. Process. Lett. 9 (1979) 216.

    Args:
        points: points (y, x)
    """
    ordered = sorted(set(points))
    return _half_hull(ordered)[:-1] + _half_hull(ordered[::-1])[:-1]


def _half_hull(ordered: list[Point]) -> list[Point]:
    """Return the points that are left after each turn that is straight or in the wrong direction has been cut off."""
    chain: list[Point] = []
    for point in ordered:
        while len(chain) > 1 and _cross(chain[-2], chain[-1], point) <= 0:
            chain.pop()
        chain.append(point)
    return chain


def _cross(a: Point, b: Point, c: Point) -> float:
    return (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])


def width(corners: Sequence[Point]) -> float:
    """Return the smallest distance of two parallel lines with a convex polygon between them; one line holds an edge.

    A disc whose radius is a third of it fits in, as in an equilateral triangle. The width of a polygon without area is
    0.

    Args:
        corners: corners of the polygon
    """
    edges = zip(corners, (*corners[1:], *corners[:1]), strict=True)
    return min((max(_cross(a, b, p) for p in corners) / math.dist(a, b) for a, b in edges if a != b), default=0.0)


@compiled
def boundary(body: Floats, bite: Floats) -> Floats:
    """Return the outline of `body` without `bite`, as line segments (segment, end, coordinate).

    These are the edges of the body outside the bite, and the edges of the bite inside the body.

    Args:
        body: polygon
        bite: polygon; without corners there is no bite
    """
    out = np.empty((2 * body.shape[0] + bite.shape[0], 2, 2))
    count = 0
    for k in range(body.shape[0]):
        enter, leave = _shares_inside(body, k, bite)
        count += _write_segment(out, count, body, k, 0.0, enter)
        count += _write_segment(out, count, body, k, leave, 1.0)
    for k in range(bite.shape[0]):
        enter, leave = _shares_inside(bite, k, body)
        count += _write_segment(out, count, bite, k, enter, leave)
    return out[:count]


def signed_distance(body: Floats, bite: Floats, y: Floats, x: Floats) -> Floats:
    """Return the distance of points from the outline of `body` without `bite`, positive inside: (y, x), float64.

    This is the compiled form of `signed_distance_numpy`.

    Args:
        body: polygon
        bite: polygon; without corners there is no bite
        y: coordinates of the rows
        x: coordinates of the columns
    """
    return _signed_distance(boundary(body, bite), body, bite, y, x)


def signed_distance_numpy(body: Floats, bite: Floats, y: Floats, x: Floats) -> Floats:
    """Return `signed_distance` by NumPy alone: the minimum distance from a segment, whose nearest point is

        a + t (b - a),   t = (p - a).(b - a) / |b - a|^2 within 0..1

    Args:
        body: polygon
        bite: polygon; without corners there is no bite
        y: coordinates of the rows
        x: coordinates of the columns
    """
    points = np.stack(np.broadcast_arrays(y[:, None], x), axis=-1)[..., None, :]
    segments = boundary(body, bite)
    start, edge = segments[:, 0], segments[:, 1] - segments[:, 0]
    share = np.sum((points - start) * edge, axis=-1) / np.sum(edge**2, axis=-1)
    offset = points - start - np.clip(share, 0, 1)[..., None] * edge
    distance = np.sqrt(np.min(np.sum(offset**2, axis=-1), axis=-1))
    return np.where(_contains_numpy(body, points) & ~_contains_numpy(bite, points), distance, -distance)


def _contains_numpy(polygon: Floats, points: Floats) -> Mask:
    edges, offsets = np.roll(polygon, -1, axis=0) - polygon, points - polygon
    inside: Mask = np.all(edges[:, 0] * offsets[..., 1] - edges[:, 1] * offsets[..., 0] >= 0, axis=-1)
    return inside if len(polygon) else np.zeros_like(inside)


@compiled
def _shares_inside(polygon: Floats, edge: int, other: Floats) -> Point:
    """Return the shares of its length between which an edge is inside the other polygon; (1, 1) if nowhere.

    After Cyrus and Beck, Computers & Graphics 3 (1978) 23: it crosses the line from a to b at t = -side / rate.
    """
    count, enter, leave = other.shape[0], 0.0, 1.0
    start, end = polygon[edge], polygon[(edge + 1) % polygon.shape[0]]
    for k in range(count):
        a, b = other[k], other[(k + 1) % count]
        side = (b[0] - a[0]) * (start[1] - a[1]) - (b[1] - a[1]) * (start[0] - a[0])
        rate = (b[0] - a[0]) * (end[1] - start[1]) - (b[1] - a[1]) * (end[0] - start[0])
        if rate > 0:
            enter = max(enter, -side / rate)
        elif rate < 0:
            leave = min(leave, -side / rate)
        elif side < 0:
            leave = 0.0
    return (enter, leave) if enter < leave and count > 0 else (1.0, 1.0)


@compiled
def _write_segment(out: Floats, index: int, polygon: Floats, edge: int, first: float, last: float) -> int:
    """Write an edge between two shares of its length as a segment, if it has any length; return the number written."""
    if first >= last:
        return 0
    start, end = polygon[edge], polygon[(edge + 1) % polygon.shape[0]]
    for axis in range(2):
        out[index, 0, axis] = start[axis] + first * (end[axis] - start[axis])
        out[index, 1, axis] = start[axis] + last * (end[axis] - start[axis])
    return 1


@compiled
def _signed_distance(segments: Floats, body: Floats, bite: Floats, y: Floats, x: Floats) -> Floats:
    """Return the distance of each pixel from the outline, negative outside of the body and within the bite."""
    out = np.empty((y.shape[0], x.shape[0]))
    slopes = _inverse_edges(segments)
    for i in range(y.shape[0]):
        for j in range(x.shape[0]):
            distance = np.sqrt(_min_square_distance(segments, slopes, y[i], x[j]))
            inside = _contains(body, y[i], x[j]) and not _contains(bite, y[i], x[j])
            out[i, j] = distance if inside else -distance
    return out


@compiled
def _inverse_edges(segments: Floats) -> Floats:
    """Return (b - a) / |b - a|^2 of each segment; the bound keeps the result for a tiny one finite."""
    out = np.empty((segments.shape[0], 2))
    for k in range(segments.shape[0]):
        y, x = segments[k, 1, 0] - segments[k, 0, 0], segments[k, 1, 1] - segments[k, 0, 1]
        square = max(y * y + x * x, 1e-300)
        out[k, 0], out[k, 1] = y / square, x / square
    return out


@compiled
def _min_square_distance(segments: Floats, slopes: Floats, y: float, x: float) -> float:
    """Return the square of the minimum distance of a point from a segment."""
    minimum = np.inf
    for k in range(segments.shape[0]):
        v, u = y - segments[k, 0, 0], x - segments[k, 0, 1]
        share = min(max(v * slopes[k, 0] + u * slopes[k, 1], 0.0), 1.0)
        v -= share * (segments[k, 1, 0] - segments[k, 0, 0])
        u -= share * (segments[k, 1, 1] - segments[k, 0, 1])
        minimum = min(minimum, v * v + u * u)
    return minimum


@compiled
def _contains(polygon: Floats, y: float, x: float) -> bool:
    """Return True if a point is on no edge's wrong side."""
    count = polygon.shape[0]
    inside: bool = count > 0
    for k in range(count):
        ay, ax = polygon[k, 0], polygon[k, 1]
        by, bx = polygon[(k + 1) % count, 0], polygon[(k + 1) % count, 1]
        inside &= bool((by - ay) * (x - ax) - (bx - ax) * (y - ay) >= 0)
    return inside
