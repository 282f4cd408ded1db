"""DM3, DM4, EMD, SER, EMI and TVIPS by RosettaSciIO, the optional extra `microscopy` (GPLv3, so not a must)."""

import importlib
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from schemas.errors import UserError
from schemas.formats.lengths import pixel
from schemas.formats.picture import Picture, refuse_large, the_only

NAME = "a microscope's file"
PLUGINS = {
    ".dm3": "digitalmicrograph",
    ".dm4": "digitalmicrograph",
    ".emd": "emd",
    ".ser": "tia",
    ".emi": "tia",
    ".tvips": "tvips",
}


def read(path: Path, inner: str) -> Picture:
    """The only image or stack of images, or the one with this title (or number, if titles repeat)."""
    try:
        plugin = importlib.import_module(f"rsciio.{PLUGINS[path.suffix.lower()]}")
    except ModuleNotFoundError:
        raise UserError(
            f"{path}: {path.suffix} is read by RosettaSciIO, which is not installed: pip install 'drybeam[microscopy]'"
        ) from None
    signals = dict(_titled(plugin.file_reader(str(path), lazy=True)))  # lazy: sizes are known before values are read
    signal = signals[the_only(path, inner, {name: one["data"].shape for name, one in signals.items()})]
    refuse_large(path, signal["data"].shape, signal["data"].dtype.itemsize)
    data = signal["data"]
    return Picture(
        np.asarray(data.compute(scheduler="synchronous") if hasattr(data, "compute") else data), _known(signal)
    )


def _titled(signals: list[dict[str, Any]]) -> Iterator[tuple[str, dict[str, Any]]]:
    titles = [str(_within(signal["metadata"], "General", "title") or "") for signal in signals]
    for number, (title, signal) in enumerate(zip(titles, signals, strict=True)):
        yield title if title and titles.count(title) == 1 else str(number), signal


def _known(signal: Mapping[str, Any]) -> dict[str, tuple[float, ...]]:
    y, x = sorted(signal["axes"], key=lambda axis: axis.get("index_in_array", 0))[-2:]
    known = pixel(float(y["scale"]), float(x["scale"]), x["units"]) if y.get("units") == x.get("units") else {}
    energy = _beam_energy(signal)
    if isinstance(energy, int | float) and math.isfinite(energy) and energy > 0:
        known["voltage"] = (1e3 * energy,)
    return known


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
