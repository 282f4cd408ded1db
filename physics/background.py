"""Backgrounds of images of a particle: a level, a surface that fits underneath, or the solution of Laplace's equation.

An image (..., y, x) is the sum of a particle, a background and noise. `hidden` marks the pixels of the particle, where
the background cannot be seen (`physics.particle_mask`). An image that is shifted by a constant and multiplied by a
factor > 0 has a background that is shifted and multiplied alike.

NumPy only, because the filters are those of SciPy. Images do not depend on one another.
"""

import math

import numpy as np
from scipy.fft import dctn, idctn
from scipy.ndimage import gaussian_filter

from physics.arrays import MIN_DIVISOR, Array, Real

MAX_ITERATIONS = 200  # of conjugate gradients; a disc of 250 pixels takes 30
TOLERANCE = 1e-6  # largest residual of Laplace's equation, relative to the first one, at which the iteration ends
RIDGE = 1e-9  # share of the squared width that keeps a local fit to pixels on one line defined


def level_outside(image: Array, hidden: Array, quantile: float) -> Real:
    """Quantile of the pixels of each image that are not hidden; of all pixels if all are hidden.

    Args:
        image: (..., y, x).
        hidden: bool, of the same shape.
        quantile: from 0 to 1; 0.5 is the median.

    Returns:
        Levels (..., 1, 1).
    """
    levels = np.empty(image.shape[:-2], float)
    for index in np.ndindex(levels.shape):
        seen = ~hidden[index]
        levels[index] = np.quantile(image[index][seen] if seen.any() else image[index], quantile)
    return levels[..., None, None]


def parabolic_opening(image: Array, radius: int) -> Real:
    """Open an image by a paraboloid that rolls underneath, as the rolling ball of Sternberg (1983) does.

        b(x) = max_c min_y [ I(y) + h (y - c)^2 - h (x - c)^2 ],   |x - c|, |y - c| <= R along each axis,   h = C / R^2

    C is the range of the image: the paraboloid falls by it over the radius. The opening touches the image from below,
    b <= I. The centre c may lie beyond the edges. The opening keeps planes if R is at most twice the length of the
    image. Up to about C / R^2, it also keeps every surface that bends down less than the paraboloid and has slopes
    below 2 C / R along the axes. Both steps are separable (van den Boomgaard 1992).

    Args:
        image: (..., y, x).
        radius: R > 0 [pixel].

    Returns:
        b (..., y, x), float64.
    """
    below = np.empty(image.shape, float)
    for index in np.ndindex(image.shape[:-2]):
        values = np.asarray(image[index], float)
        bend = np.ptp(values) / radius**2
        lowest = _erode(np.pad(values, radius, constant_values=np.inf), bend, radius)
        below[index] = -_erode(-lowest, bend, radius)[radius:-radius, radius:-radius]
    return below


def _erode(values: Real, bend: float, radius: int) -> Real:
    """Return the minimum over y of values(y) + bend (y - c)^2 along both axes of an image (y, x)."""
    for _ in range(2):
        values = np.ascontiguousarray(values.T)
        lowest = values.copy()
        for step in range(1, radius + 1):
            risen = values + bend * step**2
            np.minimum(lowest[step:], risen[:-step], out=lowest[step:])
            np.minimum(lowest[:-step], risen[step:], out=lowest[:-step])
        values = lowest
    return values


def smooth_outside(image: Array, hidden: Array, width: float) -> Real:
    """Smooth the pixels that are not hidden by local planes, fitted with Gaussian weights to the pixels that are seen.

    Planes are kept, up to the edges of the image and of the hidden area (local linear regression, Cleveland 1979),
    where a filter would bend them.

    Args:
        image: (..., y, x).
        hidden: bool, of the same shape. Hidden pixels are returned as they are, and do not matter to the others.
        width: standard deviation [pixel] of the Gaussian; 0 returns the image itself.

    Returns:
        The smooth image (..., y, x), float64.
    """
    values = np.asarray(image, float)
    if not width:
        return values
    seen = ~hidden
    y, x = (p - n // 2 for p, n in zip(np.indices(values.shape[-2:], float), values.shape[-2:], strict=True))

    def total(weights: Real) -> Real:
        filtered: Real = gaussian_filter(seen * weights, width, mode="constant", axes=(-2, -1))
        return filtered

    count, sum_y, sum_x = (total(one) for one in (np.ones_like(y), y, x))
    sum_i, sum_iy, sum_ix = (total(np.where(seen, values, 0) * one) for one in (np.ones_like(y), y, x))
    count = np.maximum(count, MIN_DIVISOR)
    mean_y, mean_x, mean = sum_y / count, sum_x / count, sum_i / count
    yy, xx = (total(p * p) / count - m**2 + RIDGE * width**2 for p, m in ((y, mean_y), (x, mean_x)))
    yx = total(y * x) / count - mean_y * mean_x
    iy, ix = sum_iy / count - mean * mean_y, sum_ix / count - mean * mean_x
    slope_y, slope_x = iy * xx - ix * yx, ix * yy - iy * yx
    plane = mean + (slope_y * (y - mean_y) + slope_x * (x - mean_x)) / np.maximum(yy * xx - yx**2, MIN_DIVISOR)
    return np.where(seen, plane, values)


def fill_harmonically(image: Array, hidden: Array) -> Real:
    """Fill in the hidden pixels by the solution of Laplace's equation, with the other pixels as its boundary values.

    Each hidden pixel becomes the mean of its two to four neighbours, so nothing flows across an edge of the image. The
    equation is solved by conjugate gradients, preconditioned by the solution on the whole image (a cosine transform).

    Args:
        image: (..., y, x). The values at hidden pixels do not matter, not even NaN.
        hidden: bool, of the same shape.

    Returns:
        The filled image (..., y, x), float64. An image whose pixels are all hidden becomes 0.
    """
    filled = np.where(hidden, 0.0, image)
    for index in np.ndindex(filled.shape[:-2]):
        if hidden[index].any() and not hidden[index].all():
            filled[index] = _solve_laplace(filled[index], hidden[index])
    return filled


def _solve_laplace(image: Real, hidden: Array) -> Real:
    """Return an image (y, x) with its hidden pixels filled in."""
    wave = [2 - 2 * np.cos(math.pi * np.arange(n) / n) for n in image.shape]
    curvature = wave[0][:, None] + wave[1]
    curvature[0, 0] = curvature[curvature > 0].min(initial=math.inf)

    def precondition(residual: Real) -> Real:
        return np.where(hidden, idctn(dctn(residual) / curvature), 0)

    filled = np.where(hidden, image[~hidden].mean(), image)
    residual = np.where(hidden, -_curvature(filled), 0)
    enough = TOLERANCE * abs(residual).max()
    direction = better = precondition(residual)
    for _ in range(MAX_ITERATIONS):
        product = (residual * better).sum()
        if abs(residual).max() <= enough or not product > 0:
            break
        bent = np.where(hidden, _curvature(direction), 0)
        length = product / (direction * bent).sum()
        filled, residual = filled + length * direction, residual - length * bent
        better = precondition(residual)
        direction = better + (residual * better).sum() / product * direction
    return filled


def _curvature(image: Real) -> Real:
    """Return the sum over the neighbours of each pixel (y, x) of its value minus theirs."""
    down, right = np.diff(image, axis=0), np.diff(image, axis=1)
    bent = np.zeros_like(image)
    bent[:-1] -= down
    bent[1:] += down
    bent[:, :-1] -= right
    bent[:, 1:] += right
    return bent
