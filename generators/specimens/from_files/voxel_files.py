"""Voxel masks from files, in the formats of phase-ret-dl and its specimen-generator, and their projection.

Text files hold rows of 0 and 1 separated by spaces, and a blank line after each slice. phase-ret-dl sends the beam down
the rows of a slice, so its image has the columns along y and the slices along x: row, column, slice become (z, y, x)
here. NumPy files hold an array (z, y, x); specimen-generator writes (x, y, z), the mirror image.

A mask has z along the beam, and cubic voxels. Its longest side spans the field of view, and its middle lies in the
middle of it. (A mesh instead has its origin at pixel N//2; the half pixel between the two is only a shift.)
"""

from functools import cache
from itertools import permutations, product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.format import MAGIC_PREFIX
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from schemas.runtime.errors import UserError

type Mask = NDArray[np.bool_]
type Floats = NDArray[np.float64]

MAX_BYTES = 2**28  # bytes, more than the 512^3 voxels of a boolean array
IS_SPACE = np.isin(np.arange(256), list(b" \t\r\n"))
TEXT_RULE = "write rows of 0 and 1 separated by spaces, and a blank line after each slice"


def read_mask(path: Path) -> Mask:
    """Return the mask (z, y, x) in a file, text or NumPy.

    Raises:
        UserError: the file cannot be read, or is not a mask
    """
    data = read_content(path)
    mask = _read_numpy_mask(path) if data.startswith(MAGIC_PREFIX) else _parse_text_mask(path, data)
    if not mask.any():
        raise UserError(f"{path}: no voxel is 1; a specimen must fill at least one")
    return mask


def read_content(path: Path) -> bytes:
    """Return the bytes of a file.

    Raises:
        UserError: the file cannot be read, or is too large
    """
    try:
        if (size := path.stat().st_size) > MAX_BYTES:
            raise UserError(
                f"{path}: {size} bytes; a specimen may have {MAX_BYTES}: coarsen it, or store it as bool .npy"
            )
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: {error.strerror or error}; give a readable specimen file") from None


def read_vectors(path: Path) -> NDArray[np.float32]:
    """Return the field of vectors (z, y, x, component) in a NumPy file, with components (z, y, x).

    Raises:
        UserError: the file does not hold such a field
    """
    array = load_array(path, "an array (z, y, x, component) of floats, components z, y, x")
    if array.ndim != 4 or array.shape[3] != 3 or array.dtype.kind != "f":
        raise UserError(f"{path}: {array.dtype} of shape {array.shape}; save floats (z, y, x, component)")
    if not np.isfinite(array).all():
        raise UserError(f"{path}: not all values are finite; save 0 where there is no magnetisation")
    return np.array(array, np.float32)


def load_array(path: Path, wanted: str) -> NDArray[Any]:
    """Return the array in a NumPy file, memory-mapped.

    So a header with a false shape takes no memory, and pickled objects are never opened.

    Args:
        path: the file
        wanted: description of a valid file, for messages

    Raises:
        UserError: the file does not hold an array of numbers
    """
    read_content(path)
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)  # type: ignore[no-any-return]
    except (ValueError, OSError, EOFError) as error:
        raise UserError(f"{path}: not a NumPy array of numbers ({error}); save {wanted}") from None


def thickness(
    mask: Mask | NDArray[np.float32],
    shape: tuple[int, int],
    sampling: tuple[float, float],
    field_of_view: float,
    middle: tuple[float, float] | None = None,
) -> Floats:
    """Return the projected thickness [nm], (y, x): the mean over each pixel's area of the length within voxels.

    It conserves the volume, whatever the ratio of pixel to voxel, as far as the grid reaches.

    Args:
        mask: (z, y, x), bool or the filled fraction of each voxel
        shape: pixels (y, x) of the grid
        sampling: (y, x) [nm]
        field_of_view: longest side of the mask [nm]
        middle: pixels (y, x) before the middle of the mask; None: half of them
    """
    return slabs(mask, shape, sampling, field_of_view, 1, middle)[0][0]  # type: ignore[no-any-return]


