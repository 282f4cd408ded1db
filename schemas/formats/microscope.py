"""Microscope files DM3, DM4, EMD of Velox, HSPY, SER, EMI and TVIPS, read by RosettaSciIO.

RosettaSciIO is an optional dependency (the extra `microscopy`), because its licence is GPLv3.
"""

import importlib
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from schemas.formats.axis_order import ENERGY_UNITS, Axis
from schemas.formats.hdf5_links import refuse_elsewhere
from schemas.formats.image import Shape, choose_array, refuse_large
from schemas.formats.stated import Stated
from schemas.runtime.errors import UserError

NAME = "a microscope file"
PLUGINS = {
    ".dm3": "digitalmicrograph",
    ".dm4": "digitalmicrograph",
    ".hspy": "hspy",
    ".ser": "tia",
    ".emi": "tia",
    ".tvips": "tvips",
}
NAMING_PLUGINS = ("hspy", "emd")  # plugins that return the names of axes in the file; the others make them up


def read(path: Path, inner: str) -> Stated:
    """Read the only image or stack of a microscope's file, or the one with this title.

    Args:
        path: the file.
        inner: title of the image, or its number if titles repeat; empty: the only image.

    Raises:
        UserError: there is no such image, or more than one, or RosettaSciIO is not installed.
    """
    return read_by(PLUGINS[path.suffix.lower()], path, inner)


def read_by(name: str, path: Path, inner: str, **options: Any) -> Stated:
    """Read an image as `read` does, by a given plugin of RosettaSciIO.

    Args:
        name: name of the plugin.
        path: the file, of any suffix.
        inner: as for `read`.
        options: options of the plugin.

    Raises:
        UserError: as for `read`.
    """
    try:
        plugin = importlib.import_module(f"rsciio.{name}")
    except ModuleNotFoundError:
        raise UserError(
            f"{path}: is read by RosettaSciIO, which is not installed: pip install 'drybeam[microscopy]'"
        ) from None
    lazy = True  # sizes are checked before values are read
    if h5py.is_hdf5(path):
        refuse_elsewhere(path)  # the plugin may read any part of the file
        lazy = not _allow_contiguous(path)
    found = plugin.file_reader(str(path), lazy=lazy, **options)
    signals = dict(_signals_by_title(found))
    signal = signals[choose_array(path, inner, {name: _image_shape(one) for name, one in signals.items()})]
    refuse_large(path, signal["data"].shape, signal["data"].dtype.itemsize)
    data = signal["data"]
    values = np.asarray(data.compute(scheduler="synchronous") if hasattr(data, "compute") else data)
    axes = tuple(_axis(axis, named=name in NAMING_PLUGINS) for axis in _sorted_axes(signal))
    return Stated(values, axes, _voltage(signal), *_calibration(signal))


def _allow_contiguous(path: Path) -> bool:
    """Return True if a file holds arrays without chunks, which a plugin reads only as a whole; check their size."""
    sizes: list[int] = []

    def visit(_: str, one: h5py.HLObject) -> None:
        if isinstance(one, h5py.Dataset) and one.ndim > 1 and one.chunks is None:
            sizes.append(one.size * one.dtype.itemsize)

    with h5py.File(path, "r") as file:
        file.visititems(visit)
    refuse_large(path, (sum(sizes),), 1)
    return bool(sizes)


def _signals_by_title(signals: list[dict[str, Any]]) -> Iterator[tuple[str, dict[str, Any]]]:
    titles = [str(_find_tag(signal["metadata"], "General", "title") or "") for signal in signals]
    for number, (title, signal) in enumerate(zip(titles, signals, strict=True)):
        yield title if title and titles.count(title) == 1 else str(number), signal


def _image_shape(signal: Mapping[str, Any]) -> Shape:
    """Return the shape of an array; empty for spectra, which are read only if they are named."""
    spectra = any(str(axis.get("units") or "").lower() in ENERGY_UNITS for axis in signal["axes"])
    return () if spectra else tuple(signal["data"].shape)


def _sorted_axes(signal: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the axes in the order of the array."""
    return sorted(signal["axes"], key=lambda axis: axis.get("index_in_array") or 0)


def _axis(axis: Mapping[str, Any], *, named: bool) -> Axis:
    """Return an axis with what is stated. The places of an axis that is not uniform are left out."""
    scale, units = axis.get("scale"), axis.get("units")
    name = str(axis.get("name") or "") if named else ""
    return Axis(name, float(scale) if isinstance(scale, int | float | np.number) else None, str(units or ""))


def _voltage(signal: Mapping[str, Any]) -> dict[str, tuple[float, ...]]:
    energy = _beam_energy(signal)
    usable = isinstance(energy, int | float) and math.isfinite(energy) and energy > 0
    return {"voltage": (1e3 * float(energy),)} if usable else {}


def _calibration(signal: Mapping[str, Any]) -> tuple[float, float]:
    """Return scale and offset of the values. DigitalMicrograph states scale * (stored value - origin)."""
    places = ("ImageList", "TagGroup0", "ImageData", "Calibrations", "Brightness")
    brightness = _find_tag(signal.get("original_metadata"), *places)
    scale, origin = (_find_tag(brightness, name) for name in ("Scale", "Origin"))
    if not isinstance(scale, int | float) or not isinstance(origin, int | float) or scale == 0:
        return 1.0, 0.0
    return float(scale), -float(scale) * float(origin)


def _beam_energy(signal: Mapping[str, Any]) -> Any:
    """Return the beam energy in keV.

    Some plugins state it. Others state only its place in the original tags and how to convert it.
    """
    for name, (target, convert) in (signal.get("mapping") or {}).items():
        if target.endswith("TEM.beam_energy"):
            value = _find_tag(signal["original_metadata"], *name.split("."))
            return convert(value) if convert and value is not None else value
    return _find_tag(signal["metadata"], "Acquisition_instrument", "TEM", "beam_energy")


def _find_tag(tree: Any, *names: str) -> Any:
    for name in names:
        tree = tree.get(name) if isinstance(tree, Mapping) else None
    return tree
