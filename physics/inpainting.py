"""Inpainting: fill in pixels of an image that were not measured, from the pixels around them.

    a     the image (..., y, x), real, periodic: opposite edges are neighbours
    H     1 at its hidden pixels, 0 at those that were measured
    K     a -> F^-1 [ f^2 F a ],   f in cycles per pixel: the Laplacian, over -4 pi^2

A filled image keeps the measured pixels and has the smallest sum of a K a that is possible. Then H K a = 0: the image
is harmonic in the holes. For a diffraction pattern a = A^2, this sum is the sum of |r|^2 |F^-1 A^2|^2, so the filled
pattern has the most compact autocorrelation.

NumPy or JAX. NumPy's bits do not depend on the other images.
"""

from typing import Any

from physics.arrays import MIN_DIVISOR, Array, module, pixel_sum
from physics.fourier import frequencies, irfft2, rfft2
from physics.iteration import Repeat, python_loop

ITERATIONS = 50  # steps of the iteration: enough for holes 20 pixels wide; the middle of wider holes stays too even


def inpaint(image: Array, measured: Array, repeat: Repeat = python_loop) -> Array:
    """Fill in the hidden pixels of images by conjugate gradients (Hestenes and Stiefel 1952).

    The iteration starts with the mean of the measured pixels in the holes.

    Args:
        image: (..., y, x). The values at hidden pixels do not matter, not even NaN.
        measured: bool, broadcasts to `image`. An image without a measured pixel becomes 0.
        repeat: runs the iteration, see `physics.iteration`.

    Returns:
        The filled image (..., y, x), of the dtype of `image`.
    """
    xp = module(image)
    hidden = xp.broadcast_to(~measured, image.shape)
    known = xp.where(hidden, 0, image)
    scale = xp.maximum(abs(known).max(axis=(-2, -1), keepdims=True), MIN_DIVISOR)
    mean = pixel_sum(known / scale) / xp.maximum(pixel_sum(xp.where(hidden, 0, 1)), 1)
    start = xp.where(hidden, mean, known / scale).astype(image.dtype)
    residual = -_hidden_laplacian(hidden, start)
    filled, *_ = repeat(lambda state: _conjugate_step(hidden, *state), (start, residual, residual), ITERATIONS)
    return xp.where(hidden, filled * scale, known)


def _hidden_laplacian(hidden: Array, image: Array) -> Array:
    """Return H K a."""
    xp, shape = module(image), image.shape[-2:]
    fy, fx = frequencies(shape, 1.0, xp)
    square = (fy**2 + fx[: shape[1] // 2 + 1] ** 2).astype(image.dtype)
    return xp.where(hidden, irfft2(rfft2(image, shape) * square, shape), 0)


def _conjugate_step(hidden: Array, image: Array, residual: Array, direction: Array) -> tuple[Any, Any, Any]:
    """Take one step of conjugate gradients.

    Args:
        hidden: H.
        image: a.
        residual: r = -H K a.
        direction: p, the direction along which a moves to the smallest value; the next direction is conjugate to it.
    """
    xp, laplacian, square = module(image), _hidden_laplacian(hidden, direction), pixel_sum(residual**2)
    length = square / xp.maximum(pixel_sum(direction * laplacian), MIN_DIVISOR)
    residual = residual - length * laplacian
    ratio = pixel_sum(residual**2) / xp.maximum(square, MIN_DIVISOR)
    return image + length * direction, residual, residual + ratio * direction
