"""Processes and devices. Data are parallel: a batch is cut along its samples, the state is the same everywhere."""

import hashlib
import os
from collections.abc import Callable
from typing import cast

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from schemas.runtime.errors import Interrupted, UserError

AXIS = "data"


def connect(coordinator: str | None, processes: int | None, process: int | None) -> None:
    """Join the other processes, before any device is touched: given by hand, or by Slurm's srun with several tasks."""
    if coordinator is not None:
        if processes is None or process is None:
            raise UserError("--coordinator needs --processes N and --process I: how many there are, and which this is")
        jax.distributed.initialize(coordinator, processes, process)
    elif processes is not None or process is not None:
        raise UserError("--processes and --process need --coordinator HOST:PORT, the same for all processes")
    elif int(os.environ.get("SLURM_NTASKS", "1")) > 1 and "SLURM_STEP_ID" in os.environ:
        jax.distributed.initialize()


def mesh(batch: int) -> Mesh:
    """All devices of all processes in one line; UserError if they cannot share a batch evenly."""
    devices = jax.devices()
    if batch % len(devices):
        raise UserError(
            f"--batch-size {batch}: must be a multiple of the {len(devices)} devices, "
            f"for example {-(-batch // len(devices)) * len(devices)}"
        )
    return Mesh(np.asarray(devices), (AXIS,))


def replicated(mesh: Mesh) -> NamedSharding:
    """The same on every device."""
    return NamedSharding(mesh, PartitionSpec())


def split(mesh: Mesh) -> NamedSharding:
    """Cut along the first axis."""
    return NamedSharding(mesh, PartitionSpec(AXIS))


def everywhere(values: np.ndarray, mesh: Mesh) -> jax.Array:
    """An array that every process has, on every device."""
    return jax.make_array_from_callback(values.shape, replicated(mesh), lambda index: values[index])


def first() -> bool:
    """Whether this process writes what is written once."""
    return jax.process_index() == 0


def agree(text: str) -> bool:
    """Whether every process has the same text; all must ask."""
    if jax.process_count() == 1:
        return True
    own = np.frombuffer(hashlib.sha256(text.encode()).digest(), np.uint8)
    return bool(np.all(multihost_utils.process_allgather(own) == own))


def everybody(says: bool) -> bool:
    """Whether every process says so; all must ask."""
    return says if jax.process_count() == 1 else bool(np.all(multihost_utils.process_allgather(np.asarray(says))))


def together[T](work: Callable[[], T]) -> T:
    """Do what every process does. UserError in each of them, before any waits for another, if one is refused."""
    made, refused = None, None
    try:
        made = work()
    except (UserError, Interrupted) as error:
        refused = error
    if jax.distributed.is_initialized() and not everybody(refused is None) and refused is None:
        raise UserError("another process was refused, and says why; this one stops, too")
    if refused:
        raise refused
    return cast(T, made)


def by_the_first(work: Callable[[], object]) -> None:
    """Let the first process do something for all. UserError in each of them if it is refused."""
    together(lambda: work() if first() else None)


def own_rows(batch: int) -> slice:
    """The rows of a batch that this process brings."""
    share = batch // jax.process_count()
    return slice(jax.process_index() * share, (jax.process_index() + 1) * share)


def fits(nbytes: int) -> bool:
    """Whether so many bytes may lie in the memory of every device: a half of a GPU, a quarter of the host."""
    device = jax.local_devices()[0]
    limit = (device.memory_stats() or {}).get("bytes_limit") if device.platform != "cpu" else None
    if limit:
        return bool(nbytes <= limit // 2)
    host = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return nbytes * jax.local_device_count() <= host // 4
