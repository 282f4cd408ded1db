"""Files of projections that programs for tomography open: NXtomo, DXfile, and libraries of pairs for training.

NXtomo and DXfile hold one sinogram each, as transmission exp(-p) in float64 with a flat frame of ones and a dark frame
of zeros, so that any program finds p after its usual corrections. The metadata of the export are an attribute of the
file; with them, an import returns the same bits.
"""

import io
from collections.abc import Callable, Mapping
from typing import Any

import h5py
import numpy as np

from schemas.exchange.raw_data import RotationSeries
from schemas.formats.export_metadata import ExportMetadata
from schemas.formats.image import Known
from schemas.formats.rotation_series.rotation_hdf5 import CARD, INVALID, MEASURED

NM_PER_M = 1e9


def nxtomo(values: np.ndarray, card: ExportMetadata, series: RotationSeries) -> bytes:
    """Return a sinogram as a NeXus file with the definition NXtomo.

    A fan beam is stated as that of a detector at the axis, with the pixels that it has there.

    Args:
        values: (view, detector), line integrals.
        card: its metadata.
        series: names of the parameters of views and geometry.
    """
    known = card.known()
    angles = np.rad2deg(np.array(known[series.rotation]))
    frames = np.concatenate([np.ones_like(values[:1], np.float64), np.exp(-values.astype(np.float64))])
    frames = np.concatenate([np.zeros_like(frames[:1]), frames])[:, None]
    keys = np.array([2, 1, *np.where(_valid(known, series, len(values)), 0, INVALID)], np.int32)

    def fill(file: h5py.File) -> None:
        entry = _group(file, "entry", "NXentry")
        entry["definition"], entry["title"] = "NXtomo", f"{card.task} {card.split} {card.sample}"
        instrument = _group(entry, "instrument", "NXinstrument")
        _group(instrument, "source", "NXsource")["name"] = "unknown"
        detector = _group(instrument, "detector", "NXdetector")
        detector["data"], detector["image_key"] = frames, keys
        detector["data"].attrs["units"] = "1"
        detector["image_key_control"] = keys
        detector["x_rotation_axis_pixel_position"] = known.get(series.axis, (0.0,))[0]
        if width := known.get(series.pixel, (0.0,))[0] / NM_PER_M:
            size = width * known.get(series.magnification, (1.0,))[0]
            _add_lengths(detector, x_pixel_size=size, y_pixel_size=size)
            if distance := known.get(series.source, (0.0,))[0]:
                _add_lengths(detector, distance=0.0)
                _add_lengths(instrument["source"], distance=-width * distance)
        sample = _group(entry, "sample", "NXsample")
        sample["name"] = f"{card.split}_{card.sample}"
        sample["rotation_angle"] = np.concatenate([angles[:1], angles[:1], angles])
        sample["rotation_angle"].attrs["units"] = "degree"
        data = _group(entry, "data", "NXdata")
        data.attrs["signal"] = "data"
        for name, place in (("data", detector), ("image_key", detector), ("rotation_angle", sample)):
            data[name] = h5py.SoftLink(f"{place.name}/{name}")
        file.attrs["default"] = "entry"

    return _written(fill, card)


def dxfile(values: np.ndarray, card: ExportMetadata, series: RotationSeries) -> bytes:
    """Return a sinogram as a DXfile (Scientific Data Exchange), the format of TomoPy, without views not measured.

    Args:
        values: (view, detector), line integrals.
        card: its metadata.
        series: names of the parameters of views and geometry.
    """

    known = card.known()
    measured = _valid(known, series, len(values))

    def fill(file: h5py.File) -> None:
        exchange = file.create_group("exchange")
        exchange["data"] = np.exp(-values[measured].astype(np.float64))[:, None]
        exchange[MEASURED] = measured.astype(np.uint8)
        exchange["data_white"], exchange["data_dark"] = (
            np.ones((1, 1, values.shape[1])),
            np.zeros((1, 1, values.shape[1])),
        )
        exchange["theta"] = np.rad2deg(np.array(known[series.rotation]))[measured]
        exchange["data"].attrs.update({"axes": "theta:y:x", "description": "transmission", "units": "1"})
        exchange["data_white"].attrs["axes"], exchange["data_dark"].attrs["axes"] = "theta_white:y:x", "theta_dark:y:x"
        exchange["theta"].attrs["units"] = "degrees"
        file["implements"] = "exchange"

    return _written(fill, card)


