"""Transmission: hardening with its inverse, and the logarithm of counts against the exact moments of Poisson."""

from typing import Any

import numpy as np
import pytest
from numpy.random import default_rng
from scipy.stats import poisson

from physics.tomography import transmission
from physics.tomography.transmission import attenuation, beam_profile, flux_drift, harden, hardening, unharden, zingers

PATHS: Any = default_rng(0).uniform(0, 3, (5, 7))
HELSINKI = hardening(0.04247, 0.000161)  # 70 mm of acrylic, 45 kV


def logarithm_moments(mean: float) -> tuple[float, float, float]:
    """Bias, variance, and standard error of the variance for one value, of -ln(n / mean); summed over Poisson's law."""
    n = np.arange(0, int(mean + 40 * mean**0.5))
    weights, values = poisson.pmf(n, mean), np.log(mean) - np.log(np.maximum(n, transmission.LOWEST_COUNT))
    bias = np.sum(weights * values)
    second, fourth = (np.sum(weights * (values - bias) ** k) for k in (2, 4))
    return bias, second, (fourth - second**2) ** 0.5


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_hardening_is_a_parabola_and_has_an_inverse(dtype: type) -> None:
    paths = PATHS.astype(dtype)
    hardened = harden(paths, 0.16)
    assert hardened.dtype == dtype
    np.testing.assert_allclose(hardened, PATHS - 0.16 * PATHS**2, rtol=1e-6)
    np.testing.assert_allclose(unharden(hardened, 0.16), paths, rtol=1e-4 if dtype == np.float32 else 1e-12)
    assert harden(paths, 0) is paths
    assert unharden(paths, 0) is paths


def test_hardening_in_lengths_is_the_scaled_one() -> None:
    length = np.linspace(0, 70, 8)
    expected = 0.04247 * length - 0.000161 * length**2
    np.testing.assert_allclose(harden(0.04247 * length, HELSINKI), expected, rtol=1e-12)
    assert pytest.approx(0.0893, abs=1e-4) == HELSINKI


def test_hardening_must_be_monotone_up_to_the_largest_path() -> None:
    largest = PATHS.max()
    assert np.all(np.diff(harden(np.linspace(0, largest, 50), 0.4999 / largest)) > 0)
    with pytest.raises(ValueError, match=r"hardening 0\.2 makes .* beyond the path 2\.5, .* must be below 0\.16"):
        harden(PATHS, 0.2)
    with pytest.raises(ValueError, match=r"hardening -0\.1 must be 0 or more"):
        harden(PATHS, -0.1)
    assert unharden(np.array([9.0]), 0.1) == pytest.approx(5)  # noise above the maximum


def test_counts_without_noise_give_the_line_integrals() -> None:
    flat, dark = np.linspace(100, 300, 7), np.linspace(3, 9, 7)
    counts = (flat - dark) * np.exp(-PATHS) + dark
    np.testing.assert_allclose(attenuation(counts, flat, dark, 0.1), PATHS, rtol=1e-12)


def test_signals_that_have_no_logarithm_are_replaced() -> None:
    counts = np.array([[-5.0, 4.0, 4.05, 4.1, 14.0]])
    expected = np.log(10 / np.array([[0.1, 0.1, 0.1, 0.1, 10]]))
    np.testing.assert_allclose(attenuation(counts, np.full(5, 14.0), np.full(5, 4.0), 0.1), expected, rtol=1e-6)
    assert not attenuation(np.full((2, 3), 7.0), np.full(3, 7.0), np.full(3, 7.0), 0.1).any()  # a dead pixel
    with pytest.raises(ValueError, match="lowest signal 0 must be positive"):
        attenuation(counts, counts, counts, 0)


def test_the_stated_bias_and_variance_of_the_logarithm_are_those_of_poisson() -> None:
    """The rest beside the two terms falls as 1/m^3: by 8 from m to 2m."""

    def remainder(m: float) -> Any:
        bias, variance, _ = logarithm_moments(m)
        return np.array([bias - 1 / (2 * m) - 5 / (12 * m**2), variance - 1 / m - 3 / (2 * m**2)])

    np.testing.assert_allclose(remainder(400) / remainder(800), 8, rtol=0.03)


@pytest.mark.parametrize("mean", [4.0, 60.0])
def test_the_logarithm_of_counts_has_the_moments_of_poisson(mean: float) -> None:
    counts = default_rng(1).poisson(mean, (500, 801))
    measured = attenuation(counts, np.full(801, mean), np.zeros(801), transmission.LOWEST_COUNT)
    bias, variance, error = logarithm_moments(mean)
    assert abs(measured.mean() - bias) < 5 * (variance / measured.size) ** 0.5
    assert abs(np.mean((measured - bias) ** 2) - variance) < 5 * error / measured.size**0.5


def test_the_profile_is_one_in_the_middle_and_falls_to_both_ends() -> None:
    np.testing.assert_allclose(beam_profile(5, 0.2), [0.8, 0.95, 1, 0.95, 0.8])
    np.testing.assert_array_equal(beam_profile(4, 0), np.ones(4))
    np.testing.assert_array_equal(beam_profile(1, 0.2), [1])


def test_the_flux_walks_from_the_flat_field_to_the_stated_deviation() -> None:
    rng = default_rng(2)
    walks = np.array([flux_drift(9, 0.02, rng) for _ in range(20_000)])
    expected = 0.02**2 * np.minimum.outer(np.arange(1, 10), np.arange(1, 10)) / 9  # covariance of Brownian motion
    error = np.sqrt((expected**2 + np.outer(np.diag(expected), np.diag(expected))) / 20_000)
    assert np.all(abs(walks.T @ walks / 20_000 - expected) < 5 * error)


def test_zingers_hit_at_their_rate_with_exponential_counts() -> None:
    hits = zingers((400, 501), 0.01, 30.0, default_rng(3))
    found = hits[hits > 0]
    assert abs(len(found) - 0.01 * hits.size) < 5 * (0.01 * 0.99 * hits.size) ** 0.5
    assert abs(found.mean() - 30) < 5 * 30 / len(found) ** 0.5
    more = zingers((400, 501), 0.02, 30.0, default_rng(3))
    np.testing.assert_array_equal(more[hits > 0], found)
