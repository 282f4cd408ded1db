"""Division of samples into shards and chunks. It is fixed when a store is made, and is no part of its identity.

A shard is one object of every simulated array, at most 32 MB uncompressed and 60 s of work. A chunk is the smallest
piece that can be read. It holds about 1 MB: many small samples, or a part of a large one.
"""

from collections.abc import Mapping

from schemas.manifest import Layout
from schemas.store import is_simulated
from schemas.task import Field, Task

MAX_OBJECT_BYTES = 32 << 20  # maximum number of bytes of an object
CHUNK_BYTES = 1 << 20  # approximate number of bytes of a chunk
MAX_SHARD_SECONDS = 60.0
MAX_BLOCK_SAMPLES = 65_536  # maximum number of samples in an object of a parameter
MAX_BLOCK_BYTES = 128 << 20  # maximum number of bytes of an object of a parameter


def choose_layout(task: Task, sizes: Mapping[str, int], seconds: float, shard: int | None = None) -> Layout:
    """Choose the layout of a dataset.

    Args:
        task: the task.
        sizes: length of each dimension.
        seconds: time to simulate one sample.
        shard: samples in a shard; None: choose their number.
    """
    fields = [field for field in task.fields if is_simulated(field)]
    largest = max(field.nbytes(sizes) for field in fields)
    length = shard or _power_of_two(min(MAX_OBJECT_BYTES / largest, MAX_SHARD_SECONDS / max(seconds, 1e-9)))
    parameter_bytes = max((field.nbytes(sizes) for field in task.of("parameter")), default=1)
    block = _power_of_two(min(MAX_BLOCK_SAMPLES, MAX_BLOCK_BYTES / max(parameter_bytes, 1)))
    return Layout(
        shard=length, block=block, chunks={field.name: _chunk_shape(field, sizes, length) for field in fields}
    )


def _power_of_two(limit: float) -> int:
    return 1 << max(int(limit).bit_length() - 1, 0) if limit >= 1 else 1


def _chunk_shape(field: Field, sizes: Mapping[str, int], shard: int) -> tuple[int, ...]:
    """Return the shape of a chunk: whole samples if they are small, otherwise samples cut along their leading axes."""
    nbytes = field.nbytes(sizes)
    samples_per_chunk = CHUNK_BYTES / nbytes
    chunk = [_nearest_divisor(shard, samples_per_chunk)]
    remaining = nbytes
    for length in field.shape(sizes):
        remaining //= length
        chunk.append(
            length if samples_per_chunk >= 1 else _nearest_divisor(length, min(length, CHUNK_BYTES / remaining))
        )
    return tuple(chunk)


def _nearest_divisor(length: int, wanted: float) -> int:
    """Return the divisor of `length` that is nearest by ratio to the wanted number: shards hold whole chunks only."""
    wanted = max(wanted, 1.0)
    divisors = [d for k in range(1, int(length**0.5) + 1) if length % k == 0 for d in (k, length // k)]
    return min(divisors, key=lambda d: (max(d / wanted, wanted / d), d))
