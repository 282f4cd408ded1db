"""Images and masks that are given beside projections, on the grid of the image that is to be found.

A target covers the same square as that image. With pixels of another size it is averaged over areas if they fit a whole
number of times, or else interpolated linearly.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import ndimage

from physics.tomography.geometry import Geometry
from physics.tomography.projection import project
from schemas.formats.image import Known, Picture
from schemas.runtime.errors import UserError

IMAGE, MASK = "image", "mask"
COMPARED_VIEWS = 32  # most views in which a target is compared with its sinogram
MIN_CORRELATION = 0.9  # of a sinogram with the projections of its target; a warning is printed below
MAX_SHARE = 0.8  # a warning is printed if a target upside down leaves less than this share of 1 - correlation
MAX_SCALE = 1.1  # a warning is printed if an image is stronger or weaker than its sinogram by more than this factor

type Frames = Sequence[tuple[Path, np.ndarray]]  # file and values (y, x) of each target


@dataclass(frozen=True)
class Placement:
    """Size and direction of the image on whose grid targets are stored."""

    size: int | None  # pixels along each side; None: as in the file, divided by `pixel`
    pixel: float  # width of a stored pixel, if `size` is not given
    turn: float  # degree, from x towards y


def read_frames(files: Sequence[tuple[Path, Picture]]) -> Frames:
    """Return the targets in some files, each of which holds one or several.

    Args:
        files: paths and contents.

    Raises:
        UserError: a file holds no grey images.
    """
    found = []
    for path, picture in files:
        values = picture.values
        if values.dtype.kind not in "biuf" or picture.colours or values.ndim not in (2, 3):
            raise UserError(f"{path}: {values.dtype} of shape {values.shape}; give grey images (y, x) as targets")
        stack = np.moveaxis(values, -1, 0) if picture.matlab and values.ndim == 3 else values
        found += [(path, one) for one in stack.reshape(-1, *stack.shape[-2:])]
    return found


def place(name: str, path: Path, values: np.ndarray, how: Placement, *, flip: bool) -> np.ndarray:
    """Return a target on the grid of the image.

    Args:
        name: `image` [1/pixel of the file] or `mask`.
        path: the file, for messages.
        values: (y, x).
        how: size and direction of the image.
        flip: whether the axis y of the file points up.

    Raises:
        UserError: the target is not square, or not finite; or a mask holds more than two numbers.
    """
    length = len(values)
    if values.shape != (length, length):
        shown = " x ".join(map(str, values.shape))
        raise UserError(f"{path}: {name} has {shown} pixels; it must be square, like the image; crop or pad it")
    if not np.isfinite(values).all():
        raise UserError(f"{path}: some values of {name} are not finite numbers; correct or crop it")
    size = how.size or max(round(length / how.pixel), 1)
    whole = _as_material(path, values) if name == MASK else values.astype(np.float64)
    turned = _turn(whole[::-1] if flip else whole, how.turn)
    placed = _resample(turned, size)
    if name == MASK:
        return (placed >= 0.5).astype(np.uint8)
    return np.asarray(placed * (length / size), np.float32)


def _as_material(path: Path, values: np.ndarray) -> np.ndarray:
    """Return 1.0 where a mask is not 0."""
    held = np.unique(values)
    if held[0] < 0 or np.count_nonzero(held) > 1:
        shown = ", ".join(f"{value:g}" for value in held[:3])
        raise UserError(
            f"{path}: mask holds {shown}{' ...' if len(held) > 3 else ''}; it must be 0, and one other number where "
            "there is material; set a threshold"
        )
    material: np.ndarray = (values != 0).astype(np.float64)
    return material


def _turn(values: np.ndarray, degrees: float) -> np.ndarray:
    """Return an image that is turned about its middle, from x towards y, by linear interpolation."""
    quarters, rest = divmod(degrees, 90)
    if rest == 0:
        return np.rot90(values, -int(quarters))
    c, s = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    matrix = np.array([[c, -s], [s, c]])
    middle = (np.array(values.shape) - 1) / 2
    return np.asarray(ndimage.affine_transform(values, matrix, middle - matrix @ middle, order=1))


def _resample(values: np.ndarray, size: int) -> np.ndarray:
    """Return a square image with so many pixels along each side: means of whole pixels, or else interpolated."""
    factor, rest = divmod(len(values), size)
    if rest == 0:
        return np.asarray(values.reshape(size, factor, size, factor).mean(axis=(1, 3)))
    return np.asarray(ndimage.zoom(values, size / len(values), order=1, mode="nearest", grid_mode=True))


def find_doubts(
    fields: Mapping[str, np.ndarray], flipped: Mapping[str, np.ndarray], known: Known, remedy: str
) -> Iterator[str]:
    """Yield a warning for each target whose projections are not those of its sinogram.

    Args:
        fields: sinogram and targets of a sample.
        flipped: the targets, if the axis y of their files had the other direction.
        known: parameters of the sample.
        remedy: the setting by which this direction is given.
    """
    seen = np.flatnonzero(known["measured"])
    seen = seen[np.unique(np.linspace(0, len(seen) - 1, min(len(seen), COMPARED_VIEWS)).astype(int))]
    numbers = (known[key][0] for key in ("pitch", "axis_offset", "source_distance"))
    rays = Geometry(np.array(known["angle"])[seen], fields["sinogram"].shape[-1], *numbers)
    measured = fields["sinogram"][seen].astype(np.float64)
    for name in (one for one in flipped if fields[one].any()):
        made, other = (project(values.astype(np.float64), rays) for values in (fields[name], flipped[name]))
        same, reverse = _correlation(measured, made), _correlation(measured, other)
        ratio = float((made * measured).sum() / (made**2).sum())
        if 1 - reverse < MAX_SHARE * (1 - same):
            agreement = f"{reverse:.4f} after {same:.4f}"
            yield f"warning: {name}: agrees better with its sinogram upside down ({agreement}): give --set {remedy}"
        elif same < MIN_CORRELATION:
            yield f"warning: {name}: does not agree with its sinogram (correlation {same:.2f}): of another object?"
        elif name == IMAGE and not 1 / MAX_SCALE < ratio < MAX_SCALE:
            unit = "1/pixel is the unit, the coefficient times the width of a pixel"
            yield f"warning: {name}: must be multiplied by {ratio:.4g} to have the sinogram's line integrals: {unit}"


def _correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Return Pearson's correlation; 1 if one of the arrays is constant."""
    a, b = a - a.mean(), b - b.mean()
    size = float(np.sqrt((a**2).sum() * (b**2).sum()))
    return float((a * b).sum()) / size if size else 1.0
