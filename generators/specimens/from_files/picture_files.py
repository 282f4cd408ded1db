"""Read files of pictures, one or a stack of them, grey or in colour, as grey pictures (y, x) in 0..1.

Pillow reads PNG, JPEG and BMP; zarr reads a Zarr array, which is a folder. NumPy arrays are memory-mapped. All other
formats (TIFF, HDF5, MAT, MRC) are read as `dataset import` reads them. Axes are (y, x), (item, y, x), or either of
these with 1, 3 or 4 colours last.
"""

import json
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.lib.format import MAGIC_PREFIX
from numpy.typing import NDArray
from PIL import Image

from schemas.formats import reading
from schemas.runtime.errors import UserError

PILLOW_FORMATS = {b"\x89PNG": (".png",), b"\xff\xd8\xff": (".jpg", ".jpeg"), b"BM": (".bmp",)}  # first bytes, and names
SUFFIXES = {suffix for suffixes in PILLOW_FORMATS.values() for suffix in suffixes} | {
    suffix for suffixes in reading.SUFFIXES.values() for suffix in suffixes
}
COLOUR_COUNTS = (1, 3, 4)  # lengths of a last axis: grey; red, green, blue; the same and alpha, which is ignored
LUMA_WEIGHTS = np.array([0.2126, 0.7152, 0.0722])  # Rec. 709, of the values as they are stored

type Picture = NDArray[np.float32]
type Levels = Literal["type", "image"]


def list_picture_files(path: Path) -> tuple[Path, ...]:
    """Return the files of a folder and its sub-folders, by name; or the one file or Zarr array at `path`.

    Args:
        path: folder, file or Zarr array

    Raises:
        UserError: there are no pictures
    """
    if path.is_file() or is_zarr_array(path):
        return (path,)
    if not path.is_dir():
        raise UserError(f"{path}: no such file or folder; give a folder of pictures, or one file")
    if paths := tuple(sorted(_walk_pictures(path))):
        return paths
    raise UserError(f"{path}: no pictures; these can be read: {' '.join(sorted(SUFFIXES))}, Zarr arrays")


def _walk_pictures(folder: Path) -> Iterator[Path]:
    for path in folder.iterdir():
        if is_zarr_array(path) or (path.is_file() and path.suffix.lower() in SUFFIXES):
            yield path
        elif path.is_dir():
            yield from _walk_pictures(path)


def is_zarr_array(path: Path) -> bool:
    """Return True if a folder is a Zarr array, of version 2 or 3."""
    if (path / ".zarray").is_file():
        return True
    try:
        return bool(json.loads((path / "zarr.json").read_bytes())["node_type"] == "array")
    except (OSError, ValueError, LookupError, TypeError):
        return False


def count_pictures(path: Path) -> int:
    """Return the number of pictures in a file; of PNG, JPEG and BMP only the header is read.

    Raises:
        UserError: the file holds no pictures
    """
    with _reader_errors(path):
        if path.is_file() and _read_magic(path).startswith(tuple(PILLOW_FORMATS)):
            Image.open(path).close()
            return 1
    return int(open_stack(path).shape[0])


def open_stack(path: Path) -> Any:
    """Return the pictures in a file, (item, y, x) or (item, y, x, colour), as they are stored.

    Raises:
        UserError: the file holds no pictures
    """
    with _reader_errors(path):
        values = _open_array(path)
    return _as_stack(path, values)


def read_picture(path: Path, pictures: Any, item: int) -> NDArray[Any]:
    """Return one picture of a stack that `open_stack` has returned.

    Args:
        path: the file, for messages
        pictures: the stack
        item: number of the picture

    Raises:
        UserError: the file is damaged
    """
    with _reader_errors(path):
        return np.asarray(pictures[item])


