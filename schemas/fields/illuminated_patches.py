"""What a pattern of a focused probe tells of the object: the part of it where the probe is bright, enlarged.

Of a patch of n pixels along each side, n a multiple of 4, the middle quarter; each of its pixels becomes 4 x 4. So the
targets have n pixels again, 4 of them to one of the object, as those of deep-phase-imaging. Pixel N//2 of the patch,
where the probe has its origin, becomes the 4 pixels from `first(n)` on.
"""

import numpy as np

from physics.diffraction import middle
from physics.probe import illuminated

ENLARGED = 4  # pixels to one of the object, along each side


def enlarged(patch: np.ndarray) -> np.ndarray:
    """The middle quarter of patches (..., n, n), each pixel repeated along both axes: (..., n, n)."""
    return repeated(middle(patch, quarter(patch.shape[-1])))


def repeated(image: np.ndarray) -> np.ndarray:
    """Each pixel of (..., y, x) ENLARGED times along both axes."""
    return image.repeat(ENLARGED, axis=-2).repeat(ENLARGED, axis=-1)


def quarter(n: int) -> tuple[int, int]:
    """Shape of the middle quarter of a patch of n pixels."""
    return n // ENLARGED, n // ENLARGED


def offsets(n: int) -> np.ndarray:
    """Pixels of the middle quarter, along one axis, from the origin of the probe [pixel of the object]."""
    size = quarter(n)[0]
    return np.arange(size) - size // 2


def first(n: int) -> int:
    """The first of the pixels of an enlarged quarter that show the pixel at the origin of the probe."""
    return ENLARGED * (quarter(n)[0] // 2)


def mask(probe: np.ndarray) -> np.ndarray:
    """1 where the probe (n, n) is bright, enlarged: (n, n) float32."""
    return enlarged(illuminated(probe)).astype(np.float32)
