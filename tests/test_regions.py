"""Scores against parameters: regions, bins and curves hold what they say."""

import csv
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from scipy import stats

from inference.report import figures
from inference.report.document import by_region
from inference.report.errors_by_parameter import bin_numbers, curve, is_logarithmic, regions
from schemas.task import find_task

from .conftest import TOY_TASK, Command

RNG = np.random.default_rng(0)


def result(parameters: dict[str, np.ndarray], **scores: np.ndarray) -> Any:
    """Scores (nrms) by method, and the parameters of the tie report that the dataset has."""
    return SimpleNamespace(
        rank="nrms",
        task=find_task("tie"),
        report=SimpleNamespace(parameters=("noise", "defocus", "particle_half")),
        parameters=parameters,
        stores=tuple(SimpleNamespace(name=name) for name in scores),
        scores={name: {"nrms": values} for name, values in scores.items()},
    )


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (RNG.permutation(30), [(0, 9, 10), (10, 19, 10), (20, 29, 10)]),
        ([1] * 12 + [2] * 8, [(1, 1, 12), (2, 2, 8)]),
        ([1] * 7 + [2] * 6 + [3] * 7, [(1, 1, 7), (2, 2, 6), (3, 3, 7)]),
        ([1] * 20, []),
    ],
)
def test_thirds_are_filled_equally_and_equal_values_are_in_one(values: Any, expected: Any) -> None:
    found = regions(result({"noise": np.array(values, np.float32)}, a=RNG.random(len(values))))
    assert [(one.low, one.high, one.samples) for one in found] == expected


def test_the_table_has_the_largest_modulus_and_the_least_error_in_bold() -> None:
    """A method without a single score in a region has no mean there."""
    defocus = np.stack([-1000 * np.arange(1.0, 31.0), np.zeros(30)], axis=1)
    a = np.repeat([0.1, np.nan, 0.3], 10)
    a[0] = np.nan
    header, *rows = by_region(result({"defocus": defocus}, a=a, b=np.full(30, 0.2)))
    assert header[1:] == [(name, "number") for name in ("from", "to", "samples", "a", "b")]
    assert {row[0] for row in rows} == {"largest |defocus| [nm]"}
    assert [[cell[0] for cell in row[1:4]] for row in rows] == [
        [low, high, "10"] for low, high in (("1000", "10000"), ("11000", "20000"), ("21000", "30000"))
    ]
    assert [list(row[4:]) for row in rows] == [
        [("0.1", "number best"), ("0.2", "number")],
        [("undefined", "number"), ("0.2", "number best")],
        [("0.3", "number"), ("0.2", "number best")],
    ]
    alone = by_region(result({"defocus": defocus}, b=np.full(30, 0.2)))
    assert [row[-1] for row in alone[1:]] == [("0.2", "number")] * 3


@pytest.mark.usefixtures("brief_report")
def test_the_numbers_of_regions_are_those_of_the_table(generate: Command, infer: Command, evaluate: Command) -> None:
    generate(*TOY_TASK, "--n", 20, "--test", 60)
    for name in ("wiener", "identity"):
        infer("--method", name, "--data", "toy.zarr", "--out", f"{name}.zarr")
    assert evaluate("--data", "toy.zarr", "--predictions", "wiener.zarr", "identity.zarr")[0] == 0
    with (Path("report") / "metrics.csv").open(newline="") as file:
        rows = [{key: float(value) for key, value in row.items()} for row in csv.DictReader(file)]
    found = json.loads((Path("report") / "metrics.json").read_text())["regions"]
    assert [one["parameter"] for one in found] == ["height"] * 3 + ["edges"] * 3
    text = (Path("report") / "report.html").read_text()
    assert "Errors by range of parameters" in text
    for one in found:
        inside = [row for row in rows if _lies_in(row, one)]
        assert len(inside) == one["samples"]
        for name, mean in one["means"].items():
            assert mean == pytest.approx(np.nanmean([row[f"{name}.nrms_aligned"] for row in inside]), rel=1e-9)
            assert f"{mean:.4g}" in text


