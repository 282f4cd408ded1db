"""Which method is best where: regions hold what they say."""

import csv
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from inference.report.document import by_region
from inference.report.errors_by_parameter import regions
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


def _lies_in(row: dict[str, float], region: dict[str, Any]) -> bool:
    values = {"height": row["height"], "edges": max(row["edges.0"], row["edges.1"])}
    return bool(region["low"] <= np.float32(values[region["parameter"]]) <= region["high"])
