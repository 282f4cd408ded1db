"""Gaussian random fields on any grid: sums of plane waves that are periodic in a field of view.

    g(r) = Re sum_k a_k exp(2 pi i (ky y / Ly + kx x / Lx))

Ly and Lx are the lengths of the field of view. The power of a wave is <|a_k|^2> / 2, and the powers sum to 1. So g has
the mean 0 and the variance 1, and its autocorrelation is the transform of the power. Waves are drawn from low to high
frequencies, whatever the grid: a finer grid shows the same field, and every grid shows exact values at its points.
"""

from functools import cache

import numpy as np
from numpy.typing import NDArray

from physics.fourier import ifft2

type Floats = NDArray[np.float64]
type Ints = NDArray[np.int64]
type Waves = NDArray[np.complex128]


def waves(rings: int) -> tuple[Ints, Ints]:
    """Return whole numbers (ky, kx), kx >= 0, by rising max(|ky|, kx).

    The waves of fewer rings come first, in the same order.

    Args:
        rings: largest |ky| and kx
    """
    ky, kx = _sorted_waves(1 << rings.bit_length())
    count = (2 * rings + 1) * (rings + 1)
    return ky[:count], kx[:count]


@cache
def _sorted_waves(rings: int) -> tuple[Ints, Ints]:
    ky, kx = (k.ravel() for k in np.mgrid[-rings : rings + 1, : rings + 1])
    order = np.lexsort((kx, ky, np.maximum(abs(ky), kx)))
    return ky[order], kx[order]


def draw_amplitudes(seed: int, power: Floats, fy: Floats, fx: Floats) -> Waves:
    """Draw the amplitudes a_k from a seed; the constant wave is left out.

    Args:
        seed: seed of the random numbers
        power: power (wave,) of each wave, in any unit
        fy: frequencies (wave,)
        fx: frequencies (wave,)
    """
    numbers = np.random.Generator(np.random.Philox(seed)).standard_normal((len(fy), 2))
    power = power * np.where(fx > 0, 2, 1)  # factor 2 for the wave at -f, which is among the others only at fx = 0
    power[(fy == 0) & (fx == 0)] = 0
    out: Waves = np.sqrt(power / power.sum()) * (numbers[:, 0] + 1j * numbers[:, 1])
    return out


def sum_waves(amplitudes: Waves, ky: Ints, kx: Ints, shape: tuple[int, int], origin: tuple[float, float]) -> Floats:
    """Return g at each pixel centre (y, x) of a grid that spans the field of view.

    Args:
        amplitudes: a_k (wave,)
        ky: (wave,)
        kx: (wave,)
        shape: pixels (y, x)
        origin: fractional index of the pixel at r = 0
    """
    waves = amplitudes * np.exp(-2j * np.pi * (ky * (origin[0] / shape[0]) + kx * (origin[1] / shape[1])))
    # At the points of a grid, a wave too fast for it equals a slower one. So points are exact on every grid.
    index = (ky % shape[0]) * shape[1] + kx % shape[1]
    size = shape[0] * shape[1]
    spectrum = np.bincount(index, waves.real, size) + 1j * np.bincount(index, waves.imag, size)
    out: Floats = size * ifft2(spectrum.reshape(shape)).real
    return out
