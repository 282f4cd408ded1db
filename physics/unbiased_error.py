"""Squared error of an estimate without truth, from a second measurement of the same scene that it has not seen.

The error is measured against that second measurement, whose own variance is then subtracted. The result is right on
average (unbiased): for a single pixel, or where the error is small, it may be negative.

Marcos-Morales et al., International Conference on Machine Learning (2023), arXiv 2210.05553 (uMSE and uPSNR).
"""

from physics.arrays import Array


def squared_error_of_counts(estimate: Array, second: Array, scale: Array) -> Array:
    """Unbiased squared error of each pixel, from a second measurement that was counted.

        e = (f - b)^2 - b / s,   b = B / s,   B ~ Poisson(s m)

    B / s^2 is an unbiased estimate of the variance m / s of b, so a third measurement is not needed:

        E e = (f - m)^2,   Var e = 4 (f - m)^2 m / s + 2 m^2 / s^2

    It holds for any f that does not depend on b.

    Args:
        estimate: f, in the units of b.
        second: b, counts that the estimate has not seen, divided by the scale.
        scale: s > 0, the counts that the value 1 of b stands for.

    Returns:
        e, of the shape of all three after broadcasting.
    """
    return (estimate - second) ** 2 - second / scale


def squared_error_of_frames(estimate: Array, second: Array, third: Array) -> Array:
    """Unbiased squared error of each pixel, from two further measurements of equal variance, whatever their noise.

        e = (f - b)^2 - (b - c)^2 / 2,   E e = (f - m)^2

    The noise of c must not be correlated with that of b, and their variances must be equal. The measurement from which
    f was computed may serve as c if its variance is the same.

    Args:
        estimate: f.
        second: b, a measurement that the estimate has not seen.
        third: c.

    Returns:
        e, of the shape of all three after broadcasting.
    """
    return (estimate - second) ** 2 - (second - third) ** 2 / 2


def peak_signal_to_noise(squared_error: Array, data_range: float) -> Array:
    """Peak signal-to-noise ratio r [dB] of a mean squared error.

        r = 10 log10(R^2 / e)

    Args:
        squared_error: e, NaN where it is not above 0: an unbiased error so small is not known.
        data_range: R > 0, in the unit of the values.
    """
    xp = squared_error.__array_namespace__()
    known = squared_error > 0
    return xp.where(known, 10 * xp.log10(data_range**2 / xp.where(known, squared_error, 1.0)), xp.nan)
