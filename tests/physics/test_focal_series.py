"""Phase from a focal series: the truth is a fixed point, errors fall as they must, NumPy and JAX agree."""

from itertools import pairwise
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from physics.electron import wavelength
from physics.focal_series import misell, single_material
from physics.optics import attenuation, exit_wave, intensity, phase_shift, propagate
from tests.physics.test_phase import GRIDS, LAMBDA, Pixel, Shape, rayleigh, series, smooth

grids = pytest.mark.parametrize(("shape", "sampling"), GRIDS)


def weak(shape: Shape) -> tuple[Any, Any]:
    """A phase of 0.8 rad at most, and an amplitude that is not its function."""
    return 0.8 * smooth(shape), 1 - 0.1 * (1 + smooth(shape, 1))


def rms(values: Any) -> float:
    return float(np.sqrt(np.mean(np.abs(values) ** 2)))


@grids
@pytest.mark.parametrize("planes", [2, 3, 5])
def test_the_exit_wave_is_a_fixed_point(shape: Shape, sampling: Pixel, planes: int) -> None:
    phase, amplitude = weak(shape)
    z = rayleigh(shape, sampling)
    defocus = np.linspace(-z, z, planes)
    images = series(exit_wave(phase, amplitude), defocus, sampling)
    if planes == 2:  # the amplitude in focus is known from the second plane on alone
        found = misell(images, defocus, LAMBDA, sampling, start=phase, iterations=40)
        assert rms(found - phase - np.mean(found - phase)) < 0.02
    else:
        found = misell(images, defocus, LAMBDA, sampling, start=phase, iterations=3)
        np.testing.assert_allclose(found, phase, atol=1e-9)


@grids
def test_from_a_flat_start_it_converges_to_the_phase(shape: Shape, sampling: Pixel) -> None:
    phase, amplitude = weak(shape)
    z = 2 * rayleigh(shape, sampling)
    defocus = np.array([-z, 0, z])
    images = series(exit_wave(phase, amplitude), defocus, sampling)
    errors = []
    for iterations in (1, 10, 100, 1000):
        found = misell(images, defocus, LAMBDA, sampling, start=0 * phase, iterations=iterations)
        errors.append(rms(found - phase - np.mean(found - phase)) / rms(phase))
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 0.01


@grids
def test_between_two_planes_the_misfit_never_grows(shape: Shape, sampling: Pixel) -> None:
    phase, amplitude = weak(shape)
    defocus = np.array([0.0, 2 * rayleigh(shape, sampling)])
    images = series(exit_wave(phase, amplitude), defocus, sampling)
    misfits = []
    for iterations in range(1, 12):
        found = misell(images, defocus, LAMBDA, sampling, start=0 * phase, iterations=iterations)
        there = propagate(exit_wave(found, np.sqrt(images[0])), LAMBDA, defocus[1], sampling)
        misfits.append(rms(np.abs(there) - np.sqrt(images[1])))
    assert all(b <= a * (1 + 1e-9) for a, b in pairwise(misfits))
    assert misfits[-1] < misfits[0] / 2


def test_a_strong_phase_comes_out_unwrapped_about_its_start() -> None:
    shape, sampling = (32, 40), (1.0, 1.0)
    phase = 9 * smooth(shape)
    z = 0.02 * rayleigh(shape, sampling)
    defocus = np.array([-z, 0, z])
    images = series(exit_wave(phase, 1 + 0 * phase), defocus, sampling)
    start = phase + 0.3 * smooth(shape, 5)
    found = misell(images, defocus, LAMBDA, sampling, start=start, iterations=5)
    assert np.ptp(found) > 2 * np.pi
    assert np.max(np.abs(found - phase)) < 1


RATIO = 17.0


def one_material(shape: Shape, sampling: Pixel, z: float, planes: Any) -> tuple[Any, Any]:
    thickness = 8 * (1 + smooth(shape))
    phase = phase_shift(thickness, 17.0, 200e3)
    wave = exit_wave(phase, attenuation(thickness, 1.0, 200e3))
    return phase, series(wave, z * np.array(planes), sampling)


@grids
@pytest.mark.parametrize("planes", [[-1.0], [-1.0, 1.0], [-1.0, 0.0, 1.0]])
def test_one_material_comes_out_with_an_error_of_second_order(
    shape: Shape, sampling: Pixel, planes: list[float]
) -> None:
    z = 0.001 * rayleigh(shape, sampling)  # r times that must be small
    errors = []
    for factor in (1.0, 0.5):
        phase, images = one_material(shape, sampling, factor * z, planes)
        found = single_material(images, factor * z * np.array(planes), LAMBDA, sampling, RATIO)
        errors.append(rms(found - phase) / rms(phase))
    assert errors[0] < 1e-4
    assert np.log2(errors[0] / errors[1]) > 1.8


def test_in_focus_it_is_the_logarithm() -> None:
    phase, images = one_material((21, 27), (0.2, 0.2), 0.0, [0.0])
    np.testing.assert_allclose(single_material(images, np.zeros(1), LAMBDA, 0.2, RATIO), phase, atol=1e-12)


def test_parameters_may_be_those_of_each_sample_and_jax_agrees() -> None:
    shape, sampling = (24, 20), (0.2, 0.2)
    z = np.array([0.05, 0.1])[:, None] * rayleigh(shape, sampling) * np.array([-1.0, 0, 1])
    phase = np.stack([0.5 * smooth(shape, 3), 0.3 * smooth(shape, 4)])
    images = np.stack([series(exit_wave(p, 1 + 0 * p), defocus, sampling) for p, defocus in zip(phase, z, strict=True)])
    volts, width = np.array([wavelength(200e3)] * 2), np.array([0.2, 0.2])
    both = misell(images, z, volts, width, start=0 * phase, iterations=3)
    each = [misell(images[i], z[i], LAMBDA, 0.2, start=0 * phase[i], iterations=3) for i in range(2)]
    np.testing.assert_allclose(both, each, atol=1e-12)
    solved = single_material(images, z, volts, width, np.array([5.0, 9.0]))
    apart = [single_material(images[i], z[i], LAMBDA, 0.2, ratio) for i, ratio in enumerate((5.0, 9.0))]
    np.testing.assert_allclose(solved, apart, atol=1e-12)
    small = [jnp.asarray(a, jnp.float32) for a in (images, z, volts, width)]
    traced = jax.jit(lambda *a: misell(*a, start=jnp.zeros((2, *shape)), iterations=3))(*small)
    np.testing.assert_allclose(traced, both, atol=2e-4)
    np.testing.assert_allclose(jax.jit(single_material)(*small, jnp.asarray([5.0, 9.0])), solved, atol=2e-4)


def test_intensity_stays_that_of_the_last_plane() -> None:
    """Noise can make it negative: the amplitude is 0 there, not NaN."""
    images = np.random.default_rng(0).normal(0.1, 1, (3, 16, 16))
    found = misell(images, np.array([-5.0, 0, 5]), LAMBDA, 0.2, start=np.zeros((16, 16)), iterations=2)
    assert np.isfinite(found).all()
    assert intensity(exit_wave(found, 1.0)).shape == (16, 16)
