"""Pictures of the user, single files or stacks: a part of one, turned, on any grid, grey in 0..1.

A picture's split follows from a hash: that of its file if it is alone in it, otherwise the sha256 of '<hash of the
file>:<index in the stack>'. So every machine assigns pictures alike, and no file or item of a stack is used in two
splits (unless `shared`); copies of a picture with other bytes may be.
"""

import hashlib
from bisect import bisect_right
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate
from pathlib import Path
from typing import Annotated, ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import Field

from generators.random_streams import Streams
from generators.specimens.draws import to_float32
from generators.specimens.from_files import picture_files
from generators.specimens.from_files.picture_files import Levels
from generators.specimens.from_files.pool import Pool, cached_by_size
from schemas.runtime.ranges import Range, within
from schemas.runtime.settings import between, setting

SYMMETRY_COUNT = 8  # number of symmetries of a square: four rotations, each with and without mirroring

type Pair = tuple[float, float]
type Picture = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class DrawnPicture:
    """A drawn picture: its position in the recipe, and the part shown (see `schemas.fields.picture_views`)."""

    item: int
    symmetry: int  # number of quarter turns from x to y; + 4: mirrored in x before that
    part: float  # width of the part, relative to the widest that fits
    y: float  # start of the part, from 0 to 1 of the possible range
    x: float


class Pictures(Pool):
    """Settings of a folder of pictures, a stack, or one picture."""

    setting_name: ClassVar[str] = "pictures"
    contents: ClassVar[str] = "pictures"

    path: Path | None = Field(
        None,
        exclude=True,
        **setting("folder of pictures or stacks (PNG, JPEG, TIFF, NPY, HDF5, Zarr, ...), or one file", "path"),
    )
    levels: Levels = Field(
        "type",
        **setting(
            "grey 0 and 1: type: limits of the data type (8 or 16 bit); image: minimum and maximum of each image"
        ),
    )
    part: Annotated[Range, within(0, 1, above=True)] = between(
        0.3, 1.0, "width of the part that is shown, relative to the widest that fits"
    )
    orientation: Literal["fixed", "square"] = Field(
        "square", **setting("pictures as they are, or in one of the 8 rotations and reflections of a square")
    )
    counts: tuple[int, ...] = Field((), **setting("number of pictures in each file; filled in automatically"))

    @property
    def names(self) -> tuple[str, ...]:
        """One name: pictures have no companions, which are further files of the same item."""
        return ("picture",)

    @property
    def valid_path(self) -> str:
        """Description of a valid `path`, for messages."""
        return "a folder of pictures, or one file"

    def list_files(self, path: Path) -> tuple[Path, ...]:
        """Return the files of pictures.

        Args:
            path: a folder, or one file

        Raises:
            UserError: there are no pictures
        """
        return picture_files.list_picture_files(path)

    def bind(self, inputs: Path | None) -> Self:
        """Return the pool with every file found and hashed, and its pictures counted.

        Args:
            inputs: the folder in which files are found by hash

        Raises:
            UserError: files are missing, cannot be read, or no folder is given
        """
        bound = super().bind(inputs)
        if self.path is None:
            return bound
        return bound.model_copy(update={"counts": tuple(picture_files.count_pictures(path) for path in bound.paths)})

    @property
    def keys(self) -> tuple[str, ...]:
        """Hash of each picture."""
        return _picture_keys(self.sha256, self.counts)

    def draw(self, rng: Streams) -> DrawnPicture:
        """Choose the picture of a sample by its number, and draw the part.

        Every call consumes four random numbers of the stream `specimen`.
        """
        symmetry = int(SYMMETRY_COUNT * rng.specimen.random())
        part, y, x = to_float32(self.part.draw(rng.specimen), *rng.specimen.random(2))
        return DrawnPicture(self.choose_item(rng), symmetry if self.orientation == "square" else 0, part, y, x)

    def render(self, drawn: DrawnPicture, shape: tuple[int, int], sampling: Pair = (1.0, 1.0)) -> Picture:
        """Return the part of a picture on a grid (y, x), float32 in 0..1.

        Args:
            drawn: the picture and its part
            shape: pixels (y, x) of the grid
            sampling: (y, x), in any unit, since only the aspect ratio of the field of view is used
        """
        file, number = _locate_item(self.counts, drawn.item)
        picture = apply_symmetry(_read_grey(*self.file_at(file), number, self.levels), drawn.symmetry)
        return resample_part(picture, drawn, shape, shape[0] * sampling[0] / (shape[1] * sampling[1]))


def apply_symmetry(picture: Picture, symmetry: int) -> Picture:
    """Return the picture (y, x) in one of the symmetries of a square.

    Args:
        picture: (y, x)
        symmetry: 0 to 7, see `DrawnPicture`
    """
    mirrored = picture[:, ::-1] if symmetry >= 4 else picture
    return np.rot90(mirrored, -(symmetry % 4))


def resample_part(picture: Picture, drawn: DrawnPicture, shape: tuple[int, int], ratio: float) -> Picture:
    """Return a part of a picture, resampled by Pillow's BILINEAR filter.

    It interpolates linearly when enlarging, and averages with a triangle two output pixels wide when reducing.

    Args:
        picture: (y, x)
        drawn: the part
        shape: pixels (y, x) of the result
        ratio: height / width of the part, whatever the aspect ratio of the picture
    """
    height = drawn.part * min(picture.shape[0], picture.shape[1] * ratio)
    sides = np.array([height, height / ratio])
    start = (picture.shape - sides) * (drawn.y, drawn.x)
    end = np.minimum(start + sides, picture.shape)
    source = Image.fromarray(np.ascontiguousarray(picture))
    box = (start[1], start[0], end[1], end[0])
    return np.array(source.resize(shape[::-1], Image.Resampling.BILINEAR, box=box), np.float32)


def _locate_item(counts: tuple[int, ...], item: int) -> tuple[int, int]:
    """Return the file of an item, and the item's number in the file."""
    ends = _cumulative_counts(counts)
    file = bisect_right(ends, item)
    return file, item - (ends[file - 1] if file else 0)


@lru_cache(maxsize=4)
def _cumulative_counts(counts: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(accumulate(counts))


@lru_cache(maxsize=4)
def _picture_keys(digests: tuple[str, ...], counts: tuple[int, ...]) -> tuple[str, ...]:
    """Return the hash of each picture; that of the file if the picture is alone in it."""
    files = zip(digests, counts, strict=True)
    return tuple(digest if n == 1 else _picture_key(digest, i) for digest, n in files for i in range(n))


def _picture_key(digest: str, number: int) -> str:
    return hashlib.sha256(f"{digest}:{number}".encode()).hexdigest()


def _read_grey(path: Path, digest: str, number: int, levels: Levels) -> Picture:
    return picture_files.to_grey(path, picture_files.read_picture(path, _open_stack(path, digest), number), levels)


_open_stack = cached_by_size(picture_files.open_stack)
