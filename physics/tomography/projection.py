"""Projections of images along rays, and their exact adjoint: Joseph's method (IEEE Trans. Med. Imaging 1 (1982) 192).

A ray that is nearer to the y axis than to the x axis is followed from row to row. In each row the image is interpolated
linearly between the two pixels beside the ray, and multiplied by the length 1 / |cos t| of the ray within the row.
Other rays are followed from column to column. Outside of the image, values fall linearly to zero within one pixel.

`project` is linear in the image, and `back_project` is its transpose: the same weights, so
<project(f), p> = <f, back_project(p)> up to rounding. A single pixel casts a shadow whose sum varies with the angle by
about 0.88 to 1.22; smooth images keep their sum, and the error falls with the square of the size of the pixels.

NumPy and numba, on one thread. A block of images with one geometry takes a tenth of the time for each image, because
weights are computed once, and `LANES` images are processed together.
"""

from collections.abc import Callable
from functools import lru_cache

import numpy as np

from physics.arrays import Array, Real
from physics.compiled import compiled
from physics.tomography.geometry import Geometry

LANES = 32  # most images that are processed together
VECTOR = 8  # numbers of lanes are multiples of it
TIE = 1e-5  # rays that are so near to a diagonal are followed along y, whatever the rounding of their angle
FEW = 3  # up to so many images are processed one by one

# Position of each ray (view, detector) in row 0, its step from row to row, its length within a row (0: it is followed
# along the other axis), and the first and last detector pixels of each view that are not 0 (view, 2).
type _Table = tuple[Real, Real, Array, np.ndarray]


def project(image: Array, geometry: Geometry) -> Array:
    """Integrate images along rays.

    Args:
        image: f (..., y, x), float32 or float64.
        geometry: the rays.

    Returns:
        p (..., view, detector), of the dtype of `image`.
    """
    along_y, along_x = _tables(geometry, image.shape[-2:], image.dtype)

    def sums(images: Array, found: Array) -> None:
        _follow_rays(_with_border(images), *along_y, found, False)
        _follow_rays(_with_border(images.swapaxes(0, 1)), *along_x, found, False)

    return in_lanes(image, geometry.shape, sums)


def back_project(sinogram: Array, geometry: Geometry, shape: tuple[int, int]) -> Array:
    """Spread sinograms along their rays: the transpose of `project`.

    Args:
        sinogram: p (..., view, detector), float32 or float64.
        geometry: the rays.
        shape: (ny, nx) of the image.

    Returns:
        Images (..., y, x), of the dtype of `sinogram`.
    """
    along_y, along_x = _tables(geometry, shape, sinogram.dtype)

    def sums(sinograms: Array, found: Array) -> None:
        rows = _with_border(found)
        _follow_rays(rows, *along_y, sinograms, True)
        columns = _with_border(found.swapaxes(0, 1))
        _follow_rays(columns, *along_x, sinograms, True)
        found += rows[:, 1:-1] + columns[:, 1:-1].swapaxes(0, 1)

    return in_lanes(sinogram, shape, sums)


def in_lanes(stack: Array, shape: tuple[int, int], run: Callable[[Array, Array], None]) -> Array:
    """Process many images together.

    Args:
        stack: images (..., row, column).
        shape: shape of one result.
        run: function of images (row, column, lane) and results (*shape, lane), which it fills; they start at 0. Lanes
            that no image fills are 0.

    Returns:
        Results (..., *shape), of the dtype of `stack`.
    """
    flat = stack.reshape(-1, *stack.shape[-2:])
    found = np.empty((len(flat), *shape), stack.dtype)
    lanes = min(LANES, -(-len(flat) // VECTOR) * VECTOR) if len(flat) > FEW else 1
    for start in range(0, len(flat), lanes):
        part = flat[start : start + lanes]
        images, results = np.zeros((*part.shape[1:], lanes), part.dtype), np.zeros((*shape, lanes), part.dtype)
        images[..., : len(part)] = np.moveaxis(part, 0, -1)
        run(images, results)
        found[start : start + lanes] = np.moveaxis(results, -1, 0)[: len(part)]
    return found.reshape(*stack.shape[:-2], *shape)


def _with_border(images: Array) -> Array:
    """Add a column of zeros at both sides of images (row, column, lane)."""
    return np.pad(images, ((0, 0), (1, 1), (0, 0)))


@lru_cache(maxsize=8)
def _tables(geometry: Geometry, shape: tuple[int, int], dtype: np.dtype[np.floating]) -> tuple[_Table, _Table]:
    """Return the tables of the rays that are followed along y, and of those that are followed along x."""
    angles, s = geometry.rays()
    cosine, sine = np.cos(angles), np.sin(angles)
    steep = abs(cosine) >= abs(sine) * (1 - TIE)
    return _table(steep, cosine, sine, s, shape, dtype), _table(~steep, sine, cosine, s, shape[::-1], dtype)


def _table(
    followed: np.ndarray, cosine: Real, sine: Real, s: Real, shape: tuple[int, int], dtype: np.dtype[np.floating]
) -> _Table:
    """Return the table of the rays x cosine + y sine = s that are followed along y, through an image of this shape."""
    rows, columns = shape
    across = np.where(followed, cosine, 1)
    start = (s + (rows - 1) / 2 * sine) / across + (columns - 1) / 2
    length = np.where(followed, 1 / abs(across), 0).astype(dtype)
    first = np.argmax(followed, axis=1)
    last = followed.shape[1] - np.argmax(followed[:, ::-1], axis=1)
    ends = np.where(followed.any(axis=1)[:, None], np.stack([first, last], axis=1), 0)
    return start, -sine / across, length, ends


@compiled
def _follow_rays(
    image: Array, start: Array, step: Array, length: Array, ends: Array, sinogram: Array, backwards: bool
) -> None:
    """Add the integrals of an image along rays to a sinogram, or backwards: a sinogram to the pixels along the rays.

    Args:
        image: (row, column, lane) with one column of zeros at both sides; changed in place if `backwards`.
        start: position of each ray in row 0.
        step: its step from row to row.
        length: its length within a row, of the dtype of the image.
        ends: (view, 2), the detector pixels of each view.
        sinogram: (view, detector, lane); changed in place unless `backwards`.
        backwards: true: the transpose.
    """
    rows, columns, lanes = image.shape
    as_weight, one = length.dtype.type, np.uintp(1)
    for view in range(len(start)):
        for row in range(rows):
            line = image[row]
            for j in range(ends[view, 0], ends[view, 1]):
                position = start[view, j] + row * step[view, j] + 1
                if length[view, j] > 0 and 0 < position < columns - 1:
                    left = np.uintp(position)  # unsigned: numba then has no negative index to look for
                    right = left + one
                    right_weight = as_weight(position - left) * length[view, j]
                    left_weight = length[view, j] - right_weight
                    if backwards:
                        for lane in range(lanes):
                            line[left, lane] += left_weight * sinogram[view, j, lane]
                            line[right, lane] += right_weight * sinogram[view, j, lane]
                    elif lanes == 1:
                        sinogram[view, j, 0] += left_weight * line[left, 0] + right_weight * line[right, 0]
                    else:
                        for lane in range(lanes):
                            sinogram[view, j, lane] += left_weight * line[left, lane] + right_weight * line[right, lane]
