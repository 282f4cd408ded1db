"""Free space, lens and specimen: laws on grids that hide no axis, no origin and no pixel size."""

from typing import Any

import numpy as np
import pytest

from physics import optics
from physics.electron import interaction, wavelength
from physics.fourier import fft2, frequencies
from physics.optics import image, intensity, propagate, transfer_function

# Never square, never only even, never the same pixel twice: equal axes hide a transposed axis, even sizes hide a
# half-pixel origin.
GRIDS = [((64, 48), (0.1, 0.2)), ((33, 50), (0.3, 0.1)), ((21, 27), (0.2, 0.2))]
LAMBDA = wavelength(200e3)

type Shape = tuple[int, int]
type Pixel = tuple[float, float]
grids = pytest.mark.parametrize(("shape", "sampling"), GRIDS)


def noise(shape: tuple[int, ...], seed: int = 0) -> Any:
    parts = np.random.default_rng(seed).standard_normal((2, *shape))
    return parts[0] + 1j * parts[1]


def positions(shape: Shape, sampling: Pixel) -> Any:
    """(y, x) [nm] from the middle of the field, off the pixels by a fraction."""
    (ny, nx), (dy, dx) = shape, sampling
    return ((np.arange(ny) - ny / 2 + 0.3) * dy)[:, None], (np.arange(nx) - nx / 2 + 0.3) * dx


# --- free space


@grids
def test_free_space_is_unitary_additive_and_reversible(shape: Shape, sampling: Pixel) -> None:
    wave = noise((2, *shape))
    once = propagate(wave, LAMBDA, 30.0, sampling)
    assert np.sum(intensity(once)) == pytest.approx(np.sum(intensity(wave)), rel=1e-12)
    twice = propagate(propagate(wave, LAMBDA, 50.0, sampling), LAMBDA, -20.0, sampling)
    np.testing.assert_allclose(twice, once, atol=1e-12)
    np.testing.assert_allclose(propagate(once, LAMBDA, -30.0, sampling), wave, atol=1e-12)
    np.testing.assert_allclose(propagate(wave, LAMBDA, 0.0, sampling), wave, atol=1e-12)


@grids
def test_a_plane_wave_gains_its_phase(shape: Shape, sampling: Pixel) -> None:
    """exp(2 pi i f.x) becomes exp(-i pi lambda z |f|^2) times itself."""
    (ny, nx), (dy, dx) = shape, sampling
    fy, fx = 5 / (ny * dy), -3 / (nx * dx)
    y, x = positions(shape, sampling)
    wave = np.exp(2j * np.pi * (fy * y + fx * x))
    expected = np.exp(-1j * np.pi * LAMBDA * 70.0 * (fy**2 + fx**2)) * wave
    np.testing.assert_allclose(propagate(wave, LAMBDA, 70.0, sampling), expected, atol=1e-11)


@grids
def test_a_gaussian_beam_spreads_as_the_closed_form(shape: Shape, sampling: Pixel) -> None:
    """exp(-pi r^2 / w^2) becomes exp(-pi r^2 / q) w^2 / q with q = w^2 + i lambda z, in each axis by itself.

    Fixes the sign (a beam behind its waist diverges: the phase grows with r under exp(+ikz)), scale and axes.
    """
    y, x = positions(shape, sampling)
    widths = [n * d / 5 for n, d in zip(shape, sampling, strict=True)]
    distance = 0.4 * min(widths) ** 2 / LAMBDA

    def beam(z: float) -> Any:
        qy, qx = (w**2 + 1j * LAMBDA * z for w in widths)
        return np.exp(-np.pi * (y**2 / qy + x**2 / qx)) * widths[0] * widths[1] / np.sqrt(qy * qx)

    np.testing.assert_allclose(propagate(beam(0), LAMBDA, distance, sampling), beam(distance), atol=2e-6)
    assert np.max(abs(beam(distance) - beam(0))) > 0.1


