"""Transport of intensity: images made by propagation give back the phase, at the rate that the equation promises."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from physics.electron import wavelength
from physics.fourier import frequencies
from physics.optics import exit_wave, intensity, propagate
from physics.transport_of_intensity import (
    inverse_square,
    longitudinal_derivative,
    reciprocal,
    retrieve,
    retrieve_uniform,
    vacuum_phase,
)

GRIDS = [((64, 48), (0.1, 0.2)), ((33, 50), (0.3, 0.1)), ((21, 27), (0.2, 0.2))]
LAMBDA = wavelength(200e3)

type Shape = tuple[int, int]
type Pixel = tuple[float, float]
grids = pytest.mark.parametrize(("shape", "sampling"), GRIDS)


def smooth(shape: Shape, seed: int = 0) -> Any:
    """A random field of mean zero and peak 1 with up to two periods along each axis: no products alias."""
    rng = np.random.default_rng(seed)
    y, x = (2 * np.pi * np.arange(n) / n for n in shape)
    field = np.zeros(shape)
    for ky in range(-2, 3):
        for kx in range(1, 3):
            field += rng.normal() * np.cos(ky * y[:, None] + kx * x + rng.uniform(0, 2 * np.pi))
    return field / np.max(abs(field))


def grating(shape: Shape, index: tuple[int, int]) -> Any:
    y, x = (2 * np.pi * np.arange(n) / n for n in shape)
    return np.cos(index[0] * y[:, None] + index[1] * x + 0.4)


def rayleigh(shape: Shape, sampling: Pixel) -> float:
    """The defocus at which the fastest wave of `smooth` has pi lambda z f^2 = pi."""
    return float(1 / (LAMBDA * sum((2 / (n * d)) ** 2 for n, d in zip(shape, sampling, strict=True))))


def series(wave: Any, defocus: Any, sampling: Pixel) -> Any:
    return intensity(propagate(wave, LAMBDA, np.array(defocus), sampling))


# --- the derivative


def test_two_planes_give_the_difference_quotient_and_three_the_central_one() -> None:
    images = np.random.default_rng(0).uniform(0.5, 1.5, (3, 7, 5))
    central = (images[2] - images[0]) / 40
    np.testing.assert_allclose(longitudinal_derivative(images[::2], np.array([-20.0, 20.0])), central, rtol=1e-12)
    np.testing.assert_allclose(longitudinal_derivative(images, [-20.0, 0.0, 20.0]), central, rtol=1e-12)
    np.testing.assert_allclose(longitudinal_derivative(images[::-2], [20.0, -20.0]), central, rtol=1e-12)
    np.testing.assert_allclose(longitudinal_derivative(images[:2], [5.0, 9.0]), (images[1] - images[0]) / 4, rtol=1e-12)


def test_uneven_planes_give_the_slope_of_the_least_squares_line() -> None:
    images, z = np.random.default_rng(0).uniform(0.5, 1.5, (5, 4, 3)), np.array([-31.0, -7.0, 1.0, 12.0, 44.0])
    slope = np.polynomial.polynomial.polyfit(z, images.reshape(5, 12), 1)[1].reshape(4, 3)
    np.testing.assert_allclose(longitudinal_derivative(images, z), slope, rtol=1e-9)


def test_derivatives_of_a_stack_each_with_its_defocus() -> None:
    images = np.random.default_rng(0).uniform(0.5, 1.5, (2, 3, 7, 5)).astype(np.float32)
    z = np.array([[-20.0, 0, 20], [-5, 0, 10]])
    found = longitudinal_derivative(images, z)
    assert found.dtype == np.float32
    for i in range(2):
        np.testing.assert_array_equal(found[i], longitudinal_derivative(images[i], z[i]))
    np.testing.assert_array_equal(longitudinal_derivative(images, z[0])[0], found[0])


def test_one_plane_is_refused() -> None:
    with pytest.raises(ValueError, match="needs 2 planes or more, not 1"):
        longitudinal_derivative(np.ones((1, 4, 4)), [3.0])


# --- round trips


@grids
def test_a_phase_object_comes_back_with_an_error_of_second_order_in_defocus(shape: Shape, sampling: Pixel) -> None:
    phase = 0.5 * smooth(shape)
    wave = exit_wave(phase, 2.0)

    def error(z: float) -> float:
        derivative = longitudinal_derivative(series(wave, [-z, z], sampling), [-z, z])
        return float(
            np.max(abs(retrieve_uniform(derivative, LAMBDA, sampling, intensity=4.0) - (phase - phase.mean())))
        )

    z = 0.01 * rayleigh(shape, sampling)
    assert error(z) < 1e-3
    assert error(2 * z) / error(z) == pytest.approx(4, rel=0.01)


@grids
def test_an_attenuating_object_comes_back_with_an_error_of_second_order(shape: Shape, sampling: Pixel) -> None:
    """One material of varying thickness: grad I is parallel to grad phi, so that Teague's potential is exact."""
    thickness = smooth(shape)
    phase, amplitude = 0.5 * thickness, np.exp(-0.2 * thickness)
    wave = exit_wave(phase, amplitude)

    def error(z: float) -> float:
        under, focus, over = series(wave, [-z, 0, z], sampling)
        derivative = longitudinal_derivative(np.stack([under, focus, over]), [-z, 0, z])
        return float(np.max(abs(retrieve(derivative, focus, LAMBDA, sampling) - (phase - phase.mean()))))

    z = 0.02 * rayleigh(shape, sampling)
    assert error(z) < 5e-3
    assert error(2 * z) / error(z) == pytest.approx(4, rel=0.02)
    under, over = series(wave, [-z, z], sampling)
    ignored = retrieve_uniform((over - under) / (2 * z), LAMBDA, sampling, intensity=np.mean(amplitude**2))
    assert np.max(abs(ignored - (phase - phase.mean()))) > 0.05


