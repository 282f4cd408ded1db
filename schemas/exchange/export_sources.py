"""Sources of images for an export: a split of a dataset, or predictions, with their errors if the truth is given.

error = prediction - truth
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from schemas import predictions
from schemas.grids import Grid
from schemas.manifest import read_manifest, reading_split
from schemas.runtime.errors import UserError
from schemas.store import open_split, read_rows
from schemas.task import Field

type Arrays = dict[str, np.ndarray]
type Rows = Callable[[slice, tuple[Field, ...]], Arrays]


@dataclass(frozen=True)
class Gallery:
    """The fields of one split, ready for export."""

    path: Path
    task: str
    grids: tuple[Grid, ...]
    digest: str  # digest of the samples
    split: str
    samples: int
    shard: int  # number of samples that are read at once
    fields: dict[str, Field]  # fields that can be exported
    default: list[str]  # names of the fields that are exported by default
    parameters: tuple[Field, ...]
    rows: Rows  # function that reads some samples of some of these fields


def pixel(gallery: Gallery, field: Field) -> tuple[str, ...]:
    """Return the names of the parameters with the pixel widths of a field; empty if the task names none.

    Args:
        gallery: the source.
        field: the field.
    """
    return next((grid.sampling for grid in gallery.grids if set(grid.dims) & set(field.dims)), ())


def open_gallery(path: Path, split: str | None, data: Path | None) -> Gallery:
    """Open a dataset or predictions for export.

    Args:
        path: the dataset or predictions.
        split: name of the split; None: test, or the split of the predictions.
        data: the dataset that the predictions belong to, for their errors; or None.

    Raises:
        UserError: the path holds neither; or the split has no samples; or the predictions belong to another dataset.
    """
    if predictions.METADATA.stands_at(path):
        return _predictions_gallery(path, split, data)
    if data is not None:
        raise UserError(f"--data {data}: is for predictions, but {path} holds none; leave it out")
    return _dataset_gallery(path, split or "test")


def _dataset_gallery(path: Path, split: str) -> Gallery:
    """Open a split of a dataset for export."""
    manifest = read_manifest(path)
    manifest.refuse_empty(path, split)
    task = manifest.task
    images = [field for field in task.of("input", "target", "auxiliary") if len(field.dims) > field.per_sample]
    return Gallery(
        path=path,
        task=task.name,
        grids=task.grids,
        digest=manifest.split_digests[split],
        split=split,
        samples=manifest.samples[split],
        shard=manifest.layout.shard,
        fields={field.name: field for field in images},
        default=[field.name for field in task.of("input", "target")],
        parameters=task.of("parameter"),
        rows=lambda rows, fields: _rows(path, split, manifest.split_digests[split], rows, fields),
    )


def _rows(path: Path, split: str, digest: str, rows: slice, fields: tuple[Field, ...]) -> Arrays:
    what, remedy = f"{path}: samples {rows.start}:{rows.stop} of {split}", f"see: dataset verify {path}"
    with reading_split(path, split, digest, what, remedy):
        group = open_split(path, split)
        whole = {field.name: np.asarray(group[field.name][...]) for field in fields if not field.per_sample}
        return read_rows(group, fields, rows) | whole


def _predictions_gallery(path: Path, split: str | None, data: Path | None) -> Gallery:
    """Open predictions for export, with their errors if the dataset is given."""
    found = predictions.read_predictions(path)
    predictions.verify(path, found)
    if split not in (None, found.split):
        raise UserError(f"--split {split}: {path} holds predictions of the split {found.split}; leave it out")
    numbers = tuple(field for field in found.targets if len(field.dims) == 1)  # columns of the table, not images
    targets = {field.name: field for field in found.targets if field not in numbers}
    alone = Gallery(
        path=path,
        task=found.task.name,
        grids=found.task.grids,
        digest=f"{found.split_digest} {found.name}",
        split=found.split,
        samples=found.samples,
        shard=found.shard,
        fields=targets,
        default=list(targets),
        parameters=numbers,
        rows=lambda rows, fields: _select_fields(predictions.read_rows(path, found, rows), fields),
    )
    return alone if data is None else _with_truth(alone, found, data)


def _select_fields(values: Arrays, fields: tuple[Field, ...]) -> Arrays:
    return {field.name: values[field.name] for field in fields}


def _with_truth(alone: Gallery, found: predictions.Predictions, data: Path) -> Gallery:
    """Add errors, and the parameters of the dataset, to predictions."""
    manifest = read_manifest(data)
    if manifest.root_digest != found.dataset_digest:
        raise UserError(f"--data {data}: {alone.path} holds predictions for another dataset; give that dataset")
    truth = _dataset_gallery(data, found.split)
    errors = _errors({name: field for name, field in alone.fields.items() if name in truth.fields})

    def rows(rows: slice, fields: tuple[Field, ...]) -> Arrays:
        asked = {key: name for key, name in errors.items() if any(field.name == key for field in fields)}
        predicted = alone.rows(rows, (*alone.fields.values(), *alone.parameters))
        true = truth.rows(rows, tuple(truth.fields[name] for name in asked.values()))
        made = {key: _difference(predicted[name], true[name]) for key, name in asked.items()}
        known = truth.rows(rows, tuple(field for field in fields if field in truth.parameters))
        return _select_fields(known | predicted | made, fields)

    found_too = {field.name for field in alone.parameters}  # predicted numbers
    parameters = (*alone.parameters, *(field for field in truth.parameters if field.name not in found_too))
    made = {key: _error_field(alone.fields[name], key) for key, name in errors.items()}
    return replace(alone, fields=alone.fields | made, default=[*alone.default, *made], parameters=parameters, rows=rows)


def _errors(targets: dict[str, Field]) -> dict[str, str]:
    """Return the target of each error field: `error` for the first target, `<target>_error` for the others."""
    if not targets:
        return {}
    first, *others = targets
    return {"error": first} | {f"{name}_error": name for name in others}


def _error_field(field: Field, name: str) -> Field:
    dtype = field.dtype if field.dtype.startswith(("float", "complex")) else "float32"
    return replace(field, name=name, dtype=dtype, about="prediction - truth", classes=(), period=None)


def _difference(predicted: np.ndarray, true: np.ndarray) -> np.ndarray:
    """Return prediction - truth in floating point, because classes are unsigned integers."""
    return predicted - true if true.dtype.kind in "fc" else predicted.astype(np.float32) - true.astype(np.float32)
