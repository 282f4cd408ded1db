"""Denoisers of single images, and the scale in which the noise of an image has the variance 1.

Counts are brought into this scale by an Anscombe transform (`physics.anscombe`), other images by dividing them by an
estimate of their noise. There, a denoiser needs one number: the strength, the standard deviation of the noise that it
removes.
"""

import importlib
from collections.abc import Callable

import numpy as np

from physics.anscombe import restore, stabilise
from schemas.runtime.errors import UserError

PATCH = 7  # width [pixel] of the surroundings that non-local means compare
SEARCH = 9  # largest distance [pixel] along each axis between pixels that they compare
CUTOFF = 0.8  # root of the mean squared difference at which a weight is 1/e, relative to the noise that is removed
FILTERED_RANGE = (0.15, 0.85)  # to which images are scaled for BM3D, whose parameters suit images from 0 to 1
NORMAL_QUARTILE = 0.6745  # median of |g|, g standard normal

type Denoise = Callable[[np.ndarray, float], np.ndarray]  # function of an image (y, x) and a strength


def denoise_counts(image: np.ndarray, scale: float, method: Denoise, strength: float, read_noise: float) -> np.ndarray:
    """Denoise an image of counts behind an Anscombe transform.

    Args:
        image: (y, x).
        scale: counts of the value 1.
        method: the denoiser.
        strength: standard deviation of the noise that is removed, relative to that of the transformed counts.
        read_noise: standard deviation of the noise that is independent of the signal [count].
    """
    stable = stabilise(image * scale, read_noise)
    denoised: np.ndarray = restore(method(stable, strength), read_noise) / scale
    return denoised


def denoise_values(image: np.ndarray, method: Denoise, strength: float) -> np.ndarray:
    """Denoise an image whose noise is the same everywhere, and not known.

    Args:
        image: (y, x).
        method: the denoiser.
        strength: standard deviation of the noise that is removed, relative to `noise_deviation`.
    """
    deviation = noise_deviation(image) or 1.0
    return method(image / deviation, strength) * deviation


def noise_deviation(image: np.ndarray) -> float:
    """Estimate the standard deviation of white noise by the second differences across pixels of two by two.

        s = median |a - b - c + d| / (2 * 0.6745)

    Planes do not count, and few edges hardly do.

    Args:
        image: (y, x), at least two pixels wide and high.
    """
    across = np.diff(np.diff(np.asarray(image, float), axis=0), axis=1)
    return float(np.median(abs(across))) / (2 * NORMAL_QUARTILE)


def non_local_means(image: np.ndarray, strength: float) -> np.ndarray:
    """Average pixels whose surroundings are alike (Buades, Coll and Morel 2005), by scikit-image.

    Args:
        image: (y, x) with noise of variance 1.
        strength: standard deviation of the noise that is removed.
    """
    from skimage.restoration import denoise_nl_means  # slow to import

    averaged: np.ndarray = denoise_nl_means(
        image, patch_size=PATCH, patch_distance=SEARCH, sigma=strength, h=CUTOFF * strength, preserve_range=True
    )
    return averaged


def total_variation(image: np.ndarray, strength: float) -> np.ndarray:
    """Reduce the total variation (Chambolle, J. Math. Imaging Vis. 20 (2004) 89), by scikit-image.

        min over u of |u - image|^2 / 2 + strength sum |grad u|

    Args:
        image: (y, x) with noise of variance 1.
        strength: weight of the total variation.
    """
    from skimage.restoration import denoise_tv_chambolle  # slow to import

    smooth: np.ndarray = denoise_tv_chambolle(image, weight=strength)  # type: ignore[no-untyped-call]
    return smooth


def block_matching(image: np.ndarray, strength: float) -> np.ndarray:
    """Filter groups of similar blocks in three dimensions (BM3D: Dabov et al. 2007), by the package `bm3d`.

    Args:
        image: (y, x) with noise of variance 1.
        strength: standard deviation of the noise that is removed.

    Raises:
        UserError: the package is not installed.
    """
    try:
        package = importlib.import_module("bm3d")
    except ModuleNotFoundError:
        raise UserError(
            "bm3d: needs the package bm3d, which is not installed and is free for non-commercial use only: "
            "pip install 'drybeam[bm3d]'"
        ) from None
    low, high = image.min(), image.max()
    scale = (FILTERED_RANGE[1] - FILTERED_RANGE[0]) / max(high - low, 1.0)
    filtered = package.bm3d((image - low) * scale + FILTERED_RANGE[0], strength * scale)
    restored: np.ndarray = (filtered - FILTERED_RANGE[0]) / scale + low
    return restored
