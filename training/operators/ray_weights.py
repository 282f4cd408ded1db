"""Weights of rays in filtered back projection, in XLA, for devices that do not run the code of `physics`.

The functions follow `physics.tomography.view_weights`. Angles are counted in 2^-32 of a turn, as uint32, whose sums
wrap around as angles on a circle do. So the gap between two of 1000 views is known to 1e-6 of it. In float32, where
angles are rounded to 5e-7 rad, it would be known to 1e-4.
"""

from collections.abc import Callable
from functools import partial
from math import pi

import jax
import jax.numpy as jnp
import numpy as np

from physics.tomography.geometry import MISSING_GAP, SAME_VIEW, USUAL_GAPS, WIDEST_GAP
from physics.tomography.view_weights import REPEATED
from training.contract import Array, Sizes

CIRCLE = 2.0**32  # counts of a circle
HALF = np.uint32(2**31)
ONE_VIEW = np.uint32(SAME_VIEW * CIRCLE)  # views that are nearer are the same
PARTS = 1024  # of a rad: angles are split into a whole number of them and a rest, which float32 holds without rounding


def weigh(
    sizes: Sizes, angle: Array, measured: Array, axis_offset: Array, pitch: Array, source_distance: Array
) -> Array:
    """Return the weights of rays (`physics.tomography.filtered_back_projection.weights_by_sample`).

    Args:
        sizes: lengths of the dimensions.
        angle: (sample, view) [rad].
        measured: (sample, view), not 0 where the view was measured.
        axis_offset: (sample,) [detector pixel].
        pitch: (sample,) [pixel].
        source_distance: (sample,) [pixel], 0 for a parallel beam.

    Returns:
        (sample, view, detector), 0 in views that were not measured.
    """
    weights: Array = jax.vmap(partial(_weigh_one, sizes["detector"]))(
        angle, measured != 0, axis_offset, pitch, source_distance
    )
    return weights


def _weigh_one(
    detectors: int, angle: Array, measured: Array, axis_offset: Array, pitch: Array, source_distance: Array
) -> Array:
    """Return the weights (view, detector) of one sample.

    Views that were not measured become repetitions of one that was. These change no gap, and are not counted.
    """
    views = _count(jnp.where(measured, angle, angle[jnp.argmax(measured)]))
    is_parallel = source_distance <= 0
    period = jnp.where(is_parallel, pi, 2 * pi)
    turned = views * jnp.where(is_parallel, 2, 1).astype(jnp.uint32)  # a parallel beam repeats after half a turn
    weights = period * _view_weights(turned, measured)[:, None]

    pixels = jnp.arange(detectors, dtype=jnp.float32)
    u = (pixels - (detectors - 1) / 2 - axis_offset) * pitch
    slope = u * jnp.where(is_parallel, 0, 1 / jnp.where(is_parallel, 1, source_distance))
    opposite = views[:, None] + HALF - _count(2 * jnp.arctan(slope))
    find = _ranges(views)
    (_, own), (both, other) = find(views[:, None]), find(opposite)
    own = _distances(pixels, detectors) * jnp.where(is_parallel, 1, own)
    other = _distances(detectors - 1 + 2 * axis_offset - pixels, detectors) * jnp.where(is_parallel, 1, other) * both
    share = own**2 / (own**2 + other**2) * jnp.where(is_parallel & both, 2, 1)
    return weights * share / jnp.hypot(1, slope)


def _count(angle: Array) -> Array:
    """Return angles [rad] in counts of a turn (uint32)."""
    step = CIRCLE / (2 * pi) / PARTS
    parts = jnp.round(angle * PARTS)
    rest = parts * (step - round(step)) + (angle - parts / PARTS) * (step * PARTS)
    return (parts.astype(jnp.int32) * round(step) + jnp.round(rest).astype(jnp.int32)).astype(jnp.uint32)


def _around(views: Array) -> tuple[Array, Array]:
    """Return the order of views on the circle from the widest gap on, and the gap after each, in shares of the circle.

    If any gap was not measured, the last one was not.
    """
    order = jnp.argsort(views)
    order = jnp.roll(order, -1 - jnp.argmax(_gaps(views[order])))
    return order, _gaps(views[order])


