"""Fourier transforms of points that lie between the pixels of a grid.

    F(f) = sum_j w_j exp(-2 pi i f.r_j),   for |f_y|, |f_x| up to 2/3 of the Nyquist frequency

Each point is spread over 10 x 10 pixels by the window phi(x) = exp(beta (sqrt(1 - (x / 5)^2) - 1)), the grid is
transformed, and the spectrum is divided by that of the window. Up to 2/3 of the Nyquist frequency, the error is below
3e-7 of the sum of |w|; beyond it grows quickly, and F is set to 0. The grid is periodic.

Barnett, Magland and af Klinteberg, SIAM J. Sci. Comput. 41 (2019) C479, for the window.
"""

from math import exp, floor, pi

import numpy as np

from physics.arrays import Real
from physics.compiled import compiled

BAND = 2 / 3  # of the Nyquist frequency along each axis, up to which spectra are accurate
WIDTH = 10  # of the window [pixel]
BETA = 0.95 * pi * WIDTH * (1 - BAND / 2)  # close to the choice of Barnett et al. for such a grid


def spread(positions: Real, weights: Real, shape: tuple[int, int]) -> Real:
    """Spread points over a periodic grid.

    Args:
        positions: (point, 2), (y, x) [pixel]; pixel 0 is the origin.
        weights: w (point,).
        shape: (ny, nx) of the grid, each at least `WIDTH`.

    Returns:
        The grid (ny, nx). Its spectrum times `correction` is F.
    """
    grid = np.zeros(shape)
    _spread(np.ascontiguousarray(positions), np.ascontiguousarray(weights, dtype=float), grid)
    return grid


def correction(shape: tuple[int, int]) -> tuple[Real, Real]:
    """Return the two factors that turn the spectrum of a grid of `spread` into F.

    Args:
        shape: (ny, nx) of the grid.

    Returns:
        Factors (ny, 1) and (nx // 2 + 1,), for half a spectrum; 0 beyond `BAND`.
    """
    ny, nx = shape
    return _inverse_spectrum(np.fft.fftfreq(ny))[:, None], _inverse_spectrum(np.fft.rfftfreq(nx))


def _inverse_spectrum(cycles: Real) -> Real:
    """Return the inverse of the spectrum of the window at frequencies in cycles per pixel, 0 beyond `BAND`."""
    node, weight = np.polynomial.legendre.leggauss(64)
    x = node * WIDTH / 2
    window = np.exp(BETA * ((1 - node**2) ** 0.5 - 1)) * weight * WIDTH / 2
    inside = abs(cycles) <= BAND / 2 + 1e-12
    spectrum = np.cos(2 * pi * np.where(inside, cycles, 0)[:, None] * x) @ window
    return np.where(inside, 1 / spectrum, 0)


@compiled
def _spread(positions: Real, weights: Real, grid: Real) -> None:
    """Add the windows of all points to the grid."""
    ny, nx = grid.shape
    along_x = np.empty(WIDTH)
    for j in range(len(positions)):
        y, x = positions[j]
        first_y, first_x = floor(y) - WIDTH // 2 + 1, floor(x) - WIDTH // 2 + 1
        for k in range(WIDTH):
            along_x[k] = _window(first_x + k - x)
        for i in range(WIDTH):
            height = weights[j] * _window(first_y + i - y)
            row = grid[(first_y + i) % ny]
            for k in range(WIDTH):
                row[(first_x + k) % nx] += height * along_x[k]


@compiled
def _window(x: float) -> float:
    """Return phi at the distance x [pixel]."""
    rest = 1 - (2 * x / WIDTH) ** 2
    return exp(BETA * (rest**0.5 - 1)) if rest > 0 else 0.0
