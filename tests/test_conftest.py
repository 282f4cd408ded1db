"""What all tests rely on: processes that obey and end, shared folders that nobody changes, programs found whole."""

import signal
import sys
from pathlib import Path

import psutil
import pytest
from jax._src.lru_cache import LRUCache

from tests.conftest import end_all, launch
from tests.shared import made_in

ASKED = "import signal; print(signal.getsignal(signal.SIGINT) is signal.default_int_handler)"
PARENT = """
import subprocess, sys, time
print(subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"]).pid, flush=True)
time.sleep(600)
"""


def test_what_tests_start_obeys_ctrl_c_though_pytest_runs_in_the_background() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        process = launch([sys.executable, "-c", ASKED])
        assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)
    assert process.communicate(timeout=60)[0] == "True\n"


def test_no_process_outlives_its_test() -> None:
    """Neither those that it has started, nor theirs."""
    process = launch([sys.executable, "-c", PARENT])
    assert process.stdout
    child = psutil.Process(int(process.stdout.readline()))
    end_all()
    assert process.returncode == -signal.SIGKILL
    assert not psutil.wait_procs([child], timeout=60)[1]


def test_a_shared_folder_is_made_once_and_a_change_is_noticed(tmp_path: Path) -> None:
    shared = made_in(tmp_path)
    made_once = shared.__enter__()
    for _ in range(2):
        folder = made_once("a", lambda folder: (folder / "file").write_text("made"))
        assert (folder / "file").read_text() == "made"
    (folder / "file").unlink()
    with pytest.raises(AssertionError, match="take a copy"):
        shared.__exit__(None, None, None)


def test_a_folder_that_could_not_be_made_is_made_anew(tmp_path: Path) -> None:
    def fails(folder: Path) -> None:
        (folder / "half").mkdir()
        raise FileNotFoundError

    with made_in(tmp_path) as made_once:
        with pytest.raises(FileNotFoundError):
            made_once("a", fails)
        assert not list(made_once("a", lambda folder: None).iterdir())


def test_compiled_programs_are_written_whole(tmp_path: Path) -> None:
    cache = LRUCache(str(tmp_path), max_size=-1)
    cache.put("key", b"program")
    assert cache.get("key") == b"program"
    assert [path.name for path in tmp_path.iterdir()] == ["key-cache"]
    assert "whole" in LRUCache.put.__qualname__
