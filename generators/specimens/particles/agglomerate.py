"""Agglomerates: copies of a body, each in its own orientation and size, that touch and never overlap.

Bodies are placed one after the other. Each starts in the middle of one that is there and moves along a random
direction, until a plane separates it from all others and it touches one of them (`contact`). Lengths are in units of
the field of view. Bodies that touch have a gap of about MIN_GAP.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from generators.specimens.draws import Quaternion, Vector, direction, quaternion, to_float32
from generators.specimens.particles.contact import clearance
from generators.specimens.particles.mesh import Floats, Mesh, translate
from schemas.runtime.ranges import Range

MIN_GAP = 2e-6  # fields of view: several times the distance that rounding to float32 may take away


@dataclass(frozen=True, slots=True)
class Copy:
    """A copy of a body, and its way into the agglomerate."""

    quaternion: Quaternion
    scale: float
    parent: int  # index among the bodies that are placed before it
    direction: Vector


def draw(copies: int, max_copies: int, scale: Range, rng: np.random.Generator) -> list[Copy]:
    """Draw the copies of a body. Every call consumes 7 * max_copies random numbers.

    Args:
        copies: number of copies
        max_copies: maximum number of copies of the recipe
        scale: size of a copy relative to the body
        rng: random numbers
    """
    rows: list[list[float]] = rng.random((max_copies, 7))[:copies].tolist()
    return [
        Copy(
            quaternion(*row[:3]),
            to_float32(scale.low + (scale.high - scale.low) * row[3])[0],
            int((k + 1) * row[4]),
            direction(*row[5:]),
        )
        for k, row in enumerate(rows)
    ]


def place_copies(bodies: Sequence[Mesh], copies: Sequence[Copy]) -> Floats:
    """Return the shift of each body, (body, coordinate), that makes the copies touch.

    Args:
        bodies: meshes; the first is the body, which stays, the others are its copies
        copies: one per mesh after the first
    """
    placed, shifts = [bodies[0]], [np.zeros(3)]
    for body, copy in zip(bodies[1:], copies, strict=True):
        direction = np.array(copy.direction)
        start = _mean_vertex(placed[copy.parent]) - _mean_vertex(body)
        started = translate(body, start)
        distance = max(clearance(other, started, direction) for other in placed) + MIN_GAP
        shifts.append(start + distance * direction)
        placed.append(translate(body, shifts[-1]))
    return np.array(shifts)


def fit_into_field_of_view(
    bodies: Sequence[Mesh], shifts: Floats, middle: Vector, margin: float
) -> tuple[float, Floats]:
    """Return the factor that keeps placed bodies in the field of view, and the middle of each body, (body, coordinate).

    The factor is at most 1. The box about all bodies has its middle at `middle`, and stays `margin` away from the
    border along y and x.

    Args:
        bodies: meshes
        shifts: shift of each body, from `place_copies`
        middle: (z, y, x)
        margin: free margin along the border
    """
    low = np.min([body.min(axis=(0, 1)) + shift for body, shift in zip(bodies, shifts, strict=True)], axis=0)
    high = np.max([body.max(axis=(0, 1)) + shift for body, shift in zip(bodies, shifts, strict=True)], axis=0)
    room = 0.5 - margin - max(abs(middle[1]), abs(middle[2]))
    scale = min(1.0, 2 * room / float(max(high[1] - low[1], high[2] - low[2])))
    return scale, middle + scale * (shifts - (low + high) / 2)


def _mean_vertex(mesh: Mesh) -> Floats:
    """Return a point within the convex hull, whatever has been cut away."""
    out: Floats = mesh.mean(axis=(0, 1))
    return out
