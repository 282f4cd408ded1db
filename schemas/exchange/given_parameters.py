"""Parameters of a measurement that the user gives as `--set name=value,value`."""

import math
from collections.abc import Mapping, Sequence

import numpy as np

from schemas.formats.image import Known
from schemas.runtime.errors import UserError, split_assignments
from schemas.task import SAMPLE, Field, Task

POSITIVE_PARAMETERS = ("sampling", "sampling_y", "sampling_x", "voltage")

type Values = dict[str, tuple[float, ...]]


def settable(task: Task) -> dict[str, Field]:
    """Return the parameters that can be set, by name.

    These are parameters with one number per sample, or with one number for each of its images, views and so on, and
    constants that are one number.
    """
    seen = {dim for field in task.of("input") for dim in field.dims}
    numbers = [field for field in task.fields if field.role == "parameter" or not field.dims]
    return {field.name: field for field in numbers if set(field.dims) <= seen}


def widths(task: Task, name: str) -> dict[str, str]:
    """Return the parameters for the pixel widths of an input, with the key that file metadata use for each.

    `TASK.grids` names these parameters.

    Args:
        task: the task.
        name: name of the input.
    """
    found: dict[str, str] = {}
    for grid in task.grids:
        if set(grid.dims) <= set(task[name].dims):
            theirs = ("sampling",) if len(grid.sampling) == 1 else ("sampling_y", "sampling_x")
            found |= dict(zip(grid.sampling[::-1], theirs[::-1], strict=False))
    return {mine: key for mine, key in found.items() if task[mine].dims == (SAMPLE,)}


def stated(task: Task, known: Mapping[str, Known]) -> dict[str, tuple[float, ...]]:
    """Return the parameters of one sample that its files state.

    If several files state a parameter, the value of the first input is used; for a pixel width, that of the first input
    on its grid.

    Args:
        task: the task.
        known: by input, the metadata of its files.
    """
    inputs = [(one, widths(task, name)) for name, one in list(known.items())[::-1]]
    merged = {key: values for one, _ in inputs for key, values in one.items()}
    for mine in {mine for _, placed in inputs for mine in placed}:
        merged.pop(mine, None)
    for one, placed in inputs:
        merged |= {mine: one[key] for mine, key in placed.items() if key in one}
    return merged


def parse(task: Task, texts: Sequence[str]) -> Values:
    """Return the numbers given for each parameter.

    Args:
        task: the task.
        texts: the values of `--set`.

    Raises:
        UserError: a parameter is unknown, or a value is not a finite number.
    """
    pairs = split_assignments("--set", texts, settable(task), "parameter", "name=value")
    return {field.name: tuple(_number(field, part) for part in value.split(",")) for field, value in pairs}


def _number(field: Field, text: str) -> float:
    """Return the number in a text. Raise UserError if it is not finite, or not allowed for this parameter."""
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    with np.errstate(over="ignore"):
        if not (math.isfinite(number) and math.isfinite(np.float32(number))):
            raise UserError(
                f"--set {field.name}: {text!r} is not a finite number [{field.units}]; write {field.name}=1,2,3"
            )
    return _check_number(field, number)


def _check_number(field: Field, number: float) -> float:
    """Return the number. Raise UserError if it is not allowed for this parameter."""
    with np.errstate(over="ignore"):
        if not math.isfinite(np.float32(number)):
            raise UserError(f"{field.name} = {number:g} [{field.units}]: not a finite number; give --set {field.name}=")
    if field.name in POSITIVE_PARAMETERS and number <= 0:
        raise UserError(f"{field.name} = {number:g} [{field.units}]: must be more than 0; give --set {field.name}=...")
    if np.dtype(field.dtype).kind in "iub" and number != np.dtype(field.dtype).type(int(number)):
        raise UserError(f"{field.name} = {number:g}: must be a whole number ({field.dtype})")
    return number


def column(
    field: Field, values: Sequence[float], sizes: Mapping[str, int], samples: int, *, shared: bool = False
) -> np.ndarray:
    """Return one parameter of all samples as an array.

    Args:
        field: the parameter.
        values: the values of one sample, which then hold for all samples; or those of all samples, one after another.
        sizes: length of each dimension.
        samples: number of samples.
        shared: whether a single value holds for all images.

    Raises:
        UserError: the number of values is neither that of one sample nor that of all samples.
    """
    shape = field.shape(sizes)
    each = math.prod(shape)
    samples = samples if field.per_sample else 1
    values = [*values] * each if shared and len(values) == 1 else values
    if len(values) not in (each, samples * each):
        per = " x ".join(f"{dim} {sizes[dim]}" for dim in field.dims if dim != SAMPLE) or "one per sample"
        asked = f"{each}" + (f" or, for {samples} samples, {samples * each}" if samples > 1 else "")
        raise UserError(f"{field.name}: has {len(values)} values, but the images have {per}; give {asked}")
    numbers = np.array([_check_number(field, value) for value in values], dtype=field.dtype)
    rows = np.array(np.broadcast_to(numbers.reshape(-1, *shape), (samples, *shape)))
    return rows if field.per_sample else rows[0, ...]
