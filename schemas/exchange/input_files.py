"""Files of measurements: each becomes images in the order of samples and planes, and the parameters that it states."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from schemas.exchange.raw_data import ROTATION, Raster
from schemas.formats import reading
from schemas.formats.image import Known, Picture, Rows
from schemas.runtime.errors import UserError
from schemas.task import Field, Import, Task, find_import

VALUE_TOLERANCE = 1e-3  # relative difference below which values in several files are taken as equal
PIXEL_SIZES = ("sampling", "sampling_y", "sampling_x")


@dataclass(frozen=True)
class Sample:
    """One input of one sample, and the parameters that its files state."""

    values: np.ndarray
    known: Mapping[str, tuple[float, ...]]


@dataclass(frozen=True)
class Read:
    """The content of one file."""

    path: Path
    picture: Picture
    known: Known  # parameters that the file states of this input
    notes: tuple[str, ...] = ()  # warnings for the user


def file_groups(
    task: Task, groups: Sequence[Sequence[str]], files: Sequence[str], key: str, angles: Sequence[str]
) -> list[Sequence[str]]:
    """Return the files of each sample, as `read_inputs` takes them.

    Args:
        task: the task.
        groups: files of one sample or of several each.
        files: files of one sample each, instead of groups.
        key: name of the array in each of these files; empty: not given.
        angles: one file with the angles of all samples, or one for each; empty: not given.

    Raises:
        UserError: there are no files, or options do not fit together.
    """
    if bool(groups) == bool(files):
        raise UserError("give the measured images: dataset import --task NAME FILE ..., or --from FILE ...")
    if key and not files:
        raise UserError(f"--key {key}: is for files without --from; write --from FILE:{key}")
    found = [*groups] or [[reading.with_array(file, key) if key else file] for file in files]
    how = find_import(task.name).preparation
    if angles and (how is None or ROTATION not in how.beside):
        raise UserError(f"--angles {angles[0]}: images of task {task.name} have no angles; leave it out")
    if len(angles) not in (0, 1, len(found)):
        raise UserError(f"--angles: {len(angles)} files for {len(found)} samples; give one for all, or one for each")
    beside = [f"{ROTATION}={file}" for file in angles] * (len(found) if len(angles) == 1 else 1)
    return [[*group, angle] for group, angle in zip(found, beside, strict=True)] if angles else found


def read_inputs(
    task: Task, how: Import, group: Sequence[str], rows: Rows | None = None
) -> list[tuple[str, list[Read]]]:
    """Return the files of each input and target.

    A file is written name=file if it holds a target, or an input that is optional or not the only one.

    Args:
        task: the task.
        how: its rules for importing.
        group: the files of one sample or of several, as the user wrote them.
        rows: the rows that are read of inputs with three axes; None: all.

    Raises:
        UserError: a file cannot be read, an input has no file, or patterns are given where images are expected.
    """
    names = [*(field.name for field in task.of("input")), *how.targets]
    beside = (*how.preparation.beside, *how.preparation.targets) if how.preparation else ()
    needed = [field.name for field in task.of("input") if not field.optional]
    files: dict[str, list[Read]] = {name: [] for name in (*names, *beside)}
    rows = replace(rows, single=sum(text.partition("=")[0] not in beside for text in group) > 1) if rows else None
    for text in group:
        name, equals, rest = text.partition("=")
        if not (equals and name in files):
            name, rest = needed[0], text
            if len(needed) > 1:
                raise UserError(f"--from {text}: task {task.name} has several inputs; write {'=... '.join(needed)}=...")
        files[name].append(
            Read(*reading.read(rest), {}) if name in beside else _read(task, task[name], how, rest, rows)
        )
    if lacking := [name for name in needed if not files[name]]:
        raise UserError(f"--from {' '.join(group)}: lacks {', '.join(lacking)}; write {lacking[0]}=FILE")
    return [(name, reads) for name, reads in files.items() if reads]


def _read(task: Task, field: Field, how: Import, text: str, rows: Rows | None) -> Read:
    """Read a file of an input. Pixel sizes are used only if they are those of images, or of patterns, as the input."""
    path, picture = reading.read(text, rows=rows)
    patterns = field.name in how.roots or any(
        grid.how == "reciprocal" and set(grid.dims) <= set(field.dims) for grid in task.grids
    )
    if picture.patterns and not patterns:
        raise UserError(
            f"{path}: its axes have the units of diffraction patterns, but {field.name} of task {task.name} holds "
            "images; give images, or correct the units"
        )
    known, notes = dict(picture.known), picture.notes
    if picture.patterns is False and patterns and (sizes := known.keys() & set(PIXEL_SIZES)):
        width = f"{known['sampling_x'][0]:.6g} nm"
        notes += (f"warning: {path}: its pixels of {width} are not those of a pattern, which need 1/nm; not used",)
        known = {name: values for name, values in known.items() if name not in sizes}
    if picture.turned and how.raster:
        rule = f"the patterns are turned against the scan, so {how.raster.position} is not taken from its raster"
        remedy = f"give --with {how.raster.position}=FILE, along the axes of the patterns"
        notes += (f"warning: {path}: states {picture.turned}: {rule}; {remedy}",)
    return Read(path, picture, known, notes)


def samples_of(
    task: Task, field: Field, how: Import, files: Sequence[Read], axes: Sequence[str], asked: Mapping[str, int]
) -> list[Sample]:
    """Return the samples that some files hold: one sample if each file is one image, else the samples of each file.

    Args:
        task: the task.
        field: the input.
        how: the rules for importing.
        files: the files.
        axes: order of the axes in the files; empty: that of the task.
        asked: lengths of dimensions that set parameters imply.

    Raises:
        UserError: the arrays do not have the axes of the input, or do not fit together.
    """
    rank = len(field.dims) - 1
    arrays = [_order_axes(field, read, axes, asked, raster=how.raster is not None) for read in files]
    if rank > 2 and all(array.ndim == rank - 1 for array in arrays):
        apart = [axis for axis, dim in enumerate(field.dims[1:]) if dim not in task.dims]
        return [_stack_series(files, arrays, apart[0] if len(apart) == 1 else 0)]
    pairs = enumerate(zip(files, arrays, strict=True))
    return [one for number, (read, array) in pairs for one in _split_samples(field, how.raster, read, array, number)]


def _stack_series(files: Sequence[Read], arrays: Sequence[np.ndarray], axis: int) -> Sample:
    for read, array in zip(files, arrays, strict=True):
        if array.shape != arrays[0].shape:
            first, other = (" x ".join(map(str, a.shape)) for a in (arrays[0], array))
            raise UserError(f"{read.path}: has {other} pixels, but {files[0].path} has {first}; crop them to one size")
    return Sample(np.stack(arrays, axis), _merge_known(files))


def _split_samples(field: Field, raster: Raster | None, read: Read, array: np.ndarray, number: int) -> Iterator[Sample]:
    """Yield the samples of a file that holds one or several whole samples."""
    if array.ndim not in (len(field.dims) - 1, len(field.dims)):
        raise UserError(
            f"{read.path}: shape {array.shape}; {field.name} must have the axes {', '.join(field.dims[1:])}, with or "
            f"without samples first; give {'one image per file' if len(field.dims) > 3 else 'another file'}"
        )
    for index, one in enumerate(array if array.ndim == len(field.dims) else (array,)):
        yield Sample(one, {**read.known, **_raster_place(raster, read.picture, index, number)})


def _raster_place(raster: Raster | None, picture: Picture, index: int, number: int) -> Known:
    """Return the place of a pattern in a raster whose file states the step: each file is a separate scan."""
    if raster is None or picture.values.ndim != 4 or "step" not in picture.known or picture.turned:
        return {}
    y, x = picture.known["step"]
    row, column = divmod(index, picture.values.shape[1])
    return {raster.position: (row * y, column * x), raster.scan: (number,)}


def _order_axes(field: Field, read: Read, axes: Sequence[str], asked: Mapping[str, int], *, raster: bool) -> np.ndarray:
    """Return the values of a file with axes in the order of the schema, without leading axes of length 1."""
    if read.picture.unclear and not axes:
        example = ",".join(field.dims[-len(read.picture.order) :])
        raise UserError(f"{read.path}: {read.picture.unclear}; name them in the order of the file: --axes {example}")
    values = grey_values(read.path, read.picture, named=bool(axes))
    order = tuple(axes) or read.picture.axes
    if order and sorted(order) in (sorted(field.dims), sorted(field.dims[1:]), sorted(field.dims[-2:])):
        if len(order) != values.ndim:
            raise UserError(f"{read.path}: has {values.ndim} axes, not {len(order)} ({','.join(order)}); see --axes")
        return values.transpose([order.index(dim) for dim in field.dims if dim in order])
    if axes:
        raise UserError(f"--axes {','.join(axes)}: must name {', '.join(field.dims[1:])}, with or without sample")
    if read.picture.matlab and values.ndim > 2:
        return _from_matlab(field, read.path, values, asked)
    if raster and values.ndim == 4 == len(field.dims) + 1:
        return values.reshape(-1, *values.shape[2:])
    while values.ndim > 2 and len(values) == 1 and values.ndim >= len(field.dims) - 1:
        values = values[0]
    return values


def _from_matlab(field: Field, path: Path, values: np.ndarray, asked: Mapping[str, int]) -> np.ndarray:
    """Put the axis of images first. MATLAB has it last, Python first; the lengths of set parameters decide."""
    theirs = values.transpose([*range(values.ndim - 1, 1, -1), 0, 1])
    dims = field.dims[-values.ndim :]
    fits = [all(asked.get(d, n) == n for d, n in zip(dims, array.shape, strict=False)) for array in (theirs, values)]
    if all(fits) and asked.keys() & set(dims):
        raise UserError(f"{path}: shape {values.shape} can be read in two ways; name its axes: --axes {','.join(dims)}")
    return values if fits == [False, True] else theirs


def grey_values(path: Path, picture: Picture, *, named: bool) -> np.ndarray:
    """Return the values of a file.

    Args:
        path: the file, for messages.
        picture: its content.
        named: whether the user has named the axes. The values are then in the order of the file.

    Raises:
        UserError: the values are no grey values, or there are none.
    """
    values = picture.stored if named else picture.values
    if values.dtype.kind == "c":
        raise UserError(f"{path}: holds complex values; give measured intensities")
    if values.dtype.kind not in "biuf":
        raise UserError(f"{path}: holds {values.dtype}; give grey values (numbers)")
    painted = values.ndim == 3 and values.shape[-1] in (3, 4) and values.dtype == np.uint8 and not picture.matlab
    if not named and (painted or picture.colours):
        raise UserError(f"{path}: holds colours (RGB); give a grey image, or name the axes: --axes y,x,plane")
    if not values.size:
        raise UserError(f"{path}: holds no pixels (shape {values.shape}); give another file")
    return values


def _merge_known(files: Sequence[Read]) -> dict[str, tuple[float, ...]]:
    """Merge the parameters that the files of one sample state. Raise UserError if they contradict one another."""
    known: dict[str, tuple[float, ...]] = {}
    said: dict[str, Path] = {}
    for read in files:
        for name, values in read.known.items():
            if name in known and not agree(values, known[name], VALUE_TOLERANCE):
                here, there = (",".join(f"{value:.6g}" for value in v) for v in (values, known[name]))
                raise UserError(f"{name}: {there} in {said[name]}, {here} in {read.path}: must agree in a sample")
            known.setdefault(name, values)
            said.setdefault(name, read.path)
    return known


def agree(a: Sequence[float], b: Sequence[float], tolerance: float) -> bool:
    """Return True if two lists of numbers are equal within a relative tolerance."""
    return len(a) == len(b) and np.allclose(a, b, rtol=tolerance, atol=0)
