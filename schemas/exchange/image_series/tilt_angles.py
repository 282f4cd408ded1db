"""Tilt angles of a series: one number per image, or Euler angles of which one column is the tilt."""

from pathlib import Path

import numpy as np

from schemas.exchange.view_angles import read_angles
from schemas.formats.image import Beside
from schemas.runtime.errors import UserError

EULER = 3  # numbers per image
MAX_SHARE = 0.2  # of the range of the tilt; another Euler angle that varies by more could be the tilt as well
REMEDY = "give --angles FILE, or --set angles=FIRST:LAST [degree]"


def tilt_column(path: Path, values: np.ndarray, column: int | None) -> tuple[np.ndarray, list[str]]:
    """Return the tilt of each image in the unit of the file, and notes.

    Of Euler angles, the tilt is the one that varies, which is the middle one in most files. The others are the small
    turns by which images have been aligned.

    Args:
        path: the file, for messages.
        values: one number per image, or (image, 3) or (3, image) Euler angles.
        column: the Euler angle that is the tilt, counted from 0; None: the only one that varies.

    Raises:
        UserError: the array has another shape, or it is not clear which angle is the tilt.
    """
    table = np.asarray(values)
    if table.dtype.kind not in "iuf" or table.ndim > 2 or (table.ndim == 2 and not {1, EULER} & {*table.shape}):
        raise UserError(
            f"{path}: {table.dtype} of shape {table.shape}; give one angle per image, or n x 3 Euler angles"
        )
    table = table.astype(np.float64)
    if not np.isfinite(table).all():
        raise UserError(f"{path}: some angles are not finite numbers; correct them, or leave these images out")
    if table.ndim < 2 or 1 in table.shape:
        return table.reshape(-1), []
    table = table if table.shape[1] == EULER else table.T
    spans = np.ptp(table, axis=0)
    chosen = int(spans.argmax()) if column is None else column
    others = np.delete(np.arange(EULER), chosen)
    if column is None and spans[others].max() >= MAX_SHARE * spans[chosen]:
        shown = ", ".join(f"{span:.4g}" for span in spans)
        raise UserError(
            f"{path}: Euler angles that vary by {shown}, so that it is not clear which is the tilt; give --set "
            "angle_column=0, 1 or 2"
        )
    notes = [f"{path.name}: column {chosen} of the Euler angles is the tilt"]
    if (rest := float(abs(table[:, others]).max())) > 0:
        notes[0] = f"warning: {notes[0]}; the others, up to {rest:.3g}, are not stored"
    return table[:, chosen], notes


def tilts_in_radians(path: Path, count: int, given: str, found: Beside | None) -> tuple[np.ndarray, list[str]]:
    """Return the angle of each image [rad], and notes.

    A single image without an angle has the angle 0.

    Args:
        path: the file of the images or of the angles, for messages.
        count: number of images.
        given: FIRST:LAST [degree] of evenly spaced tilts; empty: as in `found`.
        found: one number per image, with their unit; None: there are none.

    Raises:
        UserError: there are no angles, or their number or their unit is wrong.
    """
    if found is None and not given:
        if count > 1:
            raise UserError(f"{path}: {count} images without angles; {REMEDY}")
        return np.zeros(1), []
    if found is not None and not given and len(found.values) != count:
        raise UserError(f"{path}: {len(found.values)} angles for {count} images; give one angle per image")
    try:
        return read_angles(path, (count, 1, 1), given, found)
    except ValueError as error:
        raise UserError(f"{path}: {error}") from None
