"""The content of a file as the file states it, and its translation into images that the other modules can use.

Every reader returns a `Stated`. `to_picture` alone applies calibrations, orders the axes, converts pixel sizes, and
refuses values that are no numbers, so each of these rules is written once for all kinds of files.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from physics.electron import wavelength
from schemas.formats.axis_order import Axis, find_unclear, sorted_axes
from schemas.formats.image import Beside, Known, Picture
from schemas.formats.pixel_sizes import frequency, is_pattern, nanometres, pixel
from schemas.runtime.errors import UserError

COMPLEX_FIELDS = ({"real", "imag"}, {"r", "i"}, {"re", "im"}, {"realfloat", "imagfloat"})  # fields of a complex number


@dataclass(frozen=True)
class Stated:
    """The values of one array, and everything that its file states about them."""

    values: np.ndarray
    axes: tuple[Axis, ...] = ()  # in the order of the array; empty: the file states nothing about them
    known: Known = field(default_factory=dict)  # parameters that the file states, in the units of the tasks
    scale: float = 1.0  # calibrated value = offset + scale * stored value
    offset: float = 0.0
    undefined: tuple[float, ...] = ()  # stored values that stand for pixels without a measurement
    exported: tuple[str, ...] = ()  # names of the axes, if this project exported the file
    matlab: bool = False  # MATLAB's order of axes: (y, x) first, the axis of images last
    colours: bool = False  # the file states that its last axis holds colours
    notes: tuple[str, ...] = ()  # warnings for the user
    valid: tuple[float, float] = (-math.inf, math.inf)  # the lowest and the highest stored value of a measurement
    unit: str = ""  # unit of the values
    beside: Mapping[str, Beside] = field(default_factory=dict)  # arrays that belong to these values
    unclear: str = ""  # reason for which the order of the axes is not known, although the file states something
    turned: str = ""  # how the file states that the patterns of a scan are turned against its positions
    upward: bool = False  # the axis y of images that belong to these projections points up


def to_picture(path: Path, stated: Stated) -> Picture:
    """Return the calibrated values of an array, with the axes of images last and the pixel sizes in nm.

    Args:
        path: the file, for messages.
        stated: the content of the file.

    Raises:
        UserError: the values are a table, or their calibration is not finite.
    """
    values = _calibrate(path, stated, _join_complex(path, stated.values))
    axes = stated.axes if len(stated.axes) == values.ndim else ()
    unclear = stated.unclear or find_unclear(axes, values.shape)
    order = sorted_axes(axes) or list(range(values.ndim))
    values, axes = values.transpose(order), tuple(axes[index] for index in order) if axes else ()
    patterns = None if len(axes) < 2 else _is_pattern(axes[-2], axes[-1])
    known = {**_sizes(axes, values.shape, stated.known), **stated.known}
    meaning = (stated.exported, stated.matlab, stated.colours, patterns)
    rest = (stated.unit, stated.turned, stated.beside, stated.upward)
    return Picture(values, known, *meaning, stated.notes, tuple(order), unclear, *rest)


def _join_complex(path: Path, values: np.ndarray) -> np.ndarray:
    """Return complex numbers if the values are pairs of real and imaginary parts. Refuse other tables."""
    if not values.dtype.names:
        return values
    if {name.lower() for name in values.dtype.names} in COMPLEX_FIELDS:
        real, imaginary = sorted(values.dtype.names, reverse=True, key=str.lower)
        return np.asarray(values[real] + 1j * values[imaginary])
    columns = ", ".join(values.dtype.names[:6])
    kind = "colours" if {"R", "G", "B"} <= set(values.dtype.names) else "a table"
    raise UserError(f"{path}: holds {kind} ({columns}); give grey values (numbers)")


def _calibrate(path: Path, stated: Stated, values: np.ndarray) -> np.ndarray:
    """Return offset + scale * value in floating point, and NaN for undefined pixels; unchanged if neither is stated."""
    if not (math.isfinite(stated.scale) and math.isfinite(stated.offset)):
        raise UserError(f"{path}: its calibration of values, {stated.offset} + {stated.scale} v, is not finite")
    plain = (stated.scale, stated.offset) == (1.0, 0.0)
    if values.dtype.kind not in "biuf" or (
        plain and not stated.undefined and not any(map(math.isfinite, stated.valid))
    ):
        return values
    low, high = stated.valid
    missing = np.isin(values, np.array(stated.undefined)) | (values < low) | (values > high)
    if plain and not missing.any():
        return values
    numbers = values.astype(np.result_type(values.dtype, np.float32), copy=True)
    if not plain:
        numbers = (stated.offset + stated.scale * numbers.astype(np.float64)).astype(numbers.dtype)
    numbers[missing] = np.nan
    return numbers


def _is_pattern(y: Axis, x: Axis) -> bool | None:
    """Return True for axes of diffraction patterns, False for axes of images, None if the units do not show it."""
    if is_pattern(y.unit) and is_pattern(x.unit):
        return True
    return False if None not in (nanometres(y.unit), nanometres(x.unit)) else None


def _sizes(axes: tuple[Axis, ...], shape: tuple[int, ...], known: Known) -> Known:
    """Return the pixel size [nm] of images, or of the wave behind diffraction patterns, and the step of a raster.

    A wave of n pixels with the frequencies f [1/nm] or the angles has d = 1 / (n f) = wavelength / (n angle).
    """
    if len(axes) < 2:
        return {}
    length = wavelength(known["voltage"][0]) if known.get("voltage") else None
    found: list[float] = []
    for axis, points in zip(axes[-2:], shape[-2:], strict=True):
        step, scale = axis.step or math.nan, nanometres(axis.unit)
        if scale is None:
            per_nm = frequency(axis.unit, length)
            found.append(1 / (points * step * per_nm) if per_nm and points else math.nan)
        else:
            found.append(step * scale)
    sizes = pixel(*found) if _is_pattern(axes[-2], axes[-1]) is not None else {}
    steps = [(axis.step or math.nan) * (nanometres(axis.unit) or math.nan) for axis in axes[:2]]
    raster = len(axes) == 4 and all(math.isfinite(step) and step > 0 for step in steps)
    return {**sizes, **({"step": (steps[0], steps[1])} if raster else {})}
