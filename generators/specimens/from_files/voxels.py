"""Specimens from a pool of voxel masks, and the fields of their magnetisation (`specimens.files`)."""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from generators.specimens.from_files import voxel_files
from generators.specimens.from_files.pool import Pool, unchanged
from generators.specimens.particles.mesh import rotation
from generators.specimens.random_values import draw_quaternion
from generators.streams import Streams
from schemas.runtime.errors import UserError
from schemas.runtime.settings import setting

SMALL = 1 << 20  # bytes of a file; of larger ones the last is kept in memory, of these many

type Pair = tuple[float, float]
type Grid = tuple[tuple[int, int], Pair]  # (y, x): shape, sampling [nm]


@dataclass(frozen=True)
class Item:
    """What is drawn of a pool: a file by its position in the recipe, and how it is turned."""

    item: int
    turn: int = 0  # number of the cube's rotation
    orientation: tuple[float, ...] = (1.0, 0.0, 0.0, 0.0)  # quaternion (w, z, y, x), applied to the specimen


class SpecimenFiles(Pool):
    """Voxel masks named `particle(N)`, text or .npy, the longest side as wide as the image (`specimens.files`)."""

    held: ClassVar[str] = "files"

    first: int = Field(0, ge=0, **setting("the number N to start from"))
    orientation: Literal["fixed", "cube", "free"] = Field(
        "free", **setting("beam along z of the file (phase-ret-dl), one of the cube's 24 rotations, or any rotation")
    )
    moments: str | None = Field(
        None,
        pattern=r"^\w+$",
        **setting("name of files name(N).npy beside each particle: magnetisation (z, y, x, component)", "file"),
    )

    @property
    def names(self) -> tuple[str, ...]:
        """Masks, and fields of magnetisation."""
        return ("particle",) if self.moments is None else ("particle", self.moments)

    def listed(self, path: Path) -> tuple[Path, ...]:
        """Files by rising number, from `first`, then their companions."""
        return voxel_files.with_companions(path, self.first, self.names)

    def draw(self, rng: Streams) -> Item:
        """The file and the orientation of a sample; consumes the stream `specimen`."""
        item = self.choose(rng)
        if self.orientation == "cube":
            return Item(item, turn=int(rng.specimen.integers(len(voxel_files.cube_rotations()))))
        if self.orientation == "free":
            return Item(item, orientation=draw_quaternion(rng.specimen))
        return Item(item)

    def slabs(self, item: Item, grid: Grid, width: float, middle: Pair, count: int) -> tuple[np.ndarray, float]:
        """Thickness within each slab of a specimen, (slab, y, x) [nm], and the height of a slab [nm].

        width: of the field of view [nm]. middle: points of the grid before its middle.
        """
        mask = voxel_files.turned(_mask(*self.place(item.item)), item.turn)
        turned = mask if self.orientation != "free" else voxel_files.rotated(mask, rotation(item.orientation))
        return voxel_files.slabs(turned, *grid, width, count, middle)

    def moment(self, item: Item, grid: Grid, width: float, middle: Pair) -> tuple[np.ndarray, np.ndarray]:
        """The field of magnetisation (y and x component) integrated along the beam, (y, x) [nm]; as `slabs`."""
        path, digest = self.place(item.item, 1)
        field, mask = _moments(path, digest), _mask(*self.place(item.item))
        if field.shape[:3] != mask.shape:
            raise UserError(f"{path}: of shape {field.shape}, its mask of {mask.shape}; save one vector per voxel")
        field = voxel_files.turned_vectors(field, item.turn)
        if self.orientation == "free":
            field = voxel_files.rotated_vectors(field, rotation(item.orientation))
        y, x = (voxel_files.thickness(field[..., k], *grid, width, middle) for k in (1, 2))
        return y, x


def _mask(path: Path, digest: str) -> Any:
    return (_small_mask if path.stat().st_size <= SMALL else _large_mask)(path, digest)


@lru_cache(maxsize=256)
def _small_mask(path: Path, digest: str) -> Any:
    return voxel_files.read(unchanged(path, digest))


@lru_cache(maxsize=1)
def _large_mask(path: Path, digest: str) -> Any:
    return voxel_files.read(unchanged(path, digest))


@lru_cache(maxsize=1)
def _moments(path: Path, digest: str) -> Any:
    return voxel_files.read_vectors(unchanged(path, digest))
