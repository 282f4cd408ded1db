"""Outlines of objects in the plane: hulls of random points, hulls with a bite taken off, faceted crystals; soft edges.

    modulus = 1/2 (1 + erf(d / (sqrt(2) w)))

d is the distance from the outline, positive inside; w, the edge, is a standard deviation. This is a straight outline
blurred by a Gaussian of that width; at corners, a blurred object would be rounder. With w = 0 a pixel is 1 if its
centre lies inside the outline, else 0. Farther than EDGE_REACH w from the outline, where 3e-5 are left, the modulus is
set to 0 or 1. So an object has an end, and fits with its edge into a circle of the radius `reach`.

Lengths are in frame widths (`generators.specimens.planar.pixel_centres`). The setting `size` is relative to the room:
the disc of radius `largest_corner_radius(reach, edge)`. The same recipe thus serves objects that fill the frame (reach
1/2) and objects in half of it (reach 1/4, for oversampled diffraction patterns).

`hull` is the object of Cherukara, Nashed and Harder, Sci. Rep. 8 (2018) 16520, who do not state the number of points.
"""

import math
from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import accumulate, chain
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import AfterValidator
from scipy.special import erf

from generators.specimens.draws import check_weights, check_whole_numbers, choose_kind, draw_count, to_float32
from generators.specimens.planar.pixel_centres import pixel_centres
from generators.specimens.planar.polygon import Floats, Point, hull, signed_distance, width
from schemas.fields.outlines import KINDS
from schemas.runtime.ranges import Range, within
from schemas.runtime.settings import Settings, between, described

EDGE_REACH = 4  # distance from the outline in widths w of the edge; beyond it the modulus is 0 or 1 except for 3e-5
USED_SHARE = 1 - 1e-6  # part of the room that is used, since float32 may round a corner outwards
MAX_REDRAWS = 20  # hulls that are drawn in place of one that is too narrow
MAX_BITE_CORNERS = 5  # corners of a bite besides the innermost and the outermost one
ROTATION_ORDERS = (3, 4, 6)  # symmetries of crystals in the plane
MAX_FACETS = 2 * max(ROTATION_ORDERS)  # maximum number of facets

type Kind = Literal["hull", "bitten", "faceted", "mixed"]
type Corners = tuple[Point, ...]


class Outline(Settings):
    """Settings of random outlines."""

    kind: Kind = described(
        "hull",
        "shape; hull: of random points; bitten: a hull with a bite taken off; faceted: Wulff shape; mixed: any kind",
    )
    weights: Annotated[tuple[float, float, float], AfterValidator(check_weights)] = described(
        (1.0, 1.0, 1.0), "relative weights of hull, bitten and faceted if kind=mixed"
    )
    size: Annotated[Range, within(0.05, 1)] = between(
        0.5,
        1.0,
        "radius of the disc that holds the points, or of the farthest corner of facets; 1: that of the room",
        "room",
    )
    points: Annotated[Range, within(3, 64), AfterValidator(check_whole_numbers)] = between(
        5, 20, "number of points of a hull, uniform in the disc"
    )
    aspect: Annotated[Range, within(0.05, 1)] = between(
        0.5, 1.0, "short over long axis of the ellipse in which the points are drawn; its direction is random"
    )
    bite: Annotated[Range, within(0.05, 0.95)] = between(
        0.4, 0.9, "depth of a bite, relative to the distance from outline to middle"
    )
    regular: Annotated[float, within(0, 1)] = described(
        0.5, "share of faceted shapes with the symmetry of their crystal; the others have unequal facets"
    )
    facet: Annotated[Range, within(0.2, 1)] = between(
        0.7, 1.0, "distance of a facet from the middle, relative to other facets"
    )


@dataclass(frozen=True, slots=True)
class DrawnOutline:
    """A drawn outline: numbers that float32 holds exactly. The body is convex, and so is the bite taken off it.

    Meaning of each number: `schemas.fields.outlines`, which stores them as `outline_<name>`. Unused corners are 0.
    """

    kind: int
    corners: int  # number of corners of the body
    corner: Corners  # (y, x) of each corner of the body [frame width], padded with (0, 0)
    bite_corners: int  # number of corners of the bite; 0: no bite
    bite_corner: Corners  # (y, x) of each corner of the bite [frame width], padded with (0, 0)

    @property
    def body(self) -> Floats:
        """Polygon of the body, before the bite."""
        return np.array(self.corner[: self.corners])

    @property
    def bite(self) -> Floats:
        """Polygon that is taken off the body; it may have no corners."""
        return np.array(self.bite_corner[: self.bite_corners]).reshape(-1, 2)


