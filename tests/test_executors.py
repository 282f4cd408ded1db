"""Where jobs run makes no difference, and little is under way at once."""

import asyncio
import http.client
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from distributed import Client, LocalCluster, Security
from distributed.comm.core import connect

from generators.engine import executors

from .conftest import launch

ANY_PORT = {"dashboard_address": "127.0.0.1:0"}  # of the web pages: other clusters may run beside this


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    with (
        LocalCluster(n_workers=1, processes=False, threads_per_worker=2, scheduler_kwargs=ANY_PORT) as cluster,
        Client(cluster) as made,
    ):
        yield made


def test_few_jobs_are_taken_before_their_results_are_used(client: Client) -> None:
    """So that client and scheduler stay small with 10^7 samples: the plan is never listed."""
    taken = 0

    def jobs() -> Iterator[int]:
        nonlocal taken
        while True:
            taken += 1
            yield taken

    results = executors._distributed(client, lambda job: job, jobs())
    seen = {next(results) for _ in range(20)}
    assert len(seen) == 20
    assert taken <= 20 + 2 * executors.JOBS_PER_THREAD


def test_an_error_reaches_the_client(client: Client) -> None:
    def work(job: int) -> int:
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        list(executors._distributed(client, work, [1, 2, 3]))


def listening(process: psutil.Process) -> Iterator[tuple[str, int]]:
    """Addresses at which a process and its children can be reached."""
    for one in (process, *process.children(recursive=True)):
        yield from ((c.laddr.ip, c.laddr.port) for c in one.net_connections("inet") if c.status == psutil.CONN_LISTEN)


async def can_connect(address: str, security: Security) -> bool:
    try:
        comm = await connect(address, timeout=1, **security.get_connection_args("client"))
        await comm.write({"op": "identity", "reply": True})
        await asyncio.wait_for(comm.read(), 1)
    except (OSError, TimeoutError, RuntimeError):
        return False
    return True


def shown(address: str) -> bool:
    """Whether there is such a web page."""
    try:
        urllib.request.urlopen(address, timeout=1).close()
    except (OSError, http.client.HTTPException):
        return False
    return True


def test_nobody_else_can_reach_a_running_generate() -> None:
    """Neither without a certificate, nor with one of one's own; only from this machine; and no web page tells of it."""
    before = set(listening(psutil.Process()))
    jobs: Any = [-1]
    outcome: Any = abs
    stranger = Security.temporary()
    with executors.local(1) as run:
        assert list(run(outcome, jobs)) == [outcome(jobs[0])]
        found = set(listening(psutil.Process())) - before
        assert len(found) >= 3  # scheduler, nanny, worker
        assert {host for host, _ in found} == {"127.0.0.1"}
        for host, port in found:
            assert not asyncio.run(can_connect(f"tcp://{host}:{port}", Security()))
            assert not asyncio.run(can_connect(f"tls://{host}:{port}", stranger))
            for page in ("info/main/workers.html", "metrics", "health"):
                assert not shown(f"http://{host}:{port}/{page}")


def test_a_reachable_scheduler_is_seen_as_such() -> None:
    """The test above would also pass if it could not connect to anything."""
    with LocalCluster(n_workers=0, processes=False, protocol="tcp://", scheduler_kwargs=ANY_PORT) as cluster:
        assert asyncio.run(can_connect(cluster.scheduler_address, Security()))


@pytest.mark.parametrize(
    ("address", "open_"),
    [
        ("tcp://10.0.0.7:8786", True),
        ("node7:8786", True),
        ("ws://node7:8786", True),
        ("tls://node7:8786", False),
        ("tcp://127.0.0.1:8786", False),
        ("tcp://[::1]:8786", False),
        ("localhost:8786", False),
    ],
)
def test_only_schedulers_elsewhere_without_encryption_are_warned_of(address: str, open_: bool) -> None:
    assert executors._in_the_open(address) is open_


def test_no_module_of_others_is_imported(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Neither from Dask's scratch folder, which all users share, nor from the current folder."""
    shared = tempfile.TemporaryDirectory(prefix="t")  # the path of a socket is short
    monkeypatch.setenv("TMPDIR", shared.name)
    planted = 'import pathlib; pathlib.Path(__file__).with_name("ran").touch(); raise ImportError("planted")'
    for folder in (Path(shared.name, "dask-scratch-space"), tmp_path / "here"):
        folder.mkdir(parents=True)
        for module in ("socket", "zarr", "numcodecs"):
            (folder / f"{module}.py").write_text(planted)
    monkeypatch.chdir(tmp_path / "here")
    script = Path(sys.executable).with_name("generate")
    options = ("--task", "tie", "--n", "20", "--set", "image_size=16", "--workers", "1", "--out", "../x.zarr")
    process = launch([script, *options], {"PYTHONPATH": ""})
    said, _ = process.communicate(timeout=120)  # a worker that cannot start is tried again for ever
    assert process.returncode == 0, said
    assert not [*tmp_path.rglob("ran"), *Path(shared.name).rglob("ran")]
    assert not list(Path(shared.name).glob("generate-*"))
    shared.cleanup()
