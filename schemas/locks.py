"""Locks between processes: a file that exists only while somebody holds it."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from io import TextIOWrapper
from pathlib import Path

from schemas.runtime.errors import UserError


@contextmanager
def locked(path: Path, *, wait: bool = True) -> Iterator[None]:
    """Hold a lock while entered; where the file system has no locks, nothing is held.

    The file is removed at the end. A killed process releases its lock, and the next holder removes its file.

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
        if not file.seek(0, os.SEEK_END):  # else it is no lock of ours
            path.unlink(missing_ok=True)  # before it is released: whoever waits for it looks again
        file.close()


def _held(path: Path, wait: bool) -> TextIOWrapper:
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
        file.close()  # of a holder that has gone, with its file


def _is_at(file: TextIOWrapper, path: Path) -> bool:
    with suppress(FileNotFoundError):
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    return False


def alone(out: Path, stack: ExitStack, refused: str) -> None:
    """Hold a lock beside a place, whose folder is made, until the stack is left. UserError: another process has it."""
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        stack.enter_context(locked(out.with_name(f".{out.name}.lock"), wait=False))
    except BlockingIOError:
        raise UserError(refused) from None
