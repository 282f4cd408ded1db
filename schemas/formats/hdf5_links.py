"""Detection of objects in an HDF5 file that lead into other files: external links, virtual datasets, external storage.

HDF5 follows all three silently. A file from an untrusted source could therefore read any other file that the user
may read. These objects are found without following a link, and refused.
"""

from collections.abc import Iterator
from pathlib import Path

import h5py
from h5py import h5d, h5l, h5o

from schemas.runtime.errors import UserError

MOST = 1_000_000  # maximum number of links of a file that are checked
LINK = "is a link to another file"
VALUES = "its values lie in other files or datasets"


def refuse_elsewhere(path: Path) -> None:
    """Refuse a file in which any object leads into another file, for readers that may read all of the file.

    HDF5 visits each group once, so the search ends even if hard links form a circle.

    Raises:
        UserError: an object leads into another file, or there are too many links to check.
    """
    with h5py.File(path, "r") as file:
        looked = iter(range(MOST))

        def visit(name: bytes, link: h5l.LinkInfo) -> UserError | None:
            if next(looked, None) is None:
                return UserError(f"{path}: has more than {MOST:,} links; copy the data into a smaller file")
            reason = _elsewhere(file, name, link)
            return elsewhere(path, name.decode(errors="replace"), reason) if reason else None

        if error := file.id.links.visit(visit, info=True):
            raise error


def refuse_link(path: Path, file: h5py.File, inner: str) -> None:
    """Refuse the path of an array if it leads through a link to another file.

    Args:
        path: the file, for the message.
        file: the open file.
        inner: path of the array in the file.

    Raises:
        UserError: there is such a link.
    """
    for name, link in _links(file, inner):
        if isinstance(link, h5py.ExternalLink):
            raise elsewhere(path, name, LINK)


def elsewhere(path: Path, name: str, reason: str) -> UserError:
    """Return the error for an object that leads into another file.

    Args:
        path: the file.
        name: path of the object in the file.
        reason: the way in which it leads into another file.
    """
    return UserError(f"{path}:{name}: {reason}; copy the data into this file (h5copy, h5repack)")


def _links(group: h5py.Group, inner: str) -> Iterator[tuple[str, object]]:
    """Yield the links along a path with their names, up to the first that is not a hard link."""
    names = [name for name in inner.split("/") if name]
    for depth, name in enumerate(names, 1):
        link = group.get(name, getlink=True) if isinstance(group, h5py.Group) else None
        yield "/".join(names[:depth]), link
        if not isinstance(link, h5py.HardLink):
            return
        group = group[name]


def _elsewhere(file: h5py.File, name: bytes, link: h5l.LinkInfo) -> str:
    """Describe how a link, or the dataset behind it, leads into another file. Return an empty text if it does not."""
    if link.type == h5l.TYPE_SOFT:  # the target of a soft link is in this file, and is visited itself
        return ""
    if link.type != h5l.TYPE_HARD:
        return LINK
    item = h5o.open(file.id, name)  # twice as fast as file[name]
    return VALUES if isinstance(item, h5d.DatasetID) and _stored_elsewhere(item) else ""


def _stored_elsewhere(dataset: h5d.DatasetID) -> bool:
    made = dataset.get_create_plist()
    if made.get_layout() == h5d.VIRTUAL:
        return any(made.get_virtual_filename(index) != "." for index in range(made.get_virtual_count()))
    return bool(made.get_external_count())
