"""Stores and models from strangers are read with bounded memory, and only from regular files."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np
import pytest
import xarray as xr
import zarr
from numcodecs import blosc, gzip, zstd
from zarr.codecs import BloscCodec, Crc32cCodec, GzipCodec, ZstdCodec
from zarr.errors import ChunkNotFoundError

from generators.cli import main as generate_main
from schemas.runtime import codecs
from schemas.runtime.errors import UserError
from schemas.runtime.publish import read
from schemas.store import open_split
from tests.conftest import TOY_TASK, Command, done, files, refused
from tests.shared import Made

HUGE = np.zeros(1 << 26, np.uint8)  # 64 MiB, packed into less than 70 kB
ZSTD_OF_RLE = b"\x28\xb5\x2f\xfd\0\x58" + b"".join(
    (131072 << 3 | 2 | (block == 499)).to_bytes(3, "little") + b"x" for block in range(500)
)  # a frame that states no size, of 500 blocks that each repeat one byte 128 Ki times

PACKED: dict[str, tuple[Any, bytes]] = {
    "blosc": (BloscCodec(), blosc.compress(HUGE, b"zstd", 3, 0)),
    "zstd": (ZstdCodec(), zstd.compress(HUGE)),
    "zstd-without-size": (ZstdCodec(), ZSTD_OF_RLE),
    "zstd-frames": (ZstdCodec(), zstd.compress(np.zeros(4096, np.uint8)) + zstd.compress(HUGE)),
    "gzip": (GzipCodec(), bytes(gzip.GZip(9).encode(HUGE))),
}


@pytest.fixture
def toy(made_once: Made) -> Path:
    """Return a copy of a dataset, to be damaged."""
    command = (generate_main, *TOY_TASK, "--n", 20, "--shard-samples", 4, "--out")
    shutil.copytree(made_once("bounded", lambda folder: done(*command, folder / "toy.zarr")) / "toy.zarr", "toy.zarr")
    return Path("toy.zarr")


def stored(compressor: Any, shards: tuple[int, ...] | None = None) -> Any:
    """Return an array of 4,096 bytes in one chunk or four, with its values written."""
    array = zarr.create_array(
        "a.zarr", shape=(4096,), dtype="uint8", chunks=(4096 if shards is None else 1024,), shards=shards,
        compressors=compressor, overwrite=True,
    )  # fmt: skip
    array[:] = np.arange(4096) % 251
    return zarr.open_array("a.zarr", mode="r")


@pytest.mark.parametrize("name", PACKED)
def test_a_chunk_unpacks_to_its_own_size_only(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    compressor, packed = PACKED[name]
    values = stored(compressor)[:]
    assert values.sum() == (np.arange(4096) % 251).sum()
    assert len(packed) < 100_000
    Path("a.zarr/c/0").write_bytes(packed)
    unpacked = largest_allocation(lambda: zarr.open_array("a.zarr", mode="r")[:])
    assert unpacked < 1 << 22


def largest_allocation(work: Callable[[], object]) -> int:
    """Return the peak memory of Python's and NumPy's allocations in a read that must fail."""
    import tracemalloc

    tracemalloc.start()
    try:
        with pytest.raises((ValueError, RuntimeError)):
            work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_a_chunk_in_a_shard_unpacks_to_its_own_size_only() -> None:
    def summed(data: bytes) -> bytes:
        return data + int(google_crc32c.value(data)).to_bytes(4, "little")

    assert stored((BloscCodec(), Crc32cCodec()), (4096,))[:].sum() == (np.arange(4096) % 251).sum()
    chunk = summed(PACKED["blosc"][1])
    index = summed(np.array([[0, len(chunk)]] * 4, "<u8").tobytes())
    Path("a.zarr/c/0").write_bytes(chunk + index)
    assert largest_allocation(lambda: zarr.open_array("a.zarr", mode="r")[:]) < 1 << 22


@pytest.mark.parametrize(
    "compressor", [None, BloscCodec(cname="lz4"), ZstdCodec(), GzipCodec(), (GzipCodec(), Crc32cCodec())]
)
def test_rechunked_copies_are_read(toy: Path, dataset: Command, compressor: Any) -> None:
    for split in ("train", "validation", "test"):
        for name, array in list(zarr.open_group(f"toy.zarr/{split}", mode="r", use_consolidated=False).arrays()):
            values: Any = array[...]
            about: Any = array.metadata
            shutil.rmtree(toy / split / name)
            copy = zarr.create_array(
                toy / split / name, shape=array.shape, dtype=array.dtype, chunks=tuple(-(-n // 3) for n in array.shape),
                compressors=compressor, fill_value=array.fill_value, dimension_names=about.dimension_names,
                attributes=dict(array.attrs), config={"write_empty_chunks": True},
            )  # fmt: skip
            copy[...] = values
    for group in ("train", "validation", "test", ""):
        with pytest.warns(match="Consolidated metadata"):
            zarr.consolidate_metadata("toy.zarr", path=group or None)
    for verb in ("validate", "verify"):
        assert dataset(verb, toy) == (0, *dataset(verb, toy)[1:])


BYTES, ZSTD, GZIP = ({"name": "bytes"}, {"name": "zstd", "configuration": {}}, {"name": "gzip", "configuration": {}})


def sharded(*inner: Any, index: tuple[Any, ...] = (BYTES,)) -> dict[str, Any]:
    """Return the metadata of a shard with chunks of one value."""
    known = {"chunk_shape": [1], "codecs": inner, "index_codecs": index, "index_location": "end"}
    return {"name": "sharding_indexed", "configuration": known}


def regular(length: int) -> dict[str, Any]:
    return {"name": "regular", "configuration": {"chunk_shape": [length]}}


UNBOUNDED: dict[str, tuple[dict[str, Any], str]] = {
    "nested": ({"codecs": [sharded(sharded(BYTES))]}, "is not among"),
    "twice": ({"codecs": [BYTES, ZSTD, GZIP]}, "compressed twice"),
    "index": ({"codecs": [sharded(BYTES, index=(BYTES, GZIP))]}, "index"),
    "large": ({"shape": [1 << 40], "chunk_grid": regular(1 << 31)}, "a chunk holds 2,147,483,648 bytes"),
    "many": ({"shape": [1 << 40]}, "objects in the array"),
    "parts": ({"shape": [1 << 24], "chunk_grid": regular(1 << 24), "codecs": [sharded(BYTES)]}, "chunks in a shard"),
}


@pytest.mark.parametrize("name", UNBOUNDED)
def test_arrays_that_could_not_be_read_with_bounded_memory_are_refused(name: str) -> None:
    stored(None)
    change, said = UNBOUNDED[name]
    described = json.loads(Path("a.zarr/zarr.json").read_text())
    Path("a.zarr/zarr.json").write_text(json.dumps(described | change))
    with pytest.raises((ValueError, TypeError), match=said):
        codecs.refuse_array(zarr.open_array("a.zarr", mode="r"))


@pytest.mark.parametrize(("key", "value"), [("shape", [20, 1 << 20]), ("data_type", "float64")])
def test_shape_and_dtype_are_those_of_the_manifest(toy: Path, dataset: Command, key: str, value: Any) -> None:
    path = toy / "train/blurred/zarr.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {key: value}))
    with pytest.raises(ValueError, match="must be"):
        open_split(toy, "train")["blurred"]
    assert dataset("validate", toy)[0] == dataset("verify", toy)[0] == 1
    refused(dataset("preview", toy), "must be")


def put_pipe(path: Path) -> None:
    os.mkfifo(path)


@pytest.mark.parametrize("put", [put_pipe, Path.mkdir])
@pytest.mark.parametrize("key", ["zarr.json", "train/zarr.json", "train/blurred/zarr.json", "train/blurred/c/0/0"])
def test_only_regular_files_of_a_store_are_opened(
    toy: Path, dataset: Command, train: Command, key: str, put: Callable[[Path], None]
) -> None:
    (toy / key).unlink()
    put(toy / key)
    for verb in ("validate", "verify", "preview"):
        code, out, err = dataset(verb, toy)
        assert code in (1, 2)
        assert err.count("\n") == (code == 2)
        assert "Traceback" not in out + err
    refused(train("--data", toy, "--model", "mlp", "--epochs", 1))


def test_only_regular_files_of_bounded_size_are_read() -> None:
    os.mkfifo("pipe")
    Path("device").symlink_to("/dev/zero")
    for name in ("pipe", "device"):
        with pytest.raises(UserError, match=f"{name}: is not a regular file"):
            read(Path(name))
    Path("sparse").touch()
    os.truncate("sparse", 1 << 40)
    with pytest.raises(UserError, match="at most 100 are read"):
        read(Path("sparse"), 100)
    with pytest.raises(UserError, match=r"has 1,099,511,627,776 bytes"):
        read(Path("sparse"))
    Path("folder").mkdir()
    assert read(Path("folder")) is read(Path("nothing")) is None


@pytest.mark.parametrize("count", [10**9, 10**15])
def test_promised_samples_cost_nothing(toy: Path, dataset: Command, train: Command, count: int) -> None:
    root = toy / "zarr.json"
    root.write_text(root.read_text().replace('"train": 20', f'"train": {count}'))
    for path in (toy / "train").glob("*/zarr.json"):
        described = json.loads(path.read_text())
        if described["dimension_names"][0] == "sample":
            described["shape"][0] = count
        path.write_text(json.dumps(described))
    for verb in ("validate", "verify", "preview"):
        code, out, err = dataset(verb, toy)
        assert code in (1, 2)
        assert (out + err).count("\n") < 30
    refused(train("--data", toy, "--model", "mlp", "--epochs", 1))
    assert len(files(toy)) < 200


def test_samples_larger_than_the_memory_are_refused(toy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("schemas.store.memory", lambda: 100)
    with pytest.raises(UserError, match="one sample has"):
        open_split(toy, "train")


def test_a_copy_without_objects_of_zeros_is_read_by_its_digests(generate: Command, dataset: Command) -> None:
    """Zarr and xarray leave out objects that hold only the fill value."""
    few = ("--n", 4, "--validation", 0, "--test", 0, "--scheduler", "synchronous")
    assert generate("--task", "toy_labels", *few, "--out", "d.zarr")[0] == 0
    labels: Any = xr.open_zarr("d.zarr/train").mask.values
    made = xr.open_datatree("d.zarr", engine="zarr")
    for node in made.subtree:
        for array in node.data_vars.values():
            array.encoding = {"chunks": tuple(max(n // 4, 1) for n in array.shape)}
    with pytest.warns(match="Consolidated metadata"):
        made.chunk(sample=1).to_zarr("copy.zarr", zarr_format=3)
    objects = sorted(path for path in Path("copy.zarr/train/mask/c").rglob("*") if path.is_file())
    assert len(objects) < len(list(Path("copy.zarr/train/image/c").rglob("*")))
    for verb in ("validate", "verify"):
        assert dataset(verb, "copy.zarr")[0] == 0
    assert np.array_equal(open_split(Path("copy.zarr"), "train").read("mask", slice(0, 4)), labels)
    objects[0].unlink()
    assert dataset("verify", "copy.zarr")[0] == 1
    with pytest.raises(ChunkNotFoundError):
        open_split(Path("copy.zarr"), "train").read("mask", slice(0, 4))
