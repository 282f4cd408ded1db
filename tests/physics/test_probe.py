"""Probes: Airy's pattern, and the signs, axes and scales of focus and aberrations. Never only square or even."""

import numpy as np
import pytest
from scipy.interpolate import CubicSpline
from scipy.special import j1

from physics.diffraction import far_field
from physics.electron import wavelength
from physics.optics import propagate
from physics.probe import illuminated, probe, shift_wave, source_modes, third_order_aberration, widest_source

KV80, ALPHA = 80e3, 0.03
LAMBDA = wavelength(KV80)
GRIDS = [((64, 48), (0.02, 0.03)), ((55, 81), (0.03, 0.02)), ((49, 49), (0.025, 0.025))]
LENS = {"spherical": 2e5, "astigmatism": 4.0, "azimuth": 0.4, "coma": 300.0, "coma_azimuth": 1.0, "threefold": 200.0}


def grid(shape: tuple[int, ...], sampling: tuple[float, float]) -> tuple[np.ndarray, np.ndarray]:
    """(y, x) [nm] from the origin at N//2, of shapes (ny, 1) and (nx,)."""
    y, x = ((np.arange(n) - n // 2) * d for n, d in zip(shape, sampling, strict=True))
    return y[:, None], x


def centroid(wave: np.ndarray, sampling: tuple[float, float]) -> tuple[float, float]:
    y, x = grid(wave.shape, sampling)
    light = abs(wave) ** 2
    return float((y * light).sum() / light.sum()), float((x * light).sum() / light.sum())


def width(wave: np.ndarray) -> float:
    """How many pixels the light covers: 1 / sum of the squared share of each. It needs no far tails."""
    light = abs(wave) ** 2
    return float(light.sum() ** 2 / (light**2).sum())


def zero(row: np.ndarray, step: float) -> float:
    """Where a real row first falls to 0 [nm from its first pixel]."""
    roots = CubicSpline(np.arange(len(row)) * step, row).roots(extrapolate=False)
    return float(roots[0])


@pytest.mark.parametrize("axis", [0, 1])
def test_the_probe_is_airys_pattern_with_the_square_of_the_field_of_view(axis: int) -> None:
    """2 J1(u) / u with u = 2 pi alpha r / lambda; the soft edge, one pixel wide, is what is left over."""

    def errors(n: int) -> tuple[float, float]:
        shape, d = ((n, n + 17), (0.02, 0.026)) if axis else ((n + 17, n), (0.026, 0.02))
        p = probe(shape, d, KV80, ALPHA)
        row = np.moveaxis(p, axis, 0)[shape[axis] // 2 :, shape[1 - axis] // 2]
        row = (row / row[0]).real[:24]
        u = 2 * np.pi * ALPHA / LAMBDA * np.maximum(np.arange(24) * d[axis], 1e-9)
        return float(np.max(abs(row - 2 * j1(u) / u))), zero(row, d[axis]) / (0.60983 * LAMBDA / ALPHA) - 1

    coarse, fine = errors(64), errors(512)
    assert coarse[0] < 2e-2
    assert fine[0] < coarse[0] / 20  # 64 by the rate, but for how pixels fill a circle
    assert abs(fine[1]) < 1e-3


@pytest.mark.parametrize(("shape", "sampling"), GRIDS)
def test_power_and_counts(shape: tuple[int, int], sampling: tuple[float, float]) -> None:
    p = probe(shape, sampling, KV80, ALPHA, defocus=9.0, power=5.0, **LENS)
    assert np.sum(abs(p) ** 2) == pytest.approx(5)
    assert np.sum(abs(far_field(p)) ** 2) == pytest.approx(5 * shape[0] * shape[1])


@pytest.mark.parametrize(("shape", "sampling"), GRIDS)
def test_the_bright_disc_has_the_semi_angle(shape: tuple[int, int], sampling: tuple[float, float]) -> None:
    """Its area, with half of the soft edge, is pi (alpha / lambda)^2; aberrations do not change it."""
    disc = abs(far_field(probe(shape, sampling, KV80, ALPHA, defocus=30.0, **LENS)))
    pixel = 1 / np.prod([n * d for n, d in zip(shape, sampling, strict=True)])
    assert disc.sum() / disc.max() * pixel == pytest.approx(np.pi * (ALPHA / LAMBDA) ** 2, rel=0.02)


@pytest.mark.parametrize(("shape", "sampling"), GRIDS)
def test_defocus_lies_downstream(shape: tuple[int, int], sampling: tuple[float, float]) -> None:
    """P(C1) is P(0) propagated by C1: so a probe with C1 > 0 diverges, and comes to its focus upstream."""
    focus, over = (probe(shape, sampling, KV80, ALPHA, defocus=c, **LENS) for c in (0.0, 4.0))
    assert np.allclose(propagate(focus, LAMBDA, 4.0, sampling), over, atol=1e-12)
    assert np.allclose(propagate(over, LAMBDA, -4.0, sampling), focus, atol=1e-12)


@pytest.mark.parametrize(("shape", "sampling"), GRIDS)
def test_a_perfect_lens_focuses_alike_on_both_sides(shape: tuple[int, int], sampling: tuple[float, float]) -> None:
    spread = [width(probe(shape, sampling, KV80, ALPHA, defocus=c)) for c in (-6.0, -3.0, 0.0, 3.0, 6.0)]
    assert spread[:2] == pytest.approx(spread[:2:-1])
    assert spread[2] < spread[1] < spread[0]


def test_spherical_aberration_is_met_by_underfocus() -> None:
    """The disc of least confusion lies upstream of the Gaussian focus: C1 < 0 for C3 > 0."""
    spread = {c: width(probe((95, 96), 0.02, KV80, ALPHA, defocus=c, spherical=2e4)) for c in (-12.0, 0.0, 12.0)}
    assert spread[-12.0] < 0.8 * spread[0.0] < 0.8 * spread[12.0]


def test_a_diverging_beam_bends_outwards() -> None:
    """Downstream of the focus the phase is + pi r^2 / (lambda C1) on the axis: a spherical wave exp(+ i k r)."""
    p = probe((256, 255), 0.03, KV80, ALPHA, defocus=100.0)
    y, x = grid(p.shape, (0.03, 0.03))
    near, spherical = y**2 + x**2 < 0.4**2, np.pi * (y**2 + x**2) / (LAMBDA * 100.0)
    assert np.ptp(spherical[near]) > 1
    assert np.std(np.angle(p * np.exp(-1j * spherical))[near]) < 0.15


@pytest.mark.parametrize("azimuth", [0.0, 0.7, np.pi / 2])
def test_coma_points_along_its_azimuth(azimuth: float) -> None:
    """The mean of a ray's shift, grad W = B2 lambda^2 grad |f|^2 (f.e), over the disc is B2 alpha^2 e."""
    p = probe((96, 121), (0.02, 0.018), KV80, ALPHA, coma=60.0, coma_azimuth=azimuth)
    y, x = centroid(p, (0.02, 0.018))
    assert np.arctan2(y, x) == pytest.approx(azimuth, abs=0.02)
    assert np.hypot(y, x) == pytest.approx(60 * ALPHA**2, rel=0.1)


def test_astigmatism_and_trefoil_have_their_symmetry() -> None:
    """Under a turn of pi the one stays and the other is mirrored; a turn by 2 pi / 3 of its azimuth changes nothing."""

    def one(**lens: float) -> np.ndarray:
        out: np.ndarray = abs(probe((75, 75), 0.02, KV80, ALPHA, **lens))
        return out

    def turned(image: np.ndarray) -> np.ndarray:
        return image[::-1, ::-1]

    two, three = one(astigmatism=6.0, azimuth=0.3, defocus=5.0), one(threefold=300.0, threefold_azimuth=0.3)
    assert np.allclose(turned(two), two)
    assert not np.allclose(turned(three), three, atol=1e-3)
    assert np.allclose(turned(three), one(threefold=300.0, threefold_azimuth=0.3 + np.pi))
    assert np.allclose(three, one(threefold=300.0, threefold_azimuth=0.3 + 2 * np.pi / 3))


def test_trefoil_points_along_its_azimuth() -> None:
    """A caustic of three cusps: <(x + i y)^3> of the light turns with three times the azimuth, and has its sign."""
    for azimuth in (0.0, 0.5, -0.3):
        p = probe((121, 96), (0.018, 0.02), KV80, ALPHA, threefold=300.0, threefold_azimuth=azimuth)
        y, x = grid(p.shape, (0.018, 0.02))
        light = abs(p) ** 2 * (np.hypot(y, x) < 0.8)
        moment = ((x + 1j * y) ** 3 * light).sum()
        assert abs(np.angle(moment * np.exp(-3j * azimuth))) < 0.01


def test_the_cubic_aberrations_along_their_azimuths() -> None:
    """B2 alpha^3 / lambda and A2 alpha^3 / 3 lambda."""
    fy, fx = 3.0 * np.sin(0.4), 3.0 * np.cos(0.4)
    size = 70 * (3 * LAMBDA) ** 3 / LAMBDA
    assert third_order_aberration(fy, fx, LAMBDA, coma=70.0, coma_azimuth=0.4) == pytest.approx(size)
    assert third_order_aberration(fy, fx, LAMBDA, threefold=70.0, threefold_azimuth=0.4) == pytest.approx(size / 3)


def test_parameters_over_leading_axes() -> None:
    stack = probe((40, 33), 0.02, KV80, ALPHA, defocus=np.array([-3.0, 8.0]))
    assert stack.shape == (2, 40, 33)
    assert np.allclose(stack[1], probe((40, 33), 0.02, KV80, ALPHA, defocus=8.0))


def test_the_illuminated_part_is_bright() -> None:
    p = probe((48, 49), 0.02, KV80, ALPHA)
    inside = illuminated(p)
    assert inside[24, 24]
    assert inside.sum() == pytest.approx(np.pi * (0.37 * LAMBDA / ALPHA / 0.02) ** 2, rel=0.1)  # where 2 J1(u)/u = 0.4


def test_an_aperture_that_the_pixels_cannot_hold() -> None:
    with pytest.raises(ValueError, match=r"a semi-angle of 0\.06 rad is beyond the 0\.0\d+ rad that these pixels"):
        probe((64, 64), 0.04, KV80, 0.06)
    with pytest.raises(ValueError, match=r"below one pixel of the pattern"):
        probe((16, 64), 0.02, KV80, 0.005)


@pytest.mark.parametrize("grid_", GRIDS)
def test_a_probe_is_moved_by_any_shift(grid_: tuple[tuple[int, int], tuple[float, float]]) -> None:
    """By whole pixels as np.roll, in parts as at once; the power stays."""
    shape, sampling = grid_
    wave = probe(shape, sampling, KV80, ALPHA, **LENS)
    assert np.allclose(shift_wave(wave, np.array([[3, -2]]))[0], np.roll(wave, (3, -2), (0, 1)), atol=1e-12)
    shift = np.array([[0.3, -0.7], [1.7, 0.7]])
    there = shift_wave(wave, shift)
    assert np.allclose((abs(there) ** 2).sum(axis=(1, 2)), 1, rtol=1e-12)
    assert np.allclose(shift_wave(there[0], shift[1:])[0], np.roll(wave, 2, 0), atol=1e-12)


def test_a_source_that_is_no_point_blurs_what_the_object_does_to_patterns() -> None:
    """Of a wave P + c P(r - d), the interference at q is damped as the source's Fourier transform; counts stay."""
    n, width, q = 33, 0.6, np.array([0.11, -0.07])  # cycles/pixel
    y, x = (np.arange(n)[:, None] - n // 2, np.arange(n) - n // 2)
    wave = np.exp(-(y**2 + x**2) / 8).astype(complex)
    modes = source_modes(wave, width)
    assert np.allclose((abs(modes) ** 2).sum(), (abs(wave) ** 2).sum(), rtol=1e-12)
    assert np.array_equal(source_modes(wave, 0.0), wave[None])

    def fringe(parts: np.ndarray) -> complex:
        """sum |P|^2 exp(-2 pi i q r): what a grating exp(2 pi i q r) sees of the light."""
        return complex(((abs(parts) ** 2).sum(axis=0) * np.exp(-2j * np.pi * (q[0] * y + q[1] * x))).sum())

    damped = fringe(modes) / fringe(wave[None])
    assert damped == pytest.approx(np.exp(-2 * (np.pi * width) ** 2 * (q**2).sum()), rel=1e-6)


def patterns_of(wave: np.ndarray, width: float, nodes: int, phase: np.ndarray) -> np.ndarray:
    """|F (P O)|^2 over a source by this many nodes along each axis, written out."""
    place, weight = np.polynomial.hermite.hermgauss(nodes)
    found = np.zeros(wave.shape)
    for y, v in zip(place, weight / np.pi**0.5, strict=True):
        there = shift_wave(wave, 2**0.5 * width * np.stack([np.full(nodes, y), place], axis=-1))
        light = abs(far_field(there * np.exp(1j * phase))) ** 2
        found += v * np.tensordot(weight / np.pi**0.5, light, 1)
    return found


@pytest.mark.parametrize(("nm", "nodes"), [(0.02, 7), (0.034, 12), (0.05, 19), (0.06, 24)])
def test_wider_sources_take_more_nodes(nm: float, nodes: int) -> None:
    """Against 61 x 61 of them: of what the source does to a pattern, less than 0.1 % is missed."""
    wave, width = probe((32, 32), 0.0285, KV80, 34.6e-3), nm / 0.0285
    phase = np.random.default_rng(0).normal(0, 0.5, wave.shape)
    found = source_modes(wave, width)
    assert len(found) == nodes**2
    light = (abs(far_field(found * np.exp(1j * phase))) ** 2).sum(axis=0)
    point, exact = patterns_of(wave, width, 1, phase), patterns_of(wave, width, 61, phase)
    assert np.abs(light - exact).sum() < 1e-3 * np.abs(exact - point).sum()


def test_a_source_of_too_many_nodes_is_refused() -> None:
    wave = probe((32, 32), 0.0285, KV80, 34.6e-3)
    most = widest_source(wave)
    assert most * 0.0285 == pytest.approx(0.064, abs=0.001)
    assert len(source_modes(wave, 0.999 * most)) == 25**2
    with pytest.raises(ValueError, match=r"a source of 3\.51 pixels rms: it must be at most 2\.24 for this aperture"):
        source_modes(wave, 0.1 / 0.0285)