@grids
def test_the_continuity_equation_holds_for_small_distances(shape: Shape, sampling: Pixel) -> None:
    """dI/dz = -(lambda / 2 pi) div(I grad phi): the error of the finite difference is O(z^2)."""
    v, u = (2 * np.pi * np.arange(n) / n for n in shape)
    v = v[:, None]
    ky, kx = (2 * np.pi / (n * d) for n, d in zip(shape, sampling, strict=True))
    phase, amplitude = 0.3 * np.cos(v) * np.sin(u), 1 + 0.2 * np.sin(v) + 0.1 * np.cos(u)
    square = amplitude**2
    along_y = -0.3 * ky * np.sin(v) * np.sin(u), 2 * amplitude * 0.2 * ky * np.cos(v)
    along_x = 0.3 * kx * np.cos(v) * np.cos(u), -2 * amplitude * 0.1 * kx * np.sin(u)
    divergence = along_y[0] * along_y[1] + along_x[0] * along_x[1] - square * phase * (ky**2 + kx**2)
    expected = -LAMBDA / (2 * np.pi) * divergence
    wave = optics.exit_wave(phase, amplitude)
    step = 0.01 / (LAMBDA * (ky**2 + kx**2))

    def error(z: float) -> float:
        above, below = (intensity(propagate(wave, LAMBDA, d, sampling)) for d in (z, -z))
        return float(np.max(abs((above - below) / (2 * z) - expected)))

    assert error(step) < 1e-3 * np.max(abs(expected))
    assert error(2 * step) / error(step) == pytest.approx(4, rel=0.01)


def test_a_grating_repeats_after_the_talbot_length() -> None:
    grating = np.exp(0.5j * np.sign(np.sin(2 * np.pi * (np.arange(40) + 0.5) / 10))) * np.ones((5, 1))
    talbot = 2 * (10 * 0.3) ** 2 / LAMBDA
    np.testing.assert_allclose(propagate(grating, LAMBDA, talbot, (0.7, 0.3)), grating, atol=1e-10)


def test_parameters_broadcast_over_the_leading_axes() -> None:
    wave, distances = noise((2, 1, 12, 9)), np.array([[1.0, 5.0, -20.0]])
    lam, pixel = np.array([[0.002], [0.003]]), (np.array([[0.1], [0.2]]), 0.3)
    stack = propagate(wave, lam, distances, pixel)
    assert stack.shape == (2, 3, 12, 9)
    for i in range(2):
        for j in range(3):
            one = propagate(wave[i, 0], lam[i, 0], distances[0, j], (pixel[0][i, 0], 0.3))
            np.testing.assert_array_equal(stack[i, j], one)
    assert propagate(wave[0, 0], 0.002, distances[0], 0.1).shape == (3, 12, 9)


@pytest.mark.parametrize("distance", [1.0, 1e4, 1e7])
@grids
def test_complex64_stays_and_stays_accurate_at_any_distance(shape: Shape, sampling: Pixel, distance: float) -> None:
    wave = optics.exit_wave(*np.random.default_rng(0).standard_normal((2, *shape)))
    single = propagate(wave.astype(np.complex64), LAMBDA, distance, sampling)
    assert single.dtype == np.complex64
    double = propagate(wave.astype(np.complex64).astype(complex), LAMBDA, distance, sampling)
    assert double.dtype == np.complex128
    assert np.max(abs(single - double)) < 1e-6 * np.max(abs(double))


# --- specimen


def test_phase_and_attenuation_of_magnetite() -> None:
    """17 V and 1 V, 40 nm, 300 kV: 0.1109 rad/nm and exp(-2 * 6.526e-3 * 40) in intensity."""
    thickness = np.array([[0.0, 10.0, 40.0]])
    phase = optics.phase_shift(thickness, 17.0, 300e3)
    np.testing.assert_allclose(phase, 0.110945 * thickness, rtol=1e-5)
    wave = optics.exit_wave(phase, optics.attenuation(thickness, 1.0, 300e3))
    np.testing.assert_allclose(intensity(wave), np.exp(-2 * 6.52616e-3 * thickness), rtol=1e-6)
    np.testing.assert_allclose(np.angle(wave), np.angle(np.exp(1j * phase)), atol=1e-12)


