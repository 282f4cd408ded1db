"""Create, continue or refuse the place that predictions are written to, before anything is inverted.

The root metadata is published first. From then on the folder belongs to these predictions, and the same command can
resume a process that was killed at any moment.
"""

from pathlib import Path

from schemas.predictions import Predictions, metadata, read_predictions
from schemas.runtime import destinations
from schemas.runtime.errors import Interrupted, UserError, differences
from schemas.runtime.locks import writable
from schemas.runtime.publish import (
    create,
    entries,
    inside,
    publish,
    publish_if_changed,
    read,
    set_aside,
    sweep,
    sweep_removed,
)


def refuse(path: Path, asked: Predictions, *, overwrite: bool) -> None:
    """Refuse what `claim` would refuse, before anything is written.

    Args:
        path: the place of the predictions.
        asked: their metadata.
        overwrite: True if predictions that are stored there are to be removed.

    Raises:
        UserError: as `claim`.
    """
    _refuse_foreign(path, overwrite=overwrite)
    if not overwrite and read(path / "zarr.json") is not None:
        _continued_metadata(path, asked)


def claim(path: Path, asked: Predictions, *, overwrite: bool) -> Predictions:
    """Create a store for predictions, or continue an existing one under the new name.

    Args:
        path: the place of the predictions.
        asked: their metadata.
        overwrite: remove predictions that are stored there first.

    Returns:
        The metadata that is stored there now.

    Raises:
        UserError: the place holds something else than predictions, or other predictions and `overwrite` is False.
    """
    _refuse_foreign(path, overwrite=overwrite)
    with writable("--out", path):
        if overwrite:
            set_aside(path)
        sweep_removed(path)
        new = read(path / "zarr.json") is None
        asked = asked if new else _continued_metadata(path, asked)
        objects = metadata(asked)
        root = objects.pop("zarr.json")
        if new and not create(inside(path, "zarr.json"), root, durable=True):
            raise Interrupted(f"{path}: another `infer` has taken this place meanwhile; run the same command again")
        publish_if_changed(inside(path, "zarr.json"), root, durable=True)
        sweep(path)
        for key, data in objects.items():
            publish_if_changed(inside(path, key), data)
    return asked


def record(path: Path, predictions: Predictions) -> None:
    """Write the root metadata, which hold the digests of all finished shards.

    Args:
        path: the store.
        predictions: its metadata.

    Raises:
        Interrupted: other predictions have taken the place meanwhile.
    """
    refuse_if_changed(path, predictions)
    durable = predictions.status == "complete"  # while samples are inverted, the root is written often
    publish(inside(path, "zarr.json"), metadata(predictions)["zarr.json"], durable=durable)


def refuse_if_changed(path: Path, predictions: Predictions) -> None:
    """Refuse to write if other predictions have taken the place.

    Args:
        path: the store.
        predictions: metadata of the predictions to be written.

    Raises:
        Interrupted: other predictions have taken the place meanwhile.
    """
    try:
        same = read_predictions(path, incomplete=True).fingerprint == predictions.fingerprint
    except UserError:  # somebody has removed them
        same = False
    if not same:
        raise Interrupted(f"{path}: changed by another `infer` meanwhile; run the same command again")


def _continued_metadata(path: Path, asked: Predictions) -> Predictions:
    """Return the stored metadata with the new name. Raise UserError if other predictions are stored there."""
    stored = read_predictions(path, incomplete=True)
    if stored.dataset_digest != asked.dataset_digest:
        raise UserError(
            f"--out {path}: holds predictions for another dataset; choose another --out, or add --overwrite"
        )
    if changes := list(differences(stored.fingerprint, asked.fingerprint)):
        raise UserError(
            f"--out {path}: holds other predictions: {'; '.join(changes[:3])}; choose another --out, or add --overwrite"
        )
    return stored.model_copy(update={"name": asked.name})


def _refuse_foreign(path: Path, *, overwrite: bool) -> None:
    """Raise UserError unless a place is free or holds predictions; with `overwrite`, it must hold nothing else."""
    destinations.refuse_file("--out", path)
    if read(path / "zarr.json") is not None:
        stored = read_predictions(path, incomplete=True)
        if overwrite:
            destinations.refuse_foreign_files("--out", path, metadata(stored).keys(), "infer")
    elif entries(path):
        raise UserError(f"--out {path}: holds files that are not predictions; choose another place")
