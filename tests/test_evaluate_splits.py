"""`evaluate --split train,test`: each split as if it were alone, side by side, and what is overfitted."""

import csv
import json
import re
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from inference.report import evaluation, style, tables

from .conftest import TOY_TASK, Command, files, refused

DATA = ("--data", "toy.zarr")
BOTH = ("wiener-train.zarr", "wiener-test.zarr", "net-train.zarr", "net-test.zarr")


@pytest.fixture(autouse=True)
def _small_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(style, "DPI", 30)


@pytest.fixture(autouse=True)
def _predictions(generate: Command, infer: Command) -> None:
    """Of 20 training and 12 test samples: a method's, and those of a network that is trained on them."""
    generate(*TOY_TASK, "--n", 20, "--validation", 6, "--test", 12, "--shard-samples", 8)
    infer(*DATA, "--method", "wiener", "--split", "train,test", "--out", "wiener.zarr")
    infer(*DATA, "--method", "identity", "--split", "train,test", "--out", "net.zarr", "--name", "net")
    for split in ("train", "test"):
        trained(f"net-{split}.zarr")


def trained(store: str) -> None:
    """Let predictions be those of a network."""
    root = Path(store) / "zarr.json"
    content = json.loads(root.read_text())
    made = content["attributes"]["drybeam_predictions"]
    weights = {"sha256": "ab", "parameters": 10, "trained_on": made["dataset_digest"], "family": "", "samples": 20}
    made |= {"kind": "network", "weights": weights, "history": [{"epoch": 1, "train/loss": 1.0}]}
    root.write_text(json.dumps(content))


