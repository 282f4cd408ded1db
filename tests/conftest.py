"""Fixtures and helpers of the tests: toy tasks, command lines in this process or in a real one, shared datasets.

The toy tasks of `tests/toy/` are found by name like any other task.
"""

import importlib
import json
import os
import random
import secrets
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import generators.tasks
import inference.tasks
import schemas.tasks
import training.models
import training.tasks
from generators.cli import main as generate_main
from inference.cli import evaluate as evaluate_main
from inference.cli import infer as infer_main
from schemas.cli import main as dataset_main
from tests.shared import Made, compiled_in, made_in, write_programs_whole
from training.cli import main as train_main

TOY = Path(__file__).parent / "toy"
ROOT = Path(__file__).parent.parent
DATA = ROOT.parent / "shared" / "data"

for package in (schemas.tasks, generators.tasks, training.tasks, training.models, inference.tasks):
    package.__path__.append(str(TOY / package.__name__.replace(".", "/")))

TOY_TASK = ("--task", "toy", "--scheduler", "synchronous")

type Command = Callable[..., tuple[int, str, str]]

TERMINAL = (signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1)


def pytest_configure(config: pytest.Config) -> None:
    """Let all workers, and all processes that they start, share one cache of compiled programs."""
    if not hasattr(config, "workerinput"):  # workers of pytest-xdist inherit the folder
        cache = tempfile.TemporaryDirectory(prefix="compiled-")
        config.add_cleanup(cache.cleanup)
        os.environ.update(compiled_in(cache.name))  # JAX reads this when it is loaded


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put slow tests first on each worker. pytest-xdist gives each worker a piece of this list."""
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", 1))
    quick = [item for item in items if not item.get_closest_marker("slow")]
    pieces = [quick[len(quick) * i // workers : len(quick) * (i + 1) // workers] for i in range(workers)]
    long = _shared_out([item for item in items if item.get_closest_marker("slow")], workers)
    items[:] = [item for i in range(workers) for item in (*long[i], *pieces[i])]


def _shared_out(items: list[pytest.Item], workers: int) -> list[list[pytest.Item]]:
    """Distribute the files over the workers, the longest first, each to the worker that has the least to do."""
    shares: list[list[pytest.Item]] = [[] for _ in range(workers)]
    files = [[item for item in items if item.path == path] for path in dict.fromkeys(item.path for item in items)]
    for file in sorted(files, key=_seconds, reverse=True):
        min(shares, key=_seconds).extend(file)
    return shares


def _seconds(items: list[pytest.Item]) -> float:
    return sum(float(mark.args[0]) for item in items if (mark := item.get_closest_marker("slow")))


@pytest.fixture(scope="session", autouse=True)
def _whole_programs() -> None:
    write_programs_whole()


@pytest.fixture(scope="session")
def made_once(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Made]:
    """Return a function that makes a folder once for all workers; see `made_in`."""
    base = tmp_path_factory.getbasetemp()
    with made_in((base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "shared") as once:
        yield once


@pytest.fixture(scope="session")
def learnable(made_once: Made) -> Path:
    """Return a dataset of the toy task with 160 training samples, shared by all workers."""
    command = (generate_main, *TOY_TASK, "--n", 160, "--validation", 10, "--test", 0, "--out")
    return made_once("learnable", lambda folder: done(*command, folder / "toy.zarr")) / "toy.zarr"


@pytest.fixture
def chance() -> random.Random:
    """Return random numbers for a test that kills processes.

    Their seed is printed if the test fails; it repeats the same kills.
    """
    seed = int(os.environ.get("SEED_OF_KILLS") or secrets.randbits(32))
    print(f"SEED_OF_KILLS={seed} repeats these kills")
    return random.Random(seed)


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture(autouse=True)
def _outlived_by_no_process() -> Iterator[None]:
    yield
    end_all()


def _in_process(main: Callable[[list[str]], int]) -> Any:
    """Return a fixture that runs a command line in this process: arguments -> exit code, output, errors."""

    @pytest.fixture
    def command(capsys: pytest.CaptureFixture[str]) -> Command:
        return lambda *args: _run(main, args, capsys)

    return command


generate = _in_process(generate_main)
dataset = _in_process(dataset_main)
infer = _in_process(infer_main)
evaluate = _in_process(evaluate_main)


@pytest.fixture
def without_curves(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let `train` draw no picture at its end, because that takes as long as training a small network."""
    from training import metrics_log

    monkeypatch.setattr(metrics_log, "draw_curves", lambda rows: b"")


@pytest.fixture
def train(capsys: pytest.CaptureFixture[str], without_curves: None) -> Command:
    return lambda *args: _run(train_main, args, capsys)


