"""Real processes, really killed: a dataset is the same whatever happened while it was made."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest
from distributed import LocalCluster

from .conftest import ROOT, digest, files, finish, start

SMALL = ("--set", "image_size=32", "supersampling=1", "--unit-samples", 8)
N = 3000
COMPILING = "compiling kernels, once on this machine ...\n"
COMMAND = ("--task", "tie", "--n", N, *SMALL)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same dataset, made in one process without interruption."""
    path = tmp_path_factory.mktemp("whole") / "whole.zarr"
    finish(*COMMAND, "--out", path, "--scheduler", "synchronous")
    return path


def receipts(out: Path) -> dict[Path, int]:
    found = out.with_name(out.name + ".run").glob("receipts/*.json")
    return {path: path.stat().st_mtime_ns for path in found}


def workers(client: int) -> Iterator[psutil.Process]:
    """Of a client: what its fork server has forked."""
    for child in psutil.Process(client).children():
        if "forkserver" in " ".join(child.cmdline()):
            yield from child.children()


def wait_for_more_receipts(out: Path, process: subprocess.Popen[str], than: int) -> None:
    for _ in range(600):
        if len(receipts(out)) > than:
            return
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.05)
    raise AssertionError("no receipt in 30 s")


@pytest.mark.parametrize(
    "extra", [("--workers", 1), ("--workers", 2), ("--unit-samples", 100), ("--scheduler", "cluster")]
)
def test_digest_does_not_depend_on_where_samples_are_made(whole: Path, extra: tuple[str, object]) -> None:
    if extra == ("--scheduler", "cluster"):
        with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster:
            finish(*COMMAND, "--out", "other.zarr", "--scheduler", cluster.scheduler_address)
    else:
        finish(*COMMAND, "--out", "other.zarr", *extra)
    assert digest("other.zarr") == digest(whole)


def test_killed_at_ten_random_moments_and_resumed(whole: Path) -> None:
    """kill -9 of the client, of all, or of a worker and then all; finished units stay, the rest comes out the same."""
    out = Path("cut.zarr").absolute()
    rng = np.random.default_rng()
    for turn in range(10):
        kept = receipts(out)
        process = start(*COMMAND, "--out", out)
        wait_for_more_receipts(out, process, len(kept))
        time.sleep(float(rng.uniform(0, 0.2)))
        children = list(workers(process.pid))
        if turn % 3 == 2:
            children[0].kill()
            wait_for_more_receipts(out, process, len(receipts(out)))  # the run goes on without it
        os.killpg(process.pid, signal.SIGKILL) if turn % 3 else process.kill()
        process.communicate(timeout=30)
        _, alive = psutil.wait_procs(children, timeout=10)
        assert not alive, "workers outlive their client"
        now = receipts(out)
        assert len(now) < N / 8, "all done before the kill: nothing was tested"
        assert now | kept == now, "a finished unit was made again"
    finish(*COMMAND, "--out", out)
    assert files(out) == files(whole)
    assert finish("verify", out, room="schemas")


def test_sigterm_ends_in_one_line_and_exit_75(whole: Path) -> None:
    out = Path("cut.zarr").absolute()
    process = start(*COMMAND, "--out", out)
    wait_for_more_receipts(out, process, 0)
    process.terminate()
    said, _ = process.communicate(timeout=30)
    assert process.returncode == 75
    assert said.splitlines()[-1] == "interrupted; the same command resumes"
    assert "Traceback" not in said
    finish(*COMMAND, "--out", out)
    assert digest(out) == digest(whole)


@pytest.mark.parametrize("seconds", [1, 2, 3])
def test_ctrl_c_ends_in_one_line_while_workers_start(seconds: int) -> None:
    """To the whole group, as a terminal sends it, and again, as `uv run` passes it on."""
    process = start("--task", "tie", "--n", 10**5, "--out", "cut.zarr")
    time.sleep(seconds)
    for _ in range(2):
        os.killpg(process.pid, signal.SIGINT)
    said, _ = process.communicate(timeout=60)  # until the last worker has closed the pipe
    assert process.returncode == 75
    assert said.removeprefix(COMPILING) == "interrupted; the same command resumes\n"


