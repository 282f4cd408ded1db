"""Reading of measurements from files: images in the order of samples and planes, and their parameters."""

import math
from collections.abc import Collection, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from schemas.exchange import attached_arrays, given_parameters
from schemas.exchange.given_parameters import Values
from schemas.formats import reading
from schemas.formats.image import Known, Picture
from schemas.grids import size_mismatches
from schemas.manifest import SourceFile
from schemas.runtime.errors import UserError
from schemas.runtime.publish import sha256_of
from schemas.task import Field, Import, Raster, Task, find_import

AGREE = 1e-3  # relative difference below which values in several files are taken as equal
NEAR = 0.01  # a warning is printed if a set value differs by more than this share from that in the file
PLAUSIBLE = (0.2, 5.0)  # a warning is printed if the median of an image relative to the beam lies outside
MEAN = "mean"

type Arrays = dict[str, np.ndarray]
type Held = Literal["counts", "amplitudes"]


@dataclass(frozen=True)
class Measurement:
    """Everything about a measurement that is stored."""

    task: Task  # the task with only the fields that are stored
    sizes: dict[str, int]
    arrays: Arrays  # arrays by field, with a leading axis of samples
    constants: Arrays
    sources: list[SourceFile]
    notes: list[str]  # warnings for the user

    @property
    def samples(self) -> int:
        """Number of samples."""
        return len(next(iter(self.arrays.values())))


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


def measure(
    task: Task,
    groups: Sequence[Sequence[str]],
    texts: Sequence[str],
    axes: Sequence[str] = (),
    beam: str = "",
    *,
    arrays: Sequence[str] = (),
    holds: Held | None = None,
) -> Measurement:
    """Read the measurement of a task from files.

    Args:
        task: the task.
        groups: files of one sample each, or of several samples.
        texts: `name=value` texts that set parameters.
        axes: order of the axes in the files; empty: that of the task.
        beam: counts per pixel of the incident beam, or "mean": each image is divided by its own mean; empty: no
            division.
        arrays: `name=file` texts of further arrays.
        holds: the content of files of patterns, if the user states it. The input is the square root of counts.

    Raises:
        UserError: something is missing, damaged, or does not fit together.
    """
    how = find_import(task.name)
    if holds and not how.roots:
        raise UserError(f"--{holds}: is for inputs that are roots of counts, not for task {task.name}; leave it out")
    given = given_parameters.parse(task, texts)
    asked = _lengths(task, given)
    reads = [read for group in groups for read in _by_input(task, group)]
    parts: dict[str, list[Sample]] = {field.name: [] for field in task.of("input") if field.name in dict(reads)}
    for name, files in reads:
        parts[name] += _samples(task, task[name], how, files, axes, asked)
    sizes = _sizes(task, parts)
    roots = task.related("same", "reciprocal")
    lengths = {roots.get(dim, dim): length for dim, length in sizes.items()}
    sizes |= {dim: lengths[root] for dim, root in roots.items() if root in lengths}
    if wrong := size_mismatches(task.grids, sizes):
        raise UserError(f"--from: {wrong[0]}; give arrays with matching sizes")
    known = zip(*([sample.known for sample in samples] for samples in parts.values()), strict=True)
    rows = [given_parameters.stated(task, dict(zip(parts, row, strict=True))) for row in known]
    notes: list[str] = []
    widths = {width for name in parts for width in given_parameters.widths(task, name)}
    columns = _parameters(task, (*how.needs, *widths), how, given, rows, sizes, notes)
    if all("sampling_y" in row for row in rows) and not {"sampling", *widths} & columns.keys():
        pixel = " x ".join(f"{rows[0][f'sampling_{axis}'][0]:.6g}" for axis in "yx")
        lost = f"not stored, since TASK.grids of {task.name} names no parameter for them"
        notes.append(f"warning: pixels of {pixel} nm in the files: {lost}")
    inputs = {
        name: _input(task[name], samples, beam, notes, relative=name == how.beam) for name, samples in parts.items()
    }
    inputs |= {name: _root(name, inputs[name], parts[name], holds) for name in how.roots if name in inputs}
    found = attached_arrays.read(task, arrays, sizes, len(rows))
    columns |= _placed(task, how, rows, columns.keys() | found.arrays.keys(), sizes)
    columns = inputs | columns | found.arrays
    columns |= how.complete(columns, found.known) if how.complete else {}
    sources = [SourceFile(name=read.path.name, sha256=sha256_of(read.path)) for _, f in reads for read in f]
    whole = {task.window} if task.window and not task[task.window].optional else set()
    stored = task.holding(tuple(f for f in task.fields if f.name in columns.keys() | whole))
    constants = {
        field.name: columns.pop(field.name) if field.name in columns else np.ones(field.shape(sizes), field.dtype)
        for field in stored.fields
        if not field.per_sample
    }
    used = {dim: n for dim, n in sizes.items() if any(dim in f.dims for f in (*stored.fields, *task.of("target")))}
    return Measurement(stored, used, columns, constants, sources + found.sources, notes)


