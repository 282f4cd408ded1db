"""MRC files: an image or a stack, with voxel sizes in angstrom. Metadata of an export are in a JSON file beside it."""

import warnings
from pathlib import Path
from typing import Any

import mrcfile
import numpy as np
from mrcfile.dtypes import HEADER_DTYPE

from schemas.formats.axis_order import Axis
from schemas.formats.export_metadata import ExportMetadata, read_beside
from schemas.formats.image import Known, refuse_large
from schemas.formats.stated import Stated
from schemas.runtime.errors import UserError

NAME = "MRC"
SUFFIX = ".mrc"
DTYPES = {"bool": "int16", "uint8": "int16", "uint16": "uint16", "float32": "float32"}  # of fields, and in files
LABEL = "written by drybeam"
VERSION = 20140  # of the format MRC2014
ANGSTROM = 10  # per nm
IMOD_STAMP = 1146047817  # the number by which IMOD marks its headers
STAMP_POSITION, FLAGS_POSITION = 152, 156  # places of that number and of IMOD's flags in the header
SIGNED_FLAG = 1  # IMOD's flag of signed bytes
MAPS = ("maps", "mapr", "mapc")  # entries of the header that name the sections, rows and columns
BYTE_MODE = 0  # the mode with 8-bit values
MAX_SIGNED_BYTE = 127  # the largest signed byte


def read(path: Path, inner: str) -> Stated:
    """Read all sections of an MRC file. Faults of the header that readers can bear become warnings.

    Args:
        path: the file.
        inner: must be empty, because the file holds one array.

    Raises:
        UserError: the file is damaged, or its values have a meaning that is not stated, or `inner` is not empty.
    """
    if inner:
        raise UserError(f"{path}:{inner}: an MRC file holds one array; leave out :{inner}")
    with path.open("rb") as raw:
        extended = raw.read(96)[92:]  # the size of an extended header, in either order of bytes
    if min(int.from_bytes(extended, order) for order in ("little", "big")) > path.stat().st_size:
        raise UserError(f"{path}: damaged: its header states more data than the file holds; get another copy")
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        with mrcfile.open(path, mode="r", header_only=True, permissive=True) as file:
            _refuse_header(path, file.header)
        with mrcfile.open(path, mode="r", permissive=True) as file:
            if file.data is None:
                raise UserError(f"{path}: damaged: its header states more data than the file holds; get another copy")
            header, values = file.header, np.array(file.data)
    faults = dict.fromkeys(str(one.message) for one in told if one.category is RuntimeWarning)
    notes = [f"warning: {path}: {fault}; it is read all the same" for fault in faults]
    if header.mode == BYTE_MODE:
        values = _bytes(path, header, values)
    card = read_beside(path)
    if card and len(card.axes) == values.ndim:
        return Stated(values, _axes(header, values.ndim), card.known(), exported=tuple(card.axes), notes=tuple(notes))
    return Stated(values, _axes(header, values.ndim), notes=tuple(notes))


def _refuse_header(path: Path, header: Any) -> None:
    """Refuse modes that cannot be read, and sizes that are impossible or too large."""
    shape = tuple(int(header[name]) for name in ("nz", "ny", "nx"))
    try:
        dtype = mrcfile.utils.dtype_from_mode(header.mode)
    except ValueError:
        raise UserError(
            f"{path}: mode {int(header.mode)} of MRC cannot be read; if the file is whole, convert it to mode 1, 2 or "
            "6 (newstack -mode 2), else get another copy"
        ) from None
    maps = [int(header[name]) for name in MAPS]
    if sorted(maps) not in ([0, 0, 0], [1, 2, 3]):
        raise UserError(
            f"{path}: MAPC, MAPR and MAPS are {maps[::-1]}; they must be 1, 2 and 3 in some order; correct them"
        )
    if min(shape) < 1:
        raise UserError(f"{path}: damaged: its header states {shape} pixels; get another copy")
    refuse_large(path, shape, dtype.itemsize)


def _bytes(path: Path, header: Any, values: np.ndarray) -> np.ndarray:
    """Return 8-bit values as signed or unsigned, by IMOD's flag, or by the extremes that the header states."""
    unsigned = values.view(np.uint8)
    if int(unsigned.max()) <= MAX_SIGNED_BYTE:
        return unsigned
    order = header.mode.dtype.byteorder.replace("=", "<").replace("|", "<")
    stamp, flags = np.frombuffer(header.tobytes(), f"{order}i4", 2, STAMP_POSITION)
    low, high = float(header.dmin), float(header.dmax)
    if stamp == IMOD_STAMP:
        return values.view(np.int8) if flags & SIGNED_FLAG else unsigned
    if low <= high and high > MAX_SIGNED_BYTE:
        return unsigned
    if low <= high and low < 0:
        return values.view(np.int8)
    raise UserError(
        f"{path}: holds bytes (mode 0) of which some are negative if signed, and above {MAX_SIGNED_BYTE} if not, and "
        "the header does not say which; convert it to mode 1 (newstack -mode 1)"
    )


def _axes(header: Any, rank: int) -> tuple[Axis, ...]:
    """Return the axes in the order of the array: MAPC, MAPR and MAPS name the columns, rows and sections."""
    stored = [int(header[name]) for name in MAPS]
    names = ["xyz"[number - 1] for number in stored] if sorted(stored) == [1, 2, 3] else ["z", "y", "x"]
    axes = [Axis(name, _voxel(header, name), "angstrom") for name in names]
    return (*[Axis()] * (rank - 3), *axes[-rank:])


def _voxel(header: Any, name: str) -> float | None:
    """Return the width of a voxel [angstrom] along one axis."""
    intervals, length = int(header[f"m{name}"]), float(header.cella[name])
    return length / intervals if intervals > 0 else None


def write(values: np.ndarray, _card: ExportMetadata, known: Known) -> bytes:
    """Return a stack of images as an MRC file. The metadata go into a file beside it.

    Args:
        values: (..., y, x); all leading axes become sections.
        _card: not used.
        known: pixel sizes [nm].
    """
    images = np.atleast_2d(values).astype(DTYPES[values.dtype.name])
    images = images.reshape(-1, *images.shape[-2:])
    step = [known.get(name, known.get("sampling", (0.0,)))[0] * ANGSTROM for name in ("sampling_x", "sampling_y")]
    header = np.zeros((), HEADER_DTYPE)
    header["mode"] = mrcfile.utils.mode_from_dtype(images.dtype)
    for axis, length, width in zip("xyz", images.shape[::-1], (*step, 0.0), strict=True):
        header[f"n{axis}"] = header[f"m{axis}"] = length
        header["cella"][axis] = length * width
    for name, angle in zip(("alpha", "beta", "gamma"), (90, 90, 90), strict=True):
        header["cellb"][name] = angle
    for name, number in zip(MAPS, (3, 2, 1), strict=True):
        header[name] = number
    header["dmin"], header["dmax"] = images.min(), images.max()
    header["dmean"], header["rms"] = images.mean(dtype=np.float64), images.std(dtype=np.float64)
    header["map"], header["nversion"] = b"MAP ", VERSION
    header["machst"] = mrcfile.utils.machine_stamp_from_byte_order(header["mode"].dtype.byteorder)
    header["nlabl"], header["label"][0] = 1, LABEL
    return header.tobytes() + images.tobytes()
