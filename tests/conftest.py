"""The toy task, found by name like any other; command lines run in this process or in a real one."""

import importlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

import generators.tasks
import inference.tasks
import schemas.tasks
import training.tasks
from generators.cli import main as generate_main
from inference.cli import evaluate as evaluate_main
from inference.cli import infer as infer_main
from schemas.cli import main as dataset_main
from training.cli import main as train_main

TOY = Path(__file__).parent / "toy"
ROOT = Path(__file__).parent.parent
DATA = ROOT.parent / "shared" / "data"

for package in (schemas.tasks, generators.tasks, training.tasks, inference.tasks):
    package.__path__.append(str(TOY / package.__name__.replace(".", "/")))

TOY_TASK = ("--task", "toy", "--scheduler", "synchronous")

type Command = Callable[..., tuple[int, str, str]]


def pytest_configure(config: pytest.Config) -> None:
    """What this process compiles, it compiles once: tests train the same small networks. Other processes do not."""
    cache = tempfile.TemporaryDirectory(prefix="compiled-")
    config.add_cleanup(cache.cleanup)
    jax.config.update("jax_compilation_cache_dir", cache.name)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", 0)


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def _in_process(main: Callable[[list[str]], int]) -> Any:
    """A command line in this process, as a fixture: arguments -> exit code, output, errors."""

    @pytest.fixture
    def command(capsys: pytest.CaptureFixture[str]) -> Command:
        return lambda *args: _run(main, args, capsys)

    return command


generate = _in_process(generate_main)
dataset = _in_process(dataset_main)
train = _in_process(train_main)
infer = _in_process(infer_main)
evaluate = _in_process(evaluate_main)


def _run(main: Callable[[list[str]], int], args: tuple[Any, ...], capsys: pytest.CaptureFixture[str]) -> Any:
    capsys.readouterr()
    before = signal.getsignal(signal.SIGINT)
    try:
        code = main([str(arg) for arg in args])
    except SystemExit as error:  # --help
        code = int(error.code or 0)
    finally:
        signal.signal(signal.SIGINT, before)  # Ctrl-C is pytest's again
    out, err = capsys.readouterr()
    return code, out, err


def start(
    *args: object, room: str = "generators", environment: Mapping[str, str] | None = None, **options: Any
) -> subprocess.Popen[str]:
    """A command line as a real process, head of a process group of its own."""
    command = [sys.executable, "-m", room, *map(str, args)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **(environment or {})}
    return subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        env=environment,
        **options,
    )


def finish(*args: object, timeout: float = 120, **options: Any) -> str:
    """Run a command line as a real process to its end, which must be good; its output."""
    process = start(*args, **options)
    out, _ = process.communicate(timeout=timeout)
    assert process.returncode == 0, out
    return out


def digest(path: Path | str) -> str:
    """The root digest in the metadata of a complete dataset."""
    manifest = json.loads((Path(path) / "zarr.json").read_text())["attributes"]["drybeam"]
    assert manifest["status"] == "complete"
    value: str = manifest["root_digest"]
    return value


def files(store: Path | str) -> dict[str, bytes]:
    return {str(p.relative_to(store)): p.read_bytes() for p in sorted(Path(store).rglob("*")) if p.is_file()}


def values(store: Path | str) -> dict[str, bytes]:
    """All objects but the root's metadata, which hold a time."""
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
    """Let the toy task come out otherwise."""
    toy = importlib.import_module("generators.tasks.toy")
    original = toy.simulate
    monkeypatch.setattr(toy, "simulate", lambda *args: {k: v * np.float32(factor) for k, v in original(*args).items()})
