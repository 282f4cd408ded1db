"""Reading of a file in a separate process: libhdf5 can crash on a damaged file, which must not end the command.

The process prints one line of JSON (metadata of the file, or the reason why it cannot be read) and saves the values as
NPY.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from schemas.formats.image import Picture
from schemas.runtime.errors import UserError

ERROR = "error"


def read(kind: str, path: Path, inner: str) -> Picture:
    """Return the result of `opening.read_as` in another process.

    Args:
        kind: kind of the file, a module of `schemas.formats`.
        path: the file.
        inner: name of the array in it, or empty.

    Raises:
        ValueError: the process died.
        UserError: the file cannot be read.
    """
    with tempfile.TemporaryDirectory() as folder:
        values = Path(folder, "values.npy")
        command = [sys.executable, "-P", "-m", "schemas.formats.isolated_reader", kind, str(path), inner, str(values)]
        child = subprocess.run(command, capture_output=True, text=True)  # -P: import no modules from the current folder
        if child.returncode != 0:
            raise ValueError("the library that reads it crashed")
        said = json.loads(child.stdout)
        if ERROR in said:
            raise UserError(said[ERROR])
        known = {name: tuple(numbers) for name, numbers in said["known"].items()}
        return Picture(np.load(values, allow_pickle=False), known, tuple(said["axes"]), said["matlab"])


def _save(kind: str, path: Path, inner: str, values: Path) -> dict[str, object]:
    """Read the file in the other process, save the values and return the rest."""
    from schemas.formats.reading import read_as

    try:
        picture = read_as(kind, path, inner)
    except (UserError, MemoryError) as error:
        return {ERROR: str(error) or type(error).__name__}
    try:
        np.save(values, np.ascontiguousarray(picture.values), allow_pickle=False)
    except OSError as error:
        room = "set TMPDIR to a folder with more room"
        return {ERROR: f"{values.parent}: no place for a copy of the images in {path} ({error}); {room}"}
    return {"known": dict(picture.known), "axes": picture.axes, "matlab": picture.matlab}


if __name__ == "__main__":
    print(json.dumps(_save(sys.argv[1], Path(sys.argv[2]), sys.argv[3], Path(sys.argv[4]))))
