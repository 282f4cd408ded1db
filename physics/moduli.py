"""Replacement of modelled moduli by measured ones, at the pixels where the phase of the model is reliable.

NumPy or JAX.

The dark field of a model in vacuum should be 0. Single precision leaves 5e-8 of the maximum modulus there, at some
pixels 4e-7, with a random phase. A projection that replaced it by the measured modulus would add noise as strong as the
signal. Therefore dark pixels (below DARK_LEVEL of the maximum) are never brightened, until other parts of the model
send light there.
"""

import numpy as np

from physics.arrays import MIN_DIVISOR, Array, module

DARK_LEVEL = 1e-6  # modulus below which a pixel is dark, relative to the maximum: more than rounding can leave


def bright_pixels(modulus: Array) -> Array:
    """Return the mask of the pixels (..., y, x) whose modulus is above DARK_LEVEL of the maximum of its image."""
    return modulus > DARK_LEVEL * modulus.max(axis=(-2, -1), keepdims=True)


def replacement_factor(measured: Array, modulus: Array) -> Array:
    """Return the factor that replaces a modulus by the measured one at `bright_pixels`; elsewhere it is at most 1.

    Reducing a modulus does not need a reliable phase. The wave therefore becomes 0 where the measured modulus is 0.

    Args:
        measured: the measured modulus (..., y, x).
        modulus: the modulus of the model (..., y, x).
    """
    xp = module(measured, modulus)
    factor = measured / (modulus + MIN_DIVISOR)  # a sum takes a quarter of the time of a maximum
    unreliable = (factor > 1) & ~bright_pixels(modulus)
    if xp is not np:
        return xp.where(unreliable, 1, factor)
    np.copyto(factor, 1, where=unreliable)  # takes a sixth of the time of `where`
    return factor