def test_two_clients_at_once_make_one_dataset(whole: Path) -> None:
    processes = [start(*COMMAND, "--out", "shared.zarr", "--workers", 1) for _ in range(2)]
    for process in processes:
        said, _ = process.communicate(timeout=120)
        assert process.returncode == 0, said
    assert files(Path("shared.zarr")) == files(whole)


def test_of_two_clients_with_other_recipes_one_is_refused() -> None:
    """Whatever the moment: the second must not write into the first one's dataset."""
    command = ("--task", "tie", "--n", 800, *SMALL, "--out", "one.zarr")
    first = start(*command, "--seed", 1, "--workers", 1)
    second = start(*command, "--seed", 2, "--scheduler", "synchronous")
    said = {process.communicate(timeout=120)[0].splitlines()[-1]: process.returncode for process in (first, second)}
    assert sorted(said.values()) == [0, 2], said
    assert "seed is" in next(text for text, code in said.items() if code == 2)
    assert finish("verify", "one.zarr", room="schemas")


def test_a_dataset_never_shrinks_while_another_client_extends_it() -> None:
    small = start("--task", "tie", "--n", 500, *SMALL, "--out", "one.zarr", "--workers", 1)
    large = start("--task", "tie", "--n", 1200, *SMALL, "--out", "one.zarr", "--scheduler", "synchronous")
    for process in (small, large):
        process.communicate(timeout=120)
    finish("--task", "tie", "--n", 1200, *SMALL, "--out", "one.zarr")
    finish("--task", "tie", "--n", 1200, *SMALL, "--out", "two.zarr", "--scheduler", "synchronous")
    assert files(Path("one.zarr")) == files(Path("two.zarr"))


FULL_DISK = r"""
set -u
mkdir disk && mount -t tmpfs -o size=80m tmpfs disk || { echo no mount; exit 99; }
python() { "$PYTHON" -m generators --task tie --n 1000 --out disk/t.zarr --set image_size=32 --unit-samples 16; }
python >said 2>&1 & client=$!
for i in $(seq 300); do [ -n "$(ls disk/t.zarr.run/receipts 2>/dev/null)" ] && break; sleep 0.1; done
cat /dev/zero >disk/filler 2>/dev/null
wait $client; echo "exit $?"; tail -1 said; grep -c Traceback said
ls disk/t.zarr.run/receipts | wc -l
rm disk/filler
python >said 2>&1; echo "exit $?"
"$PYTHON" -m schemas verify disk/t.zarr
cp -r disk/t.zarr healed.zarr
"""


@pytest.mark.skipif(
    subprocess.run(["unshare", "-m", "true"], capture_output=True).returncode != 0,
    reason="needs the right to mount a small disk",
)
def test_a_full_disk_ends_in_one_line_and_a_resumable_store() -> None:
    environment = {**os.environ, "PYTHON": sys.executable, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(["unshare", "-m", "bash", "-c", FULL_DISK], capture_output=True, text=True, env=environment)
    lines = done.stdout.splitlines()
    assert lines[0] == "exit 75", done
    assert "No space left on device" in lines[1]
    assert "run the same command again" in lines[1]
    assert lines[2] == "0"
    assert int(lines[3]) > 0
    assert lines[4] == "exit 0", done
    assert "every sample has its digest" in lines[5]
    finish("--task", "tie", "--n", 1000, "--out", "fresh.zarr", "--set", "image_size=32", "--unit-samples", 16)
    assert files(Path("healed.zarr")) == files(Path("fresh.zarr"))


def test_spawned_workers_survive_a_missing_numba_cache(tmp_path: Path) -> None:
    """A first run on a new machine compiles; several processes at once do not disturb each other."""
    cache = tmp_path / "cache"
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(cache), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "generators", *map(str, ("--task", "tie", "--n", 40, "--workers", 2, *SMALL))]
    first, second = (subprocess.run(command, check=True, env=environment, capture_output=True, text=True) for _ in "12")
    assert any(cache.rglob("*.nbi"))
    assert (first.stderr, second.stderr) == (COMPILING, "")
    shutil.rmtree(cache)
