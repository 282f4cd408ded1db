"""Replacement of modelled moduli by measured ones, at the pixels where the phase of the model is reliable.

NumPy or JAX.

The dark field of a model in vacuum should be 0. Single precision leaves 5e-8 of the maximum modulus there, at some
pixels 4e-7, with a random phase. A projection that replaced it by the measured modulus would add noise as strong as the
signal. Dark pixels (below DARK of the maximum) are therefore never brightened, until other parts of the model send
light there.
"""

import numpy as np

from physics.arrays import Array, module

DARK = 1e-6  # modulus below which a pixel is dark, relative to the maximum: more than rounding can leave
TINY = 1e-20  # keeps a quotient finite


def bright(modulus: Array) -> Array:
    """Return the mask of the pixels (..., y, x) whose modulus is above DARK of the maximum of its image."""
    return modulus > DARK * modulus.max(axis=(-2, -1), keepdims=True)


def bright_ratio(measured: Array, modulus: Array) -> Array:
    """Return the factor that replaces a modulus by the measured one where it is `bright`; elsewhere it is at most 1.

    Reducing a modulus does not need a reliable phase. The wave therefore becomes 0 where the measured modulus is 0.

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
