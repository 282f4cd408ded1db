"""Thick specimens: what slices conserve, what they converge to, and how fast."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from physics.electron import wavelength
from physics.multislice import exit_wave
from physics.optics import propagate

LAMBDA = wavelength(80e3)
GRIDS = [((64, 48), (0.1, 0.2)), ((33, 50), (0.3, 0.1)), ((21, 27), (0.2, 0.2))]


def smooth(shape: tuple[int, int], seed: int = 0) -> np.ndarray:
    """A smooth potential times interaction constant [rad/nm], of order 1."""
    spectrum = np.fft.fft2(np.random.default_rng(seed).standard_normal(shape))
    f = np.fft.fftfreq(shape[0])[:, None] ** 2 + np.fft.fftfreq(shape[1]) ** 2
    out: np.ndarray = np.fft.ifft2(spectrum * np.exp(-f / 0.005)).real
    return out / float(abs(out).max())


@pytest.mark.parametrize(("shape", "sampling"), GRIDS)
def test_one_slice_is_the_projection_approximation(shape: tuple[int, int], sampling: tuple[float, float]) -> None:
    t = np.exp(1j * smooth(shape))
    assert np.array_equal(exit_wave(t[None], LAMBDA, 7.0, sampling), t)


@pytest.mark.parametrize(("shape", "sampling"), GRIDS)
def test_intensity_is_conserved_and_absorbed_slice_by_slice(
    shape: tuple[int, int], sampling: tuple[float, float]
) -> None:
    phases = np.stack([smooth(shape, k) for k in range(5)])
    wave = exit_wave(np.exp(1j * phases), LAMBDA, 9.0, sampling)
    assert np.mean(abs(wave) ** 2) == pytest.approx(1, abs=1e-12)
    damped = exit_wave(np.exp(1j * phases - 0.1), LAMBDA, 9.0, sampling)
    assert np.allclose(damped, np.exp(-0.5) * wave)


@pytest.mark.parametrize(("shape", "sampling"), GRIDS)
def test_slices_converge_with_the_square_of_their_thickness(
    shape: tuple[int, int], sampling: tuple[float, float]
) -> None:
    """A body of 20 nm that changes along the beam, cut into ever more slices."""
    first, last = smooth(shape, 1), smooth(shape, 2)

    def cut(n: int) -> np.ndarray:
        middle = (np.arange(n) + 0.5)[:, None, None] / n
        out: np.ndarray = exit_wave(
            np.exp(1j * 2 / n * ((1 - middle) * first + middle * last)), LAMBDA, 20 / n, sampling
        )
        return out

    fine = cut(256)
    errors = [np.max(abs(cut(n) - fine)) for n in (4, 8, 16)]
    assert errors[0] > 1e-5  # else nothing is tested
    assert errors[0] / errors[1] == pytest.approx(4, rel=0.1)
    assert errors[1] / errors[2] == pytest.approx(4, rel=0.1)


def test_a_thick_body_scatters_out_of_the_projection_but_a_thin_one_does_not() -> None:
    v = smooth((48, 64))

    def beyond(length: float) -> float:
        wave = exit_wave(np.exp(1j * np.stack([v / 32] * 32)), LAMBDA, length / 32, 0.2)
        return float(np.max(abs(wave - np.exp(1j * v))))

    assert beyond(0.0) < 1e-12
    assert beyond(0.5) < 1e-4
    assert beyond(100.0) > 5e-3


def test_the_wave_is_that_of_the_plane_amid_the_slices() -> None:
    """One scattering slice among empty ones: its wave, downstream of there in the middle."""
    t = np.ones((5, 40, 36), complex)
    t[1] = np.exp(1j * smooth((40, 36)))
    expected = propagate(t[1], LAMBDA, 6.0, 0.3)
    assert np.allclose(exit_wave(t, LAMBDA, 6.0, 0.3), expected, atol=1e-12)


def test_a_parabolic_channel_guides_its_ground_mode() -> None:
    """sigma V = -kappa r^2 / 2 is an oscillator of mass 2 pi / lambda: the mode gains -omega z, and keeps its shape."""
    n, d, length, slices = 64, 0.1, 60.0, 240
    y, x = np.meshgrid(*((np.arange(n) - n // 2) * d for _ in range(2)), indexing="ij")
    mass, omega = 2 * np.pi / LAMBDA, 0.02
    mode = np.exp(-mass * omega * (y**2 + x**2) / 2).astype(complex)
    step = length / slices
    t = np.stack([np.exp(-0.5j * step * mass * omega**2 * (y**2 + x**2))] * slices)
    t[0] *= propagate(mode, LAMBDA, step / 2, d)  # enters as the mode, not as a plane wave
    wave = propagate(exit_wave(t, LAMBDA, step, d), LAMBDA, length / 2, d)
    assert np.max(abs(wave - np.exp(-1j * omega * length) * mode)) < 2e-3
    assert omega * length > 1


def test_dtypes_and_jax() -> None:
    t = np.exp(1j * np.stack([smooth((20, 33), k) for k in range(3)])).astype(np.complex64)
    wave = exit_wave(t, LAMBDA, 8.0, 0.2)
    assert wave.dtype == np.complex64
    traced = jax.jit(lambda t: exit_wave(t, LAMBDA, 8.0, 0.2))(jnp.asarray(t))
    assert np.allclose(traced, wave, atol=1e-5)
    assert np.allclose(exit_wave(np.stack([t, t], axis=1), LAMBDA, 8.0, 0.2)[1], wave)
