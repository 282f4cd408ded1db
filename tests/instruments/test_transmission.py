"""A measurement of transmission: unbiased counts, the noise of the logarithm, and streams of each kind of noise.

Generators are keyed by seed and sample, so a test that passes once passes always. Bounds are five standard errors.
"""

from typing import Any

import numpy as np
import pytest

from generators.instruments.transmission import DrawnTransmission, Transmission, draw, measure
from generators.random_streams import Streams
from physics.noise import neighbour_share
from schemas.fields.transmission import FIELDS
from schemas.runtime.errors import UserError
from schemas.runtime.settings import make_settings
from tests.physics.test_transmission import logarithm_moments

SHAPE = (301, 251)
VALUES = 301 * 251
SHAPES = [SHAPE, (1, 33), (7, 1), (1, 1)]
ALL: dict[str, Any] = {
    "photons": 1e4,
    "hardening": 0.05,
    "rings": 0.01,
    "air_offset": 0.02,
    "zingers": 0.02,
    "profile": 0.1,
    "flats": 5,
    "darks": 5,
    "detector.correlation": 0.2,
    "detector.gain": 2,
    "detector.offset": 100,
    "detector.read_noise": 20,
    "detector.pattern.variation": 0.05,
    "detector.pattern.dead": 0.02,
}


def constant(value: float = 0.0, shape: tuple[int, int] = SHAPE) -> Any:
    return np.full(shape, value, np.float32)


def ramp(shape: tuple[int, int] = SHAPE) -> Any:
    """Line integrals from 0 to 3: no two alike."""
    return np.linspace(0, 3, shape[0] * shape[1], dtype=np.float32).reshape(shape)


def settings(**values: Any) -> Transmission:
    return make_settings(Transmission, {}, [f"{name}={value}" for name, value in values.items()])


def measured(sinogram: Any, at: int = 0, /, **values: Any) -> Any:
    """Line integrals that sample number `at` measures."""
    made, rng = settings(**values), Streams(5, "train", at)
    return measure(made, draw(made, rng), sinogram, rng)


@pytest.mark.parametrize("shape", SHAPES)
def test_neutral_settings_change_no_bit_and_draw_nothing(shape: tuple[int, int]) -> None:
    rng, sinogram = Streams(0, "train", 0), ramp(shape)
    drawn = DrawnTransmission(*[0.0] * 6)
    out = measure(Transmission(flats=10, darks=10, profile=0.3), drawn, sinogram, rng)
    assert out.dtype == np.float32
    np.testing.assert_array_equal(out, sinogram)
    assert not {name for name in vars(rng) if not name.startswith("_")} - {"split", "sample"}


@pytest.mark.parametrize("shape", SHAPES)
def test_any_size_is_measured_with_everything_on(shape: tuple[int, int]) -> None:
    sinogram = ramp(shape)
    out = measured(sinogram, **ALL, drift=0.01)
    assert out.shape == shape
    assert out.dtype == np.float32
    assert np.isfinite(out).all()
    np.testing.assert_array_equal(sinogram, ramp(shape))  # the input is left alone


def test_infinite_dose_returns_the_ideal_sinogram_through_the_counts() -> None:
    """A saturation far above the counts sends the line integrals through exponential and logarithm."""
    out = measured(
        ramp(), photons=1e12, profile=0.3, **{"detector.saturation": 1e15, "detector.pattern.variation": 0.1}
    )
    np.testing.assert_allclose(out, ramp(), atol=6 * (np.exp(3) / 0.6 / 1e12) ** 0.5)


@pytest.mark.parametrize(("photons", "path"), [(40.0, 0.0), (1e3, 2.0)])
def test_the_noise_of_the_logarithm_is_that_of_counts(photons: float, path: float) -> None:
    """Variance 1/m and bias 1/(2m) to first order, here with all orders: noise on line integrals would have neither."""
    error = measured(constant(path), photons=photons).astype(float) - np.float32(path)
    bias, variance, deviation = logarithm_moments(photons * np.exp(-path))
    assert abs(error.mean() - bias) < 5 * (variance / VALUES) ** 0.5
    assert abs(np.mean((error - bias) ** 2) - variance) < 5 * deviation / VALUES**0.5
    assert bias > 10 * (variance / VALUES) ** 0.5  # so that the test can tell it from 0


def test_counts_are_unbiased_whatever_the_detector_does() -> None:
    """The mean of exp(-measured) is exp(-p): of gains, profile and offset, nothing is left."""
    values: dict[str, Any] = {
        "profile": 0.2,
        "detector.gain": 3,
        "detector.offset": 50,
        "detector.read_noise": 9,
        "detector.step": 1,
    }
    out = measured(constant(0.7), photons=1e3, **values, **{"detector.pattern.variation": 0.2})
    ratio = np.exp(-out.astype(float)) / np.exp(-0.7)
    assert abs(ratio.mean() - 1) < 5 * ratio.std() / VALUES**0.5


