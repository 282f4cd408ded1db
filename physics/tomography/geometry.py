"""Rays of a parallel beam and of a flat fan beam through an image: the conventions of `physics.tomography`.

Lengths are in pixels of the image, angles in rad.

    f(y, x)     the image (..., y, x) [1/pixel], zero outside: for X-rays the linear attenuation coefficient times the
                width of a pixel. Its origin is the middle of the array: pixel i lies at i - (N - 1) / 2.
    ray (t, s)  the points with x cos t + y sin t = s; y grows along the rows of the array, downwards in a picture
    p(t, s)     the integral of f along the ray [1]; for X-rays -ln(transmission)

A sinogram (..., view, detector) holds p. Pixel j of M lies at

    u_j = (j - (M - 1) / 2 - axis_offset) pitch

of a detector that passes through the axis of rotation (the origin). In a parallel beam, pixel j of view t measures the
ray (t, u_j); at t = 0 rays run along y, so the sinogram is the sum over rows. In a fan beam, the source lies at the
distance D from the axis, on the ray (t, 0), where y is least at t = 0. Pixel j then measures the ray

    (t - g, D sin g),   tan g = u_j / D

so the ray (t, s) is found in view t + g at u = D tan g, sin g = s / D.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from math import hypot, inf, pi

import numpy as np

from physics.arrays import Array, Real

SAME_VIEW = 1e-6  # views that are nearer, as a share of the circle, are the same
USUAL_GAPS = 0.9  # share of the gaps between views that are at most as wide as the usual one
# A gap that is so many times the usual one was not measured. Gaps between evenly spread views are multiples of a step;
# one of 4 usual gaps was measured, whatever way it is rounded.
MISSING_GAP = 4.01
WIDEST_GAP = 0.495  # nor was a gap that is so wide, as a share of the circle


@dataclass(frozen=True, eq=False)
class Geometry:
    """The rays of a sinogram. What is computed for one geometry is kept as long as this object is used."""

    angles: Real  # t of each view (view,) [rad], in any order
    detectors: int  # number of detector pixels
    pitch: float = 1.0  # width of a detector pixel, at the axis [pixel of the image]
    # Where the axis falls on the detector, from its middle [detector pixel]. The "centre of rotation" of other programs
    # is (M - 1) / 2 + axis_offset.
    axis_offset: float = 0.0
    source_distance: float = 0.0  # D, from the source to the axis [pixel of the image]; 0: a parallel beam

    def __post_init__(self) -> None:
        """Check the numbers.

        Raises:
            ValueError: if there is no view or detector pixel, or a number is out of range.
        """
        angles = np.asarray(self.angles, float)
        object.__setattr__(self, "angles", angles)
        if angles.ndim != 1 or not len(angles) or not np.isfinite(angles).all():
            raise ValueError(f"angles {angles.shape}: must be a list of at least one finite number, in rad")
        if self.detectors < 1 or not 0 < self.pitch < inf or not np.isfinite(self.axis_offset):
            raise ValueError(f"{self.detectors} detector pixels of width {self.pitch}: both must be positive")
        if not 0 <= self.source_distance < inf:
            raise ValueError(f"source_distance {self.source_distance}: must be positive, or 0 for a parallel beam")

    @property
    def is_parallel(self) -> bool:
        """True for a parallel beam."""
        return self.source_distance == 0

    @property
    def shape(self) -> tuple[int, int]:
        """Shape (view, detector) of a sinogram."""
        return len(self.angles), self.detectors

    @property
    def positions(self) -> Real:
        """Positions u_j of the detector pixels (detector,) [pixel]."""
        pixels = np.arange(self.detectors, dtype=float)
        return (pixels - (self.detectors - 1) / 2 - self.axis_offset) * self.pitch

    @property
    def period(self) -> float:
        """Angle [rad] after which the views repeat: pi for a parallel beam, 2 pi for a fan beam."""
        return pi if self.is_parallel else 2 * pi

    @property
    def radius(self) -> float:
        """Radius [pixel] of the disc about the axis that is measured: up to the nearer end of the detector.

        If the views cover a whole turn, the farther end sees what the nearer one does not. If the axis does not fall on
        the detector, no disc is measured, and this is also the radius up to the farther end.
        """
        ends = [(self.detectors / 2 + side * self.axis_offset) * self.pitch for side in (-1, 1)]
        u = max(ends) if min(ends) <= 0 or is_whole_turn(self.angles) else min(ends)
        return u if self.is_parallel else u / hypot(1, u / self.source_distance)

    def rays(self) -> tuple[Real, Real]:
        """Return the angles t [rad] and positions s [pixel] of all rays, (view, detector) each."""
        u: Real = self.positions
        fan: Real = np.zeros_like(u) if self.is_parallel else np.arctan(u / self.source_distance)
        angles: Real = self.angles[:, None] - fan
        s: Real = u * np.cos(fan)
        return angles, np.broadcast_to(s, self.shape)

    def views(self, chosen: Array) -> "Geometry":
        """Return the geometry of some of the views.

        Args:
            chosen: indices, a slice or a mask (view,).
        """
        return replace(self, angles=self.angles[chosen])


def is_whole_turn(angles: np.ndarray) -> bool:
    """Return True if views (view,) [rad] lie all around the object, so that lines are measured from both sides."""
    return not missing_gaps(gaps_between(np.sort(angles % (2 * pi)), 2 * pi), 2 * pi).any()


def gaps_between(views: Real, circle: float) -> Real:
    """Return the distances of views to the next one on a circle, (view,).

    Args:
        views: angles in rising order, (view,).
        circle: angle after which views repeat.
    """
    gaps: Real = np.diff(views, append=views[0] + circle)
    return gaps


def usual_gap(gaps: Real, circle: float) -> float:
    """Return the gap that nine tenths of the gaps between different views do not exceed.

    Repeated views and random choices of views make many gaps smaller than the step of the scan.

    Args:
        gaps: (view,).
        circle: angle after which views repeat.
    """
    different = np.sort(gaps[gaps > SAME_VIEW * circle])
    return float(different[int(USUAL_GAPS * (len(different) - 1))]) if len(different) else circle


def missing_gaps(gaps: Real, circle: float) -> np.ndarray:
    """Return True for gaps that were not measured: more than `MISSING_GAP` usual ones, or about half the circle.

    Args:
        gaps: (view,).
        circle: angle after which views repeat.
    """
    missing: np.ndarray = gaps > min(MISSING_GAP * usual_gap(gaps, circle), WIDEST_GAP * circle)
    return missing


@lru_cache(maxsize=64)
def field_of_view(size: int, radius: float = inf) -> np.ndarray:
    """Return True for pixels whose middle lies within the disc that touches the edges of the image, (y, x).

    Args:
        size: pixels of the image along each side.
        radius: largest radius of the disc.
    """
    y, x = np.mgrid[:size, :size] - (size - 1) / 2
    inside: np.ndarray = np.hypot(y, x) <= min(size / 2, radius)
    inside.flags.writeable = False
    return inside


def samples_by_rays(
    detectors: int, angle: Array, measured: Array, axis_offset: Array, pitch: Array, source_distance: Array
) -> Iterator[tuple[np.ndarray, np.ndarray, Geometry, np.ndarray]]:
    """Yield the samples that have the same rays, which can be processed together.

    Args:
        detectors: number of detector pixels.
        angle: (sample, view) [rad].
        measured: (sample, view), not 0 where the view was measured.
        axis_offset: (sample,).
        pitch: (sample,).
        source_distance: (sample,).

    Yields:
        Indices of samples; the mask (view,) of the views that at least one of them measured; the rays of these views;
        and the mask (sample, view) that says which of them each sample measured.
    """
    numbers = np.stack([pitch, axis_offset, source_distance], axis=1).astype(float)
    _, kinds = np.unique(np.concatenate([angle.astype(float), numbers], axis=1), axis=0, return_inverse=True)
    for kind in dict.fromkeys(kinds.ravel().tolist()):
        rows = np.flatnonzero(kinds.ravel() == kind)
        masks = measured[rows] != 0
        seen = masks.any(axis=0)
        angles = angle[rows[0]][seen].astype(float)
        yield rows, seen, _geometry(angles.tobytes(), detectors, *map(float, numbers[rows[0]])), masks[:, seen]


@lru_cache(maxsize=64)
def _geometry(angles: bytes, detectors: int, *numbers: float) -> Geometry:
    return Geometry(np.frombuffer(angles), detectors, *numbers)
