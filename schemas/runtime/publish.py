"""Reading and writing of stores, runs, predictions and models. All access to their objects goes through this module.

An object is published whole: a reader sees all of it or nothing, even if the writer is killed. `create` adds an object
and never replaces one; `publish` replaces, for those who hold the lock of a place alone (`schemas.runtime.locks`).
Keys are paths relative to a store. Files of the user may be read without this module.
"""

import errno
import glob
import os
import platform
import re
import shutil
import stat
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

from schemas.runtime.errors import Interrupted, UserError
from schemas.runtime.hashes import sha256
from schemas.runtime.machine import memory
from schemas.runtime.terminal import say

PARTIAL_SUFFIX = ".partial"
PARTIAL_NAME = re.compile(r"\..+\.[^.]*_\d+_[0-9a-f]{32}\.partial")  # names of our partial objects
REMOVED_MARK = ".removed-"  # part of the name of a folder to be removed, which may be incomplete
REPLACED_MARK = ".replaced-"  # part of the name of a whole folder, until the new one is in its place
MAX_DOCUMENT = 1 << 26  # maximum size of a file of JSON [bytes]
STALE_SECONDS = 3600.0  # seconds after which a partial object of another machine is taken as abandoned
NO_LINKS = {errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EXDEV}  # of a file system without links


def publish(path: Path, data: bytes, *, durable: bool = False) -> None:
    """Write an object in one step: to a partial file beside its place, which is then renamed.

    If an OSError such as a full disk is raised, no trace is left.

    Args:
        path: place of the object.
        data: its bytes.
        durable: flush to disk, so that the object survives a loss of power. Other objects are checked by their hashes
            when the command is resumed.
    """
    with _written(path, data, durable=durable) as partial:
        os.replace(partial, path)


def create(path: Path, data: bytes, *, durable: bool = False) -> bool:
    """Add an object in one step, and never replace one: a writer that slept while others went on does no harm.

    Where the file system has no hard links, there is a moment in which another writer's object would be replaced.

    Args:
        path: place of the object.
        data: its bytes.
        durable: as for `publish`.

    Returns:
        True if the object now holds these bytes; False if there is another one.
    """
    if (there := read(path)) is not None:
        return there == data
    with _written(path, data, durable=durable) as partial:
        try:
            os.link(partial, path)
        except FileExistsError:
            return read(path) == data
        except OSError as error:
            if error.errno not in NO_LINKS:
                raise
            os.replace(partial, path)
    return True


@contextmanager
def _written(path: Path, data: bytes, *, durable: bool = False) -> Iterator[Path]:
    """Write a partial file beside the place of an object, and remove it in the end if it is still there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = _partial(path)
    try:
        with _undisturbed(path):
            with partial.open("wb") as file:
                file.write(data)
                if durable:
                    file.flush()
                    os.fsync(file.fileno())
            yield partial
    finally:
        partial.unlink(missing_ok=True)


def publish_alone(path: Path, data: bytes) -> None:
    """Publish a file outside of stores, and remove partial files that killed writers left beside it.

    Args:
        path: place of the file.
        data: its bytes.
    """
    sweep_beside(path)
    publish(path, data)


def publish_folder(
    path: Path, objects: Iterable[tuple[str, bytes]], *, replaced: Callable[[Path], bool] = lambda _: True
) -> None:
    """Write a folder of objects in one step: beside its place, then renamed.

    A folder that is already there is removed once the new one is in its place. If an OSError is raised, no trace is
    left.

    Args:
        path: place of the folder.
        objects: keys and bytes.
        replaced: called with the folder that was there, once it is set aside. If it returns False, that folder comes
            back: another process has put it there since the caller looked.

    Raises:
        Interrupted: another process has taken the place meanwhile.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    recover(path)
    partial = _partial(path)
    try:
        for key, data in objects:
            publish(partial / key, data, durable=True)
        old = set_aside(path, REPLACED_MARK)
        if old and not replaced(old):
            raise _disturbed(path)
        with _undisturbed(path):
            partial.rename(path)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    finally:
        recover(path)


def recover(path: Path) -> None:
    """Complete what a killed `publish_folder` began.

    The old folder returns to its place if that is empty. Otherwise the new folder is there, and the old one is removed.
    """
    sweep_beside(path)
    with _undisturbed(path):
        for old in set_aside_folders(path, REPLACED_MARK):
            taken = path.is_dir() and any(path.iterdir())
            old.rename(_new_aside(path, REMOVED_MARK) if taken else path)
    sweep_removed(path)


