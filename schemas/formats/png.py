"""PNG: 8-bit grey for the eye. black and white of the scale are written down beside the pictures."""

import io

import numpy as np
from PIL import Image

NAME = "PNG"
SUFFIX = ".png"
_COLOURS = ((0, 0, 0), (0, 114, 178), (230, 159, 0), (0, 158, 115), (204, 121, 167), (86, 180, 233), (213, 94, 0))
PALETTE = [part for label in range(256) for part in _COLOURS[label % len(_COLOURS)]]  # Okabe and Ito's, again and again


def grey(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """round(255 (v - low) / (high - low)), cut at 0 and 255; 0 where low = high.

    >>> grey(np.array([-3.0, 0.0, 9.0]), -3.0, 3.0).tolist()
    [0, 128, 255]
    """
    span = high - low if high > low else 1.0
    return np.rint(255 * np.clip((values.astype(float) - low) / span, 0, 1)).astype(np.uint8)


def write(values: np.ndarray, low: float, high: float) -> bytes:
    """Encode one image."""
    return _encoded(Image.fromarray(grey(np.atleast_2d(values), low, high)))


def labels(values: np.ndarray) -> bytes:
    """Encode one image of classes: its pixels are the labels themselves, drawn in colours of a palette."""
    image = Image.fromarray(np.atleast_2d(values).astype(np.uint8), mode="P")
    image.putpalette(PALETTE)
    return _encoded(image)


def _encoded(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, format="PNG", optimize=True)
    return file.getvalue()
