"""Find the raster on which the positions of a scan lie, from only the positions."""

from dataclasses import dataclass

import numpy as np

from schemas.runtime.errors import UserError

MAX_JITTER = 0.35  # maximum rms distance of the positions from the raster, relative to a step
MAX_COSINE = 0.05  # maximum modulus of the cosine of the angle between rows and columns


@dataclass(frozen=True)
class Raster:
    """Raster of positions: place = origin + row axes[0] + column axes[1], y and x [pixel].

    Position j lies in row j // columns.
    """

    rows: int
    columns: int
    origin: np.ndarray  # (2,)
    axes: np.ndarray  # (2, 2): (row or column, y or x)

    @property
    def steps(self) -> tuple[float, float]:
        """Lengths of the two axes [pixel]."""
        down, across = np.linalg.norm(self.axes, axis=1).tolist()
        return down, across

    def along_axes(self, vectors: np.ndarray) -> np.ndarray:
        """Return vectors (..., 2), given along y and x, as vectors along the two axes."""
        turned: np.ndarray = vectors @ (self.axes / np.array(self.steps)[:, None]).T
        return turned

    def image(self, values: np.ndarray) -> np.ndarray:
        """Return values (position, ...) as an image (row, column, ...)."""
        return values.reshape(self.rows, self.columns, *values.shape[1:])

    def indices(self, places: np.ndarray) -> np.ndarray:
        """Return row and column (2, ...), with fractions, of places (2, ...) [pixel]."""
        away = places - self.origin.reshape(2, *[1] * (places.ndim - 1))
        found: np.ndarray = np.tensordot(np.linalg.inv(self.axes.T), away, axes=1)
        return found


def find_raster(places: np.ndarray) -> Raster:
    """Find the raster of positions, which may jitter.

    Args:
        places: y and x of the positions in the order of the scan, (n, 2) [pixel].

    Raises:
        UserError: the positions do not lie on a raster of whole rows, at right angles, with 2 x 2 positions or more.
    """
    columns = _count_columns(places)
    if columns < 2 or len(places) % columns or len(places) < 2 * columns:
        raise UserError(f"{len(places)} positions lie on no raster of whole rows; use a method that needs no raster")
    index = np.arange(len(places))
    basis = np.stack([np.ones(len(places)), index // columns, index % columns], axis=1)
    (origin, down, across), *_ = np.linalg.lstsq(basis, places, rcond=None)
    raster = Raster(len(places) // columns, columns, origin, np.stack([down, across]))
    away = places - basis @ np.stack([origin, down, across])
    if np.sqrt((away**2).sum(axis=1).mean()) > MAX_JITTER * min(raster.steps):
        raise UserError(f"{len(places)} positions lie too far from a raster; use a method that needs no raster")
    if abs(down @ across) > MAX_COSINE * np.prod(raster.steps):
        raise UserError("rows and columns of the raster are not at right angles; use a method that needs no raster")
    return raster


def _count_columns(places: np.ndarray) -> int:
    """Return the number of positions before the first step that differs from the typical step."""
    steps = np.diff(places, axis=0)
    usual = np.median(steps, axis=0)
    jump = np.linalg.norm(steps - usual, axis=1) > np.linalg.norm(usual)
    return int(np.argmax(jump)) + 1 if jump.any() else len(places)
