"""Layout and bytes of a store."""

import hashlib
import json
import math
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
import zarr
from zarr.core.buffer import Buffer, cpu
from zarr.errors import ZarrUserWarning
from zarr.storage import MemoryStore

from schemas import digest
from schemas.array_checks import array_problems
from schemas.layout import choose_layout
from schemas.manifest import FORMAT, Manifest, read_manifest
from schemas.runtime.errors import UserError
from schemas.store import encode, metadata
from schemas.task import Field, Task, find_task

from .conftest import Command

TIE = find_task("tie").select(frozenset())


def manifest(shard: int | None = None, **samples: int) -> Manifest:
    sizes = {"plane": 3, "y": 64, "x": 64}
    return Manifest(
        format=FORMAT,
        task=TIE,
        sizes=sizes,
        samples={"train": 100, "validation": 0, "test": 7} | samples,
        origin="simulated",
        seed=0,
        recipe={},
        settings={},
        generator_version=1,
        platform="",
        packages={},
        layout=choose_layout(TIE, sizes, 1e-3, shard),
    )


@pytest.mark.parametrize("shard", [1, 7, 16, 100, 127, 500, 512])
@pytest.mark.parametrize("size", [16, 64, 250, 1024])
def test_chunks_divide_shards_and_are_of_about_a_megabyte(shard: int, size: int) -> None:
    sizes = {"plane": 3, "y": size, "x": size}
    layout = choose_layout(TIE, sizes, 1e-3, shard)
    for name, chunk in layout.chunks.items():
        shape = (shard, *TIE[name].shape(sizes))
        assert all(length % part == 0 for length, part in zip(shape, chunk, strict=True))
        total, size_ = 4 * math.prod(shape), 4 * math.prod(chunk)
        if shard in (16, 100, 500, 512):
            assert size_ >= min(total, 2**18)
            assert size_ <= 2**22


def test_shards_end_at_32_megabytes_or_a_minute() -> None:
    sizes = {"plane": 3, "y": 64, "x": 64}
    assert choose_layout(TIE, sizes, 1e-3).shard == 512
    assert choose_layout(TIE, sizes, 1.0).shard == 32
    assert choose_layout(TIE, sizes, 1e3).shard == 1


def test_metadata_open_without_a_warning(tmp_path: Path) -> None:
    for key, data in metadata(manifest()).items():
        (tmp_path / key).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / key).write_bytes(data)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tree = xr.open_datatree(tmp_path, engine="zarr")
        assert xr.open_zarr(tmp_path / "train").attrs["status"] == "incomplete"
    assert tree["train"].sizes["sample"] == 100
    assert tree["validation"].sizes["sample"] == 0
    assert tree["train"]["intensity"].dims == ("sample", "plane", "y", "x")
    assert tree["train"]["intensity"].attrs["units"] == "1"
    assert tree["train"]["intensity"].attrs["role"] == "input"


def test_metadata_are_consolidated_as_by_zarr() -> None:
    """Byte for byte, but without its warning, which a process of several threads cannot silence."""
    found = metadata(manifest())
    groups = [*manifest().splits, ""]
    documents = {key: json.loads(data) for key, data in found.items()}
    for document in documents.values():
        document.pop("consolidated_metadata", None)
    objects: dict[str, Buffer] = {
        k: cpu.Buffer.from_bytes(json.dumps(v, indent=2).encode()) for k, v in documents.items()
    }
    store = MemoryStore(objects)
    with warnings.catch_warnings(action="ignore", category=ZarrUserWarning):
        for group in groups:
            zarr.consolidate_metadata(store, path=group or None)
    assert {key: data.to_bytes() for key, data in objects.items()} == found


def test_codecs_are_portable_and_nothing_is_left_out() -> None:
    """blosc-zstd, crc32c, sharding: what TensorStore and GDAL read as well."""
    described = json.loads(metadata(manifest())["train/intensity/zarr.json"])
    names = {codec["name"] for codec in described["codecs"]}
    names |= {codec["name"] for codec in described["codecs"][0]["configuration"]["codecs"]}
    assert names == {"sharding_indexed", "bytes", "blosc", "crc32c"}
    assert described["fill_value"] == "NaN"


def test_one_shard_is_one_object_and_zeros_are_written(tmp_path: Path) -> None:
    described = metadata(manifest(shard=16))["train/intensity/zarr.json"]
    objects = encode(described, 32, np.zeros((16, 3, 64, 64), np.float32))
    assert list(objects) == ["c/2/0/0/0"]
    assert encode(described, 32, np.zeros((16, 3, 64, 64), np.float32)) == objects
    tail = encode(described, 96, np.ones((4, 3, 64, 64), np.float32))
    assert list(tail) == ["c/6/0/0/0"]


