"""A finite pool of files, recorded by hash and distributed so that no file is used in two splits.

The hash of a file determines its split, whatever the number of samples: on average 8 in 10 go to train, and 1 in 10
each to validation and test. Sample i of a split takes the file at position i modulo the number of files of the split.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import ClassVar, Self

from pydantic import Field

from generators.random_streams import Streams
from generators.specimens.from_files.picture_files import is_array
from schemas.runtime.errors import UserError
from schemas.runtime.publish import sha256_of, sha256_of_folder
from schemas.runtime.settings import Settings, setting

SHARES = {"train": (0.0, 0.8), "validation": (0.8, 0.9), "test": (0.9, 1.0)}


class Pool(Settings, ABC):
    """Base of the settings of a pool: files, each with companions if needed."""

    held: ClassVar[str]  # name of the setting that holds this pool
    things: ClassVar[str] = "specimen files"

    path: Path | None = Field(None, exclude=True, **setting("folder with files name(N), or one file", "path"))
    shared: bool = Field(False, **setting("true: all splits use all files, so scores do not hold for new specimens"))
    sha256: tuple[str, ...] = Field((), **setting("sha256 of each file, then of companions; filled in automatically"))
    paths: tuple[Path, ...] = Field((), exclude=True)  # present places of the files, which are never stored

    @property
    @abstractmethod
    def names(self) -> tuple[str, ...]:
        """Names of the files, and of their companions if they have any."""

    @abstractmethod
    def listed(self, path: Path) -> tuple[Path, ...]:
        """Return the files of the first name, then all companions of the next name, and so on.

        Args:
            path: a folder, or one file

        Raises:
            UserError: there are no files
        """

    @property
    def wanted(self) -> str:
        """Description of a valid `path`, for messages."""
        return f"a folder or file of {self.names[0]}(N)"

    def bind(self, inputs: Path | None) -> Self:
        """Return the pool with every file found: by name in `path`, or by hash.

        Args:
            inputs: the folder in which files are found by hash

        Raises:
            UserError: files are missing, or no place is given
        """
        if self.path is not None:
            paths = tuple(path.absolute() for path in self.listed(self.path))
            return self.model_copy(update={"paths": paths, "sha256": tuple(map(fingerprint, paths))})
        if not self.sha256:
            raise UserError(f"{self.held}.path is missing: give {self.wanted}, --set {self.held}.path=DIR")
        if inputs is None:
            raise UserError(f"this recipe needs {len(self.sha256)} {self.things}; give their folder, --inputs DIR")
        found = {fingerprint(path): path.absolute() for path in files_in(inputs)}
        if missing := [digest for digest in self.sha256 if digest not in found]:
            raise UserError(
                f"--inputs {inputs}: {len(missing)} of the {self.things} are missing, first sha256 {missing[0]}"
            )
        return self.model_copy(update={"paths": tuple(found[digest] for digest in self.sha256)})

    def serves(self, split: str) -> None:
        """Refuse a split to which no file belongs.

        Args:
            split: `train`, `validation` or `test`

        Raises:
            UserError: no file belongs to the split
        """
        if not self.members(split):
            option = "" if split == "train" else f", give --{split} 0"
            raise UserError(
                f"{self.held}: none of the {len(self.keys)} {self.things} belongs to {split} (by hash, so that "
                f"no file is used in two splits): give more{option}, or share them with --set {self.held}.shared=true"
            )

    @property
    def count(self) -> int:
        """Number of files, without their companions."""
        return len(self.sha256) // len(self.names)

    @property
    def keys(self) -> tuple[str, ...]:
        """Hash of each item, which determines its split."""
        return self.sha256[: self.count]

    def members(self, split: str) -> tuple[int, ...]:
        """Return the positions of the items of a split."""
        return _members(self.keys, self.shared, split)

    def choose(self, rng: Streams) -> int:
        """Return the position of the item of a sample."""
        members = self.members(rng.split)
        return members[rng.sample % len(members)]

    def place(self, item: int, companion: int = 0) -> tuple[Path, str]:
        """Return path and sha256 of a file, or of one of its companions.

        Args:
            item: position of the file
            companion: 0 for the file itself, companions from 1
        """
        position = companion * self.count + item
        return self.paths[position], self.sha256[position]


@lru_cache(maxsize=64)
def _members(digests: tuple[str, ...], shared: bool, split: str) -> tuple[int, ...]:
    low, high = (0.0, 1.0) if shared else SHARES[split]
    return tuple(i for i, digest in enumerate(digests) if low <= int(digest[:8], 16) / 2**32 < high)


def unchanged(path: Path, digest: str) -> Path:
    """Return the path of a file that must not have changed.

    Args:
        path: the file
        digest: its sha256 when the run began

    Raises:
        UserError: the file has another hash now
    """
    if fingerprint(path) != digest:
        raise UserError(f"{path}: has changed since the run began; restore it, or choose another --out")
    return path


def fingerprint(path: Path) -> str:
    """Return the sha256 of a file, or of a folder that is an array.

    Raises:
        UserError: the file cannot be read
    """
    try:
        return sha256_of_folder(path) if path.is_dir() else sha256_of(path)
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}; give readable files") from None


def files_in(folder: Path) -> Iterator[Path]:
    """Return all files in a folder, and sub-folders that are arrays.

    Raises:
        UserError: the path is not a folder
    """
    if not folder.is_dir():
        raise UserError(f"--inputs {folder}: is not a folder; give the folder that holds the files")
    return (path for path in sorted(folder.rglob("*")) if path.is_file() or is_array(path))
