"""The resolution of an image: where its ring correlation falls below a threshold."""

from typing import Any

import numpy as np
import pytest

from inference.stitching.resolution import resolution
from physics.ring_correlation import (
    RESOLUTION_THRESHOLD,
    apodisation,
    crossing_frequency,
    half_bit_threshold,
    independent_counts,
    ring_correlation,
    ring_counts,
)

SHAPES = [(64, 64), (33, 50), (48, 27)]
LARGE = half_bit_threshold(np.array([1e16]))[0]


def hann(shape: tuple[int, int]) -> np.ndarray:
    found: np.ndarray = np.outer(*(np.hanning(n + 2)[1:-1] for n in shape))
    return found


def flat(shape: tuple[int, int]) -> np.ndarray:
    return np.ones(shape)


def disc(shape: tuple[int, int]) -> np.ndarray:
    y, x = np.indices(shape)
    return np.where(np.hypot(y - shape[0] / 2, x - shape[1] / 2) < 0.4 * min(shape), 1.0, 0.0)


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


@pytest.mark.parametrize("pixels", [1.0, 8.0, 16.0, 32.0, 500.0])
def test_half_a_bit_is_the_published_curve_for_an_exact_reference(pixels: float) -> None:
    """Van Heel and Schatz 2005 with their rounded constants; sqrt(2 F / (1 + F)) of Rosenthal and Henderson 2003."""
    root = pixels**0.5
    between_halves = (0.2071 + 1.9102 / root) / (1.2071 + 0.9102 / root)
    expected = (2 * between_halves / (1 + between_halves)) ** 0.5
    assert half_bit_threshold(np.array([pixels])) == pytest.approx(expected, abs=1e-4)


def test_half_a_bit_in_rings_of_known_size() -> None:
    """log2(1 + SNR) = 1/2 of the image, in large rings; a lone pixel always correlates."""
    assert half_bit_threshold(np.array([8.0, 16.0, 32.0])) == pytest.approx([0.856, 0.804, 0.755], abs=5e-4)
    assert half_bit_threshold(np.array([1.0])) == pytest.approx(1)
    signal = 2**0.5 - 1
    assert pytest.approx((signal / (signal + 1)) ** 0.5, abs=1e-6) == LARGE
    assert (np.diff(half_bit_threshold(np.arange(1.0, 500))) < 0).all()


def test_the_curve_for_an_exact_reference_is_the_one_of_its_halves() -> None:
    """Two halves that correlate by F have a mean that correlates by sqrt(2 F / (1 + F)) with the truth."""
    rng = np.random.default_rng(1)
    shape = (64, 64)
    truth = rng.standard_normal((60, *shape))
    noise = ((2**0.5 - 1) / 2) ** -0.5 * rng.standard_normal((2, 60, *shape))
    halves = truth + noise
    between, exact = (ring_correlation(a, b)[1][:, 8:].mean() for a, b in (halves, (halves.mean(axis=0), truth)))
    assert between == pytest.approx(0.1716, abs=0.005)
    assert exact == pytest.approx(LARGE, abs=0.005)


@pytest.mark.parametrize("window", [flat, hann, disc], ids=["none", "hann", "disc"])
@pytest.mark.parametrize("shape", [(32, 32), (33, 50), (48, 27)], ids=str)
def test_noise_correlates_as_the_root_of_the_independent_pixels(shape: tuple[int, int], window: Any) -> None:
    """Images of white noise under a window against exact ones: mean square 1 / n of the correlation in each ring.

    The bounds are four standard errors; under a window, where the numbers of a ring are not all alike, the scatter of
    the norms takes off a share of up to 1.5 / n besides.
    """
    w, samples = window(shape), 600
    rng = np.random.default_rng(2)
    noise, truth = (w * rng.standard_normal((samples, *shape)) for _ in range(2))
    correlation = ring_correlation(noise, truth, w)[1][:, 1:]  # the first ring loses the mean under the window
    counts = independent_counts(w)[1:]
    excess = (correlation**2).mean(axis=0) * counts - 1
    error, scatter = 4 * np.sqrt(2 / samples), (0 if window is flat else 1.5) / counts
    assert (excess < error).all()
    assert (excess > -error - scatter).all()
    assert -scatter.mean() < excess.mean() + error / len(counts) ** 0.5
    assert excess.mean() < error / len(counts) ** 0.5
    if window is hann:
        rise = np.sqrt(ring_counts(shape)[1:] / counts)
        assert (rise > 1.2).all()
        assert (rise < 1.6).all()


def full_disc(shape: tuple[int, int]) -> np.ndarray:
    """A disc that touches the border of the image, as the field of view of a tomograph does."""
    y, x = (np.arange(n) - (n - 1) / 2 for n in shape)
    return np.where(np.hypot(y[:, None], x) < min(shape) / 2, 1.0, 0.0)


def blurred(images: np.ndarray, width: float) -> np.ndarray:
    """Multiply periodic images (sample, y, x) by the Fourier transform of a Gaussian of this standard deviation."""
    fy, fx = np.meshgrid(*map(np.fft.fftfreq, images.shape[1:]), indexing="ij")
    found: np.ndarray = np.fft.ifft2(np.exp(-2 * (np.pi * width * np.hypot(fy, fx)) ** 2) * np.fft.fft2(images)).real
    return found


