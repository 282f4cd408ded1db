"""The squared error without truth: its mean and its variance, summed over all counts that can occur."""

from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import poisson

from physics.unbiased_error import peak_signal_to_noise, squared_error_of_counts, squared_error_of_frames

CASES = [(0.3, 0.9, 7.0), (0.02, 0.5, 3.0), (1.3, 1.1, 40.0), (0.8, 0.8, 1.5)]  # m, f, s
COUNTS = np.arange(400)


def moments(values: np.ndarray, probability: np.ndarray) -> tuple[float, float]:
    mean = float((probability * values).sum())
    return mean, float((probability * (values - mean) ** 2).sum())


@pytest.mark.parametrize(("truth", "estimate", "scale"), CASES)
def test_the_error_of_counts_is_right_on_average_and_has_the_stated_variance(
    truth: float, estimate: float, scale: float
) -> None:
    """E e = (f - m)^2; Var e = 4 (f - m)^2 m / s + 2 m^2 / s^2."""
    mean, variance = moments(
        squared_error_of_counts(np.full(400, estimate), COUNTS / scale, np.full(400, scale)),
        poisson.pmf(COUNTS, scale * truth),
    )
    error = (estimate - truth) ** 2
    assert mean == pytest.approx(error, abs=1e-12)
    assert variance == pytest.approx(4 * error * truth / scale + 2 * truth**2 / scale**2, rel=1e-9)


@pytest.mark.parametrize(("truth", "estimate", "scale"), CASES)
def test_the_error_of_frames_needs_only_equal_variances(truth: float, estimate: float, scale: float) -> None:
    """E e = (f - m)^2, also for noise of another law (here with a gain of 3) and if c has another mean than m."""
    gain, few = 3.0, COUNTS[:150]
    probability = poisson.pmf(few, scale * truth)
    frame = truth + gain * (few / scale - truth)
    both = probability[:, None] * probability
    mean, _ = moments(squared_error_of_frames(np.float64(estimate), frame[:, None], frame), both)
    assert mean == pytest.approx((estimate - truth) ** 2, abs=1e-10)


def test_counts_of_another_scale_in_each_row_keep_their_axis() -> None:
    """Few counts have the larger variance: their row is corrected by more."""
    scale, second = np.array([[2.0], [50.0]]), np.ones((2, 3))
    found = squared_error_of_counts(np.zeros((2, 3)), second, scale)
    np.testing.assert_allclose(found, np.repeat([[0.5], [0.98]], 3, axis=1))


@pytest.mark.parametrize("xp", [np, jnp])
def test_ten_times_smaller_values_are_20_decibels_better(xp: Any) -> None:
    found = peak_signal_to_noise(xp.asarray([0.04, 0.0004, 0.0, -1.0]), 2.0)
    np.testing.assert_allclose(found, [20.0, 40.0, np.nan, np.nan], rtol=1e-6)
