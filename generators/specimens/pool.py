"""A finite pool of specimen files: recorded by hash, and shared out so that no specimen serves two splits.

A file belongs to the split that its hash says (8 in 10 to train, 1 each to validation and test), whatever the number
of samples. Sample i of a split takes the file at position i modulo the split's files, in a random orientation.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from generators.specimens import files
from generators.specimens.drawn import draw_quaternion
from generators.specimens.mesh import rotation
from generators.streams import Streams
from schemas.errors import UserError
from schemas.knobs import knob

SHARES = {"train": (0.0, 0.8), "validation": (0.8, 0.9), "test": (0.9, 1.0)}


@dataclass(frozen=True)
class Item:
    """What is drawn of a pool: a file by its position in the recipe, and how it is turned."""

    item: int
    turn: int = 0  # number of the cube's rotation
    orientation: tuple[float, ...] = (1.0, 0.0, 0.0, 0.0)  # quaternion (w, z, y, x), applied to the specimen


class SpecimenFiles(BaseModel):
    """Voxel masks named `particle(N)`, text or .npy, the longest side as wide as the image (`specimens.files`)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: Path | None = Field(None, exclude=True, **knob("a folder of particle(N) files, or one file", "path"))
    first: int = Field(0, ge=0, **knob("the number N to start from"))
    orientation: Literal["fixed", "cube", "free"] = Field(
        "free", **knob("beam along z of the file (phase-ret-dl), one of the cube's 24 rotations, or any rotation")
    )
    shared: bool = Field(False, **knob("all splits use all files, so scores say nothing of new specimens"))
    sha256: tuple[str, ...] = Field((), **knob("of each file, filled in when the files are read"))
    paths: tuple[Path, ...] = Field((), exclude=True)  # where they are now; never stored

    def bind(self, inputs: Path | None) -> Self:
        """With every file found: by name in `path`, or by hash in the folder `inputs`."""
        if self.path is not None:
            paths = tuple(path.absolute() for path in files.listed(self.path, self.first))
            return self.model_copy(update={"paths": paths, "sha256": tuple(map(_sha256, paths))})
        if not self.sha256:
            raise UserError("files.path is missing: name the folder or file of the specimens, --set files.path=DIR")
        if inputs is None:
            raise UserError(f"this recipe needs {len(self.sha256)} specimen files: say where they are, --inputs DIR")
        found = {_sha256(path): path.absolute() for path in _below(inputs)}
        if missing := [digest for digest in self.sha256 if digest not in found]:
            raise UserError(
                f"--inputs {inputs}: {len(missing)} of the specimen files are not there, first sha256 {missing[0]}"
            )
        return self.model_copy(update={"paths": tuple(found[digest] for digest in self.sha256)})

    def serves(self, split: str) -> None:
        """UserError if no file belongs to a split."""
        if not self.members(split):
            option = "" if split == "train" else f", give --{split} 0"
            raise UserError(
                f"files: none of the {len(self.sha256)} specimen files falls to {split} (files are dealt to splits by "
                f"hash, so that none serves two): give more files{option}, or share them with --set files.shared=true"
            )

    def members(self, split: str) -> tuple[int, ...]:
        """Positions of the files of a split."""
        return _members(self.sha256, self.shared, split)

    def draw(self, rng: Streams) -> Item:
        """The file and the orientation of a sample; consumes the stream `specimen`."""
        members = self.members(rng.split)
        item = members[rng.sample % len(members)]
        if self.orientation == "cube":
            return Item(item, turn=int(rng.specimen.integers(len(files.cube_rotations()))))
        if self.orientation == "free":
            return Item(item, orientation=draw_quaternion(rng.specimen))
        return Item(item)

    def thickness(self, item: Item, shape: tuple[int, int], field_of_view: float) -> np.ndarray:
        """Projected thickness [nm] of a specimen on a grid (y, x) over the field of view."""
        mask = _mask(self.paths[item.item], self.sha256[item.item])
        pixel = (field_of_view / shape[0], field_of_view / shape[1])
        turned = files.turned(mask, item.turn)
        if self.orientation != "free":
            return files.thickness(turned, shape, pixel, field_of_view)
        return files.thickness(files.rotated(turned, rotation(item.orientation)), shape, pixel, field_of_view)


@lru_cache(maxsize=64)
def _members(digests: tuple[str, ...], shared: bool, split: str) -> tuple[int, ...]:
    low, high = (0.0, 1.0) if shared else SHARES[split]
    return tuple(i for i, digest in enumerate(digests) if low <= int(digest[:8], 16) / 2**32 < high)


@lru_cache(maxsize=256)
def _mask(path: Path, digest: str) -> np.ndarray:
    if _sha256(path) != digest:
        raise UserError(f"{path}: has changed since the run began; restore it, or choose another --out")
    return files.read(path)


def _sha256(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}; give readable specimen files") from None


def _below(folder: Path) -> Iterator[Path]:
    if not folder.is_dir():
        raise UserError(f"--inputs {folder}: is no folder")
    return (path for path in sorted(folder.rglob("*")) if path.is_file())
