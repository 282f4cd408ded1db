"""Executors of jobs: in this process, in local processes, or on a Dask scheduler that is running already.

All three call the same function on the same jobs and yield its outcomes in the order in which they end. At most a few
jobs per thread are submitted at once, so that client and scheduler stay small whatever the number of samples.
"""

import logging
import os
import signal
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from itertools import islice
from threading import Lock
from types import ModuleType
from typing import Any
from urllib.parse import urlsplit

from generators.engine.plan import Job
from generators.engine.shards import Outcome
from schemas.runtime.errors import Interrupted, UserError
from schemas.runtime.machine import cores
from schemas.runtime.terminal import say

JOBS_PER_THREAD = 3  # jobs submitted per thread
WORKER_TIMEOUT = 60  # seconds within which a scheduler must have a worker

# Dask's default settings cost a third of the speed: workers return every freed block to the system, and Dask samples
# their stacks a hundred times a second.
WORKERS = {
    "distributed.comm.require-encryption": True,
    "distributed.scheduler.http.routes": [],  # web pages that would show to anybody on this machine what runs
    "distributed.worker.http.routes": [],
    "distributed.nanny.pre-spawn-environ": {"OMP_NUM_THREADS": 1, "MKL_NUM_THREADS": 1, "OPENBLAS_NUM_THREADS": 1},
    "distributed.worker.profile.enabled": False,
    "distributed.worker.multiprocessing-method": "forkserver",
}

_HIDDEN: list[ModuleType] = []  # the main module, once for each thread that hides it
_HIDING = Lock()

type Work = Callable[[Job], Outcome]
type Run = Callable[[Work, Iterable[Job]], Iterator[Outcome]]
type Executor = AbstractContextManager[Run]  # entered before anything is written, so that a bad address fails first


def warm_up(*modules: str) -> None:
    """Let a process import Dask and these modules while this one plans; local workers are then forked from it at once.

    That process has no threads, and the modules must not bring any: neither zarr nor JAX survives a fork.

    Args:
        modules: names of the modules
    """
    from multiprocessing import forkserver, resource_tracker

    forkserver.set_forkserver_preload(["generators.engine.dask_preload", *modules])
    sys.warnoptions.append("ignore:resource_tracker")  # its warning that it tidies up after a kill is useless
    os.environ["PYTHONSAFEPATH"] = "1"  # without it, workers would import modules from the current folder
    resource_tracker.ensure_running()  # started before the signal mask is set, because starting would remove the mask
    before = signal.pthread_sigmask(
        signal.SIG_BLOCK, {signal.SIGINT}
    )  # inherited, so that Ctrl-C reaches the client alone
    try:
        forkserver.ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def synchronous() -> Iterator[Run]:
    """Run jobs one after the other in this process."""
    yield map


