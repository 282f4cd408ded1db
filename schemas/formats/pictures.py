"""Writers of PNG and GIF files: 8-bit grey images to look at. The values of black and white are in export.json."""

import io

import numpy as np
from PIL import Image

FRAME_MILLISECONDS = 100  # time for which an animation shows each image
_COLOURS = ((0, 0, 0), (0, 114, 178), (230, 159, 0), (0, 158, 115), (204, 121, 167), (86, 180, 233), (213, 94, 0))
PALETTE = [part for label in range(256) for part in _COLOURS[label % len(_COLOURS)]]  # colours repeat


def grey(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """Return round(255 (v - low) / (high - low)), clipped to 0 and 255; 0 where low = high.

    >>> grey(np.array([-3.0, 0.0, 9.0]), -3.0, 3.0).tolist()
    [0, 128, 255]
    """
    span = high - low if high > low else 1.0
    return np.rint(255 * np.clip((values.astype(float) - low) / span, 0, 1)).astype(np.uint8)


def png(values: np.ndarray, limits: tuple[float, float] | None) -> bytes:
    """Return one image as a PNG file.

    Args:
        values: the image.
        limits: values that become black and white; None: the values are labels, shown in colours of a palette.
    """
    file = io.BytesIO()
    _draw(values, limits).save(file, format="PNG", optimize=True)
    return file.getvalue()


def gif(values: np.ndarray, limits: tuple[float, float] | None) -> bytes:
    """Return a stack of images as an animated GIF file, which repeats for ever.

    An image that equals the one before it is shown for longer, instead of twice.

    Args:
        values: (..., y, x); all leading axes become frames.
        limits: as for `png`.
    """
    stack = np.atleast_2d(values)
    frames = [_draw(one, limits) for one in stack.reshape(-1, *stack.shape[-2:])]
    file = io.BytesIO()
    options = {"duration": FRAME_MILLISECONDS, "loop": 0, "optimize": False}
    frames[0].save(file, format="GIF", save_all=True, append_images=frames[1:], **options)
    return file.getvalue()


def _draw(values: np.ndarray, limits: tuple[float, float] | None) -> Image.Image:
    if limits:
        return Image.fromarray(grey(np.atleast_2d(values), *limits))
    image = Image.fromarray(np.atleast_2d(values).astype(np.uint8), mode="P")
    image.putpalette(PALETTE)
    return image
