"""Invert one split of a dataset, shard by shard. The same command keeps whole shards and does the rest."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from inference.contract import Inverter
from inference.invert import destination
from inference.invert.source import Source
from inference.invert.tiling import Tiles, all_stored, of_tile, spatial, steps
from schemas.predictions import FORMAT, Predictions, objects, read_rows
from schemas.runtime.errors import UserError
from schemas.runtime.machine import versions
from schemas.runtime.progress import pace, progress
from schemas.runtime.publish import claimed, exists, inside, publish, resumable
from schemas.store import shard_ranges
from schemas.target_kinds import probability
from schemas.task import Field, Task

PACKAGES = ("drybeam", "numpy", "scipy", "zarr", "jax", "jaxlib", "flax")  # that predictions pass through

type Block = dict[str, np.ndarray]


@dataclass
class Clock:
    """Seconds of inversion per sample, without the first batch of each length, which compiles."""

    batches: list[tuple[float, int]] = field(default_factory=list)
    groups: bool = False  # a batch is a group, for which nothing compiles: all count
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
        if self.groups:
            return self.batches
        return [batch for i, batch in enumerate(self.batches) if batch[1] in lengths[:i]]

    @property
    def seconds(self) -> float:
        """Per sample; of one timed batch at least."""
        return sum(seconds for seconds, _ in self.timed) / sum(samples for _, samples in self.timed)


def _predicted(task: Task, targets: tuple[Field, ...]) -> Task:
    """The task of a dataset with the targets that are predicted."""
    stored = {field.name: field.role for field in task.fields}
    if any(stored.get(field.name) == "parameter" for field in targets):
        return task.targeting(targets[0].name)
    if all(field.name in stored for field in targets):
        return task
    return replace(task, fields=tuple(field for field in task.fields if field.role != "target") + targets)


@dataclass(frozen=True)
class Inversion:
    """What is inverted, with what, how."""

    source: Source
    inverter: Inverter
    tiles: Tiles
    batch: int
    out: Path
    probabilities: bool = False  # of classes, these are stored, too

    @property
    def predictions(self) -> Predictions:
        """As their metadata will say, before the first sample."""
        source, inverter = self.source, self.inverter
        manifest, targets = source.manifest, inverter.task.of("target")
        classes = [field for field in targets if field.classes and self.probabilities]
        if self.probabilities and not classes:
            raise UserError(f"--probabilities: {inverter.name} predicts no classes; leave it out")
        lost = {dim for field in targets for dim in field.dims[1:]} - manifest.sizes.keys()
        if unknown := sorted(lost - (inverter.sizes or {}).keys()):
            raise UserError(
                f"{source.path}: does not state the length of {', '.join(unknown)}, along which targets lie"
            )
        sizes = manifest.sizes | {dim: (inverter.sizes or {})[dim] for dim in lost}
        sizes |= {probability(field).dims[1]: len(field.classes) for field in classes}
        stored = (*targets, *map(probability, classes))
        return Predictions(
            format=FORMAT,
            name=inverter.name,
            kind=inverter.kind,
            method=inverter.method,
            version=inverter.version,
            about=inverter.about,
            settings=dict(inverter.settings),
            weights=inverter.weights,
            task=_predicted(source.task, targets),
            sizes=sizes,
            dataset_digest=str(manifest.root_digest),
            family=manifest.family,
            split=source.split,
            split_digest=manifest.split_digests[source.split],
            samples=source.samples,
            unit=source.shard,
            chunks={f.name: self._chunks(f.name, f.shape(sizes)) for f in stored},
            tiles=dict(self.tiles.lengths),
            overlap=self.tiles.overlap,
            probabilities=self.probabilities,
            tuning=inverter.tuning,
            history=[dict(row) for row in inverter.history],
            hardware=inverter.hardware,
            packages=versions(PACKAGES),
        )

    def _chunks(self, name: str, shape: tuple[int, ...]) -> tuple[int, ...]:
        return self.source.manifest.layout.chunks.get(name, (self.source.shard, *shape))

    @property
    def block(self) -> int:
        """Samples read at once: as many as make a batch, of images or of tiles."""
        return max(self.batch // self.tiles.count(self.source.manifest.sizes), 1)

    def invert(self, block: Block) -> Block:
        """The targets of a block."""
        task, sizes = self.inverter.task, self.source.manifest.sizes
        if self.tiles.lengths:
            cut = (self.inverter.predict, task, sizes, block, self.batch)
            return self.tiles.apply(*cut, probabilities=self.probabilities)
        return all_stored(task, self.inverter.predict(block), probabilities=self.probabilities)


def choose_tiles(source: Source, inverter: Inverter, asked: int | str | None, overlap: float) -> Tiles:
    """How images are cut: as asked (pixels or "none"), else to the size of the training images if they are larger.

    UserError: smaller than the training images, or a size that the network cannot take.
    """
    dims, sizes = spatial(inverter.task, inverter.inputs), source.manifest.sizes
    dims = tuple(dim for dim in dims if dim in sizes)
    if inverter.whole and (found := inverter.accepts(source.task, sizes)):
        raise UserError(f"{inverter.name} cannot read {source.path}: {'; '.join(found)}")
    trained = inverter.sizes or {}
    if asked not in (None, "none") and not dims:
        raise UserError(f"--tile {asked}: {inverter.name} gives nothing on the grid of its input; leave it out")
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
    apart = steps(inverter.task, sizes, dims)
    if uneven := [dim for dim in lengths if lengths[dim] % apart[dim]]:
        rule = ", ".join(f"a multiple of {apart[dim]} along {dim}" for dim in uneven)
        raise UserError(f"--tile: must be {rule}: so many pixels lie under one of the input")
    if found := inverter.accepts(source.task, of_tile(inverter.task, sizes, lengths)):
        raise UserError(f"{inverter.name} cannot read {source.path}: {'; '.join(found)}")
    return Tiles(lengths, overlap, {dim: apart[dim] for dim in lengths})


def refuse(job: Inversion, *, overwrite: bool = False) -> None:
    """Raise UserError if a job cannot begin: its place holds something else, or its first samples cannot be read."""
    destination.refuse(job.out, job.predictions, overwrite=overwrite)
    if overwrite or not exists(job.out / "zarr.json"):
        job.source.take(job.inverter.inputs, _first(job))


@contextmanager
def alone(jobs: Sequence[Inversion]) -> Iterator[None]:
    """Hold the places of all jobs for this process while entered. UserError: another one writes there."""
    with ExitStack() as stack:
        for job in jobs:
            busy = "another `infer` writes here; wait for it, or choose another"
            stack.enter_context(claimed("--out", job.out, busy=busy))
        yield


def run(job: Inversion, *, overwrite: bool = False) -> tuple[Predictions, int, int]:
    """Invert what is not inverted yet; the caller has entered `alone`.

    Returns what stands in the store now, how many samples were done, and how many of those hold what is no number.
    """
    with resumable(job.out, "finished shards"):
        return _run(job, overwrite=overwrite)


def _run(job: Inversion, *, overwrite: bool) -> tuple[Predictions, int, int]:
    predictions = destination.claim(job.out, job.predictions, overwrite=overwrite)
    n, clock = predictions.samples, Clock(groups=job.inverter.scope == "group")
    missing = dict(ends for ends in shard_ranges(n, predictions.shard) if not _whole(job.out, predictions, *ends))
    made, left, begin = 0, sum(stop - start for start, stop in missing.items()), time.monotonic()
    with progress(n) as show:
        for part in _invert(job, predictions, clock, missing):
            made += part
            show(n - left + made, pace(left - made, made, time.monotonic() - begin))
    broken = clock.broken  # before a batch is done again for its time
    if made or predictions.status != "complete":
        here = {"hardware": job.inverter.hardware, "packages": versions(PACKAGES)}  # where the time is measured
        predictions = destination.finish(job.out, predictions.model_copy(update=here), _seconds(job, clock))
    return predictions, made, broken


def _whole(out: Path, predictions: Predictions, start: int, stop: int) -> bool:
    """Whether a shard is there and its checksums hold."""
    try:
        read_rows(out, predictions, slice(start, stop), everything=True)
    except UserError:
        return False
    return True


def _invert(job: Inversion, predictions: Predictions, clock: Clock, missing: Mapping[int, int]) -> Iterator[int]:
    """Invert the samples of missing units, start to stop, and publish each with its last one. Yields how many are done.

    Where groups end within a shard, one of them may have been inverted before.
    """
    parts: dict[int, list[tuple[np.ndarray, Block]]] = {start: [] for start in missing}
    for rows in _blocks(job, missing):
        values = clock.time(job.invert, job.source.take(job.inverter.inputs, rows), len(rows))
        for start in parts.keys() & set((rows // predictions.shard * predictions.shard).tolist()):
            here = slice(*np.searchsorted(rows, (start, missing[start])))
            parts[start].append((rows[here], {name: array[here] for name, array in values.items()}))
            yield len(rows[here])
            if sum(len(some) for some, _ in parts[start]) == missing[start] - start:
                _publish(job, predictions, start, _joined(parts.pop(start)))


def _blocks(job: Inversion, missing: Mapping[int, int]) -> Iterator[np.ndarray]:
    """Return what is inverted at once: blocks within units, or whole groups."""
    if job.inverter.scope == "group":
        wanted = np.zeros(job.source.samples, bool)
        for start, stop in missing.items():
            wanted[start:stop] = True
        yield from (rows for rows in job.source.groups(job.inverter.group) if wanted[rows].any())
    else:
        for start, stop in missing.items():
            yield from (np.arange(first, min(first + job.block, stop)) for first in range(start, stop, job.block))


def _joined(parts: list[tuple[np.ndarray, Block]]) -> Block:
    """The samples of some blocks, in order."""
    order = np.argsort(np.concatenate([rows for rows, _ in parts]))
    return {name: np.concatenate([values[name] for _, values in parts])[order] for name in parts[0][1]}


def _publish(job: Inversion, predictions: Predictions, start: int, values: Block) -> None:
    """The objects of a shard."""
    for key, data in objects(predictions, start, values).items():
        publish(inside(job.out, key), data)


def _first(job: Inversion) -> np.ndarray:
    """The samples that are inverted at once before any others."""
    if job.inverter.scope == "group":
        return job.source.groups(job.inverter.group)[0]
    return np.arange(job.source.samples)[: job.block]


def _seconds(job: Inversion, clock: Clock) -> float:
    """Measured on what was done now; where no batch of that counts, the first is done again for it."""
    if not clock.timed:
        first = _first(job)
        block = job.source.take(job.inverter.inputs, first)
    while not clock.timed:
        clock.time(job.invert, block, len(first))
    return clock.seconds
