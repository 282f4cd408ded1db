"""The same formulas by NumPy and JAX, eager, compiled and traced; gradients; bits."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from physics import optics
from physics.fourier import frequencies
from physics.optics import image, propagate, transfer_function

from .test_optics import LAMBDA, noise

WAYS: list[tuple[str, Any]] = [
    ("propagate", lambda w, z: propagate(w, LAMBDA, z, (0.3, 0.2))),
    ("image", lambda w, z: image(w, transfer_function(w.shape, (0.3, 0.2), LAMBDA, z))),
    (
        "image, everything",
        lambda w, z: image(
            w,
            transfer_function(
                w.shape,
                (0.3, 0.2),
                LAMBDA,
                z,
                spherical=1e4,
                astigmatism=z / 5,
                azimuth=0.3,
                aperture=0.003,
                edge=0.001,
                source_angle=1e-4,
                focal_spread=z / 10,
            ),
        ),
    ),
]


@pytest.mark.parametrize(("name", "formula"), WAYS)
@pytest.mark.parametrize("shape", [(2, 24, 33), (31, 20)])
def test_jax_agrees_eager_and_compiled(name: str, formula: Any, shape: tuple[int, ...]) -> None:
    wave = noise(shape).astype(np.complex64)
    expected = formula(wave, 100.0)
    assert expected.dtype == (np.complex64 if name == "propagate" else np.float32)
    scale = np.max(abs(expected))
    ways = {
        "eager": formula(jnp.asarray(wave), 100.0),
        "constant distance": jax.jit(lambda w: formula(w, 100.0))(wave),
        "traced distance": jax.jit(formula)(wave, 100.0),
        "constant wave": jax.jit(lambda z: formula(wave, z))(100.0),
    }
    for way, found in ways.items():
        assert isinstance(found, jax.Array), way
        assert found.dtype == expected.dtype, way
        np.testing.assert_allclose(found, expected, atol=3e-6 * scale, err_msg=way)
    stack = jax.jit(formula)(wave if wave.ndim == 3 else wave[None], jnp.array([100.0, 50.0]))
    np.testing.assert_allclose(stack[0], expected if wave.ndim == 2 else expected[0], atol=3e-6 * scale)


def test_jax_in_float64_agrees_to_rounding() -> None:
    wave = noise((24, 33))
    with jax.enable_x64(True):
        for _, formula in WAYS:
            np.testing.assert_allclose(jax.jit(formula)(jnp.asarray(wave), 100.0), formula(wave, 100.0), atol=1e-11)


def test_an_image_has_the_gradient_of_its_finite_differences() -> None:
    """Over phase, amplitude and defocus: what training by the forward model needs."""
    rng = np.random.default_rng(0)
    phase, amplitude, target, dp, da = rng.uniform(0.5, 1.5, (5, 12, 9))

    def misfit(phase: Any, amplitude: Any, defocus: Any) -> Any:
        transfer = transfer_function((12, 9), (0.3, 0.2), LAMBDA, defocus, spherical=1e4, focal_spread=defocus / 10)
        return ((image(optics.exit_wave(phase, amplitude), transfer) - target) ** 2).sum()

    above, below = (misfit(phase + s * dp, amplitude + s * da, 50.0 + s) for s in (1e-5, -1e-5))
    with jax.enable_x64(True):
        found = jax.grad(misfit, argnums=(0, 1, 2))(phase, amplitude, 50.0)
        gradient = [np.asarray(part) for part in found]
    slope = np.sum(gradient[0] * dp) + np.sum(gradient[1] * da) + gradient[2]
    assert slope == pytest.approx((above - below) / 2e-5, rel=1e-6)


def test_specimen_under_jit() -> None:
    thickness = np.random.default_rng(0).uniform(0, 50, (2, 5, 7)).astype(np.float32)

    def wave(t: Any, volts: Any) -> Any:
        return optics.exit_wave(optics.phase_shift(t, 17.0, volts), optics.attenuation(t, 1.0, volts))

    expected = wave(thickness, np.array([80e3, 300e3]))
    found = jax.jit(wave)(thickness, jnp.array([80e3, 300e3]))
    assert found.dtype == expected.dtype == np.complex64
    np.testing.assert_allclose(found, expected, atol=3e-6)


def test_traced_distances_keep_the_stated_accuracy() -> None:
    """2e-6 rad for every cycle of lambda z f^2 / 2, as the module says."""
    shape, pixel = (48, 33), (0.3, 0.2)
    fy, fx = frequencies(shape, pixel, np)
    for distance in (np.float32(1e2), np.float32(1e4), np.float32(1e6)):
        cycles = float(np.max(LAMBDA * distance / 2 * np.maximum(fy**2, fx**2)))
        exact = optics.fresnel(shape, LAMBDA, distance, pixel)
        traced = jax.jit(lambda z: optics.fresnel(shape, LAMBDA, z, pixel))(distance)
        for ours, truth in zip(traced, exact, strict=True):
            assert np.max(abs(np.asarray(ours) - truth)) < 1e-6 + 2e-6 * cycles


def test_bits_of_a_sample_do_not_depend_on_its_block() -> None:
    wave = noise((5, 33, 48)).astype(np.complex64)
    distances = np.linspace(-100, 100, 5)
    for formula in (WAYS[0][1], WAYS[2][1]):
        whole = formula(wave, distances)
        for i in range(5):
            np.testing.assert_array_equal(whole[i], formula(wave[i], distances[i]))
            np.testing.assert_array_equal(whole[i], formula(wave[i : i + 1], distances[i : i + 1])[0])
