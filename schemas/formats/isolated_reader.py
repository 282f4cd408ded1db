"""Reading of files in a separate process, with a limit on memory and on time.

A library can crash on a damaged file, and a small file can unpack to many gigabytes; neither may end the command. One
process reads all files of a command, one after another, and is started again after a crash.

Each request is one line of JSON. The answer is one line of JSON (metadata of the file, or the reason why it cannot be
read), followed by the bytes of the values.
"""

import atexit
import fcntl
import json
import os
import resource
import select
import subprocess
import sys
import threading
from contextlib import suppress
from dataclasses import astuple, fields
from pathlib import Path
from typing import IO, Any

import numpy as np

from schemas.formats.image import Beside, Picture, Rows
from schemas.runtime.errors import UserError

ERROR_KEY = "error"
BASE_MEMORY_BYTES = 1 << 30  # bytes that the process may use in addition to the images, whose size a file states
BASE_SECONDS = 300.0  # time limit of an empty file
MIN_BYTES_PER_SECOND = 5e6  # of the slowest disk; the size of a file divided by this is added to the time limit
PIPE_BYTES = 1 << 20  # bytes of the pipe for values; the usual 64 kB slow large images down
THREAD_VARIABLES = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS")


def read(kind: str, path: Path, inner: str, rows: Rows | None = None) -> Picture:
    """Return the result of `reading.read_as` in another process.

    Args:
        kind: kind of the file, a module of `schemas.formats`.
        path: the file.
        inner: name of the array in it, or empty.
        rows: the rows that are read of images with three axes; None: all.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the process died.
        UserError: the file cannot be read, or takes too long.
    """
    part = None if rows is None else astuple(rows)
    request = json.dumps([str(Path.cwd()), kind, str(path), inner, part, BASE_MEMORY_BYTES]).encode()
    seconds = BASE_SECONDS + path.stat().st_size / MIN_BYTES_PER_SECOND
    with _LOCK:
        try:
            answer = _ask(_start_process(), request, seconds)
        except TimeoutError:
            stop()
            raise UserError(f"{path}: took longer than {seconds:.0f} s to read; save it in another format") from None
        except (OSError, ValueError):
            stop()
            raise ValueError("the library that reads it crashed") from None
        except BaseException:  # interrupted: the late answer would be taken for that of the next request
            stop()
            raise
    if isinstance(answer, str):
        raise UserError(answer)
    return answer


_LOCK = threading.Lock()
# Key: id of the process that started it, so that a forked process does not share the pipe.
_RUNNING: dict[int, subprocess.Popen[bytes]] = {}


def _start_process() -> subprocess.Popen[bytes]:
    """Return the process that reads files. Start it if there is none."""
    running = _RUNNING.get(os.getpid())
    if running is None or running.poll() is not None:
        running = _RUNNING[os.getpid()] = subprocess.Popen(
            [sys.executable, "-P", "-m", __name__],  # -P: import no modules from the current folder
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=os.environ | dict.fromkeys(THREAD_VARIABLES, "1"),
        )
        with suppress(OSError, AttributeError):  # only Linux has it, and an administrator may forbid it
            fcntl.fcntl(running.stdout, fcntl.F_SETPIPE_SZ, PIPE_BYTES)  # type: ignore[arg-type]
    return running


@atexit.register
def stop() -> None:
    """End the process that reads files, if there is one."""
    running = _RUNNING.pop(os.getpid(), None)
    if running is not None:
        running.kill()
        with suppress(OSError):  # an unfinished request cannot be flushed
            running.communicate()


def _ask(process: subprocess.Popen[bytes], request: bytes, seconds: float) -> Picture | str:
    """Return the images of a file, or the reason why it cannot be read."""
    requests, answers = process.stdin, process.stdout
    assert requests is not None
    assert answers is not None
    requests.write(request + b"\n")
    requests.flush()
    if not select.select([answers], [], [], seconds)[0]:
        raise TimeoutError
    answer = json.loads(answers.readline())
    return str(answer[ERROR_KEY]) if ERROR_KEY in answer else _receive_picture(answer, answers)


def _receive_picture(answer: dict[str, Any], stream: IO[bytes]) -> Picture:
    values = _receive_array(answer.pop("array"), stream)
    beside = {name: Beside(_receive_array(array, stream), unit) for name, array, unit in answer.pop("beside")}
    known = {name: tuple(numbers) for name, numbers in answer.pop("known").items()}
    rest: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in answer.items()}
    return Picture(values, known, **rest, beside=beside)


def _receive_array(described: tuple[list[int], str], stream: IO[bytes]) -> np.ndarray:
    values = np.empty(described[0], np.dtype(described[1]))
    view = memoryview(values.reshape(-1).view(np.uint8))
    if stream.readinto(view) != len(view):  # type: ignore[attr-defined]
        raise ValueError("cut short")
    return values


def _answer_request(line: bytes, out: IO[bytes]) -> None:
    """Read one file, and write its metadata and values, or the reason why it cannot be read."""
    from schemas.formats.reading import read_as

    folder, kind, path, inner, part, memory = json.loads(line)
    os.chdir(folder)
    _set_memory_limit(memory)
    arrays: list[np.ndarray] = []
    try:
        picture = read_as(kind, Path(path), inner, Rows(*part) if part else None)
        arrays = [picture.values, *(one.values for one in picture.beside.values())]
        if wrong := next((one.dtype for one in arrays if one.dtype.kind not in "biufc"), None):
            raise UserError(f"{path}: holds {wrong}; give grey values (numbers)")
        answer = {field.name: getattr(picture, field.name) for field in fields(picture) if field.name != "values"}
        beside = [(name, _describe_array(one.values), one.unit) for name, one in picture.beside.items()]
        answer |= {"known": dict(picture.known), "array": _describe_array(picture.values), "beside": beside}
    except UserError as error:
        answer, arrays = {ERROR_KEY: str(error)}, []
    except MemoryError:
        reason = "unpacks to more than its header states, or than this machine's memory; get another copy"
        answer, arrays = {ERROR_KEY: f"{path}: {reason}"}, []
    out.write(json.dumps(answer).encode() + b"\n")
    for values in arrays:
        out.write(memoryview(np.ascontiguousarray(values).reshape(-1).view(np.uint8)))
    out.flush()


def _describe_array(values: np.ndarray) -> tuple[tuple[int, ...], str]:
    return values.shape, values.dtype.str


def _set_memory_limit(size: int) -> None:
    """Limit the memory of this process. `image.refuse_large` raises the limit by what a header states."""
    hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
    soft = size if hard == resource.RLIM_INFINITY else min(size, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


if __name__ == "__main__":
    with os.fdopen(os.dup(1), "wb") as answers:
        os.dup2(2, 1)  # C libraries print to descriptor 1, where their words would be taken for an answer
        for request in sys.stdin.buffer:
            _answer_request(request, answers)
