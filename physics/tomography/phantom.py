"""Phantoms: uniform ellipses, uniform polygons and Gaussians in the plane, whose values add.

Lengths are in pixels of an image, measured from its middle; x runs along columns, y along rows. Values are those of the
image. A hole is a figure of negative value. `physics.tomography.analytic` projects phantoms without a grid, and
`physics.tomography.pixel_means` draws them on any grid.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

type Floats = NDArray[np.float64]
type Integers = NDArray[np.int64]

ELLIPSE = 6  # numbers of an ellipse: y, x, the two semi-axes, direction of the first of them from x towards y, value
GAUSSIAN = 4  # numbers of a Gaussian: y, x, standard deviation, value at the peak


@dataclass(frozen=True)
class Phantom:
    """A sum of figures.

    A polygon is simple: its outline does not cross itself. It need not be convex, and may turn either way.
    """

    ellipses: Floats  # (ellipse, ELLIPSE)
    corners: Floats  # (corner, 2): y, x of the corners of all polygons, one after the other
    first: Integers  # (polygon + 1,): index of the first corner of each polygon, and the number of corners of all
    values: Floats  # (polygon,): values of the polygons
    gaussians: Floats  # (Gaussian, GAUSSIAN)


def ellipses(rows: Any) -> Phantom:
    """Return a phantom of ellipses; those with two equal semi-axes are disks.

    Args:
        rows: (ellipse, 6): y, x, two semi-axes, direction of the first of them from x towards y [rad], value
    """
    return _phantom(ellipses=np.array(rows, float).reshape(-1, ELLIPSE))


def disk(radius: float, y: float = 0.0, x: float = 0.0, value: float = 1.0) -> Phantom:
    """Return a phantom of one disk.

    Args:
        radius: radius
        y: row of its middle
        x: column of its middle
        value: its value
    """
    return ellipses([(y, x, radius, radius, 0.0, value)])


def rectangle(size: tuple[float, float], y: float = 0.0, x: float = 0.0, angle: float = 0.0) -> Phantom:
    """Return a phantom of one rectangle of the value 1.

    Args:
        size: its sides along y and x, before it is turned
        y: row of its middle
        x: column of its middle
        angle: rotation about its middle from x towards y [rad]
    """
    v, u = np.array([-1, -1, 1, 1]) * size[0] / 2, np.array([-1, 1, 1, -1]) * size[1] / 2
    sine, cosine = np.sin(angle), np.cos(angle)
    return polygons([np.stack([y + v * cosine + u * sine, x + u * cosine - v * sine], axis=1)], [1.0])


def polygons(corners: Sequence[Any], values: Any) -> Phantom:
    """Return a phantom of polygons.

    Args:
        corners: (corner, 2) of each polygon: y, x
        values: (polygon,)
    """
    first = np.cumsum([0, *(len(polygon) for polygon in corners)])
    rows = np.concatenate([np.zeros((0, 2)), *(np.asarray(polygon, float) for polygon in corners)])
    return _phantom(corners=rows, first=first.astype(np.int64), values=np.array(values, float).reshape(-1))


def gaussians(rows: Any) -> Phantom:
    """Return a phantom of isotropic Gaussians.

    Args:
        rows: (Gaussian, 4): y, x, standard deviation, value at the peak
    """
    return _phantom(gaussians=np.array(rows, float).reshape(-1, GAUSSIAN))


def _phantom(**parts: Any) -> Phantom:
    empty = {"ellipses": np.zeros((0, ELLIPSE)), "gaussians": np.zeros((0, GAUSSIAN))}
    outlines = {"corners": np.zeros((0, 2)), "first": np.zeros(1, np.int64), "values": np.zeros(0)}
    return Phantom(**empty | outlines | parts)


def add(*phantoms: Phantom) -> Phantom:
    """Return the phantom that holds the figures of all phantoms."""
    counts = np.concatenate([np.diff(phantom.first) for phantom in phantoms])
    joined = {
        name: np.concatenate([getattr(phantom, name) for phantom in phantoms])
        for name in ("ellipses", "corners", "values", "gaussians")
    }
    return Phantom(first=np.cumsum([0, *counts]).astype(np.int64), **joined)


def magnify(phantom: Phantom, factor: float) -> Phantom:
    """Return the phantom with all lengths multiplied by a factor; values stay.

    Args:
        phantom: the phantom
        factor: magnification
    """
    return replace(
        phantom,
        ellipses=phantom.ellipses * [factor, factor, factor, factor, 1, 1],
        corners=phantom.corners * factor,
        gaussians=phantom.gaussians * [factor, factor, factor, 1],
    )


def integral(phantom: Phantom) -> float:
    """Return the integral of a phantom over the plane: the sum of its figures' values times their areas.

    Args:
        phantom: the phantom
    """
    a, b, value = phantom.ellipses[:, [2, 3, 5]].T
    width, peak = phantom.gaussians[:, 2:].T
    areas = abs(signed_areas(phantom))
    return float(np.pi * np.sum(a * b * value) + areas @ phantom.values + 2 * np.pi * np.sum(width**2 * peak))


def signed_areas(phantom: Phantom) -> Floats:
    """Return the areas of the polygons, negative for those that turn from y towards x: (polygon,).

    Args:
        phantom: the phantom
    """
    return np.array(
        [_signed_area(phantom.corners[a:b]) for a, b in zip(phantom.first, phantom.first[1:], strict=False)]
    )


def _signed_area(corners: Floats) -> float:
    y, x = (corners - corners[0]).T
    return float(np.sum(x * np.roll(y, -1) - y * np.roll(x, -1)) / 2)


def radius(phantom: Phantom) -> float:
    """Return the radius of a circle about the origin that holds all ellipses and polygons.

    Args:
        phantom: the phantom
    """
    distance = np.hypot(phantom.ellipses[:, 0], phantom.ellipses[:, 1]) + phantom.ellipses[:, 2:4].max(
        axis=1, initial=0
    )
    return float(max(distance.max(initial=0), np.hypot(*phantom.corners.T).max(initial=0)))
