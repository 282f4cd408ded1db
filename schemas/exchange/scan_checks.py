"""Checks of an imported scan of focused probes: patterns, probe, positions and object must fit together.

Each check raises a UserError of one line, or does nothing. Positions are in nm, other lengths in pixels of the object.
"""

import numpy as np
from scipy.spatial import KDTree

from physics.diffraction import disk, disk_centre, far_field
from physics.optics import intensity
from physics.ptychography import round_positions
from schemas.runtime.errors import UserError

PIXEL_SIZE_TOLERANCE = 0.01  # relative difference below which pixel sizes are taken as equal
DISK_TOLERANCE = 0.05  # relative tolerance of the probe's disk radius beyond the range that the patterns allow
EDGE_LEVELS = (0.3, 0.7)  # brightness between which a disk's edge lies; a specimen that blurs it moves them apart
MAX_CENTRE_DISTANCE = 0.5  # between the disks' centres [pixel]; texture moves them by 0.3 in 1 of 100 patterns
MAX_RADIUS_RATIO = 1.15  # maximum ratio of the radii at these levels; beyond it, no disk is visible
MIN_DISK_COUNTS = 10  # in a pixel of the disk, summed over all patterns; with fewer, noise hides the edge
MIN_SCAN_RANGE = 0.5  # positions within a smaller range [pixel] do not form a scan
MAX_NEIGHBOUR_WIDTHS = 2  # neighbours farther apart than this many widths of the bright probe are given in another unit


def refuse_stated_sampling(name: str, stated: tuple[float, ...] | None, sampling: np.ndarray) -> None:
    """Refuse an array whose file states another pixel width than the scan has.

    Args:
        name: name of the array.
        stated: pixel width [nm] in its file; None or empty: not stated.
        sampling: (sample,) [nm], pixel width of the scan.

    Raises:
        UserError: the widths differ.
    """
    if stated and not np.allclose(sampling, stated[0], rtol=PIXEL_SIZE_TOLERANCE, atol=0):
        raise UserError(
            f"{name}: its file states pixels of {stated[0]:.4g} nm, the scan has {sampling[0]:.4g} nm: both must be "
            f"the same; resample the {name}, or correct --set sampling="
        )


def refuse_other_disk(amplitude: np.ndarray, probe: np.ndarray) -> None:
    """Refuse a probe whose bright disk differs from that of the mean pattern in radius or position.

    In this case the probe has another sampling, or the patterns are not centred like the probe. Scattering by the
    specimen and noise shift the edge of the disk at one brightness level more than at another, so a radius is refused
    only if it lies beyond both. Nothing is checked if a strong specimen blurs the edge, if the disk fills the pattern,
    or if there are too few counts.

    Args:
        amplitude: (sample, qy, qx).
        probe: (y, x), complex.

    Raises:
        UserError: radius or position differ.
    """
    total = np.einsum("nyx,nyx->yx", amplitude, amplitude, dtype=np.float64)
    if not total.any():
        return
    bright, outer, inner = disk(total, EDGE_LEVELS)
    if bright < MIN_DISK_COUNTS or outer > MAX_RADIUS_RATIO * inner or outer > min(total.shape) / 2:
        return
    exact = intensity(far_field(probe.astype(complex)))
    _, expected = disk(exact, (0.5,))
    if not inner * (1 - DISK_TOLERANCE) <= expected <= outer * (1 + DISK_TOLERANCE):
        seen = (inner + outer) / 2
        raise UserError(
            f"probe: its bright disk has a radius of {expected:.3g} pixels, but that of the patterns {seen:.3g}: both "
            f"must be the same; resample the probe to pixels {seen / expected:.3g} times as wide, or give another"
        )
    _refuse_aside(disk_centre(total) - disk_centre(exact), total.shape)


def _refuse_aside(away: np.ndarray, shape: tuple[int, ...]) -> None:
    """Refuse a shift (y, x) [pixel] between the disks, modulo the size of the pattern."""
    y, x = ((one + n / 2) % n - n / 2 for one, n in zip(away.tolist(), shape, strict=True))
    if max(abs(y), abs(x)) > MAX_CENTRE_DISTANCE:
        raise UserError(
            f"patterns: their bright disk lies {y:.2g}, {x:.2g} pixels (y, x) from that of the probe; at most "
            f"{MAX_CENTRE_DISTANCE} are allowed; shift the patterns so that q = 0 is at pixel N//2"
        )


def refuse_apart(position: np.ndarray, scan: np.ndarray, sampling: np.ndarray, width: int) -> None:
    """Refuse positions in a wrong unit: much farther apart than the width of the bright probe, or all in one place.

    Args:
        position: (sample, 2) [nm].
        scan: (sample,), number of the scan.
        sampling: (sample,) [nm].
        width: width of the bright probe in pixels of the object.

    Raises:
        UserError: the positions of a scan are too far apart, or all in one place.
    """
    for number in np.unique(scan):
        places = position[scan == number].astype(float)
        pixel = float(sampling[scan == number][0])
        if len(places) < 2:
            continue
        if np.ptp(places, axis=0).max() < MIN_SCAN_RANGE * pixel:
            raise UserError(
                f"position: all positions of scan {number} lie within {np.ptp(places, axis=0).max():.3g} nm, less than "
                f"a pixel of {pixel:.4g} nm; give y, x and sampling in nm"
            )
        nearest = float(KDTree(places).query(places, k=2, p=np.inf)[0][:, 1].min())
        if nearest >= MAX_NEIGHBOUR_WIDTHS * width * pixel:
            raise UserError(
                f"position: neighbours in scan {number} lie at least {nearest:.4g} nm apart, but the probe is bright "
                f"over {width * pixel:.4g} nm: must be nearer than {MAX_NEIGHBOUR_WIDTHS} times that; "
                "give nm (pixels times sampling), or leave position out"
            )


def refuse_outside(position: np.ndarray, scan: np.ndarray, sampling: np.ndarray, objects: np.ndarray, n: int) -> None:
    """Refuse positions at which the probe does not lie wholly on its object.

    Args:
        position: (sample, 2) [nm].
        scan: (sample,), number of the scan.
        sampling: (sample,) [nm].
        objects: (scan, y, x).
        n: pixels of the probe along each side.

    Raises:
        UserError: a position lies too near to the edge, or a scan has no object.
    """
    if len(strange := np.setdiff1d(scan, np.arange(len(objects)))):
        raise UserError(f"scan {strange[0]}: object holds {len(objects)}, counted from 0; give an object for each scan")
    try:
        round_positions(objects.shape, (n, n), position.astype(float) / sampling[:, None].astype(float))
    except ValueError as error:
        raise UserError(f"position / sampling and object: {error}") from None
