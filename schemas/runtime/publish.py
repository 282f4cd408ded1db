"""Reading and writing of stores, runs, predictions and models. All access to their objects goes through this module.

An object is published whole: a reader sees all of it or nothing, even if the writer is killed. A folder is locked, by a
file beside it, before it is changed. Keys are paths relative to a store. Files of the user may be read without this
module.
"""

import fcntl
import glob
import hashlib
import os
import platform
import re
import shutil
import stat
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from io import TextIOWrapper
from pathlib import Path

from schemas.runtime.errors import FULL, Interrupted, UserError
from schemas.runtime.machine import memory
from schemas.runtime.terminal import say

PARTIAL = ".partial"
OURS = re.compile(r"\..+\.[^.]*_\d+_[0-9a-f]{32}\.partial")  # names of our partial objects
REMOVED = ".removed-"  # part of the name of a folder to be removed, which may be incomplete
REPLACED = ".replaced-"  # part of the name of a whole folder, until the new one is in its place
DOCUMENT = 1 << 26  # maximum size of a file of JSON [bytes]
STALE = 3600.0  # seconds after which a partial object of another machine is taken as abandoned


def publish(path: Path, data: bytes, *, durable: bool = False) -> None:
    """Write an object in one step: to a partial file beside its place, which is then renamed.

    If an OSError such as a full disk is raised, no trace is left.

    Args:
        path: place of the object.
        data: its bytes.
        durable: flush to disk, so that the object survives a loss of power. Other objects are checked by their hashes
            when the command is resumed.
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
    """Publish a file outside of stores, and remove partial files that killed writers left beside it.

    Args:
        path: place of the file.
        data: its bytes.
    """
    sweep_beside(path)
    publish(path, data)


def publish_folder(path: Path, objects: Iterable[tuple[str, bytes]]) -> None:
    """Write a folder of objects in one step: beside its place, then renamed.

    A folder that is already there is removed once the new one is in its place. If an OSError is raised, no trace is
    left.

    Args:
        path: place of the folder.
        objects: keys and bytes.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    recover(path)
    partial = _partial(path)
    try:
        for key, data in objects:
            publish(partial / key, data, durable=True)
        set_aside(path, REPLACED)
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
    for old in set_aside_folders(path, REPLACED):
        if path.is_dir() and any(path.iterdir()):
            old.rename(_new_aside(path, REMOVED))
        else:
            old.rename(path)
    sweep_removed(path)


def set_aside(path: Path, word: str = REMOVED) -> None:
    """Move a folder, if there is one, as a whole away from its place; `sweep_removed` removes it.

    Args:
        path: place of the folder.
        word: part of its new name, REMOVED or REPLACED.
    """
    if path.exists():
        path.rename(_new_aside(path, word))


def sweep_removed(path: Path) -> None:
    """Remove the folders that were set aside from a place, also by killed processes.

    The path of a folder that cannot be removed is printed.
    """
    for left in set_aside_folders(path, REMOVED):
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
        word: part of their names, REMOVED or REPLACED.
    """
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
    """Return True if a file of this name is an object that is still being written, or was left by a killed process."""
    return OURS.fullmatch(name) is not None


def _partial(path: Path) -> Path:
    return path.with_name(f".{path.name}.{platform.node()}_{os.getpid()}_{uuid.uuid4().hex}{PARTIAL}")


def publish_if_changed(path: Path, data: bytes, *, durable: bool = False) -> None:
    """Publish an object unless the same bytes are already there.

    Args:
        path: place of the object.
        data: its bytes.
        durable: as for `publish`.
    """
    if read(path) != data:
        publish(path, data, durable=durable)


def read(path: Path, most: int | None = None) -> bytes | None:
    """Return the bytes of an object; None if there is none.

    Args:
        path: place of the object.
        most: maximum size; None: the memory of this machine.

    Raises:
        UserError: it is not a regular file, or too large.
    """
    try:
        refuse_irregular(path, most)
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return None


def refuse_irregular(path: Path, most: int | None = None) -> None:
    """Refuse to open anything but a regular file of bounded size: pipes and devices may never end.

    Args:
        path: place of the file. A folder, or nothing, is not refused.
        most: maximum size; None: the memory of this machine.

    Raises:
        UserError: it is a pipe, a device or a socket, or too large.
    """
    try:
        found = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return
    if not (stat.S_ISREG(found.st_mode) or stat.S_ISDIR(found.st_mode)):
        raise UserError(f"{path}: is not a regular file (a pipe, device or socket); replace it by the file itself")
    most = memory() if most is None else most
    if stat.S_ISREG(found.st_mode) and found.st_size > most:
        raise UserError(f"{path}: has {found.st_size:,} bytes, at most {most:,} are read; get another copy")


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


def sha256(data: bytes) -> str:
    """Return the hexadecimal sha256 of bytes."""
    return hashlib.sha256(data).hexdigest()


def sha256_of(path: Path) -> str:
    """Return the hexadecimal sha256 of a file of any size.

    Raises:
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_of_folder(folder: Path) -> str:
    """Return the hexadecimal sha256 of the names and contents of all files in a folder.

    Raises:
        OSError: a file cannot be read.
    """
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        digest.update(f"{path.relative_to(folder).as_posix()}\0{sha256_of(path)}\0".encode())
    return digest.hexdigest()


