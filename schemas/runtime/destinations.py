"""Places on disk that commands write to: which of them can be used, and who wrote what is there.

Only what carries the metadata of this project under its own key is replaced or removed, and only if it holds nothing
else: files that another program put there stay, and the command is refused before it has created anything.
"""

import argparse
import os
import re
from collections.abc import Collection, Iterator
from pathlib import Path

from schemas.runtime.errors import UserError
from schemas.runtime.publish import exists, is_folder, is_partial, keys

STORE = ("zarr.json", ".zgroup", ".zarray", ".zmetadata")  # what marks a folder as a Zarr store, version 3 or 2
CHUNK = re.compile(r"(.*/)c(?:/\d+)*")  # of which array a key holds a chunk


def local(text: str) -> Path:
    """Return the path on this machine that an argument names, with `~` expanded; a type for argparse.

    Raises:
        argparse.ArgumentTypeError: the text is an address such as s3://bucket/x.zarr, or names an unknown user.
    """
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", text):
        raise argparse.ArgumentTypeError(f"{text}: addresses are not supported; give a path on this machine")
    try:
        return Path(text).expanduser()
    except RuntimeError:
        raise argparse.ArgumentTypeError(
            f"{text}: the home folder of {Path(text).parts[0]} is not known; write the path without ~"
        ) from None


def output(option: str, path: Path) -> Path:
    """Return the place that an option names: the path as it is, or where its links lead. Nothing is created.

    Raises:
        UserError: the path or one of its folders is a link to nowhere, or the path is the root of the file system or
            lies inside a Zarr store.
    """
    for folder in (path, *path.parents):
        if folder.is_symlink() and not exists(folder):
            what = "is" if folder == path else f"lies in {folder},"
            raise UserError(f"{option} {path}: {what} a link to nowhere; choose another place")
    real = Path(os.path.realpath(path))
    if real == real.parent:
        raise UserError(f"{option} {path}: is the root of the file system; choose a place in a folder")
    if store := next((folder for folder in real.parents if is_store(folder)), None):
        raise UserError(f"{option} {path}: lies inside the store {store}; choose another place")
    return path if path.name and str(real) == os.path.abspath(path) else real


def is_store(folder: Path) -> bool:
    """Return whether a folder is a Zarr store, or a group or an array of one."""
    return any(os.path.isfile(folder / name) for name in STORE)


def refuse_file(option: str, path: Path) -> None:
    """Raise UserError if something other than a folder is at a place."""
    if exists(path) and not is_folder(path):
        raise UserError(f"{option} {path}: is a file; choose another place")


def refuse_store(option: str, path: Path) -> None:
    """Raise UserError if a place for reports is a file or a Zarr store."""
    refuse_file(option, path)
    if is_store(path):
        raise UserError(f"{option} {path}: is a Zarr store; choose another folder")


def refuse_strangers(option: str, path: Path, written: Collection[str], command: str) -> None:
    """Raise UserError if a store holds a file that the command did not write.

    written: the keys of its metadata (`train/phase/zarr.json`); chunks of the arrays among them are also its own.
    """
    if stranger := next(strangers(path, written), None):
        raise UserError(
            f"{option} {path}: holds {stranger}, which `{command}` did not write; move it away, or choose another place"
        )


def strangers(path: Path, written: Collection[str]) -> Iterator[str]:
    """Yield the keys in a store that are neither among these keys of metadata, nor chunks of their arrays."""
    arrays = {key.removesuffix("zarr.json") for key in written}
    for key in sorted(keys(path)):
        chunk = CHUNK.fullmatch(key)
        if key not in written and not (chunk and chunk[1] in arrays) and not is_partial(key.rpartition("/")[2]):
            yield key
