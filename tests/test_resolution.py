"""The resolution of an image: where its ring correlation falls below a threshold."""

import numpy as np
import pytest

from schemas.scores import RESOLVED, crossing, half_bit, ring_correlation, ring_counts

SHAPES = [(64, 64), (33, 50), (48, 27)]


@pytest.mark.parametrize("shape", SHAPES)
def test_rings_hold_all_pixels_within_nyquist(shape: tuple[int, int]) -> None:
    n = min(shape)
    counts = ring_counts(shape)
    fy, fx = np.meshgrid(*map(np.fft.fftfreq, shape), indexing="ij")
    radius = np.hypot(fy, fx) * n
    assert counts.sum() == np.sum((radius >= 0.5) & (radius < n // 2 + 0.5))
    wide = np.arange(8, n // 2)
    area = 2 * np.pi * wide * max(shape) / n  # pixels are 1/ny by 1/nx
    assert np.allclose(counts[7 : n // 2 - 1], area, rtol=0.25)


def test_half_a_bit() -> None:
    """log2(1 + SNR) = 1/2 of the image, in large rings; a lone pixel always correlates."""
    assert half_bit(np.array([1.0])) == pytest.approx(1)
    signal = 2**0.5 - 1
    assert half_bit(np.array([1e12])) == pytest.approx((signal / (signal + 1)) ** 0.5, abs=1e-4)
    between_halves = (signal / 2) / (signal / 2 + 1)  # van Heel and Schatz: 0.1716
    assert half_bit(np.array([1e12])) == pytest.approx((2 * between_halves / (1 + between_halves)) ** 0.5, abs=1e-4)
    assert (np.diff(half_bit(np.arange(1.0, 500))) < 0).all()


def test_the_crossing_of_two_polygons() -> None:
    frequency = np.array([0.1, 0.2, 0.3, 0.4])
    assert crossing(frequency, np.array([0.9, 0.8, 0.4, 0.6])) == pytest.approx(0.275)
    assert crossing(frequency, np.array([0.9, 0.8, 0.4, 0.2]), 1 / 7) == 0.5
    falling = np.array([0.9, 0.6, 0.5, 0.4])
    assert crossing(frequency, np.array([0.9, 0.7, 0.3, 0.9]), falling) == pytest.approx(0.2 + 0.1 / 3)
    assert crossing(frequency, np.array([0.8, 0.7, 0.7, 0.7]), falling) == pytest.approx(0.1 / 2)
    assert np.isnan(crossing(frequency, np.array([0.9, np.nan, 0.3, 0.9]), falling))
    assert crossing(frequency, falling, RESOLVED) == crossing(frequency, falling)


@pytest.mark.parametrize("shape", SHAPES)
def test_half_a_bit_is_cautious_and_noise_does_not_reach_it(shape: tuple[int, int]) -> None:
    """An image whose ratio of signal to noise falls through that of half a bit at 0.25 cycles per pixel."""
    rng = np.random.default_rng(0)
    fy, fx = np.meshgrid(*map(np.fft.fftfreq, shape), indexing="ij")
    envelope = np.sqrt(2**0.5 - 1) * np.exp(6 * (0.25 - np.hypot(fy, fx)))

    def images(strength: float) -> tuple[np.ndarray, np.ndarray]:
        """Noisy and exact ones (sample, y, x)."""
        signal, noise = (np.fft.fft2(rng.standard_normal((40, *shape))) for _ in range(2))
        return np.fft.ifft2(strength * envelope * signal + noise).real, np.fft.ifft2(envelope * signal).real

    frequency, seen = ring_correlation(*images(1))
    curve = half_bit(ring_counts(shape))
    assert crossing(frequency, seen.mean(axis=0), half_bit(np.array([1e12]))[0]) == pytest.approx(0.25, abs=0.03)
    assert 0.1 < np.mean([crossing(frequency, row, curve) for row in seen]) < 0.25
    assert np.mean(ring_correlation(*images(0))[1] > curve) < 0.05
