"""Errors of a scan: signs, ends and statistics of displacements, gains with mean 1, conserved sums of the afterglow.

Bounds of statistics are five standard errors; generators have fixed seeds.
"""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from generators.instruments.scan_errors import DrawnScan, Scan, displacements, draw, flicker, smear
from generators.specimens.draws import stored_parameters
from physics.scattering.incoherent import scanned
from schemas.fields.scans import FIELDS
from schemas.runtime.settings import make_settings

NONE = ("shift=0", "drift=0", "jitter=0", "afterglow=0", "flicker=0")
OFF = DrawnScan(np.zeros((3, 2), np.float32), np.zeros((3, 2), np.float32), 0.0, 0.0, 0.0, 7)


def vectors(*rows: tuple[float, float]) -> Any:
    return np.array(rows, np.float32)


def drawn(rng: np.random.Generator, *values: str, tilts: int = 5) -> DrawnScan:
    return draw(make_settings(Scan, {}, values), tilts, rng)


def test_the_drawn_numbers_are_the_fields_of_the_schema() -> None:
    found = stored_parameters("scan_", drawn(np.random.default_rng(0)))
    assert list(found) == [field.name for field in FIELDS]
    sizes = {"sample": 1, "tilt": 5, "coordinate": 2}
    for field in FIELDS:
        value = np.asarray(found[field.name])
        assert value.shape == tuple(sizes[dim] for dim in field.dims[1:])
        assert (value.astype(field.dtype) == value).all()


def test_settings_change_no_other_draw() -> None:
    first, second = np.random.default_rng(3), np.random.default_rng(3)
    a, b = drawn(first), drawn(second, *NONE[2:], "shift=2", "drift=0")
    assert first.random() == second.random()
    assert a.seed == b.seed
    assert not b.drift.any()
    assert a.shift / a.shift[0, 0] == pytest.approx(b.shift / b.shift[0, 0], rel=1e-5)


def test_shifts_and_drifts_have_the_deviations_of_the_settings() -> None:
    found = drawn(np.random.default_rng(1), "shift=0.3", "drift=0.1", tilts=4000)
    for values, deviation in ((found.shift, 0.3), (found.drift, 0.1)):
        assert values.std(axis=0) == pytest.approx(deviation, rel=5 / 8000**0.5)
        assert values.mean(axis=0) == pytest.approx(0, abs=5 * deviation / 4000**0.5)
    parts = np.corrcoef(np.concatenate([found.shift, found.drift], axis=1).T)
    assert parts == pytest.approx(np.eye(4), abs=5 / 4000**0.5)


@pytest.mark.parametrize("rows", [1, 2, 33, 64])
def test_without_errors_nothing_moves_and_gains_are_one(rows: int) -> None:
    found = drawn(np.random.default_rng(0), *NONE)
    dy, dx = displacements(found, 2, rows)
    assert dy.shape == dx.shape == (rows,)
    assert not dy.any()
    assert not dx.any()
    assert (flicker(found, 2, rows) == np.ones(rows)).all()


