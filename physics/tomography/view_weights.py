"""Weights of views and rays in sums over angles, for views that lie anywhere, and the ranges that were measured.

Conventions are those of `physics.tomography.geometry`. Angles lie on a circle: the views of a parallel beam repeat
after half a turn, those of a fan beam after a whole turn. Wide gaps between neighbouring views were not measured
(`missing_gaps`).

A ray (t, u) and the opposite ray, which measured the same line from the other side at -u, share the weight of the line
as c^2 : c'^2 (Noo, Defrise, Clackdoyle and Kudo, Phys. Med. Biol. 47 (2002) 2525, eq. 40). c is the product of the
distances of the ray to both ends of the detector, for a fan beam also of its view to both ends of the measured range.
So weights fall smoothly to 0 towards an end.
"""

from math import pi

import numpy as np

from physics.arrays import Array, Real
from physics.tomography.geometry import SAME_VIEW, Geometry, gaps_between, missing_gaps, usual_gap

# Views that are closer than this share of the usual gap count as one view that was repeated. Views that are a quarter
# of it apart differ, whatever way their distance is rounded.
REPEATED = 0.249


def view_weights(geometry: Geometry) -> Real:
    """Return the angular range [rad] for which each view stands, (view,).

    It is half the distance to both neighbours on the circle, and shared evenly by repeated views. A gap that was not
    measured counts as a usual gap. Evenly spread views over half a turn have the weight pi / views, and those over a
    whole turn of a parallel beam as well.
    """
    circle = geometry.period
    order = np.argsort(geometry.angles % circle, kind="stable")
    gaps = gaps_between(geometry.angles[order] % circle, circle)
    usual = usual_gap(gaps, circle)
    gaps = np.where(missing_gaps(gaps, circle), usual, gaps)
    shares = (gaps + np.roll(gaps, 1)) / 2
    place = np.cumsum(np.roll(gaps, 1) > REPEATED * usual)
    place %= max(place[-1], 1)  # the last views may repeat the first ones
    weights = np.empty(len(gaps))
    weights[order] = (np.bincount(place, shares) / np.maximum(np.bincount(place), 1))[place]
    return weights


def is_covered(angles: Array, wanted: Array) -> np.ndarray:
    """Return True where an angle lies between views that are no further apart than usual, on a whole turn.

    The first and the last view of such a range belong to it, also if rounding moves them by `SAME_VIEW` of the turn.

    Args:
        angles: of the views (view,) [rad], in any order.
        wanted: angles of any shape [rad].
    """
    views = np.sort(angles % (2 * pi))
    missing = missing_gaps(gaps_between(views, 2 * pi), 2 * pi)

    def is_missing(angle: Array) -> np.ndarray:
        before = np.searchsorted(views, angle % (2 * pi), side="right") - 1  # -1: between the last view and the first
        found: np.ndarray = missing[before]
        return found

    margin = SAME_VIEW * 2 * pi
    covered: np.ndarray = ~(is_missing(wanted - margin) & is_missing(wanted + margin))
    return covered


def line_shares(geometry: Geometry) -> Real:
    """Return the share of each ray in the weight of its line, (view, detector): 1 where no other ray measured it.

    In a parallel beam, both rays belong to the same view of the circle, where each has the usual share 1/2 already (see
    `view_weights`). There the result is relative to the usual share, so it lies between 0 and 2.
    """
    u = geometry.positions
    fan = np.zeros_like(u) if geometry.is_parallel else np.arctan(u / geometry.source_distance)
    views = geometry.angles[:, None]
    opposite = views + pi - 2 * fan
    both = is_covered(geometry.angles, opposite)
    own, other = _distances(geometry, u), _distances(geometry, -u)
    if not geometry.is_parallel:
        own, other = own * _depth(geometry.angles, views), other * _depth(geometry.angles, opposite)
    share = own**2 / (own**2 + np.where(both, other, 0) ** 2)
    usual = np.where(both, 2, 1) if geometry.is_parallel else 1
    shares: Real = np.broadcast_to(share * usual, geometry.shape)
    return shares


def _distances(geometry: Geometry, u: Real) -> Real:
    """Return the product of the distances of positions u to both ends of the detector [pixel^2], 0 outside."""
    first, last = geometry.positions[[0, -1]] + np.array([-0.5, 0.5]) * geometry.pitch
    product: Real = np.maximum(u - first, 0) * np.maximum(last - u, 0)
    return product


def _depth(angles: Array, wanted: Array) -> Real:
    """Return the product of the distances of angles to both ends of the measured range, in lengths of this range.

    It is 0 outside of the measured ranges, and 1 if no range of the turn is missing.
    """
    views = np.sort(angles % (2 * pi))
    gaps = gaps_between(views, 2 * pi)
    usual = min(usual_gap(gaps, 2 * pi), pi)
    missing = np.flatnonzero(missing_gaps(gaps, 2 * pi))
    if not missing.size:
        return np.ones_like(wanted)
    starts = views[(missing + 1) % len(views)] - usual / 2
    lengths = (np.roll(views[missing], -1) + usual / 2 - starts) % (2 * pi)
    after = (wanted[..., None] - starts) % (2 * pi)
    depth: Real = np.maximum(after / lengths * (1 - after / lengths), 0).max(axis=-1)
    return depth
