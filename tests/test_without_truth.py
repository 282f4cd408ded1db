"""`infer --halves` and `evaluate --no-truth`: the errors of halves agree with those against the truth."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
import zarr

from generators.cli import main as generate_main
from inference.cli import infer as infer_main
from inference.invert.split_reader import open_source
from inference.report import style
from inference.report.intervals import bootstrap_interval, bootstrap_means
from physics.unbiased_error import squared_error_of_counts
from schemas.predictions import read_predictions

from .conftest import TOY_TASK, Command, done, refused, values
from .shared import Made

COUNTS = ("--task", "toy_counts", "--scheduler", "synchronous")
WIDTHS = ("0", "0.3", "0.5", "0.7", "6")


@pytest.fixture(scope="module")
def series(made_once: Made) -> Path:
    """Return a dataset with many pixels, and predictions of five methods from both halves."""

    def make(folder: Path) -> None:
        large = ("--set", "size=80", "views=2", "noise=0.13:0.22", "background=0.3")
        done(generate_main, *COUNTS, "--n", 1, "--validation", 0, "--test", 16, *large, "--out", folder / "a.zarr")
        for width in WIDTHS:
            told = (
                "--method",
                "smooth",
                "--set",
                f"width={width}",
                "--name",
                f"w{width}",
                "--out",
                folder / f"w{width}",
            )
            done(infer_main, "--data", folder / "a.zarr", "--halves", *told)

    return made_once("counted", make)


@pytest.fixture
def small(generate: Command, infer: Command, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a small dataset, with predictions from its halves at a-half-0.zarr and a-half-1.zarr."""
    monkeypatch.setattr(style, "DPI", 30)
    generate(*COUNTS, "--n", 2, "--test", 3)
    assert infer(*SMOOTH, "--halves", "--out", "a.zarr")[::2] == (0, "")
    return Path("toy_counts.zarr")


SMOOTH = ("--data", "toy_counts.zarr", "--method", "smooth", "--set", "width=1")
SCORED = ("--data", "toy_counts.zarr", "--no-truth", "--predictions", "a-half-0.zarr", "a-half-1.zarr")


def stores(series: Path, *names: str) -> list[Path]:
    return [series / f"{name}-half-{half}.zarr" for name in names for half in (0, 1)]


def metrics(folder: str = "report") -> dict[str, Any]:
    found: dict[str, Any] = json.loads((Path(folder) / "metrics.json").read_text())
    return found


@pytest.fixture
def without_page(monkeypatch: pytest.MonkeyPatch) -> None:
    from inference.without_truth import documents

    monkeypatch.setattr(documents, "page", lambda found: "")


def test_errors_without_truth_agree_with_those_against_it(series: Path, evaluate: Command, without_page: None) -> None:
    """upsnr within 0.1 dB of psnr, the true error inside the interval, and the same order of five methods."""
    names = [f"w{width}" for width in WIDTHS]
    code, out, err = evaluate(
        "--data", series / "a.zarr", "--no-truth", "--data-range", 1.5, "--predictions", *stores(series, *names)
    )
    assert (code, err) == (0, "")
    assert "at half the dose" in out
    found = {name: metrics()["methods"][name]["metrics"] for name in names}
    for name, one in found.items():
        assert abs(one["upsnr"]["mean"] - one["psnr"]["mean"]) < 0.1, name
        assert one["umse"]["low"] < one["mse"]["mean"] < one["umse"]["high"], name
        assert one["upsnr"]["low"] < one["upsnr"]["mean"] < one["upsnr"]["high"]
        assert one["upsnr"]["mean"] == pytest.approx(10 * np.log10(1.5**2 / one["umse"]["mean"]))
    order = [sorted(names, key=lambda name: found[name][key]["mean"]) for key in ("umse", "mse")]
    assert order[0] == order[1]
    best = order[0][0]
    assert metrics()["best"] == best
    for name in (name for name in names if name != best):
        above = found[name]["umse_above_best"]
        assert 0 < above["low"] < found[name]["mse"]["mean"] - found[best]["mse"]["mean"] < above["high"]
        apart = [found[one]["umse"]["high"] - found[one]["umse"]["low"] for one in (name, best)]
        assert above["high"] - above["low"] < np.hypot(*apart)
    assert metrics()["measurement"]["umse"]["mean"] == pytest.approx(found["w0"]["umse"]["mean"], rel=1e-5)


