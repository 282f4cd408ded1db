"""Arrays that belong to a measurement, such as scan positions or the probe, read from files given as `name=file`."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from schemas.formats import reading
from schemas.formats.image import Known, Picture
from schemas.formats.pixel_sizes import nanometres
from schemas.manifest import SourceFile
from schemas.runtime.errors import UserError, split_assignments
from schemas.runtime.hashes import sha256_of
from schemas.task import Field, Task

NEXUS_MASK = "pixel_mask"  # array of NXdetector that is 0 where the detector measures, and else holds reasons
MAX_HIDDEN = 0.5  # a warning is printed if a mask hides more than this part of the pixels


@dataclass(frozen=True)
class AttachedArrays:
    """Arrays given by name, with the metadata of their files."""

    arrays: dict[str, np.ndarray] = field(default_factory=dict)  # arrays by field
    known: dict[str, Known] = field(default_factory=dict)  # parameters that the file of each array states, by field
    sources: list[SourceFile] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)  # warnings for the user


def read(
    task: Task, texts: Sequence[str], sizes: dict[str, int], samples: int, masks: Collection[str] = ()
) -> AttachedArrays:
    """Read the arrays of `name=file` texts.

    Args:
        task: the task.
        texts: the values of `--with`.
        sizes: length of each dimension. Lengths that only these arrays have are added.
        samples: number of samples.
        masks: fields that are 1 where the detector measures, and 0 elsewhere.

    Raises:
        UserError: a name is unknown, or an array does not fit the task or the images.
    """
    known = {one.name: one for one in task.of("parameter", "auxiliary")}
    found = AttachedArrays()
    for one, file in split_assignments("--with", texts, known, "field", "name=file"):
        path, picture = reading.read(file, f"--with {one.name}=")
        values = _convert_lengths(one, str(path), picture)
        if one.name in masks:
            if NEXUS_MASK in file.lower().rpartition(":")[2].rpartition("/")[2]:
                found.notes.append(f"warning: {file}: 0 is taken as measured, as in {NEXUS_MASK} of NeXus")
                values = values == 0
            found.notes.extend(_doubts_of_mask(one.name, file, values))
        found.arrays[one.name] = _fit_array(one, str(path), values, sizes, samples)
        found.known[one.name] = picture.known
        found.notes.extend(picture.notes)
        if picture.unclear:
            found.notes.append(f"warning: {path}: {picture.unclear}; the order in the file is kept")
        found.sources.append(SourceFile(name=path.name, sha256=sha256_of(path)))
    return found


def _convert_lengths(one: Field, path: str, picture: Picture) -> np.ndarray:
    """Return the values of a field of lengths in nm, if its file states another unit."""
    if one.units != "nm" or not picture.unit:
        return picture.values
    if (scale := nanometres(picture.unit)) is None:
        raise UserError(f"{path}: states the unit {picture.unit}; {one.name} must be in nm; convert the array")
    return picture.values if scale == 1 else np.asarray(picture.values * scale)


def _doubts_of_mask(name: str, file: str, values: np.ndarray) -> Iterator[str]:
    """Yield a warning if a mask hides most pixels. Refuse one that hides all, or holds other numbers than 0 and 1."""
    other = np.unique(values[(values != 0) & (values != 1)])
    rule = f"{name} must be 1 where the detector measures, and 0 elsewhere"
    if other.size:
        raise UserError(f"{file}: holds {', '.join(map(str, other[:3]))}; {rule}; convert it")
    if not values.any():
        raise UserError(f"{file}: is 0 everywhere; {rule}; invert it if its 0 means measured")
    if (hidden := float((values == 0).mean())) > MAX_HIDDEN:
        yield f"warning: {file}: hides {hidden:.0%} of the pixels; {rule}"


def _fit_array(one: Field, path: str, values: np.ndarray, sizes: dict[str, int], samples: int) -> np.ndarray:
    """Return an array in the dtype of its field. Raise UserError if shape or values do not fit."""
    lengths = {**sizes, "sample": samples}
    wanted = tuple(lengths.get(dim, n) for dim, n in zip(one.dims, values.shape, strict=False))
    if values.shape != wanted or values.ndim != len(one.dims):
        shown = ", ".join(f"{dim} {lengths[dim]}" if dim in lengths else dim for dim in one.dims)
        raise UserError(f"{path}: shape {values.shape}; {one.name} must be ({shown}); give an array of this shape")
    if values.dtype.kind not in "biufc" or (values.dtype.kind == "c") > (np.dtype(one.dtype).kind == "c"):
        raise UserError(f"{path}: holds {values.dtype}; {one.name} must be {one.dtype}; convert the array")
    with np.errstate(over="ignore", invalid="ignore"):
        array = values.astype(one.dtype)
    if not np.isfinite(array).all():
        raise UserError(
            f"{path}: not all values of {one.name} are finite numbers; correct them, or leave these samples out"
        )
    if array.dtype.kind in "biu" and not np.array_equal(array, values):
        raise UserError(f"{path}: {one.name} must be {one.dtype}, but some values do not fit in it; correct them")
    sizes |= {dim: n for dim, n in zip(one.dims, values.shape, strict=True) if dim != "sample"}
    return array
