"""Whether what a scan of focused probes was imported with goes together: patterns, probe, positions, object.

Each check raises a UserError of one line, or says nothing. Positions in nm, other places in pixels of the object.
"""

import numpy as np
from scipy.spatial import KDTree

from physics.diffraction import disk, disk_centre, far_field
from physics.optics import intensity
from physics.ptychography import split
from schemas.runtime.errors import UserError

STATED = 0.01  # relative: pixel sizes that differ by less are the same
DISK = 0.05  # relative: by how much the probe's bright disk may lie outside of what the patterns leave open
LEVELS = (0.3, 0.7)  # of a disk's brightness, between which its edge lies: far apart where the specimen blurs it
ASIDE = 0.5  # pixels: by how much the disks' middles may differ; one textured pattern in a hundred moves it by 0.3
SHARP = 1.15  # ratio of the radii at these levels, at most: beyond, there is no disk to be seen
FEW = 10  # counts in a pixel of the disk, in all patterns: with fewer, its edge is noise
STILL = 0.5  # pixels: positions within so little are none of a scan
NEAR = 2  # widths of the bright probe: where neighbours lie farther apart, it is another unit


def refuse_stated_sampling(name: str, stated: tuple[float, ...] | None, sampling: np.ndarray) -> None:
    """The file of an array says how wide its pixels are [nm]: as those of the scan, (sample,)?"""
    if stated and not np.allclose(sampling, stated[0], rtol=STATED, atol=0):
        raise UserError(
            f"{name}: its file states pixels of {stated[0]:.4g} nm, the scan has sampling {sampling[0]:.4g}: must be "
            f"the same; resample the {name}, or mend --set sampling="
        )


def refuse_other_disk(amplitude: np.ndarray, probe: np.ndarray) -> None:
    """The bright disk of the mean pattern is that of the probe: as large, and in its place.

    Otherwise the probe has another sampling, or the patterns are not centred as it is.

    amplitude: (sample, qy, qx). probe: (y, x). What a specimen scatters, or noise, moves the edge at one level more
    than at another: only a radius beyond both is refused. An edge that a strong specimen blurs tells nothing, nor
    does a disk that fills the pattern, nor do too few counts.
    """
    total = np.einsum("nyx,nyx->yx", amplitude, amplitude, dtype=np.float64)
    if not total.any():
        return
    bright, outer, inner = disk(total, LEVELS)
    if bright < FEW or outer > SHARP * inner or outer > min(total.shape) / 2:
        return
    exact = intensity(far_field(probe.astype(complex)))
    _, expected = disk(exact, (0.5,))
    if not inner * (1 - DISK) <= expected <= outer * (1 + DISK):
        seen = (inner + outer) / 2
        raise UserError(
            f"probe: its bright disk has a radius of {expected:.3g} pixels, that of the patterns {seen:.3g}: must be "
            f"of the same sampling; resample the probe to pixels {seen / expected:.3g} times as wide, or give another"
        )
    _refuse_aside(disk_centre(total) - disk_centre(exact), total.shape)


def _refuse_aside(away: np.ndarray, shape: tuple[int, ...]) -> None:
    """away: (y, x) [pixel], cyclic."""
    y, x = ((one + n / 2) % n - n / 2 for one, n in zip(away.tolist(), shape, strict=True))
    if max(abs(y), abs(x)) > ASIDE:
        raise UserError(
            f"patterns: their bright disk lies {y:.2g}, {x:.2g} pixels (y, x) from that of the probe: must be within "
            f"{ASIDE}, q = 0 at pixel N//2; move the patterns"
        )


def refuse_apart(position: np.ndarray, scan: np.ndarray, sampling: np.ndarray, width: int) -> None:
    """Positions of a scan far farther apart than the probe is bright, or all in one place, are in another unit.

    position: (sample, 2) [nm]. scan, sampling: (sample,).
    """
    for number in np.unique(scan):
        places = position[scan == number].astype(float)
        pixel = float(sampling[scan == number][0])
        if len(places) < 2:
            continue
        if np.ptp(places, axis=0).max() < STILL * pixel:
            raise UserError(
                f"position: those of scan {number} lie within {np.ptp(places, axis=0).max():.3g} nm, a pixel has "
                f"{pixel:.4g}: must lie farther apart; give y, x and sampling in nm"
            )
        nearest = float(KDTree(places).query(places, k=2, p=np.inf)[0][:, 1].min())
        if nearest >= NEAR * width * pixel:
            raise UserError(
                f"position: the nearest of scan {number} lie {nearest:.4g} nm apart, the probe is bright over "
                f"{width * pixel:.4g}: must be nearer than {NEAR} times that; give nm (pixels times sampling), or "
                "leave position out"
            )


def refuse_outside(position: np.ndarray, scan: np.ndarray, sampling: np.ndarray, objects: np.ndarray, n: int) -> None:
    """The whole probe of n pixels lies on its object. position: (sample, 2) [nm]. objects: (scan, y, x)."""
    if len(strange := np.setdiff1d(scan, np.arange(len(objects)))):
        raise UserError(f"scan {strange[0]}: object holds {len(objects)}, counted from 0; give an object for each scan")
    try:
        split(objects.shape, (n, n), position.astype(float) / sampling[:, None].astype(float))
    except ValueError as error:
        raise UserError(f"position / sampling and object: {error}") from None