def _placed(
    task: Task, how: Import, rows: Sequence[Mapping[str, Sequence[float]]], given: Set[str], sizes: dict[str, int]
) -> Arrays:
    """Return the positions of patterns in a raster if all files state them, unless they are given."""
    found = {}
    places = (how.raster.position, how.raster.scan) if how.raster else ()
    for field in task.of("parameter"):
        if field.name in places and field.name not in given and all(field.name in row for row in rows):
            found[field.name] = np.array([row[field.name] for row in rows], field.dtype).reshape(
                len(rows), *[-1] * (len(field.dims) - 1)
            )
            sizes |= dict(zip(field.dims[1:], found[field.name].shape[1:], strict=True))
    return found


def _by_input(task: Task, group: Sequence[str]) -> list[tuple[str, list[Read]]]:
    """Return the files of each input. A file is written input=file if its input is optional or not the only one."""
    names = [field.name for field in task.of("input")]
    needed = [field.name for field in task.of("input") if not field.optional]
    files: dict[str, list[Read]] = {name: [] for name in names}
    for text in group:
        name, equals, rest = text.partition("=")
        if not (equals and name in files):
            name, rest = needed[0], text
            if len(needed) > 1:
                raise UserError(f"--from {text}: task {task.name} has several inputs; write {'=... '.join(needed)}=...")
        files[name].append(Read(*reading.read(rest)))
    if lacking := [name for name in needed if not files[name]]:
        raise UserError(f"--from {' '.join(group)}: lacks {', '.join(lacking)}; write {lacking[0]}=FILE")
    return [(name, reads) for name, reads in files.items() if reads]


def _lengths(task: Task, given: Values) -> dict[str, int]:
    """Return the lengths of dimensions, such as the number of planes, that the set parameters imply."""
    known = given_parameters.settable(task)
    lists = {name: known[name].dims[1:] for name in given}
    return {dims[0]: len(given[name]) for name, dims in lists.items() if len(dims) == 1}


def _samples(
    task: Task, field: Field, how: Import, files: Sequence[Read], axes: Sequence[str], asked: Mapping[str, int]
) -> list[Sample]:
    """Return the samples that some files hold: one sample if each file is one image, else the samples of each file."""
    rank = len(field.dims) - 1
    arrays = [_arranged(field, read, axes, asked, raster=how.raster is not None) for read in files]
    if rank > 2 and all(array.ndim == rank - 1 for array in arrays):
        apart = [axis for axis, dim in enumerate(field.dims[1:]) if dim not in task.dims]
        return [_series(files, arrays, apart[0] if len(apart) == 1 else 0)]
    pairs = enumerate(zip(files, arrays, strict=True))
    return [one for number, (read, array) in pairs for one in _whole(field, how.raster, read, array, number)]


def _series(files: Sequence[Read], arrays: Sequence[np.ndarray], axis: int) -> Sample:
    for read, array in zip(files, arrays, strict=True):
        if array.shape != arrays[0].shape:
            first, other = (" x ".join(map(str, a.shape)) for a in (arrays[0], array))
            raise UserError(f"{read.path}: has {other} pixels, but {files[0].path} has {first}; crop them to one size")
    return Sample(np.stack(arrays, axis), _agreed(files))


def _whole(field: Field, raster: Raster | None, read: Read, array: np.ndarray, number: int) -> Iterator[Sample]:
    """Yield the samples of a file that holds one or several whole samples."""
    if array.ndim not in (len(field.dims) - 1, len(field.dims)):
        raise UserError(
            f"{read.path}: shape {array.shape}; {field.name} must have the axes {', '.join(field.dims[1:])}, with or "
            f"without samples first; give {'one image per file' if len(field.dims) > 3 else 'another file'}"
        )
    for index, one in enumerate(array if array.ndim == len(field.dims) else (array,)):
        yield Sample(one, {**read.picture.known, **_place(raster, read.picture, index, number)})


