"""`train` as real processes: stopped, on other devices, together with others. `test_kills.py` kills it."""

import os
import shutil
import signal
import socket
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pytest
from safetensors.numpy import load_file

from tests.conftest import Command, command, done, finish
from tests.runs import dies_at, lines, weights
from tests.shared import Made
from training.cli import main as train_main
from training.nan_watch import Watch

SETTINGS = ("--model", "mlp", "--batch-size", 16, "--set", "log_every=1", "save_every=3")
STEPS, TOLERANCE = 30, 1e-5  # from one device to two: parameters, relative to the largest, after so many steps
TWO = {"JAX_NUM_CPU_DEVICES": "2"}
type Args = tuple[object, ...]
pytestmark = pytest.mark.slow(9)


@pytest.fixture
def toy(learnable: Path) -> Args:
    return ("--data", learnable, *SETTINGS, "--epochs", STEPS // 10)


@pytest.fixture
def one(toy: Args, made_once: Made) -> str:
    """A run of one process on one device, shared by all workers."""
    return f"{made_once('one', lambda folder: done(train_main, *toy, '--out', folder / 'run'))}/run"


@pytest.fixture
def two(toy: Args, made_once: Made) -> str:
    """The same in two processes."""
    return f"{made_once('two', lambda folder: pair(*toy, '--out', folder / 'run'))}/run"


def difference(a: str, b: str) -> float:
    """The largest difference of parameters, relative to the largest parameter of its array."""
    one, two = (load_file(Path(run, "best", "model.safetensors")) for run in (a, b))
    assert one.keys() == two.keys()
    return max(float(abs(one[name] - two[name]).max() / abs(one[name]).max()) for name in one)


def test_ctrl_c_saves_and_exits_with_75(learnable: Path) -> None:
    process = command("train", "--data", learnable, *SETTINGS, "--epochs", 1000, "--out", "r")
    while not Path("r", "metrics.jsonl").exists() or len(lines("r")) < 5:
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=300)
    _saved(process.returncode, out)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1])
def test_each_signal_saves(number: int, toy: Args, train: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """In this process, which sends the signal to itself."""

    def follow(self: Watch, step: int, metrics: Any) -> None:
        original(self, step, metrics)
        if step == 5:
            os.kill(os.getpid(), number)

    original = Watch.follow
    monkeypatch.setattr(Watch, "follow", follow)
    code, _, said = train(*toy, "--out", "r")
    _saved(code, said)
    assert lines("r")[-1]["step"] < STEPS


def _saved(code: int, said: str) -> None:
    assert code == 75
    assert "saved; the same command resumes" in said
    last = max(int(path.name) for path in Path("r", "checkpoints").iterdir())
    assert last == lines("r")[-1]["step"]


def test_one_device_then_two(toy: Args, one: str, train: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run begun on one device goes on with two, and ends as on one within TOLERANCE after STEPS steps."""
    with monkeypatch.context() as patch:
        patch.setattr(Watch, "follow", dies_at(STEPS // 2, Watch.follow))
        with pytest.raises(RuntimeError, match="killed"):
            train(*toy, "--out", "both")
    for run in ("both", "two"):
        finish("train", *toy, "--out", run, room="tests.command", environment=TWO)
        assert difference(one, run) < TOLERANCE


def pair(*args: object) -> str:
    """One run in two processes; what the first says."""
    told = together(args, ((), ()))
    assert [code for code, _ in told] == [0, 0], told
    return told[0][1]


def together(args: Iterable[object], own: Sequence[Iterable[object]]) -> list[tuple[int, str]]:
    """Processes of one run, each with options of its own: exit codes, and what they say."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        address = f"localhost:{free.getsockname()[1]}"
    common = ("train", *args, "--coordinator", address, "--processes", len(own))
    processes = [command(*common, *more, "--process", i) for i, more in enumerate(own)]
    told = [process.communicate(timeout=300)[0] for process in processes]
    return [(process.returncode, text) for process, text in zip(processes, told, strict=True)]


def test_processes_that_do_not_belong_together_are_refused_together(toy: Args) -> None:
    """Another seed in one of them; then a folder that the first may not have."""
    for own, said in ((("--seed", 1), "different commands"), ((), "is not empty")):
        Path("r").mkdir(exist_ok=True)
        Path("r", "other.txt").touch()
        told = together((*toy, "--out", "r"), ((), own))
        assert [code for code, _ in told] == [2, 2], told
        assert said in told[0][1]
        assert all("Traceback" not in text for _, text in told)


def test_a_process_that_cannot_read_its_data_stops_all(toy: Args, learnable: Path) -> None:
    """Its dataset is not there; then samples of it are damaged. Each process says one line and ends."""
    shutil.copytree(learnable, "damaged.zarr")
    for path in Path("damaged.zarr/train/blurred").rglob("c/*/*"):
        path.write_bytes(path.read_bytes()[:50])
    for data, why in (("nowhere.zarr", "no dataset here"), ("damaged.zarr", "cannot be read")):
        told = together((*toy, "--out", "r"), ((), ("--data", data)))
        assert [code for code, _ in told] == [2, 2], told
        assert "another process reported an error" in told[0][1]
        assert why in told[1][1]
        assert not Path("r", "run.json").exists()


def test_two_processes_go_on_from_the_same_whole_checkpoint(toy: Args, two: str) -> None:
    shutil.copytree(two, "r")
    for path in Path("r", "checkpoints", str(STEPS), "state").rglob("d/*"):
        path.write_bytes(path.read_bytes()[:100])
    shutil.rmtree(Path("r", "best"))
    assert f"checkpoint {STEPS} cannot be read: moved to damaged" in pair(*toy, "--out", "r")
    assert weights("r") == weights(two)
    assert len(list(Path("r", "damaged").iterdir())) == 1


def test_two_processes_learn_what_one_does(toy: Args, one: str, two: str) -> None:
    pair(*toy, "--out", "streamed", "--mode", "stream")
    for run in (two, "streamed"):
        assert difference(one, run) < TOLERANCE
        assert len(lines(run)) == len(lines(one))
