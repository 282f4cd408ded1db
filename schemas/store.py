"""A dataset as a Zarr v3 store: metadata of the whole, objects of single units, arrays to read.

tie.zarr/zarr.json               manifest, consolidated metadata
tie.zarr/train/intensity/c/...   an object per shard (a shard of chunks of about 1 MB)
tie.zarr/train/defocus/c/...     parameters: an object per 65,536 samples
tie.zarr/train/leaf_digest/...   sha256 of each sample (schemas.digest)
tie.zarr/train/window/...        fields without a sample axis: one object
"""

import asyncio
import warnings
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from zarr.abc.store import ByteRequest
from zarr.codecs import BloscCodec, Crc32cCodec
from zarr.core.buffer import Buffer, BufferPrototype, cpu
from zarr.errors import ZarrUserWarning
from zarr.storage import LocalStore, MemoryStore

from schemas import digest
from schemas.manifest import METADATA, Manifest
from schemas.runtime.publish import inside
from schemas.task import SAMPLE, Field

LEAF = Field("leaf_digest", (SAMPLE, "byte"), "uint8", "1", "digest", "sha256 of the sample's fields")
COMPRESSORS = (BloscCodec(cname="zstd", clevel=3, shuffle="bitshuffle"), Crc32cCodec())


@dataclass(frozen=True)
class Array:
    """An array of a store: the field that it holds, its shape, and how it is cut into objects."""

    field: Field
    shape: tuple[int, ...]
    chunks: tuple[int, ...]
    shards: tuple[int, ...] | None = None


def metadata(manifest: Manifest) -> dict[str, bytes]:
    """Return all zarr.json of a dataset, by key, with consolidated metadata."""
    fields = (*manifest.task.fields, LEAF)
    groups = {split: [_array(manifest, split, field) for field in fields] for split in manifest.splits}
    return describe(METADATA.attributes(manifest), groups, {"status": manifest.status})


def describe(
    attributes: Mapping[str, Any],
    groups: Mapping[str, Iterable[Array]],
    of_groups: Mapping[str, Any] | None = None,
    *,
    complete: bool = True,
) -> dict[str, bytes]:
    """Return all zarr.json of a store, by key.

    Args:
        attributes: those of the root.
        groups: arrays by their group; `""` is the root.
        of_groups: attributes of the groups below the root.
        complete: with consolidated metadata.
    """
    objects: dict[str, Buffer] = {}
    store = MemoryStore(objects)
    root = zarr.create_group(store, attributes=dict(attributes))
    for name, arrays in groups.items():
        group = root.create_group(name, attributes=dict(of_groups or {})) if name else root
        for array in arrays:
            create_array(group, array.field, array.shape, array.chunks, array.shards)
    if complete:
        consolidate(store, [*filter(None, groups), ""])
    return {key: data.to_bytes() for key, data in objects.items()}


def _array(manifest: Manifest, split: str, field: Field) -> Array:
    shape = field.shape({**manifest.sizes, "byte": digest.LEAF})
    if not field.per_sample:
        return Array(field, shape, shape)
    whole = (manifest.samples[split], *shape)
    if is_simulated(field):
        return Array(field, whole, manifest.layout.chunks[field.name], (manifest.layout.shard, *shape))
    return Array(field, whole, (manifest.layout.block, *shape))


def create_array(
    group: zarr.Group, field: Field, shape: tuple[int, ...], chunks: tuple[int, ...], shards: tuple[int, ...] | None
) -> None:
    """The metadata of one field's array, with this project's codecs and attributes."""
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
    """Return the names of classes as the CF conventions (3.5, flags) have them: words with blanks between them."""
    names = ["_".join(name.split()) for name in field.classes]
    return {"flag_values": list(range(len(names))), "flag_meanings": " ".join(names)} if names else {}


def _missing(field: Field) -> Any:
    return np.dtype(field.dtype).type(np.nan if field.dtype.startswith(("float", "complex")) else 0)


def consolidate(store: MemoryStore, groups: Iterable[str]) -> None:
    """Copy the metadata of all arrays into these groups (`""` is the root), inner groups first."""
    with warnings.catch_warnings():
        # Allowed again by zarr-specs#373, which zarr-python does not know yet.
        warnings.filterwarnings("ignore", "Consolidated metadata", ZarrUserWarning)
        for group in groups:
            zarr.consolidate_metadata(store, path=group or None)


def is_simulated(field: Field) -> bool:
    """Whether a field has a value per sample that is known only after simulation: it is chunked by shard."""
    return field.per_sample and field.role not in ("parameter", "digest")


def encode(described: bytes, start: int, values: np.ndarray) -> dict[str, bytes]:
    """The objects that hold rows start:start+len(values) of an array, by key. They must be whole objects.

    described: the array's zarr.json. Bytes depend on values and codec versions alone.
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
    """Yield the objects, by key, that hold rows from `start` on of some arrays, which are given by their paths.

    described: all zarr.json of the store.
    """
    for path, values in arrays.items():
        for key, data in encode(described[f"{path}/zarr.json"], start, values).items():
            yield f"{path}/{key}", data


class Confined(LocalStore):
    """Objects of a folder, to read. UserError at the first of them that lies outside of it, by a link.

    Each is checked once, before it is read. That takes some 50 us; an object of 1 MB takes 3 ms to read and decode. To
    walk over the whole folder first would take 3 s for 100,000 objects, for commands that read one of them.
    """

    def __init__(self, root: Path, *, read_only: bool = True) -> None:
        super().__init__(root, read_only=read_only)
        self._checked: set[str] = set()

    def get_sync(
        self, key: str, *, prototype: BufferPrototype | None = None, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        """Return the bytes of an object; None if there is none."""
        if key not in self._checked:
            inside(self.root, key)
            self._checked.add(key)
        return super().get_sync(key, prototype=prototype, byte_range=byte_range)

    async def get(
        self, key: str, prototype: BufferPrototype | None = None, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        """Return the same, read by a thread."""
        return await asyncio.to_thread(self.get_sync, key, prototype=prototype, byte_range=byte_range)

    async def get_partial_values(
        self, prototype: BufferPrototype, key_ranges: Iterable[tuple[str, ByteRequest | None]]
    ) -> list[Buffer | None]:
        """Return the same for parts of several objects."""
        return [await self.get(key, prototype, byte_range) for key, byte_range in key_ranges]


def open_split(path: Path, split: str) -> zarr.Group:
    """The arrays of a split, to read. A missing object is an error (zarr.errors), never silently NaN."""
    zarr.config.set({"array.read_missing_chunks": False})
    return zarr.open_group(Confined(path), path=split, mode="r", use_consolidated=False, zarr_format=3)


def read_rows(group: zarr.Group, fields: tuple[Field, ...], rows: slice) -> dict[str, np.ndarray]:
    """Some rows of the fields that have a value per sample."""
    return {field.name: np.asarray(group[field.name][rows]) for field in fields if field.per_sample}  # type: ignore[index]


def shard_ranges(n: int, length: int) -> Iterator[tuple[int, int]]:
    """Runs of `length` samples that cover n, the last one shorter."""
    return ((start, min(start + length, n)) for start in range(0, n, length))
