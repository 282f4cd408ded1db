"""Scans: what their patterns conserve, where they move, and which phase their centres of mass integrate to."""

import numpy as np
import pytest

from physics import ptychography
from physics.diffraction import far_field
from physics.probe import probe
from physics.ptychography import centre_of_mass, illumination, integrate, patterns

WINDOWS = [(32, 24), (27, 33), (25, 25), (26, 26)]
SHAPE = (71, 64)


def smooth(shape: tuple[int, int], seed: int = 0, width: float = 0.08) -> np.ndarray:
    """A periodic field of order 1 whose spectrum is a Gaussian of 1/e radius `width` [cycles/pixel]."""
    spectrum = np.fft.fft2(np.random.default_rng(seed).standard_normal(shape))
    f = np.fft.fftfreq(shape[0])[:, None] ** 2 + np.fft.fftfreq(shape[1]) ** 2
    out: np.ndarray = np.fft.ifft2(spectrum * np.exp(-f / width**2)).real
    out /= float(abs(out).max())
    return out


def gaussian(shape: tuple[int, int], sigma: float = 2.0) -> np.ndarray:
    """A probe of sum |P|^2 = 1 whose |P|^2 has the standard deviation sigma [pixel], dark at its edge."""
    y, x = (np.arange(n) - n // 2 for n in shape)
    out: np.ndarray = np.exp(-(y[:, None] ** 2 + x**2) / (4 * sigma**2)) + 0j
    out /= np.sqrt(np.sum(abs(out) ** 2))
    return out


def electrons(shape: tuple[int, int]) -> np.ndarray:
    """An aberrated probe, of no symmetry."""
    out: np.ndarray = probe(shape, (0.03, 0.04), 80e3, 0.03, defocus=3.0, coma=200.0, astigmatism=3.0, azimuth=0.5)
    return out


def somewhere(window: tuple[int, int], n: int = 7, seed: int = 1) -> np.ndarray:
    """Positions (n, 2) anywhere on the object, a pixel off its edges."""
    low, high = np.array(window) // 2 + 1, np.array(SHAPE) - np.array(window) // 2 - 2
    return np.random.default_rng(seed).uniform(low, high, (n, 2))


@pytest.mark.parametrize("window", WINDOWS)
def test_an_empty_object_shows_the_pattern_of_the_probe_everywhere(window: tuple[int, int]) -> None:
    p = electrons(window)
    found = patterns(np.ones(SHAPE, complex), p, somewhere(window))
    assert np.allclose(found, abs(far_field(p)) ** 2, atol=1e-12)


@pytest.mark.parametrize("window", WINDOWS)
def test_a_phase_object_loses_no_electron(window: tuple[int, int]) -> None:
    found = patterns(np.exp(3j * smooth(SHAPE)), 5 * electrons(window), somewhere(window))
    assert np.allclose(found.sum((1, 2)), 25 * window[0] * window[1])
    assert found.min() >= 0


@pytest.mark.parametrize("window", WINDOWS)
def test_an_object_and_its_positions_move_together(window: tuple[int, int]) -> None:
    transmission, at = np.exp(3j * smooth(SHAPE)), somewhere(window) - (3, 0)
    at = at[(at >= np.array(window) / 2).all(axis=1)]
    moved = patterns(np.roll(transmission, (3, -2), (0, 1)), electrons(window), at + np.array([3, -2]))
    assert np.allclose(moved, patterns(transmission, electrons(window), at))


@pytest.mark.parametrize("window", WINDOWS)
def test_a_phase_ramp_moves_the_pattern_the_way_it_rises(window: tuple[int, int]) -> None:
    """Of exp(2 pi i g.r) with g = (2, -3) pixels of the pattern: by just so much."""
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    ramp = np.exp(2j * np.pi * (2 * y / window[0] - 3 * x / window[1]))
    p, whole = electrons(window), somewhere(window).round()
    expected = np.roll(abs(far_field(p)) ** 2, (2, -3), (0, 1))
    assert np.allclose(patterns(ramp, p, whole), expected)


@pytest.mark.parametrize("window", WINDOWS)
def test_a_fraction_of_a_pixel_moves_the_probe(window: tuple[int, int]) -> None:
    """Against a probe that is made there: a Gaussian, known everywhere."""
    transmission, at = np.exp(2j * smooth(SHAPE)), somewhere(window)
    for position, found in zip(at, patterns(transmission, gaussian(window, 1.5), at), strict=True):
        whole = np.floor(position + 0.5).astype(int)
        y, x = (np.arange(n) - n // 2 - s for n, s in zip(window, position - whole, strict=True))
        there = np.exp(-(y[:, None] ** 2 + x**2) / (4 * 1.5**2))
        rows, columns = (np.arange(n) - n // 2 + w for n, w in zip(window, whole, strict=True))
        wave = there / np.sqrt(np.sum(there**2)) * transmission[np.ix_(rows, columns)]
        assert np.allclose(found, abs(far_field(wave)) ** 2, atol=1e-4)


def test_patterns_do_not_jump_where_the_whole_pixel_changes() -> None:
    transmission, p = np.exp(2j * smooth(SHAPE)), gaussian((26, 27), 1.5)
    before, after = patterns(transmission, p, np.array([[30.5, 31.5]]) + np.array([[-1e-6], [1e-6]]))
    assert np.allclose(before, after, atol=1e-5 * before.max())


@pytest.mark.parametrize("window", WINDOWS)
def test_modes_add_their_intensities(window: tuple[int, int]) -> None:
    transmission, at = np.exp(2j * smooth(SHAPE)), somewhere(window)
    two = np.stack([electrons(window), 0.5j * gaussian(window)])
    assert np.allclose(patterns(transmission, two, at), sum(patterns(transmission, mode, at) for mode in two))


def test_patterns_do_not_depend_on_how_many_are_made_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    transmission, p = np.exp(2j * smooth(SHAPE)).astype(np.complex64), electrons((26, 27))
    whole = patterns(transmission, p, somewhere((26, 27)))
    assert whole.dtype == np.float32
    monkeypatch.setattr(ptychography, "MAX_BLOCK", 3 * 26 * 27)
    assert np.array_equal(whole, patterns(transmission, p, somewhere((26, 27))))


@pytest.mark.parametrize("window", WINDOWS)
def test_the_illumination_is_the_light_of_all_positions(window: tuple[int, int]) -> None:
    at, p = somewhere(window).round(), electrons(window)
    light = illumination(SHAPE, np.stack([p, p]), at)
    assert light.sum() == pytest.approx(2 * len(at))
    alone = illumination(SHAPE, p, at[:1])
    assert np.unravel_index(alone.argmax(), SHAPE) == tuple(
        at[0] + np.unravel_index(abs(p).argmax(), window) - np.array(window) // 2
    )


@pytest.mark.parametrize(
    ("positions", "message"),
    [
        (
            [[12.0, 30.0], [30.0, 12.4], [12.0, 11.4]],
            r"position 2 at \(12, 11\.4\) puts the 25x25 probe outside the ob",
        ),
        ([[58.0, 30.0], [58.5, 30.0]], r"position 1 at \(58\.5, 30\) puts .* of 71x64 pixels: shift the positions"),
        ([[np.nan, 30.0]], r"a position is not finite"),
        ([[30.0, 30.0, 1.0]], r"positions of shape \(1, 3\) must be \(n, 2\)"),
    ],
)
def test_positions_that_cannot_be(positions: list[list[float]], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        patterns(np.ones(SHAPE, complex), gaussian((25, 25)), np.array(positions))


@pytest.mark.parametrize("window", WINDOWS)
def test_the_centre_of_mass_is_the_mean_gradient_under_the_probe(window: tuple[int, int]) -> None:
    """sum |P|^2 grad phi / 2 pi, at a strength of several radians."""
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    phase = 3 * np.sin(2 * np.pi * (y / 37 + 0.1)) * np.cos(2 * np.pi * x / 29)
    slope_y = 3 * 2 * np.pi / 37 * np.cos(2 * np.pi * (y / 37 + 0.1)) * np.cos(2 * np.pi * x / 29)
    slope_x = -3 * 2 * np.pi / 29 * np.sin(2 * np.pi * (y / 37 + 0.1)) * np.sin(2 * np.pi * x / 29)
    p, at = gaussian(window, 1.5), somewhere(window).round()
    found = centre_of_mass(patterns(np.exp(1j * phase), p, at))
    for position, c in zip(at, found, strict=True):
        light = illumination(SHAPE, p, position[None])
        expected = np.array([(light * slope).sum() for slope in (slope_y, slope_x)]) / (2 * np.pi)
        assert np.allclose(c, expected, atol=2e-5)
    assert abs(found).max() > 0.03


def test_a_pattern_without_counts_has_its_centre_at_zero() -> None:
    assert np.array_equal(centre_of_mass(np.zeros((2, 5, 6))), np.zeros((2, 2)))


RASTERS = [(24, 31), (25, 20), (17, 23), (16, 16)]


@pytest.mark.parametrize("shape", RASTERS)
def test_the_integral_of_a_gradient(shape: tuple[int, int]) -> None:
    """Of a periodic field without Nyquist's frequency, on unequal steps: itself, to rounding."""
    j, k = np.mgrid[: shape[0], : shape[1]]
    a, b = 2 * np.pi * 3 / shape[0], -2 * np.pi * 2 / shape[1]  # rad per step
    slope = np.cos(a * j + b * k + 0.3) / (2 * np.pi)
    com = np.stack([a / 0.8 * slope, b / 1.7 * slope], axis=-1)
    assert np.allclose(integrate(com, (0.8, 1.7), periodic=True), np.sin(a * j + b * k + 0.3))


@pytest.mark.parametrize("shape", RASTERS)
def test_the_integral_of_a_gradient_that_is_not_periodic(shape: tuple[int, int]) -> None:
    """A field even about its edges, which periodic integration gets wrong; and a ramp, where a corner is left."""
    y, x = ((np.arange(n) + 0.5) * np.pi / n for n in shape)
    rate = [np.pi / n / 0.8 / (2 * np.pi) for n in shape]
    field = np.cos(y)[:, None] * np.cos(3 * x)
    com = np.stack(
        [-rate[0] * np.sin(y)[:, None] * np.cos(3 * x), -3 * rate[1] * np.cos(y)[:, None] * np.sin(3 * x)], -1
    )
    assert np.allclose(integrate(com, 0.8), field)
    assert not np.allclose(integrate(com, 0.8, periodic=True), field, atol=0.1)
    ramp = np.arange(shape[0])[:, None] + 0.0 * x
    rise = integrate(np.stack([np.full(shape, 1 / (2 * np.pi)), np.zeros(shape)], -1), 1.0)
    assert np.std(rise - ramp) < 0.03 * np.std(ramp)


def test_rows_that_alternate_have_no_slope_across_but_one_along() -> None:
    sign, x = np.where(np.arange(8) % 2, -1, 1)[:, None], 2 * np.pi * np.arange(7) / 7
    com = np.stack([sign + 0 * x, 0 * sign * x], -1)
    assert np.allclose(integrate(com, 1.0, periodic=True), 0)
    along = np.stack([0 * sign * x, sign * np.cos(x) / 7], -1)
    assert np.allclose(integrate(along, 1.0, periodic=True), sign * np.sin(x))


def test_the_phase_from_centres_of_mass_and_its_rate() -> None:
    """Of a fine probe the phase itself: it is damped by exp(-2 pi^2 s^2 f^2), an error that falls with s^2."""
    window, period, n = (40, 37), 48, 24
    y, x = np.mgrid[:90, :93]
    transmission = np.exp(1.5j * np.sin(2 * np.pi * (y + 2 * x) / period))
    at = np.mgrid[:n, :n].reshape(2, -1).T * 2.0 + (20, 21)
    truth = 1.5 * np.sin(2 * np.pi * (at[:, 0] + 2 * at[:, 1]) / period).reshape(n, n)

    def found(sigma: float) -> np.ndarray:
        com = centre_of_mass(patterns(transmission, gaussian(window, sigma), at)).reshape(n, n, 2)
        phase: np.ndarray = integrate(com, 2.0, periodic=True)
        return phase

    frequency = np.sqrt(5) / period
    for sigma in (1.0, 2.0):
        damped = np.exp(-2 * (np.pi * sigma * frequency) ** 2) * truth
        assert np.allclose(found(sigma), damped, atol=1e-4)
    errors = [np.max(abs(found(sigma) - truth)) for sigma in (2.0, 1.0)]
    assert errors[0] / errors[1] == pytest.approx(4, rel=0.1)
