"""Specimens from a pool of voxel masks, and the fields of their magnetisation (`voxel_files`)."""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from generators.random_streams import Streams
from generators.specimens.draws import draw_quaternion
from generators.specimens.from_files import voxel_files
from generators.specimens.from_files.numbered_files import NumberedFiles
from generators.specimens.from_files.pool import cached_by_size, verified_path
from generators.specimens.particles.mesh import rotation_matrix
from schemas.runtime.errors import UserError
from schemas.runtime.settings import setting

type Pair = tuple[float, float]
type Grid = tuple[tuple[int, int], Pair]  # (y, x): shape, sampling [nm]


@dataclass(frozen=True)
class DrawnVoxels:
    """A file drawn from a pool, by its position in the recipe, and its orientation."""

    item: int
    turn: int = 0  # number of the rotation in `cube_rotations`
    orientation: tuple[float, ...] = (1.0, 0.0, 0.0, 0.0)  # quaternion (w, z, y, x), applied to the specimen


class SpecimenFiles(NumberedFiles):
    """Settings of voxel masks named `particle(N)`, text or .npy, their longest side as wide as the image."""

    setting_name: ClassVar[str] = "files"

    orientation: Literal["fixed", "cube", "free"] = Field(
        "free",
        **setting("beam along z of the file (as phase-ret-dl), one of the 24 rotations of a cube, or any rotation"),
    )
    moments: str | None = Field(
        None,
        pattern=r"^\w+$",
        **setting(
            "name of files name(N).npy beside each particle, with its magnetisation (z, y, x, component)", "file"
        ),
    )

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the masks, and of the fields of magnetisation if there are any."""
        return ("particle",) if self.moments is None else ("particle", self.moments)

    def draw(self, rng: Streams) -> DrawnVoxels:
        """Draw the file and the orientation of a sample, from the stream `specimen`."""
        item = self.choose_item(rng)
        if self.orientation == "cube":
            return DrawnVoxels(item, turn=int(rng.specimen.integers(len(voxel_files.cube_rotations()))))
        if self.orientation == "free":
            return DrawnVoxels(item, orientation=draw_quaternion(rng.specimen))
        return DrawnVoxels(item)

    def slabs(self, item: DrawnVoxels, grid: Grid, width: float, middle: Pair, count: int) -> tuple[np.ndarray, float]:
        """Return the thickness in each slab of a specimen, (slab, y, x) [nm], and the height of a slab [nm].

        Args:
            item: the file and its orientation
            grid: shape (y, x) and sampling (y, x) [nm]
            width: width of the field of view [nm]
            middle: points (y, x) of the grid before its middle
            count: number of slabs

        Raises:
            UserError: the file is damaged, has changed, or the turned specimen would be cut
        """
        mask = voxel_files.rotate_by_number(_read_mask(*self.file_at(item.item)), item.turn)
        turned = (
            mask
            if self.orientation != "free"
            else voxel_files.rotate_by_matrix(mask, rotation_matrix(item.orientation))
        )
        return voxel_files.slabs(turned, *grid, width, count, middle)

    def moment(self, item: DrawnVoxels, grid: Grid, width: float, middle: Pair) -> tuple[np.ndarray, np.ndarray]:
        """Return the y and x components of the magnetisation, integrated along the beam, (y, x) [nm].

        Args:
            item: the file and its orientation
            grid: shape (y, x) and sampling (y, x) [nm]
            width: width of the field of view [nm]
            middle: points (y, x) of the grid before its middle

        Raises:
            UserError: the field does not match its mask, or as in `slabs`
        """
        path, digest = self.file_at(item.item, 1)
        field, mask = _read_moments(path, digest), _read_mask(*self.file_at(item.item))
        if field.shape[:3] != mask.shape:
            raise UserError(f"{path}: of shape {field.shape}, but its mask is {mask.shape}; save one vector per voxel")
        field = voxel_files.rotate_vectors_by_number(field, item.turn)
        if self.orientation == "free":
            field = voxel_files.rotate_vectors_by_matrix(field, rotation_matrix(item.orientation))
        y, x = (voxel_files.thickness(field[..., k], *grid, width, middle) for k in (1, 2))
        return y, x


_read_mask = cached_by_size(voxel_files.read_mask)


@lru_cache(maxsize=1)
def _read_moments(path: Path, digest: str) -> Any:
    return voxel_files.read_vectors(verified_path(path, digest))
