"""What is read from a file: values, and what the file says of them. Sizes are checked before anything is read."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from schemas.runtime.errors import UserError, meant

LIMIT = 4 << 30  # bytes of the images of one file, uncompressed
SMALL = 64 << 20  # bytes that any file may unpack to
PACKED = 2000  # times that a larger one may be compressed: deflate reaches 1032

type Known = Mapping[str, tuple[float, ...]]
type Shape = tuple[int, ...]


@dataclass(frozen=True)
class Picture:
    """The images of one file."""

    values: np.ndarray
    known: Known = field(default_factory=dict)  # parameters that the file states, in the units of schemas
    axes: tuple[str, ...] = ()  # as an export of ours names them
    matlab: bool = False  # as MATLAB has them: (y, x), and what counts images last
    colours: bool = False  # the last axis holds them, as the file says


def refuse_large(path: Path, shape: Shape, itemsize: int) -> None:
    """UserError if a header promises more than is read, or more than the file can hold."""
    promised = math.prod(shape) * itemsize
    if promised > LIMIT:
        raise UserError(f"{path}: {promised / 2**30:.1f} GiB of images, at most {LIMIT >> 30} are read; cut it")
    if promised > max(SMALL, PACKED * path.stat().st_size):
        raise UserError(f"{path}: promises {promised:,} bytes in a file of {path.stat().st_size:,}: damaged")


def the_only(path: Path, inner: str, shapes: Mapping[str, Shape]) -> str:
    """The name of the array that is meant: the one named after the file, or the only one that looks like an image."""
    if inner:
        if inner not in shapes:
            raise UserError(f"{path}:{inner}: no such array{meant(inner, shapes)}")
        return inner
    images = [name for name, shape in shapes.items() if sum(length > 1 for length in shape) > 1]
    found = images if len(shapes) > 1 else list(shapes)
    if len(found) != 1:
        there = ", ".join(found[:6] or list(shapes)[:6]) or "none"
        rule = f"write {path}:{found[0]} or another" if found else "give another file"
        raise UserError(f"{path}: holds {len(found) or 'no'} images (arrays: {there}); {rule}")
    return found[0]
