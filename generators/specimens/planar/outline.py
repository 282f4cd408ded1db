"""Outlines of objects in the plane: hulls of random points, hulls with a bite taken off, faceted crystals; soft edges.

    modulus = 1/2 (1 + erf(d / (sqrt(2) w)))

d: the distance from the outline, positive within; w, the edge: a standard deviation. It is what a Gaussian of that
width makes of a straight outline; at corners, a blurred object is rounder. With w = 0 a pixel is 1 if its centre lies
within the outline, else 0. Farther than SOFT w from the outline, where 3e-5 are left, it is 0 or 1: so an object ends,
and fits into a circle, that of the radius `reach`, with its edge.

Lengths are in frame widths (`generators.specimens.planar.frame`), but for settings: relative to the room that reach and
edge
leave. So a recipe survives another size of the image, and objects that take half the frame for oversampled patterns.

`hull` is the object of Cherukara, Nashed and Harder, Sci. Rep. 8 (2018) 16520 (who do not say how many points).
"""

import math
from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import accumulate, chain
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import AfterValidator, Field
from scipy.special import erf

from generators.specimens.planar.frame import places
from generators.specimens.planar.polygon import Floats, Point, hull, signed_distance, width
from generators.specimens.random_values import choose, count, shares, stored, whole
from schemas.fields.outlines import KINDS
from schemas.runtime.ranges import Range, within
from schemas.runtime.settings import Settings, between, setting

SOFT = 4  # edges away from the outline, the modulus is 0 or 1 but for 3e-5
ROUNDED = 1 - 1e-6  # of the room: what is left when float32 rounds a corner outwards
AGAIN = 20  # hulls that are drawn, at most, in place of one that is too narrow
BITE = 5  # corners of a bite, at most, besides the two that make it one
FOLDS = (3, 4, 6)  # symmetries of crystals in the plane
MOST = 2 * max(FOLDS)  # facets

type Kind = Literal["hull", "bitten", "faceted", "mixed"]
type Corners = tuple[Point, ...]


def _setting(default: Any, about: str, unit: str = "1") -> Any:
    return Field(default, **setting(about, unit))


class Outline(Settings):
    """How outlines are drawn."""

    kind: Kind = _setting("hull", "of random points; bitten: less another such hull; faceted: Wulff shape; mixed: any")
    weights: Annotated[tuple[float, float, float], AfterValidator(shares)] = _setting(
        (1.0, 1.0, 1.0), "of hull, bitten and faceted in a mixture, relative to their sum"
    )
    size: Annotated[Range, within(0.05, 1)] = between(
        0.5, 1.0, "radius of the disc in which points lie, and of the farthest corner of facets", "room"
    )
    points: Annotated[Range, within(3, 64), AfterValidator(whole)] = between(
        5, 20, "number of points, uniform in the disc, of which a hull is taken"
    )
    aspect: Annotated[Range, within(0.05, 1)] = between(
        0.5, 1.0, "how much narrower the disc is along an axis, in a random direction"
    )
    bite: Annotated[Range, within(0.05, 0.95)] = between(
        0.4, 0.9, "depth of a bite, relative to the way from outline to middle"
    )
    regular: Annotated[float, within(0, 1)] = _setting(
        0.5, "share of faceted shapes with the symmetry of their crystal; others have grown unequally"
    )
    facet: Annotated[Range, within(0.2, 1)] = between(
        0.7, 1.0, "distance of a facet from the middle, relative to others"
    )


@dataclass(frozen=True, slots=True)
class DrawnOutline:
    """An outline, drawn: numbers that float32 holds exactly. The body is convex, and so is what is bitten off it.

    What each means: `schemas.fields.outlines`, which stores them as `outline_<name>`. Rows that are not used are 0.
    """

    kind: int
    corners: int
    corner: Corners
    bite_corners: int
    bite_corner: Corners

    @property
    def body(self) -> Floats:
        """The polygon, before the bite."""
        return np.array(self.corner[: self.corners])

    @property
    def bite(self) -> Floats:
        """The polygon that is taken off it, which may have no corners."""
        return np.array(self.bite_corner[: self.bite_corners]).reshape(-1, 2)


