"""`infer`, the same command again: what tuning found is in the predictions, and is not sought twice."""

import json
import shutil
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest

from inference.invert import inversion
from inference.methods import tuning
from schemas.predictions import read_predictions

from .conftest import TOY_TASK, Command, files, refused, values


@pytest.fixture
def toy(generate: Command) -> Path:
    assert generate(*TOY_TASK, "--n", 40, "--test", 40, "--shard-samples", 16)[0] == 0
    return Path("toy.zarr")


def edit(old: str, new: str) -> None:
    root = Path("p.zarr/zarr.json")
    assert old in root.read_text()
    root.write_text(root.read_text().replace(old, new, 1))


def test_the_same_command_does_not_tune_again(toy: Path, infer: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """Complete or not; only for the same method, version, dataset and given settings, and not under --overwrite."""
    spy = Mock(wraps=tuning.tune)
    monkeypatch.setattr(tuning, "tune", spy)
    command = ("--method", "wiener", "--data", toy, "--out", "p.zarr")

    def tunes(*args: object) -> bool:
        spy.reset_mock()
        infer(*command, *args)
        return spy.called

    assert tunes()
    first, before = infer(*command)[1], files("p.zarr")
    assert "tuned on 4 samples" in first
    assert not tunes()
    assert not tunes("--name", "other")
    assert files("p.zarr").keys() == before.keys()
    edit('"status": "complete"', '"status": "incomplete"')
    Path("p.zarr/line/c/1/0").unlink()
    assert not tunes()
    assert values("p.zarr") == {key: data for key, data in before.items() if key != "zarr.json"}
    assert tunes("--set", "noise=0.1")
    assert tunes("--overwrite")
    edit('"combinations": 5', '"combinations": 6')
    assert tunes()
    edit('"combinations": 6', '"combinations": 5')
    said = json.loads(before["zarr.json"])["attributes"]["drybeam_predictions"]["tuning"]
    for old, new in (("version", 2), ("dataset_digest", "0" * 64), ("tuning", {**said, "fixed": ["noise"]})):
        changed = json.loads(before["zarr.json"])
        changed["attributes"]["drybeam_predictions"][old] = new
        Path("p.zarr/zarr.json").write_text(json.dumps(changed))
        assert tunes()


def test_of_several_splits_one_that_is_there_says_what_was_tuned(
    toy: Path, infer: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ("--method", "wiener", "--data", toy, "--split", "test,train", "--out", "p.zarr")
    assert infer(*command)[0] == 0
    before = files("p-train.zarr")
    shutil.rmtree("p-test.zarr")
    monkeypatch.setattr(tuning, "tune", None)
    assert infer(*command)[0] == 0
    assert files("p-train.zarr") == before
    assert read_predictions(Path("p-test.zarr")).settings == read_predictions(Path("p-train.zarr")).settings


def test_shards_of_other_predictions_are_found_and_made_again(toy: Path, infer: Command, evaluate: Command) -> None:
    """Exchanged, stale or damaged: whatever can be read but was not inferred with the others."""
    for noise in (0.1, 0.3):
        assert infer("--method", "wiener", "--set", f"noise={noise}", "--data", toy, "--out", f"{noise}.zarr")[0] == 0
    whole, scored = files("0.1.zarr"), ("--data", toy, "--predictions", "0.1.zarr")
    first, second, foreign = "0.1.zarr/line/c/0/0", "0.1.zarr/line/c/1/0", "0.3.zarr/line/c/1/0"
    exchanged = [(first, whole["line/c/1/0"]), (second, whole["line/c/0/0"])]
    for changes in (exchanged, exchanged[1:], [(second, Path(foreign).read_bytes())]):
        for path, data in changes:
            Path(path).write_bytes(data)
        refused(
            evaluate(*scored), "were not inferred with the others, or have been changed; run the same `infer` command"
        )
        assert infer("--method", "wiener", "--set", "noise=0.1", "--data", toy, "--out", "0.1.zarr")[0] == 0
        assert values("0.1.zarr") == {key: data for key, data in whole.items() if key != "zarr.json"}


@pytest.mark.parametrize("moment", ["invert", "_seconds_per_sample"])
def test_predictions_that_replaced_those_of_a_sleeper_stay(
    moment: str, toy: Path, infer: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A sleeper that wakes up finds another root and writes nothing, also where locks are granted to everybody."""
    monkeypatch.setattr("fcntl.flock", lambda *_: None)
    theirs = ("--method", "wiener", "--set", "noise=0.3", "--data", toy, "--out", "p.zarr", "--overwrite")
    owner: Any = inversion.Inversion if moment == "invert" else inversion
    work, events = getattr(owner, moment), [lambda: infer(*theirs)]

    def sleeping(*args: object) -> object:
        result = work(*args)
        if events:
            assert events.pop()()[0] == 0
        return result

    monkeypatch.setattr(owner, moment, sleeping)
    code, _, err = infer("--method", "wiener", "--set", "noise=0.1", "--data", toy, "--out", "p.zarr")
    assert (code, "changed by another `infer` meanwhile" in err) == (75, True)
    before = files("p.zarr")
    assert infer(*theirs)[0] == 0
    assert values("p.zarr") == {key: data for key, data in before.items() if key != "zarr.json"}
