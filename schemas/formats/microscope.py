"""DM3, DM4, EMD, HSPY, SER, EMI and TVIPS by RosettaSciIO, the optional extra `microscopy` (GPLv3, so not a must)."""

import importlib
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from physics.electron import wavelength
from schemas.formats.hdf5_links import refuse_elsewhere
from schemas.formats.image import Picture, refuse_large, the_only
from schemas.formats.pixel_sizes import Known, is_pattern, nanometres, pattern, pixel
from schemas.runtime.errors import UserError

NAME = "a microscope's file"
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
    """The only image or stack of images, or the one with this title (or number, if titles repeat)."""
    return read_by(PLUGINS[path.suffix.lower()], path, inner)


def read_by(name: str, path: Path, inner: str) -> Picture:
    """The same by one of its plugins, whatever the file is called."""
    try:
        plugin = importlib.import_module(f"rsciio.{name}")
    except ModuleNotFoundError:
        raise UserError(
            f"{path}: is read by RosettaSciIO, which is not installed: pip install 'drybeam[microscopy]'"
        ) from None
    if h5py.is_hdf5(path):
        refuse_elsewhere(path)  # what the plugin reads of it cannot be foreseen
    signals = dict(_titled(plugin.file_reader(str(path), lazy=True)))  # lazy: sizes are known before values are read
    signal = signals[the_only(path, inner, {name: one["data"].shape for name, one in signals.items()})]
    refuse_large(path, signal["data"].shape, signal["data"].dtype.itemsize)
    data, order = signal["data"], _order(signal)
    values = np.asarray(data.compute(scheduler="synchronous") if hasattr(data, "compute") else data).transpose(order)
    return Picture(values, _known(signal, values.shape))


def _titled(signals: list[dict[str, Any]]) -> Iterator[tuple[str, dict[str, Any]]]:
    titles = [str(_within(signal["metadata"], "General", "title") or "") for signal in signals]
    for number, (title, signal) in enumerate(zip(titles, signals, strict=True)):
        yield title if title and titles.count(title) == 1 else str(number), signal


def _axes(signal: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """As the array has them."""
    return sorted(signal["axes"], key=lambda axis: axis.get("index_in_array", 0))


def _order(signal: Mapping[str, Any]) -> list[int]:
    """Scans first, then patterns: some write them the other way round, and only the units tell."""
    units = [axis.get("units") for axis in _axes(signal)]
    scanned = len(units) == 4 and [is_pattern(unit) for unit in units] == [True, True, False, False]
    return [2, 3, 0, 1] if scanned else list(range(len(units)))


def _known(signal: Mapping[str, Any], shape: tuple[int, ...]) -> Known:
    """Of the array in its order, of this shape."""
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
    """Of a raster [nm], along both axes."""
    steps = [float(axis["scale"]) * (nanometres(axis.get("units")) or math.nan) for axis in (y, x)]
    return {"step": (steps[0], steps[1])} if all(math.isfinite(step) and step > 0 for step in steps) else {}


def _beam_energy(signal: Mapping[str, Any]) -> Any:
    """In keV. Some plugins state it, some say only where the original tags have it, and how it is converted."""
    for name, (target, convert) in (signal.get("mapping") or {}).items():
        if target.endswith("TEM.beam_energy"):
            value = _within(signal["original_metadata"], *name.split("."))
            return convert(value) if convert and value is not None else value
    return _within(signal["metadata"], "Acquisition_instrument", "TEM", "beam_energy")


def _within(tree: Any, *names: str) -> Any:
    for name in names:
        tree = tree.get(name) if isinstance(tree, Mapping) else None
    return tree
