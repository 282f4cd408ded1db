"""Register the images of a series with one of them, by rotation, magnification and shift.

Each image I is warped so that it agrees with the reference R:

    minimise sum_x (I(W(x)) - R(x))^2,   W(x) = c + m A(theta) (x - c) + d

with the centre c of pixel N//2, the magnification m, the rotation A and the shift d. The minimum is found by the
Gauss-Newton method with the derivatives of R (inverse compositional: Baker and Matthews, Int. J. Comput. Vis. 56 (2004)
221). Images are treated as periodic, as in the solvers.

Images are blurred by a Gaussian before they are compared. It is so wide that defocus adds no more to them than
div(I grad phi). This term does not bias W: for a weak object of one material it is proportional to the Laplacian of R,
whose product with each derivative of R (two shifts, rotation and, in two dimensions, magnification) integrates to 0.
"""

from typing import Final

import numpy as np
from scipy import ndimage

from physics.transport_of_intensity import remove_window

MAX_STEPS = 20  # maximum number of Gauss-Newton steps
MIN_STEP = 1e-3  # the iteration ends when a step is shorter [pixel]
# Motions that change the images by less than this, relative to the motion with the largest change, cannot be determined
# and are left out, such as the rotation of a disc.
MIN_EFFECT = 1e-4
BOUNDARY: Final = "grid-wrap"


def register(images: np.ndarray, reference: int, window: np.ndarray, blur: np.ndarray) -> np.ndarray:
    """Register the images of each series with one of its planes, which is not changed, by cubic splines.

    Args:
        images: (sample, plane, y, x), relative to the incident beam, multiplied by the window.
        reference: index of the plane with which the others are registered.
        window: (y, x).
        blur: standard deviation of the Gaussian through which images are compared, (sample,) [pixel].

    Returns:
        The registered images, multiplied by the window, of the same shape and dtype.
    """
    bare = remove_window(images, window)
    out = np.stack([_register(series, reference, width) for series, width in zip(bare, blur, strict=True)]) * window
    out[:, reference] = images[:, reference]
    return out.astype(images.dtype)  # type: ignore[no-any-return]


def _register(series: np.ndarray, reference: int, blur: float) -> np.ndarray:
    smooth: np.ndarray = ndimage.gaussian_filter(series, (0, blur, blur), mode=BOUNDARY)
    slopes = _motion_derivatives(smooth[reference])
    solve = np.linalg.pinv(slopes @ slopes.T, MIN_EFFECT, hermitian=True) @ slopes
    poses = [_find_motion(image, smooth[reference], solve) for image in smooth]
    return np.stack([image if k == reference else _warp(image, *poses[k]) for k, image in enumerate(series)])


def _motion_derivatives(image: np.ndarray) -> np.ndarray:
    """Return the derivatives (4, pixels) of an image by shift y, x, rotation and magnification.

    All four motions are measured in pixels at the edge of the image.
    """
    dy, dx = ((np.roll(image, -1, axis) - np.roll(image, 1, axis)) / 2 for axis in (0, 1))
    y, x = ((p - n // 2) / _half_width(image) for p, n in zip(np.indices(image.shape), image.shape, strict=True))
    return np.stack([dy, dx, x * dy - y * dx, y * dy + x * dx]).reshape(4, -1)


def _half_width(image: np.ndarray) -> float:
    return float(max(image.shape)) / 2


def _find_motion(image: np.ndarray, reference: np.ndarray, solve: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return m A (2, 2) and d (2,) [pixel] of W, which is composed with the inverse of each step."""
    matrix, shift = np.eye(2), np.zeros(2)
    for _ in range(MAX_STEPS):
        step = solve @ (_warp(image, matrix, shift) - reference).ravel()
        turn, scale = step[2:] / _half_width(image)
        back = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]) / (1 + scale)
        matrix = matrix @ back
        shift = shift - matrix @ step[:2]
        if np.abs(step).max() < MIN_STEP:
            break
    return matrix, shift


def _warp(image: np.ndarray, matrix: np.ndarray, shift: np.ndarray) -> np.ndarray:
    """Return the image at W(x)."""
    middle = np.array(image.shape) // 2
    offset = middle + shift - matrix @ middle
    found: np.ndarray = ndimage.affine_transform(image, matrix, offset, output=np.float64, mode=BOUNDARY)
    return found
