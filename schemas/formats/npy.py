"""NumPy files NPY and NPZ. Pickled objects are refused. Metadata of an export are in a JSON file beside an NPY file."""

import io
import math
import zipfile
from pathlib import Path
from typing import IO

import numpy as np

from schemas.formats.export_metadata import ExportMetadata
from schemas.formats.image import Known, Picture, Shape, choose_array, refuse_large
from schemas.runtime.errors import UserError

NAME = "NPY"
SUFFIX = ".npy"
SIDE = 1 << 20  # maximum number of bytes of the JSON file that are read


def read(path: Path, inner: str) -> Picture:
    """Read an NPY file, or one array of an NPZ archive.

    Args:
        path: the file.
        inner: name of the array in an archive; empty: the only image.

    Raises:
        UserError: there is no such array, or more than one image, or the file is damaged.
    """
    if zipfile.is_zipfile(path):
        return Picture(_of_archive(path, inner))
    if path.suffix == ".npz":
        raise UserError(f"{path}: not an archive of NumPy arrays, or damaged; get another copy")
    if inner:
        raise UserError(f"{path}:{inner}: an NPY file holds one array; leave out :{inner}")
    with path.open("rb") as file:
        shape, dtype = _header(path, file)
        _refuse_short(path, shape, dtype, path.stat().st_size - file.tell())
    values = np.load(path, allow_pickle=False)
    card = _beside(path)
    return Picture(values, card.known(), tuple(card.axes)) if card else Picture(values)


def _header(path: Path, file: IO[bytes]) -> tuple[Shape, np.dtype]:
    """Read shape and dtype from the header of an NPY file. Raise UserError for objects and large arrays."""
    version = np.lib.format.read_magic(file)
    header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = header(file)
    if dtype.hasobject:
        raise UserError(f"{path}: holds Python objects; save plain numbers")
    refuse_large(path, shape, dtype.itemsize)
    return shape, dtype


def _refuse_short(path: Path, shape: Shape, dtype: np.dtype, there: int) -> None:
    if math.prod(shape) * dtype.itemsize != there:
        raise UserError(f"{path}: damaged: shape {shape} of {dtype} does not take {there:,} bytes; get another copy")


def _of_archive(path: Path, inner: str) -> np.ndarray:
    """Read one array of an NPZ archive."""
    with zipfile.ZipFile(path) as archive:
        headers = {}
        for info in archive.infolist():
            with archive.open(info) as file:
                headers[info.filename.removesuffix(".npy")] = (info, *_header(path, file))
        name = choose_array(path, inner, {name: shape for name, (_, shape, _) in headers.items()})
        info, shape, dtype = headers[name]
        with archive.open(info) as file:
            _header(path, file)
            _refuse_short(path, shape, dtype, info.file_size - file.tell())
        with archive.open(info) as file:
            return np.lib.format.read_array(file, allow_pickle=False)


def _beside(path: Path) -> ExportMetadata | None:
    try:
        with path.with_suffix(".json").open("rb") as file:
            return ExportMetadata.parse(file.read(SIDE).decode("utf-8", "replace"))
    except OSError:
        return None


def write(values: np.ndarray, _card: ExportMetadata, _known: Known) -> bytes:
    """Return the array as an NPY file. The metadata go into a file beside it.

    Args:
        values: the array.
        _card: not used.
        _known: not used.
    """
    file = io.BytesIO()
    np.save(file, np.ascontiguousarray(values), allow_pickle=False)
    return file.getvalue()
