"""Files published whole: a reader sees all of an object or none of it, whatever dies meanwhile."""

import glob
import hashlib
import os
import platform
import re
import shutil
import time
import uuid
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from schemas.errors import UserError

PARTIAL = ".partial"
OURS = re.compile(r"\..+\.[^.]*_\d+_[0-9a-f]{32}\.partial")  # names of partial objects that we write
REMOVED = ".removed-"
STALE = 3600.0  # seconds


def publish(path: Path, data: bytes, *, durable: bool = False) -> None:
    """Write an object in one step: beside its place, then renamed. OSError (disk full) leaves no trace.

    durable: it survives a loss of power from now on; others are checked by their hashes when a run is resumed.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = _partial(path)
    try:
        with partial.open("wb") as file:
            file.write(data)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        os.replace(partial, path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def publish_folder(path: Path, objects: Iterable[tuple[str, bytes]]) -> None:
    """Write a folder of objects, by key, in one step: beside its place, then renamed. An OSError leaves no trace.

    A folder that is there already is removed when all is written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    for left in path.parent.glob(f".{glob.escape(path.name)}.*{PARTIAL}"):
        if _dead(left.name):
            shutil.rmtree(left, ignore_errors=True)
    partial = _partial(path)
    try:
        for key, data in objects:
            publish(partial / key, data, durable=True)
        if path.exists():
            set_aside(path)  # until the new one is in its place
        partial.rename(path)
        sweep_removed(path)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise


def set_aside(path: Path) -> None:
    """Move a folder away from its place whole; `sweep_removed` removes it."""
    path.rename(path.with_name(f"{path.name}{REMOVED}{uuid.uuid4().hex}"))


def sweep_removed(path: Path) -> None:
    """Remove what was set aside from a place, also by a process that was killed."""
    for left in path.parent.glob(f"{glob.escape(path.name + REMOVED)}*"):
        if re.fullmatch("[0-9a-f]{32}", left.name.removeprefix(path.name + REMOVED)):
            shutil.rmtree(left, ignore_errors=True)


def is_partial(name: str) -> bool:
    """Return whether a file of this name is an object that we are writing, or that a killed process has left."""
    return OURS.fullmatch(name) is not None


def _partial(path: Path) -> Path:
    return path.with_name(f".{path.name}.{platform.node()}_{os.getpid()}_{uuid.uuid4().hex}{PARTIAL}")


def publish_if_changed(path: Path, data: bytes, *, durable: bool = False) -> None:
    """Publish, unless the same bytes are there already."""
    if read(path) != data:
        publish(path, data, durable=durable)


def read(path: Path) -> bytes | None:
    """The bytes of an object; None if there is none."""
    try:
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None


def inside(root: Path, key: str | Path) -> Path:
    """Return the path of an object in a store or model. UserError: a link leads out of that folder.

    The folder itself may be reached by a link: that is its user's choice, what lies within is its author's.
    """
    path = root / key
    if not Path(os.path.realpath(path)).is_relative_to(os.path.realpath(root)):
        raise UserError(
            f"{path}: leads out of {root}; links out of a store or model are not followed: "
            f"if you trust them, cp -rL {root} COPY puts the files in place of the links"
        )
    return path


def sha256(data: bytes) -> str:
    """Hexadecimal sha256."""
    return hashlib.sha256(data).hexdigest()


def sha256_of(path: Path) -> str:
    """Hexadecimal sha256 of a file, however large; OSError if it cannot be read."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_of_folder(folder: Path) -> str:
    """Hexadecimal sha256 of the names and contents of all files in a folder; OSError if one cannot be read."""
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        digest.update(f"{path.relative_to(folder).as_posix()}\0{sha256_of(path)}\0".encode())
    return digest.hexdigest()


def sweep(folder: Path, *, deep: bool = True) -> None:
    """Remove what killed writers left behind: writers of this machine that are dead, of others after an hour.

    deep: in the folders below, too.
    """
    for path in (folder.rglob if deep else folder.glob)(f".*{PARTIAL}"):
        with suppress(FileNotFoundError, IsADirectoryError):
            if not is_partial(path.name):
                continue
            if _dead(path.name) or time.time() - path.stat().st_mtime > STALE:
                path.unlink()


def _dead(name: str) -> bool:
    """Whether the writer of an unfinished object ran on this machine, and runs no more."""
    node, _, pid = name.removesuffix(PARTIAL).rpartition("_")[0].rpartition("_")
    if not node.endswith(f".{platform.node()}") or not pid.isdigit():
        return False
    try:
        os.kill(int(pid), 0)
    except OSError as error:
        return isinstance(error, ProcessLookupError)  # else it lives, and is another user's
    return False
