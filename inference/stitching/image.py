"""One image of many patches: by the offsets that make all overlaps agree best, by the seed's sweeps, or their mean.

Where a constant is free, each patch a_i is known up to a constant o_i, with a weight w_i (physics.mosaic). The default
then finds image and offsets of

    minimum over o, u of  sum_i sum_x w_i(x) (a_i(x) + o_i - u(x))^2

For given offsets u is their weighted mean, so only offsets are left: a linear system, solved by conjugate gradients.
It needs of a patch two sums and its share in an image, so patches are read once and never held. Where nothing is free
(masks, images), the offsets are 0.
The same patches give the same bits in any order, however they are read: what is added up as they come, is added up in
integers; offsets are found in the order of positions.

Overlaps say nothing of patches that no chain of overlaps leads to: each such component has a constant of its own, here
one that makes the mean of its offsets 0.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from inference.stitching.offsets import LeastSquares, solve
from inference.stitching.patches import Canvas, Patches
from physics import mosaic
from schemas.runtime.errors import UserError

type Window = tuple[slice, slice]  # rows and columns of a patch
type Blocks = Iterable[tuple[np.ndarray, np.ndarray]]  # numbers of patches, and their values (patch, y, x)
type Read = Callable[[Window], Blocks]  # all patches, in any order and blocks, cut to a window


@dataclass(frozen=True)
class Iterative:
    """By the sweeps of Deep Learning Electron Diffractive Imaging, in an order that the seed shuffles."""

    alpha: float = 0.1
    sweeps: int = 3
    seed: int = 0


@dataclass(frozen=True)
class Average:
    """By the weighted mean of the patches, between which nothing is free."""


type Blend = LeastSquares | Iterative | Average


def usual(free: str) -> Blend:
    """Return how patches are stitched unless the user says otherwise. free: as in `Stitch`."""
    return LeastSquares() if free == "constant" else Average()


@dataclass(frozen=True)
class Image:
    """What the patches of one scan make, (y, x) each."""

    values: np.ndarray  # in the unit of the patches; NaN where no patch has weight
    weight: np.ndarray  # sum of those of all patches
    component: np.ndarray  # 0 where no patch has weight; from 1 on, patches that a chain of overlaps links
    left_out: int  # patches without numbers
    misfit: float | None  # root mean square of what patches and image differ by, to 1e-5; None: not known
    residual: float | None  # left in the equations of the offsets, to that of no offsets; None: they are not fitted


def stitch(read: Read, patches: Patches, frame: Canvas, method: Blend) -> Image:
    """The image of these patches in a frame that holds them all. Those not read, or without numbers, are left out.

    Memory: 50 bytes per pixel of the frame, and the patches only if they are stitched by `Iterative`.
    UserError if no patch is left.
    """
    lying, window = _lay(patches, frame)
    if isinstance(method, Iterative):
        return _swept(read(window), lying, frame.shape, method)
    return _fitted(read(window), lying, frame.shape, method)


def _lay(patches: Patches, frame: Canvas) -> tuple[Patches, Window]:
    """Patches by their place in a frame, cut to the rows and columns that have weight; and which these are."""
    first = patches.corner - np.array(frame.origin)
    if (first < 0).any() or (first + patches.weight.shape[1:] > frame.shape).any():
        raise ValueError(f"{frame} does not hold all patches")  # compiled functions would write beyond the image
    seen = patches.weight.any(axis=0)
    window = (_extent(seen.any(axis=1)), _extent(seen.any(axis=0)))
    weight = np.ascontiguousarray(patches.weight[:, *window])
    return Patches(first + [part.start for part in window], weight), window


def _extent(seen: np.ndarray) -> slice:
    found = np.flatnonzero(seen)
    return slice(int(found[0]), int(found[-1]) + 1)


def _order(patches: Patches, sums: np.ndarray) -> np.ndarray:
    """The patches with numbers and weight, by position; at the same position by their sums."""
    kept = np.flatnonzero(np.isfinite(sums).all(axis=1) & (patches.mass > 0))
    if not len(kept):
        raise UserError(f"none of {len(sums):,} patches holds numbers where it has weight; check the predictions")
    y, x = patches.corner[kept].T
    return kept[np.lexsort((sums[kept, 1], sums[kept, 0], y * (x.max() + 1) + x))]


def _fitted(blocks: Blocks, patches: Patches, shape: tuple[int, int], method: LeastSquares | Average) -> Image:
    """Only sums are kept of the patches: in the image, of w_i a_i; of each, of w_i a_i and w_i a_i^2."""
    total = np.zeros(shape, np.int64)
    sums = np.full((len(patches.corner), 2), np.nan)
    for which, values in blocks:
        part = patches.select(which)
        sums[which] = mosaic.add(np.ascontiguousarray(values), part.weight, part.corner, total)
    order = _order(patches, sums)
    left_out = len(sums) - len(order)
    return _blended(total, sums[order], patches.select(order), left_out, method)


def _blended(
    total: np.ndarray, sums: np.ndarray, patches: Patches, left_out: int, method: LeastSquares | Average
) -> Image:
    """The mean of patches with their offsets, which are 0 if nothing is free. total: in units of 1 / ONE."""
    cover = _spread(np.ones(len(sums)), patches, total.shape)
    inverse = np.divide(1.0, cover, out=np.zeros_like(cover), where=cover > 0)
    image = total * (inverse / mosaic.ONE)
    component, member = _components(patches, total.shape)
    offset, residual = np.zeros(len(sums)), None
    if isinstance(method, LeastSquares):
        offset, residual = solve(sums[:, 0], image, inverse, patches, member, method)
    image += _spread(offset, patches, total.shape) * inverse
    squares = (sums[:, 1] + offset * (2 * sums[:, 0] + offset * patches.mass)).sum() - (cover * image**2).sum()
    misfit = float(np.sqrt(max(squares, 0.0) / cover.sum()))
    return Image(np.where(cover > 0, image, np.nan), cover, component, left_out, misfit, residual)


def _components(patches: Patches, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """The number from 1 on of the component at each pixel, (y, x), 0 at none; and, from 0 on, of each patch's."""
    owner = np.full(shape, -1)
    _, member = np.unique(mosaic.link(patches.weight, patches.corner, owner), return_inverse=True)
    return np.where(owner < 0, 0, member[owner] + 1).astype(np.uint32), member


def _spread(values: np.ndarray, patches: Patches, shape: tuple[int, ...]) -> np.ndarray:
    return mosaic.spread(values, patches.weight, patches.corner, np.zeros(shape))


def _swept(blocks: Blocks, patches: Patches, shape: tuple[int, int], method: Iterative) -> Image:
    """One order for all sweeps, as the seed had it: shuffled from that of positions."""
    values = np.full((len(patches.corner), *patches.weight.shape[1:]), np.nan, np.float32)
    for which, part in blocks:
        values[which] = part
    order = _order(patches, mosaic.add(values, patches.weight, patches.corner, np.zeros(shape, np.int64)))
    left_out = len(values) - len(order)
    values, patches = values[order], patches.select(order)
    shuffled = np.random.default_rng(method.seed).permutation(len(order))
    image = np.zeros(shape)
    for _ in range(method.sweeps):
        mosaic.relax(values, patches.weight > 0, patches.corner, shuffled, method.alpha, image)
    cover = _spread(np.ones(len(values)), patches, shape)
    component, _ = _components(patches, shape)
    return Image(np.where(cover > 0, image, np.nan), cover, component, left_out, None, None)