def test_slabs_add_in_phase_and_multiply_in_amplitude() -> None:
    first, second = np.random.default_rng(0).uniform(0, 50, (2, 5, 7))
    whole = first + second
    for formula, joined in ((optics.phase_shift, np.add), (optics.attenuation, np.multiply)):
        parts = joined(formula(first, 20.0, 80e3), formula(second, 20.0, 80e3))
        np.testing.assert_allclose(formula(whole, 20.0, 80e3), parts, rtol=1e-12)


def test_specimen_parameters_broadcast_and_keep_the_dtype() -> None:
    thickness = np.full((2, 3, 4), 10, np.float32)
    phase = optics.phase_shift(thickness, np.array([10.0, 20.0]), np.array([80e3, 300e3]))
    assert phase.dtype == optics.attenuation(thickness, np.float64(1), np.float64(80e3)).dtype == np.float32
    np.testing.assert_allclose(phase[:, 0, 0], [100 * interaction(80e3), 200 * interaction(300e3)], rtol=1e-6)
    assert optics.exit_wave(phase, 1.0).dtype == np.complex64
    assert intensity(optics.exit_wave(phase, phase)).dtype == np.float32


def test_turns_are_exact_after_many_cycles() -> None:
    quarter = np.array([0.25, -0.25, 0.5])
    np.testing.assert_array_equal(optics.phasor_of_cycles(quarter + 2.0**40), optics.phasor_of_cycles(quarter))
    np.testing.assert_allclose(optics.phasor_of_cycles(quarter), [1j, -1j, -1], atol=1e-15)
    assert optics.phasor_of_cycles(quarter, np.complex64).dtype == np.complex64


# --- the lens


@grids
def test_defocus_alone_is_free_space(shape: Shape, sampling: Pixel) -> None:
    wave = noise(shape)
    transfer = transfer_function(shape, sampling, LAMBDA, 40.0)
    assert transfer.shape == shape
    expected = fft2(propagate(wave, LAMBDA, 40.0, sampling))
    np.testing.assert_allclose(transfer * fft2(wave), expected, atol=1e-10)
    np.testing.assert_allclose(image(wave, transfer), intensity(propagate(wave, LAMBDA, 40.0, sampling)), atol=1e-11)


@grids
def test_aberrations_alone_are_unitary(shape: Shape, sampling: Pixel) -> None:
    transfer = transfer_function(shape, sampling, LAMBDA, -60.0, spherical=1e6, astigmatism=20.0, azimuth=0.7)
    np.testing.assert_allclose(abs(transfer), 1, rtol=1e-12)
    wave = noise(shape)
    assert np.mean(image(wave, transfer)) == pytest.approx(np.mean(intensity(wave)), rel=1e-12)


def weak_contrast(shape: Shape, sampling: Pixel, index: tuple[int, int], transfer: Any) -> complex:
    """Fourier coefficient of the image of a weak phase grating over that of its phase: 2 sin(chi) for a coherent lens.

    psi = 1 + i phi, I = 1 + 2 Im(...): with T = exp(-i chi), I - 1 = 2 phi sin chi.
    """
    y, x = (np.arange(n) / n for n in shape)
    phase = 1e-5 * np.cos(2 * np.pi * (index[0] * y[:, None] + index[1] * x))
    result = image(optics.exit_wave(phase, 1.0), transfer)
    return complex(fft2(result)[index] / fft2(phase)[index])


@grids
def test_weak_contrast_is_sin_chi_with_zeros_where_chi_is_a_multiple_of_pi(shape: Shape, sampling: Pixel) -> None:
    index = (4, -3)
    fy, fx = (i / (n * d) for i, n, d in zip(index, shape, sampling, strict=True))
    period = 1 / (LAMBDA * (fy**2 + fx**2))
    for turns in (-1.0, 0.0, 1.0, 2.0):  # chi = pi * turns
        transfer = transfer_function(shape, sampling, LAMBDA, turns * period)
        assert abs(weak_contrast(shape, sampling, index, transfer)) < 1e-4
    for turns in (-0.5, 0.2, 0.5, 1.3):
        transfer = transfer_function(shape, sampling, LAMBDA, turns * period)
        assert weak_contrast(shape, sampling, index, transfer) == pytest.approx(2 * np.sin(np.pi * turns), abs=1e-4)


