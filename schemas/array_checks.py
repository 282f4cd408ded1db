"""Checks of arrays against the declaration of a task: names, shapes, dtypes and values."""

from collections.abc import Mapping

import numpy as np

from schemas.task import Field, Task


def array_problems(
    task: Task, sizes: Mapping[str, int], arrays: Mapping[str, np.ndarray], *, samples: bool = True
) -> list[str]:
    """Check names, shapes, dtypes and values of a block of samples against a task.

    Args:
        task: the task.
        sizes: length of each dimension.
        arrays: by field, with a leading axis of samples where the field is per sample.
        samples: if False, fields that have a value per sample may be missing.

    Returns:
        One line per problem; an empty list if there is none.
    """
    problems = []
    if missing := {f.name for f in task.fields if f.per_sample and samples} - arrays.keys():
        problems.append(f"missing fields: {', '.join(sorted(missing))}")
    if unknown := arrays.keys() - {f.name for f in task.fields}:
        problems.append(f"unknown fields: {', '.join(sorted(unknown))}")
    counts = {f.name: arrays[f.name].shape[:1] for f in task.fields if f.per_sample and f.name in arrays}
    if len(set(counts.values())) > 1:
        problems.append(f"fields have different numbers of samples: {', '.join(f'{k} {n}' for k, n in counts.items())}")
    for field in task.fields:
        if field.name in arrays:
            problems += _problems_of_one_array(field, sizes, arrays[field.name])
    return problems


def _problems_of_one_array(field: Field, sizes: Mapping[str, int], array: np.ndarray) -> list[str]:
    """Return the problems of one array: shape, dtype, labels, values that are not finite."""
    problems = []
    shape = array.shape[1:] if field.per_sample else array.shape
    if shape != field.shape(sizes):
        problems.append(f"{field.name}: shape {shape} per sample, must be {field.shape(sizes)}")
    if array.dtype != np.dtype(field.dtype):
        problems.append(f"{field.name}: dtype {array.dtype}, must be {field.dtype}")
    if field.classes and array.size and array.dtype.kind in "iu" and int(array.max()) >= len(field.classes):
        problems.append(
            f"{field.name}: has the label {int(array.max())}, the classes are 0 to {len(field.classes) - 1}"
        )
    if array.dtype.kind in "fc" and not np.isfinite(array).all():
        problems.append(f"{field.name}: not all values are finite")
    return problems
