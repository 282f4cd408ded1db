"""The detector: moments of the noise against theory at five standard errors, and streams that stay in step.

Generators are seeded, so a test that passes once passes always; five standard errors say that the seed was not chosen.
"""

from collections.abc import Callable
from math import inf
from typing import Any

import numpy as np
import pytest
from numpy.random import Generator, default_rng

from physics.fourier import fft2, ifft2
from physics.noise import (
    add_read_noise,
    add_shot_noise,
    detect,
    electrons_at,
    modulate,
    modulation_transfer,
    neighbour_share,
    quantise,
)

SHAPE = (210, 251)
PIXELS = 210 * 251
CHAIN: dict[str, Any] = {
    "electrons": 50.0,
    "mtf": modulation_transfer(SHAPE, blur=0.6, tail=0.2, tail_length=2.0),
    "gain": 3.0,
    "read_noise": 0.2,
    "saturation": 3.9,
}


def ramp() -> Any:
    """Intensities from 0.2 to 1.2: no two pixels alike."""
    return np.linspace(0.2, 1.2, PIXELS).reshape(SHAPE)


def test_the_noise_level_of_the_seed_is_a_dose() -> None:
    """5 % is 400 electrons; the relative standard deviation of vacuum is the level itself."""
    assert electrons_at(0.05) == pytest.approx(400)
    assert electrons_at(0) == inf
    deviation = np.std(add_shot_noise(np.ones(SHAPE), electrons_at(0.05), default_rng(0)))
    assert deviation == pytest.approx(0.05, abs=5 * 0.05 / (2 * PIXELS) ** 0.5)


@pytest.mark.parametrize("electrons", [0.7, 30.0, 1e6])
def test_shot_noise_has_the_mean_and_variance_of_poisson(electrons: float) -> None:
    expected = ramp()
    pull = (add_shot_noise(expected, electrons, default_rng(1)) - expected) / np.sqrt(expected / electrons)
    assert abs(pull.mean()) < 5 / PIXELS**0.5
    kurtosis = np.mean(1 / (electrons * expected))  # a Poisson variable of mean m has mu_4 = 3 m^2 + m
    assert abs(np.mean(pull**2) - 1) < 5 * ((2 + kurtosis) / PIXELS) ** 0.5


def test_shot_noise_counts_electrons_pixel_by_pixel() -> None:
    counts = 30 * add_shot_noise(ramp(), 30.0, default_rng(0))
    np.testing.assert_allclose(counts, np.round(counts), atol=1e-9)
    residual = counts / 30 - ramp()
    neighbours = np.mean(residual[:, 1:] * residual[:, :-1])
    assert abs(neighbours) < 5 * np.mean(ramp() / 30) / PIXELS**0.5


@pytest.mark.parametrize(
    "mtf", [{"blur": 0.8}, {"blur": 0.3, "tail": 0.3, "tail_length": 2.0}, {"blur": 0.3, "correlation": 0.31}]
)
def test_shot_noise_is_correlated_by_the_mtf(mtf: dict[str, float]) -> None:
    """The covariance at r is F^-1[MTF^2](r) / N: electrons are counted, then spread."""
    transfer = modulation_transfer(SHAPE, **mtf)
    expected = ifft2(transfer**2).real / 40
    residual = detect(np.ones(SHAPE), default_rng(2), electrons=40.0, mtf=transfer) - 1
    covariance = ifft2(abs(fft2(residual)) ** 2).real / PIXELS
    error = (2 * np.sum(expected**2) / PIXELS) ** 0.5  # Bartlett's formula, at its largest
    assert np.max(abs(covariance - expected)[:4, :4]) < 5 * error
    assert expected[0, 1] > 10 * error