@pytest.fixture
def quick() -> Iterator[None]:
    """Compile in half the time programs that run more slowly, for networks that learn a few steps."""
    import jax

    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)


@pytest.fixture
def brief_report(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the report of `evaluate` show few samples, because its pictures take as long as everything else."""
    from inference.report import document

    monkeypatch.setattr(document, "EXAMPLE_PLACES", {"median": 0.5, "worst 5 %": 0.95})
    monkeypatch.setattr(document, "MAX_WORST", 2)


@pytest.fixture
def without_report(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let `evaluate` write numbers only."""
    from inference.report import document

    monkeypatch.setattr(document, "page", lambda found: "")


def _run(main: Callable[[list[str]], int], args: tuple[Any, ...], capsys: pytest.CaptureFixture[str]) -> Any:
    capsys.readouterr()
    with _signals_kept():
        try:
            code = main([str(arg) for arg in args])
        except SystemExit as error:  # --help
            code = int(error.code or 0)
    out, err = capsys.readouterr()
    return code, out, err


def done(main: Callable[[list[str]], int], *args: object) -> None:
    """Run a command line in this process, for a fixture; it must succeed."""
    with _signals_kept():
        assert main([str(arg) for arg in args]) == 0


@contextmanager
def _signals_kept() -> Iterator[None]:
    """Restore pytest's signal handlers afterwards, because command lines take Ctrl-C and SIGTERM for themselves."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


_started: list[subprocess.Popen[str]] = []


def launch(command: list[str | Path], environment: Mapping[str, str] | None = None) -> subprocess.Popen[str]:
    """Start a process as the head of a group, which ends with the test that started it."""
    with _as_from_a_terminal():
        process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
            env={**os.environ, "PYTHONPATH": str(ROOT), **(environment or {})},
        )
    _started.append(process)
    return process


@contextmanager
def _as_from_a_terminal() -> Iterator[None]:
    """Give signals their usual effect on a process that is started here, also if pytest itself ignores them.

    A shell starts background jobs with SIGINT ignored, and `subprocess` passes that on.
    """
    ignored = [number for number in TERMINAL if signal.getsignal(number) == signal.SIG_IGN]
    for number in ignored:
        signal.signal(number, signal.SIG_DFL)
    try:
        yield
    finally:
        for number in ignored:
            signal.signal(number, signal.SIG_IGN)


def end_all() -> None:
    """Kill the groups of all processes that were launched since the last call."""
    for process in _started:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        if process.stdout and not process.stdout.closed:
            process.communicate()
    _started.clear()


def start(
    *args: object, room: str = "generators", environment: Mapping[str, str] | None = None
) -> subprocess.Popen[str]:
    """Start a command line as a real process."""
    return launch([sys.executable, "-m", room, *map(str, args)], environment)


def command(*args: object, **options: Any) -> subprocess.Popen[str]:
    """Start a command that knows the toy task, by its name, as a real process."""
    return start(*args, room="tests.command", **options)


def finish(*args: object, timeout: float = 300, **options: Any) -> str:
    """Run a command line as a real process, which must succeed, and return its output."""
    process = start(*args, **options)
    out, _ = process.communicate(timeout=timeout)
    assert process.returncode == 0, out
    return out


def digest(path: Path | str) -> str:
    """Return the root digest in the metadata of a complete dataset."""
    manifest = json.loads((Path(path) / "zarr.json").read_text())["attributes"]["drybeam"]
    assert manifest["status"] == "complete"
    value: str = manifest["root_digest"]
    return value


def files(store: Path | str) -> dict[str, bytes]:
    return {str(p.relative_to(store)): p.read_bytes() for p in sorted(Path(store).rglob("*")) if p.is_file()}


def unsigned(store: Path | str) -> None:
    """Take the digests out of predictions whose values a test has changed, as older versions wrote none."""
    root = Path(store, "zarr.json")
    content = json.loads(root.read_text())
    content["attributes"]["drybeam_predictions"]["digests"] = None
    root.write_text(json.dumps(content))


def values(store: Path | str) -> dict[str, bytes]:
    """Return all objects of a store except the metadata of its root, which hold a time."""
    return {key: data for key, data in files(store).items() if key != "zarr.json"}


def refused(result: tuple[int, str, str], *parts: str) -> None:
    code, out, err = result
    assert code == 2
    assert out == ""
    assert err.count("\n") == 1
    assert "Traceback" not in err
    for part in parts:
        assert part in err


def scaled(monkeypatch: pytest.MonkeyPatch, factor: float) -> None:
    """Let the toy task give values that are scaled by a factor."""
    toy = importlib.import_module("generators.tasks.toy")
    original = toy.simulate
    monkeypatch.setattr(toy, "simulate", lambda *args: {k: v * np.float32(factor) for k, v in original(*args).items()})
