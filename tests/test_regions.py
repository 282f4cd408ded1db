"""Where which method is best: regions hold what they say, and a lead is clear as often as it should be."""

import csv
import json
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from inference.report import style
from inference.report.regions import Region, regions
from inference.report.where import section
from schemas.task import find_task

from .conftest import TOY_TASK, Command

RNG = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def _small_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(style, "DPI", 30)


def result(parameters: dict[str, np.ndarray], **scores: np.ndarray) -> Any:
    """Of scores (nrms) by method, and the parameters of the tie report that the dataset has."""
    runs = tuple(SimpleNamespace(name=name, predictions=SimpleNamespace(kind="classical")) for name in scores)
    return SimpleNamespace(
        rank="nrms",
        published=None,
        task=find_task("tie"),
        report=SimpleNamespace(parameters=("noise", "defocus", "particle_half")),
        parameters=parameters,
        runs=runs,
        methods=runs,
        scores={name: {"nrms": values} for name, values in scores.items()},
        source=SimpleNamespace(samples=len(next(iter(scores.values())))),
    )


def spans(found: list[Region], name: str = "noise") -> list[tuple[float, float, int]]:
    return [(region.low, region.high, region.samples) for region in found if region.parameter == name]


def test_thirds_are_filled_equally_and_say_their_bounds() -> None:
    noise = RNG.permutation(np.arange(30.0))
    found = regions(result({"noise": noise}, a=RNG.random(30)))
    assert spans(found) == [(0, 9, 10), (10, 19, 10), (20, 29, 10)]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([1] * 12 + [2] * 8, [(1, 1, 12), (2, 2, 8)]),
        ([1] * 7 + [2] * 6 + [3] * 7, [(1, 1, 7), (2, 2, 6), (3, 3, 7)]),
        ([1] * 20, []),
    ],
)
def test_equal_values_are_in_one_region(values: list[int], expected: list[tuple[float, float, int]]) -> None:
    assert spans(regions(result({"noise": np.array(values, np.float32)}, a=RNG.random(20)))) == expected


def test_of_several_values_the_largest_modulus_counts_and_columns_that_are_not_there_are_left_out() -> None:
    defocus = np.stack([-np.arange(30.0), np.zeros(30), np.arange(30.0) / 2], axis=1)
    found = regions(result({"defocus": defocus}, a=RNG.random(30)))
    assert spans(found, "defocus")[0] == (0, 9, 10)
    assert {region.parameter for region in found} == {"defocus"}


def test_a_lead_between_equals_is_clear_in_one_of_twenty() -> None:
    """Few samples, whose difficulty both methods share."""
    clear = []
    for _ in range(1500):
        hard = RNG.uniform(1, 3, 12)
        a, b = hard + 0.1 * RNG.normal(size=(2, 12))
        clear += [region.clear for region in regions(result({"noise": np.repeat([1.0, 2.0], 6)}, a=a, b=b))]
    assert np.mean(clear) == pytest.approx(0.05, abs=0.012)


def test_a_lead_is_measured_sample_by_sample() -> None:
    """What makes samples hard is many times the lead, and does not hide it."""
    hard = RNG.uniform(1, 3, 30)
    found = regions(result({"noise": np.arange(30.0)}, a=hard, b=hard + 0.02 + 0.005 * RNG.normal(size=30)))
    assert [(region.best, region.clear) for region in found] == [("a", True)] * 3
    assert found[0].means["b"] - found[0].means["a"] == pytest.approx(0.02, abs=0.01)


def test_a_lead_needs_scores() -> None:
    """Predictions that are not finite have none: a method without LEAST of them has no mean."""
    broken = np.r_[np.full(10, np.nan), np.full(20, 0.1)]
    low, middle, _ = regions(result({"noise": np.arange(30.0)}, a=np.full(30, 0.2), b=broken))
    assert (low.best, low.clear) == ("a", False)
    assert low.means == {"a": pytest.approx(0.2)}
    assert middle.best == "b"
    same = regions(result({"noise": np.arange(30.0)}, a=np.full(30, 0.2), b=np.full(30, 0.2)))
    assert [region.clear for region in same] == [False] * 3


def test_the_table_names_the_best_where_it_is_clear() -> None:
    defocus = np.arange(1.0, 31.0)
    a = np.where(defocus <= 10, 0.1, 0.3) + 0.01 * RNG.normal(size=30)
    a[-10:] = np.tile([0.1, 0.3], 5)
    text = section(result({"defocus": 1000 * defocus[:, None]}, a=a, b=np.full(30, 0.2)))
    rows = [re.findall(r"<td[^>]*>([^<]*)</td>", row) for row in text.split("<tr>")[2:]]
    assert [row[:4] for row in rows] == [
        ["largest |defocus| [nm]", low, high, "10"]
        for low, high in (("1000", "10000"), ("11000", "20000"), ("21000", "30000"))
    ]
    assert [row[-1] for row in rows] == ["a", "b", "no clear difference"]
    unknown = result({"defocus": defocus[:, None]}, a=np.where(defocus <= 10, np.nan, 0.1))
    assert section(unknown).count("undefined") == 1


def test_one_method_has_means_and_no_winner() -> None:
    text = section(result({"noise": np.arange(30.0)}, alone=np.arange(30.0)))
    assert "4.5" in text
    assert "least mean error" not in text
    assert section(result({"noise": np.ones(30)}, a=np.ones(30))) == ""
    assert section(result({"noise": np.arange(30.0)}, a=np.full(30, np.nan))) == ""


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
    assert "Where which method is best" in text
    for one in found:
        inside = [row for row in rows if _lies_in(row, one)]
        assert len(inside) == one["samples"]
        for name, mean in one["means"].items():
            assert mean == pytest.approx(np.nanmean([row[f"{name}.nrms_aligned"] for row in inside]), rel=1e-9)
        if one["best"]:
            assert one["means"][one["best"]] == min(one["means"].values())
        assert f">{one['samples']}<" in text
        assert all(f"{mean:.4g}" in text for mean in one["means"].values())


def _lies_in(row: dict[str, float], region: dict[str, Any]) -> bool:
    values = {"height": row["height"], "edges": max(row["edges.0"], row["edges.1"])}
    return bool(region["low"] <= np.float32(values[region["parameter"]]) <= region["high"])
