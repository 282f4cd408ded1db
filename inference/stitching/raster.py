"""The raster on which the positions of a scan lie, found from the positions alone."""

from dataclasses import dataclass

import numpy as np

from schemas.runtime.errors import UserError

LOOSE = 0.35  # of a step: positions may lie so far from the raster, root mean square
SQUARE = 0.05  # cosine of the angle between rows and columns, at most


@dataclass(frozen=True)
class Raster:
    """place = origin + row axes[0] + column axes[1], y and x [pixel]; position j is row j // columns."""

    rows: int
    columns: int
    origin: np.ndarray  # (2,)
    axes: np.ndarray  # (2, 2): (row or column, y or x)

    @property
    def steps(self) -> tuple[float, float]:
        """Lengths of the axes [pixel]."""
        down, across = np.linalg.norm(self.axes, axis=1).tolist()
        return down, across

    def along(self, vectors: np.ndarray) -> np.ndarray:
        """Vectors (..., 2) along y and x as vectors along the two axes."""
        turned: np.ndarray = vectors @ (self.axes / np.array(self.steps)[:, None]).T
        return turned

    def image(self, values: np.ndarray) -> np.ndarray:
        """(position, ...) as (row, column, ...)."""
        return values.reshape(self.rows, self.columns, *values.shape[1:])

    def indices(self, places: np.ndarray) -> np.ndarray:
        """Row and column, with fractions, (2, ...) of places (2, ...) [pixel]."""
        away = places - self.origin.reshape(2, *[1] * (places.ndim - 1))
        found: np.ndarray = np.tensordot(np.linalg.inv(self.axes.T), away, axes=1)
        return found


def find_raster(places: np.ndarray) -> Raster:
    """The raster of positions (n, 2) [pixel], which may jitter. UserError if they lie on none of 2 x 2 or more."""
    columns = _columns(places)
    if columns < 2 or len(places) % columns or len(places) < 2 * columns:
        raise UserError(f"{len(places)} positions lie on no raster of whole rows; take a method that needs none")
    index = np.arange(len(places))
    basis = np.stack([np.ones(len(places)), index // columns, index % columns], axis=1)
    (origin, down, across), *_ = np.linalg.lstsq(basis, places, rcond=None)
    raster = Raster(len(places) // columns, columns, origin, np.stack([down, across]))
    away = places - basis @ np.stack([origin, down, across])
    if np.sqrt((away**2).sum(axis=1).mean()) > LOOSE * min(raster.steps):
        raise UserError(f"{len(places)} positions lie too far from a raster; take a method that needs none")
    if abs(down @ across) > SQUARE * np.prod(raster.steps):
        raise UserError("rows and columns of the raster are not at right angles; take a method that needs none")
    return raster


def _columns(places: np.ndarray) -> int:
    """Positions before the first step that is another than most."""
    steps = np.diff(places, axis=0)
    usual = np.median(steps, axis=0)
    jump = np.linalg.norm(steps - usual, axis=1) > np.linalg.norm(usual)
    return int(np.argmax(jump)) + 1 if jump.any() else len(places)
