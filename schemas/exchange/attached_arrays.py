"""What goes with a measurement as arrays from files: `name=file`, the positions of a scan or its probe."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from schemas.formats import opening
from schemas.formats.image import Known
from schemas.manifest import SourceFile
from schemas.runtime.errors import UserError, assigned
from schemas.runtime.publish import sha256_of
from schemas.task import Field, Task


@dataclass(frozen=True)
class Beside:
    """Arrays by field, what their files state, and where they come from."""

    arrays: dict[str, np.ndarray] = field(default_factory=dict)
    known: dict[str, Known] = field(default_factory=dict)
    sources: list[SourceFile] = field(default_factory=list)


def read(task: Task, texts: Sequence[str], sizes: dict[str, int], samples: int) -> Beside:
    """The arrays of `name=file` texts; lengths that only they know are added to `sizes`. UserError: they do not fit."""
    known = {one.name: one for one in task.of("parameter", "auxiliary")}
    found = Beside()
    for one, file in assigned("--with", texts, known, "field", "name=file"):
        path, picture = opening.read(file)
        found.arrays[one.name] = _fitting(one, str(path), picture.values, sizes, samples)
        found.known[one.name] = picture.known
        found.sources.append(SourceFile(name=path.name, sha256=sha256_of(path)))
    return found


def _fitting(one: Field, path: str, values: np.ndarray, sizes: dict[str, int], samples: int) -> np.ndarray:
    lengths = {**sizes, "sample": samples}
    wanted = tuple(lengths.get(dim, n) for dim, n in zip(one.dims, values.shape, strict=False))
    if values.shape != wanted or values.ndim != len(one.dims):
        shown = ", ".join(f"{dim} {lengths[dim]}" if dim in lengths else dim for dim in one.dims)
        raise UserError(f"{path}: shape {values.shape}; {one.name} must be ({shown}): give as many as there are")
    if values.dtype.kind not in "biufc" or (values.dtype.kind == "c") > (np.dtype(one.dtype).kind == "c"):
        raise UserError(f"{path}: holds {values.dtype}; {one.name} is {one.dtype}")
    with np.errstate(over="ignore", invalid="ignore"):
        array = values.astype(one.dtype)
    if not np.isfinite(array).all():
        raise UserError(
            f"{path}: not all values of {one.name} are finite numbers; mend them, or leave such samples out"
        )
    if array.dtype.kind in "biu" and not np.array_equal(array, values):
        raise UserError(f"{path}: {one.name} is {one.dtype}, it holds values that are none; mend them")
    sizes |= {dim: n for dim, n in zip(one.dims, values.shape, strict=True) if dim != "sample"}
    return array
