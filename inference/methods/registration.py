"""Images of a series brought into one frame: turned, magnified and displaced so that they agree with one among them.

    sum_x (I(W(x)) - R(x))^2  least,   W(x) = c + m A(theta) (x - c) + d

c: the centre of pixel N//2. By Gauss and Newton with the derivatives of R, inverse compositional (Baker and Matthews,
Int. J. Comput. Vis. 56 (2004) 221). Periodic, as the solvers are.

Images are compared through a Gaussian wide enough that defocus adds no more than div(I grad phi) to them. That does not
pull W away: for a weak object of one material it is proportional to the Laplacian of R, whose product with each
derivative of R (two displacements, turn and, in two dimensions, magnification) integrates to 0.
"""

from typing import Final

import numpy as np
from scipy import ndimage

from physics.transport_of_intensity import unwindowed

STEPS = 20  # at most
CLOSE = 1e-3  # pixels: steps end below
CLEAR = 1e-4  # relative to the clearest motion: what changes the images less (the turn of a disc) is left as it is
MODE: Final = "grid-wrap"


def register(images: np.ndarray, reference: int, window: np.ndarray, blur: np.ndarray) -> np.ndarray:
    """The series (sample, plane, y, x) in the frame of the plane `reference`, which stays as it is, by cubic splines.

    images: relative to the incident beam. window: (y, x), has been multiplied with them, and is again with the result.
    blur: (sample,), the standard deviation of the Gaussian [pixel].
    """
    bare = unwindowed(images, window)
    out = np.stack([_series(series, reference, width) for series, width in zip(bare, blur, strict=True)]) * window
    out[:, reference] = images[:, reference]
    return out.astype(images.dtype)  # type: ignore[no-any-return]


def _series(series: np.ndarray, reference: int, blur: float) -> np.ndarray:
    smooth: np.ndarray = ndimage.gaussian_filter(series, (0, blur, blur), mode=MODE)
    slopes = _slopes(smooth[reference])
    solve = np.linalg.pinv(slopes @ slopes.T, CLEAR, hermitian=True) @ slopes
    poses = [_pose(image, smooth[reference], solve) for image in smooth]
    return np.stack([image if k == reference else _moved(image, *poses[k]) for k, image in enumerate(series)])


def _slopes(image: np.ndarray) -> np.ndarray:
    """Derivatives (4, pixels) of an image by displacement y, x, turn and magnification, all in pixels at the edge."""
    dy, dx = ((np.roll(image, -1, axis) - np.roll(image, 1, axis)) / 2 for axis in (0, 1))
    y, x = ((p - n // 2) / _edge(image) for p, n in zip(np.indices(image.shape), image.shape, strict=True))
    return np.stack([dy, dx, x * dy - y * dx, y * dy + x * dx]).reshape(4, -1)


def _edge(image: np.ndarray) -> float:
    return float(max(image.shape)) / 2


def _pose(image: np.ndarray, reference: np.ndarray, solve: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """m A (2, 2) and d (2,) [pixel]: W is followed by the inverse of each step."""
    matrix, shift = np.eye(2), np.zeros(2)
    for _ in range(STEPS):
        step = solve @ (_moved(image, matrix, shift) - reference).ravel()
        turn, scale = step[2:] / _edge(image)
        back = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]) / (1 + scale)
        matrix = matrix @ back
        shift = shift - matrix @ step[:2]
        if np.abs(step).max() < CLOSE:
            break
    return matrix, shift


def _moved(image: np.ndarray, matrix: np.ndarray, shift: np.ndarray) -> np.ndarray:
    """The image at W(x)."""
    middle = np.array(image.shape) // 2
    offset = middle + shift - matrix @ middle
    found: np.ndarray = ndimage.affine_transform(image, matrix, offset, output=np.float64, mode=MODE)
    return found