@pytest.mark.parametrize("shape", [(40, 50), (33, 45), (64, 21)])
def test_a_specimen_that_moves_by_plus_x_appears_at_larger_x(shape: tuple[int, int]) -> None:
    """A shift by whole pixels rolls the image; a drift ends half of its way on either side."""
    image = np.random.default_rng(2).random(shape)
    d = 0.05
    y, x = ((np.arange(n) - n // 2) * d for n in shape)
    shifted = replace(OFF, shift=vectors((0, 0), (2 * d, 3 * d)))
    dy, dx = displacements(shifted, 1, shape[0])
    found = scanned(image, y + dy, x, d, shifts=dx)
    assert found == pytest.approx(np.roll(image, (2, 3), (0, 1)), abs=1e-5)
    dy, dx = displacements(replace(OFF, drift=vectors((0, 4 * d))), 0, shape[0])
    found = scanned(image, y + dy, x, d, shifts=dx)
    assert found[0] == pytest.approx(np.roll(image[0], -2), abs=1e-5)
    assert found[-1] == pytest.approx(np.roll(image[-1], 2), abs=1e-5)


def test_drift_is_linear_in_time() -> None:
    dy, dx = displacements(replace(OFF, shift=vectors((1, 2)), drift=vectors((0.2, -0.4))), 0, 41)
    assert dy == pytest.approx(np.linspace(-0.9, -1.1, 41), abs=1e-6)
    assert dx == pytest.approx(np.linspace(-2.2, -1.8, 41), abs=1e-6)
    assert not np.any(displacements(replace(OFF, drift=vectors((0.2, -0.4))), 0, 1))


def test_jitter_is_white_and_alike_along_both_axes() -> None:
    rows, shaking = 20_000, replace(OFF, jitter=0.02)
    dy, dx = displacements(shaking, 0, rows)
    other, _ = displacements(shaking, 1, rows)
    for values in (dy, dx):
        assert values.std() == pytest.approx(0.02, rel=5 / (2 * rows) ** 0.5)
        assert abs(values.mean()) < 5 * 0.02 / rows**0.5
    same = np.corrcoef([dy[1:], dy[:-1], dx[1:], other[1:], np.log(flicker(replace(OFF, flicker=0.1), 0, rows)[1:])])
    assert same == pytest.approx(np.eye(5), abs=5 / rows**0.5)


def test_rows_depend_on_seed_and_image_only() -> None:
    shaking = replace(OFF, jitter=0.02, flicker=0.1)
    dy, dx = displacements(shaking, 1, 60)
    assert (displacements(replace(shaking, flicker=0.0), 1, 60)[0] == dy).all()
    assert (displacements(shaking, 1, 20)[1] == dx[:20]).all()
    assert (displacements(replace(shaking, seed=8), 1, 60)[0] != dy).all()
    assert (flicker(shaking, 1, 60) == flicker(replace(shaking, jitter=0.0), 1, 60)).all()
    assert (flicker(shaking, 1, 60) != flicker(shaking, 2, 60)).all()


@pytest.mark.parametrize("deviation", [0.02, 0.5])
def test_gains_are_positive_with_mean_one(deviation: float) -> None:
    gains = flicker(replace(OFF, flicker=deviation), 0, 100_000)
    assert gains.min() > 0
    assert gains.mean() == pytest.approx(1, abs=5 * deviation / 100_000**0.5)
    assert gains.std() == pytest.approx(deviation, rel=0.03)


@pytest.mark.parametrize("shape", [(3, 400), (2, 5, 301), (1, 1)])
def test_no_afterglow_returns_the_image_itself(shape: tuple[int, ...]) -> None:
    image = np.random.default_rng(0).random(shape).astype(np.float32)
    assert smear(image, 0.0) is image
    assert smear(image, 0.01) == pytest.approx(image, rel=1e-6)


@pytest.mark.parametrize("afterglow", [0.3, 2.0, 9.5])
def test_afterglow_fades_to_the_right_and_keeps_sums(afterglow: float) -> None:
    image = np.zeros((2, 3, 300), np.float32)
    image[1, 2, 40] = 6
    found = smear(image, afterglow)
    assert found.dtype == np.float32
    share = np.exp(-1 / afterglow)
    expected = np.zeros((2, 3, 300))
    expected[1, 2, 40:] = 6 * (1 - share) * share ** np.arange(260)
    assert found == pytest.approx(expected, rel=1e-6, abs=1e-12)
    assert found.sum() == pytest.approx(6, rel=1e-5)


@pytest.mark.parametrize("afterglow", [0.7, 2.0])
def test_noise_becomes_correlated_along_rows_only(afterglow: float) -> None:
    """exp(-k / afterglow) at a distance of k, and (1 - a) / (1 + a) of the variance, behind the first pixels."""
    counts = np.random.default_rng(4).poisson(2.0, (500, 800)).astype(np.float32)
    found = smear(counts, afterglow)[:, 40:].astype(float) - 2.0
    bound = 5 * (2 * afterglow / found.size) ** 0.5 * 2
    share = np.exp(-1 / afterglow)
    assert np.mean(found**2) == pytest.approx(2 * (1 - share) / (1 + share), rel=2 * bound)
    for k in (1, 2, 5):
        along = np.mean(found[:, k:] * found[:, :-k]) / np.mean(found**2)
        across = np.mean(found[k:] * found[:-k]) / np.mean(found**2)
        assert along == pytest.approx(share**k, abs=bound)
        assert abs(across) < bound
