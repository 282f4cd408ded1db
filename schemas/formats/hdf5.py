"""Reader of HDF5 files, with the axes that NeXus and EMD (of Berkeley, py4DSTEM and HyperSpy) state."""

import importlib.util
import re
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from schemas.formats import microscope
from schemas.formats.axis_order import Axis, sorted_axes, step_of
from schemas.formats.hdf5_links import (
    VALUES_REASON,
    find_dataset,
    find_sibling,
    is_plain,
    outside_error,
    text_of,
    texts_of,
)
from schemas.formats.image import Rows, Shape, choose_array, index_rows, is_image
from schemas.formats.rotation_series import rotation_hdf5
from schemas.formats.stated import Stated
from schemas.runtime.errors import UserError

NAME = "HDF5"
NUMBER_KINDS = "biufcV"  # kinds of dtypes that are listed; V: complex numbers as pairs
GZIP_COMMAND = "h5repack -f GZIP=4 OLD NEW"
BUNDLED_FILTERS = range(32000, 33000)  # numbers of registered filters, most of which hdf5plugin has
CORRECTIONS = re.compile(r"pixel_?mask|flat_?field|countrate_correction")  # arrays of NXdetector that are no images
SCAN_RANK = 4  # number of axes of a scan: rows, columns, qy, qx
TURNS = ("QR_rotation", "QR_flip")  # rotation [rad] and mirroring of the patterns against the scan, in py4DSTEM
MAX_AXIS_LENGTH = 1 << 24  # maximum length of an axis whose places are read
SIGNAL = "data"  # name of the signal of a group that names none
NO_AXIS = "."  # stands for an axis without places in NeXus
EMD_AXIS = re.compile(r"dim\d+")
NUMBERED_DATA = re.compile(r"data_\d+")
LINKED_SHAPE = (2, 2)  # stands for the unknown shape of what a link to another file leads to: smaller than any image


def read(path: Path, inner: str, rows: Rows | None = None) -> Stated:
    """Read one dataset of an HDF5 file. Velox files are read by RosettaSciIO.

    Args:
        path: the file.
        inner: path of the dataset in the file, or a unique part of it; empty: the only image.
        rows: the rows that are read of images with three axes; None: all.

    Raises:
        UserError: there is no such dataset, or more than one, or it lies in other files, or needs a filter.
    """
    with h5py.File(path, "r") as file:
        velox = isinstance(file.get("Version", getlink=True), h5py.HardLink) and "Data" in file
        if not velox:
            return read_dataset(path, file, inner, rows=rows)
    return microscope.read_by("emd", path, inner, select_type="images", load_SI_image_stack=True)


def read_dataset(path: Path, file: h5py.File, inner: str, hidden: str = "#", rows: Rows | None = None) -> Stated:
    """Read one dataset of numbers, with its calibration and its axes.

    Args:
        path: the file, for messages.
        file: the open file.
        inner: path of the dataset in the file, or a unique part of it; empty: the only image.
        hidden: groups whose names begin with this are left out.
        rows: the rows that are read of images with three axes; None: all.

    Raises:
        UserError: there is no such dataset, or more than one, or it lies in other files, or needs a filter.
    """
    item = find_dataset(path, file, inner) if inner else None
    if item is None and not inner:
        item = rotation_hdf5.find_series(file)
    if item is None:
        item = file[_choose_dataset(path, file, inner.strip("/"), hidden)]
    name = item.name.strip("/")
    if not _holds_numbers(item):
        holds = "text" if item.dtype.kind in NUMBER_KINDS else item.dtype
        kind = "is a null dataset, without values" if item.shape is None else f"holds {holds}"
        raise UserError(f"{path}:{name}: {kind}; give an array of numbers")
    if item.is_virtual or item.external:
        raise outside_error(path, name, VALUES_REASON)
    dtype, group = item.dtype, find_nxdata(file, item)
    axes, unclear = axes_of(item, group)
    order = rotation_hdf5.order_of(item) or sorted_axes(axes) or ()
    index = index_rows(path, item.shape, item.dtype.itemsize, rows, order)
    _refuse_filters(path, name, item)
    if item.dtype.kind == "i" and text_of(item, "_Unsigned").lower() == "true":
        dtype = np.dtype(item.dtype.str.replace("i", "u"))
    values = np.asarray(item[index]).view(dtype)
    undefined, valid = _limits(path, item, dtype)
    turned = _stated_turns(file, item) if item.ndim == SCAN_RANK else ""
    unit = text_of(item, "units")
    stated = Stated(
        values,
        axes,
        {},
        *_scaling(path, item, group),
        undefined,
        valid=valid,
        unit=unit,
        turned=turned,
        unclear=unclear,
    )
    return rotation_hdf5.add_beside(path, item, group, stated, rows)