def test_scherzer_focus_puts_chi_where_the_books_say() -> None:
    """At C1 = -sqrt(1.5 C3 lambda), chi is least, -3 pi / 4, where f^2 = -C1 / (C3 lambda^2), and 0 at twice that."""
    spherical = 1e6
    focus = -((1.5 * spherical * LAMBDA) ** 0.5)
    assert focus == pytest.approx(-61.3, abs=0.05)  # nm, for 1 mm and 200 kV
    square = -focus / (spherical * LAMBDA**2)
    chi = 2 * np.pi * optics.aberration(0.0, np.sqrt([square, 2 * square]), LAMBDA, focus, spherical)
    np.testing.assert_allclose(chi[0], [-0.75 * np.pi, 0], atol=1e-9)


@grids
def test_astigmatism_defocuses_along_and_across_its_azimuth(shape: Shape, sampling: Pixel) -> None:
    """Along phi_A (from x towards y) the focus is C1 + A1, across it C1 - A1, half way C1."""
    radius = np.array([0.5, 2.0])
    for azimuth in (0.0, 0.3, 2.0):
        for turn, focus in ((0, 30 + 8), (np.pi / 2, 30 - 8), (np.pi / 4, 30), (np.pi, 30 + 8)):
            fy, fx = radius * np.sin(azimuth + turn), radius * np.cos(azimuth + turn)
            cycles = optics.aberration(fy, fx, LAMBDA, 30.0, astigmatism=8.0, azimuth=azimuth)
            np.testing.assert_allclose(cycles[0], LAMBDA / 2 * focus * radius**2, rtol=1e-12)
    astigmatic = transfer_function(shape, sampling, LAMBDA, 30.0, astigmatism=8.0)  # azimuth 0 is the x axis
    np.testing.assert_allclose(astigmatic[0], transfer_function(shape, sampling, LAMBDA, 38.0)[0], atol=1e-11)
    np.testing.assert_allclose(astigmatic[:, 0], transfer_function(shape, sampling, LAMBDA, 22.0)[:, 0], atol=1e-11)


def test_the_displacement_is_the_gradient_of_the_aberration() -> None:
    fy, fx = np.random.default_rng(0).uniform(-4, 4, (2, 20))
    lens = {"spherical": 1e6, "astigmatism": 30.0, "azimuth": 0.4}
    shift = optics.displacement(fy, fx, LAMBDA, -50.0, **lens)
    step = 1e-4
    for dy, dx, found in ((step, 0, shift[0]), (0, step, shift[1])):
        above, below = (optics.aberration(fy + s * dy, fx + s * dx, LAMBDA, -50.0, **lens) for s in (1, -1))
        np.testing.assert_allclose(found, (above - below) / (2 * step), rtol=1e-6, atol=1e-4)


@grids
def test_the_aperture_cuts_at_its_angle(shape: Shape, sampling: Pixel) -> None:
    fy, fx = frequencies(shape, sampling, np)
    angle = LAMBDA * np.hypot(fy, fx)
    semi_angle = 0.4321 * np.max(angle)
    sharp = abs(transfer_function(shape, sampling, LAMBDA, 10.0, aperture=semi_angle))
    np.testing.assert_allclose(sharp, angle < semi_angle, atol=1e-12)
    assert 0 < sharp.sum() < sharp.size
    soft = abs(transfer_function(shape, sampling, LAMBDA, 10.0, aperture=semi_angle, edge=0.2 * semi_angle))
    np.testing.assert_allclose(soft[angle < 0.9 * semi_angle], 1, atol=1e-12)
    np.testing.assert_allclose(soft[angle > 1.1 * semi_angle], 0, atol=1e-12)
    order = np.argsort(angle.ravel())
    assert np.all(np.diff(soft.ravel()[order]) < 1e-12)
    assert optics.pupil(0.0, np.array([2.0]), 0.5, 1.0) == optics.pupil(0.0, np.array([2.0]), 0.5, 1.0, 0.3) == 0.5


