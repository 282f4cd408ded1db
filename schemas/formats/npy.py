"""NumPy files NPY and NPZ. Pickled objects are refused. Metadata of an export are in a JSON file beside an NPY file."""

import io
import math
import zipfile
from pathlib import Path
from typing import IO

import numpy as np

from schemas.formats.export_metadata import ExportMetadata, read_beside
from schemas.formats.image import Known, Shape, choose_array, refuse_large
from schemas.formats.stated import Stated
from schemas.runtime.errors import UserError

NAME = "NPY"
SUFFIX = ".npy"
ENCRYPTED_FLAG = 1  # flag of a member of an archive


def read(path: Path, inner: str) -> Stated:
    """Read an NPY file, or one array of an NPZ archive.

    Args:
        path: the file.
        inner: name of the array in an archive; empty: the only image.

    Raises:
        UserError: there is no such array, or more than one image, or the file is damaged.
    """
    if zipfile.is_zipfile(path):
        return Stated(_from_archive(path, inner))
    if path.suffix == ".npz":
        raise UserError(f"{path}: not an archive of NumPy arrays, or damaged; get another copy")
    if inner:
        raise UserError(f"{path}:{inner}: an NPY file holds one array; leave out :{inner}")
    with path.open("rb") as file:
        shape, dtype = _header(path, file)
        _refuse_short(path, shape, dtype, path.stat().st_size - file.tell())
    values = np.load(path, allow_pickle=False)
    card = read_beside(path)
    return Stated(values, known=card.known(), exported=tuple(card.axes)) if card else Stated(values)


def _header(path: Path, file: IO[bytes], name: str = "") -> tuple[Shape, np.dtype]:
    """Read shape and dtype from the header of an NPY file. Raise UserError for objects and large arrays."""
    shape, dtype = _shape_and_dtype(file)
    if dtype.hasobject:
        raise UserError(f"{path}{name and f':{name}'}: holds Python objects; save plain numbers")
    refuse_large(path, shape, dtype.itemsize)
    return shape, dtype


def _shape_and_dtype(file: IO[bytes]) -> tuple[Shape, np.dtype]:
    version = np.lib.format.read_magic(file)
    header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = header(file)
    return shape, dtype


def _refuse_short(path: Path, shape: Shape, dtype: np.dtype, there: int) -> None:
    if math.prod(shape) * dtype.itemsize != there:
        raise UserError(f"{path}: damaged: shape {shape} of {dtype} does not take {there:,} bytes; get another copy")


def _from_archive(path: Path, inner: str) -> np.ndarray:
    """Read one array of an NPZ archive. The other members may be anything."""
    with zipfile.ZipFile(path) as archive:
        members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
        if inner in members:
            name = inner
        else:
            shapes = {name: _plain_shape(archive, info) for name, info in members.items()}
            name = choose_array(path, inner, {name: shape for name, shape in shapes.items() if shape is not None})
        info = members[name]
        if info.flag_bits & ENCRYPTED_FLAG:
            raise UserError(f"{path}:{name}: is encrypted; save it without a password")
        with archive.open(info) as file:
            shape, dtype = _header(path, file, name)
            _refuse_short(path, shape, dtype, info.file_size - file.tell())
        with archive.open(info) as file:
            return np.lib.format.read_array(file, allow_pickle=False)


def _plain_shape(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Shape | None:
    """Return the shape of a member that is an array of plain values; None for anything else."""
    try:
        with archive.open(info) as file:
            shape, dtype = _shape_and_dtype(file)
    except (ValueError, RuntimeError, NotImplementedError, zipfile.BadZipFile):
        return None
    return None if dtype.hasobject else shape


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
