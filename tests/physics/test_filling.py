"""Hidden pixels, filled in: harmonic, the least rough of all fillings, whatever stood there."""

from typing import Any

import jax
import numpy as np
import pytest

from physics.diffraction import inverse_far_field
from physics.inpainting import inpaint

from .test_reconstructions import compiled

GRIDS = [(24, 17), (15, 20), (21, 21)]

grids = pytest.mark.parametrize("shape", GRIDS)


def holes(shape: tuple[int, int]) -> Any:
    """A stopped beam about pixel N//2, and a gap: bool, where it was measured."""
    y, x = (np.arange(n) - n // 2 for n in shape)
    return (np.hypot(y[:, None], x) > 2.6) & (x != 5)


def noise(shape: tuple[int, int], count: int = 3) -> Any:
    return np.random.default_rng(0).standard_normal((count, *shape)) + 2


def roughness(pattern: Any) -> Any:
    """sum |r|^2 |F^-1 a|^2 with r = 0 at N//2, in units of the frame."""
    y, x = ((np.arange(n) - n // 2) / n for n in pattern.shape[-2:])
    return ((y[:, None] ** 2 + x**2) * abs(inverse_far_field(pattern)) ** 2).sum(axis=(-2, -1))


@grids
def test_what_was_measured_stays_and_what_was_not_does_not_matter(shape: tuple[int, int]) -> None:
    image, measured = noise(shape), holes(shape)
    found = inpaint(image, measured)
    assert np.array_equal(found[:, measured], image[:, measured])
    assert np.array_equal(inpaint(np.where(measured, image, np.nan), measured), found)
    np.testing.assert_array_equal(inpaint(image, np.ones(shape, bool)), image)
    assert not inpaint(image, np.zeros(shape, bool)).any()


@grids
def test_it_is_the_least_rough_of_all_fillings(shape: tuple[int, int]) -> None:
    """Its roughness, a form of the second degree, rises by the same whichever way one goes, and as the square."""
    measured, found = holes(shape), inpaint(noise(shape), holes(shape))
    change = np.where(measured, 0, noise(shape))
    for step in (1e-2, 1.0):
        rise = [roughness(found + sign * step * change) - roughness(found) for sign in (1, -1)]
        np.testing.assert_allclose(rise, [step**2 * roughness(change)] * 2, rtol=1e-4)


@grids
@pytest.mark.parametrize("scale", [1e-6, 1e12])
def test_constants_come_back_in_any_unit_and_precision(shape: tuple[int, int], scale: float) -> None:
    found = inpaint(np.full((2, *shape), scale, np.float32), holes(shape))
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, scale, rtol=1e-5)


def test_the_error_in_a_hole_falls_with_the_square_of_the_wavelength() -> None:
    errors = []
    for n in (40, 80):
        wave = np.cos(2 * np.pi * np.arange(n) / n) * np.ones((n, 1))
        hidden = np.hypot(*np.meshgrid(np.arange(n) - n // 2, np.arange(n) - n // 2)) < 3
        errors.append(abs(inpaint(wave, ~hidden) - wave).max())
    assert 0 < errors[0] < 0.1
    assert errors[0] / errors[1] == pytest.approx(4, rel=0.1)


@grids
def test_an_image_does_not_depend_on_the_others_and_jax_agrees(shape: tuple[int, int]) -> None:
    image, measured = noise(shape, 5).astype(np.float32), holes(shape)
    found = inpaint(image, measured)
    np.testing.assert_array_equal(inpaint(image[3:4], measured), found[3:4])
    traced = jax.jit(lambda a, m: inpaint(a, m, compiled))(image, measured)
    np.testing.assert_allclose(traced, found, atol=1e-4)