def sizes(outline: Outline) -> dict[str, int]:
    """Return the lengths of the dimensions of an outline's fields: as many corners as the recipe may need.

    Args:
        outline: the settings
    """
    scattered, faceted = int(outline.points.high), outline.kind in ("faceted", "mixed")
    corners = max(scattered, MAX_FACETS) if faceted else scattered
    return {"corner": corners, "bite_corner": MAX_BITE_CORNERS + 2, "coordinate": 2}


def largest_corner_radius(reach: float, edge: float) -> float:
    """Return the largest distance [frame width] of corners from the origin at which an object ends within `reach`.

    Args:
        reach: 1/2 for objects that may take the frame, 1/4 for half of it [frame width]
        edge: w [frame width]

    Raises:
        ValueError: the edge is too wide
    """
    limit = reach / (2 * EDGE_REACH)
    if not 0 <= edge <= limit:
        raise ValueError(
            f"edge = {edge:g} frame widths: must be from 0 to {limit:g} where objects may reach {reach:g} "
            "from the origin; take a sharper edge"
        )
    return (reach - EDGE_REACH * edge) * USED_SHARE


def draw(outline: Outline, rng: np.random.Generator, reach: float, edge: float, narrowest: float = 0.0) -> DrawnOutline:
    """Draw an outline for objects that end within `reach` with their `edge`, see `largest_corner_radius`.

    A hull narrower than `narrowest` is drawn again. If all of them are too narrow, because the disc may be too small,
    the widest is taken. Every call consumes 26 + 2 points.high random numbers, and 2 points.high more for each further
    hull.

    Args:
        outline: the settings
        rng: random numbers
        reach: [frame width]
        edge: w [frame width]
        narrowest: minimum width of a hull [frame width]

    Raises:
        ValueError: the edge is too wide
    """
    kind = choose_kind(KINDS, outline.kind, outline.weights, rng)
    size = largest_corner_radius(reach, edge) * outline.size.draw(rng)
    aspect, turn, depth = outline.aspect.draw(rng), 2 * math.pi * float(rng.random()), outline.bite.draw(rng)
    points = draw_count(outline.points, rng)
    scattered, bite_turns = rng.random((int(outline.points.high), 2)), rng.random(MAX_BITE_CORNERS).tolist()
    bite_position, facets = float(rng.random()), _draw_facets(outline, rng)
    if kind == "faceted":
        body = _wulff_shape(facets, size, turn)
    else:
        attempts = chain([scattered], (rng.random(scattered.shape) for _ in range(MAX_REDRAWS)))
        ellipses = ([_point_in_ellipse(u, v, size, aspect, turn) for u, v in uv[:points].tolist()] for uv in attempts)
        body = _wide_hull(map(_rounded_hull, ellipses), narrowest)
    bite = _bite_polygon(body, bite_position, depth, bite_turns) if kind == "bitten" else []
    lengths = sizes(outline)
    return DrawnOutline(
        KINDS.index(kind),
        len(body),
        _pad_corners(body, lengths["corner"]),
        len(bite),
        _pad_corners(bite, lengths["bite_corner"]),
    )


def render(drawn: DrawnOutline, n_y: int, n_x: int, edge: float) -> NDArray[np.float32]:
    """Return the modulus (y, x) of the object, 0..1, at the pixel centres of the frame.

    Args:
        drawn: the outline
        n_y: number of rows
        n_x: number of columns
        edge: w [frame width]
    """
    body, out = drawn.body, np.zeros((n_y, n_x), np.float32)
    y, x = pixel_centres(n_y), pixel_centres(n_x)
    rows, columns = (_pixel_slice(body[:, axis], line, EDGE_REACH * edge) for axis, line in enumerate((y, x)))
    distance = signed_distance(body, drawn.bite, y[rows], x[columns])
    out[rows, columns] = edge_profile(distance, edge)
    return out


def _pixel_slice(corners: Floats, centres: Floats, margin: float) -> slice:
    """Return the pixels of an axis that the object may meet; elsewhere the modulus is 0 and needs no distance."""
    first, last = np.searchsorted(centres, (corners.min() - margin, corners.max() + margin))
    return slice(int(first), int(last) + 1)


def edge_profile(distance: Floats, edge: float) -> NDArray[np.float32]:
    """Return the modulus at distances from the outline.

    Args:
        distance: positive inside
        edge: w, in the same unit
    """
    out = (distance >= 0).astype(np.float32)
    soft = abs(distance) < EDGE_REACH * edge
    out[soft] = (1 + erf(distance[soft] / (math.sqrt(2) * edge))) / 2
    return out


def bounding_disc(drawn: DrawnOutline) -> tuple[float, float, float]:
    """Return the middle (y, x) of the box about an outline, and the radius of the disc about it: half the longer side.

    Args:
        drawn: the outline
    """
    low, high = drawn.body.min(axis=0), drawn.body.max(axis=0)
    middle: list[float] = ((low + high) / 2).tolist()
    return middle[0], middle[1], float(np.max(high - low)) / 2


