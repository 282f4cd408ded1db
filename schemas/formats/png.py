"""PNG: 8-bit grey for the eye. black and white of the scale are written down beside the pictures."""

import io

import numpy as np
from PIL import Image

NAME = "PNG"
SUFFIX = ".png"


def grey(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """round(255 (v - low) / (high - low)), cut at 0 and 255; 0 where low = high.

    >>> grey(np.array([-3.0, 0.0, 9.0]), -3.0, 3.0).tolist()
    [0, 128, 255]
    """
    span = high - low if high > low else 1.0
    return np.rint(255 * np.clip((values.astype(float) - low) / span, 0, 1)).astype(np.uint8)


def write(values: np.ndarray, low: float, high: float) -> bytes:
    """One image."""
    file = io.BytesIO()
    Image.fromarray(grey(np.atleast_2d(values), low, high)).save(file, format="PNG", optimize=True)
    return file.getvalue()
