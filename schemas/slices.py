"""Slices as samples: arrays of a task with `Task.slices` and those of `Task.sliced`, whose rows are (sample, slice)."""

from collections.abc import Mapping
from math import prod
from types import MappingProxyType

import numpy as np

from schemas.task import SAMPLE, Field, Task

type Arrays = Mapping[str, np.ndarray]


def count(task: Task, sizes: Mapping[str, int]) -> int:
    """Slices of a sample; 1 for a task without."""
    return prod(sizes[dim] for dim in task.slices)


def lengths(task: Task, arrays: Arrays) -> dict[str, int]:
    """The length of each dimension of slices, as arrays of some fields have them."""
    return {
        dim: n
        for name, values in arrays.items()
        for dim, n in zip(task[name].dims, values.shape, strict=True)
        if dim in task.slices
    }


def fold(
    task: Task, arrays: Arrays, samples: int, sizes: Mapping[str, int] = MappingProxyType({})
) -> dict[str, np.ndarray]:
    """Return fields of `task`, (samples, ...) or constants, as those of `task.sliced`. What slices share is repeated.

    sizes: of the dimensions of slices; needed where none of the arrays has them.
    """
    if not task.slices:
        return dict(arrays)
    known = {**sizes, **lengths(task, arrays)}
    return {name: _folded(task, task[name], known, values, samples) for name, values in arrays.items()}


def _folded(task: Task, field: Field, known: Mapping[str, int], values: np.ndarray, samples: int) -> np.ndarray:
    dims = [dim for dim in field.dims if dim != SAMPLE]
    if not field.per_sample:
        if not set(task.slices) & set(dims):
            return values
        values = np.broadcast_to(values, (samples, *values.shape))
    present = [dim for dim in task.slices if dim in dims]
    rest = [dim for dim in dims if dim not in task.slices]
    values = values.transpose(0, *(1 + dims.index(dim) for dim in (*present, *rest)))
    for place, dim in enumerate(task.slices, 1):
        if dim not in dims:
            values = np.repeat(np.expand_dims(values, place), known[dim], place)
    return values.reshape(-1, *values.shape[1 + len(task.slices) :])


def unfold(task: Task, arrays: Arrays, known: Mapping[str, int]) -> dict[str, np.ndarray]:
    """Return the inverse for fields that have all dimensions of slices, which have these lengths.

    Axes of an array beyond those of its field stay behind.
    """
    return {name: _unfolded(task, task[name], known, values) for name, values in arrays.items()}


def _unfolded(task: Task, field: Field, known: Mapping[str, int], values: np.ndarray) -> np.ndarray:
    values = values.reshape(-1, *(known[dim] for dim in task.slices), *values.shape[1:])
    now = [SAMPLE, *task.slices, *(dim for dim in field.dims if dim not in (SAMPLE, *task.slices))]
    return values.transpose(*map(now.index, field.dims), *range(len(now), values.ndim))
