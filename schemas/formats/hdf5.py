"""Reader of HDF5 files: the dataset named after the file, or the only one that looks like an image."""

from pathlib import Path
from typing import Any

import h5py
import numpy as np

from schemas.formats import microscope
from schemas.formats.hdf5_links import VALUES, elsewhere, refuse_link
from schemas.formats.image import Picture, choose_array, refuse_large

NAME = "HDF5"


def read(path: Path, inner: str) -> Picture:
    """Read one dataset of an HDF5 file. For an EMD file of version 1 (written by py4DSTEM), also read metadata.

    Args:
        path: the file.
        inner: path of the dataset in the file; empty: the only image.

    Raises:
        UserError: there is no such dataset, or more than one, or it lies in other files.
    """
    if not inner and _is_emd(path):
        return microscope.read_by("emd", path, inner)
    return Picture(read_dataset(path, inner))


def _is_emd(path: Path) -> bool:
    with h5py.File(path, "r") as file:
        return "emd_group_type" in file.attrs


def read_dataset(path: Path, inner: str, hidden: str = "#") -> np.ndarray:
    """Read the values of one dataset of numbers.

    Args:
        path: the file.
        inner: path of the dataset in the file; empty: the only image.
        hidden: groups whose names begin with this are left out.

    Raises:
        UserError: there is no such dataset, or more than one, or it lies in other files.
    """
    with h5py.File(path, "r") as file:
        found: dict[str, h5py.Dataset] = {}

        def visit(name: str, item: Any) -> None:
            if isinstance(item, h5py.Dataset) and item.dtype.kind in "biufc" and not name.startswith(hidden):
                found[name] = item

        file.visititems(visit)
        if (wanted := inner.strip("/")) not in found:
            refuse_link(path, file, wanted)
        name = choose_array(path, wanted, {name: item.shape for name, item in found.items()})
        item = found[name]
        if item.is_virtual or item.external:
            raise elsewhere(path, name, VALUES)
        refuse_large(path, item.shape, item.dtype.itemsize)
        return np.asarray(item[...])
