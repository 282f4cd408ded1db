"""Broken bodies: the Voronoi cells of a few points within a body, moved apart, some of them lost.

Points s_i move to (1 + gap) s_i, and each cell goes with its point. Between two cells lay the plane that bisects s_i
and s_j; along its normal s_j - s_i they now are gap |s_j - s_i| apart. So pieces of whatever body never meet, and with
gap = 0 they fill it. A body is broken last: its deformations, maps of space, would bend the planes of two pieces each
in its own way, as far as their triangles differ.
"""

from dataclasses import dataclass

import numpy as np

from generators.specimens.particles.mesh import Floats, Mesh, clip, surface, translate
from generators.specimens.random_values import Three, direction, stored


@dataclass(frozen=True, slots=True)
class Fracture:
    """How a body breaks; numbers that float32 holds exactly. A whole body is one piece, and has no points."""

    pieces: int
    gap: float
    point: tuple[Three, ...]
    kept: tuple[int, ...]


def draw(pieces: int, most: int, gap: float, lost: float, rng: np.random.Generator) -> Fracture:
    """Points uniform in the unit ball, and which pieces stay: each with the probability 1 - lost, and at least one.

    Always consumes 4 `most` numbers of `rng`; rows from `pieces` on are 0, and so are gap and point of a whole body.
    """
    numbers = rng.random((most, 4))
    if pieces == 1:
        return Fracture(1, 0.0, ((0.0, 0.0, 0.0),) * most, (1, *(0,) * (most - 1)))
    rows: list[list[float]] = numbers[:pieces].tolist()
    points = [direction(u, v, w ** (1 / 3)) for u, v, w, _ in rows]
    luck = [row[3] for row in rows]
    kept = [int(number >= lost or number == max(luck)) for number in luck]
    unused = most - pieces
    (gap,) = stored(gap)
    return Fracture(
        pieces,
        gap,
        (*(stored(*point) for point in points), *((0.0, 0.0, 0.0),) * unused),
        (*kept, *(0,) * unused),
    )


def points(body: Mesh, relative: tuple[Three, ...]) -> Floats:
    """Points (piece, coordinate) within a body, from lengths relative to the distance of its surface."""
    vectors = np.array(relative)
    lengths = [np.sqrt(z * z + y * y + x * x) * surface(body, (z, y, x)) for z, y, x in relative]
    out: Floats = np.array(lengths)[:, None] * vectors
    return out


def cell(body: Mesh, points: Floats, piece: int) -> Mesh:
    """The part of a body that is nearer to one of the points than to any other.

    The bisecting plane of s_i and s_j: (s_j - s_i) . p = (s_j^2 - s_i^2) / 2. Exchanging i and j changes the signs of
    both sides and no bit.
    """
    square = points[:, 0] ** 2 + points[:, 1] ** 2 + points[:, 2] ** 2
    for other in range(len(points)):
        if other != piece:
            body = clip(body, points[other] - points[piece], (square[other] - square[piece]) / 2)
    return body


def pieces(body: Mesh, relative: tuple[Three, ...], kept: tuple[int, ...], gap: float) -> list[Mesh]:
    """The pieces that stay of a body about the origin, moved apart."""
    own = points(body, relative)
    return [translate(cell(body, own, k), gap * own[k]) for k in range(len(own)) if kept[k]]
