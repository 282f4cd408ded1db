"""Pools of files that are named `<name>(N)` by a number N, each with companions of the same number if needed."""

import re
from itertools import pairwise
from pathlib import Path

from pydantic import Field

from generators.specimens.from_files.pool import Pool
from schemas.runtime.errors import UserError
from schemas.runtime.settings import setting

NUMBER_PATTERN = r"\((\d+)\)(\.txt|\.npy)?"  # end of a file's name


class NumberedFiles(Pool):
    """Base of the settings of a pool of numbered files."""

    first: int = Field(0, ge=0, **setting("number N of the first file to use"))

    def list_files(self, path: Path) -> tuple[Path, ...]:
        """Return files by rising number, from `first`, then their companions.

        Args:
            path: a folder, or one file

        Raises:
            UserError: files or companions are missing
        """
        files = list_numbered_files(path, self.names[0], self.first)
        return files + tuple(find_companion(file, name) for name in self.names[1:] for file in files)


def list_numbered_files(path: Path, name: str, first: int = 0) -> tuple[Path, ...]:
    """Return the files of a folder by rising number, from <name>(first) on; or the one file at `path`.

    Args:
        path: a folder, or one file
        name: name before the number
        first: smallest number

    Raises:
        UserError: there are no files, or two files have the same number
    """
    if path.is_file():
        return (path,)
    pattern = re.compile(re.escape(name) + NUMBER_PATTERN)
    try:
        files = [(int(match[1]), file) for file in path.iterdir() if (match := pattern.fullmatch(file.name))]
    except OSError as error:
        raise UserError(
            f"{path}: {error.strerror or error}; give a folder of specimens {name}(N), or one file"
        ) from None
    numbered = sorted(pair for pair in files if pair[0] >= first)
    if not numbered:
        raise UserError(
            f"{path}: no specimen {name}({first}) or later; name them, with brackets, such as {name}({first}).npy"
        )
    for (number, file), (next_number, following) in pairwise(numbered):
        if number == next_number:
            raise UserError(f"{path}: {file.name} and {following.name} are both specimen {number}; keep one of them")
    return tuple(file for _, file in numbered)


def find_companion(path: Path, name: str) -> Path:
    """Return the file <name>(N) beside a file that ends with the same number (N).

    Args:
        path: the file
        name: name of the companion

    Raises:
        UserError: there is no such file
    """
    match = re.fullmatch(".*" + NUMBER_PATTERN, path.name)
    candidates = [path.with_name(f"{name}({match[1]}){end}") for end in (".npy", ".txt", "")] if match else []
    for file in candidates:
        if file.is_file():
            return file
    raise UserError(f"{path}: there is no {name}(N) beside it, of the same number N; add it, or leave {name} out")