@pytest.mark.parametrize("correlation", [0.107, 0.31])
def test_noise_is_correlated_as_set_within_a_view_and_not_between_views(correlation: float) -> None:
    error = measured(constant(), photons=1e4, **{"detector.correlation": correlation}).astype(float)
    error -= error.mean()
    a = neighbour_share(correlation)
    norm = 1 - 4 * a + 6 * a**2  # mean(MTF^2)
    bounds = 5 * ((1 + 2 * correlation**2) / VALUES) ** 0.5
    assert abs(np.mean(error**2) / (norm * logarithm_moments(1e4)[1]) - 1) < bounds * 2**0.5
    for k, expected in ((1, correlation), (2, a**2 / norm), (3, 0)):
        assert abs(np.mean(error[:, k:] * error[:, :-k]) / np.mean(error**2) - expected) < bounds
    assert abs(np.mean(error[1:] * error[:-1]) / np.mean(error**2)) < bounds


def test_read_noise_adds_to_the_counts() -> None:
    error = measured(constant(1.0), photons=1e5, **{"detector.gain": 2, "detector.read_noise": 300}) - 1
    signal = 1e5 * np.exp(-1)
    variance = 1 / signal + (300 / (2 * signal)) ** 2  # to first order; the second is 1e-4 of it
    assert abs(error.var() / variance - 1) < 5 * (2 / VALUES) ** 0.5 + 3 * variance


def test_read_noise_is_the_same_at_any_dose() -> None:
    """It has a stream of its own, so the number of photons does not move it."""

    def read(photons: float) -> Any:
        noisy, quiet = (measured(constant(), photons=photons, **{"detector.read_noise": n}) for n in (300, 0))
        return photons * (np.exp(-noisy.astype(float)) - np.exp(-quiet.astype(float)))

    np.testing.assert_allclose(read(1e5), read(3e5), atol=0.1)


def test_flat_and_dark_frames_leave_constants_in_the_columns() -> None:
    """Variance 1/(F N) of the flat field, and (1/T - 1)^2 sigma^2 / (G N^2) of the dark field."""
    shape, photons, path = (3, 20_001), 1e5, 2.0
    common: dict[str, Any] = {"photons": photons, "detector.offset": 500, "detector.read_noise": 600}
    exact = measured(constant(path, shape), **common)
    dark = (np.exp(path) - 1) ** 2 * 600**2 / (4 * photons**2)
    flat = (1 / photons + 600**2 / photons**2) / 4
    for frames, variance in (({"flats": 4}, flat), ({"darks": 4}, dark), ({"flats": 4, "darks": 4}, flat + dark)):
        columns = measured(constant(path, shape), **common, **frames).astype(float) - exact
        assert abs(columns.var() / variance - 1) < 5 * (2 / 20_001) ** 0.5 + 0.01  # its second order is below 1 %
        if "darks" not in frames:  # the effect of the dark field depends on the counts
            np.testing.assert_allclose(columns, np.broadcast_to(columns[0], shape), atol=2e-6)


def test_rings_are_constant_over_views_with_the_stated_deviation() -> None:
    columns = measured(constant(1.5, (3, 20_001)), rings=0.003) - 1.5
    np.testing.assert_array_equal(columns, np.broadcast_to(columns[0], columns.shape))
    assert abs(columns[0].std() / 0.003 - 1) < 5 / (2 * 20_001) ** 0.5
    assert abs(columns[0].mean()) < 5 * 0.003 / 20_001**0.5


def test_hardening_drift_and_offset_need_no_counts() -> None:
    np.testing.assert_allclose(measured(ramp(), hardening=0.1), ramp() - 0.1 * ramp() ** 2, atol=1e-6)
    np.testing.assert_allclose(measured(ramp(), air_offset=0.015), ramp() + 0.015, atol=1e-6)
    rows = measured(ramp(), drift=0.01) - ramp()
    np.testing.assert_allclose(rows, np.broadcast_to(rows[:, :1], SHAPE), atol=1e-6)
    with pytest.raises(UserError, match=r"transmission.hardening 0\.2 .* largest path is 3: .* lower it"):
        measured(ramp(), hardening=0.2)


