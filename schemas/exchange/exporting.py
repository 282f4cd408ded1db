"""Images of a gallery as files that other programs open: one per sample and field, of PNG one per plane.

export.json     whose images these are, and which grey value of a PNG stands for which value
parameters.csv  a row per sample
test_0003_phase.tif, test_0003_phase.json (beside .npy), test_0003_intensity_0.png
"""

import csv
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path

import numpy as np

from schemas.exchange.export_sources import Arrays, Gallery, pixel
from schemas.formats import mat, npy, png, tiff
from schemas.formats.export_metadata import Card, Parameter
from schemas.grids import as_images
from schemas.output import refuse_store
from schemas.publish import entries, publish_if_changed, read, sweep, writable
from schemas.runtime.errors import UserError, meant
from schemas.store import units
from schemas.task import Field

WRITERS = {"npy": npy, "tiff": tiff, "mat": mat}
MARK = "export.json"
BLOCK = 32  # samples read at once, at most

type Limits = dict[str, tuple[float, float]]


def export(
    gallery: Gallery,
    out: Path,
    kind: str,
    names: Sequence[str] | None,
    samples: tuple[int, int | None],
    limits: Limits,
) -> int:
    """Write the files; returns how many images. The same export again changes nothing.

    UserError: unknown fields, no such samples, values that the format cannot hold, or a folder of somebody else.
    """
    fields = _fields(gallery, names, kind)
    first, last = _range(gallery, *samples)
    there = [field.name for field in fields]
    if unknown := sorted(limits.keys() - set(there)):
        raise UserError(f"--limits {unknown[0]}: no such field among those exported{meant(unknown[0], there)}")
    scale = limits if kind != "png" else _extremes(gallery, fields, first, last, limits)
    with writable("--out", out):
        _claim(out, _mark(gallery, kind, fields, (first, last), scale))
        count = 0
        for name, data in _files(gallery, kind, fields, (first, last), scale):
            publish_if_changed(out / name, data)
            count += not name.endswith(".json")
        publish_if_changed(out / "parameters.csv", _table(gallery, first, last))
    return count


def _fields(gallery: Gallery, names: Sequence[str] | None, kind: str) -> tuple[Field, ...]:
    for name in names or ():
        if name in {field.name for field in gallery.parameters}:
            raise UserError(f"--fields {name}: is a parameter: it stands in parameters.csv of every export")
        if name == "error" and name not in gallery.fields:
            raise UserError("--fields error: is for predictions, with --data DATASET that has targets")
        if name not in gallery.fields:
            raise UserError(f"--fields {name}: no such field{meant(name, gallery.fields)}")
    fields = tuple(gallery.fields[name] for name in dict.fromkeys(names or gallery.default))
    for field in fields:
        if field.dtype.startswith("complex") and kind in ("tiff", "png"):
            raise UserError(f"--format {kind}: {field.name} is complex; choose npy or mat")
    return fields


def _range(gallery: Gallery, first: int, last: int | None) -> tuple[int, int]:
    last = gallery.samples if last is None else last
    if not 0 <= first < last <= gallery.samples:
        raise UserError(f"--samples {first}:{last}: {gallery.split} has {gallery.samples:,}, give A:B within 0:that")
    return first, last


def _blocks(gallery: Gallery, fields: tuple[Field, ...], first: int, last: int) -> Iterator[tuple[int, Arrays]]:
    """Runs of samples, by the first of each."""
    for start, stop in units(last - first, min(gallery.unit, BLOCK)):
        yield first + start, gallery.rows(slice(first + start, first + stop), fields)


def _extremes(gallery: Gallery, fields: tuple[Field, ...], first: int, last: int, limits: Limits) -> Limits:
    """Black and white of each field: as given, else the least and greatest value of all that is exported."""
    rest = tuple(field for field in fields if field.name not in limits and not field.classes)
    found: Limits = dict(limits)
    for _, values in _blocks(gallery, rest, first, last) if rest else ():
        for name, array in values.items():
            low, high = found.get(name, (np.inf, -np.inf))
            found[name] = min(low, float(array.min())), max(high, float(array.max()))
    return found


def _mark(gallery: Gallery, kind: str, fields: tuple[Field, ...], rows: tuple[int, int], scale: Limits) -> bytes:
    """What this export is: the same words for the same files."""
    described = {field.name: _described(field, kind, scale.get(field.name)) for field in fields}
    content = {
        "drybeam_export": 1,
        "of": gallery.path.name,
        "task": gallery.task,
        "digest": gallery.digest,
        "format": kind,
        "split": gallery.split,
        "samples": list(rows),
        "fields": described,
    }
    return (json.dumps(content, indent=2) + "\n").encode()


