"""Places of patches in an image, and the weights of their pixels."""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from schemas.runtime.errors import UserError

MAX_PIXELS = 2**28  # maximum number of pixels of an image, because stitching needs 50 bytes of memory per pixel


@dataclass(frozen=True)
class Canvas:
    """Pixels of an image on the grid on which patches are laid."""

    origin: tuple[int, int]  # first pixel (y, x) on that grid
    shape: tuple[int, int]


@dataclass(frozen=True)
class Patches:
    """Places and weights of patches."""

    corner: np.ndarray  # (patch, 2), y and x of the first pixel on a common grid
    weight: np.ndarray  # (1 or patch, y, x), as `relative_weights` returns it

    def select(self, which: np.ndarray) -> "Patches":
        """Return some patches, in the order of their numbers in `which`."""
        return Patches(self.corner[which], self.weight if len(self.weight) == 1 else self.weight[which])

    @property
    def mass(self) -> np.ndarray:
        """Sum of the weights of each patch, (patch,)."""
        sums = self.weight.sum(axis=(1, 2), dtype=np.float64)
        return np.broadcast_to(sums, len(self.corner))


def relative_weights(weight: np.ndarray) -> np.ndarray:
    """Return weights relative to the largest, in float32.

    Args:
        weight: (1 or patch, y, x).

    Raises:
        UserError: weights are negative, not finite, all 0, or of another shape.
    """
    if not (weight.ndim == 3 and np.isfinite(weight).all() and (weight >= 0).all() and weight.any()):
        raise UserError(
            f"weights of patches, {weight.shape}: must be (patch, y, x), finite, at least 0, not all 0; give a mask"
        )
    return (weight / weight.max()).astype(np.float32, copy=False)  # type: ignore[no-any-return]


def tapered_weights(mask: np.ndarray) -> np.ndarray:
    """Return weights for masks: the distance to the nearest pixel outside, relative to the largest distance.

    Patches then have no visible edge in the image, and their middle, which is best illuminated, has the largest weight.

    Args:
        mask: (..., y, x), positive inside.

    Returns:
        Weights of the same shape, 0 outside.
    """
    masks = np.pad(mask.reshape(-1, *mask.shape[-2:]) > 0, ((0, 0), (1, 1), (1, 1)))
    depth = np.stack([ndimage.distance_transform_edt(one)[1:-1, 1:-1] for one in masks])
    largest = depth.max(axis=(1, 2), keepdims=True)
    return (depth / np.maximum(largest, 1)).reshape(mask.shape)


def first_pixels(position: np.ndarray, sampling: float, size: tuple[int, int]) -> np.ndarray:
    """Return the first pixel (patch, 2) of each patch, rounded to the grid of pixels.

    Args:
        position: y and x of pixel N//2 of each patch, (patch, 2) [nm].
        sampling: pixel [nm].
        size: pixels (y, x) of a patch.

    Raises:
        UserError: a position is not finite.
    """
    if len(bad := np.flatnonzero(~np.isfinite(position).all(axis=1))):
        raise UserError(f"position of sample {bad[0]}: {position[bad[0]]}: must be finite; leave such samples out")
    first: np.ndarray = np.rint(position / sampling).astype(np.int64) - np.array(size) // 2
    return first


def frame_of(corner: np.ndarray, size: tuple[int, int]) -> Canvas:
    """Return the smallest canvas that holds all patches.

    Args:
        corner: first pixel of each patch, (patch, 2).
        size: pixels (y, x) of a patch.

    Raises:
        UserError: it has too many pixels.
    """
    low, high = corner.min(axis=0), corner.max(axis=0)
    shape = (int(high[0] - low[0]) + size[0], int(high[1] - low[1]) + size[1])
    if shape[0] * shape[1] > MAX_PIXELS:
        raise UserError(
            f"an image of {shape[0]:,} x {shape[1]:,} pixels: the limit is {MAX_PIXELS:,}; check positions and sampling"
        )
    return Canvas((int(low[0]), int(low[1])), shape)
