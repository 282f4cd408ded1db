"""Checkpoints: a damaged one falls back, the best outlives every death, a kept one is a model."""

import os
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from schemas.predictions import read_predictions
from schemas.runtime.errors import UserError
from tests.conftest import TOY_TASK, Command, refused, values
from tests.runs import SMALL, card, dies_at, weights
from training import loop
from training.checkpoints import Checkpoints, read_checkpoint
from training.nan_watch import Watch


@pytest.fixture
def data(generate: Command) -> Path:
    assert generate(*TOY_TASK, "--n", 40, "--validation", 10, "--test", 0, "--out", "toy.zarr")[0] == 0
    return Path("toy.zarr")


def test_no_pipe_in_a_checkpoint_is_opened() -> None:
    Path("checkpoints/3/state").mkdir(parents=True)
    os.mkfifo("checkpoints/3/state/manifest")
    for read in (
        lambda: Checkpoints(Path("checkpoints"), "run"),
        lambda: read_checkpoint(Path("checkpoints"), 3, "run"),
    ):
        with pytest.raises(UserError, match="checkpoints/3/state/manifest: is not a regular file"):
            read()


@pytest.mark.parametrize("harm", ["truncate", "flip", "remove"])
def test_a_damaged_checkpoint_falls_back_to_the_one_before(data: Path, train: Command, harm: str) -> None:
    command = ("--data", data, *SMALL, "--set", "log_every=1")
    assert train(*command, "--out", "whole")[0] == 0
    assert train(*command, "--out", "r")[0] == 0
    _harm(_biggest("9"), harm)
    shutil.rmtree(Path("r", "best"))
    code, out, _ = train(*command, "--out", "r")
    assert code == 0
    assert "checkpoint 9 cannot be read" in out
    assert weights("r") == weights("whole")


def test_names_in_a_checkpoint_that_are_damaged_are_damage(data: Path, train: Command) -> None:
    command = ("--data", data, *SMALL, "--set", "log_every=1", "--out", "r")
    assert train(*command)[0] == 0
    whole = weights("r")
    known = Path("r", "checkpoints", "9", "known", "metadata")
    known.write_text(known.read_text().replace("kernel", "kernem", 1))
    shutil.rmtree(Path("r", "best"))
    code, out, _ = train(*command)
    assert code == 0
    assert "checkpoint 9 cannot be read" in out
    assert weights("r") == whole


