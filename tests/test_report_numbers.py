"""Numbers of the report that are computed from scores: bounds, ratios and resolutions."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from inference.report import errors_by_parameter, expectations, figures, tables
from inference.report.expectations import Expectation

SCORED: dict[str, Any] = {
    "net": {
        "not_finite": 0,
        "metrics": {
            "mask.mcc": {"mean": 0.9},
            "material.iou": {"mean": 0.8},
            "r2": {"mean": 0.7},
            "psnr": {"mean": 31.0},
            "ssim": {"mean": None},
        },
    },
    "fbp": {
        "not_finite": 0,
        "metrics": {"mask.mcc": {"mean": 0.0}, "psnr": {"mean": 28.5}, "r2": {"mean": -0.5}},
    },
}


@pytest.mark.parametrize(
    ("expected", "said"),
    [
        ({"metric": "mask.mcc", "at_least": 0.9}, ""),
        ({"metric": "mask.mcc", "at_least": 0.91}, "net: mask.mcc is 0.9, expected at least 0.91"),
        ({"metric": "material.iou", "at_least": 0.85}, "net: material.iou is 0.8, expected at least 0.85"),
        ({"metric": "r2", "at_least": 0.7}, ""),
        ({"metric": "r2", "at_least": 1.3, "minus": "fbp"}, "net: r2 is 1.2 more than that of fbp, expected at least"),
        ({"metric": "psnr", "at_least": 2.5, "minus": "fbp"}, ""),
        ({"metric": "psnr", "at_least": 3, "minus": "fbp"}, "psnr is 2.5 more than that of fbp, expected at least 3"),
        ({"metric": "mask.mcc", "at_least": 2, "times": "fbp"}, "that of fbp is 0, so there is no ratio; write minus"),
        ({"metric": "mcc", "at_least": 0.8}, "mcc: there is no such score of net; there are: mask.mcc, material.iou"),
        ({"metric": "ssim", "at_least": 0.8}, "net: ssim: the score of net is undefined"),
        ({"metric": "psnr", "at_least": 0.8, "minus": "fpb"}, "there is no method fpb; did you mean fbp?"),
    ],
)
def test_every_score_can_be_bounded_alone_or_beside_another(expected: dict[str, Any], said: str) -> None:
    missed = expectations.missed([Expectation(method="net", **expected)], SCORED)
    assert len(missed) == bool(said)
    assert said in "".join(missed)


def test_a_bound_is_a_multiple_or_a_difference() -> None:
    with pytest.raises(ValidationError, match="give one of times and minus"):
        Expectation(method="a", metric="psnr", at_least=1, times="b", minus="c")


def test_the_error_of_a_ratio_is_that_of_repeated_draws() -> None:
    rng = np.random.default_rng(0)
    hard = rng.uniform(1, 3, (400, 200))  # what makes a sample hard is the same for both methods
    ours, theirs = 0.1 * hard + 0.02 * rng.normal(size=hard.shape), hard + 0.1 * rng.normal(size=hard.shape)
    spread = (ours.mean(1) / theirs.mean(1)).std()
    a, b = (SimpleNamespace(name=name) for name in "ab")
    result: Any = SimpleNamespace(
        scores={"a": {"nrms": ours[0]}, "b": {"nrms": theirs[0]}},
    )
    found = tables.ratio(result, a, b, "nrms")  # type: ignore[arg-type]
    assert found is not None
    assert found[0] == pytest.approx(ours[0].mean() / theirs[0].mean())
    assert found[1] == pytest.approx(spread, rel=0.2)


def test_a_parameter_of_several_values_is_shown_by_its_largest_modulus() -> None:
    assert errors_by_parameter.largest_modulus(np.array([[-3.0, 2.0], [1.0, 0.5]])).tolist() == [3.0, 1.0]
    assert errors_by_parameter.largest_modulus(np.array([-3.0, 2.0])).tolist() == [-3.0, 2.0]


@pytest.mark.parametrize(
    ("sampling", "said"),
    [
        ([0.2, 0.2, 0.2], "0.5 nm, 0.445 to 0.571"),
        ([2e3] * 3, "5 \N{MICRO SIGN}m, 4.45 to 5.71"),
        ([148_320.0] * 3, "371 \N{MICRO SIGN}m, 330 to 423"),
        ([0.2, 0.3, 0.2], "2.5 pixel, 2.22 to 2.85"),
    ],
)
def test_the_resolution_is_one_over_the_mean_frequency_in_the_unit_of_the_pixels(
    sampling: list[float], said: str
) -> None:
    """mean -+ t s / sqrt(3) with t = 4.303 for two degrees of freedom, s = 0.02: 0.3503 to 0.4497 per pixel."""
    store: Any = SimpleNamespace(name="a", metadata=SimpleNamespace(kind="classical"))
    result: Any = SimpleNamespace(
        stores=(store,),
        methods=(store,),
        frequency=np.array([0.25, 0.5]),
        correlation={"a": np.array([0.9, 0.3])},
        scores={"a": {"frc": np.array([0.38, 0.4, 0.42])}},
        parameters={"sampling": np.array(sampling)},
        report=SimpleNamespace(finer=1),
    )
    drawn = figures.ring_correlation(result)
    assert drawn is not None
    assert [text.get_text() for text in drawn.axes[0].get_legend().get_texts()] == [f"a ({said})"]  # type: ignore[union-attr]
