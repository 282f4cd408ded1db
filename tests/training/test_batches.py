"""The same batches from memory and from the store, however it is cut; little memory; no thread is left behind."""

import hashlib
import json
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
import zarr

from schemas.manifest import read_manifest
from schemas.runtime.errors import UserError
from schemas.store import open_split
from schemas.task import find_task
from tests.conftest import ROOT
from tests.training.conftest import columns, made
from training import batches, devices, sample_order
from training.batches import WEIGHT, Batch, BatchSource, Resident, Split, Stream
from training.sample_order import Order

BLOCK = 3  # samples
KINDS: dict[str, Callable[..., BatchSource]] = {"resident": Resident, "stream": Stream}


@pytest.fixture(autouse=True)
def _narrow(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Several windows in a small dataset."""
    monkeypatch.setattr(sample_order, "WINDOW_BLOCKS", 2)
    sample_order._epoch_rows.cache_clear()
    yield
    sample_order._epoch_rows.cache_clear()


def all_of(store: Path) -> Split:
    task = read_manifest(store).task
    fields = task.fields
    names = [(field.name, field.per_sample) for field in fields if not field.name.startswith("particle")]
    return Split(store, "train", tuple(n for n, per in names if per), tuple(n for n, per in names if not per), task)


def source(
    kind: str, store: Path, batch: int = 8, seed: int | None = 5, block: int = BLOCK, used: range | None = None
) -> BatchSource:
    used = used or range(read_manifest(store).samples["train"])
    return KINDS[kind](all_of(store), Order(len(used), batch, seed, block, used.start), devices.mesh(batch))


def bits(batch: Batch) -> dict[str, tuple[str, tuple[int, ...], bytes]]:
    return {k: (str(v.dtype), v.shape, np.asarray(v).tobytes()) for k, v in sorted(batch.items())}


def stretch(kind: str, store: Path, start: int, stop: int, **options: Any) -> list[Any]:
    return [bits(batch) for batch in source(kind, store, **options).batches(start, stop)]


@pytest.mark.parametrize("task", ["toy", "tie"])
@pytest.mark.parametrize(("batch", "seed"), [(8, 5), (5, None), (64, 1), (1, 0)])
def test_memory_and_store_give_the_same_batches(
    stores: dict[str, Path], task: str, batch: int, seed: int | None
) -> None:
    """Over the ends of epochs; the last batch of an epoch included."""
    options: dict[str, Any] = {"batch": batch, "seed": seed}
    stop = min(20, 2 * source("stream", stores[task], **options).order.steps + 3)
    whole = stretch("resident", stores[task], 0, stop, **options)
    assert len(whole) == stop
    assert stretch("stream", stores[task], 0, stop, **options) == whole


@pytest.mark.parametrize("seed", [5, None])
def test_some_samples_are_the_same_from_memory_and_store(stores: dict[str, Path], seed: int | None) -> None:
    """Neither end of 6:29 is that of a block."""
    options: dict[str, Any] = {"seed": seed, "used": range(6, 29), "block": 4}
    whole = stretch("resident", stores["toy"], 0, 7, **options)
    assert stretch("stream", stores["toy"], 0, 7, **options) == whole
    order = source("stream", stores["toy"], **options).order
    assert sorted(order.epoch(1)) == list(range(6, 29))
    stored = columns(stores["toy"])["line"]
    for step, batch in enumerate(source("stream", stores["toy"], **options).batches(0, 3)):
        np.testing.assert_array_equal(batch["line"], stored[order.ids(step)[0]])


@pytest.mark.parametrize("kind", KINDS)
def test_any_step_can_be_the_first(stores: dict[str, Path], kind: str) -> None:
    whole = stretch("resident", stores["tie"], 0, 9)
    for start in (2, 5):
        assert stretch(kind, stores["tie"], start, 9) == whole[start:]


@pytest.mark.parametrize("kind", KINDS)
def test_a_batch_holds_the_samples_of_its_order(stores: dict[str, Path], kind: str) -> None:
    stored, made_by = columns(stores["tie"]), source(kind, stores["tie"])
    for step, batch in enumerate(made_by.batches(0, 7)):
        ids, weight = made_by.order.ids(step)
        np.testing.assert_array_equal(batch[WEIGHT], weight)
        for field in find_task("tie").fields:
            if field.name in batch:
                expected = stored[field.name][ids] if field.per_sample else stored[field.name]
                np.testing.assert_array_equal(batch[field.name], expected)


@pytest.mark.parametrize("kind", KINDS)
def test_what_fills_a_batch_up_is_finite_where_the_data_are(stores: dict[str, Path], kind: str) -> None:
    """Zeros would make NaN of physics that divides by them, and a gradient would not be saved by weight 0."""
    last = next(iter(source(kind, stores["tie"]).batches(2, 3)))
    assert np.asarray(last[WEIGHT]).tolist() == [1] * 5 + [0] * 3
    assert np.all(np.asarray(last["voltage"]) > 0)
    np.testing.assert_array_equal(last["intensity"][-1], last["intensity"][0])


@pytest.mark.parametrize("cut", ["units", "by hand"])
def test_another_cut_of_the_store_gives_the_same_batches(stores: dict[str, Path], cut: str, tmp_path: Path) -> None:
    again = (
        made(tmp_path, "toy", "--shard-samples", "7", n=41) if cut == "units" else rewritten(stores["toy"], tmp_path)
    )
    assert read_manifest(again).root_digest == read_manifest(stores["toy"]).root_digest
    assert cuts(again) != cuts(stores["toy"])
    whole = stretch("resident", stores["toy"], 0, 14)
    for kind in KINDS:
        assert stretch(kind, again, 0, 14) == whole


def cuts(store: Path) -> list[tuple[int, ...] | None]:
    array: Any = open_split(store, "train")["blurred"]
    return [array.chunks, array.shards]


def rewritten(store: Path, folder: Path) -> Path:
    """A copy whose arrays are chunked otherwise, without shards."""
    copy = folder / "rewritten.zarr"
    shutil.copytree(store, copy)
    group = zarr.open_group(copy, path="train", mode="r+", use_consolidated=False)
    for name, array in list(group.arrays()):
        values, attributes = np.asarray(array[...]), dict(array.attrs)
        chunks = tuple(max(1, n // (2 + axis)) for axis, n in enumerate(values.shape))
        options: Any = {"config": {"write_empty_chunks": True}, "attributes": attributes, "overwrite": True}
        group.create_array(name, data=values, chunks=chunks, **options)
    return copy


def test_a_stream_holds_two_windows_and_reads_each_block_once(
    stores: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    held, reads = [], []
    ahead, read = batches._Blocks._read_ahead, Split.read

    def watch(self: batches._Blocks, wanted: set[tuple[int, int]]) -> None:
        ahead(self, wanted)
        held.append(len(self._loading))

    def count(self: Split, rows: slice) -> dict[str, np.ndarray]:
        reads.append(rows.start)
        return read(self, rows)

    monkeypatch.setattr(batches._Blocks, "_read_ahead", watch)
    monkeypatch.setattr(Split, "read", count)
    epochs, made_by = 3, source("stream", stores["toy"], batch=2, block=2)
    for _ in made_by.batches(0, epochs * made_by.order.steps):
        pass
    assert max(held) == 2 * sample_order.WINDOW_BLOCKS
    assert sorted(reads) == sorted([*range(0, 41, 2)] * epochs)


def test_a_stream_that_starts_amid_an_epoch_reads_what_is_left_and_drops_it(stores: dict[str, Path]) -> None:
    plan = Order(41, 4, 5, 2)
    with ThreadPoolExecutor(1) as readers:
        blocks = batches._Blocks(all_of(stores["toy"]), plan, {}, readers, 7, plan.steps)
        left = {int(i) // 2 for step in range(7, plan.steps) for i in plan.ids(step)[0]}
        assert sorted(block for (_, block), _ in blocks._plan_blocks(7, plan.steps)) == sorted(left)
        for step in range(7, plan.steps):
            blocks.rows(step)
        assert not blocks._loading


def test_of_several_processes_each_reads_its_rows(stores: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """Also one that has only what fills up the last batch."""
    whole = [b["blurred"] for b in source("stream", stores["toy"]).batches(0, 6)]
    data, plan = all_of(stores["toy"]), Order(41, 8, 5, BLOCK)
    for process in (0, 1):
        rows = slice(4 * process, 4 * process + 4)
        monkeypatch.setattr(batches, "own_rows", lambda batch, rows=rows: rows)
        with ThreadPoolExecutor(1) as readers:
            blocks = batches._Blocks(data, plan, {}, readers, 0, 6)
            for step in range(6):
                np.testing.assert_array_equal(blocks.rows(step)["blurred"], whole[step][rows])


@pytest.mark.parametrize("harm", ["remove", "truncate", "flip"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_damaged_object_is_named(tmp_path: Path, kind: str, harm: str) -> None:
    store = made(tmp_path, "toy", "--shard-samples", "10", n=41)
    path = store / "train" / "blurred" / "c" / "2" / "0"
    content = bytearray(path.read_bytes())
    content[len(content) // 3] ^= 255
    path.unlink()
    if harm != "remove":
        path.write_bytes(content if harm == "flip" else content[: len(content) // 2])
    with pytest.raises(
        UserError, match=r"train samples (18:21|21:24|24:27|27:30): cannot be read .*dataset verify"
    ) as error:
        for _ in source(kind, store).batches(0, 6):
            pass
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("kind", KINDS)
def test_a_missing_constant_is_named(tmp_path: Path, kind: str) -> None:
    store = made(tmp_path, "toy")
    shutil.rmtree(store / "train" / "position" / "c")
    with pytest.raises(UserError, match="train position: cannot be read"):
        source(kind, store)


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """What has been read by a slow disk."""
    reads: list[int] = []
    read = Split.read

    def late(self: Split, rows: slice) -> dict[str, np.ndarray]:
        reads.append(rows.start)
        time.sleep(0.05)
        return read(self, rows)

    monkeypatch.setattr(Split, "read", late)
    monkeypatch.setattr(sample_order, "WINDOW_BLOCKS", 64)
    return reads


def test_whoever_leaves_early_leaves_no_thread(stores: dict[str, Path], slow: list[int]) -> None:
    """And does not wait for what has been asked ahead."""
    running = own_threads()
    steps = source("stream", stores["toy"], batch=1, block=1).batches(0, 40)
    next(steps)
    assert own_threads() - running
    steps.close()  # type: ignore[attr-defined]
    assert not own_threads() - running
    assert 0 < len(slow) < 35


def own_threads() -> set[threading.Thread]:
    """Those that run, without zarr's."""
    return {thread for thread in threading.enumerate() if not thread.name.startswith(("zarr", "asyncio"))}


def test_an_error_of_the_reader_reaches_the_caller(
    stores: dict[str, Path], slow: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    running, read = own_threads(), Split.read

    def broken(self: Split, rows: slice) -> dict[str, np.ndarray]:
        if rows.start == 20:
            raise ZeroDivisionError("the disk is on fire")
        return read(self, rows)

    monkeypatch.setattr(Split, "read", broken)
    seen: list[Batch] = []
    with pytest.raises(ZeroDivisionError, match="on fire"):
        seen.extend(source("stream", stores["toy"], batch=1, seed=None, block=1).batches(0, 41))
    assert len(seen) == 20
    assert not own_threads() - running


TWO = """
import json, sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
import jax
jax.config.update("jax_num_cpu_devices", 2)
import tests.conftest
from training import batches
from training import sample_order
from tests.training import test_batches as t
sample_order.WINDOW_BLOCKS = 2
store = Path(sys.argv[1])
assert len(jax.devices()) == 2
for kind in t.KINDS:
    print(json.dumps(t.hashes(kind, store)))
    batch = next(iter(t.source(kind, store).batches(0, 1)))
    assert {s.data.shape[0] for s in batch["blurred"].addressable_shards} == {4}
    assert {s.data.shape[0] for s in batch["weight"].addressable_shards} == {4}
"""


def hashes(kind: str, store: Path) -> list[str]:
    return [hashlib.sha256(repr(batch).encode()).hexdigest() for batch in stretch(kind, store, 0, 8)]


def test_two_devices_get_the_same_batches(stores: dict[str, Path]) -> None:
    command = [sys.executable, "-c", TWO, str(stores["toy"])]
    out = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert out.returncode == 0, out.stderr
    assert [json.loads(line) for line in out.stdout.splitlines()] == [hashes("resident", stores["toy"])] * 2


def test_several_devices_must_share_a_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jax, "devices", lambda: [None] * 4)
    with pytest.raises(UserError, match=r"--batch-size 10: must be a multiple of the 4 devices, for example 12"):
        devices.mesh(10)