def test_a_run_remembers_where_it_went_on_and_how_long_it_took(
    data: Path, train: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ("--data", data, *SMALL, "--set", "log_every=1", "--out", "r")
    with monkeypatch.context() as patch:
        patch.setattr(Watch, "follow", dies_at(7, Watch.follow))
        with pytest.raises(RuntimeError, match="killed"):
            train(*command)
    before = card("r")
    for _ in range(2):  # the second has nothing to do
        monkeypatch.setattr(loop, "hardware", lambda: "another machine")
        assert train(*command)[0] == 0
    after = card("r")
    assert [place["step"] for place in after["places"]] == [0, 6]
    assert after["places"][1]["hardware"] == "another machine"
    assert after["places"][0] == before["places"][0]
    assert after["seconds"] >= before["seconds"] > 0


def _harm(path: Path, harm: str) -> None:
    content = bytearray(path.read_bytes())
    if harm == "truncate":
        path.write_bytes(content[: len(content) // 2])
    elif harm == "flip":
        content[len(content) // 2] ^= 255
        path.write_bytes(content)
    else:
        path.unlink()


def _best_at(wanted: int, validate: Any) -> Any:
    """Let the loss be least at one step, amid a run."""

    def scores(m: Any, state: Any, source: Any) -> dict[str, float]:
        found: dict[str, float] = validate(m, state, source)
        return {**found, "loss": 0.1 if int(state["step"]) == wanted else 1 + 1 / int(state["step"])}

    return scores


@pytest.mark.parametrize("deadly", [7, 11, 14])
def test_the_best_amid_a_run_survives_deaths(
    deadly: int, data: Path, train: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Best at step 6 of 18; killed after it, with `best` lost, or between its checkpoint and its export."""
    command = ("--data", data, *SMALL, "--epochs", 6, "--set", "log_every=1")
    monkeypatch.setattr(loop, "validate", _best_at(6, loop.validate))
    assert train(*command, "--out", "whole")[0] == 0
    with monkeypatch.context() as patch:
        patch.setattr(Watch, "follow", dies_at(deadly, Watch.follow))
        with pytest.raises(RuntimeError, match="killed"):
            train(*command, "--out", "r")
    shutil.rmtree(Path("r", "best"))
    assert train(*command, "--out", "r")[0] == 0
    assert card("r")["step"] == card("whole")["step"] == 6
    assert weights("r") == weights("whole")
    assert len(card("r")["history"]) == 6
    assert {path.name for path in Path("r", "checkpoints").iterdir()} == {"6", "15", "18"}


def test_a_death_between_checkpoint_and_export_leaves_the_right_best(
    data: Path, train: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ("--data", data, *SMALL, "--epochs", 6, "--set", "log_every=1")
    monkeypatch.setattr(loop, "validate", _best_at(6, loop.validate))
    assert train(*command, "--out", "whole")[0] == 0

    def dies(m: Any, state: Any, memory: Any) -> None:
        m.checkpoints.wait()
        if memory.best_step == 6:
            raise RuntimeError("killed")
        original(m, state, memory)

    original = loop._export_best
    with monkeypatch.context() as patch:
        patch.setattr(loop, "_export_best", dies)
        with pytest.raises(RuntimeError, match="killed"):
            train(*command, "--out", "r")
    assert card("r")["step"] == 3
    assert train(*command, "--out", "r")[0] == 0
    assert card("r")["step"] == 6
    assert weights("r") == weights("whole")


def test_a_lost_best_is_said(data: Path, train: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    command = ("--data", data, *SMALL, "--epochs", 6, "--set", "log_every=1", "--out", "r")
    monkeypatch.setattr(loop, "validate", _best_at(6, loop.validate))
    assert train(*command)[0] == 0
    for name in ("best", "checkpoints/6"):
        shutil.rmtree(Path("r", name))
    code, _, err = train(*command)
    assert code == 2
    assert "the best model, of step 6, is lost" in err


def test_a_machine_at_fault_is_no_damage(data: Path, train: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    command = ("--data", data, *SMALL, "--out", "r")
    assert train(*command)[0] == 0

    def fails(*_: object) -> None:
        raise OSError(24, "Too many open files")

    with monkeypatch.context() as patch:
        patch.setattr(Checkpoints, "_read", fails)
        code, _, err = train(*command)
    assert code == 75
    assert "Too many open files" in err
    assert not Path("r", "damaged").exists()


def test_when_no_checkpoint_is_whole_nothing_is_begun_anew(data: Path, train: Command) -> None:
    command = ("--data", data, *SMALL, "--set", "log_every=1", "--out", "r")
    assert train(*command)[0] == 0
    for path in Path("r", "checkpoints").rglob("d/*"):
        path.write_bytes(path.read_bytes()[:5])
    code, _, err = train(*command)
    assert code == 2
    assert "no checkpoint can be read" in err
    assert len(list(Path("r", "damaged").iterdir())) == 2


def test_checkpoints_of_chosen_steps_are_kept(data: Path, train: Command) -> None:
    command = ("--data", data, *SMALL, "--epochs", 5, "--set", "log_every=100")
    assert train(*command, "--out", "r", "--keep-every", 4)[0] == 0
    assert {"4", "8", "12"} <= {path.name for path in Path("r", "checkpoints").iterdir()}


def test_a_kept_checkpoint_is_a_model(data: Path, train: Command, infer: Command) -> None:
    command = ("--data", data, *SMALL, "--set", "ema=0.9")
    assert train(*command, "--out", "r")[0] == 0
    assert card("r")["step"] == 9
    use = ("--data", data, "--split", "train")
    assert infer("--model", "r", *use, "--out", "best.zarr")[0] == 0
    assert infer("--model", "r/best", "--checkpoint", 9, *use, "--out", "9.zarr")[0] == 0
    assert infer("--model", "r", "--checkpoint", 6, *use, "--out", "6.zarr")[0] == 0
    assert values("best.zarr") == values("9.zarr") != values("6.zarr")
    assert read_predictions(Path("6.zarr")).name == "r@6"
    refused(infer("--model", "r", "--checkpoint", 5, *use, "--out", "5.zarr"), "no checkpoint 5; there are: 6, 9")
    refused(infer("--method", "wiener", "--checkpoint", 6, *use), "--checkpoint 6: is for --model")
    known = Path("r", "checkpoints", "6", "known", "metadata")
    known.write_text(re.sub(r"(kernel'\]\": )\d", r"\g<1>1234", known.read_text()))
    refused(infer("--model", "r", "--checkpoint", 6, *use, "--out", "5.zarr"), "checkpoints/6: damaged")
    assert train("--data", data, *SMALL, "--seed", 1, "--out", "s")[0] == 0
    shutil.copytree("s/best", "r/other")
    refused(
        infer("--model", "r/other", "--checkpoint", 9, *use, "--out", "5.zarr"), "belongs to another run than the model"
    )
    _harm(_biggest("9"), "truncate")
    refused(infer("--model", "r", "--checkpoint", 9, *use, "--out", "5.zarr"), "checkpoints/9: damaged")


def _biggest(step: str) -> Path:
    return max(Path("r", "checkpoints", step, "state").rglob("d/*"), key=lambda path: path.stat().st_size)
