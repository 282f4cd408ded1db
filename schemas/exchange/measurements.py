"""Reading of measurements from files: images in the order of samples and planes, and their parameters."""

import math
from collections.abc import Collection, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass

import numpy as np

from schemas.exchange import attached_arrays, given_parameters
from schemas.exchange.given_parameters import Values
from schemas.exchange.input_files import Read, Sample, agree, read_inputs, samples_of
from schemas.exchange.input_values import Held, apply_mask, convert_input, refuse_unknown_labels, to_amplitudes
from schemas.grids import size_mismatches
from schemas.manifest import SourceFile
from schemas.runtime.errors import UserError, suggestion
from schemas.runtime.hashes import sha256_of
from schemas.runtime.settings import make_settings
from schemas.task import SAMPLE, Field, Import, Task, find_import

STATED_TOLERANCE = 0.01  # a warning is printed if a set value differs by more than this share from that in the file

type Arrays = dict[str, np.ndarray]


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
    settings, texts = _part_settings(task, how, texts)
    given = given_parameters.parse(task, texts)
    asked = _implied_lengths(task, given)
    one = how.preparation
    chosen = make_settings(one.settings, {}, settings) if one else None
    read = [
        dict(read_inputs(task, how, group, one.rows(chosen, axes) if one and one.rows else None)) for group in groups
    ]
    reads = [one for group in read for one in group.items()]
    single = {field.name for field in task.fields if field.dims == (SAMPLE,)}
    parts: dict[str, list[Sample]] = {}
    notes: list[str] = []
    for group in read:
        done = max(map(len, parts.values()), default=0)
        rest = {name: values[done:] if name in single and len(values) > 1 else values for name, values in given.items()}
        for name, made in _samples(task, how, group, axes, asked, settings, rest, notes):
            parts.setdefault(name, []).extend(made)
    sizes = _sizes(task, parts)
    known = zip(*([sample.known for sample in samples] for samples in parts.values()), strict=True)
    rows = [given_parameters.stated(task, dict(zip(parts, row, strict=True))) for row in known]
    if one and one.lengths:
        sizes = {**one.lengths(chosen, sizes, {**rows[0], **given}), **sizes}
    roots = task.related("same", "reciprocal")
    lengths = {roots.get(dim, dim): length for dim, length in sizes.items()}
    sizes |= {dim: lengths[root] for dim, root in roots.items() if root in lengths}
    if wrong := size_mismatches(task.grids, sizes):
        raise UserError(f"--from: {wrong[0]}; give arrays with matching sizes")
    notes = list(dict.fromkeys([*(note for _, files in reads for one in files for note in one.notes), *notes]))
    widths = {width for name in parts for width in given_parameters.widths(task, name)}
    if one:  # it makes parameters beside the input
        widths |= {name for row in rows for name in row}
    columns = _parameters(task, (*how.needs, *widths), how, given, rows, sizes, notes)
    if all("sampling_y" in row for row in rows) and not {"sampling", *widths} & columns.keys():
        pixel = " x ".join(f"{rows[0][f'sampling_{axis}'][0]:.6g}" for axis in "yx")
        lost = f"not stored, since TASK.grids of {task.name} names no parameter for them"
        notes.append(f"warning: pixels of {pixel} nm in the files: {lost}")
    found = attached_arrays.read(task, arrays, sizes, len(rows), how.masks.values())
    notes += found.notes
    inputs = {}
    for name, samples in parts.items():
        mask = how.masks.get(name, "")
        values, marks = [sample.values for sample in samples], not (one and one.refuses_marks)
        raw = apply_mask(task[name], values, found.arrays.get(mask), mask, marks=marks)
        inputs[name] = convert_input(task[name], raw, beam, notes, relative=name == how.beam)
        if task[name].classes:
            refuse_unknown_labels(task[name], raw)
        if name in how.roots:
            inputs[name] = to_amplitudes(name, inputs[name], raw, holds)
    columns |= _raster_positions(task, how, rows, columns.keys() | found.arrays.keys(), sizes)
    columns = inputs | columns | found.arrays
    if one and one.constants:
        columns = {**one.constants(chosen, sizes, columns), **columns}
    columns |= how.complete(columns, found.known) if how.complete else {}
    sources = [SourceFile(name=one.path.name, sha256=sha256_of(one.path)) for _, f in reads for one in f]
    whole = {task.window} if task.window and not task[task.window].optional else set()
    stored = task.holding(tuple(f for f in task.fields if f.name in columns.keys() | whole))
    constants = {
        field.name: columns.pop(field.name) if field.name in columns else np.ones(field.shape(sizes), field.dtype)
        for field in stored.fields
        if not field.per_sample
    }
    if stored.window:
        for target in stored.of("target"):
            columns[target.name] = (columns[target.name] * constants[stored.window]).astype(target.dtype)
    used = {dim: n for dim, n in sizes.items() if any(dim in f.dims for f in (*stored.fields, *task.of("target")))}
    return Measurement(stored, used, columns, constants, sources + found.sources, notes)


