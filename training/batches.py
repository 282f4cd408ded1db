"""Batches on the devices, in the order of training/order.py: from memory (`Resident`) or from the store (`Stream`).

Both give the same batches: a dict of fields (sample, ...), constants (no sample axis), and `weight` (sample,).
"""

import queue
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import jax
import numpy as np
from jax.sharding import Mesh

from schemas.core import Task
from schemas.errors import UserError
from schemas.slices import fold
from schemas.store import open_split
from training.contract import Array
from training.devices import everywhere, own_rows, split
from training.order import Order

WEIGHT = "weight"
AHEAD = 2  # batches that wait on the device
READERS = 4  # threads that decode

type Batch = dict[str, Array]


class Source(Protocol):
    """Where batches come from."""

    order: Order

    def batches(self, start: int, stop: int) -> Iterator[Batch]:
        """Those of the steps start:stop."""


@dataclass(frozen=True)
class Split:
    """Some fields of a split of a store."""

    path: Path
    name: str
    fields: tuple[str, ...]  # with a value per row
    constants: tuple[str, ...]
    task: Task
    slices: int = 1  # of a sample: its rows

    def read(self, rows: slice) -> dict[str, np.ndarray]:
        """Some rows: those of whole samples."""
        samples = slice(rows.start // self.slices, rows.stop // self.slices)
        found = self._load(self.fields, samples, f"samples {samples.start}:{samples.stop}")
        return fold(self.task, found, samples.stop - samples.start)

    def read_constants(self, mesh: Mesh) -> Batch:
        """The fields without a sample axis, on every device."""
        found = self._load(self.constants, ..., ", ".join(self.constants))
        return {name: everywhere(values, mesh) for name, values in found.items()}

    def _load(self, names: tuple[str, ...], index: Any, what: str) -> dict[str, np.ndarray]:
        try:
            group = open_split(self.path, self.name)
            places: dict[str, Any] = {name: index if self.task[name].per_sample else ... for name in names}
            return {name: np.asarray(group[name][place]) for name, place in places.items()}
        except UserError:
            raise
        except Exception as error:  # whatever a damaged object makes a codec raise
            reason = str(error).partition("\n")[0]
            raise UserError(
                f"{self.path}/{self.name} {what}: cannot be read "
                f"({type(error).__name__}: {reason}); see `dataset verify`, mend with the same `generate` command"
            ) from None


class Resident:
    """The whole split in the memory of every device."""

    def __init__(self, data: Split, order: Order, mesh: Mesh) -> None:
        self.order, self._mesh = order, mesh
        self._constants = data.read_constants(mesh)
        self._arrays = {k: everywhere(v, mesh) for k, v in _whole(data, order).items()}
        self._take = jax.jit(_take, out_shardings=split(mesh))

    def batches(self, start: int, stop: int) -> Iterator[Batch]:
        """Those of the steps start:stop."""
        for step in range(start, stop):
            ids, weight = self.order.ids(step)
            rows: Batch = self._take(self._arrays, everywhere(ids - self.order.first, self._mesh))
            yield {**rows, **self._constants, WEIGHT: _cut(weight, self._mesh)}


def _whole(data: Split, order: Order) -> dict[str, np.ndarray]:
    """All samples, read in blocks: in parallel, and what cannot be read is named."""
    rows = [order.rows(block) for block in order.everything]
    with ThreadPoolExecutor(READERS) as readers:
        pieces = list(readers.map(data.read, rows))
    return {name: np.concatenate([piece.pop(name) for piece in pieces]) for name in data.fields}


def _take(arrays: Batch, ids: Array) -> Batch:
    """Some samples."""
    return {name: values[ids] for name, values in arrays.items()}


def per_row(values: Array, like: Array) -> Array:
    """A value per sample, shaped to be multiplied with a batch."""
    return values.reshape(-1, *(1 for _ in like.shape[1:]))


class Stream:
    """Blocks read ahead by threads; memory holds about two windows of blocks."""

    def __init__(self, data: Split, order: Order, mesh: Mesh) -> None:
        self.order, self._mesh, self._data = order, mesh, data
        self._constants = data.read_constants(mesh)

    def batches(self, start: int, stop: int) -> Iterator[Batch]:
        """Those of the steps start:stop."""
        ready: queue.Queue[Batch | BaseException | None] = queue.Queue(AHEAD)
        over = threading.Event()
        worker = threading.Thread(target=self._fill, args=(ready, over, start, stop), daemon=True)
        worker.start()
        try:
            while (batch := ready.get()) is not None:
                if isinstance(batch, BaseException):
                    raise batch
                yield batch
        finally:
            over.set()
            with suppress(queue.Empty):
                while True:
                    ready.get_nowait()
            worker.join()

    def _fill(self, ready: "queue.Queue[Batch | BaseException | None]", over: threading.Event, *steps: int) -> None:
        put = partial(_put, ready, over)
        readers = ThreadPoolExecutor(READERS)
        try:
            blocks = _Blocks(self._data, self.order, readers, *steps)
            if all(put(self._place(blocks.rows(step), step)) for step in range(*steps)):
                put(None)
        except BaseException as error:  # for the reader of the queue
            put(error)
        finally:
            readers.shutdown(cancel_futures=True)

    def _place(self, rows: Mapping[str, np.ndarray], step: int) -> Batch:
        _, weight = self.order.ids(step)
        placed = {k: jax.make_array_from_process_local_data(split(self._mesh), v) for k, v in rows.items()}
        return {**placed, **self._constants, WEIGHT: _cut(weight, self._mesh)}


def _put[T](ready: "queue.Queue[T]", over: threading.Event, item: T) -> bool:
    """Put, unless nobody listens any more."""
    while not over.is_set():
        with suppress(queue.Full):
            ready.put(item, timeout=0.1)
            return True
    return False


class _Blocks:
    """Blocks of samples in the order in which they are needed: read ahead, dropped when their last sample is served."""

    def __init__(self, data: Split, order: Order, readers: ThreadPoolExecutor, start: int, stop: int) -> None:
        self._data, self._order, self._readers = data, order, readers
        self._mine = own_rows(order.batch)
        self._held: dict[tuple[int, int], Future[dict[str, np.ndarray]]] = {}
        self._left: dict[tuple[int, int], int] = {}
        self._plan = self._needs(start, stop)

    def _needs(self, start: int, stop: int) -> Iterator[tuple[tuple[int, int], int]]:
        """Blocks of each epoch in order, with the number of this process's samples that are still to be served."""
        order = self._order
        for epoch in range(start // order.steps, -(-stop // order.steps)):
            first = max(start, epoch * order.steps)
            last = min(stop, (epoch + 1) * order.steps)
            found, times = np.unique([self._wanted(step)[0] for step in range(first, last)], return_counts=True)
            counts = dict(zip(found.tolist(), times.tolist(), strict=True))
            yield from (((epoch, block), counts[block]) for block in order.blocks(epoch) if block in counts)

    def _wanted(self, step: int) -> tuple[np.ndarray, np.ndarray]:
        """Blocks of this process's rows, and places within."""
        ids, _ = self._order.ids(step)
        blocks = ids[self._mine] // self._order.block
        return blocks, ids[self._mine] - np.maximum(blocks * self._order.block, self._order.first)

    def rows(self, step: int) -> dict[str, np.ndarray]:
        """This process's rows of a batch."""
        epoch = step // self._order.steps
        blocks, places = self._wanted(step)
        self._read_ahead({(epoch, int(block)) for block in blocks})
        rows: dict[str, np.ndarray] = {}
        for block in np.unique(blocks):
            values = self._held[epoch, int(block)].result()
            chosen = blocks == block
            for name, value in values.items():
                if name not in rows:
                    rows[name] = np.empty((len(blocks), *value.shape[1:]), value.dtype)
                rows[name][chosen] = value[places[chosen]]
            self._serve((epoch, int(block)), int(chosen.sum()))
        return rows

    def _read_ahead(self, wanted: set[tuple[int, int]]) -> None:
        while wanted - self._held.keys() or len(self._held) < 2 * self._order.window:
            needed = next(self._plan, None)
            if needed is None:
                return
            key, count = needed
            self._held[key] = self._readers.submit(self._data.read, self._order.rows(key[1]))
            self._left[key] = count

    def _serve(self, key: tuple[int, int], count: int) -> None:
        self._left[key] -= count
        if not self._left[key]:
            del self._held[key], self._left[key]


def _cut(values: np.ndarray, mesh: Mesh) -> Array:
    """An array that every process has, cut along its first axis."""
    return jax.make_array_from_callback(values.shape, split(mesh), lambda index: values[index])
