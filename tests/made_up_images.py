"""Images made up for tests of methods that remove background and noise: a disc of atoms, and smooth backgrounds."""

import numpy as np
from scipy import ndimage


def disc_of_atoms(
    shape: tuple[int, int], diameter: float, spacing: float = 8.0, turn: float = 0.3
) -> tuple[np.ndarray, np.ndarray]:
    """Return an image with the maximum 1 of a square lattice of Gaussians in a disc, and the mask of the disc."""
    middle = [(n - 1) / 2 for n in shape]
    steps = np.arange(-shape[0] - shape[1], shape[0] + shape[1] + 1) * spacing
    row, column = (one.ravel() for one in np.meshgrid(steps, steps, indexing="ij"))
    y, x = np.cos(turn) * row - np.sin(turn) * column, np.sin(turn) * row + np.cos(turn) * column
    near = np.hypot(y, x) < diameter / 2
    image = np.zeros(shape)
    np.add.at(image, tuple(np.round(p[near] + m).astype(int) for p, m in zip((y, x), middle, strict=True)), 1)
    image = ndimage.gaussian_filter(image, 1.5, mode="constant")
    distance = np.hypot(*(np.indices(shape) - np.reshape(middle, (2, 1, 1))))
    return image / image.max(), distance <= diameter / 2


def smooth_background(shape: tuple[int, int], width: float, seed: int = 0, height: float = 0.18) -> np.ndarray:
    """Return noise behind a Gaussian filter, from 0 to `height`."""
    image: np.ndarray = ndimage.gaussian_filter(np.random.default_rng(seed).random(shape), width)
    scaled: np.ndarray = height * (image - image.min()) / np.ptp(image)
    return scaled


def count(image: np.ndarray, electrons: float, seed: int = 0) -> np.ndarray:
    """Return the image that these electrons per pixel of the value 1 give; 0: without noise."""
    return np.random.default_rng(seed).poisson(image * electrons) / electrons if electrons else image


def psnr(found: np.ndarray, exact: np.ndarray) -> float:
    """Peak signal-to-noise ratio [dB] relative to the range of the exact image."""
    return float(10 * np.log10(np.ptp(exact) ** 2 / np.mean((found - exact) ** 2)))
