"""The place that predictions are written to: made, continued or refused, before anything is inferred.

The root metadata is published first: from then on the folder belongs to these predictions, and a run killed at any
moment can be resumed by the same command.
"""

from pathlib import Path

from schemas.predictions import Predictions, metadata, read_predictions
from schemas.runtime import destinations
from schemas.runtime.errors import UserError, differences
from schemas.runtime.publish import (
    entries,
    inside,
    publish,
    publish_if_changed,
    read,
    set_aside,
    sweep,
    sweep_removed,
    writable,
)


def refuse(path: Path, asked: Predictions, *, overwrite: bool) -> None:
    """Raise the UserError that `claim` would raise, before anything is written."""
    _refuse_foreign(path, overwrite=overwrite)
    if not overwrite and read(path / "zarr.json") is not None:
        _continued(path, asked)


def claim(path: Path, asked: Predictions, *, overwrite: bool) -> Predictions:
    """Make a place that of these predictions, or go on with them under the name asked. Returns what stands there.

    UserError: the place holds something else, and `overwrite` does not say to remove predictions that are there.
    """
    _refuse_foreign(path, overwrite=overwrite)
    with writable("--out", path):
        if overwrite:
            set_aside(path)
        sweep_removed(path)
        if read(path / "zarr.json") is not None:
            asked = _continued(path, asked)
        objects = metadata(asked)
        publish_if_changed(inside(path, "zarr.json"), objects.pop("zarr.json"), durable=True)
        sweep(path)
        for key, data in objects.items():
            publish_if_changed(inside(path, key), data)
    return asked


def finish(path: Path, predictions: Predictions, seconds: float) -> Predictions:
    """Say that all shards are there."""
    complete = predictions.model_copy(update={"status": "complete", "seconds_per_sample": seconds})
    publish(path / "zarr.json", metadata(complete)["zarr.json"], durable=True)
    return complete


def _continued(path: Path, asked: Predictions) -> Predictions:
    stored = read_predictions(path, incomplete=True)
    if stored.dataset_digest != asked.dataset_digest:
        raise UserError(f"--out {path}: holds predictions for another dataset; choose another --out, or --overwrite")
    if found := list(differences(stored.fingerprint, asked.fingerprint)):
        raise UserError(
            f"--out {path}: holds other predictions: {'; '.join(found[:3])}; choose another --out, or --overwrite"
        )
    return stored.model_copy(update={"name": asked.name})


def _refuse_foreign(path: Path, *, overwrite: bool) -> None:
    """Raise UserError unless a place is free, or holds predictions; to be overwritten, nothing else."""
    destinations.refuse_file("--out", path)
    if read(path / "zarr.json") is not None:
        stored = read_predictions(path, incomplete=True)
        if overwrite:
            destinations.refuse_strangers("--out", path, metadata(stored).keys(), "infer")
    elif entries(path):
        raise UserError(f"--out {path}: holds files that are no predictions; choose another place")