def sweep(folder: Path, *, deep: bool = True) -> None:
    """Remove partial files of killed writers: those of dead processes on this machine, and others after an hour.

    Args:
        folder: the folder.
        deep: also sweep all folders below.
    """
    for path in (folder.rglob if deep else folder.glob)(f".*{PARTIAL}"):
        with suppress(FileNotFoundError):
            if path.is_file() and _abandoned(path):
                path.unlink()


def _abandoned(path: Path) -> bool:
    """Return True if the writer of a partial file or folder is dead, or has written nothing for an hour."""
    if not is_partial(path.name):
        return False
    return _dead(path.name) or time.time() - max(one.stat().st_mtime for one in (path, *path.rglob("*"))) > STALE


def _dead(name: str) -> bool:
    """Return True if the writer of a partial object ran on this machine and has ended."""
    node, _, pid = name.removesuffix(PARTIAL).rpartition("_")[0].rpartition("_")
    if not node.endswith(f".{platform.node()}") or not pid.isdigit():
        return False
    try:
        os.kill(int(pid), 0)
    except OSError as error:
        return isinstance(error, ProcessLookupError)  # a PermissionError means that it runs, for another user
    return False


@contextmanager
def claimed(
    option: str, path: Path, refuse: Callable[[], None] = lambda: None, *, busy: str | None = None
) -> Iterator[None]:
    """Reserve a place for this process while the context is active, by a lock beside it. Its parent folder is made.

    Args:
        option: the option that names the place, for messages.
        path: the place.
        refuse: raises UserError if the place holds something that must stay. It is called before anything is created,
            and again once the place is locked, because another process may have written meanwhile.
        busy: message if another process holds the place; None: wait for it.

    Raises:
        UserError: `refuse` raises it; or another process holds the place; or the place cannot be written.
        Interrupted: the disk is full.
    """
    refuse()
    with ExitStack() as stack:
        with writable(option, path):
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                stack.enter_context(locked(path.with_name(f".{path.name}.lock"), wait=busy is None))
            except BlockingIOError:
                raise UserError(f"{option} {path}: {busy}") from None
        refuse()
        yield


@contextmanager
def locked(path: Path, *, wait: bool = True) -> Iterator[None]:
    """Hold a lock: a file that exists only while a process holds it.

    On file systems without locks, nothing is locked. The file is removed at the end. A killed process releases its
    lock, and the next holder removes the file.

    Args:
        path: the lock file; its folder must exist.
        wait: wait for another holder.

    Raises:
        BlockingIOError: another process holds the lock, and `wait` is False.
    """
    file = _held(path, wait)
    try:
        yield
    finally:
        if not file.seek(0, os.SEEK_END):  # a file with content is not our lock
            path.unlink(missing_ok=True)  # before the release: a waiting process then opens a new file
        file.close()


def _held(path: Path, wait: bool) -> TextIOWrapper:
    """Open the lock file and lock it. If another process has removed the file meanwhile, try again."""
    while True:
        file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666), "r+")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            file.close()
            raise
        except OSError:
            return file
        if _is_at(file, path):
            return file
        file.close()  # the previous holder has removed this file: open the new one


def _is_at(file: TextIOWrapper, path: Path) -> bool:
    with suppress(FileNotFoundError):
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    return False


@contextmanager
def writable(option: str, path: Path) -> Iterator[None]:
    """Report in one line that a place cannot be written.

    Args:
        option: the option that names the place, for the message.
        path: the place.

    Raises:
        UserError: in place of an OSError.
        Interrupted: in place of an OSError of a full disk.
    """
    try:
        yield
    except OSError as error:
        if error.errno in FULL:
            raise Interrupted(f"{path}: {error.strerror}; make room and run the same command again") from None
        raise UserError(f"{option} {path}: {error.strerror or error}; choose a place that can be written") from None


@contextmanager
def resumable(path: Path, kept: str) -> Iterator[None]:
    """Raise Interrupted in place of an OSError, such as that of a full disk, while a command writes its output.

    Args:
        path: place of the output, for the message.
        kept: the finished parts, for the message.

    Raises:
        Interrupted: in place of an OSError.
    """
    try:
        yield
    except BrokenPipeError:  # the reader of a pipe has gone; `terminal.command` handles it
        raise
    except OSError as error:
        raise Interrupted(
            f"{path}: {error.strerror or error}; {kept} are kept: solve this and run the same command again"
        ) from None
