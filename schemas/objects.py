"""Files published whole: a reader sees all of an object or none of it, whatever dies meanwhile."""

import glob
import hashlib
import os
import platform
import re
import shutil
import sys
import time
import uuid
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from schemas.runtime.errors import UserError

PARTIAL = ".partial"
OURS = re.compile(r"\..+\.[^.]*_\d+_[0-9a-f]{32}\.partial")  # names of partial objects that we write
REMOVED = ".removed-"  # perhaps half of it is gone already
REPLACED = ".replaced-"  # whole, while another folder is moved into its place
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


def publish_alone(path: Path, data: bytes) -> None:
    """Publish a file that lies in no store of ours, and remove what killed writers of it have left beside it."""
    sweep_beside(path)
    publish(path, data)


def publish_folder(path: Path, objects: Iterable[tuple[str, bytes]]) -> None:
    """Write a folder of objects, by key, in one step: beside its place, then renamed. An OSError leaves no trace.

    A folder that is there already is removed when the new one is in its place.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    recover(path)
    partial = _partial(path)
    try:
        for key, data in objects:
            publish(partial / key, data, durable=True)
        if path.exists():
            set_aside(path, REPLACED)
        partial.rename(path)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    finally:
        recover(path)


def recover(path: Path) -> None:
    """Finish what a killed `publish_folder` has begun at a place.

    The old folder goes back to its place if that is empty; otherwise the new one is there, and the old one is removed.
    """
    sweep_beside(path)
    for old in _aside(path, REPLACED):
        if path.is_dir() and any(path.iterdir()):
            old.rename(_new_aside(path, REMOVED))
        else:
            old.rename(path)
    sweep_removed(path)


def set_aside(path: Path, word: str = REMOVED) -> None:
    """Move a folder away from its place whole; `sweep_removed` removes it."""
    path.rename(_new_aside(path, word))


def sweep_removed(path: Path) -> None:
    """Remove what was set aside from a place, also by a process that was killed. What cannot be removed is named."""
    for left in _aside(path, REMOVED):
        if reason := _remove(left):
            print(f"{left}: cannot be removed ({reason}); remove it yourself", file=sys.stderr)


def _remove(folder: Path) -> str | None:
    """Remove a folder as far as possible. Returns the first reason why something of it stays."""
    errors: list[BaseException] = []
    shutil.rmtree(folder, onexc=lambda _function, _name, error: errors.append(error))
    left = (error for error in errors if not isinstance(error, FileNotFoundError))  # another process is at it, too
    return next((getattr(error, "strerror", None) or type(error).__name__ for error in left), None)


def _new_aside(path: Path, word: str) -> Path:
    return path.with_name(f"{path.name}{word}{uuid.uuid4().hex}")


def _aside(path: Path, word: str) -> list[Path]:
    """Folders that were set aside from a place."""
    found = path.parent.glob(f"{glob.escape(path.name + word)}*")
    return [left for left in found if re.fullmatch("[0-9a-f]{32}", left.name.removeprefix(path.name + word))]


def sweep_beside(path: Path) -> None:
    """Remove partial files and folders that killed writers of a path left beside it, by the rule of `sweep`."""
    for left in path.parent.glob(f".{glob.escape(path.name)}.*{PARTIAL}"):
        with suppress(FileNotFoundError):
            if not _abandoned(left):
                continue
            if left.is_dir():
                shutil.rmtree(left, ignore_errors=True)
            else:
                left.unlink()


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
        with suppress(FileNotFoundError):
            if path.is_file() and _abandoned(path):
                path.unlink()


def _abandoned(path: Path) -> bool:
    """Return whether a partial file or folder is left of a writer that is dead, or has written nothing for an hour."""
    if not is_partial(path.name):
        return False
    return _dead(path.name) or time.time() - max(one.stat().st_mtime for one in (path, *path.rglob("*"))) > STALE


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