def _part_settings(task: Task, how: Import, texts: Sequence[str]) -> tuple[list[str], list[str]]:
    """Part the settings of the preparation from the parameters of the task. Refuse names that are neither."""
    if how.preparation is None:
        return [], list(texts)
    names = [*how.preparation.settings.model_fields]
    known = [*names, *given_parameters.settable(task)]
    if unknown := [name for text in texts if (name := text.partition("=")[0]) not in known]:
        raise UserError(f"--set {unknown[0]}: no such setting or parameter{suggestion(unknown[0], known)}")
    mine = [text for text in texts if text.partition("=")[0] in names]
    return mine, [text for text in texts if text not in mine]


def _samples(
    task: Task,
    how: Import,
    group: Mapping[str, Sequence[Read]],
    axes: Sequence[str],
    asked: Mapping[str, int],
    settings: Sequence[str],
    given: Values,
    notes: list[str],
) -> Iterator[tuple[str, list[Sample]]]:
    """Yield the samples of each input in the files of one group. Raw data are prepared; exported inputs are not."""
    one = how.preparation
    raw = one is not None and one.input in group and not any(read.picture.axes for read in group[one.input])
    if one is None or not raw:
        if settings:
            raise UserError(f"--set {settings[0]}: the files hold exported inputs, which are final; leave it out")
        if one and (frames := [name for name in one.beside if name in group]):
            raise UserError(f"--from {frames[0]}=...: the files hold exported inputs, which are final; leave it out")
        yield from ((name, samples_of(task, task[name], how, files, axes, asked)) for name, files in group.items())
        return
    files = {name: [(read.path, read.picture) for read in reads] for name, reads in group.items()}
    samples, doubts = one.prepare(files, axes, make_settings(one.settings, {}, settings), given)
    notes += doubts
    for name in (one.input, *one.targets):
        if found := [Sample(fields[name], known) for fields, known in samples if name in fields]:
            yield name, found


def _raster_positions(
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


def _implied_lengths(task: Task, given: Values) -> dict[str, int]:
    """Return the lengths of dimensions, such as the number of planes, that the set parameters imply."""
    known = given_parameters.settable(task)
    lists = {name: known[name].dims[1:] for name in given}
    return {dims[0]: len(given[name]) for name, dims in lists.items() if len(dims) == 1}


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
                        f"sample {number}: {name} has {length} along {dim}, others {sizes[dim]}; crop all to one size, "
                        "or import them one by one"
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
        columns[name] = given_parameters.column(known[name], values, sizes, len(rows), shared=name in how.shared)
        notes += _warn_of_units(known[name], columns[name], how.usual.get(name))
        if name in how.distinct:
            _refuse_equal(name, columns[name])
        if name in given and known[name].per_sample:
            notes += _warn_of_differences(known[name], columns[name], stated[name])
    return columns


def _refuse_equal(name: str, values: np.ndarray) -> None:
    """Refuse samples whose images do not differ in this parameter, and single images: they carry no information."""
    for row in values.reshape(len(values), -1):
        if np.ptp(row) == 0:
            there = ",".join(f"{value:g}" for value in row)
            raise UserError(f"{name} = {there}: must differ between a sample's images; give two or more values")


def _warn_of_units(field: Field, values: np.ndarray, usual: tuple[float, float] | None) -> Iterator[str]:
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


def _warn_of_differences(field: Field, column: np.ndarray, stated: Sequence[Sequence[float] | None]) -> Iterator[str]:
    for number, (row, values) in enumerate(zip(column, stated, strict=True)):
        if values and not agree(row.ravel().tolist(), values, STATED_TOLERANCE):
            there = ",".join(f"{value:.6g}" for value in values)
            yield f"warning: sample {number}: {field.name} is {there} {field.units} in the file; --set is used"
            return
