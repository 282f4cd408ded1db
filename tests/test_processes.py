"""Real processes, really killed: a dataset is the same whatever happened while it was made."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from distributed import LocalCluster

from generators.cli import main as generate_main

from .conftest import Command, digest, done, files, finish, launch, start
from .shared import Made

SMALL = ("--set", "image_size=32", "supersampling=1", "--shard-samples", 8)
N = 400
COMPILING = "compiling kernels, once on this machine ...\n"
COMMAND = ("--task", "tie", "--n", N, *SMALL)
KILLS = [(4, 800), pytest.param(10, 3000, marks=pytest.mark.long)]  # and samples, enough to be killed so often
pytestmark = pytest.mark.slow(12)


@pytest.fixture
def whole(made_once: Made) -> Path:
    """The same dataset, made in one process without interruption."""
    return _whole(made_once, N)


def _whole(made_once: Made, n: int) -> Path:
    command = ("--task", "tie", "--n", n, *SMALL, "--scheduler", "synchronous")
    return made_once(f"tie{n}", lambda folder: done(generate_main, *command, "--out", folder / "t.zarr")) / "t.zarr"


def receipts(out: Path) -> dict[Path, int]:
    found = out.with_name(out.name + ".run").glob("receipts/*.json")
    return {path: path.stat().st_mtime_ns for path in found}


def fork_servers(client: int) -> list[psutil.Process]:
    return [child for child in psutil.Process(client).children() if "forkserver" in " ".join(child.cmdline())]


def workers(client: int) -> list[psutil.Process]:
    """Those of a client: what its fork server has forked."""
    return [worker for server in fork_servers(client) for worker in server.children()]


def wait(process: subprocess.Popen[str], until: Callable[[], object]) -> None:
    for _ in range(60000):
        if until():
            return
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.005)
    raise AssertionError("nothing happened in five minutes")


@pytest.mark.parametrize("extra", [("--workers", 1), ("--shard-samples", 100), ("--scheduler", "cluster")])
def test_digest_does_not_depend_on_where_samples_are_made(whole: Path, extra: tuple[str, object]) -> None:
    """Nor on two workers, as in the tests below."""
    if extra == ("--scheduler", "cluster"):
        with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster:
            finish(*COMMAND, "--out", "other.zarr", "--scheduler", cluster.scheduler_address)
    else:
        finish(*COMMAND, "--out", "other.zarr", *extra)
    assert digest("other.zarr") == digest(whole)


@pytest.mark.parametrize(("kills", "n"), KILLS)
def test_killed_at_random_moments_and_resumed(kills: int, n: int, made_once: Made, chance: random.Random) -> None:
    """kill -9 of the client, of all, or of a worker and then all; finished shards stay, the rest comes out the same.

    The kills are spread over the run. Those of `test_kills.py` come where something is published, in one process.
    """
    whole, out = _whole(made_once, n), Path("cut.zarr").absolute()
    command = ("--task", "tie", "--n", n, *SMALL, "--out", out)
    shards = len(receipts(whole))
    for turn in range(kills):
        kept = receipts(out)
        process = start(*command)
        least = max(len(kept), int(0.8 * shards * turn / kills))
        wait(process, lambda least=least: len(receipts(out)) > least)  # type: ignore[misc]
        time.sleep(chance.uniform(0, 0.1))
        children = workers(process.pid)
        if turn % 3 == 2:
            children[0].kill()
            least = len(receipts(out))
            wait(process, lambda least=least: len(receipts(out)) > least)  # type: ignore[misc]  # it goes on without it
        os.killpg(process.pid, signal.SIGKILL) if turn % 3 else process.kill()
        process.communicate(timeout=60)
        _, alive = psutil.wait_procs(children, timeout=60)
        assert not alive, "workers outlive their client"
        now = receipts(out)
        assert len(now) < shards, "all done before the kill: nothing was tested"
        assert now | kept == now, "a finished shard was made again"
    finish(*command)
    assert files(out) == files(whole)


def test_sigterm_ends_in_one_line_and_exit_75(whole: Path) -> None:
    out = Path("cut.zarr").absolute()
    process = start(*COMMAND, "--out", out)
    wait(process, lambda: receipts(out))
    process.terminate()
    said, _ = process.communicate(timeout=300)
    assert process.returncode == 75
    assert said.splitlines()[-1] == "interrupted; the same command resumes"
    assert "Traceback" not in said
    finish(*COMMAND, "--out", out)
    assert digest(out) == digest(whole)


MOMENTS: dict[str, Callable[[int], object]] = {
    "its fork server starts": fork_servers,
    "its workers start": workers,
    "its place is claimed": lambda client: Path("cut.zarr.run").exists(),
}


@pytest.mark.parametrize("moment", MOMENTS)
def test_ctrl_c_ends_in_one_line_while_workers_start(moment: str) -> None:
    """To the whole group, as a terminal sends it, and again, as `uv run` passes it on."""
    process = start("--task", "tie", "--n", 10**5, "--out", "cut.zarr")
    wait(process, lambda: MOMENTS[moment](process.pid))
    for _ in range(2):
        os.killpg(process.pid, signal.SIGINT)
    said, _ = process.communicate(timeout=300)  # until the last worker has closed the pipe
    assert process.returncode == 75
    assert said.removeprefix(COMPILING) == "interrupted; the same command resumes\n"


def test_two_clients_at_once_make_one_dataset(whole: Path) -> None:
    processes = [start(*COMMAND, "--out", "shared.zarr", "--workers", 1) for _ in range(2)]
    for process in processes:
        said, _ = process.communicate(timeout=300)
        assert process.returncode == 0, said
    assert files(Path("shared.zarr")) == files(whole)


def test_of_two_clients_with_other_recipes_one_is_refused(dataset: Command) -> None:
    """Whatever the moment: the second must not write into the first one's dataset."""
    command = ("--task", "tie", "--n", 200, *SMALL, "--out", "one.zarr")
    first = start(*command, "--seed", 1, "--workers", 1)
    second = start(*command, "--seed", 2, "--scheduler", "synchronous")
    said = {process.communicate(timeout=300)[0].splitlines()[-1]: process.returncode for process in (first, second)}
    assert sorted(said.values()) == [0, 2], said
    assert "seed is" in next(text for text, code in said.items() if code == 2)
    assert dataset("verify", "one.zarr")[0] == 0


