"""`evaluate`: the numbers are those of the arrays, the report is one page that needs nothing and runs nothing."""

import csv
import json
import re
import shutil
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
import zarr

from inference.report import document, evaluation, style, tables
from inference.report.evaluation import Evaluation, Result
from inference.stitching.comparison import SCAN_SCORES
from inference.task_modules import find_inference, find_stitch, inference_names
from physics.ring_correlation import ring_correlation
from schemas.manifest import read_manifest
from schemas.scores import score
from schemas.slices import fold, slices_per_sample
from schemas.target_kinds import target_kind
from schemas.task import Task, find_task

from .conftest import TOY_TASK, Command, files, refused, unsigned
from .test_methods import PACKAGES, SMALLER, TOGETHER

HOSTILE = "<script>alert('1')</script> $\\frac{_x\" & http://evil"


@pytest.fixture(autouse=True)
def _small_pictures(monkeypatch: pytest.MonkeyPatch, brief_report: None) -> None:
    monkeypatch.setattr(style, "DPI", 30)


@pytest.fixture
def toy(generate: Command, infer: Command) -> list[str]:
    """20 test samples, and two stores of predictions."""
    generate(*TOY_TASK, "--n", 20, "--test", 20, "--shard-samples", 8)
    infer("--method", "wiener", "--data", "toy.zarr", "--out", "a.zarr")
    infer("--method", "identity", "--data", "toy.zarr", "--out", "b.zarr")
    return ["--data", "toy.zarr", "--predictions", "a.zarr", "b.zarr", "--out", "report"]


def result_of(data: str, *stores: str) -> Result:
    return evaluation.evaluate(Path(data), [(None, Path(store)) for store in stores], None).main


def metrics(folder: str = "report") -> dict[str, Any]:
    found: dict[str, Any] = json.loads((Path(folder) / "metrics.json").read_text())
    return found


def page(folder: str = "report") -> str:
    return (Path(folder) / "report.html").read_text()


def network(store: str, name: str) -> None:
    """Let predictions be those of a network."""
    root = Path(store) / "zarr.json"
    content = json.loads(root.read_text())
    weights = {"sha256": "ab", "parameters": 10, "trained_on": "00", "family": "", "samples": 20}
    history = [{"epoch": epoch, "train/loss": 1 / epoch, "validation/loss": 2 / epoch} for epoch in (1, 2, 3)]
    content["attributes"]["drybeam_predictions"] |= {
        "kind": "network",
        "name": name,
        "weights": weights,
        "history": history,
    }
    root.write_text(json.dumps(content))


def pooled_keys(task: Task) -> set[str]:
    """Keys of the scores over the values of all samples together."""
    fields = [field for field in task.of("target") if field.classes]
    names = {"pooled.accuracy", "pooled.mcc"} if fields else set()
    for field in fields:
        labels = [field.classes[i] for i in field.counted]
        names |= {f"{label}.{score}" for label in labels for score in ("iou", "dice", "precision", "recall")}
    return names


def _installed_methods(task: str) -> list[str]:
    """Return the methods of a task, without those of packages that are not installed."""
    methods = find_inference(task).METHODS
    return [name for name in methods if find_spec(PACKAGES.get((task, name), "numpy"))]