@contextmanager
def _reader_errors(path: Path) -> Iterator[None]:
    """Turn each error or warning that a damaged file causes in a reader into a UserError."""
    try:
        with warnings.catch_warnings(action="error"):
            yield
    except (UserError, MemoryError):
        raise
    except Exception as error:
        reason = f"{type(error).__name__}: {error}".splitlines()[0][:120]
        raise UserError(f"{path}: cannot be read as pictures ({reason}); get another copy") from None


def _read_magic(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(8)


def _open_array(path: Path) -> Any:
    """Return the array in a file or folder. NumPy and Zarr arrays are opened without reading their values."""
    if path.is_dir():
        import zarr  # imported here, since it starts threads, and workers are forked

        from schemas.runtime.codecs import refuse_array
        from schemas.store import Confined

        array = zarr.open_array(Confined(path), mode="r")
        refuse_array(array)
        return array
    head = _read_magic(path)
    if head.startswith(MAGIC_PREFIX):
        return np.load(path, mmap_mode="r", allow_pickle=False)
    if head.startswith(tuple(PILLOW_FORMATS)):
        return _read_with_pillow(path)
    picture = reading.read(str(path))[1]
    return np.moveaxis(picture.values, -1, 0) if picture.matlab and picture.values.ndim == 3 else picture.values


def _read_with_pillow(path: Path) -> NDArray[Any]:
    with Image.open(path) as image:
        plain = image.mode in ("L", "RGB", "RGBA", "F") or image.mode.startswith("I;16")
        return np.asarray(image if plain else image.convert("RGB"))


def _as_stack(path: Path, values: Any) -> Any:
    """Return values with an axis of items; lazy arrays stay lazy."""
    shape, colours = values.shape, values.ndim > 2 and values.shape[-1] in COLOUR_COUNTS
    sides = shape[-3:-1] if colours else shape[-2:]
    if values.dtype.kind not in "buif" or values.ndim - colours not in (2, 3) or 0 in shape or min(sides) < 2:
        raise UserError(
            f"{path}: holds {values.dtype} of shape {shape}; must be numbers with axes (y, x) or (item, y, x), with or "
            "without a last axis of 1, 3 or 4 colours"
        )
    return values if values.ndim - colours == 3 else np.asarray(values)[None]


def to_grey(path: Path, values: Any, levels: Levels) -> Picture:
    """Return one picture as grey values (y, x), float32 in 0..1.

    Args:
        path: the file, for messages
        values: (y, x) or (y, x, colour)
        levels: `type`: integers are divided by the maximum of their type, and floats must lie in 0..1; `image`: each
            picture is scaled to 0..1

    Raises:
        UserError: values are not finite, or the type has no such range
    """
    numbers = np.asarray(values)
    if not np.isfinite(numbers).all():
        raise UserError(f"{path}: not all values are finite; replace missing ones by numbers")
    picture = _scale_by_type(path, numbers) if levels == "type" else numbers.astype(np.float64)
    if picture.ndim == 3:
        picture = picture[..., :3] @ LUMA_WEIGHTS if picture.shape[-1] > 1 else picture[..., 0]
    if levels == "image":
        span = np.ptp(picture)
        picture = (picture - picture.min()) / (span if span > 0 else 1)
    return np.clip(picture, 0, 1).astype(np.float32)


def _scale_by_type(path: Path, numbers: NDArray[Any]) -> NDArray[np.float64]:
    """Return the values in 0..1, divided by the maximum of their type."""
    kind, size = numbers.dtype.kind, numbers.dtype.itemsize
    maximum = 1.0 if kind in "bf" else float(np.iinfo(numbers.dtype).max)
    if (kind in "iu" and size > 2) or numbers.min() < 0 or numbers.max() > maximum:
        raise UserError(
            f"{path}: {numbers.dtype} from {numbers.min():g} to {numbers.max():g}: must be 8 or 16 bit, or floats "
            "from 0 to 1; or set pictures.levels=image"
        )
    return numbers.astype(np.float64) / maximum
