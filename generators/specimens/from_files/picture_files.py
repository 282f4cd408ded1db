"""Files of pictures: one or a stack of them, grey or in colour, as a grey picture (y, x) in 0..1.

PNG, JPEG and BMP by Pillow; a Zarr array, a folder, by zarr; NumPy arrays are mapped, not read; all else (TIFF, HDF5,
MAT, MRC) as `dataset import` reads it. Axes are (y, x), (item, y, x), or either with colours last: 1, 3 or 4 of them.
"""

import json
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from schemas.formats import opening
from schemas.runtime.errors import UserError

NUMPY = b"\x93NUMPY"
PILLOW = {b"\x89PNG": (".png",), b"\xff\xd8\xff": (".jpg", ".jpeg"), b"BM": (".bmp",)}  # first bytes, and names
SUFFIXES = {suffix for suffixes in PILLOW.values() for suffix in suffixes} | {
    suffix for suffixes in opening.SUFFIXES.values() for suffix in suffixes
}
COLOURS = (1, 3, 4)  # that a last axis may hold: grey; red, green, blue; the same and alpha, which is left out
LUMA = np.array([0.2126, 0.7152, 0.0722])  # Rec. 709, of the values as they are stored

type Picture = NDArray[np.float32]
type Levels = Literal["type", "image"]


def listed(path: Path) -> tuple[Path, ...]:
    """The files of a folder and of those in it, by name; or the one file or Zarr array at `path`."""
    if path.is_file() or is_array(path):
        return (path,)
    if not path.is_dir():
        raise UserError(f"{path}: no such file or folder; give a folder of pictures, or one file")
    if found := tuple(sorted(_below(path))):
        return found
    raise UserError(f"{path}: no pictures; there are read: {' '.join(sorted(SUFFIXES))}, Zarr arrays")


def _below(folder: Path) -> Iterator[Path]:
    for path in folder.iterdir():
        if is_array(path) or (path.is_file() and path.suffix.lower() in SUFFIXES):
            yield path
        elif path.is_dir():
            yield from _below(path)


def is_array(path: Path) -> bool:
    """Whether a folder is a Zarr array, of version 2 or 3."""
    if (path / ".zarray").is_file():
        return True
    try:
        return bool(json.loads((path / "zarr.json").read_bytes())["node_type"] == "array")
    except (OSError, ValueError, LookupError, TypeError):
        return False


def number(path: Path) -> int:
    """How many pictures a file holds; of PNG, JPEG and BMP only the header is read. UserError: none."""
    with _told(path):
        if path.is_file() and _head(path).startswith(tuple(PILLOW)):
            Image.open(path).close()
            return 1
    return int(stack(path).shape[0])


def stack(path: Path) -> Any:
    """The pictures in a file, (item, y, x) or (item, y, x, colour), as they are stored. UserError: there are none."""
    with _told(path):
        values = _open(path)
    return _as_stack(path, values)


def one(path: Path, pictures: Any, item: int) -> NDArray[Any]:
    """One picture of a `stack`. UserError: it is damaged."""
    with _told(path):
        return np.asarray(pictures[item])


@contextmanager
def _told(path: Path) -> Iterator[None]:
    """Whatever a damaged file makes a reader raise, or warn of, is a UserError."""
    try:
        with warnings.catch_warnings(action="error"):
            yield
    except (UserError, MemoryError):
        raise
    except Exception as error:
        reason = f"{type(error).__name__}: {error}".splitlines()[0][:120]
        raise UserError(f"{path}: cannot be read as pictures ({reason}); get another copy") from None


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(8)


def _open(path: Path) -> Any:
    if path.is_dir():
        import zarr  # here: it starts threads, and workers are forked

        from schemas.store import Confined

        return zarr.open_array(Confined(path), mode="r")
    head = _head(path)
    if head.startswith(NUMPY):
        return np.load(path, mmap_mode="r", allow_pickle=False)
    if head.startswith(tuple(PILLOW)):
        return _by_pillow(path)
    picture = opening.read(str(path))[1]
    return np.moveaxis(picture.values, -1, 0) if picture.matlab and picture.values.ndim == 3 else picture.values


def _by_pillow(path: Path) -> NDArray[Any]:
    with Image.open(path) as image:
        plain = image.mode in ("L", "RGB", "RGBA", "F") or image.mode.startswith("I;16")
        return np.asarray(image if plain else image.convert("RGB"))


def _as_stack(path: Path, values: Any) -> Any:
    """With an axis of items. Lazy ones stay so."""
    shape, colours = values.shape, values.ndim > 2 and values.shape[-1] in COLOURS
    sides = shape[-3:-1] if colours else shape[-2:]
    if values.dtype.kind not in "buif" or values.ndim - colours not in (2, 3) or 0 in shape or min(sides) < 2:
        raise UserError(
            f"{path}: {values.dtype} of shape {shape}; give numbers (y, x), (item, y, x) or with colours last"
        )
    return values if values.ndim - colours == 3 else np.asarray(values)[None]


def grey(path: Path, values: Any, levels: Levels) -> Picture:
    """One picture (y, x), or (y, x, colour), as float32 in 0..1. UserError: its values have no such scale.

    levels: `type`: 8 and 16 bit by the range of the type, floats as they are; `image`: minimum 0, maximum 1.
    """
    numbers = np.asarray(values)
    if not np.isfinite(numbers).all():
        raise UserError(f"{path}: not all values are finite; replace what is missing")
    picture = _scaled(path, numbers) if levels == "type" else numbers.astype(np.float64)
    if picture.ndim == 3:
        picture = picture[..., :3] @ LUMA if picture.shape[-1] > 1 else picture[..., 0]
    if levels == "image":
        span = np.ptp(picture)
        picture = (picture - picture.min()) / (span if span > 0 else 1)
    return np.clip(picture, 0, 1).astype(np.float32)


def _scaled(path: Path, numbers: NDArray[Any]) -> NDArray[np.float64]:
    kind, size = numbers.dtype.kind, numbers.dtype.itemsize
    most = 1.0 if kind in "bf" else float(np.iinfo(numbers.dtype).max)
    if (kind in "iu" and size > 2) or numbers.min() < 0 or numbers.max() > most:
        raise UserError(
            f"{path}: {numbers.dtype} from {numbers.min():g} to {numbers.max():g}: must be 8 or 16 bit, or floats "
            "from 0 to 1; or set pictures.levels=image"
        )
    return numbers.astype(np.float64) / most