@pytest.mark.parametrize("correlation", [0.0, 0.107, 0.31, 2 / 3])
def test_the_setting_is_the_correlation_of_neighbours(correlation: float) -> None:
    """White noise that the stated kernel spreads, along each axis of an image and along the rows of a line detector."""
    a = neighbour_share(correlation)
    kernel = np.array([a, 1 - 2 * a, a])
    norm = 1 - 4 * a + 6 * a**2
    np.testing.assert_allclose(np.convolve(kernel, kernel)[2:], norm * np.array([1, correlation, a**2 / norm]))
    for shape, spread in (((9, 11), np.outer(kernel, kernel)), ((1, 11), kernel[None])):
        point = np.zeros((9, 11))
        point[4, 5] = 1
        expected = np.zeros((9, 11))
        ny, nx = spread.shape
        expected[4 - ny // 2 : 5 + ny // 2, 5 - nx // 2 : 6 + nx // 2] = spread
        transfer = modulation_transfer(shape, correlation=correlation)
        np.testing.assert_allclose(modulate(point, transfer), expected, atol=1e-15)
        assert np.mean(transfer**2) == pytest.approx(norm ** sum(n > 1 for n in shape))


@pytest.mark.parametrize("twice", [(1, 2), (2, 1), (2, 2)])
def test_an_image_goes_on_as_its_mirror_image(twice: tuple[int, int]) -> None:
    """Along axes on which the MTF is twice as long; along others it is periodic."""
    sizes = tuple(n * k for n, k in zip((9, 12), twice, strict=True))
    mtf = modulation_transfer(sizes, blur=0.7, tail=0.3, tail_length=2.0)
    image: Any = default_rng(0).uniform(0, 1, (2, 9, 12))
    whole = np.concatenate([image, image[..., ::-1]], axis=-1) if twice[1] == 2 else image
    whole = np.concatenate([whole, whole[..., ::-1, :]], axis=-2) if twice[0] == 2 else whole
    np.testing.assert_allclose(modulate(image, mtf), modulate(whole, mtf)[..., :9, :12], atol=1e-12)
    assert modulate(image, mtf).sum() == pytest.approx(image.sum())
    a = neighbour_share(0.4)
    end = modulate(np.eye(1, 12), modulation_transfer((1, 24), correlation=0.4))
    np.testing.assert_allclose(end[0], [1 - a, a, *[0] * 10], atol=1e-15)


def test_a_line_detector_correlates_within_rows_alone() -> None:
    """The variance is mean(MTF^2) / N, the correlation that of the setting; rows are separate exposures."""
    transfer = modulation_transfer((1, 251), correlation=0.31)
    residual = detect(np.ones(SHAPE), default_rng(12), electrons=40.0, mtf=transfer) - 1
    variance = np.mean(transfer**2) / 40
    lags = np.array([[np.mean(residual * np.roll(residual, (j, k), (0, 1))) for k in range(4)] for j in range(3)])
    a = neighbour_share(0.31)
    expected = np.zeros((3, 4))
    expected[0, :3] = variance * np.array([1, 0.31, a**2 / (1 - 4 * a + 6 * a**2)])
    error = variance * (2 * (1 + 2 * 0.31**2 + 2 * 0.04**2) / PIXELS) ** 0.5  # Bartlett's formula, at its largest
    assert np.max(abs(lags - expected)) < 5 * error


@pytest.mark.parametrize("shape", [(64, 48), (33, 50), (21, 27)])
def test_the_mtf_conserves_counts_and_spreads_them_evenly(shape: tuple[int, int]) -> None:
    mtf = modulation_transfer((3, *shape), blur=0.8, tail=0.3, tail_length=2.0, correlation=0.2)
    assert mtf.shape == shape
    assert mtf[0, 0] == 1
    np.testing.assert_allclose(mtf[1:], mtf[:0:-1], rtol=1e-12)  # even: the point spread is real
    spread = ifft2(mtf)
    assert spread.real.min() > -1e-4
    np.testing.assert_allclose(spread.imag, 0, atol=1e-15)
    image: Any = default_rng(0).uniform(0, 1, shape)
    assert modulate(image, mtf).mean() == pytest.approx(image.mean(), rel=1e-12)


def test_the_point_spread_is_the_stated_gaussian_and_exponential() -> None:
    shape = (301, 400)
    y, x = (np.fft.fftfreq(n, 1 / n) for n in shape)
    radius = np.hypot(y[:, None], x)
    point = np.zeros(shape)
    point[0, 0] = 1
    core = modulate(point, modulation_transfer(shape, blur=2.5))
    np.testing.assert_allclose(core, np.exp(-(radius**2) / 12.5) / (12.5 * np.pi), atol=1e-12)
    tail = modulate(point, modulation_transfer(shape, tail=1.0, tail_length=6.0))
    ring = (radius > 3) & (radius < 30)
    np.testing.assert_allclose(tail[ring], np.exp(-radius[ring] / 6) / (72 * np.pi), rtol=0.01)


def test_read_noise_is_unbiased_and_keeps_negative_values() -> None:
    measured = detect(np.zeros(SHAPE), default_rng(3), read_noise=0.3)
    assert abs(measured.mean()) < 5 * 0.3 / PIXELS**0.5
    assert abs(measured.var() - 0.09) < 5 * 0.09 * (2 / PIXELS) ** 0.5
    assert np.mean(measured < 0) == pytest.approx(0.5, abs=5 * 0.5 / PIXELS**0.5)


def test_gain_acts_on_shot_noise_and_not_on_read_noise() -> None:
    measured = detect(np.ones(SHAPE), default_rng(4), electrons=100.0, gain=50.0, read_noise=2.0)
    variance = 50.0**2 / 100 + 4
    assert abs(measured.mean() - 50) < 5 * (variance / PIXELS) ** 0.5
    assert abs(measured.var() - variance) < 5 * variance * (2.01 / PIXELS) ** 0.5


def test_saturation_cuts_last() -> None:
    free = detect(ramp(), default_rng(5), **CHAIN | {"saturation": inf})
    cut = detect(ramp(), default_rng(5), **CHAIN)
    assert 100 < np.sum(free > 3.9) < PIXELS / 2
    np.testing.assert_array_equal(cut, np.minimum(free, 3.9))


def test_the_chain_is_its_links_in_order() -> None:
    rng, image, gains = default_rng(6), ramp(), np.linspace(2.5, 3.5, SHAPE[1])
    blurred = modulate(add_shot_noise(image, 50.0, rng), CHAIN["mtf"])
    read = add_read_noise(blurred * gains + 0.7, 0.2, rng)
    measured = detect(image, default_rng(6), **CHAIN | {"gain": gains, "offset": 0.7, "step": 0.25})
    np.testing.assert_array_equal(measured, quantise(np.minimum(read, 3.9), 0.25))


def test_read_noise_of_its_own_stream_does_not_depend_on_the_shot_noise() -> None:
    counted = detect(ramp(), default_rng(6), electrons=50.0)
    for sigma in (0.1, 0.2):
        both = detect(ramp(), default_rng(6), electrons=50.0, read_noise=sigma, readout=default_rng(7))
        np.testing.assert_array_equal(both, add_read_noise(counted, sigma, default_rng(7)))


def test_quantisation_rounds_to_steps() -> None:
    values = np.array([-0.3, 0.1, 0.2, 0.74, 0.76])
    np.testing.assert_array_equal(quantise(values, 0.5), [-0.5, 0, 0, 0.5, 1])
    assert quantise(values, 0) is values


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_neutral_values_change_no_bit_and_draw_nothing(dtype: type) -> None:
    image: Any = default_rng(0).uniform(0, 2, (3, 7, 5)).astype(dtype)
    ones = modulation_transfer(image.shape)
    assert (ones == 1).all()
    used, fresh = default_rng(7), default_rng(7)
    np.testing.assert_array_equal(detect(image, used), image)
    neutral: dict[str, Any] = {"mtf": ones, "gain": np.ones(5), "offset": 0.0, "saturation": inf, "step": 0.0}
    np.testing.assert_array_equal(detect(image, used, electrons=inf, readout=used, **neutral), image)
    assert used.bit_generator.state == fresh.bit_generator.state
    alone: tuple[tuple[dict[str, Any], Callable[[Any, Generator], Any]], ...] = (
        ({"electrons": 9.0, "mtf": ones}, lambda one, rng: add_shot_noise(one, 9.0, rng)),
        ({"read_noise": 0.1, "mtf": ones}, lambda one, rng: add_read_noise(one, 0.1, rng)),
    )
    for chain, link in alone:
        np.testing.assert_array_equal(detect(image[0], default_rng(8), **chain), link(image[0], default_rng(8)))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_dtype_is_kept(dtype: type) -> None:
    image = ramp().astype(dtype)
    assert add_shot_noise(image, 50.0, default_rng(0)).dtype == dtype
    assert modulate(image, CHAIN["mtf"]).dtype == dtype
    assert add_read_noise(image, 0.1, default_rng(0)).dtype == dtype
    assert detect(image, default_rng(0), **CHAIN).dtype == dtype


def test_an_image_does_not_depend_on_those_after_it() -> None:
    stack = np.stack([ramp(), ramp()[::-1], ramp()[:, ::-1]]).astype(np.float32)
    whole = detect(stack, default_rng(9), **CHAIN)
    np.testing.assert_array_equal(whole[:2], detect(stack[:2], default_rng(9), **CHAIN))
    np.testing.assert_array_equal(whole[0], detect(stack[0], default_rng(9), **CHAIN))
    assert np.any(whole[1] != detect(stack[1], default_rng(9), **CHAIN))
    nested = detect(stack[None], default_rng(9), **CHAIN)
    np.testing.assert_array_equal(nested[0], whole)


def test_the_input_is_left_alone() -> None:
    image = ramp()
    detect(image, default_rng(0), **CHAIN)
    np.testing.assert_array_equal(image, ramp())


def test_impossible_values_are_refused() -> None:
    rng = default_rng(0)
    with pytest.raises(ValueError, match=r"noise level -0\.1 must be 0"):
        electrons_at(-0.1)
    with pytest.raises(ValueError, match="a dose of 0 electrons per pixel must be positive"):
        add_shot_noise(np.ones((2, 2)), 0, rng)
    with pytest.raises(ValueError, match=r"intensity -1\.0 must be 0 or more"):
        add_shot_noise(-np.ones((2, 2)), 5.0, rng)
    with pytest.raises(ValueError, match="intensity nan must be 0 or more"):
        add_shot_noise(np.full((2, 2), np.nan), 5.0, rng)
    with pytest.raises(ValueError, match=r"read noise -0\.1 must be 0 or more"):
        add_read_noise(np.ones((2, 2)), -0.1, rng)
    with pytest.raises(ValueError, match=r"correlation 0\.7 of neighbouring pixels must be from 0 to 2/3"):
        modulation_transfer((3, 3), correlation=0.7)
    with pytest.raises(ValueError, match="a step of -1 must be 0 or more"):
        quantise(np.ones(2), -1)