def _stated_turns(file: h5py.File, item: h5py.Dataset) -> str:
    """Return how py4DSTEM states that the patterns are turned or mirrored against the scan; empty if they are not."""
    root = file[item.name.split("/")[1]]
    found: dict[str, float] = {}

    def visit(name: str, one: h5py.HLObject) -> None:
        last = name.rpartition("/")[2]
        if last in TURNS and isinstance(one, h5py.Dataset) and one.size == 1 and one.dtype.kind in "biuf":
            found[last] = float(np.asarray(one[...]).reshape(-1)[0])

    if isinstance(root, h5py.Group):
        root.visititems(visit)
    return ", ".join(f"{name} = {value:g}" for name, value in found.items() if value)


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
        if isinstance(item, h5py.Dataset) and _holds_numbers(item) and not name.startswith(hidden):
            found[name] = item.shape

    file.visititems(visit)
    return found


def _holds_numbers(item: h5py.Dataset) -> bool:
    """Return False for texts, which MATLAB stores as numbers, and for datasets without values."""
    return item.shape is not None and item.dtype.kind in NUMBER_KINDS and text_of(item, "MATLAB_class") != "char"


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


def _numbers_of(path: Path, item: h5py.Dataset | h5py.Group, key: str, most: int | None = None) -> np.ndarray:
    """Return the numbers of an attribute, none if it is missing. Refuse texts, and more numbers than expected."""
    stored = np.asarray(item.attrs.get(key, np.zeros(0))).reshape(-1)
    with suppress(TypeError, ValueError):
        numbers = stored if stored.dtype.kind in "biuf" else stored.astype(np.float64)
        if most is None or len(numbers) <= most:
            return numbers
    name, values = item.name.strip("/"), ", ".join(map(str, stored[:3]))
    rule = "must be one number" if most == 1 else "must be numbers"
    raise UserError(f"{path}:{name}: its attribute {key} = {values}: {rule}; correct or delete it")


def _scaling(path: Path, item: h5py.Dataset, group: h5py.Group | None) -> tuple[float, float]:
    """Return scale and offset of the values, as netCDF or NXdata states them.

    NXdata does not say in which order its two numbers are applied, so only one of them is understood.
    """
    given = {key: _numbers_of(path, item, key, 1) for key in ("scale_factor", "add_offset")}
    numbers = {key: float(values[0]) for key, values in given.items() if len(values)}
    if group is not None:
        keys = {key: (key, f"{item.name.rpartition('/')[2]}_{key}") for key in ("scaling_factor", "offset")}
        nexus = {key: number for key in keys if (number := _nexus_number(path, item, group, keys[key])) is not None}
        if len(nexus) + bool(numbers) > 1 and nexus:
            stated = " and ".join([*nexus, *numbers])
            raise UserError(
                f"{path}:{item.name.strip('/')}: states {stated}, in no clear order; apply them to the data"
            )
        numbers |= nexus
    scale = numbers.get("scale_factor", numbers.get("scaling_factor", 1.0))
    return scale, numbers.get("add_offset", numbers.get("offset", 0.0))


def _nexus_number(path: Path, item: h5py.Dataset, group: h5py.Group, keys: Sequence[str]) -> float | None:
    """Return a number that is a field or an attribute of NXdata, or an attribute of its signal."""
    for key in keys:
        if (stored := find_sibling(group, key)) is not None and stored.size == 1 and stored.dtype.kind in "biuf":
            return float(np.asarray(stored[...]).reshape(-1)[0])
        for holder in (item, group):
            if len(numbers := _numbers_of(path, holder, key, 1)):
                return float(numbers[0])
    return None


def _limits(path: Path, item: h5py.Dataset, dtype: np.dtype[Any]) -> tuple[tuple[float, ...], tuple[float, float]]:
    """Return the stored values that mean no measurement, and the lowest and highest valid ones, as netCDF states."""

    def numbers(key: str, most: int | None = None) -> list[float]:
        found = _numbers_of(path, item, key, most)
        return [float(one) for one in (found.astype(item.dtype).view(dtype) if dtype != item.dtype else found)]

    marks = [mark for key in ("_FillValue", "missing_value") for mark in numbers(key) if not np.isnan(mark)]
    low, high = numbers("valid_range", 2) if len(numbers("valid_range", 2)) == 2 else (-np.inf, np.inf)
    return tuple(marks), (max([low, *numbers("valid_min", 1)]), min([high, *numbers("valid_max", 1)]))