@grids
def test_temporal_envelope_is_the_mean_over_a_spread_of_defocus(shape: Shape, sampling: Pixel) -> None:
    """Against coherent images of a weak grating, averaged over the defocus by Gauss-Hermite quadrature."""
    index = (4, -3)
    fy, fx = (i / (n * d) for i, n, d in zip(index, shape, sampling, strict=True))
    period = 1 / (LAMBDA * (fy**2 + fx**2))
    spread = 0.3 * period
    nodes, weights = np.polynomial.hermite_e.hermegauss(20)
    coherent = [transfer_function(shape, sampling, LAMBDA, 0.4 * period + spread * node) for node in nodes]
    contrast = [weak_contrast(shape, sampling, index, transfer) for transfer in coherent]
    mean = np.dot(weights, contrast) / np.sum(weights)
    damped = transfer_function(shape, sampling, LAMBDA, 0.4 * period, focal_spread=spread)
    assert weak_contrast(shape, sampling, index, damped) == pytest.approx(mean, abs=1e-4)
    assert abs(mean) < 0.75 * 2 * np.sin(0.4 * np.pi)


def tilted_mean(shape: Shape, sampling: Pixel, index: tuple[int, int], source: float, lens: Any) -> complex:
    """Contrast averaged over Gaussian tilts: a tilt theta moves the spectrum by theta / lambda within the lens."""
    fy, fx = frequencies(shape, sampling, np)
    nodes, weights = np.polynomial.hermite_e.hermegauss(10)
    total = 0j
    for i, y in enumerate(nodes):
        for j, x in enumerate(nodes):
            tilted = optics.aberration(fy + y * source / LAMBDA, fx + x * source / LAMBDA, LAMBDA, **lens)
            contrast = weak_contrast(shape, sampling, index, np.exp(-2j * np.pi * tilted))
            total += weights[i] * weights[j] * contrast
    return complex(total / np.sum(weights) ** 2)


@grids
def test_spatial_envelope_is_the_mean_over_the_source(shape: Shape, sampling: Pixel) -> None:
    """Exact for defocus and astigmatism."""
    index = (4, -3)
    fy, fx = (i / (n * d) for i, n, d in zip(index, shape, sampling, strict=True))
    lens = {"defocus": 0.4 / (LAMBDA * (fy**2 + fx**2))}
    lens |= {"astigmatism": 0.5 * lens["defocus"], "azimuth": 0.7}
    source = 0.6 / (2 * np.pi * np.hypot(*optics.displacement(fy, fx, LAMBDA, **lens)).item()) * LAMBDA
    mean = tilted_mean(shape, sampling, index, source, lens)
    damped = transfer_function(shape, sampling, LAMBDA, **lens, source_angle=source)
    coherent = transfer_function(shape, sampling, LAMBDA, **lens)
    assert weak_contrast(shape, sampling, index, damped) == pytest.approx(mean, abs=1e-4)
    factor = weak_contrast(shape, sampling, index, damped) / weak_contrast(shape, sampling, index, coherent)
    assert factor == pytest.approx(np.exp(-(0.6**2) / 2), rel=1e-6)


def test_spatial_envelope_neglects_a_change_of_focus_by_4_c3_beta_squared() -> None:
    """With that change put in by hand, what remains is O(beta^4)."""
    shape, sampling, index = (33, 50), (0.3, 0.1), (20, -9)
    lens = {"defocus": -50.0, "spherical": 5e5}

    def errors(source: float) -> tuple[float, float]:
        mean = tilted_mean(shape, sampling, index, source, lens)
        refocused = lens | {"defocus": -50.0 + 4 * 5e5 * source**2}
        damped = (transfer_function(shape, sampling, LAMBDA, **way, source_angle=source) for way in (lens, refocused))
        first, second = (abs(weak_contrast(shape, sampling, index, transfer) - mean) for transfer in damped)
        return first, second

    coarse, fine = errors(2e-4), errors(1e-4)
    assert coarse[0] / fine[0] == pytest.approx(4, rel=0.1)
    assert coarse[1] / fine[1] == pytest.approx(16, rel=0.1)