def _rounded_hull(points: list[Point]) -> list[Point]:
    """Return the hull of the points after rounding to float32, so that rounding cannot make it concave."""
    return hull([to_float32(*point) for point in points])


def _wide_hull(hulls: Iterable[list[Point]], min_width: float) -> list[Point]:
    """Return the first hull that is wide enough, or the widest of all."""
    widest: list[Point] = []
    for corners in hulls:
        widest = max(widest, corners, key=width)
        if width(widest) >= min_width:
            break
    return widest


def _pad_corners(corners: list[Point], count: int) -> Corners:
    return (*corners, *((0.0, 0.0),) * (count - len(corners)))


def _point_in_ellipse(u: float, v: float, size: float, aspect: float, turn: float) -> Point:
    """Return a point uniform in an ellipse, from two numbers uniform in [0, 1)."""
    radius, angle = size * math.sqrt(u), 2 * math.pi * v
    return _rotate_point(aspect * radius * math.sin(angle), radius * math.cos(angle), turn)


def _rotate_point(y: float, x: float, angle: float) -> Point:
    """Return a point turned about the origin, from +x towards +y."""
    sine, cosine = math.sin(angle), math.cos(angle)
    return cosine * y + sine * x, cosine * x - sine * y


def _bite_polygon(body: list[Point], position: float, depth: float, turns: list[float]) -> list[Point]:
    """Return a convex polygon to take off a body: it opens outwards, and leaves a corner that points into the body.

    Its corners lie on a circle about a point of the outline, with the radius `depth` x the distance to the middle of
    the body. One corner points straight at the middle: it makes the notch. Since depth < 1, the middle stays in the
    body.
    """
    middle_y, middle_x = (sum(values) / len(body) for values in zip(*body, strict=True))
    y, x = _point_on_outline(body, position)
    radius, inwards = depth * math.hypot(middle_y - y, middle_x - x), math.atan2(middle_y - y, middle_x - x)
    angles = [inwards + 2 * math.pi * turn for turn in (0, 0.5, *turns)]
    return _rounded_hull([(y + radius * math.sin(angle), x + radius * math.cos(angle)) for angle in angles])


def _point_on_outline(body: list[Point], position: float) -> Point:
    """Return the point of a polygon's outline at a position from 0 to 1 of its length, from the first corner on."""
    lines = list(zip(body, body[1:] + body[:1], strict=True))
    lengths = [math.dist(*line) for line in lines]
    ends = list(accumulate(lengths))
    k = bisect_right(ends[:-1], position * ends[-1])
    (ay, ax), (by, bx) = lines[k]
    share = 1 - (ends[k] - position * ends[-1]) / lengths[k]
    return ay + share * (by - ay), ax + share * (bx - ax)


def _draw_facets(outline: Outline, rng: np.random.Generator) -> list[float]:
    """Return the distances h_k from the middle to facets at equal angles.

    Regular shapes have two distances, which alternate `fold` times; the others have 2 x fold independent distances.
    Every call consumes 2 + MAX_FACETS random numbers.
    """
    fold = ROTATION_ORDERS[int(len(ROTATION_ORDERS) * rng.random())]
    regular = rng.random() < outline.regular
    low, high = outline.facet.low, outline.facet.high
    distances = [low + (high - low) * u for u in rng.random(MAX_FACETS).tolist()]
    return distances[:2] * fold if regular else distances[: 2 * fold]


def _wulff_shape(distances: list[float], size: float, turn: float) -> list[Point]:
    """Return the points n_k . p <= h_k for all facets, the farthest of them at `size`.

    This is Wulff's construction (Z. Kristallogr. 34 (1901) 449). The shape is the dual of the hull of n_k / h_k: each
    corner of the hull is a facet of the shape, and neighbouring corners are neighbouring facets.
    """
    angles = [2 * math.pi * k / len(distances) for k in range(len(distances))]
    facets = hull([(math.sin(angle) / h, math.cos(angle) / h) for angle, h in zip(angles, distances, strict=True)])
    corners = [_intersection(*pair) for pair in zip(facets, facets[1:] + facets[:1], strict=True)]
    scale = size / max(math.hypot(*corner) for corner in corners)
    return _rounded_hull([_rotate_point(scale * y, scale * x, turn) for y, x in corners])


def _intersection(m: Point, n: Point) -> Point:
    """Return the point where the lines m . p = 1 and n . p = 1 cross."""
    area = m[0] * n[1] - m[1] * n[0]
    return (n[1] - m[1]) / area, (m[0] - n[0]) / area
