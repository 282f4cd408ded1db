"""Content of a file of images: values and metadata. Sizes are checked before any values are read."""

import math
import resource
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from schemas.runtime.errors import UserError, suggestion

MAX_IMAGE_BYTES = 4 << 30  # maximum number of uncompressed bytes of the images of one file
PLAUSIBLE_BYTES = 64 << 20  # uncompressed bytes that any file may have
MAX_COPIES = 4  # arrays of this size that readers hold at once, to convert and to transpose them
MAX_COMPRESSION = 300  # maximum plausible compression ratio of larger files; only constant images reach more
LINE_INTEGRALS = "line integrals"  # unit of values that are final: no logarithm and no corrections

type Known = Mapping[str, tuple[float, ...]]
type Shape = tuple[int, ...]


@dataclass(frozen=True)
class Beside:
    """An array that belongs to images, such as the frames without an object, or the angles of the images."""

    values: np.ndarray
    unit: str = ""  # as the file states it; empty: not stated


@dataclass(frozen=True)
class Picture:
    """The images of one file."""

    values: np.ndarray
    known: Known = field(default_factory=dict)  # parameters that the file states, in the units of the tasks
    axes: tuple[str, ...] = ()  # names of the axes, if this project exported the file
    matlab: bool = False  # MATLAB's order of axes: (y, x) first, the axis of images last
    colours: bool = False  # the file states that its last axis holds colours
    patterns: bool | None = None  # the units of its axes are those of diffraction patterns; None: not stated
    notes: tuple[str, ...] = ()  # warnings for the user
    order: tuple[int, ...] = ()  # places of these axes in the file; empty: as they are
    unclear: str = ""  # reason for which the order of the axes is not known, although the file states something
    unit: str = ""  # unit of the values, as the file states it
    turned: str = ""  # how the file states that the patterns of a scan are turned against its positions
    beside: Mapping[str, Beside] = field(default_factory=dict)  # arrays that belong to the images
    upward: bool = False  # the axis y of images that belong to these projections points up

    @property
    def stored(self) -> np.ndarray:
        """Values with the axes in the order of the file."""
        return self.values.transpose(np.argsort(self.order)) if self.order else self.values


@dataclass(frozen=True)
class Rows:
    """The rows that are read of stacks of images, or of single images."""

    start: int = 0
    stop: int | None = None  # None: up to the last one
    axis: int = 1  # place of the rows among the axes of the images; or of the file, if the user has named these
    named: bool = False
    single: bool = False  # arrays with two axes are single images; otherwise, all of them is read

    def index(self, path: Path, shape: Shape, order: Sequence[int] = ()) -> tuple[slice, ...]:
        """Return the index of the values that are read.

        Args:
            path: the file, for messages.
            shape: shape of the array in the file.
            order: places of the axes of the images in the file; empty: as they are.

        Raises:
            UserError: there are no such rows.
        """
        slices = [slice(None)] * len(shape)
        if len(shape) == 3 or (len(shape) == 2 and self.single):
            axis = self.axis if self.named else len(shape) - 2
            place = order[axis] if order and not self.named else axis
            if not self.start < (self.stop or shape[place]) <= shape[place]:
                raise UserError(f"{path}: rows = {self.start}:{self.stop}: must lie within 0:{shape[place]}, its rows")
            slices[place] = slice(self.start, self.stop)
        return tuple(slices)

    def cut(self, path: Path, picture: Picture) -> Picture:
        """Return images that have been read with all rows, with these rows only.

        Args:
            path: the file, for messages.
            picture: the images.

        Raises:
            UserError: there are no such rows.
        """
        values = picture.stored[self.index(path, picture.stored.shape, picture.order)]
        return replace(picture, values=values.transpose(picture.order) if picture.order else values)


def index_rows(
    path: Path, shape: Shape, itemsize: int, rows: Rows | None, order: Sequence[int] = ()
) -> tuple[slice, ...]:
    """Return the index of the values that are read of an array, unless they are too large.

    Args:
        path: the file.
        shape: shape of the array in the file.
        itemsize: bytes per value.
        rows: the rows that are read of images with three axes; None: all.
        order: places of the axes of the images in the file; empty: as they are.

    Raises:
        UserError: there are no such rows, or they are too large.
    """
    index = rows.index(path, shape, order) if rows else (slice(None),) * len(shape)
    remedy = "read some of the rows: --set rows=START:STOP" if rows else "split it"
    refuse_large(path, tuple(len(range(n)[part]) for n, part in zip(shape, index, strict=True)), itemsize, remedy)
    return index


def refuse_large(path: Path, shape: Shape, itemsize: int, remedy: str = "split it") -> None:
    """Refuse an array that is too large to read, or larger than its file can hold.

    Args:
        path: the file.
        shape: shape of the array, as its header states it.
        itemsize: bytes per value.
        remedy: what the user can do about an array that is too large.

    Raises:
        UserError: the array is too large.
    """
    promised = math.prod(shape) * itemsize
    if promised > MAX_IMAGE_BYTES:
        raise UserError(
            f"{path}: {promised / 2**30:.1f} GiB of images; at most {MAX_IMAGE_BYTES >> 30} GiB are read; {remedy}"
        )
    if promised > max(PLAUSIBLE_BYTES, MAX_COMPRESSION * path.stat().st_size):
        raise UserError(f"{path}: damaged: states {promised:,} bytes in a file of {path.stat().st_size:,}; replace it")
    _allow_memory(MAX_COPIES * promised)


def _allow_memory(size: int) -> None:
    """Raise the memory limit of a process that has one, as the process that reads files does."""
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    if soft != resource.RLIM_INFINITY:
        soft += size
        resource.setrlimit(resource.RLIMIT_DATA, (soft if hard == resource.RLIM_INFINITY else min(soft, hard), hard))


def is_image(shape: Shape) -> bool:
    """Return True for the shape of an image or a stack: at least two axes are longer than 1."""
    return sum(length > 1 for length in shape) > 1


def choose_array(path: Path, inner: str, shapes: Mapping[str, Shape]) -> str:
    """Return the name of the array to be read.

    Args:
        path: the file, for messages.
        inner: the name that the user gave, or one part of a path; empty: the only array that looks like an image.
        shapes: by name, the shape of each array in the file.

    Raises:
        UserError: there is no such array, or not exactly one image.
    """
    if inner:
        close = [name for name in shapes if inner in name.split("/")]
        if inner not in shapes and len(close) != 1:
            raise UserError(f"{path}:{inner}: no such array{suggestion(inner, shapes)}")
        return inner if inner in shapes else close[0]
    images = [name for name, shape in shapes.items() if is_image(shape)]
    found = images if len(shapes) > 1 else list(shapes)
    if len(found) != 1:
        found.sort(key=lambda name: -math.prod(shapes[name]))
        there = ", ".join(found[:6] or list(shapes)[:6]) or "none"
        there += ", ..." if len(found) > 6 else ""
        rule = f"choose one, such as {path}:{found[0]}" if found else "give another file"
        raise UserError(f"{path}: holds {len(found) or 'no'} images (arrays: {there}); {rule}")
    return found[0]
