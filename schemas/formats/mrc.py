"""MRC: an image or a stack, its voxels in angstrom."""

from pathlib import Path

import mrcfile
import numpy as np

from schemas.formats.image import Picture, refuse_large
from schemas.formats.pixel_sizes import pixel
from schemas.runtime.errors import UserError

NAME = "MRC"


def read(path: Path, inner: str) -> Picture:
    """All sections."""
    if inner:
        raise UserError(f"{path}:{inner}: an MRC file holds one array; leave out :{inner}")
    with path.open("rb") as raw:
        extended = raw.read(96)[92:]  # the size of an extended header, in either order of bytes
    if min(int.from_bytes(extended, order) for order in ("little", "big")) > path.stat().st_size:
        raise UserError(f"{path}: its header promises more than the file holds: damaged; get another copy")
    with mrcfile.open(path, mode="r", header_only=True) as file:
        header = file.header
        shape = tuple(int(header[name]) for name in ("nz", "ny", "nx"))
        if min(shape) < 1:
            raise UserError(f"{path}: its header says {shape} pixels: damaged; get another copy")
        refuse_large(path, shape, mrcfile.utils.dtype_from_mode(header.mode).itemsize)
    with mrcfile.open(path, mode="r") as file:
        voxel = file.voxel_size
        return Picture(np.array(file.data), pixel(float(voxel.y), float(voxel.x), "angstrom"))
