"""Projections of a turning object in HDF5: DXfile, NXtomo, NXdata with an axis of rotation, and libraries of pairs.

DXfile   exchange/data, data_white, data_dark, theta
NXtomo   instrument/<detector>/data with image_key: 0 projection, 1 flat, 2 dark, 3 invalid; sample/rotation_angle
library  Sinograms and Images (row, column, number), as the program superres-tomo writes them; angles are not stored.
         It projects with `astra-toolbox`, so the axis y of its images points up. The axis of rotation falls on the
         middle of the detector.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np

from schemas.formats.export_metadata import ExportMetadata
from schemas.formats.hdf5_links import find_sibling, text_of, texts_of
from schemas.formats.image import LINE_INTEGRALS, Beside, Rows, index_rows
from schemas.formats.pixel_sizes import nanometres
from schemas.formats.stated import Stated
from schemas.runtime.errors import UserError

DXFILE, LIBRARY = "/exchange/data", "/Sinograms"
DXFILE_FRAMES = {"flat": "data_white", "dark": "data_dark"}
FRAME_KEYS = "image_key"
PROJECTION, FLAT, DARK, INVALID = 0, 1, 2, 3  # values of image_key
ROTATION_AXES = ("theta", "rotation_angle", "rotation")
LIBRARY_NAMES, LIBRARY_ANGLES = ("Images", "NImages"), "Angles"
LIBRARY_ORDER = 0, 2, 1  # places of views, samples and pixels of the detector
MEASURED = "measured"  # 1 for each view of an export that was measured; the others are left out
PIXEL_WIDTH = "x_pixel_size"
STATED_AXIS = "x_rotation_axis_pixel_position"  # from the middle; some programs count it from the first pixel
CARD = "drybeam"  # attribute of the file that holds the metadata of an export


def find_series(file: h5py.File) -> h5py.Dataset | None:
    """Return the only series of projections of a file by its place; None if there is none, or several.

    Args:
        file: the open file.
    """
    found = [one for one in (_dxfile(file), _library(file), *_nxtomo(file)) if one is not None]
    return found[0] if len(found) == 1 else None


def _dxfile(file: h5py.File) -> h5py.Dataset | None:
    known = any(find_sibling(file["/"], f"/exchange/{name}") for name in ("theta", *DXFILE_FRAMES.values()))
    return find_sibling(file["/"], DXFILE) if known else None


def _library(file: h5py.File) -> h5py.Dataset | None:
    known = any(find_sibling(file["/"], name) is not None for name in LIBRARY_NAMES)
    return find_sibling(file["/"], LIBRARY) if known else None


def _nxtomo(file: h5py.File) -> list[h5py.Dataset]:
    """Return the data of all detectors whose frames have keys."""
    found: list[h5py.Dataset] = []

    def visit(name: str, item: h5py.HLObject) -> None:
        if name.rpartition("/")[2] == FRAME_KEYS and isinstance(item, h5py.Dataset):
            found.extend(data for data in [find_sibling(item.parent, "data")] if data is not None)

    file.visititems(visit)
    return found


def order_of(item: h5py.Dataset) -> tuple[int, ...]:
    """Return the places of the views, the samples and the pixels of the detector in a library; empty for others.

    Args:
        item: a dataset of projections, or of images.
    """
    return LIBRARY_ORDER if item.ndim == 3 and item == _library(item.file) else ()


def add_beside(
    path: Path, item: h5py.Dataset, group: h5py.Group | None, stated: Stated, rows: Rows | None = None
) -> Stated:
    """Add the frames without object and the angles that belong to a series of projections.

    Args:
        path: the file, for messages.
        item: the dataset of the projections.
        group: the NXdata whose signal it is.
        stated: its content.
        rows: the rows of it that have been read; None: all.

    Raises:
        UserError: frames and keys or angles do not fit together.
    """
    if card := ExportMetadata.parse(text_of(item.file, CARD)):
        return _read_export(item, card, stated)
    if item == _library(item.file):
        return _read_library(path, item, stated, rows)
    if (key := find_sibling(item.parent, FRAME_KEYS)) is not None and key.ndim == 1:
        return _read_nxtomo(path, item, np.asarray(key[...]), stated)
    beside = {}
    if item.name == DXFILE:
        frames = {ours: find_sibling(item.parent, theirs) for ours, theirs in DXFILE_FRAMES.items()}
        same = Rows(rows.start, rows.stop) if rows else None
        beside = {name: _read(path, one, same) for name, one in frames.items() if one is not None}
    names = _axis_names(item, group)
    places = [place for place, name in enumerate(names) if name in ROTATION_AXES]
    name = names[places[0]] if places else "theta"
    angles = find_sibling(group or item.parent, name)
    if angles is not None and angles.ndim == 1 and (places or item.name == DXFILE):
        beside["rotation"] = _read(path, angles)
    return replace(stated, beside=beside) if beside else stated


def _read_export(item: h5py.Dataset, card: ExportMetadata, stated: Stated) -> Stated:
    """Return the line integrals of a file that this project has exported, without the flat and dark frames."""
    values = stated.values.reshape(len(stated.values), -1)
    if (key := find_sibling(item.parent, FRAME_KEYS)) is not None:
        values = values[~np.isin(key[...], (FLAT, DARK))]
    integrals = np.asarray(0.0 - np.log(values), np.float32)
    if (measured := find_sibling(item.parent, MEASURED)) is not None:
        seen = measured[...] != 0
        whole = np.zeros((len(seen), *integrals.shape[1:]), np.float32)
        whole[seen] = integrals
        integrals = whole
    return replace(stated, values=integrals, axes=(), known=card.known(), exported=tuple(card.axes))


def _axis_names(item: h5py.Dataset, group: h5py.Group | None) -> list[str]:
    holders = [item, *([group] if group is not None else [])]
    return next((names for one in holders if (names := [n for t in texts_of(one, "axes") for n in t.split(":")])), [])


def _read(path: Path, item: h5py.Dataset, rows: Rows | None = None, order: Sequence[int] = ()) -> Beside:
    index = index_rows(path, item.shape, item.dtype.itemsize, rows, order)
    return Beside(np.asarray(item[index]), text_of(item, "units"))


def _read_nxtomo(path: Path, item: h5py.Dataset, key: np.ndarray, stated: Stated) -> Stated:
    """Part the frames by their keys; angles of other frames than projections are left out."""
    if len(key) != item.shape[0]:
        raise UserError(f"{path}: image_key has {len(key)} values for {item.shape[0]} frames; give one for each frame")
    angles = _find_angles(item)
    beside = {name: Beside(stated.values[key == k]) for name, k in (("flat", FLAT), ("dark", DARK)) if (key == k).any()}
    if angles is not None:
        values = np.asarray(angles[...]).reshape(-1)
        if len(values) not in (len(key), int((key == PROJECTION).sum())):
            raise UserError(f"{path}: {len(values)} angles for {len(key)} frames; give one for each frame")
        chosen = values[key == PROJECTION] if len(values) == len(key) else values
        beside["rotation"] = Beside(chosen, text_of(angles, "units"))
    if (axis := _number(item, STATED_AXIS)) is not None:
        middle = (item.shape[-1] - 1) / 2
        beside["stated_axis"] = Beside(np.array([axis if abs(axis) <= middle else axis - middle]))
    if (view := find_sibling(item.parent, "field_of_view")) is not None and view.size == 1:
        beside["half"] = Beside(np.array([float(b"half" in np.asarray(view[...], bytes).item().lower())]))
    width = _pixel_width(item)
    known = {**stated.known, **({"sampling_x": (width,)} if width else {})}
    return replace(stated, values=stated.values[key == PROJECTION], beside=beside, known=known)


def _number(item: h5py.Dataset, name: str) -> float | None:
    """Return a number beside the frames of a detector."""
    stored = find_sibling(item.parent, name)
    number = float(stored[...].reshape(-1)[0]) if stored and stored.size == 1 and stored.dtype.kind in "iuf" else np.nan
    return number if np.isfinite(number) else None


def _pixel_width(item: h5py.Dataset) -> float | None:
    """Return the width of a pixel of the detector [nm]; None if it is not stated in a unit of length."""
    width, stored = _number(item, PIXEL_WIDTH), find_sibling(item.parent, PIXEL_WIDTH)
    scale = nanometres(text_of(stored, "units")) if stored else None
    return width * scale if width and scale and width > 0 else None


def _find_angles(item: h5py.Dataset) -> h5py.Dataset | None:
    """Return sample/rotation_angle of the entry that holds the detector: the nearest group above with such angles."""
    group = item.parent
    while group.name != "/":
        group = group.parent
        if (angles := find_sibling(group, "sample/rotation_angle")) is not None:
            return angles
    return None


def _read_library(path: Path, item: h5py.Dataset, stated: Stated, rows: Rows | None) -> Stated:
    """Put the axis of samples between those of a sinogram. The views lie on half a turn, with both ends."""
    if stated.values.ndim != 3:
        raise UserError(f"{path}:Sinograms: shape {item.shape}; must be (row, column, number)")
    values = stated.values.transpose(LIBRARY_ORDER)
    known = find_sibling(item.parent, LIBRARY_ANGLES)
    angles = Beside(np.linspace(0, np.pi, len(values)), "rad") if known is None else _read(path, known)
    notes = list(stated.notes)
    beside = {"rotation": angles, "center": Beside(np.array([(values.shape[-1] - 1) / 2]))}
    if (images := find_sibling(item.parent, LIBRARY_NAMES[0])) is not None:
        if images.ndim != 3 or images.shape[-1] != item.shape[-1]:
            shapes = f"Images {images.shape} and Sinograms {item.shape}"
            raise UserError(f"{path}: {shapes}; both must be (row, column, number), with equal numbers")
        pairs = _read(path, images, rows, LIBRARY_ORDER)
        beside["image"] = replace(pairs, values=np.moveaxis(pairs.values, -1, 0))
    if known is None:
        taken = f"taken as {len(values)} views from 0 to 180 degrees with both ends, as superres-tomo makes them"
        notes.append(f"warning: {path}: states no angles; {taken}")
    stated = replace(stated, values=values, axes=(), beside=beside, notes=tuple(notes), unit=LINE_INTEGRALS)
    return replace(stated, upward=known is None)
