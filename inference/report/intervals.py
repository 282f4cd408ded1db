"""95 % intervals of means and of ratios of means over samples."""

import math

import numpy as np
from scipy.special import stdtrit

type Real = np.ndarray
type Interval = tuple[float, float, float]  # value, lower end, upper end

SHARE = 0.95  # probability that an interval contains the true value
NORMAL = 1.96  # half width of that interval of a normal distribution [standard deviation]


def mean_interval(values: Real) -> Interval:
    """Return the mean of some values and its 95 % interval, mean -+ t s / sqrt(n).

    t is the quantile of Student's distribution with n - 1 degrees of freedom, and s the standard deviation (ddof 1).

    Args:
        values: (sample,). Values that are not finite are left out.

    Returns:
        Mean and ends of the interval. The ends are NaN for a single value, and all are NaN for none.
    """
    known = values[np.isfinite(values)].astype(float)
    if len(known) < 2:
        return (float(known[0]) if len(known) else math.nan), math.nan, math.nan
    mean = float(known.mean())
    half = float(stdtrit(len(known) - 1, (1 + SHARE) / 2)) * float(known.std(ddof=1)) / math.sqrt(len(known))
    return mean, mean - half, mean + half


def ratio_of_means(a: Real, b: Real) -> tuple[float, float] | None:
    """Return the ratio r = mean(a) / mean(b) of values of the same samples, and its standard error.

    The standard error is that of mean(a - r b) / mean(b).

    Args:
        a: (sample,), finite.
        b: (sample,), finite.

    Returns:
        Ratio and standard error, which is NaN for a single sample; None without samples, or if mean(b) is 0.
    """
    if not len(a) or not b.mean():
        return None
    share = float(a.mean() / b.mean())
    deviation = float((a - share * b).std(ddof=1)) if len(a) > 1 else math.nan
    return share, deviation / math.sqrt(len(a)) / float(b.mean())


def bootstrap_means(sums: Real, sizes: Real, rng: np.random.Generator, repeats: int = 1000) -> Real:
    """Return the means over resampled units: as many units as there are, drawn at random with replacement.

    All columns share the units drawn, so that differences between columns can be taken row by row.

    Args:
        sums: (unit, column), sums of the values in each unit, such as a block of pixels or an image.
        sizes: (unit, column) or (unit, 1), numbers of these values.
        rng: random numbers.
        repeats: number of rows.

    Returns:
        Means (repeat, column); NaN where no value was drawn.
    """
    means = np.empty((repeats, sums.shape[1]))
    for row in means:
        times = np.bincount(rng.integers(len(sums), size=len(sums)), minlength=len(sums)).astype(float)
        total = times @ sizes
        row[:] = times @ sums / np.where(total > 0, total, np.nan)
    return means


def bootstrap_interval(means: Real) -> tuple[Real, Real]:
    """Return the ends of the 95 % intervals of resampled means (repeat, column): percentiles, NaN without means."""
    low, high = np.percentile(means, [50 * (1 - SHARE), 50 * (1 + SHARE)], axis=0)
    return low, high