@contextmanager
def _undisturbed(path: Path) -> Iterator[None]:
    """Raise Interrupted if a place cannot be filled because somebody has removed its folder or filled it meanwhile."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.ENOTEMPTY, errno.EEXIST):
            raise
        raise _disturbed(path) from None


def _disturbed(path: Path) -> Interrupted:
    return Interrupted(f"{path}: was removed or replaced by somebody meanwhile; run the same command again")


def set_aside(path: Path, word: str = REMOVED_MARK) -> Path | None:
    """Move a folder, if there is one, as a whole away from its place; `sweep_removed` removes it.

    Args:
        path: place of the folder.
        word: part of its new name, REMOVED_MARK or REPLACED_MARK.

    Returns:
        Its new place; None if there is no folder.
    """
    with _undisturbed(path):
        return path.rename(_new_aside(path, word)) if path.exists() else None


def sweep_removed(path: Path) -> None:
    """Remove the folders that were set aside from a place, also by killed processes.

    The path of a folder that cannot be removed is printed.
    """
    for left in set_aside_folders(path, REMOVED_MARK):
        if reason := _remove(left):
            say(f"{left}: cannot be removed ({reason}); remove it yourself", error=True)


def _remove(folder: Path) -> str | None:
    """Remove a folder as far as possible. Return the first reason why a part of it stays, or None."""
    errors: list[BaseException] = []
    shutil.rmtree(folder, onexc=lambda _function, _name, error: errors.append(error))
    left = (error for error in errors if not isinstance(error, FileNotFoundError))  # another process removes it, too
    return next((getattr(error, "strerror", None) or type(error).__name__ for error in left), None)


def _new_aside(path: Path, word: str) -> Path:
    return path.with_name(f"{path.name}{word}{uuid.uuid4().hex}")


def set_aside_folders(path: Path, word: str) -> list[Path]:
    """Return the folders that were set aside from a place and not removed yet.

    Args:
        path: the place.
        word: part of their names, REMOVED_MARK or REPLACED_MARK.
    """
    found = path.parent.glob(f"{glob.escape(path.name + word)}*")
    return [left for left in found if re.fullmatch("[0-9a-f]{32}", left.name.removeprefix(path.name + word))]


def sweep_beside(path: Path) -> None:
    """Remove partial files and folders that killed writers of a path left beside it, by the rule of `sweep`."""
    for left in path.parent.glob(f".{glob.escape(path.name)}.*{PARTIAL_SUFFIX}"):
        with suppress(FileNotFoundError):
            if not _abandoned(left):
                continue
            if left.is_dir():
                shutil.rmtree(left, ignore_errors=True)
            else:
                left.unlink()


def is_partial(name: str) -> bool:
    """Return True if a file of this name is an object that is still being written, or was left by a killed process."""
    return PARTIAL_NAME.fullmatch(name) is not None


def _partial(path: Path) -> Path:
    return path.with_name(f".{path.name}.{machine()}_{os.getpid()}_{uuid.uuid4().hex}{PARTIAL_SUFFIX}")


@cache
def machine() -> str:
    """Return the identity of the machine, its boot and its process namespace: within it, process numbers are unique."""
    parts = [platform.node()]
    with suppress(OSError):
        parts += [Path("/proc/sys/kernel/random/boot_id").read_text(), os.readlink("/proc/self/ns/pid")]
    return sha256("\n".join(parts).encode())[:16]


def publish_if_changed(path: Path, data: bytes, *, durable: bool = False) -> None:
    """Publish an object unless the same bytes are already there.

    Args:
        path: place of the object.
        data: its bytes.
        durable: as for `publish`.
    """
    if read(path) != data:
        publish(path, data, durable=durable)


def read(path: Path, max_bytes: int | None = None) -> bytes | None:
    """Return the bytes of an object; None if there is none.

    Args:
        path: place of the object.
        max_bytes: maximum size; None: the memory of this machine.

    Raises:
        UserError: it is not a regular file, or too large.
    """
    try:
        refuse_irregular(path, max_bytes)
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return None


def refuse_irregular(path: Path, max_bytes: int | None = None) -> None:
    """Refuse to open anything but a regular file of bounded size: pipes and devices may never end.

    Args:
        path: place of the file. A folder, or nothing, is not refused.
        max_bytes: maximum size; None: the memory of this machine.

    Raises:
        UserError: it is a pipe, a device or a socket, or too large.
    """
    try:
        status = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return
    if not (stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)):
        raise UserError(f"{path}: is not a regular file (a pipe, device or socket); replace it by the file itself")
    limit = memory() if max_bytes is None else max_bytes
    if stat.S_ISREG(status.st_mode) and status.st_size > limit:
        raise UserError(f"{path}: has {status.st_size:,} bytes, at most {limit:,} are read; get another copy")


@contextmanager
def reading(what: str, mend: str) -> Iterator[None]:
    """Raise UserError in place of any error that a missing or damaged object causes in zarr and its codecs.

    Args:
        what: the store and the part of it that is read, for the message.
        mend: the remedy, for the message.

    Raises:
        UserError: something could not be read.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        reason = ": ".join(filter(None, (type(error).__name__, str(error).partition("\n")[0])))
        raise UserError(f"{what}: cannot be read ({reason[:200]}); {mend}") from None


