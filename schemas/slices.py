"""Conversion between samples with slices and slices as separate samples.

The first are arrays of a task with `Task.slices`; the second are arrays of `Task.sliced`, with one row per (sample,
slice).
"""

from collections.abc import Mapping
from math import prod
from types import MappingProxyType

import numpy as np

from schemas.task import SAMPLE, Field, Task

type Arrays = Mapping[str, np.ndarray]


def slices_per_sample(task: Task, sizes: Mapping[str, int]) -> int:
    """Return the number of slices of a sample; 1 if the task has no slices.

    Args:
        task: the task.
        sizes: length of each dimension.
    """
    return prod(sizes[dim] for dim in task.slices)


def slice_lengths(task: Task, arrays: Arrays) -> dict[str, int]:
    """Return the length of each dimension of slices that the given arrays have.

    Args:
        task: the task.
        arrays: by field.
    """
    return {
        dim: n
        for name, values in arrays.items()
        for dim, n in zip(task[name].dims, values.shape, strict=True)
        if dim in task.slices
    }


def fold(
    task: Task, arrays: Arrays, samples: int, sizes: Mapping[str, int] = MappingProxyType({})
) -> dict[str, np.ndarray]:
    """Turn arrays of `task` into arrays of `task.sliced`. Values that all slices share are repeated.

    Args:
        task: the task.
        arrays: by field, (samples, ...) or constants.
        samples: number of samples.
        sizes: lengths of the dimensions of slices; needed where none of the arrays has them.
    """
    if not task.slices:
        return dict(arrays)
    known = {**sizes, **slice_lengths(task, arrays)}
    return {name: _fold_field(task, task[name], known, values, samples) for name, values in arrays.items()}


def _fold_field(task: Task, field: Field, known: Mapping[str, int], values: np.ndarray, samples: int) -> np.ndarray:
    """Return one array with one row per (sample, slice)."""
    dims = [dim for dim in field.dims if dim != SAMPLE]
    if not field.per_sample:
        if not set(task.slices) & set(dims):
            return values
        values = np.broadcast_to(values, (samples, *values.shape))
    present = [dim for dim in task.slices if dim in dims]
    other_dims = [dim for dim in dims if dim not in task.slices]
    values = values.transpose(0, *(1 + dims.index(dim) for dim in (*present, *other_dims)))
    for axis, dim in enumerate(task.slices, 1):
        if dim not in dims:
            values = np.repeat(np.expand_dims(values, axis), known[dim], axis)
    return values.reshape(-1, *values.shape[1 + len(task.slices) :])


def unfold(task: Task, arrays: Arrays, known: Mapping[str, int]) -> dict[str, np.ndarray]:
    """Turn arrays of `task.sliced` back into arrays of `task`: the inverse of `fold`.

    Args:
        task: the task.
        arrays: by field; each field has all dimensions of slices. Axes beyond those of the field stay at the end.
        known: length of each dimension of slices.
    """
    return {name: _unfold_field(task, task[name], known, values) for name, values in arrays.items()}


def _unfold_field(task: Task, field: Field, known: Mapping[str, int], values: np.ndarray) -> np.ndarray:
    values = values.reshape(-1, *(known[dim] for dim in task.slices), *values.shape[1:])
    present_dims = [SAMPLE, *task.slices, *(dim for dim in field.dims if dim not in (SAMPLE, *task.slices))]
    return values.transpose(*map(present_dims.index, field.dims), *range(len(present_dims), values.ndim))
