"""Datasets as Zarr v3 stores: their metadata, the objects of single shards, and reading.

tie.zarr/zarr.json               manifest, consolidated metadata
tie.zarr/train/intensity/c/...   one object per shard, divided into chunks of about 1 MB
tie.zarr/train/defocus/c/...     parameters: one object per 65,536 samples
tie.zarr/train/leaf_digest/...   sha256 of each sample (schemas.digest)
tie.zarr/train/window/...        fields without a sample axis: one object
"""

import asyncio
import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from zarr.abc.store import ByteRequest
from zarr.codecs import BloscCodec, Crc32cCodec
from zarr.core.buffer import Buffer, BufferPrototype, cpu
from zarr.errors import ChunkNotFoundError
from zarr.storage import LocalStore, MemoryStore

from schemas import digest
from schemas.manifest import METADATA, Manifest, read_manifest
from schemas.runtime import codecs
from schemas.runtime.errors import UserError
from schemas.runtime.machine import memory
from schemas.runtime.publish import MAX_DOCUMENT, exists, inside, refuse_irregular
from schemas.task import SAMPLE, Field

LEAF_FIELD = Field("leaf_digest", (SAMPLE, "byte"), "uint8", "1", "digest", "sha256 of the sample's fields")
COMPRESSORS = (BloscCodec(cname="zstd", clevel=3, shuffle="bitshuffle"), Crc32cCodec())
MAX_READ_BYTES = 1 << 30  # maximum number of bytes of a shard that are read at once

codecs.register()


@dataclass(frozen=True)
class Array:
    """An array of a store: the field that it holds, its shape, and how it is cut into objects."""

    field: Field
    shape: tuple[int, ...]
    chunks: tuple[int, ...]
    shards: tuple[int, ...] | None = None


def metadata(manifest: Manifest) -> dict[str, bytes]:
    """Return the content of every zarr.json of a dataset by key, with consolidated metadata."""
    groups = {split: arrays_of(manifest, split).values() for split in manifest.splits}
    written = manifest.sealed() if manifest.status == "complete" else manifest
    return describe(METADATA.attributes(written), groups, {"status": manifest.status})


def describe(
    attributes: Mapping[str, Any],
    groups: Mapping[str, Iterable[Array]],
    of_groups: Mapping[str, Any] | None = None,
    *,
    complete: bool = True,
) -> dict[str, bytes]:
    """Return the content of every zarr.json of a store, by key.

    Args:
        attributes: attributes of the root.
        groups: arrays by group; `""` is the root.
        of_groups: attributes of the groups below the root.
        complete: add consolidated metadata.
    """
    objects: dict[str, Buffer] = {}
    store = MemoryStore(objects)
    root = zarr.create_group(store, attributes=dict(attributes))
    for name, arrays in groups.items():
        group = root.create_group(name, attributes=dict(of_groups or {})) if name else root
        for array in arrays:
            create_array(group, array.field, array.shape, array.chunks, array.shards)
    described = {key: data.to_bytes() for key, data in objects.items()}
    return _consolidate(described) if complete else described


def arrays_of(manifest: Manifest, split: str) -> dict[str, Array]:
    """Return the arrays of a split of a dataset, by field, in the order of the task."""
    return {field.name: _array(manifest, split, field) for field in (*manifest.task.fields, LEAF_FIELD)}


def _array(manifest: Manifest, split: str, field: Field) -> Array:
    """Return shape, chunks and shards of a field's array in a split."""
    shape = field.shape({**manifest.sizes, "byte": digest.LEAF_BYTES})
    if not field.per_sample:
        return Array(field, shape, shape)
    whole = (manifest.samples[split], *shape)
    if is_simulated(field):
        return Array(field, whole, manifest.layout.chunks[field.name], (manifest.layout.shard, *shape))
    return Array(field, whole, (manifest.layout.block, *shape))


def create_array(
    group: zarr.Group, field: Field, shape: tuple[int, ...], chunks: tuple[int, ...], shards: tuple[int, ...] | None
) -> None:
    """Create the metadata of one field's array, with the codecs and attributes of this project.

    Args:
        group: the group in which the array is created.
        field: the field that it holds.
        shape: shape of the whole array.
        chunks: shape of a chunk.
        shards: shape of an object if several chunks share one; None: one chunk per object.
    """
    group.create_array(
        field.name,
        shape=shape,
        dtype=field.dtype,
        chunks=chunks,
        shards=shards,
        compressors=COMPRESSORS,
        fill_value=_missing(field),
        dimension_names=field.dims,
        attributes={"units": field.units, "long_name": field.about, "role": field.role, **_flags(field)},
    )


def _flags(field: Field) -> dict[str, Any]:
    """Return the names of classes in the form of the CF conventions (3.5, flags): words separated by blanks."""
    names = ["_".join(name.split()) for name in field.classes]
    return {"flag_values": list(range(len(names))), "flag_meanings": " ".join(names)} if names else {}


def _missing(field: Field) -> Any:
    return np.dtype(field.dtype).type(np.nan if field.dtype.startswith(("float", "complex")) else 0)