def slabs(
    mask: Mask | NDArray[np.float32],
    shape: tuple[int, int],
    sampling: tuple[float, float],
    field_of_view: float,
    count: int,
    middle: tuple[float, float] | None = None,
) -> tuple[Floats, float]:
    """Return `thickness` [nm] in each of `count` equal slabs of the filled slices, and the height of a slab [nm].

    Args:
        mask: (z, y, x), bool or the filled fraction of each voxel
        shape: pixels (y, x) of the grid
        sampling: (y, x) [nm]
        field_of_view: longest side of the mask [nm]
        count: number of slabs
        middle: pixels (y, x) before the middle of the mask; None: half of them

    Returns:
        thickness (slab, y, x), and the height
    """
    voxel = field_of_view / max(mask.shape)
    low, high = _filled_slices(mask)
    height = (high - low) / count  # voxels
    share = height * _overlap_shares(count, height, high - low, 1.0, count / 2)
    lengths = voxel * np.einsum("kz,zab->kab", share, mask[low:high], dtype=np.float64)
    y, x = middle or (shape[0] / 2, shape[1] / 2)
    rows = _overlap_shares(shape[0], sampling[0], mask.shape[1], voxel, y)
    columns = _overlap_shares(shape[1], sampling[1], mask.shape[2], voxel, x)
    # einsum in place of @, since the bits of a BLAS product may depend on the number of threads.
    thicknesses: Floats = np.einsum("jb,kib->kij", columns, np.einsum("ia,kab->kib", rows, lengths))
    return thicknesses, height * voxel


def _filled_slices(mask: NDArray[Any]) -> tuple[int, int]:
    """Return the first slice that holds something, and the one after the last; all slices if nothing is filled."""
    slices = np.flatnonzero(mask.any(axis=(1, 2)))
    return (int(slices[0]), int(slices[-1]) + 1) if len(slices) else (0, len(mask))


def rotate_by_number[T: np.generic](mask: NDArray[T], number: int) -> NDArray[T]:
    """Return the mask turned by one of the 24 rotations of a cube.

    Args:
        mask: (z, y, x)
        number: number of the rotation; 0 leaves the mask as it is
    """
    matrix = cube_rotations()[number]
    axes = np.argmax(abs(matrix), axis=1)
    backward = [axis for axis in range(3) if matrix[axis].sum() < 0]
    return np.flip(mask.transpose(axes.tolist()), tuple(backward))


def rotate_by_matrix(mask: NDArray[Any], matrix: ArrayLike) -> NDArray[np.float32]:
    """Return the mask, or one component of a field, turned about its middle: p -> matrix @ p for p = (z, y, x).

    The result is a cube as wide as the longest side of the mask, by linear interpolation. For a mask it holds the
    filled fraction of each voxel.

    Args:
        mask: (z, y, x)
        matrix: rotation matrix (3, 3)

    Raises:
        UserError: a filled voxel could leave the cube
    """
    mask = _pad_to_cube(mask)
    reach, room = _filled_radius(mask), (len(mask) - 1) / 2
    if reach > room:
        raise UserError(
            f"the specimen reaches {reach:.1f} voxels from the middle of its box, {room:.1f} are free on each side: "
            "turned, it would be cut; leave more vacuum around it, or --set files.orientation=fixed (or cube)"
        )
    inverse = np.asarray(matrix, dtype=np.float64).T
    middle = (np.array(mask.shape) - 1) / 2
    offset = middle - inverse @ middle
    return ndimage.affine_transform(
        mask, inverse, offset, output=np.float32, order=1, mode="grid-constant", prefilter=False
    )


def rotate_vectors_by_number(field: NDArray[np.float32], number: int) -> NDArray[np.float32]:
    """Return a field of vectors turned like a mask in `rotate_by_number`, its vectors turned with it.

    Args:
        field: (z, y, x, component)
        number: number of the rotation
    """
    return _rotate_components(cube_rotations()[number], [rotate_by_number(field[..., k], number) for k in range(3)])


def rotate_vectors_by_matrix(field: NDArray[np.float32], matrix: ArrayLike) -> NDArray[np.float32]:
    """Return a field of vectors turned like a mask in `rotate_by_matrix`, its vectors turned with it.

    Args:
        field: (z, y, x, component)
        matrix: rotation matrix (3, 3)
    """
    return _rotate_components(np.asarray(matrix), [rotate_by_matrix(field[..., k], matrix) for k in range(3)])


def _rotate_components(matrix: NDArray[Any], components: list[NDArray[np.float32]]) -> NDArray[np.float32]:
    rows = [sum(weight * part for weight, part in zip(row, components, strict=True)) for row in matrix.tolist()]
    return np.stack(rows, axis=-1).astype(np.float32)


