"""Reader of HDF5 files, with the axes that NeXus and EMD (of Berkeley, py4DSTEM and HyperSpy) state."""

import importlib.util
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from schemas.formats import microscope
from schemas.formats.hdf5_axes import axes_of, find_sibling, text_of, texts_of
from schemas.formats.hdf5_links import VALUES_REASON, find_dataset, outside_error
from schemas.formats.image import Shape, choose_array, is_image, refuse_large
from schemas.formats.stated import Stated
from schemas.runtime.errors import UserError

NAME = "HDF5"
NUMBER_KINDS = "biufcV"  # kinds of dtypes that are listed; V: complex numbers as pairs
GZIP_COMMAND = "h5repack -f GZIP=4 OLD NEW"
BUNDLED_FILTERS = range(32000, 33000)  # numbers of registered filters, most of which hdf5plugin has
CORRECTIONS = re.compile(r"pixel_?mask|flat_?field|countrate_correction")  # arrays of NXdetector that are no images
EMD_AXIS = re.compile(r"dim\d+")
NUMBERED_DATA = re.compile(r"data_\d+")
LINKED_SHAPE = (2, 2)  # stands for the unknown shape of what a link to another file leads to: smaller than any image


def read(path: Path, inner: str) -> Stated:
    """Read one dataset of an HDF5 file. Velox files are read by RosettaSciIO.

    Args:
        path: the file.
        inner: path of the dataset in the file, or a unique part of it; empty: the only image.

    Raises:
        UserError: there is no such dataset, or more than one, or it lies in other files, or needs a filter.
    """
    with h5py.File(path, "r") as file:
        velox = isinstance(file.get("Version", getlink=True), h5py.HardLink) and "Data" in file
        if not velox:
            return read_dataset(path, file, inner)
        notes = _notes_of_velox(path, file)
    return replace(microscope.read_by("emd", path, inner, select_type="images"), notes=notes)


def _notes_of_velox(path: Path, file: h5py.File) -> tuple[str, ...]:
    """Return a warning if images beside spectra have several frames, of which RosettaSciIO reads the first."""
    data = file["Data"]
    images = data.get("Image", {}).values() if "SpectrumImage" in data else ()
    found = [find_sibling(group, "Data") for group in images]
    if any(one is not None and one.ndim == 3 and one.shape[2] > 1 for one in found):
        return (f"warning: {path}: images beside spectra have several frames; the first is read",)
    return ()


def read_dataset(path: Path, file: h5py.File, inner: str, hidden: str = "#") -> Stated:
    """Read one dataset of numbers, with its calibration and its axes.

    Args:
        path: the file, for messages.
        file: the open file.
        inner: path of the dataset in the file, or a unique part of it; empty: the only image.
        hidden: groups whose names begin with this are left out.

    Raises:
        UserError: there is no such dataset, or more than one, or it lies in other files, or needs a filter.
    """
    item = find_dataset(path, file, inner) if inner else None
    if item is None:
        item = file[_choose_dataset(path, file, inner.strip("/"), hidden)]
    name = item.name.strip("/")
    if item.shape is None or item.dtype.kind not in NUMBER_KINDS:
        kind = "is a null dataset, without values" if item.shape is None else f"holds {item.dtype}"
        raise UserError(f"{path}:{name}: {kind}; give an array of numbers")
    if item.is_virtual or item.external:
        raise outside_error(path, name, VALUES_REASON)
    refuse_large(path, item.shape, item.dtype.itemsize)
    _refuse_filters(path, name, item)
    scale, offset = (_scalar(item.attrs, key, plain) for key, plain in (("scale_factor", 1.0), ("add_offset", 0.0)))
    undefined = [_scalar(item.attrs, key, np.nan) for key in ("_FillValue", "missing_value")]
    marks = tuple(mark for mark in undefined if not np.isnan(mark))
    axes, unclear = axes_of(file, item)
    return Stated(np.asarray(item[...]), axes, {}, scale, offset, marks, unclear=unclear)


