"""The part of an object that a pattern of a focused probe reveals: where the probe is bright, enlarged.

It is the central region of n/4 x n/4 pixels of a patch of n x n pixels, where n is a multiple of 4. Each of its pixels
becomes 4 x 4 pixels, as in deep-phase-imaging. The targets therefore have n x n pixels again.
The probe has its origin at pixel N//2 of the patch, which becomes the 4 pixels from `first_origin_pixel(n)` on, along
each axis.
"""

import numpy as np

from physics.diffraction import crop_middle
from physics.probe import illuminated

ENLARGEMENT = 4  # pixels of a target per pixel of the object, along each side


def enlarge_middle(patch: np.ndarray) -> np.ndarray:
    """Return the central n/4 x n/4 pixels of patches (..., n, n), each repeated along both axes: (..., n, n)."""
    return repeat_pixels(crop_middle(patch, central_shape(patch.shape[-1])))


def repeat_pixels(image: np.ndarray) -> np.ndarray:
    """Repeat each pixel of (..., y, x) ENLARGEMENT times along both axes."""
    return image.repeat(ENLARGEMENT, axis=-2).repeat(ENLARGEMENT, axis=-1)


def central_shape(n: int) -> tuple[int, int]:
    """Return the shape (n/4, n/4) of the central region of a patch of n x n pixels."""
    return n // ENLARGEMENT, n // ENLARGEMENT


def pixel_offsets(n: int) -> np.ndarray:
    """Return the positions of the pixels of the central region along one axis, relative to the probe's origin.

    Args:
        n: pixels of the patch along one side.

    Returns:
        (n // 4,), in pixels of the object.
    """
    size = central_shape(n)[0]
    return np.arange(size) - size // 2


def first_origin_pixel(n: int) -> int:
    """Return the first pixel of the enlarged central region that shows the object at the probe's origin."""
    return ENLARGEMENT * (central_shape(n)[0] // 2)


def illuminated_mask(probe: np.ndarray) -> np.ndarray:
    """Return 1 where the probe (n, n) is bright, else 0, enlarged: (n, n) float32."""
    return enlarge_middle(illuminated(probe)).astype(np.float32)
