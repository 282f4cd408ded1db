"""Replaced moduli: a wave keeps its phase where it has one, and rounding decides nothing."""

from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from physics.diffraction import amplitude
from physics.electron import wavelength
from physics.focal_series import misell
from physics.fourier import fft2, ifft2
from physics.moduli import DARK_LEVEL, bright_pixels, replacement_factor
from physics.optics import intensity, propagate
from physics.probe import probe
from physics.projections import modulus_projection

LAMBDA = wavelength(200e3)
SHAPES = [(24, 18), (21, 27), (25, 25)]

shapes = pytest.mark.parametrize("shape", SHAPES)


def unsure(wave: Any, seed: int) -> Any:
    """The wave with a part of 1e-12 added to each pixel, as rounding might."""
    rng = np.random.default_rng(seed)
    return wave + 1e-12 * abs(wave).max() * (rng.standard_normal(wave.shape) + 1j * rng.standard_normal(wave.shape))


def test_dark_is_relative_to_each_image() -> None:
    """Also under JAX; an image of nothing is dark, and no factor is infinite. The dark is dimmed, never brightened."""
    modulus = np.array([[[1.0, 2e-6, 0.5e-6, 0]], [[1e-9, 1e-12, 1e-16, 0]], [[0, 0, 0, 0]]])
    known = np.array([[[1, 1, 0, 0]], [[1, 1, 0, 0]], [[0, 0, 0, 0]]], bool)
    assert DARK_LEVEL == 1e-6
    for array in (modulus, jnp.asarray(modulus)):
        np.testing.assert_array_equal(bright_pixels(array), known)
        expected = np.where(known, 3 / np.where(known, modulus, 1), 1)
        np.testing.assert_allclose(replacement_factor(0 * array + 3, array), expected, rtol=1e-5)
        assert not replacement_factor(0 * array, array).any()


@shapes
@pytest.mark.parametrize("defocus", [0.0, 4.0])
@pytest.mark.parametrize("dtype", [np.complex64, np.complex128])
def test_vacuum_is_dark_beside_the_aperture_in_either_precision(shape: Any, defocus: float, dtype: Any) -> None:
    """The reason for 1e-6: there and back through the transforms, and through the products of `pie_compiled`."""
    wave = probe(shape, (0.03, 0.03), 80e3, 0.03, defocus=defocus)
    inside = abs(fft2(wave)) > 1e-3 * abs(fft2(wave)).max()
    assert 0.05 < inside.mean() < 0.5
    spectrum = fft2(wave.astype(dtype))
    left, right = (np.fft.fft(np.eye(n)).astype(dtype) for n in shape)
    for found in (fft2(ifft2(spectrum)), left @ ifft2(spectrum) @ right):
        np.testing.assert_array_equal(bright_pixels(abs(found)), inside)


@shapes
def test_rounding_decides_nothing_in_the_modulus_projection(shape: Any) -> None:
    """The far field of a box whose sides divide those of the frame is 0 on whole lines."""
    guess = np.zeros((2, *shape), complex)
    high, wide = (n // next(d for d in (3, 5) if n % d == 0) for n in shape)
    guess[:, :high, :wide] = 1
    pattern = amplitude(np.random.default_rng(0).standard_normal(guess.shape))
    dark = ~bright_pixels(abs(fft2(guess)))
    assert 0.1 < dark.mean() < 0.9
    found, other = (modulus_projection(pattern)(unsure(guess, seed)) for seed in (0, 1))
    np.testing.assert_allclose(found, other, atol=1e-6)
    np.testing.assert_allclose(fft2(found)[dark], fft2(guess)[dark], atol=1e-9)
    kept = fft2(found)[~dark] * fft2(guess)[~dark].conj()
    np.testing.assert_allclose(kept, abs(kept), atol=1e-6)
    np.testing.assert_allclose(abs(fft2(found))[~dark], np.fft.ifftshift(pattern, (1, 2))[~dark], atol=1e-9)


@shapes
def test_rounding_decides_nothing_in_a_focal_series(shape: Any) -> None:
    """A wave that is odd about a column is 0 on it in every plane, whatever was measured there."""
    ny, nx = shape[0], 2 * shape[1]
    x = 2 * np.pi * np.arange(nx) / nx
    wave = np.where(abs(np.sin(x)) < 1e-9, 0, np.sin(x)) * np.ones((ny, 1))
    start = np.where(wave < 0, np.pi, 0.0)
    images = np.stack([np.ones_like(wave), intensity(wave), np.ones_like(wave)])
    defocus = np.array([-300.0, 0, 300])
    assert (~bright_pixels(abs(propagate(wave + 0j, LAMBDA, 300.0, 0.2)))).sum() == 2 * ny
    noise = 1e-12 * np.random.default_rng(0).standard_normal((2, *start.shape))
    found, other = (misell(images, defocus, LAMBDA, 0.2, start=start + one, iterations=2) for one in noise)
    np.testing.assert_allclose(found, other, atol=1e-6)
    np.testing.assert_allclose(found[:, [0, nx // 2]], start[:, [0, nx // 2]], atol=1e-6)