def axes_of(item: h5py.Dataset, group: h5py.Group | None) -> tuple[tuple[Axis, ...], str]:
    """Return the axes of a dataset, and the reason if they are stated in a way that is not understood.

    Args:
        item: the dataset.
        group: the NXdata whose signal it is.
    """
    if (emd := _emd_axes(item)) is not None:
        return emd, ""
    for holder in (item, group):
        if names := _axis_names(holder) if holder else []:
            places = _indices(group, names, item.ndim)
            if places is None:
                return (), f"its axes are stated as {', '.join(names)}, which do not fit {item.ndim} dimensions"
            found = dict(zip(places, (_nexus_axis(group or item.parent, name) for name in names), strict=True))
            return tuple(found.get(index, Axis()) for index in range(item.ndim)), ""
    axes = tuple(_scale_axis(item, index) for index in range(item.ndim))
    return (axes if any(axis != Axis() for axis in axes) else ()), ""


def _emd_axes(item: h5py.Dataset) -> tuple[Axis, ...] | None:
    group = item.parent
    first = 0 if find_sibling(group, "dim0") is not None else 1
    scales = [find_sibling(group, f"dim{first + index}") for index in range(item.ndim)]
    if not item.ndim or any(scale is None for scale in scales):
        return None
    axes = [_axis(scale, text_of(scale, "name")) for scale in scales]
    if first == 0 or "4DSTEM_experiment" in item.name:  # py4DSTEM calls the rows x
        return tuple(Axis("", axis.step, axis.unit) for axis in axes)
    if not any(axis.name for axis in axes) and item.name.startswith("/signals/"):  # written by HyperSpy, reversed
        return ()
    return tuple(axes)


def find_nxdata(file: h5py.File, item: h5py.Dataset) -> h5py.Group | None:
    """Return the group whose signal is this very dataset, by whichever link; of several, its parent.

    Args:
        file: the open file.
        item: the dataset.
    """

    def visit(_: str, group: h5py.HLObject) -> h5py.Group | None:
        if not isinstance(group, h5py.Group) or not {"axes", "signal", "NX_class"} & set(group.attrs):
            return None
        return group if find_sibling(group, text_of(group, "signal") or SIGNAL) == item else None

    marked = item.parent if text_of(item, "signal") == "1" else None  # before NeXus 3.1
    found = marked or visit("", item.parent) or visit("", file["/"]) or file.visititems(visit)
    return found if isinstance(found, h5py.Group) else None


def _axis_names(holder: h5py.Dataset | h5py.Group) -> list[str]:
    """Return the names of axes: a list, or one text in which colons or commas part them."""
    return [name.strip(" []") for text in texts_of(holder, "axes") for name in re.split("[:,]", text)]


def _indices(group: h5py.Group | None, names: Sequence[str], rank: int) -> list[int] | None:
    """Return the dimension of each axis: `x_indices` states it, else the place in the list; None if this is unclear."""
    stated = [_integers(group, f"{name}_indices") if group else [] for name in names]
    if len(names) != rank and not all(len(one) == 1 for one in stated):
        return None
    places = [one[0] if len(one) == 1 else index for index, one in enumerate(stated)]
    return places if len(set(places)) == len(places) and set(places) <= set(range(rank)) else None


def _integers(group: h5py.Group, name: str) -> list[int]:
    return [int(text) for text in texts_of(group, name) if text.isdecimal()]


def _nexus_axis(group: h5py.Group, name: str) -> Axis:
    if name == NO_AXIS:
        return Axis()
    scale = find_sibling(group, name)
    return Axis(name) if scale is None else _axis(scale, name)


def _scale_axis(item: h5py.Dataset, index: int) -> Axis:
    """Return an axis by the first dimension scale that is attached to it, and its label."""
    dimension = item.dims[index]
    scale = dimension[0] if len(dimension) else None
    if not isinstance(scale, h5py.Dataset):
        return Axis(dimension.label)
    name = dimension.label or scale.name.rpartition("/")[2]
    return _axis(scale, name) if is_plain(scale) else Axis(name)


def _axis(scale: h5py.Dataset, name: str) -> Axis:
    places = scale[...] if scale.ndim == 1 and scale.size <= MAX_AXIS_LENGTH else ()
    return Axis(name, step_of(places), text_of(scale, "units"))
