"""What a formula asks of its arrays: NumPy or JAX, and JAX is never imported.

Images are arrays (..., y, x). A parameter (wavelength, defocus, sampling, ...) is a number, or an array whose
axes are the leading axes of the images: `defocus` of shape (sample, plane) goes with images (sample, plane, y, x).
NumPy parameters are computed in float64 whatever the images are; traced ones keep the precision of the tracer.
"""

from math import prod
from typing import Any

import numpy as np

type Array = Any  # NumPy or JAX, also under jit; a number where the docstring says so


def module(*values: Array) -> Array:
    """The array module of the first value that is neither a number nor NumPy's own; NumPy where there is none."""
    for value in values:
        if hasattr(value, "__array_namespace__") and not isinstance(value, np.ndarray | np.generic):
            return value.__array_namespace__()
    return np


def leading(value: Array, xp: Array) -> Array:
    """A parameter of shape (...) as a float array (..., 1, 1), which broadcasts over images (..., y, x)."""
    return xp.asarray(value, dtype=float)[..., None, None]


def pair(sampling: Array) -> tuple[Array, Array]:
    """(sampling_y, sampling_x) [nm] of square pixels (one number or array) or of a tuple (or list) of two.

    Only a tuple or a list is a pair: an array holds the sampling of square pixels, one per leading index.
    """
    if not isinstance(sampling, tuple | list):
        return sampling, sampling
    if len(sampling) != 2:
        raise ValueError(f"sampling {sampling!r} has {len(sampling)} entries: give one or (sampling_y, sampling_x)")
    return sampling[0], sampling[1]


def pixel_sum(images: Array) -> Array:
    """Sum over the pixels of images (..., y, x): (..., 1, 1).

    Over one contiguous axis, so that NumPy's bits do not depend on the other images.
    """
    return images.reshape(*images.shape[:-2], prod(images.shape[-2:])).sum(axis=-1)[..., None, None]


def cyclic_middle(line: Array) -> float:
    """The middle of a line of weights (n,) whose ends meet: from -n/2 to n/2, 0 is pixel 0. NumPy."""
    n = len(line)
    return float(np.angle((line * np.exp(2j * np.pi * np.arange(n) / n)).sum()) / (2 * np.pi) * n)


def real_dtype(dtype: Array) -> np.dtype[Any]:
    """The real dtype of the same precision: float32 for complex64, float64 for complex128."""
    return np.empty(0, dtype).real.dtype
