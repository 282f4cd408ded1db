"""R^2 of predicted numbers: its formula, its limits, and the share of intervals that hold the true value."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from inference.report.numbers import fit, mean_of
from schemas.task import Field

RADIUS = Field("radius", ("sample",), "float32", "pixel", "target", "")
ANGLE = replace(RADIUS, name="direction", units="rad", period=2 * math.pi)
RNG = np.random.default_rng(0)


def test_the_formula_and_its_limits() -> None:
    truth, prediction = RNG.normal(3, 1, 50), RNG.normal(3, 1, 50)
    found = fit(RADIUS, prediction, truth)
    assert found.r2 == pytest.approx(1 - sum((truth - prediction) ** 2) / sum((truth - truth.mean()) ** 2))
    assert found.low < found.r2 < found.high <= 1
    assert found.absolute_error == pytest.approx(abs(truth - prediction).mean())
    assert found.rms == pytest.approx(np.sqrt(((truth - prediction) ** 2).mean()))
    exact, mean = fit(RADIUS, truth, truth), fit(RADIUS, np.full(50, truth.mean()), truth)
    assert (exact.r2, exact.low, exact.high) == (1, 1, 1)
    assert (mean.r2, mean.low, mean.high) == pytest.approx((0, 0, 0), abs=1e-12)
    assert mean.rms == pytest.approx(truth.std())


def test_what_has_no_spread_or_no_prediction_is_undefined() -> None:
    truth = RNG.normal(size=6)
    assert math.isnan(fit(RADIUS, truth, np.ones(6)).r2)
    nothing = fit(RADIUS, np.full(6, np.nan), truth)
    assert (nothing.samples, math.isnan(nothing.r2), math.isnan(nothing.rms)) == (0, True, True)
    part = fit(RADIUS, np.where(np.arange(6) == 2, np.nan, truth + 0.1), truth)
    assert part.samples == 5
    assert part.absolute_error == pytest.approx(0.1)


def test_directions_are_compared_around_the_circle() -> None:
    """Their mean is that of unit vectors, and no difference exceeds half of a turn."""
    truth = np.array([0.1, -0.1, 0.3, -0.3]) + 3.1
    prediction = truth + 0.05 + 2 * np.pi * np.array([0, 1, -1, 0])
    assert np.exp(1j * mean_of(ANGLE, truth)) == pytest.approx(np.exp(3.1j))
    found = fit(ANGLE, prediction, truth % (2 * np.pi))
    assert found.r2 == pytest.approx(1 - 0.05**2 / np.mean([0.1**2, 0.3**2]))
    assert found.absolute_error == pytest.approx(0.05)


def test_each_value_of_a_vector_has_its_own_mean() -> None:
    truth = RNG.normal([0, 100], 1, (40, 2))
    pair: Any = replace(RADIUS, dims=("sample", "axis"))
    noisy = truth + RNG.normal(size=truth.shape)
    expected = 1 - ((noisy - truth) ** 2).sum() / ((truth - truth.mean(axis=0)) ** 2).sum()
    assert fit(pair, noisy, truth).r2 == pytest.approx(expected)


def test_the_interval_holds_the_true_value_in_19_of_20_draws() -> None:
    """Errors of variance 0.25 of numbers of variance 1: R^2 = 0.75."""
    truth = RNG.normal(size=(400, 200))
    fits = [fit(RADIUS, row + error, row) for row, error in zip(truth, 0.5 * RNG.normal(size=truth.shape), strict=True)]
    assert np.mean([one.low < 0.75 < one.high for one in fits]) == pytest.approx(0.95, abs=0.03)
