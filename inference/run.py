"""Invert one split of a dataset, unit by unit. The same command keeps the units that are whole, and does the rest."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from inference import place
from inference.contract import Inverter
from inference.source import Source
from inference.tiling import Tiles, as_stored, spatial
from schemas.errors import UserError
from schemas.locks import locked
from schemas.machine import versions
from schemas.objects import inside, publish
from schemas.output import resumable, writable
from schemas.predictions import FORMAT, Predictions, objects, read_rows
from schemas.progress import pace, progress
from schemas.store import units

PACKAGES = ("drybeam", "numpy", "scipy", "zarr", "jax", "jaxlib", "flax")  # that predictions pass through

type Block = dict[str, np.ndarray]


@dataclass
class Clock:
    """Seconds of inversion per sample, without the first batch of each length, which compiles."""

    batches: list[tuple[float, int]] = field(default_factory=list)
    broken: int = 0  # samples that came out as what is no number

    def time(self, work: Callable[[Block], Block], block: Block, samples: int) -> Block:
        """Do the work of one batch."""
        start = time.perf_counter()
        result = work(block)
        self.batches.append((time.perf_counter() - start, samples))
        finite = [np.isfinite(values).reshape(len(values), -1).all(axis=1) for values in result.values()]
        self.broken += int((~np.logical_and.reduce(finite)).sum())
        return result

    @property
    def timed(self) -> list[tuple[float, int]]:
        """The batches that count."""
        lengths = [samples for _, samples in self.batches]
        return [batch for i, batch in enumerate(self.batches) if batch[1] in lengths[:i]]

    @property
    def seconds(self) -> float:
        """Per sample; of one timed batch at least."""
        return sum(seconds for seconds, _ in self.timed) / sum(samples for _, samples in self.timed)


@dataclass(frozen=True)
class Job:
    """What is inverted, with what, how."""

    source: Source
    inverter: Inverter
    tiles: Tiles
    batch: int
    out: Path

    @property
    def predictions(self) -> Predictions:
        """As their metadata will say, before the first sample."""
        source, inverter = self.source, self.inverter
        manifest, targets = source.manifest, inverter.task.of("target")
        return Predictions(
            format=FORMAT,
            name=inverter.name,
            kind=inverter.kind,
            method=inverter.method,
            version=inverter.version,
            about=inverter.about,
            settings=dict(inverter.settings),
            weights=inverter.weights,
            task=source.task if source.task.of("target") else replace(source.task, fields=source.task.fields + targets),
            sizes=manifest.sizes,
            dataset_digest=str(manifest.root_digest),
            family=manifest.family,
            split=source.split,
            split_digest=manifest.split_digests[source.split],
            samples=source.samples,
            unit=source.unit,
            chunks={f.name: self._chunks(f.name, f.shape(manifest.sizes)) for f in targets},
            tiles=dict(self.tiles.lengths),
            overlap=self.tiles.overlap,
            tuning=inverter.tuning,
            history=[dict(row) for row in inverter.history],
            hardware=inverter.hardware,
            packages=versions(PACKAGES),
        )

    def _chunks(self, name: str, shape: tuple[int, ...]) -> tuple[int, ...]:
        return self.source.manifest.layout.chunks.get(name, (self.source.unit, *shape))

    @property
    def block(self) -> int:
        """Samples read at once: as many as make a batch, of images or of tiles; or all that belong together."""
        if self.inverter.together:
            return self.source.samples
        return max(self.batch // self.tiles.count(self.source.manifest.sizes), 1)

    def invert(self, block: Block) -> Block:
        """The targets of a block."""
        task, sizes = self.inverter.task, self.source.manifest.sizes
        if self.tiles.lengths:
            return self.tiles.apply(self.inverter.predict, task, sizes, block, self.batch)
        predicted = self.inverter.predict(block)
        return {field.name: as_stored(field, predicted[field.name]) for field in task.of("target")}


def choose_tiles(source: Source, inverter: Inverter, asked: int | str | None, overlap: float) -> Tiles:
    """How images are cut: as asked (pixels or "none"), else to the size of the training images if they are larger.

    UserError: smaller than the training images, or a size that the network cannot take.
    """
    dims, sizes = spatial(inverter.task, inverter.inputs), source.manifest.sizes
    trained = inverter.sizes or {}
    if asked == "none":
        lengths = {}
    elif asked is not None:
        lengths = {dim: int(asked) for dim in dims if sizes[dim] > int(asked)}
    else:
        if small := [f"{dim} {sizes[dim]} < {trained[dim]}" for dim in dims if sizes[dim] < trained.get(dim, 0)]:
            raise UserError(
                f"{source.path}: images are smaller than those of training ({', '.join(small)}); "
                "--tile none tries it nevertheless"
            )
        lengths = {dim: trained[dim] for dim in dims if sizes[dim] > trained.get(dim, sizes[dim])}
    if lengths and inverter.whole:
        raise UserError(
            f"{inverter.name} sees what is computed from whole images, here larger than in training or cut by --tile: "
            "give --tile none"
        )
    if found := inverter.accepts(source.task, {**sizes, **lengths}):
        raise UserError(f"{inverter.name} cannot read {source.path}: {'; '.join(found)}")
    return Tiles(lengths, overlap)


def refuse(job: Job, *, overwrite: bool = False) -> None:
    """Raise UserError if a job cannot begin: its place holds something else, or its first samples cannot be read."""
    place.refuse(job.out, job.predictions, overwrite=overwrite)
    if overwrite or not (job.out / "zarr.json").exists():
        job.source.read(job.inverter.inputs, 0, min(job.block, job.source.samples))


@contextmanager
def alone(jobs: Sequence[Job]) -> Iterator[None]:
    """Hold the places of all jobs for this process while entered. UserError: another one writes there."""
    with ExitStack() as stack:
        for out in (job.out for job in jobs):
            with writable("--out", out):
                _lock(out, stack)
        yield


def _lock(out: Path, stack: ExitStack) -> None:
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        stack.enter_context(locked(out.with_name(f".{out.name}.lock"), wait=False))
    except BlockingIOError:
        raise UserError(f"--out {out}: another `infer` writes here; wait for it, or choose another") from None


def run(job: Job, *, overwrite: bool = False) -> tuple[Predictions, int, int]:
    """Invert what is not inverted yet; the caller has entered `alone`.

    Returns what stands in the store now, how many samples were done, and how many of those hold what is no number.
    """
    with resumable(job.out, "finished units"):
        return _run(job, overwrite=overwrite)


def _run(job: Job, *, overwrite: bool) -> tuple[Predictions, int, int]:
    predictions = place.claim(job.out, job.predictions, overwrite=overwrite)
    clock, made, done, begin = Clock(), 0, 0, time.monotonic()
    with progress(job.source.samples) as show:
        if job.inverter.together:
            made = _together(job, predictions, clock)
        for start, stop in units(predictions.samples, predictions.unit):
            if not _whole(job.out, predictions, start, stop):
                done = start
                for part in _unit(job, predictions, clock, start, stop):
                    made, done = made + part, done + part
                    show(done, pace(predictions.samples - done, made, time.monotonic() - begin))
            done = stop
    broken = clock.broken  # before a batch is done again for its time
    if made or predictions.status != "complete":
        here = {"hardware": job.inverter.hardware, "packages": versions(PACKAGES)}  # where the time is measured
        predictions = place.finish(job.out, predictions.model_copy(update=here), _seconds(job, clock))
    return predictions, made, broken


def _whole(out: Path, predictions: Predictions, start: int, stop: int) -> bool:
    """Whether a unit is there and its checksums hold."""
    try:
        read_rows(out, predictions, slice(start, stop))
    except UserError:
        return False
    return True


def _unit(job: Job, predictions: Predictions, clock: Clock, start: int, stop: int) -> Iterator[int]:
    """Invert and publish a unit; yields samples as they are done."""
    parts = []
    for first in range(start, stop, job.block):
        last = min(first + job.block, stop)
        block = job.source.read(job.inverter.inputs, first, last)
        parts.append(clock.time(job.invert, block, last - first))
        yield last - first
    _publish(job, predictions, start, {name: np.concatenate([part[name] for part in parts]) for name in parts[0]})


def _together(job: Job, predictions: Predictions, clock: Clock) -> int:
    """Invert all samples at once, unless all units are there. Returns how many were inverted."""
    n = predictions.samples
    if all(_whole(job.out, predictions, start, stop) for start, stop in units(n, predictions.unit)):
        return 0
    values = clock.time(job.invert, job.source.read(job.inverter.inputs, 0, n), n)
    for start, stop in units(n, predictions.unit):
        _publish(job, predictions, start, {name: rows[start:stop] for name, rows in values.items()})
    return n


def _publish(job: Job, predictions: Predictions, start: int, values: Block) -> None:
    """The objects of a unit."""
    for key, data in objects(predictions, start, values).items():
        publish(inside(job.out, key), data)


def _seconds(job: Job, clock: Clock) -> float:
    """Measured on what was done now; where no batch of that counts, the first is done again for it."""
    if job.inverter.together and clock.batches:  # one batch, too long to be done twice
        return sum(seconds for seconds, _ in clock.batches) / job.source.samples
    count = min(job.block, job.source.samples)
    block = job.source.read(job.inverter.inputs, 0, count)
    while not clock.timed:
        clock.time(job.invert, block, count)
    return clock.seconds
