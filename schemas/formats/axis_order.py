"""Order of the axes of an array by the names and units that its file states: others, scan (y, x), image (y, x)."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from schemas.formats.pixel_sizes import is_pattern

SCAN_WORDS = "r|real|scan|scanner|pos|position|stage|probe|nav|navigation"
IMAGE_WORDS = "q|k|f|d|det|detector|diff|diffraction|recip|reciprocal|freq|frequency"
AXIS_NAME = re.compile(
    rf"(?:({SCAN_WORDS})|({IMAGE_WORDS}))?([xy])(?:({SCAN_WORDS})|({IMAGE_WORDS}))?(?:axis|direction|position)?"
)
AXIS_WORDS = {
    "row": "y",
    "rows": "y",
    "height": "y",
    "column": "x",
    "columns": "x",
    "col": "x",
    "cols": "x",
    "width": "x",
}
ENERGY_UNITS = ("ev", "kev", "mev")  # units of axes of spectra, in small letters
SPECTRAL_NAMES = ("c", "channel", "channels", "energy", "energy loss")  # names of axes of spectra and of colours
MAX_SERIES_RANK = 3  # maximum number of axes of a series of images; arrays with more are scans
UNIFORM_TOLERANCE = 1e-3  # relative difference of steps below which an axis is uniform


@dataclass(frozen=True)
class Axis:
    """One axis of an array, as its file states it."""

    name: str = ""
    step: float | None = None  # distance between neighbouring pixels in `unit`
    unit: str = ""


def step_of(places: Sequence[float] | np.ndarray) -> float | None:
    """Return the distance between the places of an axis; None if there are fewer than two, or they are not uniform.

    >>> step_of([0.0, 0.5, 1.0]), step_of([0.0, 0.1, 0.3])
    (0.5, None)
    """
    numbers = np.asarray(places)
    if numbers.ndim != 1 or len(numbers) < 2 or numbers.dtype.kind not in "iuf":
        return None
    steps = np.diff(numbers.astype(np.float64))
    mean = float(steps.mean())
    return mean if np.allclose(steps, mean, rtol=UNIFORM_TOLERANCE, atol=UNIFORM_TOLERANCE * abs(mean)) else None


def sorted_axes(axes: Sequence[Axis]) -> list[int] | None:
    """Return the order that puts the axes of images last, and a scan before them; None if it is not stated.

    Names state it, such as x, R_y or kx; and units, since patterns have reciprocal lengths or angles.

    Args:
        axes: the axes in the order of the array.
    """
    described = [_letter_and_kind(axis) for axis in axes]
    patterns = any(kind == "image" for _, kind in described)
    groups = []
    for letter, kind in described:
        if kind:
            groups.append(2 if kind == "image" else 1)
        else:
            groups.append(0 if not letter else 1 if patterns else 2)
    for group in (1, 2):
        letters = [letter for (letter, _), found in zip(described, groups, strict=True) if found == group]
        if len(letters) == 2 and sorted(letters) not in (["", ""], ["x", "y"]):
            return None
    if groups.count(2) != 2 or groups.count(1) > 2 or (len(axes) > 3 and not patterns):
        return None
    return sorted(range(len(axes)), key=lambda index: (groups[index], described[index][0] == "x"))


def find_unclear(axes: Sequence[Axis], shape: Sequence[int]) -> str:
    """Return the reason for which the axes are not known to be those of images, although the file describes them.

    Args:
        axes: the axes in the order of the array.
        shape: their lengths.
    """
    for axis, length in zip(axes, shape, strict=False):
        if length > 1 and (axis.unit.lower() in ENERGY_UNITS or axis.name.lower() in SPECTRAL_NAMES):
            return (
                f"its axis {axis.name or 'in ' + axis.unit} of length {length} holds energies or channels, not images"
            )
    letters = [letter for letter, _ in map(_letter_and_kind, axes)]
    if len(shape) <= MAX_SERIES_RANK and any(letters) and sorted_axes(axes) is None:
        return f"its axes are stated as {', '.join(axis.name or 'nameless' for axis in axes)}, not with one x and one y"
    return ""


def _letter_and_kind(axis: Axis) -> tuple[str, str]:
    """Return x, y or nothing, and scan, image or nothing."""
    name = re.sub(r"[\W_]", "", axis.name.lower())
    match = AXIS_NAME.fullmatch(name)
    letter = match[3] if match else AXIS_WORDS.get(name, "")
    if is_pattern(axis.unit) or (match and (match[2] or match[5])):
        return letter, "image"
    return letter, "scan" if match and (match[1] or match[4]) else ""
