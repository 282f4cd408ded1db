"""`train` as real processes: killed, stopped, on other devices, together with others."""

import json
import os
import random
import shutil
import signal
import socket
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pytest
from safetensors.numpy import load_file

from tests.conftest import TOY_TASK, Command, finish, start

TOY = ("--data", "toy.zarr", "--model", "mlp", "--batch-size", 16, "--set", "log_every=1", "save_every=3")
KILLS = 20
STEPS, TOLERANCE = 30, 1e-5  # from one device to two: parameters, relative to the largest, after so many steps


@pytest.fixture
def data(generate: Command) -> None:
    assert generate(*TOY_TASK, "--n", 160, "--validation", 10, "--test", 0, "--out", "toy.zarr")[0] == 0


def train(*args: object, **options: Any) -> str:
    return finish(*args, room="tests.train", **options)


def lines(run: str) -> int:
    path = Path(run, "metrics.jsonl")
    return len(path.read_text().splitlines()) if path.exists() else 0


def weights(run: str) -> bytes:
    return Path(run, "best", "model.safetensors").read_bytes()


def difference(a: str, b: str) -> float:
    """The largest difference of parameters, relative to the largest parameter of its array."""
    one, two = (load_file(Path(run, "best", "model.safetensors")) for run in (a, b))
    assert one.keys() == two.keys()
    return max(float(abs(one[name] - two[name]).max() / abs(one[name]).max()) for name in one)


@pytest.mark.slow
@pytest.mark.usefixtures("data")
def test_killed_at_random_steps_and_resumed_it_ends_with_the_same_bits() -> None:
    """-9, at a random moment after the first line of the journal that a start has added."""
    command = (*TOY, "--epochs", 100)
    train(*command, "--out", "whole")
    rng = random.Random(0)
    kills = 0
    for _ in range(KILLS):
        process = start(*command, "--out", "killed", room="tests.train")
        before, deadline = lines("killed"), time.monotonic() + 60
        while process.poll() is None and lines("killed") == before and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(rng.uniform(0, 0.3))
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            kills += 1
        process.communicate()
    train(*command, "--out", "killed")
    assert kills == KILLS
    assert weights("killed") == weights("whole")
    last = [json.loads(Path(run, "metrics.jsonl").read_text().splitlines()[-1]) for run in ("killed", "whole")]
    assert last[0] == last[1]


@pytest.mark.slow
@pytest.mark.usefixtures("data")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1])
def test_a_signal_saves_and_exits_with_75(number: int) -> None:
    command = (*TOY, "--epochs", 1000, "--out", "r")
    process = start(*command, room="tests.train")
    while lines("r") < 5:
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(number)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 75
    assert "saved; the same command goes on" in out
    last = max(int(path.name) for path in Path("r", "checkpoints").iterdir())
    assert last == json.loads(Path("r", "metrics.jsonl").read_text().splitlines()[-1])["step"]


@pytest.mark.slow
@pytest.mark.usefixtures("data")
def test_one_device_then_two() -> None:
    """A run begun on one device goes on with two, and ends as on one within TOLERANCE after STEPS steps."""
    command = (*TOY, "--epochs", STEPS // 10)
    train(*command, "--out", "one")
    process = start(*command, "--out", "both", room="tests.train")
    while lines("both") < 4 and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    train(*command, "--out", "both", environment={"JAX_NUM_CPU_DEVICES": "2"})
    assert difference("one", "both") < TOLERANCE
    train(*command, "--out", "two", environment={"JAX_NUM_CPU_DEVICES": "2"})
    assert difference("one", "two") < TOLERANCE


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
    common = (*args, "--coordinator", address, "--processes", len(own))
    processes = [start(*common, *more, "--process", i, room="tests.train") for i, more in enumerate(own)]
    told = [process.communicate(timeout=120)[0] for process in processes]
    return [(process.returncode, text) for process, text in zip(processes, told, strict=True)]


@pytest.mark.slow
@pytest.mark.usefixtures("data")
def test_processes_that_do_not_belong_together_are_refused_together() -> None:
    """Another seed in one of them; then a folder that the first may not have."""
    for own, said in ((("--seed", 1), "the same command"), ((), "is not empty")):
        Path("r").mkdir(exist_ok=True)
        Path("r", "other.txt").touch()
        told = together((*TOY, "--out", "r"), ((), own))
        assert [code for code, _ in told] == [2, 2], told
        assert said in told[0][1]
        assert all("Traceback" not in text for _, text in told)


@pytest.mark.slow
@pytest.mark.usefixtures("data")
def test_two_processes_go_on_from_the_same_whole_checkpoint() -> None:
    command = (*TOY, "--epochs", STEPS // 10)
    pair(*command, "--out", "whole")
    pair(*command, "--out", "r")
    for path in Path("r", "checkpoints", str(STEPS), "state").rglob("d/*"):
        path.write_bytes(path.read_bytes()[:100])
    shutil.rmtree(Path("r", "best"))
    assert f"checkpoint {STEPS} cannot be read: put aside" in pair(*command, "--out", "r")
    assert weights("r") == weights("whole")
    assert len(list(Path("r", "damaged").iterdir())) == 1


@pytest.mark.slow
@pytest.mark.usefixtures("data")
@pytest.mark.parametrize("mode", ["resident", "stream"])
def test_two_processes_learn_what_one_does(mode: str) -> None:
    command = (*TOY, "--epochs", STEPS // 10)
    train(*command, "--out", "one")
    pair(*command, "--out", "pair", "--mode", mode)
    assert difference("one", "pair") < TOLERANCE
    assert lines("one") == lines("pair")
