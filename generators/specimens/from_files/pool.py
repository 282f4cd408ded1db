"""A finite pool of files, recorded by hash and distributed so that no file is used in two splits (unless `shared`).

The hash of a file determines its split, whatever the number of samples: on average 8 in 10 go to train, and 1 in 10
each to validation and test. Sample i of a split takes the file at position i modulo the number of files of the split.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import ClassVar, Self

from pydantic import Field

from generators.random_streams import Streams
from generators.specimens.from_files.picture_files import is_zarr_array
from schemas.runtime.errors import UserError
from schemas.runtime.hashes import sha256_of, sha256_of_folder
from schemas.runtime.settings import Settings, setting

SMALL_FILE = 1 << 20  # bytes; many files up to this size are kept in memory or open, but only one larger file
SPLIT_SHARES = {"train": (0.0, 0.8), "validation": (0.8, 0.9), "test": (0.9, 1.0)}


class Pool(Settings, ABC):
    """Base of the settings of a pool: files, each with companions if needed."""

    setting_name: ClassVar[str]  # name of the setting that holds this pool
    contents: ClassVar[str] = "specimen files"  # what it holds, for messages

    path: Path | None = Field(None, exclude=True, **setting("folder with files name(N), or one file", "path"))
    shared: bool = Field(False, **setting("true: all splits use all files, so scores do not hold for new specimens"))
    sha256: tuple[str, ...] = Field((), **setting("sha256 of each file, then of companions; filled in automatically"))
    paths: tuple[Path, ...] = Field((), exclude=True)  # where the files are at present; never stored

    @property
    @abstractmethod
    def names(self) -> tuple[str, ...]:
        """Names of the files, and of their companions if they have any."""

    @abstractmethod
    def list_files(self, path: Path) -> tuple[Path, ...]:
        """Return the files of the first name, then all companions of the next name, and so on.

        Args:
            path: a folder, or one file

        Raises:
            UserError: there are no files
        """

    @property
    def valid_path(self) -> str:
        """Description of a valid `path`, for messages."""
        return f"a folder or file of {self.names[0]}(N)"

    def bind(self, inputs: Path | None) -> Self:
        """Return the pool with every file found: by name in `path`, or by hash.

        Args:
            inputs: the folder in which files are found by hash

        Raises:
            UserError: files are missing, or no folder is given
        """
        if self.path is not None:
            paths = tuple(path.absolute() for path in self.list_files(self.path))
            return self.model_copy(update={"paths": paths, "sha256": tuple(map(sha256_of_input, paths))})
        if not self.sha256:
            raise UserError(
                f"{self.setting_name}.path is missing: give {self.valid_path}, --set {self.setting_name}.path=DIR"
            )
        if inputs is None:
            raise UserError(f"this recipe needs {len(self.sha256)} {self.contents}; give their folder, --inputs DIR")
        known = {sha256_of_input(path): path.absolute() for path in list_input_files(inputs)}
        if missing := [digest for digest in self.sha256 if digest not in known]:
            raise UserError(
                f"--inputs {inputs}: {len(missing)} of the {self.contents} are missing, first sha256 {missing[0]}"
            )
        return self.model_copy(update={"paths": tuple(known[digest] for digest in self.sha256)})

    def check_split(self, split: str) -> None:
        """Refuse a split to which no file belongs.

        Args:
            split: `train`, `validation` or `test`

        Raises:
            UserError: no file belongs to the split
        """
        if not self.items_of(split):
            name, option = self.setting_name, "" if split == "train" else f", give --{split} 0"
            raise UserError(
                f"{name}: none of the {len(self.keys)} {self.contents} belongs to {split} (by hash, so that "
                f"no file is used in two splits): give more{option}, or share them with --set {name}.shared=true"
            )

    @property
    def count(self) -> int:
        """Number of files, without their companions."""
        return len(self.sha256) // len(self.names)

    @property
    def keys(self) -> tuple[str, ...]:
        """Hash of each item, which determines its split."""
        return self.sha256[: self.count]

    def items_of(self, split: str) -> tuple[int, ...]:
        """Return the positions of the items of a split."""
        return _items_of_split(self.keys, self.shared, split)

    def choose_item(self, rng: Streams) -> int:
        """Return the position of the item of a sample."""
        items = self.items_of(rng.split)
        return items[rng.sample % len(items)]

    def file_at(self, item: int, companion: int = 0) -> tuple[Path, str]:
        """Return path and sha256 of a file, or of one of its companions.

        Args:
            item: position of the file
            companion: 0 for the file itself, companions from 1
        """
        position = companion * self.count + item
        return self.paths[position], self.sha256[position]


@lru_cache(maxsize=64)
def _items_of_split(digests: tuple[str, ...], shared: bool, split: str) -> tuple[int, ...]:
    low, high = (0.0, 1.0) if shared else SPLIT_SHARES[split]
    return tuple(i for i, digest in enumerate(digests) if low <= int(digest[:8], 16) / 2**32 < high)


def cached_by_size[T](read: Callable[[Path], T]) -> Callable[[Path, str], T]:
    """Return a function of path and sha256 that reads unchanged files, and caches many small ones or one large one.

    Args:
        read: returns the content of a file
    """

    def read_verified(path: Path, digest: str) -> T:
        return read(verified_path(path, digest))

    read_small, read_large = lru_cache(maxsize=256)(read_verified), lru_cache(maxsize=1)(read_verified)

    def read_cached(path: Path, digest: str) -> T:
        is_small = path.is_file() and path.stat().st_size <= SMALL_FILE
        return (read_small if is_small else read_large)(path, digest)

    return read_cached


def verified_path(path: Path, digest: str) -> Path:
    """Return the path of a file that must not have changed.

    Args:
        path: the file
        digest: its sha256 when the run began

    Raises:
        UserError: the file has another hash now
    """
    if sha256_of_input(path) != digest:
        raise UserError(f"{path}: has changed since the run began; restore it, or choose another --out")
    return path


def sha256_of_input(path: Path) -> str:
    """Return the sha256 of a file, or of a folder that is an array.

    Raises:
        UserError: the file cannot be read
    """
    try:
        return sha256_of_folder(path) if path.is_dir() else sha256_of(path)
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}; give readable files") from None


def list_input_files(folder: Path) -> Iterator[Path]:
    """Return all files in a folder, and sub-folders that are arrays.

    Raises:
        UserError: the path is not a folder
    """
    if not folder.is_dir():
        raise UserError(f"--inputs {folder}: is not a folder; give the folder that holds the files")
    return (path for path in sorted(folder.rglob("*")) if path.is_file() or is_zarr_array(path))