def _described(field: Field, kind: str, limits: tuple[float, float] | None) -> dict[str, object]:
    about: dict[str, object] = {"units": field.units, "about": field.about}
    if field.classes:
        return about | {"classes": list(field.classes)}
    if limits and kind == "png":
        low, high = limits
        return about | {"black": low, "white": high, "value": "black + (white - black) * grey / 255"}
    return about | ({"limits": list(limits)} if limits else {})


def _claim(out: Path, mark: bytes) -> None:
    """Make a folder that of this export. UserError if it is somebody else's, or another export's."""
    refuse_store("--out", out)
    there = read(out / MARK)
    if there is None and entries(out):
        raise UserError(f"--out {out}: holds other files; choose another folder")
    if there not in (None, mark):
        raise UserError(f"--out {out}: holds another export; choose another folder")
    sweep(out, deep=False)
    publish_if_changed(out / MARK, mark)


def _files(
    gallery: Gallery, kind: str, fields: tuple[Field, ...], rows: tuple[int, int], scale: Limits
) -> Iterator[tuple[str, bytes]]:
    """All files but the table, by name."""
    for start, values in _blocks(gallery, (*fields, *gallery.parameters), *rows):
        for field in fields:
            if field.per_sample:
                for index, value in enumerate(values[field.name]):
                    known = {p.name: _plain(values[p.name][index]) for p in gallery.parameters}
                    yield from _written(gallery, kind, field, value, start + index, known, scale)
            elif start == rows[0]:
                yield from _written(gallery, kind, field, values[field.name], None, {}, scale)


def _plain(value: np.ndarray) -> tuple[float, ...]:
    return tuple(float(number) for number in np.ravel(value))


def _written(
    gallery: Gallery,
    kind: str,
    field: Field,
    value: np.ndarray,
    sample: int | None,
    known: Mapping[str, tuple[float, ...]],
    scale: Limits,
) -> Iterator[tuple[str, bytes]]:
    stem = "_".join([gallery.split, *([] if sample is None else [f"{sample:04d}"]), field.name])
    if kind == "png":
        value = as_images(gallery.grids, field.dims[field.per_sample :], value)
        for plane in product(*map(range, value.shape[:-2])):
            name = "_".join([stem, *map(str, plane)])
            drawn = png.labels(value[plane]) if field.classes else png.write(value[plane], *scale[field.name])
            yield f"{name}{png.SUFFIX}", drawn
        return
    if field.name in scale:
        value = np.clip(value, *scale[field.name])
    card = _card(gallery, field, sample, known)
    writer = WRITERS[kind]
    wide = {name: known[name] for name in pixel(gallery, field) if name in known}
    yield f"{stem}{writer.SUFFIX}", writer.write(value, card, wide if kind == "tiff" else known)
    if kind == "npy":
        yield f"{stem}.json", (card.model_dump_json(indent=2) + "\n").encode()


def _card(gallery: Gallery, field: Field, sample: int | None, known: Mapping[str, tuple[float, ...]]) -> Card:
    units_of = {parameter.name: parameter.units for parameter in gallery.parameters}
    return Card(
        task=gallery.task,
        split=gallery.split,
        sample=sample,
        field=field.name,
        units=field.units,
        axes=list(field.dims[1:] if field.per_sample else field.dims),
        parameters={name: Parameter(values=list(values), units=units_of[name]) for name, values in known.items()},
    )


def _table(gallery: Gallery, first: int, last: int) -> bytes:
    """A row per sample; a parameter of several values takes as many columns."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    for start, values in _blocks(gallery, gallery.parameters, first, last):
        if start == first:
            writer.writerow(["split", "sample", *(name for p in gallery.parameters for name in _columns(p, values))])
        for index in range(len(next(iter(values.values()), range(min(gallery.unit, BLOCK, last - start))))):
            numbers = [f"{number:.9g}" for p in gallery.parameters for number in _plain(values[p.name][index])]
            writer.writerow([gallery.split, start + index, *numbers])
    return text.getvalue().encode()


def _columns(parameter: Field, values: Arrays) -> Iterator[str]:
    shape = values[parameter.name].shape[1:]
    for index in product(*map(range, shape)):
        yield f"{'_'.join([parameter.name, *map(str, index)])} [{parameter.units}]"
