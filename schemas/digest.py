"""Digests: the identity of a dataset, as hashes of decoded values, independent of chunks, codecs and stores.

    leaf  = sha256 over the fields of one sample, in schema order: name, dtype, shape, little-endian bytes in C order
    split = sha256(number of samples, leaves)
    root  = sha256(canonical JSON of task, version, constants and splits)

A constant is a field without a `sample` dimension. It is hashed like a sample with that one field.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping

import numpy as np

from schemas.task import Task

LEAF_BYTES = 32  # bytes of a leaf digest


def canonical_json(data: object) -> bytes:
    """Return data as JSON with sorted keys and no spaces.

    Raises:
        ValueError: a number is NaN or infinite.
    """
    return json.dumps(data, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def leaf(values: Mapping[str, np.ndarray]) -> bytes:
    """Return the digest (32 bytes) of one sample.

    Args:
        values: the fields of the sample, in the order of the task.
    """
    digest = hashlib.sha256()
    for name, value in values.items():
        array = np.asarray(value, dtype=value.dtype.newbyteorder("<"), order="C")
        digest.update(f"{name}:{array.dtype.str}:{array.shape}:".encode())
        digest.update(array.tobytes())
    return digest.digest()


def leaves(task: Task, values: Mapping[str, np.ndarray]) -> Iterator[bytes]:
    """Return the digests of the samples of a block, one after another.

    Args:
        task: the task.
        values: by field, arrays with a leading axis of samples. Constants are left out.
    """
    ordered = {field.name: values[field.name] for field in task.fields if field.per_sample}
    length = len(next(iter(ordered.values())))
    return (leaf({name: array[index] for name, array in ordered.items()}) for index in range(length))


def as_array(leaves: bytes) -> np.ndarray:
    """Return the digests of samples as the array (sample, byte) in which they are stored."""
    return np.frombuffer(leaves, np.uint8).reshape(-1, LEAF_BYTES)


def split(n: int, leaves: Iterable[bytes]) -> str:
    """Return the digest of a split.

    Args:
        n: number of samples.
        leaves: 32 bytes per sample, in order, in pieces of any length.
    """
    digest = hashlib.sha256(f"{n}:".encode())
    for piece in leaves:
        digest.update(piece)
    return digest.hexdigest()


def root(task: str, version: str, constants: Mapping[str, np.ndarray], splits: Mapping[str, str]) -> str:
    """Return the digest of a dataset.

    Args:
        task: name of the task.
        version: version of the task.
        constants: fields without samples.
        splits: by split, its digest.
    """
    hashes = {name: leaf({name: value}).hex() for name, value in constants.items()}
    return hashlib.sha256(canonical_json([task, version, hashes, dict(splits)])).hexdigest()