def test_the_flux_drifts_before_the_counting() -> None:
    """A lower flux gives a larger line integral and more noise."""
    rows = [measured(constant(), k, photons=1e3, drift=0.5) for k in range(3)]
    for row in rows:
        level = row.mean(axis=1)
        dim, bright = level > np.quantile(level, 0.8), level < np.quantile(level, 0.2)
        expected = np.exp(level[dim].mean() - level[bright].mean())
        assert row[dim].var(axis=1).mean() / row[bright].var(axis=1).mean() == pytest.approx(expected, rel=0.1)


def test_zingers_are_single_low_values() -> None:
    values: dict[str, Any] = {"photons": 1e4, "zinger_strength": 2, "detector.gain": 3}
    clean, hit = measured(ramp(), **values), measured(ramp(), **values, zingers=0.01)
    changed = clean != hit
    assert abs(changed.mean() - 0.01) < 5 * (0.01 / VALUES) ** 0.5
    assert np.all(hit[changed] < clean[changed])
    counts = 1e4 * (np.exp(-hit.astype(float)) - np.exp(-clean.astype(float)))[changed]
    assert abs(counts.mean() - 2e4) < 5 * 2e4 / changed.sum() ** 0.5


def test_dead_columns_read_as_air_in_every_view() -> None:
    out = measured(ramp(), **ALL | {"detector.pattern.dead": 0.1})
    dead = ~out.any(axis=0)
    assert abs(dead.mean() - 0.1) < 5 * (0.09 / 251) ** 0.5
    assert np.all(out[:, ~dead].any(axis=0))


def test_zero_and_negative_counts_are_replaced_before_the_logarithm() -> None:
    opaque = measured(constant(50.0, (3, 5)), photons=1e3, lowest=0.5, **{"detector.gain": 7, "detector.offset": 9})
    np.testing.assert_allclose(opaque, np.log(1e3 / 0.5), rtol=1e-6)
    noisy = measured(constant(50.0), photons=1e3, **{"detector.read_noise": 10})
    lowest = np.isclose(noisy, np.log(1e3 / 0.1), rtol=1e-6)
    assert abs(lowest.mean() - 0.504) < 5 * 0.5 / VALUES**0.5  # read noise below 0.1 counts


@pytest.mark.parametrize(
    "name", ["rings", "drift", "zingers", "detector.read_noise", "detector.pattern.variation", "detector.pattern.dead"]
)
def test_each_kind_of_noise_stays_when_another_is_switched_off(name: str) -> None:
    """A kind that is all but off draws its random numbers; the others are the same as without it."""
    all_but_off, off = (measured(ramp(), **ALL | {name: value}) for value in (1e-12, 0))
    np.testing.assert_allclose(all_but_off, off, atol=1e-6)


def test_a_sample_is_the_same_in_any_order() -> None:
    alone = measured(ramp(), 2, **ALL)
    for sample in (0, 1, 2):
        last = measured(ramp(), sample, **ALL)
    np.testing.assert_array_equal(last, alone)
    assert np.any(measured(ramp(), 3, **ALL) != alone)


def test_one_detector_measures_all_samples_of_a_dataset() -> None:
    values: dict[str, Any] = {"rings": 0.01, "detector.pattern.dead": 0.2, "detector.pattern.per": "dataset"}
    np.testing.assert_array_equal(measured(ramp(), 0, **values), measured(ramp(), 9, **values))


def test_settings_are_drawn_from_their_ranges_as_they_are_stored() -> None:
    made = settings(photons="1e2:1e6", hardening="0:0.1", rings="0:0.01", air_offset="-0.1:0.1")
    drawn = [draw(made, Streams(0, "train", k)) for k in range(2000)]
    powers = np.log10([one.photons for one in drawn])
    assert powers.min() >= 2
    assert powers.max() <= 6
    assert abs(powers.mean() - 4) < 5 * 4 / 12**0.5 / 2000**0.5
    columns = drawn[0].columns()
    assert columns.keys() == {"photons"} | {field.name for field in FIELDS}
    assert all(float(np.float32(value)) == value for value in columns.values())


def test_mistakes_are_refused() -> None:
    for values, message in (
        ({"photons": "0:100"}, "photons: 0 means no noise and cannot be the end of a range"),
        ({"detector.read_noise": 3}, "detector.read_noise: is in counts; give photons, too"),
        ({"lowest": 0}, "more than 0"),
        ({"zingers": 2}, "at most 1"),
        ({"hardening": -1}, "at least 0"),
    ):
        with pytest.raises(UserError, match=message):
            settings(**values)


def test_a_planted_signal_is_seen_in_the_right_column() -> None:
    """Columns are detector pixels and rows are views."""
    sinogram = constant()
    sinogram[7, 30:] = 3
    out = measured(sinogram, 1, photons=1e6)
    np.testing.assert_allclose(out, sinogram, atol=6 * (np.exp(3) / 1e6) ** 0.5)
