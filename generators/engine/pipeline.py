"""plan -> create -> shards -> verify -> finalise. Knows nothing of tasks."""

import math
import os
import resource
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from generators.contract import Arrays, Sliced, find_generator, stored
from generators.engine import creation, executors, shards
from generators.engine.executors import Executor
from generators.engine.finalise import finalise
from generators.engine.plan import Plan
from generators.engine.progress import follow
from generators.engine.provenance import packages, platform_class
from generators.recipe import Recipe
from schemas.layout import choose
from schemas.manifest import FORMAT, Layout, Manifest
from schemas.runtime.destinations import output
from schemas.runtime.errors import UserError
from schemas.runtime.machine import cores
from schemas.runtime.publish import exists, nbytes, read, resumable, writable
from schemas.runtime.settings import describe
from schemas.task import SPLITS

PROBE = 4  # samples timed before a layout is chosen, at most
SLOW = 2.0  # seconds: of samples that take longer only one is timed
LONG = 60.0  # seconds: of a sample that takes longer finished slices are stored, and no second one is timed
SHORT = 2.0  # seconds of work in all: starting processes would take longer
WORKER = 400 << 20  # bytes of memory of a worker beside its unit: interpreter, libraries, compiled code


@dataclass(frozen=True)
class Estimate:
    """What a plan will cost, from a few samples made and timed here."""

    samples_left: int
    seconds_per_sample: float
    workers: int
    seconds: float
    memory: int  # bytes, all workers
    disk: int  # bytes at most: what compression saves is not counted
    objects: int


def plan(task: str, recipe: Recipe, seed: int, samples: dict[str, int], out: Path) -> Plan:
    """The plan of a dataset, with a provisional layout."""
    schema, generator = find_generator(task)
    for split in SPLITS:
        if samples[split]:
            recipe.serves(split, samples[split])
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
    return Plan(Path(os.path.abspath(output("--out", out))), manifest, recipe)


def lay_out(plan: Plan, shard_samples: int | None) -> tuple[Plan, float]:
    """The plan with a layout, and the seconds that a sample takes: a few are made, so a bad recipe fails here."""
    split, n = next((split, n) for split, n in plan.manifest.samples.items() if n)
    _, most = next(shards.blocks(plan, 0, min(PROBE, n)))
    seconds = _seconds_by_slices(plan, split)
    plan = replace(plan, stores_slices=seconds is not None and seconds >= LONG)
    if seconds is None or seconds < LONG:
        seconds = _seconds(plan, split, 1)  # compiles or loads kernels
        if seconds < LONG:
            seconds = _seconds(plan, split, most if seconds < SLOW else 1)
    layout = choose(plan.task, plan.manifest.sizes, seconds, shard_samples)
    return replace(plan, manifest=plan.manifest.model_copy(update={"layout": layout})), seconds


def _seconds(plan: Plan, split: str, count: int) -> float:
    """Make some samples; return the seconds that each takes."""
    start = time.perf_counter()
    shards.make(plan, split, range(count))
    return (time.perf_counter() - start) / count


def _seconds_by_slices(plan: Plan, split: str) -> float | None:
    """Return the seconds that a sample takes, from a few of its slices; None for a task that is not simulated so.

    The sample that is made has the same slice again and again: a fault in what follows must not show after an hour.
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
    """Time, memory, disk and files of a plan."""
    layout, samples = plan.manifest.layout, plan.manifest.samples
    shard_bytes = min(layout.shard, max(samples.values())) * plan.nbytes() // sum(samples.values())
    arrays = len([f for f in plan.task.fields if f.per_sample and f.role != "parameter"])
    columns = len(plan.task.of("parameter"))
    objects = sum(arrays * -(-n // layout.shard) + columns * -(-n // layout.block) for n in samples.values())
    return Estimate(
        samples_left=left,
        seconds_per_sample=seconds,
        workers=workers,
        seconds=seconds * left / workers,
        memory=workers * (max(WORKER, _peak()) + 3 * shard_bytes),
        disk=plan.nbytes(),
        objects=objects,
    )


def _peak() -> int:
    """Bytes that this process has taken at most: it has just made samples, as a worker does."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


def refuse_what_cannot_fit(plan: Plan, cost: Estimate, memory: int) -> None:
    """UserError if the place cannot be written, or the disk or the memory of this machine is too small for a plan."""
    place = next(folder for folder in (plan.out, *plan.out.parents) if exists(folder))
    with writable("--out", plan.out):
        tempfile.TemporaryFile(dir=place).close()
    held = 0 if read(plan.out / "zarr.json") is None else nbytes(plan.out)
    free = shutil.disk_usage(place).free + held
    if cost.disk > free:
        raise UserError(
            f"{plan.out}: {sum(plan.manifest.samples.values()):,} samples take up to {size(cost.disk)}, "
            f"{size(free)} are free at {place}; ask for fewer (--n), or choose another --out"
        )
    if cost.memory > memory:
        raise UserError(
            f"this plan needs {size(cost.memory)} of memory, the machine has {size(memory)}; "
            "ask for fewer --workers, smaller --shard-samples or smaller images"
        )


def generate(
    plan: Plan, executor: Executor, *, shard_samples: int | None = None, overwrite: bool = False
) -> tuple[Manifest, int]:
    """Make what of a plan is not made yet; returns the final manifest and the number of samples made now."""
    made = 0
    with resumable(plan.out, "finished shards"):
        with executor as run:
            plan = creation.claim(plan, shard_samples=shard_samples, overwrite=overwrite)
            for outcome in follow(run(shards.ensure, plan.jobs()), sum(plan.manifest.samples.values())):
                made += outcome.samples * (outcome.made and outcome.kind == "samples")
        return finalise(plan), made


def executor(scheduler: str | None, workers: int | None, plan: Plan, seconds: float) -> tuple[Executor, int]:
    """Where to run, and how many workers that makes on this machine."""
    count = min(workers or cores(), plan.count())
    if scheduler == "synchronous" or (scheduler is None and workers is None and seconds < SHORT):
        return executors.synchronous(), 1
    if scheduler:
        return executors.remote(scheduler), 1
    return executors.local(count), count


def size(nbytes: float) -> str:
    """Bytes for people.

    >>> size(2_500_000)
    '2.5 MB'
    """
    step = min(int(math.log10(max(nbytes, 1))) // 3, 5)
    return f"{nbytes / 1000**step:.3g} {' kMGTP'[step].strip()}B"


def duration(seconds: float) -> str:
    """Seconds for people.

    >>> duration(246_005)
    '2.8 days'
    """
    for unit_seconds, name in ((86400, "days"), (3600, "hours"), (60, "minutes")):
        if seconds >= 2 * unit_seconds:
            return f"{seconds / unit_seconds:.2g} {name}"
    return f"{seconds:.0f} s"
