"""Processes and devices for parallel training.

Data are parallel: each device gets a part of the samples of a batch, and the state is the same on all devices.
"""

import hashlib
import os
from collections.abc import Callable
from typing import cast

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from schemas.runtime.errors import Interrupted, UserError
from schemas.runtime.machine import memory

AXIS = "data"


def connect(coordinator: str | None, processes: int | None, process: int | None) -> None:
    """Join the other processes, before any device is used.

    The options name them, or Slurm's `srun` does if it started several tasks.

    Args:
        coordinator: HOST:PORT of the first process.
        processes: number of processes.
        process: index of this process, from 0.

    Raises:
        UserError: one of the options is missing.
    """
    if coordinator is not None:
        if processes is None or process is None:
            raise UserError("--coordinator needs --processes N (their number) and --process I (index of this one)")
        jax.distributed.initialize(coordinator, processes, process)
    elif processes is not None or process is not None:
        raise UserError("--processes and --process need --coordinator HOST:PORT, the same for all processes")
    elif _tasks_of_step() > 1:
        jax.distributed.initialize()


def _tasks_of_step() -> int:
    """Return the number of tasks that `srun` started together with this process; 1 outside of Slurm.

    SLURM_NTASKS is that of the whole job in an interactive step, which has only one task.
    """
    if "SLURM_STEP_ID" not in os.environ:
        return 1
    tasks = os.environ.get("SLURM_STEP_NUM_TASKS") or os.environ.get("SLURM_NTASKS") or "1"
    return int(tasks) if tasks.isdigit() else 1


def mesh(batch: int) -> Mesh:
    """Return all devices of all processes in one line.

    Args:
        batch: samples per step.

    Raises:
        UserError: the devices cannot share a batch evenly.
    """
    devices = jax.devices()
    if batch % len(devices):
        raise UserError(
            f"--batch-size {batch}: must be a multiple of the {len(devices)} devices, "
            f"for example {-(-batch // len(devices)) * len(devices)}"
        )
    return Mesh(np.asarray(devices), (AXIS,))


def replicated(mesh: Mesh) -> NamedSharding:
    """Return the sharding that puts the same array on every device."""
    return NamedSharding(mesh, PartitionSpec())


def sharded(mesh: Mesh) -> NamedSharding:
    """Return the sharding that distributes an array along its first axis."""
    return NamedSharding(mesh, PartitionSpec(AXIS))


def put_everywhere(values: np.ndarray, mesh: Mesh) -> jax.Array:
    """Put an array that every process holds on every device.

    Args:
        values: the array, the same in every process.
        mesh: the devices.
    """
    return jax.make_array_from_callback(values.shape, replicated(mesh), lambda index: values[index])


def is_first_process() -> bool:
    """Return whether this process is the first one, which writes files for all."""
    return jax.process_index() == 0


def all_processes_have(text: str) -> bool:
    """Return whether every process has the same text. All processes must call this.

    Args:
        text: text of this process.
    """
    if jax.process_count() == 1:
        return True
    own = np.frombuffer(hashlib.sha256(text.encode()).digest(), np.uint8)
    return bool(np.all(multihost_utils.process_allgather(own) == own))


def all_processes_agree(holds: bool) -> bool:
    """Return whether `holds` is true in every process. All processes must call this.

    Args:
        holds: statement of this process.
    """
    return holds if jax.process_count() == 1 else bool(np.all(multihost_utils.process_allgather(np.asarray(holds))))


def in_all_processes[T](work: Callable[[], T]) -> T:
    """Do the same work in every process. If it fails in one process, all stop before they wait for one another.

    Args:
        work: a function that may raise UserError or Interrupted.

    Returns:
        The result of the work.

    Raises:
        UserError: the work failed in this process or in another one.
        Interrupted: the work was interrupted in this process.
    """
    made, refused = None, None
    try:
        made = work()
    except (UserError, Interrupted) as error:
        refused = error
    if jax.distributed.is_initialized() and not all_processes_agree(refused is None) and refused is None:
        raise UserError("another process reported an error, see its output; this one stops too")
    if refused:
        raise refused
    return cast(T, made)


def in_first_process(work: Callable[[], object]) -> None:
    """Let the first process do something for all.

    Args:
        work: a function that may raise UserError.

    Raises:
        UserError: the work failed; raised in every process.
    """
    in_all_processes(lambda: work() if is_first_process() else None)


def own_rows(batch: int) -> slice:
    """Return the rows of a batch that this process provides.

    Args:
        batch: samples per step.
    """
    share = batch // jax.process_count()
    return slice(jax.process_index() * share, (jax.process_index() + 1) * share)


def fits_in_memory(nbytes: int) -> bool:
    """Return whether an array fits into the memory of every device.

    It may occupy half of the memory of a GPU, or a quarter of the memory of the host.

    Args:
        nbytes: bytes of the array.
    """
    return nbytes <= memory_per_device() // (4 if jax.local_devices()[0].platform == "cpu" else 2)


def memory_per_device() -> int:
    """Return the memory that arrays on one device may use [bytes]: that of the device, or a share of the host's."""
    device = jax.local_devices()[0]
    limit = (device.memory_stats() or {}).get("bytes_limit") if device.platform != "cpu" else None
    return limit or memory() // jax.local_device_count()
