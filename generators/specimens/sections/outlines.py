"""Closed outlines about the origin, as polygons (corner, (y, x)): rounded polygons, blobs and bent slits.

Each is made from numbers that are uniform in [0, 1), and has at most MAX_CORNERS corners.
"""

import numpy as np

from physics.compiled import compiled
from physics.tomography.phantom import Floats

MAX_CORNERS = 64
ARC_CORNERS = 5  # corners that replace one that is rounded
SMALLEST_TURN = 0.35  # change of direction below which a corner is left as it is [rad]
BLOB_CORNERS = 40
BLOB_WAVES = (2, 3, 4, 5)  # periods of the radius of a blob around it
SLIT_POINTS = 14  # points along each side of a slit
END_POINTS = 5  # points around each of its ends


@compiled
def round_corners(corners: Floats, radius: float) -> Floats:
    """Return a polygon whose corners are replaced by arcs that touch both edges.

    The radius of an arc is smaller where the edges are too short: it takes at most 0.45 of either. A polygon that would
    have more than MAX_CORNERS is returned as it is.

    Args:
        corners: (corner, 2), turning from x towards y
        radius: radius of the arcs
    """
    count, found = corners.shape[0], 0
    out = np.empty((ARC_CORNERS * count, 2))
    for k in range(count):
        y, x = corners[k]
        v0, u0 = y - corners[k - 1, 0], x - corners[k - 1, 1]
        v1, u1 = corners[(k + 1) % count, 0] - y, corners[(k + 1) % count, 1] - x
        before, after = np.sqrt(v0 * v0 + u0 * u0), np.sqrt(v1 * v1 + u1 * u1)
        turn = np.arctan2(u0 * v1 - v0 * u1, v0 * v1 + u0 * u1)
        pieces = ARC_CORNERS if abs(turn) >= SMALLEST_TURN and min(before, after) > 0.0 else 1
        v0, u0 = v0 / max(before, 1e-300), u0 / max(before, 1e-300)
        bend = max(np.tan(abs(turn) / 2), 1e-6)
        start = min(radius * bend, 0.45 * min(before, after)) if pieces > 1 else 0.0  # of the arc, from the corner
        for piece in range(pieces):
            # Along the arc, whose radius is start / bend, the direction turns by `angle`.
            angle = abs(turn) * piece / max(pieces - 1, 1)
            along, across = start / bend * np.sin(angle) - start, start / bend * (1 - np.cos(angle)) * np.sign(turn)
            out[found, 0], out[found, 1] = y + along * v0 + across * u0, x + along * u0 - across * v0
            found += 1
    return out[:found] if found <= MAX_CORNERS else corners


def turn_outline(corners: Floats, angle: float) -> Floats:
    """Return an outline turned about the origin from x towards y.

    Args:
        corners: (corner, 2)
        angle: [rad]
    """
    (y, x), sine, cosine = corners.T, np.sin(angle), np.cos(angle)
    return np.stack([y * cosine + x * sine, x * cosine - y * sine], axis=1)


def oval(radius: float, aspect: float) -> Floats:
    """Return an ellipse, its longer semi-axis along x; its area is that of a disc, less 0.4 %.

    Args:
        radius: radius of the disc
        aspect: shorter over longer axis
    """
    return _stretch(np.full(BLOB_CORNERS, radius), 2 * np.pi * np.arange(BLOB_CORNERS) / BLOB_CORNERS, aspect)


