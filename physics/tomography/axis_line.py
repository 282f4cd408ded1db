"""Axis of rotation of many rows of a detector: a straight line, which may be tilted against the columns.

Each row gives an estimate of its centre. Single ones are wrong, because of rings, drift or an object that is nearly
empty there, so the line is one that few wrong rows do not change.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from physics.tomography.corrections import NORMAL_MAD
from physics.tomography.rotation_axis import RotationAxis

FEWEST_ROWS = 5  # certain rows that a tilt needs
MAX_SIGMAS = 4.0  # rows that are farther off the line, in standard deviations, are left out
TILT_SIGMAS = 3.0  # a tilt is significant if it is so many standard deviations


@dataclass(frozen=True)
class AxisLine:
    """A line: centre = middle + tilt (row - row in the middle)."""

    row: float
    middle: float  # [pixel]
    tilt: float  # [pixel per row]; 0 unless it is significant
    variances: tuple[float, float]  # of middle and tilt, which are independent

    def centres(self, rows: np.ndarray) -> np.ndarray:
        """Return the centre of rotation [pixel] in each row."""
        return self.middle + self.tilt * (rows - self.row)

    def uncertainties(self, rows: np.ndarray) -> np.ndarray:
        """Return the standard deviation [pixel] of the centre in each row."""
        return np.sqrt(self.variances[0] + self.variances[1] * (rows - self.row) ** 2)


def fit_line(rows: np.ndarray, found: Sequence[RotationAxis]) -> AxisLine:
    """Return the line through the centres of rows, each weighed by its uncertainty and by the scatter of all.

    The line that shows outliers has the median of the slopes of all pairs of rows (Theil and Sen).

    Args:
        rows: numbers of the rows, which grow.
        found: the axis in each of these rows; only certain ones count.

    Raises:
        ValueError: no row is certain.
    """
    certain = np.array([one.certain for one in found])
    if not certain.any():
        raise ValueError("no row shows the axis of rotation")
    rows = np.asarray(rows, float)[certain]
    centres, errors = np.array([(one.centre, one.uncertainty) for one in found if one.certain]).T
    slopes = [(centres[j] - centres[i]) / (rows[j] - rows[i]) for i, j in combinations(range(len(rows)), 2)]
    tilt = float(np.median(slopes)) if len(rows) >= FEWEST_ROWS else 0.0
    away = centres - tilt * rows
    away -= np.median(away)
    variance = errors**2 + (NORMAL_MAD * np.median(abs(away))) ** 2
    weight = np.where(abs(away) <= MAX_SIGMAS * np.sqrt(variance), 1 / variance, 0.0)
    row, middle = (float(np.average(values, weights=weight)) for values in (rows, centres))
    spread = float((weight * (rows - row) ** 2).sum())
    tilt = float((weight * (rows - row) * (centres - middle)).sum()) / spread if tilt and spread else 0.0
    significant = tilt and tilt**2 * spread > TILT_SIGMAS**2
    return AxisLine(row, middle, tilt if significant else 0.0, (1 / weight.sum(), 1 / spread if significant else 0.0))