@grids
def test_a_bump_of_phase_focuses(shape: Shape, sampling: Pixel) -> None:
    """The sign in words: the image of a maximum of the phase is brighter downstream, and comes back positive."""
    y, x = ((np.arange(n) - n // 2) / n for n in shape)
    bump = 0.1 * np.exp(-50 * (y[:, None] ** 2 + x**2))
    peak = shape[0] // 2, shape[1] // 2
    z = 0.01 * rayleigh(shape, sampling)
    under, over = series(exit_wave(bump, 1.0), [-z, z], sampling)
    assert over[peak] > 1 > under[peak]
    found = retrieve_uniform(longitudinal_derivative(np.stack([under, over]), [-z, z]), LAMBDA, sampling)
    assert np.argmax(found) == np.ravel_multi_index(peak, shape)
    assert found[peak] == pytest.approx(bump[peak] - bump.mean(), rel=0.02)


# --- the solutions as operators


@grids
def test_a_grating_is_scaled_by_the_stated_filter(shape: Shape, sampling: Pixel) -> None:
    """dI/dz = 2 pi lambda f^2 I_0 phi of a grating gives phi f^4 / (f^4 + f_c^4), and its square after `retrieve`."""
    index = (3, -2)
    square = sum((i / (n * d)) ** 2 for i, n, d in zip(index, shape, sampling, strict=True))
    phase = grating(shape, index)
    derivative = 2 * np.pi * LAMBDA * square * 3.0 * phase + 0.7  # a mean of dI/dz is ignored
    flat = np.full(shape, 3.0)
    for cutoff, kept in ((0.0, 1.0), (square**0.5, 0.5), (2 * square**0.5, 1 / 17)):
        found = retrieve_uniform(derivative, LAMBDA, sampling, intensity=3.0, cutoff=cutoff)
        np.testing.assert_allclose(found, kept * phase, atol=1e-12)
        found = retrieve(derivative, flat, LAMBDA, sampling, cutoff=cutoff, floor=0.5)
        np.testing.assert_allclose(found, kept**2 * phase / 1.25, atol=1e-12)


@grids
def test_solutions_have_mean_zero_and_are_linear(shape: Shape, sampling: Pixel) -> None:
    rng = np.random.default_rng(0)
    first, second = rng.standard_normal((2, *shape))
    focus = rng.uniform(0.5, 1.5, shape)

    def solve(derivative: Any) -> Any:
        return retrieve(derivative, focus, LAMBDA, sampling, cutoff=0.1, floor=0.1)

    np.testing.assert_allclose(solve(first + 2 * second), solve(first) + 2 * solve(second), atol=1e-9)
    for solution in (solve(first), retrieve_uniform(first, LAMBDA, sampling)):
        assert np.isfinite(solution).all()
        assert abs(solution.mean()) < 1e-12 * np.max(abs(solution))


@grids
def test_a_uniform_intensity_needs_no_auxiliary_potential(shape: Shape, sampling: Pixel) -> None:
    derivative = np.random.default_rng(0).standard_normal(shape)
    uniform = retrieve_uniform(derivative, LAMBDA, sampling, intensity=2.5)
    auxiliary = retrieve(derivative, np.full(shape, 2.5), LAMBDA, sampling)
    np.testing.assert_allclose(auxiliary, uniform, atol=1e-12 * np.max(abs(uniform)))


def test_the_unit_of_the_intensity_drops_out() -> None:
    rng = np.random.default_rng(0)
    derivative, focus = rng.standard_normal((12, 9)), rng.uniform(0, 1, (12, 9))
    once = retrieve(derivative, focus, LAMBDA, 0.2, floor=0.1)
    np.testing.assert_allclose(retrieve(7 * derivative, 7 * focus, LAMBDA, 0.2, floor=0.1), once, rtol=1e-9)


def test_the_reciprocal_is_bounded_and_vanishes_with_the_intensity() -> None:
    focus = np.array([[0.0, 0.2, 1.0, 2.8]])  # mean 1
    np.testing.assert_allclose(reciprocal(focus, 0.2), [[0, 2.5, 1 / 1.04, 2.8 / 7.88]], rtol=1e-12)
    np.testing.assert_allclose(reciprocal(focus[:, 1:]), 1 / focus[:, 1:], rtol=1e-12)
    stack = reciprocal(np.stack([focus, 3 * focus]), np.array([0.2, 0.4]))
    np.testing.assert_allclose(stack[1], reciprocal(focus, 0.4) / 3, rtol=1e-12)


def test_the_inverse_square_survives_float32_on_a_large_field() -> None:
    fy, fx = (f.astype(np.float32) for f in frequencies((4, 6), 2e9, np))  # f^4 = 1e-40 underflows
    found = inverse_square(fy, fx)
    assert found.dtype == np.float32
    assert found[0, 0] == 0
    np.testing.assert_allclose(found[1, 0], (4 * 2e9) ** 2, rtol=1e-6)


# --- arrays


def solutions(derivative: Any, focus: Any, lam: Any, pixel: Any) -> Any:
    uniform = retrieve_uniform(derivative, lam, (pixel, 0.2), intensity=1.5, cutoff=0.01)
    return uniform, retrieve(derivative, focus, lam, (pixel, 0.2), cutoff=0.01, floor=0.1)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_dtype_batches_and_bits(dtype: type) -> None:
    rng = np.random.default_rng(0)
    derivative: Any = rng.standard_normal((3, 33, 48)).astype(dtype)
    focus: Any = rng.uniform(0.5, 1.5, (3, 33, 48)).astype(dtype)
    lam, pixel = np.array([0.002, 0.0025, 0.003]), np.array([0.1, 0.3, 0.2])
    for i in range(3):
        whole, alone = solutions(derivative, focus, lam, pixel), solutions(derivative[i], focus[i], lam[i], pixel[i])
        for stack, one in zip(whole, alone, strict=True):
            assert stack.dtype == one.dtype == dtype
            np.testing.assert_array_equal(stack[i], one)


def test_float32_is_accurate_to_its_rounding() -> None:
    rng = np.random.default_rng(0)
    derivative, focus = rng.standard_normal((33, 48)), rng.uniform(0.5, 1.5, (33, 48))
    double = solutions(derivative, focus, LAMBDA, 0.1)
    single = solutions(derivative.astype(np.float32), focus.astype(np.float32), LAMBDA, 0.1)
    for ours, truth in zip(single, double, strict=True):
        assert np.max(abs(ours - truth)) < 2e-6 * np.max(abs(truth))


def test_jax_agrees_eager_and_compiled() -> None:
    rng = np.random.default_rng(0)
    images = rng.uniform(0.5, 1.5, (2, 3, 24, 33)).astype(np.float32)
    defocus = np.array([[-20.0, 0, 20], [-5, 0, 10]], np.float32)

    def both(images: Any, defocus: Any, lam: Any, pixel: Any) -> Any:
        return solutions(longitudinal_derivative(images, defocus), images[:, 1], lam, pixel)

    expected = both(images, defocus, LAMBDA, 0.1)
    ways = {
        "eager": both(jnp.asarray(images), defocus, LAMBDA, 0.1),
        "traced images": jax.jit(lambda i: both(i, defocus, LAMBDA, 0.1))(images),
        "traced parameters": jax.jit(lambda *p: both(images, *p))(defocus, LAMBDA, 0.1),
        "all traced": jax.jit(both)(images, defocus, LAMBDA, 0.1),
    }
    for way, found in ways.items():
        for ours, numpy in zip(found, expected, strict=True):
            assert isinstance(ours, jax.Array), way
            assert ours.dtype == np.float32, way
            np.testing.assert_allclose(ours, numpy, atol=5e-6 * np.max(abs(numpy)), err_msg=way)


# --- the vacuum around a specimen


@pytest.mark.parametrize("shape", [(40, 64), (64, 40), (33, 50), (27, 21)])
def test_the_vacuum_is_a_ring_as_wide_as_the_smaller_side(shape: Shape) -> None:
    """Radii of 0.45 to 0.50 of it about pixel N//2: what lies within or beyond does not matter."""
    y, x = np.indices(shape) - np.reshape([n // 2 for n in shape], (2, 1, 1))
    square = 4 * (y**2 + x**2) / min(shape) ** 2
    ring = (square >= 0.9**2) & (square <= 1)
    every = np.ones(shape)
    phase = np.where(ring, 0.7, np.random.default_rng(0).normal(size=(2, *shape)))
    np.testing.assert_allclose(vacuum_phase(phase, every), np.full((2, 1, 1), 0.7))
    assert vacuum_phase(1.0 * ring, every) == pytest.approx(1)
    assert vacuum_phase(1.0 * ~ring, every) == 0
    half = np.where(y < 0, 0.5, 0)
    assert vacuum_phase(np.where(y < 0, phase, 100), half) == pytest.approx(0.7)
    assert not vacuum_phase(phase, 1.0 * ~ring).any()