def _consolidate(objects: Mapping[str, bytes]) -> dict[str, bytes]:
    """Return the metadata of a store, with those of all arrays copied into the groups above them.

    The bytes are those of zarr-python, whose own function warns each time, although zarr-specs#373 allows consolidated
    metadata again; and a process of several threads cannot silence a warning for a while.
    """
    documents = {key.removesuffix("zarr.json"): json.loads(data) for key, data in objects.items()}
    ordered = sorted(documents, key=lambda prefix: (prefix.count("/"), prefix.casefold()))
    groups = [prefix for prefix in ordered if documents[prefix]["node_type"] == "group"]
    copies = documents | {group: _with_members(documents[group], {}) for group in groups}
    consolidated = dict(objects)
    for group in groups:
        below = [prefix for prefix in ordered if prefix.startswith(group) and prefix != group]
        members = {prefix.removeprefix(group).rstrip("/"): copies[prefix] for prefix in below}
        consolidated[f"{group}zarr.json"] = json.dumps(_with_members(documents[group], members), indent=2).encode()
    return consolidated


def _with_members(group: Mapping[str, Any], members: Mapping[str, Any]) -> dict[str, Any]:
    """Return the metadata of a group with those of its members, in zarr-python's order."""
    inline = {"kind": "inline", "must_understand": False, "metadata": members}
    first = {key: value for key, value in group.items() if key != "node_type"}
    return {**first, "consolidated_metadata": inline, "node_type": group["node_type"]}


def is_simulated(field: Field) -> bool:
    """Return True if a field holds simulated values of each sample; it is then stored in shards."""
    return field.per_sample and field.role not in ("parameter", "digest")


def encode(described: bytes, start: int, values: np.ndarray) -> dict[str, bytes]:
    """Return the objects, by key, that hold rows start:start+len(values) of an array.

    The rows must fill whole objects. The bytes depend only on the values and the versions of the codecs.

    Args:
        described: zarr.json of the array.
        start: first row.
        values: the rows.
    """
    objects: dict[str, Buffer] = {"zarr.json": cpu.Buffer.from_bytes(described)}
    array = zarr.open_array(MemoryStore(objects), mode="r+", config={"write_empty_chunks": True})
    if array.ndim:
        array[start : start + len(values)] = values
    else:
        array[...] = values
    return {key: data.to_bytes() for key, data in objects.items() if key != "zarr.json"}


def encoded(
    described: Mapping[str, bytes], start: int, arrays: Mapping[str, np.ndarray]
) -> Iterator[tuple[str, bytes]]:
    """Yield the objects, with their keys, that hold rows from `start` on of several arrays.

    Args:
        described: the content of every zarr.json of the store, by key.
        start: first row.
        arrays: rows by path of the array.
    """
    for path, values in arrays.items():
        for key, data in encode(described[f"{path}/zarr.json"], start, values).items():
            yield f"{path}/{key}", data


