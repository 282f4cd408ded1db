"""Errors of a scan and of its detector: shifted, drifting and jittering rows, afterglow, and gains of rows.

    pixel (i, j) shows the specimen at (y_i - s_y - t_i d_y + e_yi, x_j - s_x - t_i d_x + e_xi)

(y_i, x_j) is the nominal position, s the shift of the specimen in this image, d its way during the image, t_i the time
from -1/2 in the first row to 1/2 in the last, and e_i the jitter of the row. A specimen that moves by +x appears at
larger x. Images of a series are independent: each has random numbers of its own.
"""

from dataclasses import dataclass
from math import exp, log
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray

from generators.random_streams import image_generator
from generators.specimens.draws import stored_parameters, to_float32
from physics.arrays import Real
from schemas.runtime.ranges import Range, within
from schemas.runtime.settings import Settings, between

JITTER, FLICKER = 0, 1  # parts of `image_generator`


class Scan(Settings):
    """Settings of the errors of a scan. Each is drawn once for a series; 0 switches it off."""

    shift: Annotated[Range, within(0, 100)] = between(
        0.0, 0.02, "standard deviation, along each axis, of the shift of the specimen in an image", "nm"
    )
    drift: Annotated[Range, within(0, 100)] = between(
        0.0, 0.02, "standard deviation, along each axis, of its way during an image", "nm"
    )
    jitter: Annotated[Range, within(0, 10)] = between(
        0.0, 0.005, "standard deviation, along each axis, of the displacement of each row", "nm"
    )
    afterglow: Annotated[Range, within(0, 100)] = between(
        0.0, 0.5, "decay length along a row of the response of the detector", "pixel"
    )
    flicker: Annotated[Range, within(0, 1)] = between(0.0, 0.01, "standard deviation of the gain of each row")


@dataclass(frozen=True, slots=True, eq=False)
class DrawnScan:
    """The drawn errors of a series: numbers that float32 holds exactly (see `schemas.fields.scans`)."""

    shift: NDArray[np.float32]  # (tilt, 2): y and x [nm]
    drift: NDArray[np.float32]  # (tilt, 2): y and x [nm]
    jitter: float  # [nm]
    afterglow: float  # [pixel]
    flicker: float
    seed: int

    def columns(self) -> dict[str, Any]:
        """Return the parameters by field: the attributes with the prefix `scan_`."""
        return stored_parameters("scan_", self)


def draw(settings: Scan, tilts: int, rng: np.random.Generator) -> DrawnScan:
    """Draw the errors of a series. Every call consumes the same random numbers, whatever the settings.

    Args:
        settings: the settings
        tilts: number of images
        rng: random numbers
    """
    names = ("shift", "drift", "jitter", "afterglow", "flicker")
    shift, drift, jitter, afterglow, gain = to_float32(*(getattr(settings, name).draw(rng) for name in names))
    seed = int(2**32 * rng.random())
    ways = rng.standard_normal((tilts, 2, 2))  # (tilt, shift or drift, coordinate)
    shifts, drifts = ((size * ways[:, k]).astype(np.float32) for k, size in enumerate((shift, drift)))
    return DrawnScan(shifts, drifts, jitter, afterglow, gain, seed)


def displacements(drawn: DrawnScan, index: int, rows: int) -> tuple[Real, Real]:
    """Return how far from its nominal position on the specimen each row of an image is scanned.

    Args:
        drawn: the drawn errors of the series
        index: index of the image in its series
        rows: number of rows of the image

    Returns:
        dy and dx, each (row,) [nm]: pixel (i, j) shows the specimen at (y_i + dy_i, x_j + dx_i).
    """
    time = (np.arange(rows) - (rows - 1) / 2) / max(rows - 1, 1)
    way = drawn.shift[index].astype(float) + time[:, None] * drawn.drift[index].astype(float)
    dy, dx = (drawn.jitter * image_generator(drawn.seed, index, JITTER).standard_normal((rows, 2)) - way).T
    return dy, dx


def flicker(drawn: DrawnScan, index: int, rows: int) -> Real:
    """Return the gain of each row of an image: the exponential of normal numbers, with mean 1.

    Args:
        drawn: the drawn errors of the series
        index: index of the image in its series
        rows: number of rows of the image

    Returns:
        Positive gains (row,), whose standard deviation is `drawn.flicker`.
    """
    variance = log(1 + drawn.flicker**2)  # of the logarithm
    normal = image_generator(drawn.seed, index, FLICKER).standard_normal(rows)
    gains: Real = np.exp(variance**0.5 * normal - variance / 2)
    return gains


def smear(image: NDArray[np.float32], afterglow: float) -> NDArray[np.float32]:
    """Return an image whose rows are seen by a detector that fades exponentially, such as a scintillator.

        out_j = a out_(j-1) + (1 - a) image_j,   a = exp(-1 / afterglow),   out_(-1) = 0

    The sum of a row is conserved, apart from what fades after its last pixel. Noise that was white becomes correlated
    along rows: exp(-k / afterglow) between pixels at a distance of k.

    Args:
        image: (..., y, x); pixels are scanned from left to right, and each row starts in the dark
        afterglow: decay length [pixel]; 0 returns the image itself
    """
    if not afterglow:
        return image
    share = exp(-1 / afterglow)
    out, glow = np.empty_like(image), np.zeros(image.shape[:-1])
    for column in range(image.shape[-1]):
        glow = share * glow + (1 - share) * image[..., column]
        out[..., column] = glow
    return out
