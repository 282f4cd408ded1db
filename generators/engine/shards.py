"""The work of a worker: make the samples of one job, write them as whole objects, then write the receipt.

The result is a pure function of the job: a worker reads no global configuration, and two workers that do the same job
write the same bytes.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np

from generators.contract import Arrays, Sliced, arrays_of, calling, find_generator
from generators.engine import finished_slices, receipts
from generators.engine.plan import Job, Kind, Plan
from generators.engine.provenance import platform_class
from generators.engine.receipts import FieldSums, Receipt
from generators.random_streams import Streams
from schemas import digest
from schemas.array_checks import array_problems
from schemas.manifest import Manifest
from schemas.runtime.errors import UserError
from schemas.runtime.hashes import sha256
from schemas.runtime.publish import create, exists, inside
from schemas.store import encoded, is_simulated, metadata, shard_ranges
from schemas.task import Field

MAX_SIMULATED_SAMPLES = 16  # samples simulated at once; their arrays should stay in the cache of a core
MAX_BLOCK_BYTES = 64 << 20  # maximum bytes of the stored fields of a block
MAX_DRAWN_SAMPLES = 1024  # samples whose parameters are held as Python objects at once
STATISTICS_SAMPLES = 1024  # number of training samples from which the statistics are taken

type Simulate = Callable[[Any, Sequence[Any]], Arrays]  # called like `Generator.simulate`


@dataclass(frozen=True)
class Outcome:
    """The result of a job, kept small because it is sent back to the client process."""

    split: str
    kind: Kind
    start: int
    samples: int
    made: bool = False  # False if kept from an earlier run
    blocked: bool = False  # True if other objects are in the way, which only the client may remove


def ensure(job: Job) -> Outcome:
    """Do a job, unless its receipt and its objects show that it is done. No object in the store is ever replaced.

    Args:
        job: the job

    Raises:
        UserError: this worker has another platform class or generator, or the task's file fails
        Interrupted: another client has changed the plan meanwhile
    """
    outcome = Outcome(job.split, job.kind, job.start, job.stop - job.start)
    if receipts.is_done(job):
        return outcome
    blocked = any(exists(inside(job.plan.out, key)) for key in job.object_keys()) or not _do(job)
    return replace(outcome, made=not blocked, blocked=blocked)


def _do(job: Job) -> bool:
    """Make the samples or parameters of a job, add their objects, and then the receipt.

    Returns False if another writer's objects, with other bytes, have come into the way meanwhile.
    """
    start = time.perf_counter()
    manifest = job.plan.manifest
    if platform_class() != manifest.platform:
        raise UserError(
            f"this worker is a {platform_class()}, but the dataset is made on {manifest.platform}; use equal machines"
        )
    if (version := find_generator(manifest.task.name)[1].VERSION) != manifest.generator_version:
        raise UserError(
            f"this worker has version {version} of the generator, not {manifest.generator_version}; update it"
        )
    values, leaves, moments = _samples(job) if job.kind == "samples" else (_parameters(job), "", {})
    arrays = {f"{job.split}/{name}": array for name, array in values.items()}
    objects = {}
    with job.plan.shared():
        for key, data in encoded(described(job.plan), job.start, arrays):
            if not create(inside(job.plan.out, key), data):
                return False
            objects[key] = (sha256(data), len(data))
        receipt = Receipt(
            fingerprint=job.plan.fingerprint,
            layout=manifest.layout,
            kind=job.kind,
            split=job.split,
            start=job.start,
            stop=job.stop,
            objects=objects,
            leaves=leaves,
            moments=moments,
            seconds=time.perf_counter() - start,
        )
        receipts.save(job, receipt)
    finished_slices.remove(job)
    return True


def described(plan: Plan) -> dict[str, bytes]:
    """Return the contents of all zarr.json files that the plan needs, by path in the store."""
    return _metadata(plan.manifest.model_dump_json())


@lru_cache(maxsize=4)
def _metadata(manifest: str) -> dict[str, bytes]:
    return metadata(Manifest.model_validate_json(manifest))


def _parameters(job: Job) -> Arrays:
    plan, split = job.plan, job.split
    runs = shard_ranges(job.stop - job.start, MAX_DRAWN_SAMPLES)
    parts = [columns(plan, _drawn(plan, _streams(plan, split, range(job.start + a, job.start + b)))) for a, b in runs]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _samples(job: Job) -> tuple[Arrays, str, dict[str, list[FieldSums]]]:
    """Return the simulated arrays of a job, the leaf digests of its samples, and the sums for the statistics."""
    plan = job.plan
    fields = [field for field in plan.task.fields if is_simulated(field)]
    out = {
        field.name: np.empty((job.stop - job.start, *field.shape(plan.manifest.sizes)), field.dtype) for field in fields
    }
    leaves = []
    moments: dict[str, list[FieldSums]] = {field.name: [] for field in fields}
    for start, stop in blocks(plan, job.start, job.stop):
        values = make(plan, job.split, range(start, stop))
        if stop - start == job.stop - job.start:  # no copy, so that large samples are held once
            out = {name: values[name] for name in out}
        else:
            for name, array in out.items():
                array[start - job.start : stop - job.start] = values[name]
        leaves += list(digest.leaves(plan.task, values))
        counted = STATISTICS_SAMPLES - start if job.split == "train" else 0
        for name in moments:
            moments[name] += [_moments(value) for value in values[name][: max(counted, 0)]]
    return out, b"".join(leaves).hex(), {name: rows for name, rows in moments.items() if rows}


def blocks(plan: Plan, start: int, stop: int) -> Iterator[tuple[int, int]]:
    """Yield ranges of samples to be simulated at once.

    These are MAX_SIMULATED_SAMPLES samples, fewer if they are large, one if they are slow.

    Args:
        plan: the plan
        start: index of the first sample
        stop: index after the last sample

    Yields:
        pairs (start, stop)
    """
    nbytes = sum(field.nbytes(plan.manifest.sizes) for field in plan.task.fields if field.per_sample)
    length = 1 if plan.stores_slices else max(1, min(MAX_SIMULATED_SAMPLES, MAX_BLOCK_BYTES // max(nbytes, 1)))
    return ((start + a, start + b) for a, b in shard_ranges(stop - start, length))


def make(plan: Plan, split: str, indices: range, simulate: Simulate | None = None) -> Arrays:
    """Return all fields of some samples, with a leading axis: parameters, simulated and measured arrays.

    Args:
        plan: the plan
        split: split of the samples
        indices: indices of the samples in the split
        simulate: a function to take the place of the task's own, for example to time it

    Raises:
        UserError: a function of the task's file fails, or its arrays contradict the schema
    """
    _, generator = find_generator(plan.task.name)
    name, streams = plan.task.name, _streams(plan, split, indices)
    block = _drawn(plan, streams)
    parameters = columns(plan, block)
    simulate = simulate or _simulation(plan, split, indices)
    arrays = arrays_of(name, "simulate", simulate, plan.recipe, block)
    values = parameters | arrays_of(name, "measure", generator.measure, plan.recipe, block, arrays, streams)
    if problems := array_problems(plan.task, plan.manifest.sizes, values):
        raise UserError(f"{_file(plan)}: {split} samples {indices.start}:{indices.stop}: {'; '.join(problems)}")
    return values


def _file(plan: Plan) -> str:
    return f"generators/tasks/{plan.task.name}.py"


def _drawn(plan: Plan, streams: Sequence[Streams]) -> list[Any]:
    """Return the parameters of some samples, as the task draws them."""
    draw = find_generator(plan.task.name)[1].draw
    with calling(plan.task.name, "draw"):
        return [draw(plan.recipe, rng) for rng in streams]


def _simulation(plan: Plan, split: str, indices: range) -> Simulate:
    simulate = find_generator(plan.task.name)[1].simulate
    if plan.stores_slices and len(indices) == 1 and isinstance(simulate, Sliced):
        return finished_slices.storing(plan, split, indices.start, simulate)
    return simulate


def columns(plan: Plan, block: Sequence[Any]) -> Arrays:
    """Return the parameters of a block as arrays of the declared dtypes and shapes.

    Args:
        plan: the plan
        block: parameters of the samples, as `draw` returns them

    Raises:
        UserError: a parameter is missing, or has another shape, or its dtype cannot hold it
    """
    fields = plan.task.of("parameter")
    rows = [row(parameters, fields) for parameters in block]
    if lacking := [field.name for field in fields if field.name not in rows[0]]:
        names = ", ".join(lacking)
        raise UserError(f"{_file(plan)}: the result of draw lacks {names}, which the schema has as parameters")
    return {field.name: _column(plan, field, [one[field.name] for one in rows]) for field in fields}


def row(parameters: Any, fields: Sequence[Field]) -> Mapping[str, Any]:
    """Return the parameters of a sample by field: attributes of the object that `draw` returns, or its `columns()`.

    Args:
        parameters: the object that `draw` returns
        fields: the parameter fields of the task
    """
    if hasattr(parameters, "columns"):
        return parameters.columns()  # type: ignore[no-any-return]
    return {field.name: getattr(parameters, field.name) for field in fields if hasattr(parameters, field.name)}


def _column(plan: Plan, field: Field, rows: list[Any]) -> np.ndarray:
    """Return one drawn parameter of all samples in the dtype of its field, which must hold it exactly."""
    shape = field.shape(plan.manifest.sizes)
    if other := {np.shape(row) for row in rows} - {shape}:
        raise UserError(f"{_file(plan)}: draw gives {field.name} of shape {other.pop()}; it must be {shape}")
    drawn = np.array(rows)
    if drawn.dtype == field.dtype:
        return drawn
    if drawn.dtype.kind in "biuf":
        with np.errstate(over="ignore", invalid="ignore"):
            column = drawn.astype(field.dtype)
        if np.array_equal(column, drawn, equal_nan=True):
            return column
    raise UserError(
        f"{_file(plan)}: draw gives {field.name} = {rows[0]!r}, which {field.dtype} cannot hold; round it to that "
        "dtype, so that the stored value is the simulated one"
    )


def _streams(plan: Plan, split: str, indices: range) -> list[Streams]:
    seed = plan.manifest.seed
    assert seed is not None  # only imported measurements have no seed
    return [Streams(seed, split, index) for index in indices]


def _moments(value: np.ndarray) -> FieldSums:
    real = abs(value) if value.dtype.kind == "c" else value
    x = np.array(real, np.float64)
    found = {"count": x.size, "sum": x.sum(), "min": x.min(), "max": x.max()}
    return FieldSums(**found, squares=np.multiply(x, x, out=x).sum())  # in place, since a sample may be large


def constants(plan: Plan) -> Arrays:
    """Return the fields without a sample axis, checked against the schema.

    Args:
        plan: the plan

    Raises:
        UserError: the task returns other fields or other shapes
    """
    schema, generator = find_generator(plan.task.name)
    (streams,) = _streams(plan, "dataset", range(1))
    values = arrays_of(plan.task.name, "constants", generator.constants, plan.recipe, streams)
    fields = {field.name: field for field in plan.task.fields if not field.per_sample}
    declared = {field.name for field in schema.fields if not field.per_sample}
    if wrong := (fields.keys() - values.keys()) | (values.keys() - declared):
        names = f"{', '.join(sorted(wrong))}; the schema has {', '.join(sorted(declared)) or 'none'}"
        raise UserError(f"{_file(plan)}: constants must return the fields of the schema, not more or fewer: {names}")
    arrays = {name: values[name].astype(field.dtype) for name, field in fields.items()}
    if problems := array_problems(plan.task, plan.manifest.sizes, arrays, samples=False):
        raise UserError(f"{_file(plan)}: constants: {'; '.join(problems)}")
    return arrays