class Confined(LocalStore):
    """Read-only access to the regular files of a folder. UserError: a link leads out of it, or to a pipe or device.

    Each object is checked once, before it is first read. A check takes about 50 us; reading and decoding an object of 1
    MB takes 3 ms. A check of the whole folder at the start would take 3 s for 100,000 objects, also for commands that
    read only one of them.
    """

    def __init__(self, root: Path, *, read_only: bool = True) -> None:
        super().__init__(root, read_only=read_only)
        self._checked: set[str] = set()

    def get_sync(
        self, key: str, *, prototype: BufferPrototype | None = None, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        """Return the bytes of an object; None if there is none."""
        if key not in self._checked:
            refuse_irregular(inside(self.root, key), MAX_DOCUMENT if key.endswith("zarr.json") else None)
            self._checked.add(key)
        return super().get_sync(key, prototype=prototype, byte_range=byte_range)

    async def get(
        self, key: str, prototype: BufferPrototype | None = None, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        """Return the same as `get_sync`, read in a thread."""
        return await asyncio.to_thread(self.get_sync, key, prototype=prototype, byte_range=byte_range)

    async def get_partial_values(
        self, prototype: BufferPrototype, key_ranges: Iterable[tuple[str, ByteRequest | None]]
    ) -> list[Buffer | None]:
        """Return parts of several objects, each as by `get`."""
        return [await self.get(key, prototype, byte_range) for key, byte_range in key_ranges]


class StoredArrays:
    """The arrays of a group of a store. Each is checked when it is taken, before any of its chunks is decoded."""

    def __init__(self, path: Path, name: str, expected: Mapping[str, Array] | None) -> None:
        zarr.config.set({"array.read_missing_chunks": False})
        self._group = zarr.open_group(Confined(path), path=name, mode="r", use_consolidated=False, zarr_format=3)
        self._expected = expected or {}

    def __getitem__(self, name: str) -> zarr.Array[Any]:
        """Return the array of a field.

        Raises:
            KeyError: there is none.
            ValueError: its shape or dtype differs from the metadata of the store, or its chunks could not be read with
                bounded memory.
        """
        found, expected = self._group[name], self._expected.get(name)
        if expected is None:
            codecs.refuse_array(found)
        else:
            codecs.refuse_array(found, expected.shape, expected.field.dtype)
        assert isinstance(found, zarr.Array)
        return found

    def read(self, name: str, rows: slice) -> np.ndarray:
        """Return rows of a field that has a value per sample.

        Copies that other programs make lack the objects that hold only the fill value, such as 0. So a missing object
        is read as its fill value if the samples then have their digests. Otherwise it is lost.

        Args:
            name: the field.
            rows: the samples.

        Raises:
            ChunkNotFoundError: an object is lost.
        """
        array = self[name]
        try:
            return np.asarray(array[rows])
        except ChunkNotFoundError:
            first, last, _ = rows.indices(array.shape[0])
            if not all(self._have_digests(slice(first + a, first + b)) for a, b in self._parts(last - first)):
                raise
            return _read_filled(array, rows)

    def _parts(self, count: int) -> Iterator[tuple[int, int]]:
        """Yield first and end of consecutive parts of samples that fit into memory."""
        nbytes = sum(prod(array.shape[1:]) * np.dtype(array.field.dtype).itemsize for array in self._expected.values())
        return shard_ranges(count, max(MAX_READ_BYTES // max(nbytes, 1), 1))

    def _have_digests(self, rows: slice) -> bool:
        """Return True if samples, with fill values in place of missing objects, have their stored digests."""
        names = [name for name, array in self._expected.items() if array.field.per_sample]
        if LEAF_FIELD.name not in names:
            return False  # predictions
        values = {name: _read_filled(self[name], rows) for name in names}
        stored = values.pop(LEAF_FIELD.name)
        return all(
            digest.leaf({name: array[index] for name, array in values.items()}) == one.tobytes()
            for index, one in enumerate(stored)
        )


def _read_filled(array: Any, rows: slice) -> np.ndarray:
    return np.asarray(array.with_config({"read_missing_chunks": True})[rows])


def open_split(path: Path, split: str, expected: Mapping[str, Array] | None = None) -> StoredArrays:
    """Open the arrays of a split for reading.

    A lost object raises an error of `zarr.errors` when it is read. It never reads as NaN.

    Args:
        path: the store.
        split: the group; `""` is the root.
        expected: shape and dtype that arrays must have; None: those of the manifest if the store is a dataset.

    Raises:
        UserError: a sample of the dataset does not fit into the memory of this machine, or the last samples
            are missing.
    """
    if expected is not None or not split:
        return StoredArrays(path, split, expected)
    manifest = read_manifest(path, incomplete=True)
    _refuse_large(path, manifest)
    found = StoredArrays(path, split, arrays_of(manifest, split))
    if manifest.status == "complete" and manifest.samples.get(split):
        _refuse_promises(path / split, found)
    return found


def _refuse_promises(path: Path, arrays: StoredArrays) -> None:
    """Raise UserError if the last digest of a complete split is missing: reading all samples could take for ever."""
    with suppress(KeyError, ValueError):  # damage is reported by whoever reads this array
        array: Any = arrays[LEAF_FIELD.name]
        objects = array.shards or array.chunks
        last = tuple((length - 1) // step for length, step in zip(array.shape, objects, strict=True))
        if not exists(path / LEAF_FIELD.name / array.metadata.encode_chunk_key(last)):
            raise UserError(f"{path}: the last of its {array.shape[0]:,} samples are missing; see: dataset verify")


def _refuse_large(path: Path, manifest: Manifest) -> None:
    """Raise UserError if the fields of one sample exceed the memory of this machine."""
    size = sum(field.nbytes(manifest.sizes) for field in manifest.task.fields)
    if size > memory():
        raise UserError(
            f"{path}: one sample has {size:,} bytes, this machine has {memory():,}; use a machine with more memory"
        )


def rows_at_once(manifest: Manifest) -> int:
    """Return the number of samples that are read at once: those of a shard, or fewer if it holds more than 1 GiB."""
    sample = sum(field.nbytes(manifest.sizes) for field in manifest.task.fields if field.per_sample)
    return max(min(manifest.layout.shard, MAX_READ_BYTES // sample), 1)


def read_rows(group: StoredArrays, fields: tuple[Field, ...], rows: slice) -> dict[str, np.ndarray]:
    """Read some rows of those fields that have a value per sample.

    Args:
        group: the split, from `open_split`.
        fields: fields of the task; those without samples are left out.
        rows: the samples.

    Returns:
        By field, an array (sample, ...).
    """
    return {field.name: group.read(field.name, rows) for field in fields if field.per_sample}


def shard_ranges(n: int, length: int) -> Iterator[tuple[int, int]]:
    """Yield the first sample and the end of consecutive parts of `length` samples that cover n samples.

    The last part may be shorter.

    Args:
        n: number of samples.
        length: samples in a part.
    """
    return ((start, min(start + length, n)) for start in range(0, n, length))
