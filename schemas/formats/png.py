"""Writer of PNG files: 8-bit grey images to look at. The values of black and white are written to export.json."""

import io

import numpy as np
from PIL import Image

NAME = "PNG"
SUFFIX = ".png"
_COLOURS = ((0, 0, 0), (0, 114, 178), (230, 159, 0), (0, 158, 115), (204, 121, 167), (86, 180, 233), (213, 94, 0))
PALETTE = [part for label in range(256) for part in _COLOURS[label % len(_COLOURS)]]  # colours repeat


def grey(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """Return round(255 (v - low) / (high - low)), clipped to 0 and 255; 0 where low = high.

    >>> grey(np.array([-3.0, 0.0, 9.0]), -3.0, 3.0).tolist()
    [0, 128, 255]
    """
    span = high - low if high > low else 1.0
    return np.rint(255 * np.clip((values.astype(float) - low) / span, 0, 1)).astype(np.uint8)


def write(values: np.ndarray, low: float, high: float) -> bytes:
    """Return one image as a PNG file.

    Args:
        values: the image.
        low: value that becomes black.
        high: value that becomes white.
    """
    return _encode_png(Image.fromarray(grey(np.atleast_2d(values), low, high)))


def labels(values: np.ndarray) -> bytes:
    """Return one image of classes as a PNG file.

    Its pixel values are the labels themselves, shown in colours of a palette.
    """
    image = Image.fromarray(np.atleast_2d(values).astype(np.uint8), mode="P")
    image.putpalette(PALETTE)
    return _encode_png(image)


def _encode_png(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, format="PNG", optimize=True)
    return file.getvalue()
