"""Invert one split of a dataset, shard by shard. The same command resumes: it keeps the shards that are finished."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from inference.contract import Inverter
from inference.invert import destination
from inference.invert.split_reader import Source
from inference.invert.tiling import Tiles, cut_steps, dims_to_cut, stored_targets, tile_sizes
from schemas.predictions import FORMAT, Predictions, is_intact, objects, shard_digest
from schemas.runtime.errors import UserError
from schemas.runtime.locks import claimed, resumable
from schemas.runtime.machine import versions
from schemas.runtime.progress import pace, progress
from schemas.runtime.publish import exists, inside, publish
from schemas.store import shard_ranges
from schemas.target_kinds import probability_field
from schemas.task import Field, Task

PACKAGES = ("drybeam", "numpy", "scipy", "zarr", "jax", "jaxlib", "flax")  # packages that affect predictions

RECORD_PAUSE = 20  # time between two records of digests, relative to the time that one takes

type Block = dict[str, np.ndarray]
type FinishShard = Callable[[int, Block], None]  # writes the values of a shard, which begins at a sample


@dataclass
class Clock:
    """Clock for the seconds of inversion per sample. Programs are compiled in the first batch of each length.

    It also counts the samples whose predictions are not finite.
    """

    batches: list[tuple[float, int]] = field(default_factory=list)  # seconds and number of samples
    groups: bool = False  # True: a batch is a group; nothing is compiled for it, so all batches are timed
    not_finite: int = 0  # samples whose predictions contain NaN or infinite values

    def time(self, work: Callable[[Block], Block], block: Block, samples: int) -> Block:
        """Do the work of one batch and measure its time.

        Args:
            work: the inversion.
            block: fields of the batch.
            samples: number of samples of the batch.

        Returns:
            The result of `work`.
        """
        start = time.perf_counter()
        result = work(block)
        self.batches.append((time.perf_counter() - start, samples))
        finite = [np.isfinite(values).reshape(len(values), -1).all(axis=1) for values in result.values()]
        self.not_finite += int((~np.logical_and.reduce(finite)).sum())
        return result

    @property
    def timed_batches(self) -> list[tuple[float, int]]:
        """Batches that are timed: without groups, not the first of each length."""
        lengths = [samples for _, samples in self.batches]
        if self.groups:
            return self.batches
        return [batch for i, batch in enumerate(self.batches) if batch[1] in lengths[:i]]

    @property
    def seconds(self) -> float:
        """Seconds per sample. At least one batch must have been timed."""
        return sum(seconds for seconds, _ in self.timed_batches) / sum(samples for _, samples in self.timed_batches)


def _predicted_task(task: Task, targets: tuple[Field, ...]) -> Task:
    """Return the task of a dataset with the targets that are predicted."""
    names = [field.name for field in targets]
    if {field.name for field in task.fields}.issuperset(names):
        return task.targeting(names)
    return replace(task, fields=tuple(field for field in task.fields if field.role != "target") + targets)


@dataclass(frozen=True)
class Inversion:
    """Job of inverting one split by one network or method into one store."""

    source: Source
    inverter: Inverter
    tiles: Tiles
    batch: int
    out: Path
    probabilities: bool = False  # True: the probabilities of classes are stored, too

    @property
    def predictions(self) -> Predictions:
        """Metadata of the predictions before the first sample is inverted."""
        source, inverter = self.source, self.inverter
        manifest, targets = source.manifest, inverter.task.of("target")
        classes = [field for field in targets if field.classes and self.probabilities]
        if self.probabilities and not classes:
            raise UserError(f"--probabilities: {inverter.name} predicts no classes; leave it out")
        lost = {dim for field in targets for dim in field.dims[1:]} - manifest.sizes.keys()
        if unknown := sorted(lost - (inverter.sizes or {}).keys()):
            raise UserError(
                f"{source.path}: does not state the length of {', '.join(unknown)}, which are dimensions of the targets"
            )
        sizes = manifest.sizes | {dim: (inverter.sizes or {})[dim] for dim in lost}
        sizes |= {probability_field(field).dims[1]: len(field.classes) for field in classes}
        stored = (*targets, *map(probability_field, classes))
        return Predictions(
            format=FORMAT,
            name=inverter.name,
            kind=inverter.kind,
            method=inverter.method,
            version=inverter.version,
            about=inverter.about,
            settings=dict(inverter.settings),
            weights=inverter.weights,
            task=_predicted_task(source.task, targets),
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
            half=source.half,
            tuning=inverter.tuning,
            history=[dict(row) for row in inverter.history],
            hardware=inverter.hardware,
            packages=versions(PACKAGES),
            digests={},
        )

    def _chunks(self, name: str, shape: tuple[int, ...]) -> tuple[int, ...]:
        return self.source.manifest.layout.chunks.get(name, (self.source.shard, *shape))

    @property
    def block(self) -> int:
        """Number of samples read at once, whose images or tiles make a batch."""
        return max(self.batch // self.tiles.count(self.source.manifest.sizes), 1)

    @property
    def first_batch_untimed(self) -> bool:
        """Return whether the first batch does not count in the time per sample, because others follow it."""
        return self.inverter.scope != "group" and self.source.samples > min(self.block, self.source.shard)

    def invert(self, block: Block) -> Block:
        """Return the targets of a block of samples, as they are stored."""
        task, sizes = self.inverter.task, self.source.manifest.sizes
        if self.tiles.lengths:
            cut = (self.inverter.predict, task, sizes, block, self.batch)
            return self.tiles.apply(*cut, probabilities=self.probabilities)
        return stored_targets(task, self.inverter.predict(block), probabilities=self.probabilities)


def choose_tiles(source: Source, inverter: Inverter, asked: int | str | None, overlap: float) -> Tiles:
    """Return how images are cut into tiles.

    Images that are larger than those of training are cut to that size, unless the user asks for something else.

    Args:
        source: the split to invert.
        inverter: the network or method.
        asked: length of tiles [pixel], "none" for no tiles, or None.
        overlap: share of a tile that its neighbour covers.

    Raises:
        UserError: images are smaller than those of training, the network cannot take this size, or images cannot be
            cut.
    """
    dims, sizes = dims_to_cut(inverter.task, inverter.inputs), source.manifest.sizes
    dims = tuple(dim for dim in dims if dim in sizes)
    if inverter.needs_whole_images and (reasons := inverter.reasons_to_refuse(source.task, sizes)):
        raise UserError(f"{inverter.name} cannot read {source.path}: {'; '.join(reasons)}")
    trained = inverter.sizes or {}
    if asked not in (None, "none") and not dims:
        raise UserError(f"--tile {asked}: {inverter.name} predicts nothing on the grid of its input; leave it out")
    if asked == "none":
        lengths = {}
    elif asked is not None:
        lengths = {dim: int(asked) for dim in dims if sizes[dim] > int(asked)}
    else:
        if small := [f"{dim} {sizes[dim]} < {trained[dim]}" for dim in dims if sizes[dim] < trained.get(dim, 0)]:
            raise UserError(
                f"{source.path}: images are smaller than those of training ({', '.join(small)}); "
                "give --tile none to try it nevertheless"
            )
        lengths = {dim: trained[dim] for dim in dims if sizes[dim] > trained.get(dim, sizes[dim])}
    if lengths and inverter.needs_whole_images:
        raise UserError(
            f"{inverter.name} needs whole images, but these are larger than those of training or cut by --tile; "
            "give --tile none"
        )
    apart = cut_steps(inverter.task, sizes, dims)
    if uneven := [dim for dim in lengths if lengths[dim] % apart[dim]]:
        rule = ", ".join(f"a multiple of {apart[dim]} along {dim}" for dim in uneven)
        raise UserError(f"--tile: must be {rule}, because tiles must begin at whole pixels of the input")
    if reasons := inverter.reasons_to_refuse(source.task, tile_sizes(inverter.task, sizes, lengths)):
        raise UserError(f"{inverter.name} cannot read {source.path}: {'; '.join(reasons)}")
    return Tiles(lengths, overlap, {dim: apart[dim] for dim in lengths})


def refuse(job: Inversion, *, overwrite: bool = False) -> None:
    """Refuse a job that cannot begin.

    Args:
        job: the inversion.
        overwrite: True if predictions at its place are to be removed.

    Raises:
        UserError: its place holds something else, or its first samples cannot be read.
    """
    destination.refuse(job.out, job.predictions, overwrite=overwrite)
    if overwrite or not exists(job.out / "zarr.json"):
        job.source.take(job.inverter.inputs, _first_block(job))


@contextmanager
def reserve(jobs: Sequence[Inversion]) -> Iterator[None]:
    """Reserve the places of all jobs for this process while the context is entered.

    Args:
        jobs: the inversions.

    Raises:
        UserError: another process writes there.
    """
    with ExitStack() as stack:
        for job in jobs:
            stack.enter_context(claimed("--out", job.out, by="another `infer`"))
        yield


def run(job: Inversion, *, overwrite: bool = False) -> tuple[Predictions, int, int]:
    """Invert the samples that are not inverted yet. The caller must have entered `reserve`.

    Args:
        job: the inversion.
        overwrite: remove predictions at its place first.

    Returns:
        The metadata in the store now, the number of samples inverted, and the number of those whose predictions contain
        NaN or infinite values.

    Raises:
        UserError: the dataset is damaged, or the method fails.
        Interrupted: the disk is full.
    """
    with resumable(job.out, "finished shards"):
        return _invert_missing(job, overwrite=overwrite)


def _invert_missing(job: Inversion, *, overwrite: bool) -> tuple[Predictions, int, int]:
    """Invert the samples of all missing shards, and mark the predictions as complete."""
    predictions = destination.claim(job.out, job.predictions, overwrite=overwrite)
    n, clock = predictions.samples, Clock(groups=job.inverter.scope == "group")
    missing = dict(ends for ends in shard_ranges(n, predictions.shard) if not is_intact(job.out, predictions, *ends))
    made, left, begin = 0, sum(stop - start for start, stop in missing.items()), time.monotonic()
    digests = None if predictions.digests is None else dict(predictions.digests)
    with progress(n) as show, _recorded(job, predictions, digests) as finish_shard:
        for part in _invert_shards(job, clock, missing, finish_shard):
            made += part
            show(n - left + made, pace(left - made, made, time.monotonic() - begin))
    broken = clock.not_finite  # read before `_seconds_per_sample`, which may invert a batch again
    if made or predictions.status != "complete":
        here = {"hardware": job.inverter.hardware, "packages": versions(PACKAGES)}  # used for the measured time
        done = {"seconds_per_sample": _seconds_per_sample(job, clock), "status": "complete", "digests": digests}
        predictions = predictions.model_copy(update={**here, **done})
        destination.record(job.out, predictions)
    return predictions, made, broken


@contextmanager
def _recorded(job: Inversion, predictions: Predictions, digests: dict[str, str] | None) -> Iterator[FinishShard]:
    """Yield a function that writes the objects of a shard. Its digest is added to `digests`, and soon to the root."""
    due = 0.0  # when the root is written next

    def record() -> None:
        nonlocal due
        begin = time.monotonic()
        if digests != predictions.digests:
            destination.record(job.out, predictions.model_copy(update={"digests": digests, "status": "incomplete"}))
        due = time.monotonic() + RECORD_PAUSE * (time.monotonic() - begin)

    def finish_shard(start: int, values: Block) -> None:
        destination.refuse_if_changed(job.out, predictions)
        for key, data in objects(predictions, start, values).items():
            publish(inside(job.out, key), data)
        if digests is not None:
            digests[str(start)] = shard_digest(predictions, values)
        if time.monotonic() > due:
            record()

    try:
        yield finish_shard
    finally:
        record()


def _invert_shards(
    job: Inversion, clock: Clock, missing: Mapping[int, int], finish_shard: FinishShard
) -> Iterator[int]:
    """Invert the samples of missing shards (start to stop), and write each shard after its last sample.

    Yields the number of samples done. A group that reaches into a missing shard is inverted as a whole, even if its
    other samples are stored already.
    """
    parts: dict[int, list[tuple[np.ndarray, Block]]] = {start: [] for start in missing}
    for rows in _blocks(job, missing):
        values = clock.time(job.invert, job.source.take(job.inverter.inputs, rows), len(rows))
        for start in parts.keys() & set((rows // job.source.shard * job.source.shard).tolist()):
            here = slice(*np.searchsorted(rows, (start, missing[start])))
            parts[start].append((rows[here], {name: array[here] for name, array in values.items()}))
            yield len(rows[here])
            if sum(len(some) for some, _ in parts[start]) == missing[start] - start:
                finish_shard(start, _join_blocks(parts.pop(start)))


def _blocks(job: Inversion, missing: Mapping[int, int]) -> Iterator[np.ndarray]:
    """Yield the samples that are inverted at once: blocks within missing shards, or whole groups."""
    if job.inverter.scope == "group":
        wanted = np.zeros(job.source.samples, bool)
        for start, stop in missing.items():
            wanted[start:stop] = True
        yield from (rows for rows in job.source.groups(job.inverter.group) if wanted[rows].any())
    else:
        for start, stop in missing.items():
            yield from (np.arange(first, min(first + job.block, stop)) for first in range(start, stop, job.block))


def _join_blocks(parts: list[tuple[np.ndarray, Block]]) -> Block:
    """Return the samples of some blocks, in order."""
    order = np.argsort(np.concatenate([rows for rows, _ in parts]))
    return {name: np.concatenate([values[name] for _, values in parts])[order] for name in parts[0][1]}


def _first_block(job: Inversion) -> np.ndarray:
    """Return the samples of the first block."""
    if job.inverter.scope == "group":
        return job.source.groups(job.inverter.group)[0]
    return np.arange(job.source.samples)[: job.block]


def _seconds_per_sample(job: Inversion, clock: Clock) -> float:
    """Return the seconds per sample, measured now. If no batch was timed, the first block is inverted again."""
    if not clock.timed_batches:
        first = _first_block(job)
        block = job.source.take(job.inverter.inputs, first)
    while not clock.timed_batches:
        clock.time(job.invert, block, len(first))
    return clock.seconds