def quadrilateral(u: Floats, radius: float, aspect: float, rounding: float, pinch: float) -> Floats:
    """Return a distorted rectangle with rounded corners, its longer sides nearly along x.

    Args:
        u: (12,), uniform in [0, 1)
        radius: radius of the disc whose area the rectangle has
        aspect: shorter over longer side
        rounding: radius of the corners, relative to half the shorter side
        pinch: largest distance by which the middle of a side is moved inwards, relative to half the shorter side
    """
    half = radius * np.sqrt(np.pi) / 2
    height, width = half * np.sqrt(aspect), half / np.sqrt(aspect)
    corners = np.array([[-1, -1], [-1, 1], [1, 1], [1, -1]]) * [height, width]
    corners += (u[:8].reshape(4, 2) - 0.5) * 0.7 * height
    middles = (corners + np.roll(corners, -1, axis=0)) / 2
    inwards = middles / np.hypot(*middles.T)[:, None]
    pinched = middles - inwards * pinch * height * u[8:12, None]
    return round_corners(np.stack([corners, pinched], axis=1).reshape(8, 2), rounding * height)


def rough_polygon(u: Floats, radius: float, corners: int, aspect: float, rounding: float) -> Floats:
    """Return a polygon with corners at random distances from the middle, rounded; it need not be convex.

    Args:
        u: (2 corners,), uniform in [0, 1)
        radius: largest distance of a corner before the polygon is stretched
        corners: number of corners
        aspect: smallest distance of a corner, relative to the largest; shorter over longer axis is its root
        rounding: radius of the corners, relative to `radius`
    """
    angle = 2 * np.pi * (np.arange(corners) + 0.6 * u[:corners]) / corners
    distance = radius * (aspect + (1 - aspect) * u[corners : 2 * corners])
    return round_corners(_stretch(distance, angle, np.sqrt(aspect)), rounding * radius)


def blob(u: Floats, radius: float, aspect: float, waviness: float) -> Floats:
    """Return an outline with the radius r (1 + sum over k of a_k cos(k angle + phase_k)), a_k below waviness / k.

    It is then stretched along x and compressed along y.

    Args:
        u: (8,), uniform in [0, 1)
        radius: r
        aspect: shorter over longer axis of a circle that is stretched in the same way
        waviness: largest amplitude; below 0.77, the radius stays positive
    """
    angle = 2 * np.pi * np.arange(BLOB_CORNERS) / BLOB_CORNERS
    waves = np.array(BLOB_WAVES)
    amplitude, phase = waviness * u[:4] / waves, 2 * np.pi * u[4:8]
    return _stretch(radius * (1 + amplitude @ np.cos(waves[:, None] * angle + phase[:, None])), angle, aspect)


def _stretch(distance: Floats, angle: Floats, aspect: float) -> Floats:
    """Return points at distances and angles, stretched along x and compressed along y; areas stay."""
    stretched = distance * np.sqrt(aspect) * np.sin(angle), distance / np.sqrt(aspect) * np.cos(angle)
    return np.stack(stretched, axis=1)


def slit(u: Floats, length: float, width: float, turn: float) -> Floats:
    """Return a slit of uniform width with round ends, bent to a C or an S.

    The direction of its middle line changes at one rate in the first half and at another one in the second half.

    Args:
        u: (2,), uniform in [0, 1)
        length: length of the middle line
        width: width of the slit
        turn: largest change of direction in either half [rad]; smaller where the bend would be sharper than the width
    """
    limit = min(turn, length / (2 * width))
    share = (np.arange(SLIT_POINTS) + 0.5) / SLIT_POINTS
    rates = limit * (2 * u[:2] - 1) / (SLIT_POINTS / 2)
    direction = np.cumsum(np.where(share < 0.5, rates[0], rates[1]))
    step = np.stack([np.sin(direction), np.cos(direction)], axis=1)
    middle = np.cumsum(step, axis=0) * length / SLIT_POINTS
    normal = np.stack([step[:, 1], -step[:, 0]], axis=1)
    around = np.pi * (np.arange(END_POINTS) + 1)[:, None] / (END_POINTS + 1)
    far = middle[-1] + width / 2 * (np.sin(around) * step[-1] - np.cos(around) * normal[-1])
    near = middle[0] - width / 2 * (np.sin(around) * step[0] - np.cos(around) * normal[0])
    outline = np.concatenate([middle - width / 2 * normal, far, (middle + width / 2 * normal)[::-1], near])
    return outline - outline.mean(axis=0)
