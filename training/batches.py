"""Batches on the devices, in the order of `training.sample_order`.

They come from memory (`Resident`) or from the store (`Stream`). Both give the same batches: a dict of fields (sample,
...), constants (without a sample axis), and `weight` (sample,).
"""

import queue
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from schemas.manifest import reading_split
from schemas.slices import fold
from schemas.store import open_split
from schemas.task import Task
from training.contract import Array
from training.crop import Crop
from training.devices import own_rows, put_everywhere, sharded
from training.sample_order import Order

WEIGHT = "weight"
QUEUED_BATCHES = 2  # number of batches that are put on the device in advance
READER_THREADS = 4  # number of threads that read and decode

type Batch = dict[str, Array]


class BatchSource(Protocol):
    """A source of batches."""

    order: Order

    def batches(self, start: int, stop: int) -> Iterator[Batch]:
        """Yield the batches of the steps start ... stop - 1."""


@dataclass(frozen=True)
class Split:
    """Some fields of one split of a dataset."""

    path: Path
    name: str
    fields: tuple[str, ...]  # fields with a value per row; a row is a sample, or one of its slices
    constants: tuple[str, ...]  # fields without a sample axis
    task: Task
    slices: int = 1  # rows per sample
    crop: Crop | None = None  # plan for cutting rows into parts; None: rows are not cut
    digest: str = ""  # digest of the split when the run began; empty: any is accepted

    def read(self, rows: slice) -> dict[str, np.ndarray]:
        """Read some rows, which must be those of whole samples.

        Args:
            rows: indices of the first and after the last row.

        Returns:
            Each field, (row, ...).

        Raises:
            UserError: an object of the store is missing or damaged.
        """
        samples = slice(rows.start // self.slices, rows.stop // self.slices)
        found = self._read_fields(self.fields, samples, f"samples {samples.start}:{samples.stop}")
        return fold(self.task, found, samples.stop - samples.start)

    @property
    def parts(self) -> int:
        """Number of parts of a row in an epoch."""
        return self.crop.parts if self.crop else 1

    def read_constants(self) -> dict[str, np.ndarray]:
        """Return the fields without a sample axis."""
        return self._read_fields(self.constants, slice(0), ", ".join(self.constants))

    def cuts(self, name: str) -> bool:
        """Return whether parts of samples hold only parts of a field."""
        return self.crop is not None and self.crop.cuts(self.crop.task[name])

    def _read_fields(self, names: tuple[str, ...], rows: slice, what: str) -> dict[str, np.ndarray]:
        remedy = "find damage with `dataset verify`, repair it with the same `generate` command"
        with reading_split(self.path, self.name, self.digest, f"{self.path}/{self.name} {what}", remedy):
            group = open_split(self.path, self.name)
            return {
                name: group.read(name, rows) if self.task[name].per_sample else np.asarray(group[name][...])
                for name in names
            }


class Resident:
    """A split that is held as a whole in the memory of every device."""

    def __init__(self, data: Split, order: Order, mesh: Mesh) -> None:
        self.order, self._mesh, self._data = order, mesh, data
        constants = {k: put_everywhere(v, mesh) for k, v in data.read_constants().items()}
        self._constants = {k: v for k, v in constants.items() if not data.cuts(k)}
        self._cut = {k: v for k, v in constants.items() if data.cuts(k)}
        self._arrays = {k: put_everywhere(v, mesh) for k, v in _read_split(data, order).items()}
        self._take = jax.jit(partial(_take_rows, data), out_shardings=sharded(mesh))

    def batches(self, start: int, stop: int) -> Iterator[Batch]:
        """Yield the batches of the steps start ... stop - 1."""
        for step in range(start, stop):
            ids, weight = self.order.ids(step)
            rows = (ids - self.order.first) // self._data.parts
            corners = self._data.crop.corners(step, ids) if self._data.crop else ids
            placed = (put_everywhere(values, self._mesh) for values in (rows, corners))
            taken: Batch = self._take(self._arrays, self._cut, *placed)
            yield {**taken, **self._constants, WEIGHT: _distribute_rows(weight, self._mesh)}


def _read_split(data: Split, order: Order) -> dict[str, np.ndarray]:
    """Read all samples in blocks, so that they are read in parallel and a message about damage can name samples."""
    rows = [rows_of_block(data, order, block) for block in order.all_blocks]
    with ThreadPoolExecutor(READER_THREADS) as readers:
        pieces = list(readers.map(data.read, rows))
    return {name: np.concatenate([piece.pop(name) for piece in pieces]) for name in data.fields}


def rows_of_block(data: Split, order: Order, block: int) -> slice:
    """Return the rows of a block of samples.

    Args:
        data: the split.
        order: order of the samples.
        block: index of the block.
    """
    ids = order.rows(block)
    return slice(ids.start // data.parts, ids.stop // data.parts)


def _take_rows(data: Split, arrays: Batch, constants: Batch, rows: Array, corners: Array) -> Batch:
    """Return some rows, whole or cut, and the same parts of constants."""
    found = {name: values[rows] for name, values in arrays.items() if not data.cuts(name)}
    if data.crop is None:
        return found
    every = {name: (values, rows) for name, values in arrays.items() if data.cuts(name)}
    every |= {name: (values[None], jnp.zeros_like(rows)) for name, values in constants.items()}
    for name, (values, places) in every.items():
        field = data.crop.task[name]
        starts = (places, *(places * 0 + start for start in data.crop.starts(field, corners)))
        shape = (1, *field.shape(data.crop.cut_sizes))
        found[name] = jax.vmap(partial(jax.lax.dynamic_slice, values, slice_sizes=shape))(starts)[:, 0]
    return found


def expand_to_batch(values: Array, like: Array) -> Array:
    """Return one value per sample, shaped to be multiplied with a batch.

    Args:
        values: (sample,).
        like: the batch, (sample, ...).
    """
    return values.reshape(-1, *(1 for _ in like.shape[1:]))


class Stream:
    """A split that threads read in blocks ahead of need. Memory holds about two windows of blocks."""

    def __init__(self, data: Split, order: Order, mesh: Mesh) -> None:
        self.order, self._mesh, self._data = order, mesh, data
        constants = data.read_constants()
        self._constants = {k: put_everywhere(v, mesh) for k, v in constants.items() if not data.cuts(k)}
        self._cut = {k: v for k, v in constants.items() if data.cuts(k)}

    def batches(self, start: int, stop: int) -> Iterator[Batch]:
        """Yield the batches of the steps start ... stop - 1."""
        ready: queue.Queue[Batch | BaseException | None] = queue.Queue(QUEUED_BATCHES)
        stopped = threading.Event()
        worker = threading.Thread(target=self._fill, args=(ready, stopped, start, stop), daemon=True)
        worker.start()
        try:
            while (batch := ready.get()) is not None:
                if isinstance(batch, BaseException):
                    raise batch
                yield batch
        finally:
            stopped.set()
            with suppress(queue.Empty):
                while True:
                    ready.get_nowait()
            worker.join()

    def _fill(self, ready: "queue.Queue[Batch | BaseException | None]", stopped: threading.Event, *steps: int) -> None:
        """Put the batches of some steps into the queue, then None, or the error that stopped it."""
        put = partial(_put_unless_stopped, ready, stopped)
        readers = ThreadPoolExecutor(READER_THREADS)
        try:
            blocks = _Blocks(self._data, self.order, self._cut, readers, *steps)
            if all(put(self._put_on_devices(blocks.rows(step), step)) for step in range(*steps)):
                put(None)
        except BaseException as error:  # the reader of the queue raises it
            put(error)
        finally:
            readers.shutdown(cancel_futures=True)

    def _put_on_devices(self, rows: Mapping[str, np.ndarray], step: int) -> Batch:
        _, weight = self.order.ids(step)
        placed = {k: jax.make_array_from_process_local_data(sharded(self._mesh), v) for k, v in rows.items()}
        return {**placed, **self._constants, WEIGHT: _distribute_rows(weight, self._mesh)}


def _put_unless_stopped[T](ready: "queue.Queue[T]", stopped: threading.Event, item: T) -> bool:
    """Put an item into the queue unless the reader has stopped; return whether it was put."""
    while not stopped.is_set():
        with suppress(queue.Full):
            ready.put(item, timeout=0.1)
            return True
    return False


class _Blocks:
    """Blocks of samples in the order of need, read ahead and dropped once their last sample has been used."""

    def __init__(
        self,
        data: Split,
        order: Order,
        constants: Mapping[str, np.ndarray],
        readers: ThreadPoolExecutor,
        start: int,
        stop: int,
    ) -> None:
        """constants: the fields without a sample axis that are cut like samples."""
        self._data, self._order, self._constants, self._readers = data, order, constants, readers
        self._own_rows = own_rows(order.batch)
        self._loading: dict[tuple[int, int], Future[dict[str, np.ndarray]]] = {}
        self._rows_left: dict[tuple[int, int], int] = {}
        self._plan = self._plan_blocks(start, stop)

    def _plan_blocks(self, start: int, stop: int) -> Iterator[tuple[tuple[int, int], int]]:
        """Yield the blocks of each epoch in order, and how many samples of each this process still needs."""
        order = self._order
        for epoch in range(start // order.steps, -(-stop // order.steps)):
            first = max(start, epoch * order.steps)
            last = min(stop, (epoch + 1) * order.steps)
            found, times = np.unique([self._locate_rows(step)[0] for step in range(first, last)], return_counts=True)
            counts = dict(zip(found.tolist(), times.tolist(), strict=True))
            yield from (((epoch, block), counts[block]) for block in order.blocks(epoch) if block in counts)

    def _locate_rows(self, step: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the block of each row of this process, and the place within the block."""
        ids, _ = self._order.ids(step)
        blocks = ids[self._own_rows] // self._order.block
        first = np.maximum(blocks * self._order.block, self._order.first)
        return blocks, (ids[self._own_rows] - first) // self._data.parts

    def rows(self, step: int) -> dict[str, np.ndarray]:
        """Return this process's rows of a batch."""
        epoch = step // self._order.steps
        blocks, places = self._locate_rows(step)
        self._read_ahead({(epoch, int(block)) for block in blocks})
        rows: dict[str, np.ndarray] = {}
        corners = self._corners(step)
        for block in np.unique(blocks):
            values = self._loading[epoch, int(block)].result()
            chosen = blocks == block
            for name, value in values.items():
                if self._data.cuts(name):
                    pairs = zip(places[chosen], corners[chosen], strict=True)
                    taken = np.stack([self._cut_row(name, value[place], corner) for place, corner in pairs])
                else:
                    taken = value[places[chosen]]
                rows.setdefault(name, np.empty((len(blocks), *taken.shape[1:]), value.dtype))[chosen] = taken
            self._count_used((epoch, int(block)), int(chosen.sum()))
        parts = {name: [self._cut_row(name, value, one) for one in corners] for name, value in self._constants.items()}
        return rows | {name: np.stack(part) for name, part in parts.items()}

    def _corners(self, step: int) -> np.ndarray:
        """Return the corners of this process's rows; if rows are not cut, the values have no meaning."""
        ids, _ = self._order.ids(step)
        return (self._data.crop.corners(step, ids) if self._data.crop else ids)[self._own_rows]

    def _cut_row(self, name: str, values: np.ndarray, corner: np.ndarray) -> np.ndarray:
        """Return a part of one row of a field."""
        crop = self._data.crop
        return crop.part(crop.task[name], values, corner) if crop and crop.cuts(crop.task[name]) else values

    def _read_ahead(self, wanted: set[tuple[int, int]]) -> None:
        """Begin to read blocks until those that are wanted and two windows of blocks are held."""
        while wanted - self._loading.keys() or len(self._loading) < 2 * self._order.window:
            needed = next(self._plan, None)
            if needed is None:
                return
            key, count = needed
            self._loading[key] = self._readers.submit(self._data.read, rows_of_block(self._data, self._order, key[1]))
            self._rows_left[key] = count

    def _count_used(self, key: tuple[int, int], count: int) -> None:
        self._rows_left[key] -= count
        if not self._rows_left[key]:
            del self._loading[key], self._rows_left[key]


def _distribute_rows(values: np.ndarray, mesh: Mesh) -> Array:
    """Return an array that every process holds, distributed over the devices along its first axis."""
    return jax.make_array_from_callback(values.shape, sharded(mesh), lambda index: values[index])