def sizes(outline: Outline) -> dict[str, int]:
    """Lengths of the dimensions of an outline's columns: as many rows as the recipe may need."""
    scattered, faceted = int(outline.points.high), outline.kind in ("faceted", "mixed")
    return {"corner": max(scattered, MOST) if faceted else scattered, "bite_corner": BITE + 2, "coordinate": 2}


def room(reach: float, edge: float) -> float:
    """How far from the origin corners may lie, so that an object ends within `reach` [frame width], edge and all.

    reach: 1/2 for objects that may take the frame, 1/4 for half of it. edge: w. ValueError if the edge is too wide.
    """
    if not 0 <= 2 * SOFT * edge <= reach:
        raise ValueError(
            f"edge = {edge:g} frame widths: must be from 0 to {reach / (2 * SOFT):g} where objects may reach {reach:g} "
            "from the origin; take a sharper edge"
        )
    return (reach - SOFT * edge) * ROUNDED


def draw(outline: Outline, rng: np.random.Generator, reach: float, edge: float, narrowest: float = 0.0) -> DrawnOutline:
    """An outline for objects that end within `reach` with their `edge`, see `room`.

    A hull narrower than `narrowest` [frame width] is drawn again; if all are (the disc may be too small), the widest is
    taken. Consumes 26 + 2 points.high numbers of `rng`, whatever comes out, then 2 points.high for each hull more.
    """
    kind = choose(KINDS, outline.kind, outline.weights, rng)
    size = room(reach, edge) * outline.size.draw(rng)
    aspect, turn, depth = outline.aspect.draw(rng), 2 * math.pi * float(rng.random()), outline.bite.draw(rng)
    number = count(outline.points, rng)
    scattered, bitten = rng.random((int(outline.points.high), 2)), rng.random(BITE).tolist()
    where, facets = float(rng.random()), _facets(outline, rng)
    if kind == "faceted":
        body = _faceted(facets, size, turn)
    else:
        tries = chain([scattered], (rng.random(scattered.shape) for _ in range(AGAIN)))
        hulls = (_hull([_scattered(u, v, size, aspect, turn) for u, v in uv[:number].tolist()]) for uv in tries)
        body = _wide(hulls, narrowest)
    bite = _bite(body, where, depth, bitten) if kind == "bitten" else []
    lengths = sizes(outline)
    return DrawnOutline(
        KINDS.index(kind),
        len(body),
        _padded(body, lengths["corner"]),
        len(bite),
        _padded(bite, lengths["bite_corner"]),
    )


def render(drawn: DrawnOutline, n_y: int, n_x: int, edge: float) -> NDArray[np.float32]:
    """The modulus (y, x) of the object, 0..1, at the pixel centres of the frame. edge: w [frame width]."""
    body, out = drawn.body, np.zeros((n_y, n_x), np.float32)
    rows, columns = (_span(body[:, axis], places(n), SOFT * edge) for axis, n in enumerate((n_y, n_x)))
    distance = signed_distance(body, drawn.bite, places(n_y)[rows], places(n_x)[columns])
    out[rows, columns] = profile(distance, edge)
    return out


def _span(corners: Floats, centres: Floats, margin: float) -> slice:
    """The pixels of an axis that may be met: elsewhere the modulus is 0, and no distance has to be known."""
    first, last = np.searchsorted(centres, (corners.min() - margin, corners.max() + margin))
    return slice(int(first), int(last) + 1)


def profile(distance: Floats, edge: float) -> NDArray[np.float32]:
    """The modulus at distances from the outline, positive within; both in one unit."""
    out = (distance >= 0).astype(np.float32)
    soft = abs(distance) < SOFT * edge
    out[soft] = (1 + erf(distance[soft] / (math.sqrt(2) * edge))) / 2
    return out


def disc(drawn: DrawnOutline) -> tuple[float, float, float]:
    """The middle (y, x) of the box about an outline, and the radius of the disc about that: half the longer side."""
    low, high = drawn.body.min(axis=0), drawn.body.max(axis=0)
    middle: list[float] = ((low + high) / 2).tolist()
    return middle[0], middle[1], float(np.max(high - low)) / 2


