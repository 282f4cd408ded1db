"""Atoms in a volume: the highest maxima that lie far enough apart, and their agreement with known positions.

NumPy only, because filters and the search for neighbours are those of SciPy.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.ndimage import gaussian_filter, maximum_filter
from scipy.spatial import KDTree

from physics.arrays import Array, Real

NEIGHBOURS = 3  # width [voxel] of the surroundings in which a maximum is the largest value


@dataclass(frozen=True)
class Agreement:
    """Agreement of traced atoms with known ones."""

    known: int  # number of known atoms
    traced: int  # number of traced atoms
    matched: int  # number of pairs that are each other's nearest neighbours, and near enough
    error: float  # root of the mean squared distance of pairs, after their mean shift is taken off; NaN without pairs
    shift: Real  # mean shift of the traced atoms (z, y, x)
    reach: float  # largest distance of a pair

    @property
    def found(self) -> float:
        """Share of the known atoms that were found."""
        return self.matched / self.known if self.known else float("nan")


def trace_atoms(volume: Array, width: float, separation: float, count: int) -> Real:
    """Find atoms as the highest maxima of a smoothed volume that are far enough from higher ones.

    Positions between voxels are those of a parabola through three values along each axis.

    Args:
        volume: (z, y, x), higher at atoms.
        width: standard deviation of the Gaussian that smooths it [voxel].
        separation: smallest distance of two atoms [voxel].
        count: number of atoms; fewer are returned if there are not so many maxima.

    Returns:
        Positions (atom, 3) along z, y and x [voxel], from the middle of the array, the highest first.
    """
    smooth = gaussian_filter(np.asarray(volume, float), width)
    inner = np.zeros(smooth.shape, bool)
    inner[1:-1, 1:-1, 1:-1] = True
    peaks = np.argwhere((smooth == maximum_filter(smooth, NEIGHBOURS)) & inner & (smooth > 0))
    if not len(peaks):
        return np.empty((0, 3))
    heights = smooth[tuple(peaks.T)]
    peaks = peaks[np.argsort(-heights, kind="stable")]
    places = peaks + _offsets(smooth, peaks)
    kept = np.flatnonzero(_separated(places, separation))[:count]
    middle = (np.array(volume.shape) - 1) / 2
    return np.asarray(places[kept] - middle)


def _offsets(smooth: Real, peaks: np.ndarray) -> Real:
    """Return the distance of each maximum from its voxel, along each axis (atom, 3)."""
    found = np.zeros(peaks.shape)
    for axis in range(3):
        step = np.eye(3, dtype=int)[axis]
        before, here, after = (smooth[tuple((peaks + k * step).T)] for k in (-1, 0, 1))
        bend = before - 2 * here + after
        found[:, axis] = np.where(bend < 0, (before - after) / (2 * np.where(bend < 0, bend, 1)), 0)
    return found


def _separated(places: Real, separation: float) -> np.ndarray:
    """Return a mask of the places that are not too near to an earlier one that is kept."""
    kept = np.ones(len(places), bool)
    near = KDTree(places).query_pairs(separation, output_type="ndarray")
    for first, second in near[np.lexsort((near[:, 1], near[:, 0]))]:
        if kept[first]:
            kept[second] = False
    return kept


def match_atoms(traced: Real, known: Real, reach: float) -> Agreement:
    """Compare traced atoms with known ones. A shift of all atoms is no error, because no tilt series reveals it.

    Args:
        traced: positions (atom, 3), in any unit.
        known: positions (atom, 3), in the same unit.
        reach: largest distance of a pair.

    Returns:
        The agreement, in the same unit.
    """
    shift = np.zeros(3)
    if not len(traced) or not len(known):
        return Agreement(len(known), len(traced), 0, float("nan"), shift, reach)
    for _ in range(3):  # pairs and their mean shift
        ours, theirs = _pairs(traced - shift, known, reach)
        if len(ours):
            shift = (traced[ours] - known[theirs]).mean(axis=0)
    ours, theirs = _pairs(traced - shift, known, reach)
    distances = traced[ours] - shift - known[theirs]
    error = float(np.sqrt((distances**2).sum(axis=1).mean())) if len(ours) else float("nan")
    return Agreement(len(known), len(traced), len(ours), error, shift, reach)


def _pairs(traced: Real, known: Real, reach: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the indices of the atoms that are each other's nearest neighbours."""
    there: Any = KDTree(known)
    here: Any = KDTree(traced)
    (distance, nearest), (_, back) = there.query(traced), here.query(known)
    ours = np.flatnonzero((distance <= reach) & (back[nearest] == np.arange(len(traced))))
    return ours, nearest[ours]