def _pad_to_cube(mask: NDArray[Any]) -> NDArray[Any]:
    """Add empty voxels on both sides of the shorter axes; an odd one goes behind."""
    missing = [max(mask.shape) - length for length in mask.shape]
    return np.pad(mask, [(count // 2, count - count // 2) for count in missing])


def _filled_radius(mask: NDArray[Any]) -> float:
    """Return the distance [voxel] of the farthest filled voxel's centre from the middle of the box."""
    positions = np.argwhere(mask) - (np.array(mask.shape) - 1) / 2
    return float(np.sqrt(np.max(np.sum(positions**2, axis=1), initial=0)))


@cache
def cube_rotations() -> NDArray[np.int64]:
    """Return the rotation matrices (24, 3, 3) of a cube, the identity first."""
    matrices = [
        np.eye(3, dtype=np.int64)[list(order)] * np.array(signs)[:, None]
        for order in permutations(range(3))
        for signs in product((1, -1), repeat=3)
    ]
    return np.array([matrix for matrix in matrices if np.linalg.det(matrix) > 0])


def _overlap_shares(pixels: int, sampling: float, voxels: int, voxel: float, middle: float) -> Floats:
    """Return the fraction of each pixel that each voxel covers, (pixel, voxel). `middle`: pixels before the middle."""
    pixel_edges = (np.arange(pixels + 1) - middle)[:, None] * sampling
    voxel_edges = (np.arange(voxels + 1) - voxels / 2) * voxel
    upper = np.minimum(pixel_edges[1:], voxel_edges[1:])
    lower = np.maximum(pixel_edges[:-1], voxel_edges[:-1])
    shares: Floats = np.maximum(upper - lower, 0) / sampling
    return shares


def _read_numpy_mask(path: Path) -> Mask:
    """Return the mask of a NumPy file, which must hold 0 and 1 only."""
    array = load_array(path, "a boolean array (z, y, x)")
    if array.ndim != 3 or array.dtype.kind not in "biuf":
        raise UserError(f"{path}: {array.dtype} of shape {array.shape}; save a boolean array (z, y, x)")
    mask = np.array(array == 1)
    if not np.array_equal(array, mask):
        raise UserError(f"{path}: {array[array != mask][0]} is neither 0 nor 1; save a boolean array (z, y, x)")
    return mask


def _parse_text_mask(path: Path, data: bytes) -> Mask:
    """Return the mask of a text of digits 0 and 1, in slices that empty lines separate."""
    letters = np.frombuffer(data, np.uint8)
    digits = (letters | 1) == ord("1")  # 0 and 1 differ in their last bit
    _refuse_words(path, data, letters, digits)
    if not digits.any():
        raise UserError(f"{path}: empty; {TEXT_RULE}")
    starts = np.flatnonzero(np.concatenate([[True], letters[:-1] == ord("\n")]))
    widths = np.add.reduceat(digits, starts, dtype=np.int64)
    filled = widths > 0
    width = int(widths[filled][0])
    if (ragged := np.flatnonzero(filled & (widths != width))).size:
        raise UserError(
            f"{path}: {widths[ragged[0]]} numbers in line {ragged[0] + 1}, {width} in the first; {TEXT_RULE}"
        )
    first = filled & ~np.concatenate([[False], filled[:-1]])
    heights = np.bincount(np.cumsum(first)[filled])[1:]
    if len(heights) < 2:
        raise UserError(f"{path}: a single slice of {heights[0]} rows; {TEXT_RULE}")
    if (other := np.flatnonzero(heights != heights[0])).size:
        raise UserError(
            f"{path}: {heights[other[0]]} rows in slice {other[0] + 1}, {heights[0]} in the first; {TEXT_RULE}"
        )
    mask: Mask = letters[digits] == ord("1")
    return mask.reshape(len(heights), heights[0], width).transpose(1, 2, 0)


def _refuse_words(path: Path, data: bytes, letters: NDArray[np.uint8], digits: Mask) -> None:
    """Refuse a text at its first word that is neither 0 nor 1."""
    wrong = ~(digits | IS_SPACE[letters])
    wrong[1:] |= digits[1:] & digits[:-1]
    if not wrong.any():
        return
    position = int(np.argmax(wrong))
    line = 1 + data.count(b"\n", 0, position)
    word = data[max(position - 12, 0) : position].split(b" ")[-1] + data[position : position + 12].split()[0]
    raise UserError(f"{path}: {word.decode('ascii', 'backslashreplace')!r} in line {line}; {TEXT_RULE}")
