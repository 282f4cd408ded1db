"""Work that tests share: folders that one worker makes for all, and programs that one process compiles for all."""

import fcntl
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from shutil import rmtree
from typing import Any

type Made = Callable[[str, Callable[[Path], object]], Path]


@contextmanager
def made_in(place: Path) -> Iterator[Made]:
    """Yield a function that returns the folder of a name, which the first process that asks for it has filled.

    A test that writes there must take a copy. AssertionError is raised at the end if a folder has changed.
    """
    used = set()

    def made_once(name: str, fill: Callable[[Path], object]) -> Path:
        folder, done = place / name, place / f"{name}.json"
        place.mkdir(exist_ok=True)
        with (place / f"{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not done.exists():
                rmtree(folder, ignore_errors=True)  # an earlier attempt to fill it failed
                folder.mkdir()
                fill(folder)
                done.write_text(json.dumps(_state(folder)))
        used.add(name)
        return folder

    yield made_once
    changed = [name for name in used if _state(place / name) != json.loads((place / f"{name}.json").read_text())]
    assert not changed, f"tests wrote into {', '.join(changed)}, which others share: take a copy"


def _state(folder: Path) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in sorted(folder.rglob("*"))}


def compiled_in(folder: str) -> dict[str, str]:
    """Return the environment that lets a process with JAX keep compiled programs in a folder and find them again."""
    return {
        "JAX_COMPILATION_CACHE_DIR": folder,
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "0",
    }


def write_programs_whole() -> None:
    """Let JAX publish a compiled program in one step. It would write in place, while another process may read it."""
    from jax._src import lru_cache

    def put(self: Any, key: str, value: bytes) -> None:
        path = Path(self.path, f"{key}-cache")
        part = path.with_suffix(f".{os.getpid()}")
        part.write_bytes(value)
        part.rename(path)

    lru_cache.LRUCache.put = put  # type: ignore[method-assign]
