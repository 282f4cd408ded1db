"""The steps of generating a dataset: plan, create the store, make shards, verify them, finalise.

Nothing here is special to one task.
"""

import math
import os
import resource
import shutil
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from generators.contract import Arrays, Sliced, find_generator, stored
from generators.engine import executors, shards, store_creation
from generators.engine.executors import Executor, Run
from generators.engine.finalise import finalise
from generators.engine.plan import Job, Plan
from generators.engine.progress import follow
from generators.engine.provenance import packages, platform_class
from generators.engine.shards import Outcome
from generators.recipe import Recipe
from schemas.layout import choose_layout
from schemas.manifest import FORMAT, Layout, Manifest
from schemas.runtime.destinations import output_path
from schemas.runtime.errors import Interrupted, UserError
from schemas.runtime.locks import resumable, writable
from schemas.runtime.machine import cores
from schemas.runtime.publish import exists, nbytes, read
from schemas.runtime.settings import describe
from schemas.task import SPLITS

MAX_TIMED_SAMPLES = 4  # maximum number of samples timed before a layout is chosen
TIME_ONE_ABOVE_SECONDS = 2.0  # seconds; if a sample takes longer, only one is timed
STORE_SLICES_ABOVE_SECONDS = (
    60.0  # seconds; if a sample takes longer, its finished slices are stored, and no second one is timed
)
USE_PROCESSES_ABOVE_SECONDS = 2.0  # seconds of work in all, below which starting processes would take longer
MAX_ROUNDS = 5  # times that jobs are tried while other files keep coming into their way
WORKER_BASE_BYTES = 400 << 20  # bytes of memory of a worker besides its shard: interpreter, libraries, compiled code


@dataclass(frozen=True)
class Estimate:
    """Cost of a plan, estimated from a few samples made and timed here."""

    samples_left: int  # samples that are not made yet
    seconds_per_sample: float  # on one core
    workers: int  # workers at once; 1 is assumed for a remote scheduler
    seconds: float  # for the samples that are left, with all workers
    memory: int  # bytes, all workers together
    disk: int  # bytes of all samples without compression, which is the maximum
    objects: int  # files of all samples


def plan(task: str, recipe: Recipe, seed: int, samples: dict[str, int], out: Path) -> Plan:
    """Return the plan of a dataset, with a provisional layout.

    Args:
        task: name of the task
        recipe: its recipe, with input files found
        seed: seed of all random numbers
        samples: number of samples by split
        out: path of the store

    Raises:
        UserError: there is no such task, or the recipe cannot make these samples
    """
    schema, generator = find_generator(task)
    for split in SPLITS:
        if samples[split]:
            recipe.check_split(split, samples[split])
    fields, sizes = stored(schema, recipe)
    manifest = Manifest(
        format=FORMAT,
        task=fields,
        sizes=sizes,
        samples=samples,
        origin="simulated",
        seed=seed,
        recipe=recipe.model_dump(mode="json"),
        settings={
            name: {"unit": row["unit"], "about": row["about"]} for name, row in describe(type(recipe), recipe).items()
        },
        generator_version=generator.VERSION,
        platform=platform_class(),
        packages=packages(),
        layout=Layout(shard=1, block=1, chunks={}),
    )
    return Plan(Path(os.path.abspath(output_path("--out", out))), manifest, recipe)


def lay_out(plan: Plan, shard_samples: int | None) -> tuple[Plan, float]:
    """Return the plan with a layout, and the seconds that a sample takes.

    A few samples are made, so that a bad recipe fails here.

    Args:
        plan: the plan with a provisional layout
        shard_samples: samples in a shard; None: chosen by size and speed

    Raises:
        UserError: the task's file fails
    """
    split, n = next((split, n) for split, n in plan.manifest.samples.items() if n)
    _, block_length = next(shards.blocks(plan, 0, min(MAX_TIMED_SAMPLES, n)))
    seconds = _seconds_by_slices(plan, split)
    plan = replace(plan, stores_slices=seconds is not None and seconds >= STORE_SLICES_ABOVE_SECONDS)
    if seconds is None or seconds < STORE_SLICES_ABOVE_SECONDS:
        seconds = _seconds(plan, split, 1)  # compiles or loads kernels
        if seconds < STORE_SLICES_ABOVE_SECONDS:
            seconds = _seconds(plan, split, block_length if seconds < TIME_ONE_ABOVE_SECONDS else 1)
    layout = choose_layout(plan.task, plan.manifest.sizes, seconds, shard_samples)
    return replace(plan, manifest=plan.manifest.model_copy(update={"layout": layout})), seconds


def _seconds(plan: Plan, split: str, count: int) -> float:
    """Make some samples; return the seconds that each takes."""
    start = time.perf_counter()
    shards.make(plan, split, range(count))
    return (time.perf_counter() - start) / count


def _seconds_by_slices(plan: Plan, split: str) -> float | None:
    """Return the seconds that a sample takes, from a few of its slices; None for a task without `Sliced`.

    A whole sample is put together from one slice, repeated, so that a fault in the steps after the simulation shows at
    once and not after an hour.
    """
    simulate = find_generator(plan.task.name)[1].simulate
    if not isinstance(simulate, Sliced):
        return None
    taken = []

    def repeated(recipe: Recipe, block: Sequence[Any]) -> Arrays:
        made: Arrays = {}
        for index in simulate.indices(recipe)[:2]:  # the first compiles or loads kernels
            start = time.perf_counter()
            made = simulate.one(recipe, block, index)
            taken.append(time.perf_counter() - start)
        return simulate.stacked(recipe, lambda index: made)

    shards.make(plan, split, range(1), repeated)
    return taken[-1] * len(simulate.indices(plan.recipe))