def _place(raster: Raster | None, picture: Picture, index: int, number: int) -> Known:
    """Return the place of a pattern in a raster whose file states the step: each file is a separate scan."""
    if raster is None or picture.values.ndim != 4 or "step" not in picture.known:
        return {}
    y, x = picture.known["step"]
    row, column = divmod(index, picture.values.shape[1])
    return {raster.position: (row * y, column * x), raster.scan: (number,)}


def _arranged(field: Field, read: Read, axes: Sequence[str], asked: Mapping[str, int], *, raster: bool) -> np.ndarray:
    """Return the values of a file with axes in the order of the schema, without leading axes of length 1."""
    values, order = _numbers(read, colours=not axes), tuple(axes) or read.picture.axes
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


def _numbers(read: Read, *, colours: bool) -> np.ndarray:
    """Return the values of a file. Raise UserError if they are not grey values."""
    values = read.picture.values
    if values.dtype.kind == "c":
        raise UserError(f"{read.path}: holds complex values; give measured intensities")
    if values.dtype.kind not in "biuf":
        raise UserError(f"{read.path}: holds {values.dtype}; give grey values (numbers)")
    painted = values.ndim == 3 and values.shape[-1] in (3, 4) and values.dtype == np.uint8 and not read.picture.matlab
    if colours and (painted or read.picture.colours):
        raise UserError(f"{read.path}: holds colours (RGB); give a grey image, or name the axes: --axes y,x,plane")
    if not values.size:
        raise UserError(f"{read.path}: holds no pixels (shape {values.shape}); give another file")
    return values


def _agreed(files: Sequence[Read]) -> dict[str, tuple[float, ...]]:
    """Merge the parameters that the files of one sample state. Raise UserError if they contradict one another."""
    known: dict[str, tuple[float, ...]] = {}
    said: dict[str, Path] = {}
    for read in files:
        for name, values in read.picture.known.items():
            if name in known and not _close(values, known[name], AGREE):
                here, there = (",".join(f"{value:.6g}" for value in v) for v in (values, known[name]))
                raise UserError(f"{name}: {there} in {said[name]}, {here} in {read.path}: must agree in a sample")
            known.setdefault(name, values)
            said.setdefault(name, read.path)
    return known


def _close(a: Sequence[float], b: Sequence[float], tolerance: float) -> bool:
    return len(a) == len(b) and np.allclose(a, b, rtol=tolerance, atol=0)


def _sizes(task: Task, parts: Mapping[str, Sequence[Sample]]) -> dict[str, int]:
    """Return the length of each dimension. Raise UserError if samples or inputs differ in it."""
    counts = {name: len(samples) for name, samples in parts.items()}
    if len(set(counts.values())) > 1:
        raise UserError(f"--from: {', '.join(f'{n} of {name}' for name, n in counts.items())}; give equally many")
    sizes: dict[str, int] = {}
    for name, samples in parts.items():
        dims = task[name].dims[1:]
        for number, sample in enumerate(samples):
            for dim, length in zip(dims, sample.values.shape, strict=True):
                if sizes.setdefault(dim, length) != length:
                    raise UserError(
                        f"sample {number}: {name} has {length} along {dim}, others {sizes[dim]}; crop all to one size"
                    )
    return sizes


def _parameters(
    task: Task,
    wanted: Collection[str],
    how: Import,
    given: Values,
    rows: Sequence[Mapping[str, Sequence[float]]],
    sizes: Mapping[str, int],
    notes: list[str],
) -> Arrays:
    """Return all parameters that are set, and of the wanted ones those that files state.

    Raise UserError if one that every measurement must have is missing.
    """
    known = given_parameters.settable(task)
    stated = {name: [row.get(name) for row in rows] for name in known if name in (*wanted, *given)}
    names = [name for name in stated if name in given or None not in stated[name]]
    if missing := [name for name in how.needs if name not in names]:
        _refuse_oblong(missing, rows)
        asked = " ".join(f"{name}={_example(known[name], sizes)} [{known[name].units}]" for name in missing)
        raise UserError(f"{', '.join(missing)} {'is' if len(missing) == 1 else 'are'} missing: give --set {asked}")
    columns = {}
    for name in names:
        values = given[name] if name in given else [value for one in stated[name] for value in one or ()]
        columns[name] = given_parameters.column(known[name], values, sizes, len(rows))
        notes += _doubts(known[name], columns[name], how.usual.get(name))
        if name in how.distinct:
            _refuse_equal(name, columns[name])
        if name in given and known[name].per_sample:
            notes += _differing(known[name], columns[name], stated[name])
    return columns


