"""Pixels of an image that were not measured, filled in from those around them.

    a     the image (..., y, x), real, periodic: opposite edges are neighbours
    H     1 at its hidden pixels, 0 at those that were measured
    K     a -> F^-1 [ f^2 F a ],   f in cycles per pixel: the Laplacian, over -4 pi^2

A filled image is as measured where it was, and such that sum a K a is least: H K a = 0, it is harmonic in the holes.
Of a diffraction pattern a = A^2 that sum is the one of |r|^2 |F^-1 A^2|^2: its autocorrelation is the most compact.

NumPy or JAX. NumPy's bits do not depend on the other images.
"""

from typing import Any

from physics.arrays import Array, module, pixel_sum
from physics.fourier import frequencies, irfft2, rfft2
from physics.iteration import Repeat, in_turn

STEPS = 50  # enough for holes 20 pixels wide; in the middle of wider ones, what is filled in stays too even
TINY = 1e-20  # relative to the greatest value, squared: below it nothing is left to be mended


def filled(image: Array, measured: Array, repeat: Repeat = in_turn) -> Array:
    """The image with its hidden pixels filled in, in its dtype; by conjugate gradients (Hestenes and Stiefel 1952).

    image: (..., y, x); what stands at hidden pixels, even NaN, does not matter. measured: bool, broadcasts to it; where
    nothing was, the image is 0. repeat: of a step, see `physics.iteration`. Holes begin as the mean of what was
    measured.
    """
    xp = module(image)
    hidden = xp.broadcast_to(~measured, image.shape)
    known = xp.where(hidden, 0, image)
    scale = xp.maximum(abs(known).max(axis=(-2, -1), keepdims=True), TINY)
    mean = pixel_sum(known / scale) / xp.maximum(pixel_sum(xp.where(hidden, 0, 1)), 1)
    start = xp.where(hidden, mean, known / scale).astype(image.dtype)
    rest = -_within(hidden, start)
    found, *_ = repeat(lambda state: _step(hidden, *state), (start, rest, rest), STEPS)
    return xp.where(hidden, found * scale, known)


def _within(hidden: Array, image: Array) -> Array:
    """H K a."""
    xp, shape = module(image), image.shape[-2:]
    fy, fx = frequencies(shape, 1.0, xp)
    square = (fy**2 + fx[: shape[1] // 2 + 1] ** 2).astype(image.dtype)
    return xp.where(hidden, irfft2(rfft2(image, shape) * square, shape), 0)


def _step(hidden: Array, image: Array, rest: Array, way: Array) -> tuple[Any, Any, Any]:
    """rest: r = -H K a. way: p, along which a goes to the least value; the next one is conjugate to it."""
    xp, curved, before = module(image), _within(hidden, way), pixel_sum(rest**2)
    length = before / xp.maximum(pixel_sum(way * curved), TINY)
    rest = rest - length * curved
    return image + length * way, rest, rest + pixel_sum(rest**2) / xp.maximum(before, TINY) * way
