"""Export of images to files that other programs open: one file per sample and field; PNG: one per image.

export.json     written last: source of the images, sha256 of all files; for PNG also the values of black and white
parameters.csv  one row per sample
test_0003_phase.tif, test_0003_phase.json (beside .npy), test_0003_intensity_0.png
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from pathlib import Path

import numpy as np

from schemas.exchange.export_sources import Arrays, Gallery, pixel
from schemas.formats import mat, mrc, npy, pictures, tiff
from schemas.formats.export_metadata import ExportMetadata, Parameter
from schemas.formats.rotation_series import rotation_export
from schemas.grids import as_images
from schemas.runtime.csv_files import csv_table
from schemas.runtime.destinations import refuse_store
from schemas.runtime.documents import parse_json
from schemas.runtime.errors import UserError, suggestion
from schemas.runtime.hashes import sha256
from schemas.runtime.locks import claimed, writable
from schemas.runtime.publish import entries, publish, publish_if_changed, read, remove, sweep
from schemas.runtime.terminal import printable
from schemas.store import shard_ranges
from schemas.task import Field, find_import

WRITERS = {"npy": npy, "tiff": tiff, "mat": mat, "mrc": mrc}
PICTURES = ("png", "gif")
NO_COMPLEX = (*PICTURES, "tiff", "mrc")  # formats that hold no complex numbers
WITH_JSON = ("npy", "mrc")  # formats whose metadata are in a file beside each file
WITH_AXES = ("npy", "mat")  # formats that may hold axes in any order
LIBRARY = "library"
EXPORT_FILE = "export.json"
UNFINISHED_FILE = ".export.json"  # shows that the files beside it are those of an export that was not finished
MAX_READ_SAMPLES = 32  # maximum number of samples that are read at once

type Limits = dict[str, tuple[float, float]]
type Named = tuple[str, bytes]  # name and content of a file
type Known = Mapping[str, tuple[float, ...]]  # parameters of a sample


def export(
    gallery: Gallery,
    out: Path,
    kind: str,
    names: Sequence[str] | None,
    samples: tuple[int, int | None],
    limits: Limits,
    axes: Sequence[str] = (),
    key: str = "",
) -> int:
    """Write the images of a gallery to files. The same export again changes nothing.

    Args:
        gallery: the source.
        out: the folder.
        kind: format of the files, such as npy.
        names: names of the fields; None: the default fields of the gallery.
        samples: first sample, and end of the range; None as the end: all samples.
        limits: by field, lowest and highest value; values beyond are clipped. For pictures, these are black and white.
        axes: order of the axes in the files; empty: that of the task.
        key: name of the array in the files; empty: that of the field.

    Returns:
        The number of images written.

    Raises:
        UserError: a field or a sample does not exist; or the format cannot hold the values; or the folder holds other
            files.
        Interrupted: the disk is full.
    """
    fields = _fields(gallery, names, kind)
    _refuse_arrangement(fields, gallery.parameters, kind, axes, key)
    job = _Export(gallery, kind, fields, *_range(gallery, *samples), limits, tuple(axes), key)
    there = [field.name for field in fields]
    if unknown := sorted(limits.keys() - set(there)):
        raise UserError(f"--limits {unknown[0]}: no such field among those exported{suggestion(unknown[0], there)}")
    if kind in PICTURES:
        job = replace(job, scale=job.extremes())
    about = job.about()
    with writable("--out", out), claimed("--out", out, partial(_refuse_other, out, about), by="another `export`"):
        sweep(out, deep=False)
        if read(out / EXPORT_FILE) is None:
            publish(out / UNFINISHED_FILE, _as_json(about))
        hashes = {}
        for name, data in job.files():
            publish_if_changed(out / name, data)
            hashes[name] = sha256(data)
        publish_if_changed(out / EXPORT_FILE, _as_json(about | {"sha256": hashes}))
        remove(out / UNFINISHED_FILE)
    return sum(not name.endswith((".json", ".csv")) for name in hashes)


def _fields(gallery: Gallery, names: Sequence[str] | None, kind: str) -> tuple[Field, ...]:
    """Return the fields to export. Raise UserError if one is unknown or does not suit the format."""
    for name in names or ():
        if name in {field.name for field in gallery.parameters}:
            raise UserError(f"--fields {name}: is a parameter; every export lists it in parameters.csv; leave it out")
        if name == "error" and name not in gallery.fields:
            raise UserError("--fields error: needs predictions, and their dataset with targets as --data DATASET")
        if name not in gallery.fields:
            raise UserError(f"--fields {name}: no such field{suggestion(name, gallery.fields)}")
    fields = tuple(gallery.fields[name] for name in dict.fromkeys(names or gallery.default))
    if kind in (*rotation_export.WRITERS, LIBRARY):
        return (_projections(gallery, names, kind),)
    for field in fields:
        if field.dtype.startswith("complex") and kind in NO_COMPLEX:
            raise UserError(f"--format {kind}: {field.name} is complex; choose npy or mat")
        if kind == "mrc" and field.dtype not in mrc.DTYPES:
            raise UserError(f"--format mrc: {field.name} is {field.dtype}, which MRC cannot hold; choose npy or tiff")
    return fields


def _refuse_arrangement(
    fields: Sequence[Field], parameters: Sequence[Field], kind: str, axes: Sequence[str], key: str
) -> None:
    """Raise UserError if files of this kind cannot have these axes, or cannot name their array so."""
    if axes and kind not in WITH_AXES:
        raise UserError(f"--axes {','.join(axes)}: --format {kind} has its own order of axes; choose npy or mat")
    for field in fields if axes else ():
        if sorted(axes) != sorted(dims := field.dims[field.per_sample :]):
            raise UserError(f"--axes {','.join(axes)}: {field.name} has {','.join(dims)}; name these, in any order")
    if key and kind != "mat":
        raise UserError(f"--key {key}: --format {kind} names no arrays; choose mat, or leave it out")
    taken = {mat.CARD_VARIABLE, *(parameter.name for parameter in parameters)}
    if key and not (key.isascii() and key.isidentifier() and not key.startswith("_") and key not in taken):
        raise UserError(f"--key {key}: must be a name for a variable of MATLAB that is not in use; choose another")


def _projections(gallery: Gallery, names: Sequence[str] | None, kind: str) -> Field:
    """Return the field of projections. Raise UserError if the task has none, or others are asked for."""
    series = find_import(gallery.task).rotation
    if series is None or series.projections not in gallery.fields:
        there = "task" if series is None else "source"
        raise UserError(f"--format {kind}: is for projections, which this {there} does not have; choose npy or tiff")
    if other := [name for name in names or () if name != series.projections]:
        raise UserError(f"--fields {other[0]}: --format {kind} holds {series.projections}; leave it out")
    return gallery.fields[series.projections]


def _range(gallery: Gallery, first: int, last: int | None) -> tuple[int, int]:
    last = gallery.samples if last is None else last
    if not 0 <= first < last <= gallery.samples:
        raise UserError(f"--samples {first}:{last}: must lie within 0:{gallery.samples} ({gallery.split})")
    return first, last


@dataclass(frozen=True)
class _Export:
    """One export: the fields of the samples first:last."""

    gallery: Gallery
    kind: str
    fields: tuple[Field, ...]
    first: int
    last: int
    scale: Limits  # values at which each field is clipped; for pictures, its values of black and white
    axes: tuple[str, ...] = ()  # order of the axes in the files; empty: that of the task
    key: str = ""  # name of the array in the files; empty: that of the field

    def blocks(self, fields: tuple[Field, ...]) -> Iterator[tuple[int, Arrays]]:
        """Yield blocks of consecutive samples: the first sample of each block, and its values by field."""
        for start, stop in shard_ranges(self.last - self.first, min(self.gallery.shard, MAX_READ_SAMPLES)):
            yield self.first + start, self.gallery.rows(slice(self.first + start, self.first + stop), fields)

    def extremes(self) -> Limits:
        """Return the values of black and white of each field: those given, else the minimum and maximum exported."""
        rest = tuple(field for field in self.fields if field.name not in self.scale and not field.classes)
        found: Limits = dict(self.scale)
        for _, values in self.blocks(rest) if rest else ():
            for name, array in values.items():
                low, high = found.get(name, (np.inf, -np.inf))
                found[name] = min(low, float(array.min())), max(high, float(array.max()))
        return found

    def about(self) -> dict[str, object]:
        """Return the content of export.json except the hashes of the files."""
        arrangement = {"axes": list(self.axes), "key": self.key}
        return {
            "drybeam_export": 1,
            "of": printable(self.gallery.path.name),
            "task": self.gallery.task,
            "digest": self.gallery.digest,
            "format": self.kind,
            "split": self.gallery.split,
            "samples": [self.first, self.last],
            "fields": {one.name: _describe_field(one, self.kind, self.scale.get(one.name)) for one in self.fields},
            **{name: value for name, value in arrangement.items() if value},
        }

    def files(self) -> Iterator[Named]:
        """Yield the name and content of all files except export.json."""
        yield from self._library() if self.kind == LIBRARY else self._images()
        yield "parameters.csv", self.table()

    def _library(self) -> Iterator[Named]:
        """Yield one file with all pairs of projections and images. It holds views and values, and no geometry."""
        series = find_import(self.gallery.task).rotation
        assert series is not None
        names = (series.projections, series.image)
        fields = tuple(self.gallery.fields[name] for name in names if name in self.gallery.fields)
        fields += self.gallery.parameters
        blocks = [values for _, values in self.blocks(fields)]
        arrays = {one.name: np.concatenate([values[one.name] for values in blocks]) for one in fields}
        if lost := rotation_export.find_lost(arrays, series, self.first):
            raise UserError(f"--format {LIBRARY}: {lost}; choose --format nxtomo")
        data = rotation_export.library(arrays[names[0]], arrays.get(names[1]), arrays[series.rotation][0])
        yield f"{self.gallery.split}_{LIBRARY}.h5", data

    def _images(self) -> Iterator[Named]:
        parameters = self.gallery.parameters
        for start, values in self.blocks((*self.fields, *parameters)):
            for field in self.fields:
                if field.per_sample:
                    for index, value in enumerate(values[field.name]):
                        known = {p.name: _plain(values[p.name][index]) for p in parameters}
                        yield from self._files(field, value, start + index, known)
                elif start == self.first:
                    yield from self._files(field, values[field.name], None, {})

    def _files(self, field: Field, value: np.ndarray, sample: int | None, known: Known) -> Iterator[Named]:
        """Yield the files of one field of one sample."""
        stem = "_".join([self.gallery.split, *([] if sample is None else [f"{sample:04d}"]), field.name])
        if self.kind in PICTURES:
            value = as_images(self.gallery.grids, field.dims[field.per_sample :], value)
            limits = None if field.classes else self.scale[field.name]
            if self.kind == "gif":
                yield f"{stem}.gif", pictures.gif(value, limits)
                return
            for plane in product(*map(range, value.shape[:-2])):
                yield f"{'_'.join([stem, *map(str, plane)])}.png", pictures.png(value[plane], limits)
            return
        if field.name in self.scale:
            value = np.clip(value, *self.scale[field.name])
        dims = field.dims[field.per_sample :]
        value = value.transpose([dims.index(axis) for axis in self.axes or dims])
        card = self._card(field, sample, known)
        if self.kind in rotation_export.WRITERS:
            suffix, write = rotation_export.WRITERS[self.kind]
            series = find_import(self.gallery.task).rotation
            assert series is not None
            if lost := rotation_export.find_unstated(self.kind, known, series):
                raise UserError(f"--format {self.kind}: sample {sample}: {lost}")
            yield f"{stem}{suffix}", write(value, card, series)
            return
        writer = WRITERS[self.kind]
        wide = {name: known[name] for name in pixel(self.gallery, field) if name in known}
        yield f"{stem}{writer.SUFFIX}", writer.write(value, card, known if self.kind in WITH_AXES else wide)
        if self.kind in WITH_JSON:
            yield f"{stem}.json", (card.model_dump_json(indent=2) + "\n").encode()

    def _card(self, field: Field, sample: int | None, known: Known) -> ExportMetadata:
        """Return the metadata of an exported field."""
        if wrong := next((name for name, values in known.items() if not np.isfinite(values).all()), None):
            raise UserError(
                f"{self.gallery.path}: {wrong} of sample {sample} is not a finite number; see: dataset validate"
            )
        units_of = {parameter.name: parameter.units for parameter in self.gallery.parameters}
        return ExportMetadata(
            task=self.gallery.task,
            split=self.gallery.split,
            sample=sample,
            field=field.name,
            units=field.units,
            axes=list(self.axes or field.dims[field.per_sample :]),
            key=self.key,
            parameters={name: Parameter(values=list(values), units=units_of[name]) for name, values in known.items()},
        )

    def table(self) -> bytes:
        """Return the content of parameters.csv: one row per sample, one column per value of a parameter."""
        return csv_table(self._table_rows())

    def _table_rows(self) -> Iterator[Sequence[object]]:
        parameters = self.gallery.parameters
        for start, values in self.blocks(parameters):
            if start == self.first:
                yield ["split", "sample", *(name for p in parameters for name in _columns(p, values))]
            for index in range(min(self.gallery.shard, MAX_READ_SAMPLES, self.last - start)):
                numbers = [f"{number:.9g}" for p in parameters for number in _plain(values[p.name][index])]
                yield [self.gallery.split, start + index, *numbers]


def _describe_field(field: Field, kind: str, limits: tuple[float, float] | None) -> dict[str, object]:
    """Return the entry of a field in export.json."""
    about: dict[str, object] = {"units": field.units, "about": field.about}
    if field.classes:
        return about | {"classes": list(field.classes)}
    if limits and kind in PICTURES:
        low, high = limits
        return about | {"black": low, "white": high, "value": "black + (white - black) * grey / 255"}
    return about | ({"limits": list(limits)} if limits else {})


def _refuse_other(out: Path, about: dict[str, object]) -> None:
    """Raise UserError if a folder holds other files, or another export, finished or not."""
    refuse_store("--out", out)
    if not entries(out):
        return
    marks = [parse_json(read(out / name)) for name in (EXPORT_FILE, UNFINISHED_FILE)]
    exports = [mark for mark in marks if isinstance(mark, dict)]
    if not exports:
        raise UserError(f"--out {out}: holds other files; choose another folder")
    if any({key: mark[key] for key in mark if key != "sha256"} != json.loads(_as_json(about)) for mark in exports):
        raise UserError(f"--out {out}: already holds another export; choose another folder")


def _as_json(content: dict[str, object]) -> bytes:
    return (json.dumps(content, indent=2) + "\n").encode()


def _plain(value: np.ndarray) -> tuple[float, ...]:
    return tuple(float(number) for number in np.ravel(value))


def _columns(parameter: Field, values: Arrays) -> Iterator[str]:
    shape = values[parameter.name].shape[1:]
    for index in product(*map(range, shape)):
        yield f"{'_'.join([parameter.name, *map(str, index)])} [{parameter.units}]"