def find_unstated(kind: str, known: Known, series: RotationSeries) -> str:
    """Return a line about something of a sinogram that its file could not state; empty if there is nothing.

    Args:
        kind: the format, one of WRITERS.
        known: parameters of the sample.
        series: names of the parameters of views and geometry.
    """
    if kind == "dxfile" and not any(known.get(series.valid, (1.0,))):
        return "a DXfile holds the views that were measured, but none was"
    if not (distance := known.get(series.source, (0.0,))[0]):
        return ""
    fan = f"{series.source} is {distance:g}, but"
    if kind == "dxfile":
        return f"{fan} a DXfile can only hold a parallel beam; choose --format nxtomo"
    if not known.get(series.pixel, (0.0,))[0]:
        return f"{fan} NXtomo states it in m, and {series.pixel} is not known; choose --format npy"
    return ""


def find_lost(arrays: Mapping[str, np.ndarray], series: RotationSeries, first: int) -> str:
    """Return a line about something that a library cannot hold; empty if it holds all that an import needs.

    Args:
        arrays: sinograms and parameters of the samples, by field.
        series: names of the fields.
        first: number of the first sample.
    """
    if np.ptp(arrays[series.rotation], axis=0).any():
        return "a library holds sinograms of the same views, but they differ between samples"
    for name, held in ((series.axis, 0), (series.magnification, 1), (series.source, 0)):
        if (other := arrays[name] != held).any():
            sample = int(other.argmax())
            return f"{name} is {arrays[name][sample]:g} in sample {first + sample}, but a library can only hold {held}"
    present = arrays[series.projections].any(axis=-1)
    present |= ~present.any(axis=-1, keepdims=True)
    if (wrong := (present != (arrays[series.valid] != 0)).any(axis=-1)).any():
        rule = "a library marks views that were not measured by rows of zeros"
        return f"{rule}, but these are not those of {series.valid} in sample {first + int(wrong.argmax())}"
    return ""


def library(sinograms: np.ndarray, images: np.ndarray | None, angles: np.ndarray) -> bytes:
    """Return pairs of sinograms and images as one HDF5 file with the datasets of superres-tomo, and the angles.

    Args:
        sinograms: (number, view, detector).
        images: (number, y, x); None: not stored.
        angles: (view,) [rad], of all sinograms.
    """

    def fill(file: h5py.File) -> None:
        file["Sinograms"], file["Angles"] = np.moveaxis(sinograms, 0, -1), angles
        file["Angles"].attrs["units"] = "rad"
        if images is not None:
            file["Images"] = np.moveaxis(images, 0, -1)
        file["ScaleFactor"], file["Noise"] = np.ones(len(sinograms)), np.zeros(len(sinograms))
        file["NImages"], file["ImageSize"] = len(sinograms), sinograms.shape[-1]

    return _written(fill, None)


WRITERS: Mapping[str, tuple[str, Callable[[np.ndarray, ExportMetadata, RotationSeries], bytes]]] = {
    "nxtomo": (".nxs", nxtomo),
    "dxfile": (".h5", dxfile),
}


def _valid(known: Known, series: RotationSeries, views: int) -> np.ndarray:
    return np.asarray(np.array(known.get(series.valid, (1.0,) * views)) != 0)


def _add_lengths(parent: h5py.Group, **lengths: float) -> None:
    """Add datasets of lengths [m]."""
    for name, length in lengths.items():
        parent[name] = length
        parent[name].attrs["units"] = "m"


def _group(parent: h5py.Group, name: str, kind: str) -> h5py.Group:
    group = parent.create_group(name)
    group.attrs["NX_class"] = kind
    return group


def _written(fill: Callable[[h5py.File], Any], card: ExportMetadata | None) -> bytes:
    """Return the bytes of an HDF5 file. They hold no time, so equal content has equal bytes."""
    stream = io.BytesIO()
    with h5py.File(stream, "w") as file:
        fill(file)
        if card is not None:
            file.attrs[CARD] = card.model_dump_json()
    return stream.getvalue()