def _gaps(views: Array) -> Array:
    """Return the distances of views, in the order of a circle, to the next one, in shares of the circle."""
    gaps = (jnp.roll(views, -1) - views).astype(jnp.float32) / CIRCLE
    return gaps.at[-1].add(jnp.where((views == views[0]).all(), 1, 0))  # a whole circle, which wrapped around to 0


def _usual_and_missing(gaps: Array) -> tuple[Array, Array]:
    """Return the usual gap, and True for gaps that were not measured (`physics.tomography.geometry`)."""
    different = gaps > SAME_VIEW
    number = different.sum()
    rank = jnp.asarray((USUAL_GAPS * np.arange(len(gaps))).astype(int))[number - 1]
    usual = jnp.sort(jnp.where(different, gaps, 0))[len(gaps) - number + rank]
    return usual, gaps > jnp.minimum(MISSING_GAP * usual, WIDEST_GAP)


def _view_weights(views: Array, measured: Array) -> Array:
    """Return the share of the circle for which each view stands, (view,)."""
    order, gaps = _around(views)
    usual, missing = _usual_and_missing(gaps)
    after = jnp.where(missing, usual, gaps)
    before = jnp.roll(after, 1)
    place = jnp.cumsum(before > REPEATED * usual) - 1  # the same for repeated views; 0 after the widest gap
    add = partial(jax.ops.segment_sum, segment_ids=place, num_segments=len(views))
    shares = add((before + after) / 2) / jnp.maximum(add(measured[order].astype(jnp.float32)), 1)
    return jnp.zeros(len(views)).at[order].set(shares[place]) * measured


def _ranges(views: Array) -> Callable[[Array], tuple[Array, Array]]:
    """Return a function of angles that finds whether a measured range covers them, and how deep they lie in it.

    The second is the product of the distances to both ends of the range, in lengths of this range. It is 1 if no range
    is missing. For it, a range reaches half a usual gap beyond its first and its last view.
    """
    order, gaps = _around(views)
    usual, missing = _usual_and_missing(gaps)
    half = (jnp.minimum(usual, 0.5) * (CIRCLE / 2)).astype(jnp.uint32)
    places = views[order] - views[order[0]]
    first = jax.lax.cummax(jnp.where(jnp.roll(missing, 1), places, 0))
    last = jax.lax.cummin(jnp.where(missing, places, places[-1]), reverse=True)

    def find(angles: Array) -> tuple[Array, Array]:
        wanted = angles - views[order[0]] + half
        place = _last_before(places, wanted)
        after, width = wanted - first[place], last[place] - first[place]
        before = jnp.where(after <= width + 2 * half, width + 2 * half - after, 0)
        covered = (jnp.minimum(after, before) + ONE_VIEW >= half) & (width > ONE_VIEW) & (before > 0)
        length = (width + 2 * half).astype(jnp.float32)
        depth = after.astype(jnp.float32) / length * (before.astype(jnp.float32) / length)
        return covered | ~missing[-1], jnp.where(missing[-1], depth, 1)

    return find


def _last_before(places: Array, wanted: Array) -> Array:
    """Return the index of the last place that is not above `wanted`; places (view,) rise from 0.

    `jnp.searchsorted` cannot be called within `linear_call`.
    """
    steps = (len(places) - 1).bit_length()

    def bisect(step: Array, found: Array) -> Array:
        above = jnp.minimum(found + (1 << (steps - 1 - step)), len(places) - 1)
        return jnp.where(places[above] <= wanted, above, found)

    place: Array = jax.lax.fori_loop(0, steps, bisect, jnp.zeros(wanted.shape, jnp.int32))
    return place


def _distances(pixel: Array, detectors: int) -> Array:
    """Return the product of the distances of positions [detector pixel] to both ends of the detector, 0 outside."""
    return jnp.maximum(pixel + 0.5, 0) * jnp.maximum(detectors - 0.5 - pixel, 0)