@pytest.mark.parametrize("task", inference_names())
def test_numbers_are_those_of_the_arrays(
    generate: Command, infer: Command, evaluate: Command, task: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of all methods; the report is drawn for two of them, which takes less time."""
    samples = TOGETHER.get(task, ("--n", 4, "--test", 6, *SMALLER.get(task, ())))
    generate("--task", task, *samples, "--shard-samples", 4, "--scheduler", "synchronous")
    names, measures = _installed_methods(task), find_inference(task).REPORT.measures
    for name in names:
        infer("--method", name, "--data", f"{task}.zarr", "--out", f"p-{name}.zarr")
    stores = [f"p-{name}.zarr" for name in names]
    two = evaluate("--data", f"{task}.zarr", "--predictions", *stores[-2:], "--out", "two")
    assert (two[0], two[2]) == (0, "")
    assert names[-1] in page("two")
    monkeypatch.setattr(document, "page", lambda found: "")
    code, out, err = evaluate("--data", f"{task}.zarr", "--predictions", *stores, "--out", "report")
    assert (code, err) == (0, "")
    assert all(name in out for name in names)
    truth = xr.open_zarr(f"{task}.zarr/test").load()
    known, window = read_manifest(Path(f"{task}.zarr")).task, find_task(task).window
    with (Path("report") / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    slices = slices_per_sample(known, dict(truth.sizes))
    assert [row["sample"] for row in rows] == [str(i // slices) for i in range(6 * slices)]
    for name in names:
        opened = xr.open_zarr(f"p-{name}.zarr").load()
        predicted, exact = (
            {field.name: store[field.name].values for field in known.of("target")} for store in (opened, truth)
        )
        guess, fact = (fold(known, values, 6) for values in (predicted, exact))
        expected = dict(score(known.sliced, guess, fact, truth[window].values if window else None))
        if measures:
            needed = {n: truth[n].values for n in measures.needs if n in truth}
            expected |= measures.compute(fold(known, exact | needed, 6), guess)
        found = metrics()["methods"][name]
        assert found["kind"] == "classical"
        assert found["samples"] == 6
        scans = SCAN_SCORES.keys() if find_stitch(task) else set()
        assert found["metrics"].keys() == expected.keys() | scans | pooled_keys(known)
        for metric, values in expected.items():
            finite = values[np.isfinite(values)]
            assert found["metrics"][metric]["n"] == len(finite)
            if len(finite):
                assert found["metrics"][metric]["mean"] == pytest.approx(finite.mean(), rel=1e-12)
                assert found["metrics"][metric]["std"] == pytest.approx(finite.std(), rel=1e-9, abs=1e-12)
            else:
                assert found["metrics"][metric]["mean"] is None
            column = np.array([float(row[f"{name}.{metric}"]) for row in rows])
            np.testing.assert_array_equal(column, values)
    for field in known.sliced.of("parameter"):
        assert (field.name in rows[0]) == (field.dims == ("sample",) and field.name in truth)
        if field.name in rows[0]:
            read = np.array([row[field.name] for row in rows]).astype(field.dtype)
            stored = fold(known, {f.name: truth[f.name].values for f in known.fields if f.name in truth}, 6)
            np.testing.assert_array_equal(read, stored[field.name])


@pytest.mark.usefixtures("without_report")
def test_metrics_name_what_was_scored(toy: list[str], evaluate: Command) -> None:
    before = {store: files(store) for store in ("toy.zarr", "a.zarr", "b.zarr")}
    evaluate(*toy)
    assert {store: files(store) for store in before} == before
    found = metrics()
    root = json.loads(Path("toy.zarr/zarr.json").read_text())["attributes"]["drybeam"]
    assert (found["task"], found["split"], found["samples"]) == ("toy", "test", 20)
    assert found["dataset_digest"] == root["root_digest"]
    assert set(found["methods"]) == {"wiener", "identity"}
    assert found["methods"]["wiener"]["settings"].keys() == {"noise"}
    assert found["methods"]["wiener"]["seconds_per_sample"] > 0
    text = (Path("report") / "metrics.json").read_text()
    assert text == json.dumps(found, indent=2, sort_keys=True) + "\n"


def test_scores_depend_on_neither_units_nor_blocks(
    toy: list[str], generate: Command, infer: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = result_of("toy.zarr", "a.zarr")
    generate(*TOY_TASK, "--n", 20, "--test", 20, "--shard-samples", 5, "--out", "other.zarr")
    infer("--method", "wiener", "--data", "other.zarr", "--out", "c.zarr", "--batch-size", 3)
    monkeypatch.setattr(evaluation, "BLOCK_SAMPLES", 3)
    second = result_of("other.zarr", "c.zarr")
    assert [*tables.csv_rows(Evaluation((first,)))] == [*tables.csv_rows(Evaluation((second,)))]
    assert first.summaries == second.summaries


@pytest.mark.usefixtures("without_report")
def test_predictions_that_do_not_belong_here_are_refused(
    toy: list[str], generate: Command, infer: Command, evaluate: Command
) -> None:
    generate(*TOY_TASK, "--n", 20, "--test", 20, "--seed", 1, "--out", "other.zarr")
    infer("--method", "identity", "--data", "other.zarr", "--out", "c.zarr")
    infer("--method", "identity", "--data", "toy.zarr", "--out", "t.zarr", "--split", "train")
    refused(evaluate(*toy, "--predictions", "c.zarr"), "c.zarr: holds predictions of another dataset")
    refused(evaluate(*toy, "--predictions", "t.zarr"), "t.zarr: holds predictions of split train, not test")
    refused(evaluate(*toy, "--split", "train"), "a.zarr: holds predictions of split test, not train")
    shutil.copytree("a.zarr", "e.zarr")
    refused(evaluate(*toy, "--predictions", "e.zarr"), "all are named wiener", "LABEL=STORE")
    refused(evaluate(*toy, "--predictions", "none.zarr"), "no predictions here")
    refused(evaluate(*toy, "--predictions", "toy.zarr"), "no predictions here")
    Path("b.zarr/line/c/1/0").unlink()
    _, out, err = evaluate(*toy)
    assert out == ""
    assert "b.zarr: samples" in err
    root = Path("b.zarr/zarr.json")
    root.write_text(root.read_text().replace('"status": "complete"', '"status": "incomplete"'))
    refused(evaluate(*toy), "b.zarr: incomplete; run the same `infer`")
    assert not Path("report").exists()


def test_the_report_needs_nothing_and_runs_nothing(toy: list[str], infer: Command, evaluate: Command) -> None:
    """Names, units, recipe and history are a stranger's: they are text. All images are in the page."""
    infer("--method", "wiener", "--data", "toy.zarr", "--out", "c.zarr", "--name", "x", "--set", "noise=0.2")
    root = Path("c.zarr/zarr.json")
    root.write_text(root.read_text().replace('"name": "x"', f'"name": {json.dumps(HOSTILE)}'))
    network("b.zarr", "_" + HOSTILE)
    code, _, err = evaluate(*toy, "--predictions", "c.zarr")
    assert (code, err) == (0, "")
    text = page()
    assert "<script" not in text
    assert "&lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt; $\\frac{_x&#34; &amp; http://evil" in text
    assert not re.findall(r"<(link|iframe|object|script|base|form)", text)
    addresses = re.findall(r'src="([^"]{0,40})', text)
    assert not re.findall(r"href|url|@import|srcset", re.sub(r'src="[^"]*"', "", text))
    assert len(addresses) >= 6
    assert all(address.startswith("data:image/png;base64,") for address in addresses)
    assert 'name="viewport"' in text


def test_what_the_report_shows(toy: list[str], evaluate: Command) -> None:
    network("a.zarr", "my-net")
    evaluate(*toy)
    text = page()
    for said in (
        "my-net",
        "identity",
        "nrms_aligned / identity",
        "Learning curves",
        "Worst samples",
        "Fourier ring",
        "seed 0",
    ):
        assert said in text, said
    plain = re.sub(r'src="[^"]*"', "", text)
    root = json.loads(Path("toy.zarr/zarr.json").read_text())["attributes"]["drybeam"]
    for said in (
        root["root_digest"],
        "pixels of a line",
        "trained on 20 samples",
        "s per sample",
    ):
        assert said in plain, said


def test_a_single_method_and_a_single_sample_have_a_report(
    generate: Command, infer: Command, evaluate: Command
) -> None:
    generate(*TOY_TASK, "--n", 1, "--test", 1)
    infer("--method", "identity", "--data", "toy.zarr", "--out", "a.zarr")
    code, _, err = evaluate("--data", "toy.zarr", "--predictions", "a.zarr", "--out", "report")
    assert (code, err) == (0, "")
    assert "Scores" in page()


def test_exact_and_broken_predictions_have_a_report(toy: list[str], evaluate: Command) -> None:
    """No error at all, no finite value at all: the numbers say so, and no plot fails."""
    zarr.open_array("a.zarr/line", mode="r+")[...] = xr.open_zarr("toy.zarr/test").line.values
    zarr.open_array("b.zarr/line", mode="r+", config={"write_empty_chunks": True})[...] = np.nan
    unsigned("a.zarr")
    unsigned("b.zarr")
    code, _, err = evaluate(*toy)
    assert (code, err) == (0, "")
    assert metrics()["methods"]["wiener"]["metrics"]["nrms"]["mean"] == 0
    assert metrics()["methods"]["identity"]["metrics"]["nrms"] == {"mean": None, "std": None, "n": 0, "unit": "1"}


def test_curves_are_means_of_ring_correlations(toy: list[str]) -> None:
    result = result_of("toy.zarr", "a.zarr", "b.zarr")
    truth = xr.open_zarr("toy.zarr/test").line.values
    frequency, rows = ring_correlation(xr.open_zarr("a.zarr").line.values, truth)
    np.testing.assert_array_equal(result.frequency, frequency)
    np.testing.assert_allclose(result.correlation["wiener"], np.nanmean(rows, axis=0), rtol=1e-12)


def test_samples_are_shown_in_the_ambiguities_of_the_truth(generate: Command, infer: Command) -> None:
    generate("--task", "tie", "--n", 2, "--test", 3, "--scheduler", "synchronous", "--set", "image_size=32")
    infer("--method", "absorption", "--data", "tie.zarr", "--out", "a.zarr")
    result = result_of("tie.zarr", "a.zarr")
    values, predicted = result.sample(2)
    assert values["intensity"].shape == (1, 3, 32, 32)
    assert abs((predicted["absorption"]["phase"] - values["phase"]).mean()) < 1e-5


def test_the_aligned_error_leads_and_the_published_one_stands_beside_it(
    generate: Command, infer: Command, evaluate: Command
) -> None:
    """A method that is wrong by a constant alone is the best: no measurement reveals it."""
    generate("--task", "tie", "--n", 1, "--test", 15, "--scheduler", "synchronous", "--set", "image_size=32")
    stored = xr.open_zarr("tie.zarr/test").load()
    exact, window = stored.phase.values, stored.window.values
    noise = np.random.default_rng(0).standard_normal(exact.shape).astype(np.float32)
    for name, values in {"moved": exact + (3 + 0.01 * noise) * window, "noisy": exact + 0.1 * noise * window}.items():
        infer(
            "--method", "absorption", "--set", "ratio=9", "--data", "tie.zarr", "--out", f"{name}.zarr", "--name", name
        )
        zarr.open_array(f"{name}.zarr/phase", mode="r+")[...] = values
        unsigned(f"{name}.zarr")
    network("noisy.zarr", "noisy")
    assert evaluate("--data", "tie.zarr", "--predictions", "noisy.zarr", "moved.zarr")[0] == 0
    means = {name: one["metrics"] for name, one in metrics()["methods"].items()}
    assert means["moved"]["nrms"]["mean"] > 5 * means["noisy"]["nrms"]["mean"]
    text = re.sub(r'src="[^"]*"', "", page())
    shares = [means["noisy"][key]["mean"] / means["moved"][key]["mean"] for key in ("nrms_aligned", "nrms")]
    assert f"The mean error (nrms_aligned) of noisy is {shares[0]:.3g} " in text
    assert shares[0] > 5
    said = f"the mean error (nrms) of noisy is {shares[1]:.3g} ± "
    assert re.search(rf"{re.escape(said)}\S+ times that of moved\.", text)
    assert text.index("nrms_aligned ↓") < text.index("nrms ↓")
    zero = score(find_task("tie"), {"phase": 0 * exact}, {"phase": exact}, window)["nrms_aligned"].mean()
    assert f"has nrms = 1 and nrms_aligned = {zero:.3g}." in text
    assert "no method does better" not in text
    found = metrics()["regions"]
    assert all(one["means"]["moved"] < one["means"]["noisy"] for one in found)
    assert all(f"{one['means']['moved']:.4g}" in text for one in found)


def test_what_is_no_better_than_nothing_is_told_after_alignment(
    generate: Command, infer: Command, evaluate: Command
) -> None:
    """A constant phase is as good as none, whatever it makes of the score as published."""
    generate("--task", "tie", "--n", 1, "--test", 3, "--scheduler", "synchronous", "--set", "image_size=32")
    stored = xr.open_zarr("tie.zarr/test").load()
    infer("--method", "absorption", "--set", "ratio=9", "--data", "tie.zarr", "--out", "flat.zarr")
    exact, window = stored.phase.values, stored.window.values
    means = (exact * window).sum((1, 2), keepdims=True) / (window**2).sum()
    zarr.open_array("flat.zarr/phase", mode="r+")[...] = means * window
    unsigned("flat.zarr")
    assert evaluate("--data", "tie.zarr", "--predictions", "flat.zarr")[0] == 0
    assert metrics()["methods"]["absorption"]["metrics"]["nrms"]["mean"] < 0.95
    assert "no method does better than a prediction of 0 everywhere" in page()


@pytest.mark.parametrize("task", inference_names())
def test_every_task_ranks_without_what_no_measurement_reveals(task: str) -> None:
    report = find_inference(task).REPORT
    by_kind = {"images": "nrms_aligned", "classes": "jaccard_distance"}[
        target_kind(find_task(task), find_task(task).of("target")[0])
    ]
    assert report.ranking_score(find_task(task)) == ((report.measures and report.measures.rank) or by_kind)


def test_where_all_is_revealed_nothing_stands_beside(toy: list[str], evaluate: Command) -> None:
    evaluate(*toy)
    assert "As published" not in page()
    for found in metrics()["methods"].values():
        assert found["metrics"]["nrms"] == found["metrics"]["nrms_aligned"]


EXPECTED = {
    "holds": [{"method": "smooth", "metric": "nrms", "at_most": 1.0}],
    "fails": [{"method": "smooth", "metric": "nrms", "at_most": 1e-9}],
    "ratio": [{"method": "smooth", "metric": "nrms", "at_least": 1.5, "times": "smooth"}],
    "unknown": [{"method": "unet", "metric": "nrms", "at_most": 1.0}],
    "difference": [{"method": "smooth", "metric": "psnr", "at_least": 0.1, "minus": "smooth"}],
}


@pytest.mark.usefixtures("without_report")
def test_runs_are_named_and_reports_are_not_lost(toy: list[str], evaluate: Command) -> None:
    data, out = toy[:2], ("--out", "report")
    shutil.copytree("a.zarr", "x=1.zarr")
    again = ("--predictions", "first=a.zarr", "x=1.zarr")
    assert evaluate(*data, *again, *out)[0] == 0
    assert list(metrics()["methods"]) == ["first", "wiener"]
    before = files("report")
    assert evaluate(*data, *again, *out)[0] == 0
    assert files("report")["metrics.json"] == before["metrics.json"]
    assert evaluate(*data, *again, "b.zarr", *out)[0] == 0  # one more loses nothing
    refused(evaluate(*data, *again, *out), "report: holds the report of identity", "--overwrite")
    assert "identity" in metrics()["methods"]
    assert evaluate(*data, *again, *out, "--overwrite")[0] == 0
    Path("report", "metrics.json").write_text("[1]")
    refused(evaluate(*data, *again, *out, "--overwrite"), "report/metrics.json: `evaluate` did not write this file")
    Path("report", "metrics.json").unlink()
    refused(evaluate(*data, *again, *out, "--overwrite"), "report/metrics.csv: `evaluate` did not write this file")
    refused(evaluate(*data, "--predictions", "\x1b=a.zarr", *out), "printable")


@pytest.mark.usefixtures("without_report")
def test_expectations_decide_the_exit_code(toy: list[str], evaluate: Command) -> None:
    name = next(iter(find_inference("toy").METHODS))
    Path("e.json").write_text(json.dumps(EXPECTED).replace("smooth", name))
    found = {case: evaluate(*toy, "--out", "r", "--expect", f"e.json:{case}") for case in EXPECTED}
    assert {case: code for case, (code, _, _) in found.items()} == {
        "holds": 0,
        "fails": 1,
        "ratio": 1,
        "unknown": 1,
        "difference": 1,
    }
    assert "expected at most 1e-09" in found["fails"][1]
    assert f"1 times that of {name}, expected at least 1.5" in found["ratio"][1]
    assert "there is no such score" in found["unknown"][1]
    assert f"psnr is 0 more than that of {name}, expected at least 0.1" in found["difference"][1]
    refused(evaluate(*toy, "--out", "r", "--expect", "none.json"), "none.json")
    refused(evaluate(*toy, "--out", "r", "--expect", "e.json:nothing"), "nothing")


def test_without_networks_the_report_leads_with_the_best_method(toy: list[str], evaluate: Command) -> None:
    """Whatever the order in which they are given."""
    for stores in (("a.zarr", "b.zarr"), ("b.zarr", "a.zarr")):
        assert evaluate(*toy[:2], "--predictions", *stores, "--out", stores[0][0])[0] == 0
        means = {name: row["metrics"]["nrms_aligned"]["mean"] for name, row in metrics(stores[0][0])["methods"].items()}
        assert f"The mean error (nrms_aligned) of {min(means, key=lambda name: means[name])} is " in page(stores[0][0])
