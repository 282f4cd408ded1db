"""Codecs that unpack no more than a chunk holds, and limits for the arrays of stores from others.

A damaged or malicious chunk of 100 kB may claim to unpack to 2 GB. The size of a chunk is known from the metadata, so
the codecs that are registered here refuse any other size before they allocate memory. They take the place of zarr's
codecs of the same name for all arrays that this process opens.
"""

import math
import zlib
from collections.abc import Iterable
from typing import Any

import numpy as np
import zarr
from zarr.abc.codec import Codec
from zarr.codecs import (
    BloscCodec,
    BytesCodec,
    Crc32cCodec,
    GzipCodec,
    ShardingCodec,
    TransposeCodec,
    ZstdCodec,
)
from zarr.core.array_spec import ArraySpec
from zarr.core.buffer import Buffer
from zarr.core.metadata.v3 import RegularChunkGridMetadata
from zarr.registry import register_codec

MAX_CHUNK_BYTES = 1 << 30  # maximum decoded size of a chunk [bytes]; those of this program hold about 1 MB
MAX_SHARD_CHUNKS = 1 << 22  # maximum number of chunks in a shard; zarr reads an index of 16 bytes for each
MAX_OBJECTS = 1 << 24  # maximum number of objects of an array
COMPRESSORS = (BloscCodec, GzipCodec, ZstdCodec)
REORDERING_CODECS = (TransposeCodec, BytesCodec)  # codecs that rearrange values without changing their number


class BoundedBlosc(BloscCodec):
    """Blosc that unpacks only chunks whose header states the size of the chunk."""

    def _decode_sync(self, chunk_bytes: Buffer, chunk_spec: ArraySpec) -> Buffer:
        _refuse_size(int.from_bytes(chunk_bytes.to_bytes()[4:8], "little"), decoded_size(chunk_spec))
        return super()._decode_sync(chunk_bytes, chunk_spec)


class BoundedZstd(ZstdCodec):
    """Zstd that unpacks at most the size of the chunk, whether the header states a size or not."""

    def _decode_sync(self, chunk_bytes: Buffer, chunk_spec: ArraySpec) -> Buffer:
        data, size = chunk_bytes.to_bytes(), decoded_size(chunk_spec)
        _refuse_size(_stated_by_zstd(data, size), size)
        values = np.empty(size, np.uint8)
        self._zstd_codec.decode(data, values)
        return chunk_spec.prototype.buffer.from_array_like(values)


class BoundedGzip(GzipCodec):
    """Gzip that unpacks at most the size of the chunk."""

    def _decode_sync(self, chunk_bytes: Buffer, chunk_spec: ArraySpec) -> Buffer:
        size = decoded_size(chunk_spec)
        data = zlib.decompressobj(wbits=31).decompress(chunk_bytes.to_bytes(), size + 1)
        _refuse_size(len(data), size)
        return chunk_spec.prototype.buffer.from_bytes(data)


BOUNDED_CODECS = {"blosc": BoundedBlosc, "zstd": BoundedZstd, "gzip": BoundedGzip}


def register() -> None:
    """Let zarr use the bounded codecs of this module for all arrays that are opened from now on."""
    for name, codec in BOUNDED_CODECS.items():
        register_codec(name, codec)
    zarr.config.set(
        {f"codecs.{name}": f"{codec.__module__}.{codec.__qualname__}" for name, codec in BOUNDED_CODECS.items()}
    )


def decoded_size(spec: ArraySpec) -> int:
    """Return the size in bytes of a decoded chunk."""
    return math.prod(spec.shape) * spec.dtype.to_native_dtype().itemsize


def _refuse_size(found: int, size: int) -> None:
    if found != size:
        more = "at least " if found > size else ""
        raise ValueError(f"a chunk unpacks to {more}{found:,} bytes, but must have {size:,}")


def _stated_by_zstd(data: bytes, unknown: int) -> int:
    """Return the size that the header of a zstd frame states (RFC 8878, 3.1.1.1); `unknown` if it states none."""
    if len(data) < 5:
        return 0
    single, width = data[4] >> 5 & 1, (data[4] >> 5 & 1, 2, 4, 8)[data[4] >> 6]
    start = 5 + (1 - single) + (0, 1, 2, 4)[data[4] & 3]
    stated = int.from_bytes(data[start : start + width], "little") + 256 * (width == 2)
    return stated if width else unknown


def refuse_array(array: Any, shape: tuple[int, ...] | None = None, dtype: str | None = None) -> None:
    """Refuse an array that could not be read with bounded memory, before any of its chunks is decoded.

    Args:
        array: the object that zarr opened.
        shape: the shape that it must have; None: any.
        dtype: the dtype that it must have; None: any.

    Raises:
        ValueError: it is not an array, or its shape, dtype, codecs or chunks are not allowed.
    """
    if not isinstance(array, zarr.Array) or array.metadata.zarr_format != 3:
        raise ValueError("is not an array of Zarr version 3")
    if shape is not None and array.shape != shape:
        raise ValueError(f"shape {array.shape}, must be {shape}")
    if dtype is not None and array.dtype != np.dtype(dtype):
        raise ValueError(f"dtype {array.dtype}, must be {dtype}")
    grid = array.metadata.chunk_grid
    if not isinstance(grid, RegularChunkGridMetadata):
        raise ValueError("chunks of different sizes are not supported; chunk the array regularly")
    _refuse_many(array.shape, grid.chunk_shape, MAX_OBJECTS, "objects in the array")
    _refuse_codecs(array.metadata.codecs, grid.chunk_shape, array.dtype.itemsize)


def _refuse_codecs(codecs: Iterable[Codec], chunk: tuple[int, ...], itemsize: int, *, inner: bool = False) -> None:
    """Raise ValueError unless all codecs are known and unpack a chunk to a bounded size."""
    listed = list(codecs)
    for codec in listed:
        if isinstance(codec, ShardingCodec) and not inner and len(listed) == 1:
            _refuse_many(chunk, codec.chunk_shape, MAX_SHARD_CHUNKS, "chunks in a shard")
            _refuse_codecs(codec.codecs, codec.chunk_shape, itemsize, inner=True)
            if not all(isinstance(part, BytesCodec | Crc32cCodec) for part in codec.index_codecs):
                raise ValueError("the index of a shard must not be compressed")
            return
        if not isinstance(codec, (*COMPRESSORS, *REORDERING_CODECS, Crc32cCodec)):
            known = ", ".join(("bytes", "transpose", *BOUNDED_CODECS, "crc32c"))
            raise ValueError(f"codec {type(codec).__name__} is not among {known}")
    if sum(isinstance(codec, COMPRESSORS) for codec in listed) > 1:
        raise ValueError("chunks that are compressed twice are not read")
    if (size := math.prod(chunk) * itemsize) > MAX_CHUNK_BYTES:
        raise ValueError(
            f"a chunk holds {size:,} bytes, at most {MAX_CHUNK_BYTES:,} are read; divide the array into chunks"
        )


def _refuse_many(whole: tuple[int, ...], part: tuple[int, ...], most: int, what: str) -> None:
    count = math.prod(-(-length // max(step, 1)) for length, step in zip(whole, part, strict=True))
    if count > most:
        raise ValueError(f"{count:,} {what}, at most {most:,} are read")
