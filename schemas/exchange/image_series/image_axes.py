"""Order of the axes of series of images, found from the number of angles, or named by the user."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from schemas.formats.image import Picture
from schemas.runtime.errors import UserError

AXES = ("sample", "tilt", "y", "x")
LAST, FIRST = ("y", "x", "tilt"), ("tilt", "y", "x")


def find_names(path: Path, picture: Picture, count: int | None) -> tuple[str, ...]:
    """Return the names of the axes of a file: (y, x), (tilt, y, x) or (y, x, tilt).

    Args:
        path: the file, for messages.
        picture: its content: one image or one series.
        count: number of angles, if it is known. An axis of three of this length is that of the tilts; else it is the
            last one of MATLAB files, and the first one of others.

    Raises:
        UserError: the axes do not fit, or can be read in two ways.
    """
    shape = picture.values.shape
    if picture.unclear:
        raise UserError(f"{path}: {picture.unclear}; name them in the order of the file, such as --axes tilt,y,x")
    if len(shape) == 2:
        return FIRST[1:]
    if len(shape) != 3:
        raise UserError(f"{path}: shape {shape}; give images (y, x), series (tilt, y, x), or name the axes with --axes")
    if count is None:
        return LAST if picture.matlab else FIRST
    fits = [names for names in (FIRST, LAST) if shape[names.index("tilt")] == count]
    if len(fits) == 2:
        raise UserError(
            f"{path}: shape {shape} with {count} angles can be read in two ways; name its axes: --axes tilt,y,x or "
            "--axes y,x,tilt"
        )
    if not fits:
        hint = "; its middle axis has this length: --axes y,tilt,x?" if shape[1] == count else ""
        raise UserError(
            f"{path}: shape {shape} with {count} angle{'s' * (count > 1)}: no axis of images has this length; give "
            f"one angle per image{hint}"
        )
    return fits[0]


def order_axes(path: Path, values: np.ndarray, names: Sequence[str]) -> np.ndarray:
    """Return the images of a file as (sample, tilt, y, x).

    Args:
        path: the file, for messages.
        values: its content.
        names: names of its axes: y, x and perhaps tilt and sample, in any order.

    Raises:
        UserError: the file has other axes.
    """
    if len(names) != values.ndim or len({*names}) != len(names) or not {"y", "x"} <= {*names} <= {*AXES}:
        raise UserError(
            f"{path}: shape {values.shape} with the axes {','.join(names)}; name them in the order of the file (y, x "
            "and perhaps tilt, sample), such as --axes y,x,tilt"
        )
    ordered = values.transpose([names.index(name) for name in AXES if name in names])
    return np.expand_dims(ordered, tuple(place for place, name in enumerate(AXES) if name not in names))
