"""A finite pool of files: recorded by hash, and shared out so that none serves two splits.

A file belongs to the split that its hash says (8 in 10 to train, 1 each to validation and test), whatever the number
of samples. Sample i of a split takes the file at position i modulo the split's files.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import ClassVar, Self

from pydantic import Field

from generators.specimens.from_files.picture_files import is_array
from generators.streams import Streams
from schemas.runtime.errors import UserError
from schemas.runtime.publish import sha256_of, sha256_of_folder
from schemas.runtime.settings import Settings, setting

SHARES = {"train": (0.0, 0.8), "validation": (0.8, 0.9), "test": (0.9, 1.0)}


class Pool(Settings, ABC):
    """Files, each perhaps with companions."""

    held: ClassVar[str]  # the name of the setting that holds it
    things: ClassVar[str] = "specimen files"

    path: Path | None = Field(None, exclude=True, **setting("a folder of files name(N), or one file", "path"))
    shared: bool = Field(False, **setting("all splits use all files, so scores say nothing of new specimens"))
    sha256: tuple[str, ...] = Field((), **setting("of each file, then of companions; filled in when they are read"))
    paths: tuple[Path, ...] = Field((), exclude=True)  # where they are now; never stored

    @property
    @abstractmethod
    def names(self) -> tuple[str, ...]:
        """Of the files, and of their companions if they have any."""

    @abstractmethod
    def listed(self, path: Path) -> tuple[Path, ...]:
        """The files at `path`, all of the first name, then all companions of the next. UserError: there are none."""

    @property
    def wanted(self) -> str:
        """What `path` must be."""
        return f"a folder or file of {self.names[0]}(N)"

    def bind(self, inputs: Path | None) -> Self:
        """With every file found: by name in `path`, or by hash in the folder `inputs`."""
        if self.path is not None:
            paths = tuple(path.absolute() for path in self.listed(self.path))
            return self.model_copy(update={"paths": paths, "sha256": tuple(map(fingerprint, paths))})
        if not self.sha256:
            raise UserError(f"{self.held}.path is missing: give {self.wanted}, --set {self.held}.path=DIR")
        if inputs is None:
            raise UserError(f"this recipe needs {len(self.sha256)} {self.things}: say where they are, --inputs DIR")
        found = {fingerprint(path): path.absolute() for path in below(inputs)}
        if missing := [digest for digest in self.sha256 if digest not in found]:
            raise UserError(
                f"--inputs {inputs}: {len(missing)} of the {self.things} are not there, first sha256 {missing[0]}"
            )
        return self.model_copy(update={"paths": tuple(found[digest] for digest in self.sha256)})

    def serves(self, split: str) -> None:
        """UserError if no file belongs to a split."""
        if not self.members(split):
            option = "" if split == "train" else f", give --{split} 0"
            raise UserError(
                f"{self.held}: none of the {len(self.keys)} {self.things} falls to {split} (dealt by hash, so "
                f"that none serves two): give more{option}, or share them with --set {self.held}.shared=true"
            )

    @property
    def count(self) -> int:
        """Files, without their companions."""
        return len(self.sha256) // len(self.names)

    @property
    def keys(self) -> tuple[str, ...]:
        """The hash of each item, which says to what split it belongs."""
        return self.sha256[: self.count]

    def members(self, split: str) -> tuple[int, ...]:
        """Positions of the items of a split."""
        return _members(self.keys, self.shared, split)

    def choose(self, rng: Streams) -> int:
        """The position of a sample's item."""
        members = self.members(rng.split)
        return members[rng.sample % len(members)]

    def place(self, item: int, companion: int = 0) -> tuple[Path, str]:
        """Path and sha256 of a file, or of one of its companions (from 1)."""
        position = companion * self.count + item
        return self.paths[position], self.sha256[position]


@lru_cache(maxsize=64)
def _members(digests: tuple[str, ...], shared: bool, split: str) -> tuple[int, ...]:
    low, high = (0.0, 1.0) if shared else SHARES[split]
    return tuple(i for i, digest in enumerate(digests) if low <= int(digest[:8], 16) / 2**32 < high)


def unchanged(path: Path, digest: str) -> Path:
    """The path. UserError: the file is not what it was."""
    if fingerprint(path) != digest:
        raise UserError(f"{path}: has changed since the run began; restore it, or choose another --out")
    return path


def fingerprint(path: Path) -> str:
    """The sha256 of a file, or of a folder that is an array. UserError: it cannot be read."""
    try:
        return sha256_of_folder(path) if path.is_dir() else sha256_of(path)
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}; give readable files") from None


def below(folder: Path) -> Iterator[Path]:
    """All files in a folder, and folders that are arrays. UserError: it is none."""
    if not folder.is_dir():
        raise UserError(f"--inputs {folder}: is no folder")
    return (path for path in sorted(folder.rglob("*")) if path.is_file() or is_array(path))