def exists(path: Path) -> bool:
    """Return True if there is an object or a folder."""
    return path.exists()


def is_folder(path: Path) -> bool:
    """Return True if there is a folder."""
    return path.is_dir()


def entries(folder: Path) -> list[Path]:
    """Return the sorted content of a folder without partial objects; an empty list if there is no folder."""
    return sorted(path for path in folder.glob("*") if not is_partial(path.name))


def keys(folder: Path) -> Iterator[str]:
    """Yield the keys of all objects and links below a folder. Links are not followed."""
    for where, names, files in os.walk(folder):
        links = [name for name in names if os.path.islink(os.path.join(where, name))]
        for name in sorted([*files, *links]):
            yield os.path.relpath(os.path.join(where, name), folder)


def nbytes(path: Path) -> int:
    """Return the bytes of an object, or of everything in a folder; 0 if there is nothing."""
    files = (path,) if path.is_file() else path.rglob("*")
    return sum(file.stat().st_size for file in files if file.is_file())


def signature(path: Path) -> tuple[int, int, int] | None:
    """Return what changes whenever an object is replaced: its number, time and size on disk; None if there is none."""
    try:
        status = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return status.st_ino, status.st_mtime_ns, status.st_size


def move(path: Path, to: Path) -> None:
    """Move an object or a folder to another place, whose parent folder is made if necessary."""
    to.parent.mkdir(parents=True, exist_ok=True)
    path.rename(to)


def remove(path: Path) -> None:
    """Remove an object, or a folder with its content. Of a link, only the link itself is removed."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def inside(root: Path, key: str | Path) -> Path:
    """Return the path of an object in a store or model, after a check that no link leads out of that folder.

    The folder itself may be reached by a link: this is the user's choice, but links within are its author's.

    Args:
        root: the folder.
        key: path of the object relative to it.

    Raises:
        UserError: a link leads out of the folder.
    """
    path = root / key
    if not Path(os.path.realpath(path)).is_relative_to(os.path.realpath(root)):
        raise UserError(
            f"{path}: leads out of {root}; links out of a store or model are not followed; "
            f"if you trust them, cp -rL {root} COPY replaces the links by the files"
        )
    return path


def sweep(folder: Path, *, deep: bool = True) -> None:
    """Remove partial files of killed writers: those of dead processes on this machine, and others after an hour.

    Args:
        folder: the folder.
        deep: also sweep all folders below.
    """
    for path in (folder.rglob if deep else folder.glob)(f".*{PARTIAL_SUFFIX}"):
        with suppress(FileNotFoundError):
            if path.is_file() and _abandoned(path):
                path.unlink()


def _abandoned(path: Path) -> bool:
    """Return True if the writer of a partial file or folder is dead, or has written nothing for an hour."""
    if not is_partial(path.name):
        return False
    return (
        _dead(path.name) or time.time() - max(one.stat().st_mtime for one in (path, *path.rglob("*"))) > STALE_SECONDS
    )


def _dead(name: str) -> bool:
    """Return True if the writer of a partial object ran on this machine and has ended."""
    start, _, pid = name.removesuffix(PARTIAL_SUFFIX).rpartition("_")[0].rpartition("_")
    if not start.endswith(f".{machine()}") or not pid.isdigit():
        return False
    try:
        os.kill(int(pid), 0)
    except OSError as error:
        return isinstance(error, ProcessLookupError)  # a PermissionError means that it runs, for another user
    return False
