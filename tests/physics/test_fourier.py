"""The frequency convention, and transforms that keep their dtype, energy and bits."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from physics.arrays import pair
from physics.fourier import fft2, frequencies, ifft2

GRIDS = [((64, 48), (0.1, 0.2)), ((33, 50), (0.3, 0.1)), ((21, 27), (0.2, 0.2))]


@pytest.mark.parametrize(("shape", "sampling"), GRIDS)
def test_frequencies_are_those_of_numpy(shape: tuple[int, int], sampling: tuple[float, float]) -> None:
    fy, fx = frequencies((7, *shape), sampling, np)
    assert fy.shape == (shape[0], 1)
    assert fx.shape == (shape[1],)
    assert fy.dtype == fx.dtype == np.float64
    np.testing.assert_allclose(fy[:, 0], np.fft.fftfreq(shape[0], sampling[0]), rtol=1e-15)
    np.testing.assert_allclose(fx, np.fft.fftfreq(shape[1], sampling[1]), rtol=1e-15)


@pytest.mark.parametrize(("shape", "sampling"), GRIDS)
def test_a_plane_wave_has_its_frequency(shape: tuple[int, int], sampling: tuple[float, float]) -> None:
    """F exp(+2 pi i f.x) is one peak, at the index where `frequencies` says f."""
    fy, fx = frequencies(shape, sampling, np)
    y, x = (np.arange(n) * d for n, d in zip(shape, sampling, strict=True))
    row, column = 3, shape[1] - 2
    wave = np.exp(2j * np.pi * (fy[row] * y[:, None] + fx[column] * x))
    expected = np.zeros(shape)
    expected[row, column] = np.prod(shape)
    np.testing.assert_allclose(fft2(wave), expected, atol=1e-9)


def test_frequencies_of_square_pixels_and_of_stacks() -> None:
    for one, two in zip(frequencies((6, 5), 0.2, np), frequencies((6, 5), (0.2, 0.2), np), strict=True):
        np.testing.assert_array_equal(one, two)
    fy, fx = frequencies((6, 5), (np.array([0.1, 0.2]), 0.3), np)
    assert fy.shape == (2, 6, 1)
    np.testing.assert_array_equal(fy[1], frequencies((6, 5), (0.2, 0.3), np)[0])
    fy, fx = frequencies((6, 5), np.array([0.1, 0.2]), np)
    assert fx.shape == (2, 1, 5)
    np.testing.assert_array_equal(fx[1, 0], frequencies((6, 5), 0.2, np)[1])


def test_a_sampling_of_three_numbers_is_refused() -> None:
    with pytest.raises(ValueError, match="has 3 entries: give one or"):
        pair((0.1, 0.1, 0.1))


@pytest.mark.parametrize(("shape", "sampling"), GRIDS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.complex64, np.complex128])
def test_parseval_inverse_and_dtype(shape: tuple[int, int], sampling: tuple[float, float], dtype: type) -> None:
    image: Any = np.random.default_rng(0).standard_normal((2, *shape)).astype(dtype)
    spectrum = fft2(image)
    exact = 1e-5 if np.finfo(dtype).bits == 32 else 1e-12
    assert spectrum.dtype == (np.complex64 if np.finfo(dtype).bits == 32 else np.complex128)
    assert ifft2(spectrum).dtype == spectrum.dtype
    assert np.sum(abs(spectrum) ** 2) == pytest.approx(np.prod(shape) * np.sum(abs(image) ** 2), rel=exact)
    np.testing.assert_allclose(ifft2(spectrum), image, atol=exact)


def test_bits_of_a_transform_do_not_depend_on_the_batch() -> None:
    image = np.random.default_rng(0).standard_normal((5, 33, 48)).astype(np.complex64)
    np.testing.assert_array_equal(fft2(image)[3], fft2(image[3]))
    np.testing.assert_array_equal(ifft2(image)[3], ifft2(image[3]))


@pytest.mark.parametrize(("shape", "sampling"), GRIDS)
def test_jax_agrees_eager_and_compiled(shape: tuple[int, int], sampling: tuple[float, float]) -> None:
    image = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    for transform in (fft2, ifft2):
        for run in (transform, jax.jit(transform)):
            np.testing.assert_allclose(run(jnp.asarray(image)), transform(image), atol=2e-4)
    traced = jax.jit(lambda dy, dx: frequencies(shape, (dy, dx), jnp))(*sampling)
    for ours, numpy in zip(traced, frequencies(shape, sampling, np), strict=True):
        np.testing.assert_allclose(ours, numpy, rtol=3e-7)
