"""Files published whole: a reader sees all of an object or none of it, whatever dies meanwhile."""

import hashlib
import os
import uuid
from collections.abc import Iterator
from pathlib import Path

PARTIAL = ".partial"


def publish(path: Path, data: bytes) -> None:
    """Write an object in one step: beside its place, then renamed. OSError (disk full) leaves no trace."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{uuid.uuid4().hex}{PARTIAL}")
    try:
        partial.write_bytes(data)
        os.replace(partial, path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def publish_if_changed(path: Path, data: bytes) -> None:
    """Publish, unless the same bytes are there already."""
    if read(path) != data:
        publish(path, data)


def read(path: Path) -> bytes | None:
    """The bytes of an object; None if there is none."""
    try:
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None


def sha256(data: bytes) -> str:
    """Hexadecimal sha256."""
    return hashlib.sha256(data).hexdigest()


def sweep(folder: Path) -> None:
    """Remove what killed writers left behind. Call only when no writer is at work."""
    for path in list(partials(folder)):
        path.unlink(missing_ok=True)


def partials(folder: Path) -> Iterator[Path]:
    """Unfinished objects below a folder."""
    return folder.rglob(f".*{PARTIAL}")
