"""Coarse images from fine ones: a point spread, then integration over the pixels of a coarse detector.

    low = R high C^T,   R_ij = 1/k  int over coarse pixel i dx  int over fine pixel j dx'  g(x - x')

A fine image has one value in each of its pixels. Lengths are in fine pixels. Both grids have the same outer edges:
along an axis, N fine pixels are as long as M coarse ones, and k = N / M need not be whole. g is a Gaussian of the
standard deviation s; for s = 0 it is a point, and R_ij is the share of the coarse pixel that lies in the fine one. In
closed form, with the edges a and b of pixels,

    R_ij = [G(b_i - a_j) - G(b_i - b_j) - G(a_i - a_j) + G(a_i - b_j)] / k
    G(t) = t Phi(t/s) + s phi(t/s),   for s = 0: max(t, 0)

where phi and Phi are density and distribution of the normal law. Beyond its edges the image goes on as its mirror
image. Then every row of R sums to 1, so that a constant stays a constant, and every column to 1/k: what a fine pixel
holds is neither lost nor doubled, and the mean of an image stays. For k = 1 and s = 0, R is the identity.
"""

from functools import lru_cache

import numpy as np
from scipy import sparse
from scipy.special import ndtr

from physics.arrays import Array

REACH = 9.0  # standard deviations beyond which G(t) equals max(t, 0) in float64
SMALLEST = 1e-14  # smaller elements are errors of rounding


@lru_cache(maxsize=256)
def integration_matrix(fine: int, coarse: int, spread: float = 0.0) -> sparse.csr_array:
    """Matrix R (coarse, fine) of one axis. The same matrix is returned again; do not change it.

    Args:
        fine: N, number of fine pixels.
        coarse: M, number of coarse pixels, at most N.
        spread: s [fine pixel], standard deviation of the Gaussian point spread; 0: none.

    Raises:
        ValueError: if there are more coarse pixels than fine ones, or none, or the spread is negative or NaN.
    """
    if not 1 <= coarse <= fine or not spread >= 0:
        raise ValueError(f"{coarse} coarse of {fine} fine pixels, spread {spread}: need 1 to {fine}, and 0 or more")
    ratio = fine / coarse
    start, end = ratio * np.arange(coarse)[:, None], ratio * np.arange(1, coarse + 1)[:, None]
    first = np.floor(start - REACH * spread).astype(int)
    column = first + np.arange(int(np.ceil(ratio + 2 * REACH * spread)) + 2)
    values = _moment(end - column, spread) - _moment(end - column - 1, spread)
    values -= _moment(start - column, spread) - _moment(start - column - 1, spread)
    values /= ratio
    wrapped = column % (2 * fine)  # the image and its mirror image repeat after 2 N
    folded = np.minimum(wrapped, 2 * fine - 1 - wrapped)
    kept = values > SMALLEST
    row = np.broadcast_to(np.arange(coarse)[:, None], values.shape)
    return sparse.coo_array((values[kept], (row[kept], folded[kept])), (coarse, fine)).tocsr()


def _moment(distance: Array, spread: float) -> Array:
    """Return G(t)."""
    if not spread:
        return np.maximum(distance, 0)
    scaled = distance / spread
    density = np.exp(-(scaled**2) / 2) / np.sqrt(2 * np.pi)
    return distance * ndtr(scaled) + spread * density


def integrate_pixels(image: Array, shape: tuple[int, int], spread: float = 0.0) -> Array:
    """Return coarse images R high C^T, of the dtype of `image`.

    Args:
        image: high (..., y, x), NumPy.
        shape: pixels (y, x) of the coarse images.
        spread: s [fine pixel].

    Raises:
        ValueError: as for `integration_matrix`.
    """
    rows, columns = (integration_matrix(n, m, spread) for n, m in zip(image.shape[-2:], shape, strict=True))
    return _apply(rows, columns, image)


def distribute_pixels(image: Array, shape: tuple[int, int], spread: float = 0.0) -> Array:
    """Apply the adjoint of `integrate_pixels`: fine images R^T low C.

    Args:
        image: low (..., y, x), NumPy.
        shape: pixels (y, x) of the fine images.
        spread: s [fine pixel].

    Raises:
        ValueError: as for `integration_matrix`.
    """
    rows, columns = (integration_matrix(n, m, spread).T.tocsr() for n, m in zip(shape, image.shape[-2:], strict=True))
    return _apply(rows, columns, image)


def _apply(rows: sparse.csr_array, columns: sparse.csr_array, image: Array) -> Array:
    """Multiply each image with a matrix on each side. The bits of an image do not depend on the others."""
    flat = image.reshape(-1, *image.shape[-2:])
    made = np.empty((len(flat), rows.shape[0], columns.shape[0]), image.dtype)
    for one, out in zip(flat, made, strict=True):
        out[:] = (columns @ (rows @ one).T).T
    return made.reshape(*image.shape[:-2], *made.shape[1:])
