"""Placing figures in a disc so that they do not overlap: discs, outlines, and the cells between discs.

Figures are placed one after the other (random sequential addition). The places of the first ones do not depend on how
many follow. Points are (y, x), and all lengths have one unit.
"""

import numpy as np
from numpy.typing import NDArray

from physics.compiled import compiled
from physics.tomography.phantom import Floats

CIRCLE_CORNERS = 32  # corners of the polygon that stands for the disc around cells
ATTEMPTS = 12  # candidates for each disc


def points_in_disc(u: Floats, reach: float | Floats = 1.0) -> Floats:
    """Return points (..., 2) uniform in a disc.

    Args:
        u: (..., 2), uniform in [0, 1)
        reach: radius of the disc
    """
    distance, angle = reach * np.sqrt(u[..., 0]), 2 * np.pi * u[..., 1]
    return np.stack([distance * np.sin(angle), distance * np.cos(angle)], axis=-1)


def radii_by_power(u: Floats, smallest: float, largest: float, power: float) -> Floats:
    """Return radii with a density proportional to r^-power between two bounds.

    Args:
        u: uniform in [0, 1)
        smallest: lower bound
        largest: upper bound
        power: exponent; 0: uniform
    """
    if power == 1:
        return smallest * (largest / smallest) ** u
    low, high = smallest ** (1 - power), largest ** (1 - power)
    radii: Floats = (low + u * (high - low)) ** (1 / (1 - power))
    return radii


@compiled
def place_discs(candidates: Floats, count: int, reach: float, gap: float, smallest: float) -> Floats:
    """Return discs that keep a distance from one another and from the edge of a disc about the origin.

    A candidate for which there is too little room shrinks. If less than `smallest` is left, it is dropped.

    Args:
        candidates: (candidate, 3): y, x and wanted radius
        count: largest number of discs
        reach: radius of the disc that holds them
        gap: minimum distance between discs, and of discs from the edge
        smallest: minimum radius

    Returns:
        (disc, 3): y, x and radius
    """
    placed, found = np.empty((count, 3)), 0
    for n in range(candidates.shape[0]):
        if found == count:
            break
        y, x, room = candidates[n]
        room = min(room, reach - gap - np.sqrt(y * y + x * x))
        k = 0
        while k < found and room >= smallest:
            distance = np.sqrt((placed[k, 0] - y) ** 2 + (placed[k, 1] - x) ** 2)
            room = min(room, distance - placed[k, 2] - gap)
            k += 1
        if room >= smallest:
            placed[found, 0], placed[found, 1], placed[found, 2] = y, x, room
            found += 1
    return placed[:found]


def laguerre_cells(discs: Floats, reach: float, gap: float) -> list[Floats]:
    """Return the cells of discs in a disc, with walls of a uniform thickness between them.

    A point belongs to the cell whose |p - middle|^2 - radius^2 is the smallest (Laguerre or power diagram). Cells are
    convex; that of a disc holds it, less half the wall, if discs do not overlap.

    Args:
        discs: (disc, 3): y, x and radius
        reach: radius of the disc that holds the cells
        gap: thickness of the walls

    Returns:
        (corner, 2) of each cell: y, x; without corners if the wall takes all of it
    """
    turn = 2 * np.pi * np.arange(CIRCLE_CORNERS) / CIRCLE_CORNERS
    edge = reach * np.stack([np.sin(turn), np.cos(turn)], axis=1)
    return [_cell(discs, n, edge, gap) for n in range(len(discs))]


@compiled
def _cell(discs: Floats, n: int, edge: Floats, gap: float) -> Floats:
    """Cut a polygon by the radical lines of disc n and the other discs, moved inwards by half the wall."""
    cell = edge
    for k in range(discs.shape[0]):
        v, u = discs[k, 0] - discs[n, 0], discs[k, 1] - discs[n, 1]
        distance = np.sqrt(v * v + u * u)
        if k == n or distance == 0.0:
            continue
        position = (distance * distance + discs[n, 2] ** 2 - discs[k, 2] ** 2) / (2 * distance) - gap / 2
        v, u = v / distance, u / distance
        cell = _cut(cell, v, u, position + discs[n, 0] * v + discs[n, 1] * u)
    return cell


