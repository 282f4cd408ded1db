"""Checks of the places on disk that commands write to: that they can be used, and that nothing foreign is lost.

A command replaces or removes only stores that carry the metadata of this project under its own key and hold nothing
else. If another program has put files there, the command is refused before it has created anything.
"""

import argparse
import os
import re
from collections.abc import Collection, Iterator
from pathlib import Path

from schemas.runtime.errors import UserError
from schemas.runtime.publish import exists, is_folder, is_partial, keys

STORE_FILES = ("zarr.json", ".zgroup", ".zarray", ".zmetadata")  # files that mark a Zarr store, version 3 or 2
CHUNK_KEY = re.compile(r"(.*/)c(?:/\d+)*")  # key of a chunk; group 1: its array


def local_path(text: str) -> Path:
    """Return the path on this machine that an argument names, with `~` expanded. This function is a type for argparse.

    Raises:
        argparse.ArgumentTypeError: the text is an address such as s3://bucket/x.zarr, or names an unknown user.
    """
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", text):
        raise argparse.ArgumentTypeError(f"{text}: addresses are not supported; give a path on this machine")
    try:
        path = Path(text).expanduser()
        return path if path.name not in ("", "..") else Path(os.path.realpath(path))  # `.` has no name of its own
    except RuntimeError:
        raise argparse.ArgumentTypeError(
            f"{text}: the home folder of {Path(text).parts[0]} is not known; write the path without ~"
        ) from None


def output_path(option: str, path: Path) -> Path:
    """Return the place that an option names, with links followed. Nothing is created.

    Args:
        option: the option, for messages.
        path: its value.

    Raises:
        UserError: the path or one of its folders is a link to nowhere, or the path is the root of the file system or
            lies inside a Zarr store.
    """
    for folder in (path, *path.parents):
        if folder.is_symlink() and not exists(folder):
            relation = "is" if folder == path else f"lies in {folder},"
            raise UserError(f"{option} {path}: {relation} a link to nowhere; choose another place")
    real = Path(os.path.realpath(path))
    if real == real.parent:
        raise UserError(f"{option} {path}: is the root of the file system; choose a place in a folder")
    if store := next((folder for folder in real.parents if is_store(folder)), None):
        raise UserError(f"{option} {path}: lies inside the store {store}; choose another place")
    return path if path.name and str(real) == os.path.abspath(path) else real


def is_store(folder: Path) -> bool:
    """Return True if a folder is a Zarr store, or a group or an array of one."""
    return any(os.path.isfile(folder / name) for name in STORE_FILES)


def refuse_file(option: str, path: Path) -> None:
    """Refuse a place that is occupied by something other than a folder.

    Args:
        option: the option that names the place, for the message.
        path: the place.

    Raises:
        UserError: there is a file.
    """
    if exists(path) and not is_folder(path):
        raise UserError(f"{option} {path}: is a file; choose another place")


def refuse_store(option: str, path: Path) -> None:
    """Refuse a place for reports that is a file or a Zarr store.

    Args:
        option: the option that names the place, for the message.
        path: the place.

    Raises:
        UserError: there is a file or a Zarr store.
    """
    refuse_file(option, path)
    if is_store(path):
        raise UserError(f"{option} {path}: is a Zarr store; choose another folder")


def refuse_foreign_files(option: str, path: Path, written: Collection[str], command: str) -> None:
    """Refuse a store that holds a file which the command did not write.

    Args:
        option: the option that names the place, for the message.
        path: the store.
        written: keys of its metadata (`train/phase/zarr.json`). Chunks of the arrays among them are taken as written by
            the command, too.
        command: the command, for the message.

    Raises:
        UserError: there is such a file.
    """
    if foreign := next(foreign_keys(path, written), None):
        raise UserError(
            f"{option} {path}: holds {foreign}, which `{command}` did not write; move it away, or choose another place"
        )


def foreign_keys(path: Path, written: Collection[str]) -> Iterator[str]:
    """Yield the keys in a store that are neither among given keys of metadata nor chunks of their arrays.

    Args:
        path: the store.
        written: keys of metadata.
    """
    arrays = {key.removesuffix("zarr.json") for key in written}
    for key in sorted(keys(path)):
        chunk = CHUNK_KEY.fullmatch(key)
        if key not in written and not (chunk and chunk[1] in arrays) and not is_partial(key.rpartition("/")[2]):
            yield key