def test_encoded_objects_read_back(tmp_path: Path) -> None:
    described = metadata(manifest(shard=16))["train/intensity/zarr.json"]
    values = np.random.default_rng(0).normal(size=(100, 3, 64, 64)).astype(np.float32)
    (tmp_path / "zarr.json").write_bytes(described)
    for start in range(0, 100, 16):
        for key, data in encode(described, start, values[start : start + 16]).items():
            (tmp_path / key).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / key).write_bytes(data)
    assert np.array_equal(np.asarray(zarr.open_array(tmp_path, mode="r")[...]), values)


def test_leaf_by_hand() -> None:
    """The definition, written out: others can compute it."""
    value = np.array([[1, 2]], np.int16)
    expected = hashlib.sha256(b"a:<f4:():" + np.float32(1.5).tobytes() + b"b:<i2:(1, 2):" + b"\1\0\2\0").digest()
    assert digest.leaf({"a": np.array(1.5, np.float32), "b": value}) == expected
    assert digest.leaf({"a": np.array(1.5, np.float32), "b": value.astype(">i2")}) == expected
    strided = np.array([[1, 0, 2]], np.int16)[:, ::2]
    assert digest.leaf({"a": np.array(1.5, np.float32), "b": strided}) == expected


def test_split_and_root_digests_depend_on_everything() -> None:
    leaves = [bytes([i]) * 32 for i in range(4)]
    whole = digest.split(4, leaves)
    assert digest.split(4, [b"".join(leaves)]) == whole  # in pieces of any length
    assert digest.split(4, leaves[::-1]) != whole
    window = {"window": np.ones((2, 2), np.float32)}
    root = digest.root("tie", "1.0", window, {"train": whole})
    assert root != digest.root("tie", "1.1", window, {"train": whole})
    assert root != digest.root("tie", "1.0", {"window": np.zeros((2, 2), np.float32)}, {"train": whole})
    assert root != digest.root("tie", "1.0", window, {"test": whole})


def test_problems_are_all_named() -> None:
    task = Task(
        "t",
        "1.0",
        "",
        "",
        (Field("a", ("sample", "x"), "float32", "1", "input", ""), Field("b", ("sample",), "int32", "1", "target", "")),
    )
    good = {"a": np.zeros((2, 3), np.float32), "b": np.zeros(2, np.int32)}
    assert array_problems(task, {"x": 3}, good) == []
    bad = {"a": np.full((2, 4), np.nan), "c": np.zeros(2)}
    text = "; ".join(array_problems(task, {"x": 3}, bad))
    for part in ("missing fields: b", "unknown fields: c", "shape (4,)", "dtype float64", "not all values are finite"):
        assert part in text


@pytest.mark.parametrize(
    ("content", "rule"),
    [
        (None, "no dataset here"),
        (b"x", "damaged metadata"),
        (b"{}", "no dataset here"),
        (b'{"attributes": {"drybeam": {"format": 99}}}', "format 99, this program reads up to 2"),
        (b'{"attributes": {"drybeam": {"format": 1, "task": 3}}}', "damaged"),
        (b'{"attributes": {"drybeam": [1]}}', "damaged"),
    ],
)
def test_damaged_metadata_are_one_line(tmp_path: Path, content: bytes | None, rule: str, dataset: Command) -> None:
    if content is not None:
        (tmp_path / "zarr.json").write_bytes(content)
    with pytest.raises(UserError, match=rule):
        read_manifest(tmp_path)
    for verb in ("info", "validate", "verify", "preview"):
        code, out, err = dataset(verb, tmp_path)
        assert code == 2
        assert out == ""
        assert err.count("\n") == 1
        assert rule in err


def test_parameters_of_many_numbers_lie_in_smaller_objects() -> None:
    """Atoms, for example: 65,536 rows of 12 MB would be one object of 800 GB."""
    fields = (*TIE.fields, Field("atom", ("sample", "atom", "axis"), "float32", "nm", "parameter", "places"))
    sizes = {"x": 64, "y": 64, "plane": 3, "axis": 3}
    sizes |= dict.fromkeys({dim for field in TIE.fields for dim in field.dims} - {"sample"} - sizes.keys(), 4)
    blocks = [
        choose_layout(replace(TIE, fields=fields), {**sizes, "atom": atoms}, 1e-3).block for atoms in (10, 1000, 10**6)
    ]
    assert blocks == [65_536, 8192, 8]
