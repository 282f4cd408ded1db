"""Broken bodies: the Voronoi cells of a few points within a body, moved apart, some of them lost.

Points s_i move to (1 + gap) s_i, and each cell moves with its point. Two cells were separated by the plane that bisects
s_i and s_j; along its normal s_j - s_i they are now gap |s_j - s_i| apart. So the pieces of any body never meet, and
with gap = 0 they fill it. A body is broken last: deformations would bend the common plane of two pieces differently on
each side, because their triangles differ.
"""

from dataclasses import dataclass

import numpy as np

from generators.specimens.draws import Vector, direction, to_float32
from generators.specimens.particles.mesh import Floats, Mesh, clip, surface_distance, translate


@dataclass(frozen=True, slots=True)
class Fracture:
    """A drawn fracture: numbers that float32 holds exactly. A whole body is one piece; its gap and points are 0."""

    pieces: int
    gap: float
    point: tuple[Vector, ...]
    kept: tuple[int, ...]


def draw(pieces: int, max_pieces: int, gap: float, lost: float, rng: np.random.Generator) -> Fracture:
    """Draw points uniform in the unit ball, and the pieces that stay, each with probability 1 - lost, at least one.

    Every call consumes 4 * max_pieces random numbers. Entries of `point` and `kept` from index `pieces` on are 0. Gap
    and points of a whole body are 0.

    Args:
        pieces: number of pieces; 1: the body is whole
        max_pieces: maximum number of pieces of the recipe
        gap: shift of a piece, relative to the distance of its point from the origin
        lost: probability that a piece is lost
        rng: random numbers
    """
    numbers = rng.random((max_pieces, 4))
    if pieces == 1:
        return Fracture(1, 0.0, ((0.0, 0.0, 0.0),) * max_pieces, (1, *(0,) * (max_pieces - 1)))
    rows: list[list[float]] = numbers[:pieces].tolist()
    points = [direction(u, v, w ** (1 / 3)) for u, v, w, _ in rows]
    chances = [row[3] for row in rows]
    kept = [int(chance >= lost or chance == max(chances)) for chance in chances]
    unused = max_pieces - pieces
    (gap,) = to_float32(gap)
    return Fracture(
        pieces, gap, (*(to_float32(*point) for point in points), *((0.0, 0.0, 0.0),) * unused), (*kept, *(0,) * unused)
    )


def points_within(body: Mesh, relative: tuple[Vector, ...]) -> Floats:
    """Return points (piece, coordinate) within a body.

    Args:
        body: closed mesh [nm]
        relative: vectors (z, y, x), their lengths relative to the distance of the surface
    """
    vectors = np.array(relative)
    lengths = [np.sqrt(z * z + y * y + x * x) * surface_distance(body, (z, y, x)) for z, y, x in relative]
    out: Floats = np.array(lengths)[:, None] * vectors
    return out


def voronoi_cell(body: Mesh, points: Floats, piece: int) -> Mesh:
    """Return the part of a body that is nearer to one of the points than to any other.

    The bisecting plane of s_i and s_j is (s_j - s_i) . p = (s_j^2 - s_i^2) / 2. Exchanging i and j changes the signs of
    both sides and no other bit.

    Args:
        body: closed mesh [nm]
        points: (piece, coordinate) [nm]
        piece: index of the point
    """
    square = points[:, 0] ** 2 + points[:, 1] ** 2 + points[:, 2] ** 2
    for other in range(len(points)):
        if other != piece:
            body = clip(body, points[other] - points[piece], (square[other] - square[piece]) / 2)
    return body


def break_body(body: Mesh, relative: tuple[Vector, ...], kept: tuple[int, ...], gap: float) -> list[Mesh]:
    """Return the remaining pieces of a body about the origin, moved apart.

    Args:
        body: closed mesh [nm]
        relative: point of each piece, as in `points_within`
        kept: 1 for pieces that stay, 0 for those that are lost
        gap: shift of a piece, relative to its point
    """
    centres = points_within(body, relative)
    return [translate(voronoi_cell(body, centres, k), gap * centres[k]) for k in range(len(centres)) if kept[k]]