def _hull(points: list[Point]) -> list[Point]:
    """The hull of the points as float32 stores them, so that rounding leaves it convex."""
    return hull([stored(*point) for point in points])


def _wide(hulls: Iterable[list[Point]], least: float) -> list[Point]:
    """The first hull that is wide enough, or the widest of all."""
    widest: list[Point] = []
    for corners in hulls:
        widest = max(widest, corners, key=width)
        if width(widest) >= least:
            break
    return widest


def _padded(corners: list[Point], most: int) -> Corners:
    return (*corners, *((0.0, 0.0),) * (most - len(corners)))


def _scattered(u: float, v: float, size: float, aspect: float, turn: float) -> Point:
    """A point uniform in an ellipse, from two numbers uniform in [0, 1)."""
    radius, angle = size * math.sqrt(u), 2 * math.pi * v
    return _turned(aspect * radius * math.sin(angle), radius * math.cos(angle), turn)


def _turned(y: float, x: float, angle: float) -> Point:
    """A point turned about the origin, from +x towards +y."""
    sine, cosine = math.sin(angle), math.cos(angle)
    return cosine * y + sine * x, cosine * x - sine * y


def _bite(body: list[Point], where: float, depth: float, turns: list[float]) -> list[Point]:
    """A convex polygon to take off a body: it opens outwards, and leaves a corner that points into the body.

    Its corners lie on a circle about a place on the outline, among them the innermost and the outermost point. The
    body's middle lies beyond the tangent at the innermost one: so that one is within, and some of the body is left.
    """
    middle_y, middle_x = (sum(values) / len(body) for values in zip(*body, strict=True))
    y, x = _along(body, where)
    radius, inwards = depth * math.hypot(middle_y - y, middle_x - x), math.atan2(middle_y - y, middle_x - x)
    angles = [inwards + 2 * math.pi * turn for turn in (0, 0.5, *turns)]
    return _hull([(y + radius * math.sin(angle), x + radius * math.cos(angle)) for angle in angles])


def _along(body: list[Point], where: float) -> Point:
    """The place on a polygon's outline at a share of its length from the first corner."""
    lines = list(zip(body, body[1:] + body[:1], strict=True))
    lengths = [math.dist(*line) for line in lines]
    ends = list(accumulate(lengths))
    k = bisect_right(ends[:-1], where * ends[-1])
    (ay, ax), (by, bx) = lines[k]
    share = 1 - (ends[k] - where * ends[-1]) / lengths[k]
    return ay + share * (by - ay), ax + share * (bx - ax)


def _facets(outline: Outline, rng: np.random.Generator) -> list[float]:
    """Distances of the facets, in equal steps of angle: two families by turns, as many facets each as the symmetry.

    Always consumes 2 + MOST numbers of `rng`.
    """
    fold = FOLDS[int(len(FOLDS) * rng.random())]
    regular = rng.random() < outline.regular
    low, high = outline.facet.low, outline.facet.high
    distances = [low + (high - low) * u for u in rng.random(MOST).tolist()]
    return distances[:2] * fold if regular else distances[: 2 * fold]


def _faceted(distances: list[float], size: float, turn: float) -> list[Point]:
    """The points n_k . p <= h_k for all facets (G. Wulff, Z. Kristallogr. 34 (1901) 449), the farthest at `size`.

    It is the dual of the hull of n_k / h_k: a corner of that is a facet of this, and next corners are next facets.
    """
    angles = [2 * math.pi * k / len(distances) for k in range(len(distances))]
    facets = hull([(math.sin(angle) / h, math.cos(angle) / h) for angle, h in zip(angles, distances, strict=True)])
    corners = [_meet(*pair) for pair in zip(facets, facets[1:] + facets[:1], strict=True)]
    scale = size / max(math.hypot(*corner) for corner in corners)
    return _hull([_turned(scale * y, scale * x, turn) for y, x in corners])


def _meet(m: Point, n: Point) -> Point:
    """Where the lines m . p = 1 and n . p = 1 cross."""
    area = m[0] * n[1] - m[1] * n[0]
    return (n[1] - m[1]) / area, (m[0] - n[0]) / area