def test_a_dataset_never_shrinks_while_another_client_extends_it(generate: Command) -> None:
    here = ("--scheduler", "synchronous")
    small = start("--task", "tie", "--n", 200, *SMALL, "--out", "one.zarr", "--workers", 1)
    large = start("--task", "tie", "--n", 500, *SMALL, "--out", "one.zarr", *here)
    for process in (small, large):
        process.communicate(timeout=300)
    for out in ("one.zarr", "two.zarr"):
        assert generate("--task", "tie", "--n", 500, *SMALL, "--out", out, *here)[0] == 0
    assert files(Path("one.zarr")) == files(Path("two.zarr"))


FULL_DISK = r"""
set -u
mkdir disk && mount -t tmpfs -o size=60m tmpfs disk || { echo no mount; exit 99; }
python() { "$PYTHON" -m generators --task tie --n 200 --out disk/t.zarr --set image_size=32 --shard-samples 16; }
python >said 2>&1 & client=$!
for i in $(seq 300); do [ -n "$(ls disk/t.zarr.run/receipts 2>/dev/null)" ] && break; sleep 0.1; done
cat /dev/zero >disk/filler 2>/dev/null
wait $client; echo "exit $?"; tail -1 said; grep -c Traceback said
ls disk/t.zarr.run/receipts | wc -l
rm disk/filler
python >said 2>&1; echo "exit $?"
cp -r disk/t.zarr healed.zarr
"""


@pytest.mark.skipif(
    subprocess.run(["unshare", "-m", "true"], capture_output=True).returncode != 0,
    reason="needs the right to mount a small disk",
)
def test_a_full_disk_ends_in_one_line_and_a_resumable_store(dataset: Command, generate: Command) -> None:
    process = launch(["unshare", "-m", "bash", "-c", FULL_DISK], {"PYTHON": sys.executable})
    said, _ = process.communicate()
    lines = said.splitlines()
    assert lines[0] == "exit 75", said
    assert "No space left on device" in lines[1]
    assert "run the same command again" in lines[1]
    assert lines[2] == "0"
    assert int(lines[3]) > 0
    assert lines[4] == "exit 0", said
    assert "every sample matches its digest" in dataset("verify", "healed.zarr")[1]
    command = ("--task", "tie", "--n", 200, "--set", "image_size=32", "--shard-samples", 16)
    assert generate(*command, "--out", "fresh.zarr", "--scheduler", "synchronous")[0] == 0
    assert files(Path("healed.zarr")) == files(Path("fresh.zarr"))


def test_spawned_workers_survive_a_missing_numba_cache(tmp_path: Path) -> None:
    """A first run on a new machine compiles; several processes at once do not disturb each other."""
    command, cache = ("--task", "cdi", "--n", 40, "--workers", 2, "--shard-samples", 8), tmp_path / "cache"
    first, second = (finish(*command, environment={"NUMBA_CACHE_DIR": str(cache)}) for _ in "12")
    assert any(cache.rglob("*.nbi"))
    assert first.startswith(COMPILING)
    assert COMPILING not in second
    assert "Warning" not in first + second
    shutil.rmtree(cache)