@pytest.mark.parametrize(
    ("values", "counts"),
    [
        (RNG.permutation(100), [13] * 6 + [22]),  # the ninth bin would hold too few
        (np.repeat([1, 2, 3, 40], [2, 50, 3, 45]), [2, 50, 3, 45]),  # a few distinct values
        (np.repeat(np.arange(9), 2), [8, 10]),
        (np.repeat(np.arange(9), [90, 1, 1, 1, 1, 1, 1, 1, 1]), [98]),
        (np.arange(7), [7]),
    ],
)
def test_bins_are_filled_equally_and_a_few_values_have_bins_of_their_own(values: Any, counts: list[int]) -> None:
    numbers = bin_numbers(np.asarray(values))
    assert np.bincount(numbers).tolist() == counts
    order = np.argsort(values, kind="stable")
    assert (np.diff(numbers[order]) >= 0).all()
    assert all(np.ptp(numbers[values == value]) == 0 for value in values)


def test_a_curve_has_means_and_the_intervals_of_students_distribution() -> None:
    """Values that are not finite, such as the psnr of an exact prediction, are left out."""
    values, scores = np.repeat([1.0, 5.0], 30), RNG.normal(size=60)
    scores[3], scores[4] = np.nan, np.inf
    places, points = curve(values, scores)
    assert places.tolist() == [1, 5]
    for point, part in zip(points, (np.delete(scores[:30], [3, 4]), scores[30:]), strict=True):
        assert point[0] == pytest.approx(part.mean())
        expected = stats.t.interval(0.95, len(part) - 1, part.mean(), stats.sem(part))
        np.testing.assert_allclose(point[1:], expected, rtol=1e-9)
    assert np.isnan(curve(values, np.full(60, np.nan))[1]).all()


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (10 ** RNG.uniform(2, 5, 200), True),
        (np.repeat([1e2, 1e3, 1e4, 1e5], 5), True),
        (RNG.uniform(1, 100, 200), False),
        (10 ** RNG.uniform(0, 0.9, 200), False),  # less than a decade
        (np.append(0, 10 ** RNG.uniform(2, 5, 200)), False),
        (RNG.uniform(-3, 3, 200), False),
    ],
)
def test_values_spread_over_decades_have_a_logarithmic_axis(values: np.ndarray, expected: bool) -> None:
    assert is_logarithmic(values) == expected


def drawn(values: np.ndarray, **scores: np.ndarray) -> Figure | None:
    """The curves of some methods against the parameter `noise`."""
    fake = result({"noise": values}, **scores)
    for store in fake.stores:
        store.metadata = SimpleNamespace(kind="classical")
    fake.report.ranks, fake.report.histograms, fake.methods = False, (), fake.stores
    fake.report.meaning = lambda key: SimpleNamespace(better="higher" if key == "psnr" else "lower")
    fake.scores = {name: rows | {"psnr": 20 - rows["nrms"]} for name, rows in fake.scores.items()}
    fake.summaries = {name: {"nrms": {"unit": "1"}, "psnr": {"unit": "dB"}} for name in fake.scores}
    return figures.along_parameter(fake, "noise", values)


def test_all_methods_are_drawn_on_one_axis_with_the_scale_of_the_parameter() -> None:
    a, b = RNG.uniform(1, 2, 64), RNG.uniform(0.01, 0.02, 64)
    few = drawn(np.repeat([1.0, 2.0, 3.0, 4.0], 16), a=a, b=b)
    many = drawn(10 ** RNG.uniform(2, 5, 64), a=a)
    assert few is not None
    assert many is not None
    assert [axis.get_ylabel() for axis in few.axes] == ["nrms ↓", "psnr [dB] ↑"]
    assert [text.get_text() for text in few.axes[0].get_xticklabels()] == ["1", "2", "3", "4"]
    assert [axis.get_yscale() for axis in few.axes] == ["log", "linear"]  # errors differ by a factor of 100
    assert [text.get_text() for text in few.legends[0].get_texts()] == ["a", "b"]
    assert {axis.get_xscale() for axis in many.axes} == {"log"}
    assert many.axes[0].get_ylim()[0] == 0
    assert drawn(np.arange(7.0), a=a[:7]) is None  # a single point is no curve
    assert drawn(np.repeat([1.0, 2.0], 8), a=np.full(16, np.nan)) is None


def _lies_in(row: dict[str, float], region: dict[str, Any]) -> bool:
    values = {"height": row["height"], "edges": max(row["edges.0"], row["edges.1"])}
    return bool(region["low"] <= np.float32(values[region["parameter"]]) <= region["high"])