def estimate(plan: Plan, seconds: float, left: int, workers: int) -> Estimate:
    """Return time, memory, disk space and number of files of a plan.

    Args:
        plan: the plan with its layout
        seconds: time that a sample takes on one core
        left: samples that are not made yet
        workers: workers at once, assumed to be 1 for a remote scheduler
    """
    layout, samples = plan.manifest.layout, plan.manifest.samples
    shard_bytes = min(layout.shard, max(samples.values())) * plan.nbytes() // sum(samples.values())
    arrays = len([f for f in plan.task.fields if f.per_sample and f.role != "parameter"])
    parameters = len(plan.task.of("parameter"))
    files = sum(arrays * -(-n // layout.shard) + parameters * -(-n // layout.block) for n in samples.values())
    return Estimate(
        samples_left=left,
        seconds_per_sample=seconds,
        workers=workers,
        seconds=seconds * left / workers,
        memory=workers * (max(WORKER_BASE_BYTES, _peak()) + 3 * shard_bytes),
        disk=plan.nbytes(),
        objects=files,
    )


def _peak() -> int:
    """Return the peak memory of this process [bytes]: it has just made samples, as a worker does."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


def refuse_what_cannot_fit(plan: Plan, cost: Estimate, memory: int) -> None:
    """Refuse a plan that this machine cannot carry out.

    Args:
        plan: the plan
        cost: its cost
        memory: memory of this machine [bytes]

    Raises:
        UserError: the place cannot be written, or the disk or the memory is too small
    """
    parent = next(folder for folder in (plan.out, *plan.out.parents) if exists(folder))
    with writable("--out", plan.out, begun=False):
        tempfile.TemporaryFile(dir=parent).close()
    held = 0 if read(plan.out / "zarr.json") is None else nbytes(plan.out)
    free = shutil.disk_usage(parent).free + held
    if cost.disk > free:
        raise UserError(
            f"{plan.out}: {sum(plan.manifest.samples.values()):,} samples take up to {size(cost.disk)}, but only "
            f"{size(free)} are free at {parent}; ask for fewer (--n), or choose another --out"
        )
    if cost.memory > memory:
        raise UserError(
            f"this plan needs {size(cost.memory)} of memory, but the machine has {size(memory)}; "
            "ask for fewer --workers, smaller --shard-samples or smaller images"
        )


def generate(
    plan: Plan, executor: Executor, *, shard_samples: int | None = None, overwrite: bool = False
) -> tuple[Manifest, int]:
    """Make the samples of a plan that are not made yet.

    Args:
        plan: the plan
        executor: the executor of its jobs
        shard_samples: shard length that the user asked for, if any
        overwrite: replace the dataset that is there

    Returns:
        the final manifest, and the number of samples made now

    Raises:
        UserError: the place cannot be written or holds something else
        Interrupted: workers or the disk failed; the same call resumes
    """
    made = 0
    with resumable(plan.out, "finished shards"):
        with executor as run:
            plan = store_creation.claim(plan, shard_samples=shard_samples, overwrite=overwrite)
            for outcome in follow(_outcomes(plan, run), sum(plan.manifest.samples.values())):
                made += outcome.samples * (outcome.made and outcome.kind == "samples")
        return finalise(plan), made


def _outcomes(plan: Plan, run: Run) -> Iterator[Outcome]:
    """Yield the outcome of every job. Where other files are in the way, they are removed and the job is done again.

    They are damaged, unfinished, or written by another plan that lost the store to this one.
    """
    jobs: Iterable[Job] = plan.jobs()
    for _ in range(MAX_ROUNDS):
        blocked = []
        with plan.shared():
            for outcome in run(shards.ensure, jobs):
                if outcome.blocked:
                    stop = outcome.start + outcome.samples
                    blocked.append(Job(plan, outcome.kind, outcome.split, outcome.start, stop))
                else:
                    yield outcome
        if not blocked:
            return
        store_creation.remove_objects(plan, blocked)
        jobs = blocked
    raise Interrupted(f"{plan.out}: another program writes here; stop it, and run the same command again")


def executor(scheduler: str | None, workers: int | None, plan: Plan, seconds: float) -> tuple[Executor, int]:
    """Return the executor of a plan, and the number of its workers; 1 is assumed for a remote scheduler.

    Args:
        scheduler: `synchronous`, or the address of a Dask scheduler; None: local processes, if worth while
        workers: number of local processes; None: one per core
        plan: the plan
        seconds: work in all, on one core
    """
    count = min(workers or cores(), plan.count())
    if scheduler == "synchronous" or (scheduler is None and workers is None and seconds < USE_PROCESSES_ABOVE_SECONDS):
        return executors.synchronous(), 1
    if scheduler:
        return executors.remote(scheduler), 1
    return executors.local(count), count


def size(nbytes: float) -> str:
    """Return a number of bytes as text for people.

    >>> size(2_500_000)
    '2.5 MB'
    """
    step = min(int(math.log10(max(nbytes, 1))) // 3, 5)
    return f"{nbytes / 1000**step:.3g} {' kMGTP'[step].strip()}B"


def duration(seconds: float) -> str:
    """Return a number of seconds as text for people.

    >>> duration(246_005)
    '2.8 days'
    """
    for unit_seconds, name in ((86400, "days"), (3600, "hours"), (60, "minutes")):
        if seconds >= 2 * unit_seconds:
            return f"{seconds / unit_seconds:.2g} {name}"
    return f"{seconds:.0f} s"
