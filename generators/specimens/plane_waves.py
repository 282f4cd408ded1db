"""Sums of plane waves that are periodic in a field: their order, and their values on a grid.

Waves are ordered from low to high frequencies, whatever the grid: numbers that are drawn in this order mean the same
wave on every grid, and a finer grid only shows more of them, or shows the same ones at more places.
"""

from functools import cache

import numpy as np
from numpy.typing import NDArray

from physics.fourier import ifft2

type Pair = tuple[float, float]
type Whole = NDArray[np.int64]


def ordered(rings: int) -> tuple[Whole, Whole]:
    """Whole numbers (ky, kx), kx >= 0, by rising max(|ky|, kx): those of fewer rings come first, in the same order."""
    ky, kx = _sorted(1 << rings.bit_length())
    count = (2 * rings + 1) * (rings + 1)
    return ky[:count], kx[:count]


@cache
def _sorted(rings: int) -> tuple[Whole, Whole]:
    ky, kx = (k.ravel() for k in np.mgrid[-rings : rings + 1, : rings + 1])
    order = np.lexsort((kx, ky, np.maximum(abs(ky), kx)))
    return ky[order], kx[order]


def superposed(
    amplitudes: NDArray[np.complex128], waves: tuple[Whole, Whole], shape: tuple[int, int], origin: Pair
) -> NDArray[np.float64]:
    """The sum of the real parts of a_k exp(2 pi i (ky y/Ly + kx x/Lx)) at the points of a grid (y, x).

    waves: (ky, kx). shape: of the grid, which spans a period. origin: fractional index of the point where y = x = 0.
    """
    ky, kx = waves
    turned = amplitudes * np.exp(-2j * np.pi * (ky * (origin[0] / shape[0]) + kx * (origin[1] / shape[1])))
    # A wave too fast for the grid has at its points the values of a slower one: so points are exact on every grid.
    place = (ky % shape[0]) * shape[1] + kx % shape[1]
    size = shape[0] * shape[1]
    spectrum = np.bincount(place, turned.real, size) + 1j * np.bincount(place, turned.imag, size)
    values: NDArray[np.float64] = size * ifft2(spectrum.reshape(shape)).real
    return values