@pytest.mark.parametrize("shape", SHAPES)
def test_the_soft_edge_rises_from_the_edge_to_a_quarter_of_the_depth(shape: tuple[int, int]) -> None:
    """sin^2(pi d / (2 w)), for a disc with d = radius - distance from the middle, to half a pixel."""
    y, x = (np.arange(n) - (n - 1) / 2 for n in shape)
    depth = np.clip(min(shape) / 2 - np.hypot(y[:, None], x), 0, None)
    weights, width = apodisation(full_disc(shape)), min(shape) / 8
    np.testing.assert_array_equal(weights[depth == 0], 0)
    np.testing.assert_array_equal(weights[depth > width + 1], 1)
    expected = np.sin(np.pi / 2 * np.clip(depth / width, 0, 1)) ** 2
    np.testing.assert_allclose(weights, expected, atol=np.pi / 2 / width)
    np.testing.assert_array_equal(apodisation(np.full(shape, 0.5)), 1)
    np.testing.assert_array_equal(apodisation(np.zeros(shape)), 0)


@pytest.mark.parametrize("shape", [(64, 64), (75, 96)])
def test_shading_that_images_share_correlates_at_low_frequencies_only(shape: tuple[int, int]) -> None:
    """The details are independent. At a hard edge, the shading would correlate at all frequencies."""
    rng, (y, x) = np.random.default_rng(0), np.ogrid[-1 : 1 : shape[0] * 1j, -1 : 1 : shape[1] * 1j]
    first, second = (blurred(rng.standard_normal((60, *shape)), 1) + x + 2 * (y**2 + x**2) for _ in range(2))
    hard = full_disc(shape)
    for window, low, high in ((hard, 0.2, 1), (hard * apodisation(hard), -0.1, 0.1)):
        frequency, rows = ring_correlation(first * window, second * window, window)
        assert rows[:, 0].mean() > 0.5
        middle = rows.mean(axis=0)[(frequency > 0.2) & (frequency < 0.4)]
        assert (middle > low).all()
        assert (middle < high).all()


@pytest.mark.parametrize("window", [flat, full_disc], ids=["none", "disc"])
@pytest.mark.parametrize("shape", [(64, 64), (75, 96)])
def test_a_blur_keeps_the_correlation_and_noise_lowers_it(shape: tuple[int, int], window: Any) -> None:
    """White noise with the ratio S of signal to noise: sqrt(S / (1 + S)) with an exact image."""
    truth, noise = np.random.default_rng(0).standard_normal((2, 60, *shape))
    weights = window(shape) * apodisation(window(shape))
    for image, expected, tolerance in (
        (blurred(truth, 0.8), 1, 0.03),
        (2 * truth + noise, (4 / 5) ** 0.5, 0.03),
        (truth + 2 * noise, (1 / 5) ** 0.5, 0.07),
    ):
        correlation = ring_correlation(image * weights, truth * weights, weights)[1].mean(axis=0)
        np.testing.assert_allclose(correlation[2:], expected, atol=tolerance)


@pytest.mark.parametrize("shape", SHAPES)
def test_the_threshold_of_an_image_counts_the_pixels_that_its_window_leaves_independent(shape: tuple[int, int]) -> None:
    truth = np.random.default_rng(0).standard_normal(shape)
    found = resolution(truth, truth, 1.0)
    assert found.threshold == pytest.approx(half_bit_threshold(independent_counts(hann(shape))))
    assert (np.array(found.threshold)[1:] > half_bit_threshold(ring_counts(shape))[1:]).all()


def test_without_a_window_all_pixels_are_independent() -> None:
    for shape in ((64,), (9, 12, 7), (21, 27)):
        np.testing.assert_allclose(independent_counts(np.ones(shape)), ring_counts(shape), rtol=1e-9)
    np.testing.assert_allclose(independent_counts(7 * hann((12, 17))), independent_counts(hann((12, 17))), rtol=1e-9)


def test_the_crossing_of_two_polygons() -> None:
    frequency = np.array([0.1, 0.2, 0.3, 0.4])
    assert crossing_frequency(frequency, np.array([0.9, 0.8, 0.4, 0.6])) == pytest.approx(0.275)
    assert crossing_frequency(frequency, np.array([0.9, 0.8, 0.4, 0.2]), 1 / 7) == 0.5
    falling = np.array([0.9, 0.6, 0.5, 0.4])
    assert crossing_frequency(frequency, np.array([0.9, 0.7, 0.3, 0.9]), falling) == pytest.approx(0.2 + 0.1 / 3)
    assert crossing_frequency(frequency, np.array([0.8, 0.7, 0.7, 0.7]), falling) == pytest.approx(0.1 / 2)
    assert np.isnan(crossing_frequency(frequency, np.array([0.9, np.nan, 0.3, 0.9]), falling))
    assert crossing_frequency(frequency, falling, RESOLUTION_THRESHOLD) == crossing_frequency(frequency, falling)


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
    curve = half_bit_threshold(ring_counts(shape))
    assert crossing_frequency(frequency, seen.mean(axis=0), LARGE) == pytest.approx(0.25, abs=0.03)
    assert 0.1 < np.mean([crossing_frequency(frequency, row, curve) for row in seen]) < 0.25
    assert np.mean(ring_correlation(*images(0))[1] > curve) < 0.05
