"""Enlargement of images to a finer grid with the same outer edges, by any factor."""

from typing import Literal

import numpy as np
from scipy.ndimage import zoom

from physics.pixel_integration import integrate_pixels


def fine_shape(coarse: tuple[int, ...], factor: np.ndarray) -> tuple[int, int]:
    """Return the pixels (y, x) of fine images.

    Args:
        coarse: pixels (y, x) of the coarse images.
        factor: (sample,): width of a coarse pixel divided by that of a fine one; the same for all samples.
    """
    height, width = (round(n * float(factor[0])) for n in coarse)
    return height, width


def enlarge_by_splines(images: np.ndarray, shape: tuple[int, int], order: Literal[1, 3] = 3) -> np.ndarray:
    """Interpolate by splines through the values in the middles of coarse pixels, by SciPy.

    Args:
        images: (..., y, x).
        shape: pixels (y, x) of the result.
        order: order of the spline: 1 (linear) or 3, which is called bicubic.

    Returns:
        (..., y, x), float64.
    """
    flat = np.asarray(images, float).reshape(-1, *images.shape[-2:])
    factors = [fine / coarse for fine, coarse in zip(shape, images.shape[-2:], strict=True)]
    made = np.stack([zoom(image, factors, order=order, mode="reflect", grid_mode=True) for image in flat])
    return made.reshape(*images.shape[:-2], *shape)


def enlarge_by_lanczos(images: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Interpolate by a windowed sinc of three lobes (Lanczos), by Pillow.

    Args:
        images: (..., y, x).
        shape: pixels (y, x) of the result.

    Returns:
        (..., y, x), float32.
    """
    from PIL import Image

    flat = np.ascontiguousarray(images, np.float32).reshape(-1, *images.shape[-2:])
    made = [np.asarray(Image.fromarray(image).resize(shape[::-1], Image.Resampling.LANCZOS)) for image in flat]
    return np.stack(made).reshape(*images.shape[:-2], *shape)


def project_back(images: np.ndarray, low: np.ndarray, spread: float, iterations: int) -> np.ndarray:
    """Add what simulated coarse images lack, enlarged, again and again (Irani and Peleg 1991).

        high <- high + enlarge(low - instrument(high))

    Args:
        images: high (..., y, x), to begin with.
        low: measured coarse images, (..., ylow, xlow).
        spread: standard deviation of the Gaussian point spread of the instrument [fine pixel].
        iterations: number of iterations.
    """
    fine, coarse = ((one.shape[-2], one.shape[-1]) for one in (images, low))
    for _ in range(iterations):
        images = images + enlarge_by_splines(low - integrate_pixels(images, coarse, spread), fine)
    return images
