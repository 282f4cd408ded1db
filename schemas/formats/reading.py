"""Reading of image files, whose kind is recognised by their first bytes or by their suffix. Errors become one line."""

import glob
import importlib
import logging
import re
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

from schemas.formats import isolated_reader
from schemas.formats.image import Picture, Rows
from schemas.formats.stated import to_picture
from schemas.runtime.errors import UserError
from schemas.runtime.publish import refuse_irregular

HEAD_BYTES = 512  # bytes by which the kind of a file is recognised
NUMPY_MAGIC = b"\x93NUMPY"
HDF5 = b"\x89HDF\r\n\x1a\n"
MAGIC = {
    b"II*\0": "tiff",
    b"MM\0*": "tiff",
    b"II+\0": "tiff",
    b"MM\0+": "tiff",
    NUMPY_MAGIC: "npy",
    b"PK\3\4": "npy",
    b"MATLAB": "mat",
    HDF5: "hdf5",
}
SUFFIXES = {
    "microscope": (".dm3", ".dm4", ".hspy", ".ser", ".emi", ".tvips"),
    "mat": (".mat",),
    "tiff": (".tif", ".tiff"),
    "npy": (".npy", ".npz"),
    "hdf5": (".h5", ".hdf5", ".hdf", ".nxs", ".emd"),
    "mrc": (".mrc", ".mrcs", ".rec", ".st", ".ali", ".map"),
}
MISSING_PACKAGE = re.compile(r"(?:requires the|No module named|The) '(\w+)[\w.]*'(?: package| library was not found|$)")
PACKAGES = {  # package to be installed for a missing module of readers
    "imagecodecs": "imagecodecs",
    "compression": "imagecodecs",  # Python before 3.14 has no module for Zstandard
    "hdf5plugin": "hdf5plugin",
    "sparse": "sparse",
    "zarr": "zarr",
}
UNSUPPORTED_ERRORS = (NotImplementedError, ImportError)  # errors that say nothing about damage
KINDS_BY_SUFFIX = ("microscope", "mat")  # recognised by suffix, because their files may be HDF5


def read(text: str, option: str = "--from ", rows: Rows | None = None) -> tuple[Path, Picture]:
    """Read the images of a file, written `file`, or `file:array` if it holds several arrays.

    The file is read in a separate process, except for a plain NPY file, whose size is known before it is read.

    Args:
        text: the file, as the user wrote it.
        option: what stands before it on the command line, for messages.
        rows: the rows that are read of images with three axes; None: all.

    Returns:
        The path of the file, and its images.

    Raises:
        UserError: the file is missing, empty, unreadable, damaged or too large, or holds no image, or several.
    """
    path, inner = _split_name(text, option)
    try:
        kind, head = _kind_and_head(path)
        if head.startswith(NUMPY_MAGIC):
            return path, read_as(kind, path, inner, rows)
        if kind == "microscope":
            _refuse_irregular_companions(path)
        return path, isolated_reader.read(kind, path, inner, rows)
    except OSError as error:
        raise UserError(f"{path}: {error.strerror or error}; give a readable file") from None
    except ValueError as error:
        raise _unreadable(kind, path, error) from None


def with_array(text: str, name: str) -> str:
    """Return `file:array` for a file, unless an array is named in it already.

    Args:
        text: the file, as the user wrote it.
        name: name of the array.

    Raises:
        UserError: there is no such file.
    """
    _, inner = _split_name(text, "")
    return text if inner else f"{text}:{name}"


def read_as(kind: str, path: Path, inner: str, rows: Rows | None = None) -> Picture:
    """Read the images of a file of a known kind in this process.

    Args:
        kind: kind of the file, a module of `schemas.formats`.
        path: the file.
        inner: name of the array in it, or empty.
        rows: as for `read`; only HDF5 reads them alone.

    Raises:
        UserError: as for `read`.
    """
    try:
        with _silence_readers():
            if kind == "hdf5":
                return to_picture(path, _reader(kind).read(path, inner, rows))
            picture = to_picture(path, _reader(kind).read(path, inner))
            return rows.cut(path, picture) if rows else picture
    except (UserError, MemoryError):
        raise
    except Exception as error:  # damaged files make readers raise errors of any kind
        raise _unreadable(kind, path, error) from None


def _reader(kind: str) -> ModuleType:
    return importlib.import_module(f"schemas.formats.{kind}")


def _unreadable(kind: str, path: Path, error: Exception) -> UserError:
    """Return the error for a file that a library does not read: a package is missing, or the file is unusual."""
    reason = f"{type(error).__name__}: {error}".splitlines()[0][:120]
    if (match := MISSING_PACKAGE.search(str(error))) and (package := PACKAGES.get(match[1])):
        return UserError(f"{path}: needs the package {package}, which is not installed: pip install {package}")
    if isinstance(error, UNSUPPORTED_ERRORS):
        return UserError(f"{path}: cannot be read as {_reader(kind).NAME} ({reason}); save it in another format")
    remedy = "get another copy, or save it in another format"
    return UserError(f"{path}: cannot be read as {_reader(kind).NAME} ({reason}); {remedy}")


def _split_name(text: str, option: str) -> tuple[Path, str]:
    """Split a text into the file and the name after it: `file.h5:path/in/file`."""
    for index in [len(text), *(i for i, letter in enumerate(text) if letter == ":")]:
        path = Path(text[:index])
        if text[:index] and path.is_file():
            return path, text[index + 1 :]
    place = next((path for path in (Path(text), Path(text.rpartition(":")[0])) if path.exists()), Path(text))
    if place.is_dir() and place == Path(text):
        remedy = "save it as .hspy" if text.rstrip("/").endswith(".zspy") else "give the files in it"
        raise UserError(f"{option}{text}: is a folder; {remedy}")
    if place.exists() and not place.is_dir():
        raise UserError(f"{option}{text}: is a device or a pipe; give a regular file")
    raise UserError(f"{option}{text}: no such file; give a file, or file:array")


def _kind_and_head(path: Path) -> tuple[str, bytes]:
    """Return the kind of a file, from its first bytes and its suffix, and these bytes."""
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
    if not head:
        raise UserError(f"{path}: is empty; give another file")
    named = next((kind for kind, suffixes in SUFFIXES.items() if path.suffix.lower() in suffixes), None)
    by_magic = next((kind for magic, kind in MAGIC.items() if head.startswith(magic)), None)
    by_magic = by_magic or ("mrc" if head[208:212] == b"MAP " else None)
    kind = named if named in KINDS_BY_SUFFIX else by_magic or named
    if kind is None:
        there = " ".join(suffix for suffixes in SUFFIXES.values() for suffix in suffixes)
        raise UserError(f"{path}: this kind of file cannot be read; give one of: {there}")
    return kind, head


def _refuse_irregular_companions(path: Path) -> None:
    """Refuse pipes and devices beside a file that its reader may open, too: files of .ser belong to an .emi."""
    stem = re.sub(r"_\d+$", "", path.stem)
    for beside in path.parent.glob(f"{glob.escape(stem)}*"):
        if beside.suffix.lower() in SUFFIXES["microscope"]:
            refuse_irregular(beside, sys.maxsize)


@contextmanager
def _silence_readers() -> Iterator[None]:
    """Silence warnings and logs of readers: the important ones are errors."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
