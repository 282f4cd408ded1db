"""Fan-beam sinograms sorted into parallel ones, with the mask of the rays that were measured.

Conventions are those of `physics.tomography.geometry`: the parallel ray (t, s) is found in view b = t + g of the fan
beam, at u = D tan g with sin g = s / D. Both are interpolated linearly. A limited range of views fills a slanted band
of the parallel sinogram, not a rectangle.
"""

from dataclasses import replace
from math import pi

import numpy as np

from physics.arrays import Array
from physics.tomography.geometry import Geometry
from physics.tomography.view_weights import is_covered


def rebin(sinogram: Array, geometry: Geometry, parallel: Geometry) -> tuple[Array, np.ndarray]:
    """Interpolate a fan-beam sinogram at the rays of a parallel beam.

    A ray (t, s) that was not measured may have been measured as (t + pi, -s), from the other side.

    Args:
        sinogram: p (..., view, detector) of the fan beam.
        geometry: its rays; views in any order.
        parallel: the wanted rays.

    Returns:
        p (..., view, detector) at the wanted rays, 0 where not measured, in the dtype of `sinogram`; and the mask
        (view, detector) of those that were measured.

    Raises:
        ValueError: if one of the beams is not what it should be.
    """
    if geometry.is_parallel or not parallel.is_parallel:
        raise ValueError("rebinning leads from a fan beam to a parallel beam")
    angles, s = parallel.rays()
    order = np.argsort(geometry.angles % (2 * pi), kind="stable")
    ordered = sinogram[..., order, :]
    found = np.zeros((*sinogram.shape[:-2], *parallel.shape), sinogram.dtype)
    measured = np.zeros(parallel.shape, bool)
    for turn, sign in ((0.0, 1), (pi, -1)):
        values, known = _interpolate(ordered, geometry.views(order), angles + turn, sign * s)
        new = known & ~measured
        found[..., new] = values[..., new]
        measured |= known
    return found, measured


def _interpolate(sinogram: Array, geometry: Geometry, angles: Array, s: Array) -> tuple[Array, np.ndarray]:
    """Return values at the rays (angles, s) and where they were measured; views are in the order of their angles."""
    distance, (views, detectors) = geometry.source_distance, geometry.shape
    reached = abs(s) < distance
    fan = np.arcsin(np.where(reached, s, 0) / distance)
    column = distance * np.tan(fan) / geometry.pitch + (detectors - 1) / 2 + geometry.axis_offset
    known = geometry.angles % (2 * pi)
    wanted = (angles + fan) % (2 * pi)
    before = np.searchsorted(known, wanted, side="right") - 1  # -1: between the last view and the first
    after = (before + 1) % views
    gap = (known[after] - known[before]) % (2 * pi)
    within = (wanted - known[before]) % (2 * pi)
    row_weight = np.where(gap > 0, within / np.where(gap > 0, gap, 1), 0)
    is_measured = reached & (column >= 0) & (column <= detectors - 1)
    is_measured &= is_covered(known, wanted) | (row_weight < 1e-9)
    left = np.clip(np.floor(column), 0, max(detectors - 2, 0)).astype(int)
    weight, right = np.clip(column - left, 0, 1), np.minimum(left + 1, detectors - 1)
    rows = [(1 - weight) * sinogram[..., row, left] + weight * sinogram[..., row, right] for row in (before, after)]
    values = (1 - row_weight) * rows[0] + row_weight * rows[1]
    return values.astype(sinogram.dtype), is_measured


def parallel_beam(geometry: Geometry, views: int) -> Geometry:
    """Return a parallel beam with evenly spread views over half a turn that covers the lines of a fan beam.

    Args:
        geometry: the fan beam.
        views: number of views.
    """
    return replace(geometry, angles=np.arange(views) * pi / views, source_distance=0.0)
