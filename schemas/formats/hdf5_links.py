"""Detection of objects in an HDF5 file that lead into other files: external links, virtual datasets, external storage.

HDF5 follows all three silently. A file from an untrusted source could therefore read any other file that the user
may read. These objects are found without following a link, and refused.
"""

from contextlib import suppress
from pathlib import Path

import h5py
import numpy as np
from h5py import h5d, h5l, h5o

from schemas.runtime.errors import UserError

MAX_LINKS = 1_000_000  # maximum number of links of a file that are checked
MAX_HOPS = 16  # maximum number of soft links that are followed one after another
LINK_REASON = "is a link to another file"
VALUES_REASON = "its values lie in other files or datasets"


def refuse_elsewhere(path: Path) -> None:
    """Refuse a file in which any object leads into another file, for readers that may read all of the file.

    HDF5 visits each group once, so the search ends even if hard links form a circle.

    Raises:
        UserError: an object leads into another file, or there are too many links to check.
    """
    with h5py.File(path, "r") as file:
        looked = iter(range(MAX_LINKS))

        def visit(name: bytes, link: h5l.LinkInfo) -> UserError | None:
            if next(looked, None) is None:
                return UserError(f"{path}: has more than {MAX_LINKS:,} links; copy the data into a smaller file")
            reason = _describe_outside(file, name, link)
            return outside_error(path, name.decode(errors="replace"), reason) if reason else None

        if error := file.id.links.visit(visit, info=True):
            raise error


def find_dataset(path: Path, file: h5py.File, inner: str) -> h5py.Dataset | None:
    """Return the dataset at a path, through links within the file; None if there is no dataset.

    Args:
        path: the file, for messages.
        file: the open file.
        inner: path of the dataset in the file.

    Raises:
        UserError: a link leads to another file.
    """
    item = find_item(path, file, inner)
    return item if isinstance(item, h5py.Dataset) else None


def find_item(path: Path, file: h5py.File, inner: str) -> h5py.HLObject | None:
    """Return the dataset or group at a path, through links within the file; None if there is nothing.

    Args:
        path: the file, for messages.
        file: the open file.
        inner: path of the object in the file.

    Raises:
        UserError: a link leads to another file.
    """
    names, group, followed = [name for name in inner.split("/") if name not in ("", ".")], file["/"], 0
    while names:
        name, *names = names
        link = group.get(name, getlink=True) if isinstance(group, h5py.Group) else None
        if isinstance(link, h5py.ExternalLink):
            there = f"{link.filename}:{link.path.strip('/')}"
            raise outside_error(path, f"{group.name}/{name}".strip("/"), LINK_REASON, there)
        if isinstance(link, h5py.HardLink):
            group = group[name]
        elif isinstance(link, h5py.SoftLink) and followed < MAX_HOPS:
            followed += 1
            group = file["/"] if link.path.startswith("/") else group
            names = [*(part for part in link.path.split("/") if part not in ("", ".")), *names]
        else:
            return None
    return group


def outside_error(path: Path, name: str, reason: str, there: str = "") -> UserError:
    """Return the error for an object that leads into another file.

    Args:
        path: the file.
        name: path of the object in the file.
        reason: the way in which it leads into another file.
        there: the other file and the path in it, if they are known.
    """
    remedy = "copy the data into this file (h5copy, h5repack)" + (f", or give {there}" if there else "")
    return UserError(f"{path}:{name}: {reason}; {remedy}")


def _describe_outside(file: h5py.File, name: bytes, link: h5l.LinkInfo) -> str:
    """Describe how a link, or the dataset behind it, leads into another file. Return an empty text if it does not."""
    if link.type == h5l.TYPE_SOFT:  # the target of a soft link is in this file, and is visited itself
        return ""
    if link.type != h5l.TYPE_HARD:
        return LINK_REASON
    item = h5o.open(file.id, name)  # twice as fast as file[name]
    return VALUES_REASON if isinstance(item, h5d.DatasetID) and _has_outside_values(item) else ""


def _has_outside_values(dataset: h5d.DatasetID) -> bool:
    made = dataset.get_create_plist()
    if made.get_layout() == h5d.VIRTUAL:
        return any(made.get_virtual_filename(index) != "." for index in range(made.get_virtual_count()))
    return bool(made.get_external_count())


def find_sibling(group: h5py.Group, name: str) -> h5py.Dataset | None:
    """Return a small dataset of a group, through links within the file, unless it lies in another file.

    Args:
        group: the group.
        name: name of the dataset.
    """
    with suppress(UserError):
        item = find_dataset(Path(), group.file, name if name.startswith("/") else f"{group.name}/{name}")
        return item if item is not None and is_plain(item) else None
    return None


def is_plain(item: h5py.Dataset) -> bool:
    """Return True for a dataset with values of its own, none of which lie in other files."""
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
