"""Agglomerates: copies of a body, each in its own orientation and size, that touch and never overlap.

Bodies come one after the other: from the middle of one that is there, along a random direction, until a plane
separates it from each of the others, one of which it touches (`contact`). Lengths in units of the field of view.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from generators.specimens.particles.contact import clearance
from generators.specimens.particles.mesh import Floats, Mesh, translate
from generators.specimens.random_values import Quaternion, Three, direction, quaternion, stored
from schemas.runtime.ranges import Range

APART = 2e-6  # field of view: what rounding to float32 may take from the distance of two bodies, several times over


@dataclass(frozen=True, slots=True)
class Copy:
    """A copy of a body, and where it comes from."""

    quaternion: Quaternion
    scale: float
    parent: int  # among the bodies that are there before it
    direction: Three


def draw(copies: int, most: int, scale: Range, rng: np.random.Generator) -> list[Copy]:
    """The copies of a body. Always consumes 7 `most` numbers of `rng`."""
    rows: list[list[float]] = rng.random((most, 7))[:copies].tolist()
    return [
        Copy(
            quaternion(*row[:3]),
            stored(scale.low + (scale.high - scale.low) * row[3])[0],
            int((k + 1) * row[4]),
            direction(*row[5:]),
        )
        for k, row in enumerate(rows)
    ]


def place(bodies: Sequence[Mesh], copies: Sequence[Copy]) -> Floats:
    """How each body must be moved, (body, coordinate): the first stays, others (one per copy) come to touch."""
    placed, shifts = [bodies[0]], [np.zeros(3)]
    for body, copy in zip(bodies[1:], copies, strict=True):
        along = np.array(copy.direction)
        start = _middle(placed[copy.parent]) - _middle(body)
        waiting = translate(body, start)
        way = max(clearance(other, waiting, along) for other in placed) + APART
        shifts.append(start + way * along)
        placed.append(translate(body, shifts[-1]))
    return np.array(shifts)


def fitted(bodies: Sequence[Mesh], shifts: Floats, middle: Three, margin: float) -> tuple[float, Floats]:
    """The factor, 1 or less, that keeps placed bodies in the field, and the middle of each body, (body, coordinate).

    The box about them all has its own middle at `middle`, and stays `margin` away from the border along y and x.
    """
    low = np.min([body.min(axis=(0, 1)) + shift for body, shift in zip(bodies, shifts, strict=True)], axis=0)
    high = np.max([body.max(axis=(0, 1)) + shift for body, shift in zip(bodies, shifts, strict=True)], axis=0)
    room = 0.5 - margin - max(abs(middle[1]), abs(middle[2]))
    scale = min(1.0, 2 * room / float(max(high[1] - low[1], high[2] - low[2])))
    return scale, middle + scale * (shifts - (low + high) / 2)


def _middle(mesh: Mesh) -> Floats:
    """A point within the convex hull, whatever has been cut away."""
    out: Floats = mesh.mean(axis=(0, 1))
    return out
