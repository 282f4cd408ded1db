"""Axes of an HDF5 dataset: those of EMD, else those of NeXus, else the dimension scales and labels of HDF5."""

import re
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import h5py
import numpy as np

from schemas.formats.axis_order import Axis, step_of
from schemas.formats.hdf5_links import find_dataset
from schemas.runtime.errors import UserError

MAX_AXIS_LENGTH = 1 << 24  # maximum length of an axis whose places are read
SIGNAL = "data"  # name of the signal of a group that names none
NO_AXIS = "."  # stands for an axis without places in NeXus


def axes_of(file: h5py.File, item: h5py.Dataset) -> tuple[tuple[Axis, ...], str]:
    """Return the axes of a dataset, and the reason if they are stated in a way that is not understood.

    Args:
        file: the open file.
        item: the dataset.
    """
    if (emd := _emd_axes(item)) is not None:
        return emd, ""
    group = find_nxdata(file, item)
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
    return _axis(scale, name) if _is_plain(scale) else Axis(name)


def _axis(scale: h5py.Dataset, name: str) -> Axis:
    places = scale[...] if scale.ndim == 1 and scale.size <= MAX_AXIS_LENGTH else ()
    return Axis(name, step_of(places), text_of(scale, "units"))


def find_sibling(group: h5py.Group, name: str) -> h5py.Dataset | None:
    """Return a small dataset of a group, through links within the file, unless it lies in another file.

    Args:
        group: the group.
        name: name of the dataset.
    """
    with suppress(UserError):
        item = find_dataset(Path(), group.file, name if name.startswith("/") else f"{group.name}/{name}")
        return item if item is not None and _is_plain(item) else None
    return None


def _is_plain(item: h5py.Dataset) -> bool:
    return item.shape is not None and not (item.is_virtual or item.external)


def text_of(item: h5py.Dataset | h5py.Group, name: str) -> str:
    """Return the text of an attribute, which writers store as text, as bytes or as an array of one; or nothing.

    Args:
        item: the dataset or group.
        name: name of the attribute.
    """
    return next(iter(texts_of(item, name)), "")


def texts_of(item: h5py.Dataset | h5py.Group, name: str) -> list[str]:
    """Return the texts of an attribute.

    Args:
        item: the dataset or group.
        name: name of the attribute.
    """
    values = np.asarray(item.attrs.get(name, [])).reshape(-1).tolist()
    return [value.decode(errors="replace") if isinstance(value, bytes) else str(value) for value in values]
