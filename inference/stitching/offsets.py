"""Find the constants of patches for which all overlaps agree best, by least squares and conjugate gradients.

    minimum over o, u of  sum_i sum_x w_i(x) (a_i(x) + o_i - u(x))^2

For given offsets o_i, the image u is the weighted mean of a_i + o_i. Eliminating it gives (physics.stitching_kernels),
with W = sum_i w_i,

    (diag(sum_x w_i) - collect(spread(.) / W)) o = collect(m) - sum_x w_i a_i,   m = sum_i w_i a_i / W
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import scipy.fft
from scipy.sparse.linalg import LinearOperator, cg

from inference.stitching.patches import Patches
from physics import stitching_kernels

OFFSET_ACCURACY = (
    1e-9  # rms accuracy of offsets [rad], limited by the steps of the integers in `stitching_kernels.accumulate`
)


@dataclass(frozen=True)
class LeastSquares:
    """Stitching by the offsets for which all overlaps agree best."""

    tolerance: float = 1e-7  # residual of the linear system at which it is solved, relative to its right side
    steps: int = 500  # maximum number of steps of conjugate gradients


def solve_offsets(
    sums: np.ndarray, mean: np.ndarray, inverse: np.ndarray, patches: Patches, member: np.ndarray, method: LeastSquares
) -> tuple[np.ndarray, float]:
    """Return the offsets of patches, and the residual of their linear system divided by its residual without offsets.

    Args:
        sums: sum_x w_i a_i of each patch, (patch,).
        mean: m, the weighted mean of the patches without offsets, (y, x).
        inverse: 1 / W, 0 where no patch has weight, (y, x).
        patches: places in the image and weights of the patches.
        member: component of each patch, from 0, (patch,).
        method: tolerance and number of steps.

    Returns:
        The offsets (patch,), whose mean is 0 in each component, and the relative residual.
    """
    mass, blended = patches.mass, np.empty_like(mean)
    right = _subtract_means(stitching_kernels.collect(mean, patches.weight, patches.corner) - sums, member)

    def overlaps(offset: np.ndarray) -> np.ndarray:
        blended.fill(0)
        stitching_kernels.spread(offset, patches.weight, patches.corner, blended)
        np.multiply(blended, inverse, out=blended)
        coupled: np.ndarray = mass * offset - stitching_kernels.collect(blended, patches.weight, patches.corner)
        return coupled

    shape = (len(mass), len(mass))
    matrix, nearly = (
        LinearOperator(shape, matvec=product, dtype=float) for product in (overlaps, _preconditioner(patches))
    )
    floor = OFFSET_ACCURACY * float(np.linalg.norm(mass))
    offset, _ = cg(matrix, right, rtol=method.tolerance, atol=floor, maxiter=method.steps, M=nearly)
    left = np.linalg.norm(right - matrix @ offset) / max(np.linalg.norm(right), floor)
    return _subtract_means(offset, member), float(left)


def _preconditioner(patches: Patches) -> Callable[[np.ndarray], np.ndarray]:
    """Return a preconditioner: the inverse of the matrix for evenly spread patches, where it is exact for long waves.

    For evenly spread patches of mass d = sum_x w, the matrix multiplies a wave of offsets with frequency k [rad/pixel]
    by d (1 - s), where v are the variances of y and x under w:

        s(k) = |FT(w) / d|^2 ~ exp(-v_y k_y^2 - v_x k_x^2),   1 / (1 - s) = 1 + s / (1 - s)

    The second term of the inverse is applied by a cosine transform, because offsets have no slope across the border.
    Its cells are as wide as sqrt(v): at the shortest wave that they hold, s = exp(-pi^2).
    """
    variance = _variances(patches.weight.mean(axis=0, dtype=np.float64))
    cell = np.maximum(np.sqrt(variance).astype(int), 1)
    cells = (patches.corner - patches.corner.min(axis=0)) // cell
    ny, nx = (int(n) + 1 for n in cells.max(axis=0))
    index = cells[:, 0] * nx + cells[:, 1]
    mass = patches.mass
    filtered = _wave_gain(variance / cell**2, (ny, nx)) * (ny * nx / mass.sum())

    def inverse(right: np.ndarray) -> np.ndarray:
        image = np.bincount(index, right, ny * nx).reshape(ny, nx)
        waves = scipy.fft.idctn(filtered * scipy.fft.dctn(image, norm="ortho"), norm="ortho")
        solution: np.ndarray = right / mass + waves.ravel()[index]
        return solution

    return inverse


def _variances(weight: np.ndarray) -> np.ndarray:
    """Return the variances of y and x under a weight (y, x)."""
    along = [weight.sum(axis=axis) / weight.sum() for axis in (1, 0)]
    places = [np.arange(len(share)) for share in along]
    return np.array([share @ x**2 - (share @ x) ** 2 for share, x in zip(along, places, strict=True)])


def _wave_gain(variance: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Return s / (1 - s) at the frequencies of a cosine transform; 0 for the constant. variance: in cells squared."""
    fy, fx = (np.pi * np.arange(n) / n for n in shape)
    exponent = variance[0] * fy[:, None] ** 2 + variance[1] * fx**2
    gain: np.ndarray = np.divide(1.0, np.expm1(exponent), out=np.zeros(shape), where=exponent > 0)
    return gain


def _subtract_means(values: np.ndarray, member: np.ndarray) -> np.ndarray:
    """Subtract the mean of each component."""
    mean = np.bincount(member, values) / np.bincount(member)
    centred: np.ndarray = values - mean[member]
    return centred