@compiled
def _cut(corners: Floats, v: float, u: float, limit: float) -> Floats:
    """Return the part of a convex polygon with y v + x u <= limit."""
    count, found = corners.shape[0], 0
    highest = -np.inf
    for k in range(count):
        highest = max(highest, corners[k, 0] * v + corners[k, 1] * u)
    if highest <= limit:
        return corners
    out = np.empty((count + 1, 2))
    for k in range(count):
        y, x, next_y, next_x = corners[k, 0], corners[k, 1], corners[(k + 1) % count, 0], corners[(k + 1) % count, 1]
        side, next_side = y * v + x * u - limit, next_y * v + next_x * u - limit
        if side <= 0.0:
            out[found, 0], out[found, 1] = y, x
            found += 1
        if side * next_side < 0.0:
            share = side / (side - next_side)
            out[found, 0], out[found, 1] = y + share * (next_y - y), x + share * (next_x - x)
            found += 1
    return out[:found]


@compiled
def place_outlines(
    outlines: Floats, counts: NDArray[np.int64], middles: Floats, reach: float, gap: float
) -> NDArray[np.int64]:
    """Return for each outline the first of its middles at which it keeps its distances, or -1 if there is none.

    Args:
        outlines: (outline, corner, 2): corners about the origin
        counts: (outline,): numbers of corners
        middles: (outline, attempt, 2): places to try
        reach: radius of the disc about the origin that holds all corners
        gap: minimum distance between outlines
    """
    chosen, placed, radii = np.full(outlines.shape[0], -1), np.empty_like(outlines), np.empty(outlines.shape[0])
    for n in range(outlines.shape[0]):
        radii[n] = _largest_distance(outlines[n, : counts[n]])
        for attempt in range(middles.shape[1]):
            placed[n] = outlines[n] + middles[n, attempt]
            free = _largest_distance(placed[n, : counts[n]]) <= reach
            for k in range(n):
                if free and chosen[k] >= 0:
                    y, x = middles[n, attempt] - middles[k, chosen[k]]
                    near = np.sqrt(y * y + x * x) < radii[n] + radii[k] + gap
                    free = not near or _are_apart(placed[n, : counts[n]], placed[k, : counts[k]], gap)
            if free:
                chosen[n] = attempt
                break
    return chosen


@compiled
def _largest_distance(corners: Floats) -> float:
    square = 0.0
    for k in range(corners.shape[0]):
        square = max(square, corners[k, 0] ** 2 + corners[k, 1] ** 2)
    return float(np.sqrt(square))


@compiled
def _are_apart(first: Floats, second: Floats, gap: float) -> bool:
    """Return True if two outlines keep a distance and neither lies within the other."""
    if _contains(first, second[0, 0], second[0, 1]) or _contains(second, first[0, 0], first[0, 1]):
        return False
    for j in range(first.shape[0]):
        ay, ax, by, bx = first[j - 1, 0], first[j - 1, 1], first[j, 0], first[j, 1]
        for k in range(second.shape[0]):
            cy, cx, dy, dx = second[k - 1, 0], second[k - 1, 1], second[k, 0], second[k, 1]
            if min(cy, dy) > max(ay, by) + gap or max(cy, dy) < min(ay, by) - gap:
                continue
            if min(cx, dx) > max(ax, bx) + gap or max(cx, dx) < min(ax, bx) - gap:
                continue
            square = min(_square_distance(ay, ax, cy, cx, dy, dx), _square_distance(dy, dx, ay, ax, by, bx))
            if square < gap * gap or _cross(ay, ax, by, bx, cy, cx, dy, dx):
                return False
    return True


@compiled
def _cross(ay: float, ax: float, by: float, bx: float, cy: float, cx: float, dy: float, dx: float) -> bool:
    """Return True if the line segments from a to b and from c to d cross."""
    side_c, side_d = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax), (bx - ax) * (dy - ay) - (by - ay) * (dx - ax)
    side_a, side_b = (dx - cx) * (ay - cy) - (dy - cy) * (ax - cx), (dx - cx) * (by - cy) - (dy - cy) * (bx - cx)
    return bool(side_a * side_b < 0.0 and side_c * side_d < 0.0)


@compiled
def _square_distance(y: float, x: float, ay: float, ax: float, by: float, bx: float) -> float:
    """Return the square of the distance of a point from the line segment from a to b."""
    v, u = by - ay, bx - ax
    share = min(max(((y - ay) * v + (x - ax) * u) / max(v * v + u * u, 1e-300), 0.0), 1.0)
    return float((y - ay - share * v) ** 2 + (x - ax - share * u) ** 2)


@compiled
def _contains(corners: Floats, y: float, x: float) -> bool:
    """Return True if a point lies within an outline: a ray from it crosses the outline an odd number of times."""
    inside = False
    for k in range(corners.shape[0]):
        ay, ax, by, bx = corners[k - 1, 0], corners[k - 1, 1], corners[k, 0], corners[k, 1]
        if (ay > y) != (by > y) and x < ax + (y - ay) / (by - ay) * (bx - ax):
            inside = not inside
    return inside
