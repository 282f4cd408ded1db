"""Helpers that let one formula work for NumPy and JAX arrays. JAX is never imported here.

Images are arrays (..., y, x). A parameter (wavelength, defocus, sampling, ...) is a number, or an array whose axes are
the leading axes of the images: `defocus` of shape (sample, plane) goes with images (sample, plane, y, x). NumPy
parameters are computed in float64, whatever the dtype of the images; traced parameters keep the precision of the
tracer.
"""

from math import prod
from typing import Any

import numpy as np

type Array = Any  # NumPy or JAX, also under jit; a number where the docstring says so
type Real = np.ndarray[tuple[int, ...], np.dtype[np.float64]]  # NumPy, float64

MIN_DIVISOR = 1e-20  # lower bound of a divisor, which keeps a quotient finite; far below all values of images


def module(*values: Array) -> Array:
    """Return the array module of the first value that is neither a number nor a NumPy array; otherwise return NumPy."""
    for value in values:
        if hasattr(value, "__array_namespace__") and not isinstance(value, np.ndarray | np.generic):
            return value.__array_namespace__()
    return np


def as_leading(value: Array, xp: Array) -> Array:
    """Return a parameter of shape (...) as a float array (..., 1, 1), which broadcasts over images (..., y, x)."""
    return xp.asarray(value, dtype=float)[..., None, None]


def pair(sampling: Array) -> tuple[Array, Array]:
    """Return the sampling as two values, one along y and one along x.

    Args:
        sampling: [nm], a number or an array for square pixels, or a tuple or list (sampling_y, sampling_x). An array is
            never a pair: it holds the sampling of square pixels, one entry per leading index.

    Returns:
        (sampling_y, sampling_x) [nm].

    Raises:
        ValueError: if a tuple or a list does not have two entries.
    """
    if not isinstance(sampling, tuple | list):
        return sampling, sampling
    if len(sampling) != 2:
        raise ValueError(f"sampling {sampling!r} has {len(sampling)} entries: give one or (sampling_y, sampling_x)")
    return sampling[0], sampling[1]


def pixel_sum(images: Array) -> Array:
    """Sum over the pixels of each image.

    The sum runs over one contiguous axis, so the bits of NumPy do not depend on the other images.

    Args:
        images: (..., y, x).

    Returns:
        Sums (..., 1, 1).
    """
    return images.reshape(*images.shape[:-2], prod(images.shape[-2:])).sum(axis=-1)[..., None, None]


def cyclic_middle(line: Array) -> float:
    """Return the position of the middle of a cyclic line of weights, whose last element neighbours the first.

    Args:
        line: weights (n,), NumPy.

    Returns:
        A position from -n/2 to n/2 [pixel], where 0 is pixel 0.
    """
    n = len(line)
    return float(np.angle((line * np.exp(2j * np.pi * np.arange(n) / n)).sum()) / (2 * np.pi) * n)


def real_dtype(dtype: Array) -> np.dtype[Any]:
    """Return the real dtype of the same precision: float32 for complex64, float64 for complex128."""
    return np.empty(0, dtype).real.dtype
