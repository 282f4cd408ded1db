"""Where which method is best: regions hold what they say, and a lead is clear as often as it should be."""

import csv
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from inference import style
from inference.regions import LEAST, Region, regions
from inference.where import section, sentence
from schemas.core import find_task

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


def spans(found: list[Region], name: str = "noise") -> list[tuple[str, float, float, int]]:
    return [(r.spans[name].name, r.spans[name].low, r.spans[name].high, r.samples) for r in found]


def test_thirds_are_filled_equally_and_say_their_bounds() -> None:
    noise = RNG.permutation(np.arange(30.0))
    found = regions(result({"noise": noise}, a=RNG.random(30)))
    assert spans(found) == [("low", 0, 9, 10), ("middle", 10, 19, 10), ("high", 20, 29, 10)]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([1] * 12 + [2] * 8, [("low", 1, 1, 12), ("high", 2, 2, 8)]),
        ([1] * 7 + [2] * 6 + [3] * 7, [("low", 1, 1, 7), ("middle", 2, 2, 6), ("high", 3, 3, 7)]),
        ([1] * 20, []),
    ],
)
def test_equal_values_are_in_one_region(values: list[int], expected: list[tuple[str, float, float, int]]) -> None:
    assert spans(regions(result({"noise": np.array(values, np.float32)}, a=RNG.random(20)))) == expected


def test_of_several_values_the_largest_modulus_counts_and_columns_that_are_not_there_are_left_out() -> None:
    defocus = np.stack([-np.arange(30.0), np.zeros(30), np.arange(30.0) / 2], axis=1)
    found = regions(result({"defocus": defocus}, a=RNG.random(30)))
    assert spans(found, "defocus")[0] == ("low", 0, 9, 10)
    assert {name for region in found for name in region.spans} == {"defocus"}


def test_pairs_of_parameters_are_crossed_where_there_are_enough_samples() -> None:
    noise, size = np.tile(np.arange(3.0), 3 * LEAST), np.repeat(np.arange(3.0), 3 * LEAST)
    a = np.where((noise == 2) & (size == 0), 0.1, 0.4)
    b = np.full(len(a), 0.2)
    found = [r for r in regions(result({"noise": noise, "particle_half": size}, a=a, b=b)) if len(r.spans) == 2]
    assert sum(region.samples for region in found) == 9 * LEAST
    best = {tuple(span.name for span in region.spans.values()): region.best for region in found}
    assert [where for where, name in best.items() if name == "a"] == [("high", "low")]
    few = slice(0, 9 * LEAST - 1)
    assert len(regions(result({"noise": noise[few], "particle_half": size[few]}, a=a[few], b=b[few]))) == 6


def test_a_lead_between_equals_is_clear_in_one_of_twenty() -> None:
    """Few samples, whose difficulty both methods share."""
    clear = []
    for _ in range(1500):
        hard = RNG.uniform(1, 3, 12)
        a, b = hard + 0.1 * RNG.normal(size=(2, 12))
        clear += [r.lead.clear for r in regions(result({"noise": np.repeat([1.0, 2.0], 6)}, a=a, b=b)) if r.lead]
    assert np.mean(clear) == pytest.approx(0.05, abs=0.012)


def test_a_lead_is_measured_sample_by_sample() -> None:
    """What makes samples hard is many times the lead, and does not hide it."""
    hard = RNG.uniform(1, 3, 30)
    found = regions(result({"noise": np.arange(30.0)}, a=hard, b=hard + 0.02 + 0.005 * RNG.normal(size=30)))
    for region in found:
        assert region.lead is not None
        assert (region.best, region.lead.second, region.lead.clear) == ("a", "b", True)
        assert region.lead.mean == pytest.approx(0.02, abs=5 * region.lead.error)


def test_a_lead_needs_scores() -> None:
    """Predictions that are not finite have none: a method without LEAST of them has no mean."""
    broken = np.r_[np.full(10, np.nan), np.full(20, 0.1)]
    low, middle, _ = regions(result({"noise": np.arange(30.0)}, a=np.full(30, 0.2), b=broken))
    assert (low.best, low.lead) == ("a", None)
    assert low.means == {"a": pytest.approx(0.2)}
    assert middle.best == "b"
    same = regions(result({"noise": np.arange(30.0)}, a=np.full(30, 0.2), b=np.full(30, 0.2)))
    assert [region.lead and region.lead.clear for region in same] == [False] * 3


def test_words_name_the_winners() -> None:
    defocus = np.arange(1.0, 31.0)
    a = np.where(defocus <= 10, 0.1, 0.3) + 0.01 * RNG.normal(size=30)
    parts = result({"defocus": defocus[:, None]}, a=a, b=np.full(30, 0.2))
    assert sentence(parts, regions(parts)) == (
        "By largest |defocus|, least mean error: a at low values (1 to 10 nm); b at middle and high values "
        "(11 to 30 nm)."
    )
    alike = result({"defocus": defocus[:, None]}, a=np.tile([0.1, 0.2], 15), b=np.tile([0.2, 0.1], 15) + 1e-9)
    assert "no clear winner (a or b) throughout" in sentence(alike, regions(alike))
    unknown = result({"defocus": defocus[:, None]}, a=np.where(defocus <= 10, np.nan, 0.1))
    assert "too few scores at low values (1 to 10 nm); a at middle" in sentence(unknown, regions(unknown))


def test_one_method_has_means_and_no_winner() -> None:
    text = section(result({"noise": np.arange(30.0)}, alone=np.arange(30.0)))
    assert "4.5" in text
    assert not [said for said in ("least mean error", "lead", "best") if said in text]
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
    assert [[*one["where"]] for one in found] == [["height"]] * 3 + [["edges"]] * 3 + [["edges", "height"]] * 9
    for one in found:
        inside = [row for row in rows if _lies_in(row, one["where"])]
        assert len(inside) == one["samples"]
        for name, mean in one["nrms_aligned"].items():
            assert mean == pytest.approx(np.nanmean([row[f"{name}.nrms_aligned"] for row in inside]), rel=1e-9)
        if one["best"]:
            assert one["nrms_aligned"][one["best"]] == min(one["nrms_aligned"].values())
    text = (Path("report") / "report.html").read_text()
    assert "Where which method is best" in text
    assert "By height, least mean error" in text


def _lies_in(row: dict[str, float], where: dict[str, Any]) -> bool:
    values = {"height": row["height"], "edges": max(row["edges.0"], row["edges.1"])}
    return all(span["low"] <= np.float32(values[name]) <= span["high"] for name, span in where.items())
