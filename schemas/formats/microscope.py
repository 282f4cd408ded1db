"""Microscope files DM3, DM4, EMD, HSPY, SER, EMI and TVIPS, read by RosettaSciIO.

RosettaSciIO is an optional dependency (the extra `microscopy`), because its licence is GPLv3.
"""

import importlib
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from physics.electron import wavelength
from schemas.formats.hdf5_links import refuse_elsewhere
from schemas.formats.image import Picture, choose_array, refuse_large
from schemas.formats.pixel_sizes import Known, is_pattern, nanometres, pattern, pixel
from schemas.runtime.errors import UserError

NAME = "a microscope file"
PLUGINS = {
    ".dm3": "digitalmicrograph",
    ".dm4": "digitalmicrograph",
    ".emd": "emd",
    ".hspy": "hspy",
    ".ser": "tia",
    ".emi": "tia",
    ".tvips": "tvips",
}


def read(path: Path, inner: str) -> Picture:
    """Read the only image or stack of a microscope's file, or the one with this title.

    Args:
        path: the file.
        inner: title of the image, or its number if titles repeat; empty: the only image.

    Raises:
        UserError: there is no such image, or more than one, or RosettaSciIO is not installed.
    """
    return read_by(PLUGINS[path.suffix.lower()], path, inner)


def read_by(name: str, path: Path, inner: str) -> Picture:
    """Read an image as `read` does, by a given plugin of RosettaSciIO.

    Args:
        name: name of the plugin.
        path: the file, of any suffix.
        inner: as for `read`.

    Raises:
        UserError: as for `read`.
    """
    try:
        plugin = importlib.import_module(f"rsciio.{name}")
    except ModuleNotFoundError:
        raise UserError(
            f"{path}: is read by RosettaSciIO, which is not installed: pip install 'drybeam[microscopy]'"
        ) from None
    if h5py.is_hdf5(path):
        refuse_elsewhere(path)  # the plugin may read any part of the file
    signals = dict(_titled(plugin.file_reader(str(path), lazy=True)))  # lazy: check sizes before values are read
    signal = signals[choose_array(path, inner, {name: one["data"].shape for name, one in signals.items()})]
    refuse_large(path, signal["data"].shape, signal["data"].dtype.itemsize)
    data, order = signal["data"], _order(signal)
    values = np.asarray(data.compute(scheduler="synchronous") if hasattr(data, "compute") else data).transpose(order)
    return Picture(values, _known(signal, values.shape))


def _titled(signals: list[dict[str, Any]]) -> Iterator[tuple[str, dict[str, Any]]]:
    titles = [str(_within(signal["metadata"], "General", "title") or "") for signal in signals]
    for number, (title, signal) in enumerate(zip(titles, signals, strict=True)):
        yield title if title and titles.count(title) == 1 else str(number), signal


def _axes(signal: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the axes in the order of the array."""
    return sorted(signal["axes"], key=lambda axis: axis.get("index_in_array", 0))


def _order(signal: Mapping[str, Any]) -> list[int]:
    """Return the order of axes that puts the scan first. Some files have the patterns first; only the units show it."""
    units = [axis.get("units") for axis in _axes(signal)]
    scanned = len(units) == 4 and [is_pattern(unit) for unit in units] == [True, True, False, False]
    return [2, 3, 0, 1] if scanned else list(range(len(units)))


def _known(signal: Mapping[str, Any], shape: tuple[int, ...]) -> Known:
    """Return the parameters that the file states of the array in its new order, with this shape."""
    axes = [_axes(signal)[axis] for axis in _order(signal)]
    energy = _beam_energy(signal)
    usable = isinstance(energy, int | float) and math.isfinite(energy) and energy > 0
    voltage = 1e3 * float(energy) if usable else None
    known: Known = {} if voltage is None else {"voltage": (voltage,)}
    if len(axes) < 2 or axes[-2].get("units") != axes[-1].get("units"):
        return known
    y, x, unit = float(axes[-2]["scale"]), float(axes[-1]["scale"]), axes[-1]["units"]
    known |= pixel(y, x, unit) | pattern(y, x, unit, shape, wavelength(voltage) if voltage else None)
    return known | (_step(axes[0], axes[1]) if len(axes) == 4 else {})


def _step(y: Mapping[str, Any], x: Mapping[str, Any]) -> Known:
    """Return the step [nm] of a raster along both axes."""
    steps = [float(axis["scale"]) * (nanometres(axis.get("units")) or math.nan) for axis in (y, x)]
    return {"step": (steps[0], steps[1])} if all(math.isfinite(step) and step > 0 for step in steps) else {}


def _beam_energy(signal: Mapping[str, Any]) -> Any:
    """Return the beam energy in keV.

    Some plugins state it. Others state only its place in the original tags and how to convert it.
    """
    for name, (target, convert) in (signal.get("mapping") or {}).items():
        if target.endswith("TEM.beam_energy"):
            value = _within(signal["original_metadata"], *name.split("."))
            return convert(value) if convert and value is not None else value
    return _within(signal["metadata"], "Acquisition_instrument", "TEM", "beam_energy")


def _within(tree: Any, *names: str) -> Any:
    for name in names:
        tree = tree.get(name) if isinstance(tree, Mapping) else None
    return tree
