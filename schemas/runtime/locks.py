"""Locks on places that commands write to, and errors of a disk as messages.

A place is locked by a file beside it, which exists only while a process holds it. Those who add objects of one plan
hold the lock together (shared); whoever replaces or removes objects holds it alone. Some network file systems grant a
lock to everybody, and some refuse them all: writers must then be harmless by themselves (`publish.create`).
"""

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from io import TextIOWrapper
from pathlib import Path

from schemas.runtime.errors import DISK_FULL_ERRORS, Interrupted, UserError
from schemas.runtime.terminal import say

LOCK_TIMEOUT = 2.0  # seconds that a command waits for another one that holds the lock
PAUSE_SECONDS = 0.05  # seconds between two attempts to get a lock


class Busy(UserError):
    """Another process holds the place for longer than a command waits."""


def lock_of(path: Path) -> Path:
    """Return the lock file of a place."""
    return path.with_name(f".{path.name}.lock")


@contextmanager
def claimed(
    option: str, path: Path, refuse: Callable[[], None] = lambda: None, *, by: str = "another command"
) -> Iterator[None]:
    """Reserve a place for this process while the context is active, by a lock beside it. Its parent folder is made.

    Args:
        option: the option that names the place, for messages.
        path: the place.
        refuse: raises UserError if the place holds something that must stay. It is called before anything is created,
            and again once the place is locked, because another process may have written meanwhile.
        by: the commands that may hold the place, for the message if it stays held.

    Raises:
        Busy: another process holds the place.
        UserError: `refuse` raises it; or the place cannot be written.
        Interrupted: the disk is full.
    """
    refuse()
    with ExitStack() as stack:
        with writable(option, path, begun=False):
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                stack.enter_context(locked(lock_of(path), patience=LOCK_TIMEOUT))
            except BlockingIOError:
                raise Busy(
                    f"{option} {path}: {by} writes here; wait for it, stop it, or choose another place"
                ) from None
        refuse()
        yield


@contextmanager
def locked(path: Path, *, shared: bool = False, patience: float | None = None) -> Iterator[None]:
    """Hold a lock while the context is active.

    On file systems without locks, nothing is locked. The last holder removes the file. A killed process releases its
    lock, and the next holder removes the file; a stopped process keeps it.

    Args:
        path: the lock file; its folder must exist.
        shared: others may hold the lock in the same way at the same time.
        patience: maximum seconds to wait for another holder; None: wait without end.

    Raises:
        BlockingIOError: another process still holds the lock.
    """
    file = _acquire(path, fcntl.LOCK_SH if shared else fcntl.LOCK_EX, patience)
    try:
        yield
    finally:
        _release(file, path)


@contextmanager
def waiting(path: Path, by: str) -> Iterator[None]:
    """Hold the lock of a place alone while the context is active. Say so if another holder makes it wait.

    Args:
        path: the place.
        by: the commands that may hold it, for the message.
    """
    with ExitStack() as stack:
        try:
            stack.enter_context(locked(lock_of(path), patience=LOCK_TIMEOUT))
        except BlockingIOError:
            say(f"{path}: waiting for {by}, which writes here", error=True)
            stack.enter_context(locked(lock_of(path)))
        yield


def _acquire(path: Path, kind: int, patience: float | None) -> TextIOWrapper:
    """Open the lock file and lock it. If another process has removed the file meanwhile, try again."""
    end = None if patience is None else time.monotonic() + patience
    while True:
        file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666), "r+")
        try:
            _wait(file, kind, end)
        except BlockingIOError:
            file.close()
            raise
        except OSError:  # this file system has no locks
            return file
        if _is_at(file, path):
            return file
        file.close()  # the previous holder has removed this file: open the new one


def _wait(file: TextIOWrapper, kind: int, end: float | None) -> None:
    """Lock a file. Raise BlockingIOError if another process holds it until the time `end`."""
    if end is None:
        fcntl.flock(file, kind)
        return
    while True:
        try:
            fcntl.flock(file, kind | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() > end:
                raise
        time.sleep(PAUSE_SECONDS)


def _is_at(file: TextIOWrapper, path: Path) -> bool:
    with suppress(FileNotFoundError):
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    return False


def _release(file: TextIOWrapper, path: Path) -> None:
    """Release a lock. Remove its file first if nobody shares the lock: a waiting process then opens a new file."""
    alone = True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        alone = not isinstance(error, BlockingIOError)  # any other error: this file system has no locks
    if alone and not file.seek(0, os.SEEK_END):  # a file with content is not our lock
        path.unlink(missing_ok=True)
    file.close()


@contextmanager
def writable(option: str, path: Path, *, begun: bool = True) -> Iterator[None]:
    """Report in one line that a place cannot be written.

    Args:
        option: the option that names the place, for the message.
        path: the place.
        begun: its folder has been made, so that somebody has removed it if it is missing.

    Raises:
        UserError: in place of an OSError.
        Interrupted: in place of an OSError of a full disk, or of a folder that was removed.
    """
    try:
        yield
    except OSError as error:
        if error.errno in DISK_FULL_ERRORS:
            raise Interrupted(f"{path}: {error.strerror}; make room and run the same command again") from None
        if begun and isinstance(error, FileNotFoundError):
            raise Interrupted(f"{path}: somebody has removed this place; run the same command again") from None
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
    except BrokenPipeError:  # the reader of a pipe has gone; `terminal.run_command` handles it
        raise
    except OSError as error:
        raise Interrupted(
            f"{path}: {error.strerror or error}; {kept} are kept: solve this and run the same command again"
        ) from None