@contextmanager
def local(workers: int) -> Iterator[Run]:
    """Run jobs in processes of this machine, on the loopback interface, without a dashboard.

    Without shared memory (/dev/shm), processes cannot be joined; the jobs then run in this one.

    Anybody who can connect to a scheduler can run code as its user. Certificates that are made for this run, and known
    only to its processes, keep other users of the machine out.

    Args:
        workers: number of processes
    """
    dask = _load_dask()
    import distributed.utils
    from distributed import Client, LocalCluster, Security

    if reason := _lacks_shared_memory():
        say(f"warning: no shared memory for several processes (/dev/shm: {reason}); running in this one")
        yield map
        return
    _quiet()
    # Dask's default scratch folder is shared by all users, and on the search path of its processes.
    scratch = tempfile.TemporaryDirectory(prefix="generate-", ignore_cleanup_errors=True)
    distributed.utils._forkserver_preload_set = (
        True  # otherwise it imports pandas here, to set a list that `warm_up` has set
    )
    with (
        scratch,
        _without_main(),
        dask.config.set({**dask.config.merge(*dask.config.defaults), **WORKERS, "temporary-directory": scratch.name}),
        LocalCluster(
            n_workers=workers,
            threads_per_worker=max(cores() // workers, 1),
            processes=True,
            host="127.0.0.1",
            protocol="tls://",
            security=Security.temporary(),
            dashboard_address=None,
            scheduler_kwargs={"dashboard_address": "127.0.0.1:0"},  # its plain HTTP server takes any free port
            memory_limit=0,  # off: shards are small by plan, and a worker killed for its memory would be killed again
            silence_logs=logging.CRITICAL,
        ) as cluster,
        Client(cluster) as client,
    ):
        yield partial(_distributed, client)


def _lacks_shared_memory() -> str:
    """Return the reason why processes cannot share locks on this machine; empty if they can."""
    import multiprocessing

    try:
        multiprocessing.get_context("forkserver").Lock()
    except OSError as error:
        return error.strerror or str(error)
    return ""


@contextmanager
def _without_main() -> Iterator[None]:
    """Hide the main module: each worker would import it, and so run a script that calls `drybeam.generate` again.

    Several threads may do so at once: the last one to leave brings it back.
    """
    with _HIDING:
        if not _HIDDEN:
            _HIDDEN.append(sys.modules["__main__"])
            sys.modules["__main__"] = ModuleType("__main__")
        else:
            _HIDDEN.append(_HIDDEN[0])
    try:
        yield
    finally:
        with _HIDING:
            main = _HIDDEN.pop()
            if not _HIDDEN:
                sys.modules["__main__"] = main


@contextmanager
def remote(address: str) -> Iterator[Run]:
    """Run jobs on the workers of a running scheduler, which must see the same file system.

    For tls:// the certificates are those of Dask's own settings (distributed.comm.tls).

    Args:
        address: tcp://host:port or tls://host:port

    Raises:
        UserError: no scheduler answers at the address
    """
    _load_dask()
    from distributed import Client

    _quiet()
    try:
        client = Client(address, timeout=10)
    except (OSError, ValueError) as error:
        raise UserError(
            f"--scheduler {address}: {error}; give tcp://host:port or tls://host:port of a running scheduler"
        ) from None
    if _in_the_open(address):
        say(
            f"warning: --scheduler {address}: is not encrypted, so anybody who reaches it can run code as you; "
            "prefer tls:// with certificates of your own"
        )
    with client:
        yield partial(_distributed, client)


def _in_the_open(address: str) -> bool:
    """Return True if an address is that of another machine, without encryption."""
    found = urlsplit(address if "://" in address else f"tcp://{address}")
    host = found.hostname or ""
    return found.scheme not in ("tls", "inproc") and not (host in ("localhost", "::1") or host.startswith("127."))


def _distributed[J, R](client: Any, work: Callable[[J], R], jobs: Iterable[J]) -> Iterator[R]:
    """Yield the outcomes of jobs on a Dask cluster; a few jobs per thread are submitted ahead."""
    from concurrent.futures import CancelledError

    from distributed import KilledWorker, as_completed
    from distributed.comm.core import CommClosedError

    queue = iter(jobs)

    def submit(count: int) -> list[Any]:
        return [client.submit(work, job, pure=False) for job in islice(queue, count)]

    try:
        client.wait_for_workers(1, timeout=WORKER_TIMEOUT)
        running = as_completed(submit(JOBS_PER_THREAD * sum(client.nthreads().values())))
        for future in running:
            yield future.result()
            wanted = JOBS_PER_THREAD * sum(client.nthreads().values())  # more workers may have come
            running.update(submit(max(wanted - running.count(), 1)))
    except (KilledWorker, CommClosedError, CancelledError, TimeoutError) as error:
        raise Interrupted(
            f"the scheduler or its workers are gone ({type(error).__name__}: {str(error) or 'no answer'}); "
            "finished shards are kept: run the same command again"
        ) from None


def _load_dask() -> Any:
    """Return the module dask. Raise UserError if the user's settings of Dask cannot be used."""
    try:
        import dask
        import distributed  # noqa: F401
    except ImportError:
        raise
    except Exception as error:  # settings of other types make it raise errors of any kind
        files = "files in ~/.config/dask, or unset DASK_CONFIG"
        raise UserError(
            f"Dask cannot use your settings ({str(error).partition(',')[0]}); correct the {files}"
        ) from None
    return dask


def _quiet() -> None:
    """Silence Dask's log: workers may come and go, and errors reach the user as exceptions."""
    for name in ("distributed", "asyncio", "tornado"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
