"""Reader of MRC files: an image or a stack, with voxel sizes in angstrom."""

from pathlib import Path

import mrcfile
import numpy as np

from schemas.formats.image import Picture, refuse_large
from schemas.formats.pixel_sizes import pixel
from schemas.runtime.errors import UserError

NAME = "MRC"


def read(path: Path, inner: str) -> Picture:
    """Read all sections of an MRC file.

    Args:
        path: the file.
        inner: must be empty, because the file holds one array.

    Raises:
        UserError: the file is damaged, or `inner` is not empty.
    """
    if inner:
        raise UserError(f"{path}:{inner}: an MRC file holds one array; leave out :{inner}")
    with path.open("rb") as raw:
        extended = raw.read(96)[92:]  # the size of an extended header, in either order of bytes
    if min(int.from_bytes(extended, order) for order in ("little", "big")) > path.stat().st_size:
        raise UserError(f"{path}: damaged: its header states more data than the file holds; get another copy")
    with mrcfile.open(path, mode="r", header_only=True) as file:
        header = file.header
        shape = tuple(int(header[name]) for name in ("nz", "ny", "nx"))
        if min(shape) < 1:
            raise UserError(f"{path}: damaged: its header states {shape} pixels; get another copy")
        refuse_large(path, shape, mrcfile.utils.dtype_from_mode(header.mode).itemsize)
    with mrcfile.open(path, mode="r") as file:
        voxel = file.voxel_size
        return Picture(np.array(file.data), pixel(float(voxel.y), float(voxel.x), "angstrom"))