def metrics(folder: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((Path(folder) / "metrics.json").read_text())
    return found


def table(folder: str) -> list[dict[str, str]]:
    with (Path(folder) / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.usefixtures("without_report")
def test_splits_together_are_what_each_is_alone(evaluate: Command) -> None:
    code, out, err = evaluate(*DATA, "--split", "train,test", "--predictions", *BOTH, "--out", "both")
    assert (code, err) == (0, "")
    assert re.search(r"wiener +train .*\n *wiener +test .*\n *net +train .*\n *net +test ", out)
    for split in ("train", "test"):
        stores = [store for store in BOTH if split in store]
        assert evaluate(*DATA, "--split", split, "--predictions", *stores, "--out", split)[0] == 0
    both, alone = metrics("both"), {split: metrics(split) for split in ("train", "test")}
    others = both.pop("splits")
    assert both.pop("sha256") != alone["test"].pop("sha256")  # of other files
    assert both == alone["test"]
    assert list(others) == ["train"]
    assert (others["train"]["methods"], others["train"]["samples"]) == (alone["train"]["methods"], 20)
    means = {split: alone[split]["methods"]["net"]["metrics"]["nrms_aligned"]["mean"] for split in alone}
    assert others["train"]["ratios"]["net"]["nrms_aligned"] == pytest.approx(means["test"] / means["train"], rel=1e-12)
    rows = [{"split": split} | row for split in ("train", "test") for row in table(split)]
    assert table("both") == rows
    assert "splits" not in alone["test"]


@pytest.mark.usefixtures("without_report")
def test_the_order_of_splits_and_stores_does_not_decide_what_counts(evaluate: Command, infer: Command) -> None:
    evaluate(*DATA, "--split", "train,test", "--predictions", *BOTH, "--out", "a")
    evaluate(*DATA, "--split", "test,train", "--predictions", *BOTH, "--out", "b")
    a, b = ({k: v for k, v in metrics(name).items() if k != "sha256"} for name in "ab")  # of other files
    assert a == b
    infer(*DATA, "--method", "wiener", "--split", "validation", "--out", "wiener-validation.zarr")
    stores = ("wiener-train.zarr", "wiener-validation.zarr")
    evaluate(*DATA, "--split", "train,validation", "--predictions", *stores, "--out", "c")
    assert (metrics("c")["split"], list(metrics("c")["splits"])) == ("validation", ["train"])


def test_the_report_has_a_section_per_split_and_says_once_what_was_seen(evaluate: Command) -> None:
    evaluate(*DATA, "--split", "train,test", "--predictions", *BOTH, "--out", "both")
    text = re.sub(r'src="[^"]*"', "", (Path("both") / "report.html").read_text())
    headings = re.findall("<h2>(.*?)</h2>", text)
    assert headings[0] == "Errors by split"
    for split in ("train", "test"):
        for name in ("Scores", "Samples", "Errors", "Worst samples"):
            assert len([h for h in headings if h.startswith(f"{name}, split {split}")]) == 1
    assert text.count("net was trained with these samples; these scores are not an independent test") == 1
    assert headings.count("Methods") == headings.count("Provenance") == 1
    assert text.count("test / train") == 1
    share = metrics("both")["splits"]["train"]["ratios"]["net"]
    assert f"{share['nrms_aligned']:.3g} ± {share['standard_error']:.1g}" in text


@pytest.mark.usefixtures("without_report")
def test_a_method_of_one_split_alone_is_shown_beside_the_others(evaluate: Command) -> None:
    stores = ("wiener-test.zarr", "net-test.zarr", "net-train.zarr")
    assert evaluate(*DATA, "--split", "train,test", "--predictions", *stores)[0] == 0
    assert list(metrics("report")["splits"]["train"]["methods"]) == ["net"]
    assert metrics("report")["splits"]["train"]["ratios"].keys() == {"net"}
    rows = table("report")
    assert {row["wiener.nrms"] for row in rows if row["split"] == "train"} == {""}
    assert "" not in {row["wiener.nrms"] for row in rows if row["split"] == "test"}


def test_a_method_has_one_colour_in_all_splits(infer: Command) -> None:
    infer(*DATA, "--method", "identity", "--split", "train,test", "--out", "same.zarr")
    stores = [(None, Path(name)) for name in ("wiener-test.zarr", "same-test.zarr", "same-train.zarr")]
    found = evaluation.evaluate(Path("toy.zarr"), stores, ["train", "test"])
    colours = [{store.name: style.colour(result, store) for store in result.stores} for result in found.results]
    assert colours[0]["identity"] == colours[1]["identity"] != colours[1]["wiener"]


@pytest.mark.usefixtures("without_report")
def test_predictions_that_do_not_belong_together_are_refused(infer: Command, evaluate: Command) -> None:
    train_and_test = (*DATA, "--split", "train,test", "--predictions")
    refused(evaluate(*train_and_test, "wiener-test.zarr"), "--split train: there are no predictions", "--split train")
    infer(*DATA, "--method", "wiener", "--split", "validation", "--out", "v.zarr")
    refused(evaluate(*train_and_test, *BOTH, "v.zarr"), "v.zarr: holds predictions of split validation, not train or")
    refused(evaluate(*DATA, "--predictions", *BOTH), "wiener-test.zarr: holds predictions of split test, not train")
    refused(evaluate(*DATA, "--split", "train,", "--predictions", *BOTH), "must be splits separated by commas")
    shutil.copytree("net-train.zarr", "again.zarr")
    refused(evaluate(*train_and_test, *BOTH, "again.zarr"), "net-train.zarr, again.zarr: all are named net")
    infer(*DATA, "--method", "wiener", "--set", "noise=0.7", "--split", "train", "--out", "other.zarr")
    mixed = ("wiener-test.zarr", "other.zarr")
    refused(evaluate(*train_and_test, *mixed), "both are named wiener, but they differ in settings", "LABEL=STORE")
    assert not Path("report").exists()
    assert evaluate(*train_and_test, "a=wiener-test.zarr", "b=other.zarr")[0] == 0


@pytest.mark.usefixtures("without_report")
def test_a_report_of_two_splits_is_not_lost_to_one(evaluate: Command) -> None:
    command = (*DATA, "--predictions", "wiener-test.zarr", "net-test.zarr")
    assert evaluate(*command)[0] == 0
    both = (*DATA, "--split", "train,test", "--predictions", *BOTH)
    assert evaluate(*both)[0] == 0  # a second split loses nothing
    before = files("report")
    refused(evaluate(*command), "report: holds the report of net, wiener on other samples", "--overwrite")
    assert files("report") == before
    assert evaluate(*both)[0] == 0
    assert evaluate(*command, "--overwrite")[0] == 0


def test_the_error_of_a_ratio_between_splits_is_that_of_repeated_draws() -> None:
    rng = np.random.default_rng(0)
    test, train = rng.gamma(4, 0.3, (2000, 60)), rng.gamma(4, 0.2, (2000, 200))
    found = [tables.ratio_of_splits(_result(a), _result(b), "a", "nrms") for a, b in zip(test, train, strict=True)]
    ratios, errors = np.array(found, float).T
    assert ratios.mean() == pytest.approx(1.5, rel=0.01)
    assert errors.mean() == pytest.approx(ratios.std(), rel=0.05)


def _result(values: np.ndarray) -> Any:
    moments = {"mean": float(values.mean()), "std": float(values.std()), "n": len(values), "unit": "1"}
    return SimpleNamespace(summaries={"a": {"nrms": moments}})
