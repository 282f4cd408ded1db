"""Gaussian random fields on any grid: sums of plane waves that are periodic in a field of view.

    g(r) = Re sum_k a_k exp(2 pi i (ky y / Ly + kx x / Lx)),   <|a_k|^2> / 2 the power of a wave, in all 1

so g has the mean 0, the variance 1 and the autocorrelation whose transform is the power. Waves are drawn from low to
high frequencies, whatever the grid: a finer grid shows the same field, and every grid shows its points exactly.
"""

from functools import cache

import numpy as np
from numpy.typing import NDArray

from physics.fourier import ifft2

type Floats = NDArray[np.float64]
type Whole = NDArray[np.int64]
type Waves = NDArray[np.complex128]


def waves(rings: int) -> tuple[Whole, Whole]:
    """Whole numbers (ky, kx), kx >= 0, by rising max(|ky|, kx): those of fewer rings come first, in the same order."""
    ky, kx = _sorted_waves(1 << rings.bit_length())
    count = (2 * rings + 1) * (rings + 1)
    return ky[:count], kx[:count]


@cache
def _sorted_waves(rings: int) -> tuple[Whole, Whole]:
    ky, kx = (k.ravel() for k in np.mgrid[-rings : rings + 1, : rings + 1])
    order = np.lexsort((kx, ky, np.maximum(abs(ky), kx)))
    return ky[order], kx[order]


def amplitudes(seed: int, power: Floats, fy: Floats, fx: Floats) -> Waves:
    """Random a_k, from a seed. power: of waves of the frequencies f, in any unit; the constant wave is left out."""
    numbers = np.random.Generator(np.random.Philox(seed)).standard_normal((len(fy), 2))
    power = power * np.where(fx > 0, 2, 1)  # for the wave at -f, too, which is among the others only at fx = 0
    power[(fy == 0) & (fx == 0)] = 0
    out: Waves = np.sqrt(power / power.sum()) * (numbers[:, 0] + 1j * numbers[:, 1])
    return out


def field(amplitudes: Waves, ky: Whole, kx: Whole, shape: tuple[int, int], origin: tuple[float, float]) -> Floats:
    """g at each pixel centre (y, x) of a grid that spans the field of view.

    origin: fractional index of the pixel at r = 0.
    """
    waves = amplitudes * np.exp(-2j * np.pi * (ky * (origin[0] / shape[0]) + kx * (origin[1] / shape[1])))
    # A wave too fast for the grid has at its points the values of a slower one: so points are exact on every grid.
    place = (ky % shape[0]) * shape[1] + kx % shape[1]
    size = shape[0] * shape[1]
    spectrum = np.bincount(place, waves.real, size) + 1j * np.bincount(place, waves.imag, size)
    out: Floats = size * ifft2(spectrum.reshape(shape)).real
    return out
