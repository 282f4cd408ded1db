"""Images from sinograms by iteration, for any linear operator A without negative weights (`Projector`).

    sirt               f <- P[ f + C A* R W' (p - A f) ],  R = 1 / A 1,  C = 1 / A* W'
    cgls               conjugate gradients for min |p - A f|^2_W
    total_variation    min over f in P of |p - A f|^2_W / 2 + weight sum |grad f|

P is what is known of f: f >= 0, and f = 0 outside of a support. W is the statistical weight of each ray, 0 where it was
not measured; W' is 1 where W > 0. Total variation is minimised by a primal-dual iteration with diagonal steps,
which need no norm of A. |grad f| is the length of the vector of forward differences.

Gregor and Benson, IEEE Trans. Med. Imaging 27 (2008) 918 (sirt); Hestenes and Stiefel, J. Res. Natl. Bur. Stand. 49
(1952) 409 (cgls); Chambolle and Pock, J. Math. Imaging Vis. 40 (2011) 120, with the steps of Pock and Chambolle, Proc.
Int. Conf. Computer Vision 2011, 1762 (total_variation).

All iterations begin with f = 0, unless another start is given. Each image of a block is computed on its own, so results
do not depend on the block.
NumPy only.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from physics.arrays import Array, pixel_sum


@dataclass(frozen=True)
class Projector:
    """The operator and its adjoint, for images (..., y, x) and sinograms (..., view, detector)."""

    forward: Callable[[Array], Array]
    adjoint: Callable[[Array], Array]
    weights: Array = None  # W >= 0 (..., view, detector); None: 1


@dataclass(frozen=True)
class Known:
    """Constraints that the image is known to obey."""

    positive: bool = False  # f >= 0
    support: Array = None  # bool (..., y, x): f is 0 elsewhere

    def __call__(self, image: Array) -> Array:
        """Return the nearest image that agrees with what is known."""
        image = np.maximum(image, 0) if self.positive else image
        return image if self.support is None else np.where(self.support, image, 0)


NOTHING = Known()


def sirt(
    sinogram: Array, projector: Projector, iterations: int, known: Known = NOTHING, relaxation: float = 1.0
) -> Array:
    """Reconstruct by the simultaneous iterative reconstruction technique.

    Args:
        sinogram: p (..., view, detector).
        projector: A, A* and W, of which only W > 0 matters.
        iterations: number of iterations.
        known: the constraints, applied after each iteration.
        relaxation: factor of each step, above 0 and below 2.

    Returns:
        f (..., y, x).
    """
    counted = (_weights(sinogram, projector) > 0).astype(sinogram.dtype)
    columns, rows = _sums(counted, projector)
    row_scale, column_scale = _quotient(counted, rows), _quotient(np.ones_like(columns), columns)
    image = np.zeros_like(columns)
    for _ in range(iterations):
        residual = (sinogram - projector.forward(image)) * row_scale
        image = known(image + relaxation * column_scale * projector.adjoint(residual))
    return image


def cgls(sinogram: Array, projector: Projector, iterations: int, known: Known = NOTHING) -> Array:
    """Reconstruct by conjugate gradients for least squares. What is known is applied to the result alone.

    Few iterations regularise, many bring the noise back. Arguments and result are those of `sirt`.
    """
    weights = _weights(sinogram, projector)
    residual = np.array(sinogram)
    gradient = projector.adjoint(residual * weights)
    image, direction, square = np.zeros_like(gradient), gradient, pixel_sum(gradient**2)
    for _ in range(iterations):
        step = projector.forward(direction)
        length = _quotient(square, _sum_by_view(step**2 * weights))
        image, residual = image + length * direction, residual - length * step
        gradient = projector.adjoint(residual * weights)
        square, before = pixel_sum(gradient**2), square
        direction = gradient + _quotient(square, before) * direction
    return known(image)


def _sum_by_view(sinogram: Array) -> Array:
    """Return sums (..., 1, 1) whose bits do not depend on views of zeros, which only other sinograms measured."""
    return np.cumsum(sinogram.sum(axis=-1, keepdims=True), axis=-2)[..., -1:, :]


def total_variation(
    sinogram: Array,
    projector: Projector,
    iterations: int,
    weight: Array,
    known: Known = NOTHING,
    start: Array = None,
) -> Array:
    """Reconstruct with a small total variation.

    Args:
        sinogram: p (..., view, detector).
        projector: A, A* and W.
        iterations: number of iterations.
        weight: of the total variation [unit of W/pixel], a number or an array (..., 1, 1).
        known: the constraints.
        start: f to begin with (..., y, x); None: 0.

    Returns:
        f (..., y, x).
    """
    root = np.sqrt(_weights(sinogram, projector))
    columns, rows = _sums(root, projector)
    dual_step = _quotient(np.ones_like(root), root * rows)
    primal_step = 1 / (columns + 4)  # a column of the gradient has the absolute sum 4 at most, a row 2
    weight = np.asarray(weight, sinogram.dtype)
    image = np.zeros_like(columns) if start is None else start
    ahead, dual, slope = image, np.zeros_like(sinogram), np.zeros((2, *image.shape), image.dtype)
    for _ in range(iterations):
        dual = (dual + dual_step * root * (projector.forward(ahead) - sinogram)) / (1 + dual_step)
        slope = _shorten(slope + gradient_of(ahead) / 2, weight)
        change = projector.adjoint(root * dual) - divergence(slope)
        image, before = known(image - primal_step * change), image
        ahead = 2 * image - before
    return image


def gradient_of(image: Array) -> Array:
    """Forward differences along y and x, (2, ..., y, x); 0 at the last pixels."""
    found = np.zeros((2, *image.shape), image.dtype)
    found[0, ..., :-1, :] = image[..., 1:, :] - image[..., :-1, :]
    found[1, ..., :-1] = image[..., 1:] - image[..., :-1]
    return found


def divergence(field: Array) -> Array:
    """Return minus the adjoint of `gradient_of`, (..., y, x), of a field (2, ..., y, x)."""
    found = np.zeros_like(field[0])
    found[..., :-1, :] += field[0, ..., :-1, :]
    found[..., 1:, :] -= field[0, ..., :-1, :]
    found[..., :-1] += field[1, ..., :-1]
    found[..., 1:] -= field[1, ..., :-1]
    return found


def _shorten(field: Array, longest: Array) -> Array:
    """Shorten the vectors (2, ..., y, x) that are longer than `longest`."""
    length = np.hypot(field[0], field[1])
    return field * (longest / np.maximum(np.maximum(length, longest), np.finfo(field.dtype).tiny))


def _weights(sinogram: Array, projector: Projector) -> Array:
    """Return W (..., view, detector) in the dtype of the sinogram."""
    weights = 1 if projector.weights is None else projector.weights
    return np.broadcast_to(np.asarray(weights, sinogram.dtype), sinogram.shape)


def _sums(rays: Array, projector: Projector) -> tuple[Array, Array]:
    """Return A* of some weights of rays (..., y, x), and A 1 (..., view, detector)."""
    columns = projector.adjoint(rays)
    return columns, projector.forward(np.ones_like(columns))


def _quotient(numerator: Array, denominator: Array) -> Array:
    """Quotient, 0 where the denominator is 0."""
    return np.where(denominator > 0, numerator / np.where(denominator > 0, denominator, 1), 0)