def _refuse_equal(name: str, values: np.ndarray) -> None:
    """Refuse samples whose images do not differ in this parameter, and single images: they carry no information."""
    for row in values.reshape(len(values), -1):
        if np.ptp(row) == 0:
            there = ",".join(f"{value:g}" for value in row)
            raise UserError(f"{name} = {there}: must differ between a sample's images; give two or more values")


def _doubts(field: Field, values: np.ndarray, usual: tuple[float, float] | None) -> Iterator[str]:
    if usual is None:
        return
    size, (low, high) = float(abs(values).max()), usual
    if not low <= size <= high:
        yield f"warning: {field.name} = {size:g} {field.units}; usual are {low:g} to {high:g}: check the unit"


def _refuse_oblong(missing: Sequence[str], rows: Sequence[Mapping[str, Sequence[float]]]) -> None:
    if "sampling" in missing and all("sampling_y" in row for row in rows):
        y, x = rows[0]["sampling_y"][0], rows[0]["sampling_x"][0]
        raise UserError(f"pixels of {y:.6g} x {x:.6g} nm in the files: this task needs square ones; resample them")


def _example(field: Field, sizes: Mapping[str, int]) -> str:
    return ",".join(["..."] * math.prod(field.shape(sizes)))


def _differing(field: Field, column: np.ndarray, stated: Sequence[Sequence[float] | None]) -> Iterator[str]:
    for number, (row, values) in enumerate(zip(column, stated, strict=True)):
        if values and not _close(row.ravel().tolist(), values, NEAR):
            there = ",".join(f"{value:.6g}" for value in values)
            yield f"warning: sample {number}: {field.name} is {there} {field.units} in the file; --set is used"
            return


def _input(field: Field, samples: Sequence[Sample], beam: str, notes: list[str], *, relative: bool) -> np.ndarray:
    """Return one input of all samples in its dtype. Raise UserError if a value is not finite in it."""
    values = np.stack([_divided(sample.values, beam if relative else "") for sample in samples])
    with np.errstate(over="ignore", invalid="ignore"):
        array = values.astype(field.dtype)
    if wrong := int((~np.isfinite(array)).sum()):
        raise UserError(f"{field.name}: {wrong:,} values are not finite numbers (NaN, inf); correct or crop the images")
    median = float(np.median(array))
    if relative and (dark := int((array < 0).sum())):
        notes.append(f"warning: {field.name} has {dark:,} values below 0; an intensity cannot be negative")
    flat = np.ptp(array.reshape(-1, *array.shape[-2:]), axis=(1, 2)) == 0
    if flat.any():
        notes.append(f"warning: {int(flat.sum())} of the {len(flat)} images of {field.name} are constant")
    if relative and not PLAUSIBLE[0] <= median <= PLAUSIBLE[1]:
        notes.append(f"warning: {field.name} has the median {median:.4g} relative to the beam: {_hint(median, beam)}")
    return array


def _root(name: str, values: np.ndarray, samples: Sequence[Sample], holds: Held | None) -> np.ndarray:
    """Return amplitudes: the values unchanged, or square roots of counts.

    Raise UserError if values are negative, or look like counts although the user has not said so.
    """
    if dark := int((values < 0).sum()):
        what = holds or "amplitudes"
        least = f"{dark:,} {what} are below 0, the lowest is {values.min():g}"
        raise UserError(f"{name}: {least}: subtract less background, or set them to 0")
    if holds is None and values.max() > 1 and all((sample.values % 1 == 0).all() for sample in samples):
        raise UserError(
            f"{name}: whole numbers up to {values.max():g} look like counts, whose square roots are the amplitudes: "
            "give --counts to take the roots, or --amplitudes if the files already hold amplitudes"
        )
    return np.sqrt(values) if holds == "counts" else values


def _hint(median: float, beam: str) -> str:
    if beam:
        return f"is --beam {beam} right?"
    return "it looks like counts: give --beam" if median > 1 else "give --beam, unless the image is really so dark"


def _divided(values: np.ndarray, beam: str) -> np.ndarray:
    """Divide counts by the counts of the incident beam, or each image by its own mean."""
    if not beam:
        return values
    scale = values.mean(axis=(-2, -1), keepdims=True, dtype=np.float64) if beam == MEAN else np.float64(float(beam))
    if not np.all(scale > 0):
        raise UserError(f"--beam {beam}: the mean of an image is not positive; give the counts of the beam")
    return np.asarray(values / scale)
