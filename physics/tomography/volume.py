"""Volumes from tilt series of projections, row by row: SIRT, and the R factor of what the volume predicts.

Each row y of the images is a sinogram of the plane (z, x) that is turned about the axis y, so the volume is a stack of
independent planes. At the angle t, the point (z, x) is seen at x cos t + z sin t (`physics.tomography.geometry`, with z
in the place of y).
"""

from functools import partial

import numpy as np

from physics.arrays import Array, Real
from physics.tomography.geometry import Geometry
from physics.tomography.iterative import Known, Projector, sirt
from physics.tomography.projection import back_project, project


def reconstruct_volume(
    series: Array, angles: Real, iterations: int, *, axis: float | None = None, positive: bool = True
) -> Array:
    """Reconstruct a volume by SIRT (`physics.tomography.iterative.sirt`).

    Args:
        series: images (tilt, y, x), which are zero where there is nothing.
        angles: angle of each image (tilt,) [rad].
        iterations: number of iterations.
        axis: column of the images where the axis of rotation lies, counted from 0; None: nx // 2.
        positive: whether the volume is known to be 0 or more.

    Returns:
        Volume (z, y, x) of the dtype of the series, as many pixels along z as along x. The axis lies in the middle of
        the planes (z, x), at (nx - 1) / 2.
    """
    geometry = _geometry(angles, series.shape[-1], axis)
    shape = (series.shape[-1], series.shape[-1])
    rays = Projector(partial(project, geometry=geometry), partial(back_project, geometry=geometry, shape=shape))
    planes = sirt(np.moveaxis(series, 1, 0), rays, iterations, Known(positive=positive))
    return np.moveaxis(planes, 0, 1)


def project_volume(volume: Array, angles: Real, *, axis: float | None = None) -> Array:
    """Project a volume, which is turned about the axis y.

    Args:
        volume: (z, y, x), around the axis of rotation.
        angles: angle of each image (tilt,) [rad].
        axis: column of the images where this axis lies, counted from 0; None: nx // 2.

    Returns:
        Images (tilt, y, x).
    """
    geometry = _geometry(angles, volume.shape[-1], axis)
    return np.moveaxis(project(np.moveaxis(volume, 1, 0), geometry), 0, 1)


def _geometry(angles: Real, width: int, axis: float | None) -> Geometry:
    return Geometry(angles, width, axis_offset=(width // 2 if axis is None else axis) - (width - 1) / 2)


def r_factor(computed: Array, measured: Array) -> float:
    """R factor of a tilt series, sum |computed - measured| / sum |measured|.

    Args:
        computed: images (tilt, y, x).
        measured: images of the same shape.

    Returns:
        The factor; NaN if all measured values are 0.
    """
    total = float(abs(measured).sum(dtype=float))
    return float(abs(computed - measured).sum(dtype=float)) / total if total else float("nan")
