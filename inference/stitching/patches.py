"""Where patches lie in an image, and how much each of their pixels counts."""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from schemas.runtime.errors import UserError

PIXELS = 2**28  # of an image, at most: it takes 50 bytes a pixel while it is made


@dataclass(frozen=True)
class Canvas:
    """The pixels of an image: the first one on the grid of the corners, and how many."""

    origin: tuple[int, int]
    shape: tuple[int, int]


@dataclass(frozen=True)
class Patches:
    """Where patches lie: corner (patch, 2), y, x of their first pixel on any grid; weight as `relative` gives it."""

    corner: np.ndarray
    weight: np.ndarray

    def select(self, which: np.ndarray) -> "Patches":
        """Some of them, in this order."""
        return Patches(self.corner[which], self.weight if len(self.weight) == 1 else self.weight[which])

    @property
    def mass(self) -> np.ndarray:
        """Sum of the weights of each patch, (patch,)."""
        sums = self.weight.sum(axis=(1, 2), dtype=np.float64)
        return np.broadcast_to(sums, len(self.corner))


def relative(weight: np.ndarray) -> np.ndarray:
    """Weights (1 or patch, y, x) relative to the largest, float32. UserError if they are none."""
    if not (weight.ndim == 3 and np.isfinite(weight).all() and (weight >= 0).all() and weight.any()):
        raise UserError(
            f"weights of patches, {weight.shape}: must be (patch, y, x), finite, >= 0, not all 0; give a mask"
        )
    return (weight / weight.max()).astype(np.float32, copy=False)  # type: ignore[no-any-return]


def tapered(mask: np.ndarray) -> np.ndarray:
    """Weights of masks (..., y, x): the distance to the nearest pixel outside, relative to the largest; 0 outside.

    A patch then ends in the image without an edge; its middle, which is best illuminated, counts most.
    """
    masks = np.pad(mask.reshape(-1, *mask.shape[-2:]) > 0, ((0, 0), (1, 1), (1, 1)))
    depth = np.stack([ndimage.distance_transform_edt(one)[1:-1, 1:-1] for one in masks])
    largest = depth.max(axis=(1, 2), keepdims=True)
    return (depth / np.maximum(largest, 1)).reshape(mask.shape)


def corners(position: np.ndarray, sampling: float, size: tuple[int, int]) -> np.ndarray:
    """The first pixel (patch, 2) of patches of `size` pixels y, x whose pixel N//2 lies at `position` (patch, 2) [nm].

    Rounded to the grid of the patches' pixels, `sampling` [nm] wide. UserError if a position is no number.
    """
    if len(bad := np.flatnonzero(~np.isfinite(position).all(axis=1))):
        raise UserError(f"position of sample {bad[0]}: {position[bad[0]]}, must be finite; leave such samples out")
    first: np.ndarray = np.rint(position / sampling).astype(np.int64) - np.array(size) // 2
    return first


def frame_of(corner: np.ndarray, size: tuple[int, int]) -> Canvas:
    """The pixels that all patches lie in. UserError if they are too many."""
    low, high = corner.min(axis=0), corner.max(axis=0)
    shape = (int(high[0] - low[0]) + size[0], int(high[1] - low[1]) + size[1])
    if shape[0] * shape[1] > PIXELS:
        raise UserError(
            f"an image of {shape[0]:,} x {shape[1]:,} pixels: at most {PIXELS:,} in all; check positions and sampling"
        )
    return Canvas((int(low[0]), int(low[1])), shape)
