"""MRC: an image or a stack, its voxels in angstrom."""

from pathlib import Path

import mrcfile
import numpy as np

from schemas.errors import UserError
from schemas.formats.lengths import pixel
from schemas.formats.picture import Picture, refuse_large

NAME = "MRC"


def read(path: Path, inner: str) -> Picture:
    """All sections."""
    if inner:
        raise UserError(f"{path}:{inner}: an MRC file holds one array; leave out :{inner}")
    with mrcfile.open(path, mode="r", header_only=True) as file:
        header = file.header
        shape = tuple(int(header[name]) for name in ("nz", "ny", "nx"))
        if min(shape) < 1:
            raise UserError(f"{path}: its header says {shape} pixels: damaged; get another copy")
        refuse_large(path, shape, mrcfile.utils.dtype_from_mode(header.mode).itemsize)
    with mrcfile.open(path, mode="r") as file:
        voxel = file.voxel_size
        return Picture(np.array(file.data), pixel(float(voxel.y), float(voxel.x), "angstrom"))