def _choose_dataset(path: Path, file: h5py.File, inner: str, hidden: str) -> str:
    """Return the path of the named dataset, or of the only image. Links to other files may be images, too.

    Data that lie elsewhere are refused, and corrections of a detector are read only by name: neither a mask nor a
    flat field stands in for data that are not there.
    """
    shapes, links = _shapes(file, hidden), _outside_links(file, hidden)
    linked = dict.fromkeys(links, LINKED_SHAPE)
    images = {name: shape for name, shape in shapes.items() if not CORRECTIONS.search(name.rpartition("/")[2].lower())}
    local = any(map(is_image, images.values()))
    if inner:
        chosen = choose_array(path, inner, shapes | linked)
    elif data := [name for name in links if _is_data(file, name)] or ([] if local else links):
        chosen = data[0]
    elif corrections := [] if local else [name for name in shapes if name not in images]:
        names = ", ".join(corrections)
        raise UserError(f"{path}: holds no images but {names}; name it to read it: {path}:{corrections[0]}")
    else:
        chosen = choose_array(path, "", images | linked)
    if chosen in linked:
        find_dataset(path, file, chosen)  # raises the error that names the other file
    return chosen


def _outside_links(file: h5py.File, hidden: str) -> list[str]:
    """Return the paths of links to objects in other files, except axes, and links to other files as a whole."""
    found: list[str] = []

    def visit(name: str, link: object) -> None:
        if isinstance(link, h5py.ExternalLink) and link.path.strip("/") and not name.startswith(hidden):
            group, _, last = name.rpartition("/")
            if not EMD_AXIS.fullmatch(last) and last not in texts_of(file[f"/{group}"], "axes"):
                found.append(name)

    file.visititems_links(visit)
    return found


def _is_data(file: h5py.File, name: str) -> bool:
    """Return True for data_000001 and the like, and for the signal of NXdata."""
    group, _, last = name.rpartition("/")
    return bool(NUMBERED_DATA.fullmatch(last)) or last == text_of(file[f"/{group}"], "signal")


def _shapes(file: h5py.File, hidden: str) -> dict[str, Shape]:
    """Return the shapes of all arrays of numbers, by path. Links to them are not listed a second time."""
    found: dict[str, Shape] = {}

    def visit(name: str, item: Any) -> None:
        numbers = isinstance(item, h5py.Dataset) and item.shape is not None and item.dtype.kind in NUMBER_KINDS
        if numbers and not name.startswith(hidden):
            found[name] = item.shape

    file.visititems(visit)
    return found


def _refuse_filters(path: Path, name: str, item: h5py.Dataset) -> None:
    """Refuse a dataset whose values pass through a filter that is not installed. Name the package that has it."""
    made = item.id.get_create_plist()
    filters = {made.get_filter(index)[0]: made.get_filter(index)[3] for index in range(made.get_nfilters())}
    if not all(map(h5py.h5z.filter_avail, filters)) and importlib.util.find_spec("hdf5plugin"):
        importlib.import_module("hdf5plugin")  # registers its filters
    for number, title in filters.items():
        if not h5py.h5z.filter_avail(number):
            title = title.decode(errors="replace").split(";")[0].strip()
            remedy = "pip install hdf5plugin" if number in BUNDLED_FILTERS or number == 307 else "install it"
            needs = f"is compressed with the filter {number}{f' ({title})' if title else ''}, which is not installed"
            raise UserError(f"{path}:{name}: {needs}: {remedy}, or write a copy with gzip where it is ({GZIP_COMMAND})")


def _scalar(attributes: Mapping[str, Any], name: str, otherwise: float) -> float:
    """Return an attribute that is one number."""
    with suppress(TypeError, ValueError):
        return float(np.asarray(attributes[name]).reshape(-1)[0]) if name in attributes else otherwise
    return otherwise
