"""Replacement of modelled moduli by measured ones, at the pixels where the model has a phase. NumPy or JAX.

The dark field of a model in vacuum should be 0. Single precision leaves 5e-8 of the greatest modulus there, at some
pixels 4e-7, with a random phase. A projection that replaced it by the measured modulus would add noise as strong as the
signal. Therefore such pixels are not brightened until other parts of the model send light there.
"""

import numpy as np

from physics.arrays import Array, module

DARK = 1e-6  # of the greatest modulus: more than rounding can leave
TINY = 1e-20  # keeps a quotient finite


def bright(modulus: Array) -> Array:
    """Return the mask of the pixels (..., y, x) whose modulus is above DARK of the greatest one in its image."""
    return modulus > DARK * modulus.max(axis=(-2, -1), keepdims=True)


def bright_ratio(measured: Array, modulus: Array) -> Array:
    """Return the factor that replaces a modulus by the measured one where it is `bright`; elsewhere it is at most 1.

    Dimming needs no phase, so a wave becomes 0 wherever nothing was measured.

    Args:
        measured: the measured modulus (..., y, x).
        modulus: the modulus of the model (..., y, x).
    """
    xp = module(measured, modulus)
    found = measured / (modulus + TINY)  # a sum takes a quarter of the time of a maximum
    noise = (found > 1) & ~bright(modulus)
    if xp is not np:
        return xp.where(noise, 1, found)
    np.copyto(found, 1, where=noise)  # takes a sixth of the time of a `where`
    return found
