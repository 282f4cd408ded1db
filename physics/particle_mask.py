"""Mask of a particle in an image, found without knowing anything of it, for atoms that are resolved and for others.

NumPy only, because the filters are those of SciPy and scikit-image. Images do not depend on one another.
"""

import math

import numpy as np
from scipy import ndimage

from physics.arrays import Array, Real
from physics.background import parabolic_opening

SMOOTHING = (
    3.0  # standard deviation [pixel] of the Gaussian behind which the particle is brighter than its surroundings
)
FLATTENING = 40  # radius [pixel] of the paraboloid that follows the background
BEFORE_FLATTENING = 2.0  # standard deviation [pixel] of the Gaussian that keeps noise from pushing it down
THRESHOLD_SHARE = 0.6  # of Otsu's threshold: the rim of a sphere is dark
MIN_AREA = 0.01  # smallest area of a part of the particle, relative to the image
MIN_PART = 0.1  # the same, relative to its largest part
MIN_DETAIL = 0.015  # smallest difference between an image of a particle and a smooth image, relative to its range
DETAIL = 1.5  # standard deviation [pixel] of the Gaussian that makes it smooth
MIN_CONTRAST = 3.0  # smallest contrast of a particle, relative to the noise behind the first Gaussian


def find_particle(image: Array) -> Array:
    """Find the pixels of a bright particle that touches no edge of the image.

    Smoothed, minus an opening that follows its background, the image is compared with a share of the threshold of Otsu
    (1979). The particle is the largest connected area and others of similar size, without their holes. The image holds
    no particle if all of it is smooth, or if the area is hardly brighter than the noise.

    Args:
        image: (..., y, x), in any unit.

    Returns:
        Mask (..., y, x), bool; without a particle, it is False everywhere.
    """
    mask = np.zeros(image.shape, bool)
    for index in np.ndindex(image.shape[:-2]):
        mask[index] = _find(np.asarray(image[index], float))
    return mask


def distance_to(mask: Array) -> Real:
    """Return the distance [pixel] of each pixel to the nearest one of the mask; infinite if the mask is empty.

    A mask that is dilated by a disc of the radius r holds the pixels at a distance of at most r.

    Args:
        mask: (..., y, x), bool.

    Returns:
        Distances (..., y, x), float64.
    """
    distance = np.full(mask.shape, math.inf)
    for index in np.ndindex(mask.shape[:-2]):
        if mask[index].any():
            distance[index] = ndimage.distance_transform_edt(~mask[index])
    return distance


def _find(image: Real) -> Array:
    """Return the mask of one image (y, x)."""
    if not abs(image - ndimage.gaussian_filter(image, DETAIL)).max() > MIN_DETAIL * np.ptp(image):
        return np.zeros(image.shape, bool)
    bright = _flatten(image)
    mask = _large_parts(bright > THRESHOLD_SHARE * _otsu(bright))
    return mask if _is_visible(image, bright, mask) else np.zeros_like(mask)


def _flatten(image: Real) -> Real:
    """Return the smooth image without its background, not negative."""
    below = parabolic_opening(ndimage.gaussian_filter(image, BEFORE_FLATTENING), FLATTENING)
    flat: Real = np.maximum(ndimage.gaussian_filter(image - below, SMOOTHING), 0)
    return flat


def _otsu(image: Real) -> float:
    from skimage.filters import threshold_otsu  # slow to import

    return float(threshold_otsu(image)) if np.ptp(image) > 0 else math.inf  # type: ignore[no-untyped-call]


def _large_parts(mask: Array) -> Array:
    """Return the large connected areas of a mask (y, x), without holes."""
    parts, count = ndimage.label(mask)
    if not count:
        return mask
    areas = ndimage.sum_labels(mask, parts, np.arange(1, count + 1))
    large = np.flatnonzero(areas >= max(MIN_PART * areas.max(), MIN_AREA * mask.size)) + 1
    return ndimage.binary_fill_holes(np.isin(parts, large))


def _is_visible(image: Real, bright: Real, mask: Array) -> bool:
    """Return True if the pixels of the mask are brighter than the others, compared with the noise of these.

    White noise of variance v has the variance v / (4 pi s^2) behind a Gaussian of standard deviation s, and v (1 - 2 /
    (2 pi t^2) + 1 / (4 pi t^2)) if the image behind a Gaussian of standard deviation t is subtracted.
    """
    if not mask.any() or mask.all():
        return False
    rough = (image - ndimage.gaussian_filter(image, 1.0))[~mask]
    noise = rough.std() / math.sqrt(1 - 3 / (4 * math.pi)) / math.sqrt(4 * math.pi * SMOOTHING**2)
    return bool(bright[mask].mean() - bright[~mask].mean() > MIN_CONTRAST * noise)