def test_scores_are_those_of_the_arrays(small: Path, evaluate: Command) -> None:
    """Each half against the other, mean of both directions; per slice in the table."""
    assert evaluate(*SCORED)[::2] == (0, "")
    halves = [
        {
            name: array.transpose(0, 2, 1, 3) if array.ndim == 4 else array[:, :, None, None]
            for name, array in read.items()
        }
        for half in (0, 1)
        for read in [_half(small, half)]
    ]
    predicted = [
        xr.open_zarr(f"a-half-{half}.zarr").clean.values.astype(float).transpose(0, 2, 1, 3) for half in (0, 1)
    ]
    errors = sum(
        squared_error_of_counts(predicted[i], halves[1 - i]["noisy"].astype(float), halves[1 - i]["electrons"])
        for i in (0, 1)
    )
    expected = (errors / 2).mean(axis=(2, 3)).ravel()
    with (Path("report") / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["sample"], row["slice"]) for row in rows] == [(str(i // 3), str(i % 3)) for i in range(9)]
    np.testing.assert_allclose([float(row["smooth.umse"]) for row in rows], expected, rtol=1e-9)
    assert all(float(row["smooth.umse_low"]) < float(row["smooth.umse_high"]) for row in rows)
    assert metrics()["methods"]["smooth"]["metrics"]["umse"]["mean"] == pytest.approx(expected.mean())
    assert metrics()["dose_share"] == 0.5
    page = (Path("report") / "report.html").read_text()
    assert "at half the dose" in page
    assert "<img" in page


def _half(path: Path, half: Any) -> dict[str, np.ndarray]:
    from dataclasses import replace

    return replace(open_source(path, "test"), half=half).read(["noisy", "electrons"], 0, 3)


def test_the_same_command_makes_the_same_halves(small: Path, infer: Command) -> None:
    before = values("a-half-0.zarr")
    assert "0 made now" in infer(*SMOOTH, "--halves", "--out", "a.zarr")[1]
    infer(*SMOOTH, "--halves", "--out", "b.zarr", "--batch-size", 1)
    assert values("b-half-0.zarr") == before != values("b-half-1.zarr")
    assert [read_predictions(Path(f"b-half-{half}.zarr")).half for half in (0, 1)] == [0, 1]
    refused(infer(*SMOOTH, "--out", "a-half-0.zarr"), "half is 0, asked None")


def test_methods_are_tuned_on_halves(generate: Command, infer: Command) -> None:
    """At half the dose, the best blur is wider."""
    generate(*COUNTS, "--n", 2, "--validation", 8, "--test", 1, "--set", "noise=0.16")
    for name, option in (("whole", ()), ("halves", ("--halves",))):
        infer("--data", "toy_counts.zarr", "--method", "smooth", "--out", f"{name}.zarr", *option)
    whole, half = (read_predictions(Path(name)).tuning for name in ("whole.zarr", "halves-half-0.zarr"))
    assert whole is not None
    assert half is not None
    assert half.nrms > 1.1 * whole.nrms


def test_what_has_no_counts_is_refused(generate: Command, infer: Command) -> None:
    generate(*TOY_TASK, "--n", 2, "--test", 1)
    told = infer("--data", "toy.zarr", "--method", "identity", "--halves")
    refused(told, "--halves: no input of task toy", "leave it out", "aet, denoise, toy_counts")
    generate(*COUNTS, "--n", 2, "--test", 1, "--set", "noise=0")
    refused(infer(*SMOOTH, "--halves"), "electrons = 0 in sample 0, view 0", "must be above 0")
    assert not list(Path().glob("predictions*"))
    refused(infer(*SMOOTH, "--halves", "--stitch", "s.zarr"), "--stitch s.zarr", "--halves")


def test_values_that_are_no_counts_are_refused(small: Path, infer: Command) -> None:
    stored: Any = zarr.open_group(small, mode="r+")["test/noisy"]
    stored[:] = np.full(stored.shape, 0.123, np.float32)
    refused(infer(*SMOOTH, "--halves", "--out", "c.zarr"), "noisy times electrons = ", "must be whole counts")


def test_stores_that_are_no_halves_of_one_are_refused(small: Path, infer: Command, evaluate: Command) -> None:
    infer(*SMOOTH, "--out", "whole.zarr")
    infer("--data", "toy_counts.zarr", "--method", "smooth", "--set", "width=2", "--halves", "--out", "b.zarr")
    told = ("--data", "toy_counts.zarr", "--no-truth", "--predictions")
    refused(evaluate(*told, "whole.zarr"), "whole.zarr: was predicted from all counts", "infer --halves")
    refused(evaluate(*told, "a-half-1.zarr"), "a-half-1.zarr: holds half 1 of smooth; give half 0")
    refused(evaluate(*told, "a-half-0.zarr", "b-half-0.zarr"), "are halves 0, 0 of smooth, must be 0 and 1")
    refused(evaluate(*told, "a-half-0.zarr", "b-half-1.zarr"), "differ in settings", "one command")
    refused(evaluate(*told, "measurement=a-half-0.zarr"), "measurement names the half itself", "LABEL=STORE")
    refused(evaluate(*SCORED[:2], "--predictions", "a-half-0.zarr"), "from half of the counts", "--no-truth")
    refused(evaluate(*SCORED, "--data-range", 0), "0: must be a number above 0")
    refused(evaluate(*SCORED, "--split", "train,test"), "--split train,test", "one split")


def test_a_sum_of_targets_needs_all_of_them(
    generate: Command, infer: Command, evaluate: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    generate(*COUNTS, "--n", 2, "--test", 3, "--set", "background=0.5")
    infer(*SMOOTH, "--halves", "--out", "a.zarr")
    for half in (0, 1):
        root = Path(f"a-half-{half}.zarr/zarr.json")
        content = json.loads(root.read_text())
        known = content["attributes"]["drybeam_predictions"]
        known["task"]["fields"] = [one for one in known["task"]["fields"] if one["name"] != "background"]
        known["chunks"].pop("background")
        root.write_text(json.dumps(content))
    refused(evaluate(*SCORED), "lacks predictions of background", "noisy counts clean + background")


def test_a_report_against_the_truth_is_not_lost(
    small: Path, infer: Command, evaluate: Command, without_report: None, without_page: None
) -> None:
    infer(*SMOOTH, "--out", "whole.zarr")
    whole = (*SCORED[:2], "--predictions", "whole.zarr")
    assert evaluate(*whole)[0] == 0
    refused(evaluate(*SCORED), "report: holds the report of smooth")
    assert evaluate(*SCORED, "--overwrite")[0] == 0
    refused(evaluate(*whole), "report: holds the report of smooth")
    assert evaluate(*SCORED)[0] == 0


def test_intervals_hold_the_mean_as_often_as_they_say() -> None:
    """Intervals hold the mean in 95 % of 200 measurements of 64 blocks: within five standard errors."""
    rng = np.random.default_rng(0)
    sizes = rng.integers(2, 30, 64)[:, None].astype(float)
    sums = sizes * (1.5 + rng.standard_normal((64, 200)) / np.sqrt(sizes))
    low, high = bootstrap_interval(bootstrap_means(sums, sizes, rng, repeats=400))
    held = ((low < 1.5) & (high > 1.5)).mean()
    assert abs(held - 0.95) < 5 * np.sqrt(0.05 * 0.95 / 200)


def test_columns_share_the_units_that_are_drawn() -> None:
    rng = np.random.default_rng(0)
    sums = rng.standard_normal((20, 1)) + np.array([[0.0, 2.0]])
    means = bootstrap_means(sums, np.ones((20, 1)), rng, repeats=50)
    np.testing.assert_allclose(means[:, 1] - means[:, 0], 2.0)
    assert np.isnan(bootstrap_means(sums, np.zeros((20, 1)), rng, repeats=2)).all()
