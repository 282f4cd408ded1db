"""Stitch many patches to one image: by least squares over all overlaps, by iterative sweeps, or by their mean.

If each patch has an unknown constant (a phase), patch a_i with weight w_i (physics.stitching_kernels) is known up to a
constant o_i. The default method then finds the image u and the offsets o that solve

    minimum over o, u of  sum_i sum_x w_i(x) (a_i(x) + o_i - u(x))^2

For given offsets, u is the weighted mean of the patches a_i + o_i. This leaves a linear system for the offsets, which
is solved by conjugate gradients. To set up the system, only two sums per patch and its contribution to one image are
kept, so patches are read once and never held in memory. If the patches have no unknown constant (masks, images), the
offsets are 0.

The bits of the result do not depend on the order and the blocks in which patches are read: sums over patches are
computed in integers, and offsets are computed for the patches sorted by position.

Overlaps determine the constants only within a connected group of patches (a component), which overlap directly or
through other patches. Each component keeps one unknown constant. It is chosen so that the mean of its offsets is 0.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from inference.stitching.offsets import LeastSquares, solve_offsets
from inference.stitching.patches import Canvas, Patches
from physics import stitching_kernels
from schemas.runtime.errors import UserError
from schemas.runtime.terminal import count_text

type Window = tuple[slice, slice]  # rows and columns of a patch
type Blocks = Iterable[tuple[np.ndarray, np.ndarray]]  # numbers of patches, and their values (patch, y, x)
type Read = Callable[[Window], Blocks]  # reads all patches, cropped to a window, in any order and blocks


@dataclass(frozen=True)
class Iterative:
    """Stitching by iterative sweeps, as in Deep Learning Electron Diffractive Imaging."""

    alpha: float = 0.1  # step of a patch
    sweeps: int = 3  # number of sweeps through all patches
    seed: int = 0  # seed of the random order of patches


@dataclass(frozen=True)
class Average:
    """Stitching by the weighted mean of patches without unknown constants."""


type Blend = LeastSquares | Iterative | Average


def default_method(free: str) -> Blend:
    """Return the default stitching method. free: as in `Stitch`."""
    return LeastSquares() if free == "constant" else Average()


@dataclass(frozen=True)
class Image:
    """Stitched image of one scan; arrays are (y, x)."""

    values: np.ndarray  # in the unit of the patches; NaN where no patch has weight
    weight: np.ndarray  # sum of the weights of all patches
    component: np.ndarray  # label of the connected group of patches, from 1; 0 where no patch has weight
    left_out: int  # number of patches that are not finite or were not read
    misfit: float | None  # root mean square difference of patches and image, to 1e-5; None: unknown
    # Residual of the linear system for the offsets, divided by its residual with all offsets 0; None if no offsets were
    # fitted.
    residual: float | None


def stitch(read: Read, patches: Patches, frame: Canvas, method: Blend) -> Image:
    """Stitch patches to one image. Patches that are not finite, or are not read, are left out.

    This needs 50 bytes of memory per pixel of the frame. Only `Iterative` holds all patches in memory.

    Args:
        read: function that reads the patches, cropped to a window.
        patches: their places and weights.
        frame: the pixels of the image, which must hold all patches.
        method: the stitching method.

    Raises:
        UserError: no patch is left.
    """
    lying, window = _place_in_frame(patches, frame)
    if isinstance(method, Iterative):
        return _stitch_by_sweeps(read(window), lying, frame.shape, method)
    return _stitch_by_sums(read(window), lying, frame.shape, method)


def _place_in_frame(patches: Patches, frame: Canvas) -> tuple[Patches, Window]:
    """Return two things.

    1. The patches, cropped to the rows and columns where any weight is above 0 and placed in the frame.
    2. The window of those rows and columns.
    """
    first = patches.corner - np.array(frame.origin)
    if (first < 0).any() or (first + patches.weight.shape[1:] > frame.shape).any():
        raise ValueError(f"{frame} does not hold all patches")  # otherwise compiled code writes beyond the image
    has_weight = patches.weight.any(axis=0)
    window = (_true_range(has_weight.any(axis=1)), _true_range(has_weight.any(axis=0)))
    weight = np.ascontiguousarray(patches.weight[:, *window])
    return Patches(first + [part.start for part in window], weight), window


def _true_range(mask: np.ndarray) -> slice:
    places = np.flatnonzero(mask)
    return slice(int(places[0]), int(places[-1]) + 1)


def _order_usable(patches: Patches, sums: np.ndarray) -> np.ndarray:
    """Return the indices of the usable patches (finite, total weight above 0), sorted by position.

    Patches at the same position are sorted by their sums.
    """
    usable = np.flatnonzero(np.isfinite(sums).all(axis=1) & (patches.mass > 0))
    if not len(usable):
        patches_read = count_text(len(sums), "patch")
        raise UserError(f"none of {patches_read} is finite where it has weight; check the predictions")
    y, x = patches.corner[usable].T
    return usable[np.lexsort((sums[usable, 1], sums[usable, 0], y * (x.max() + 1) + x))]


def _stitch_by_sums(blocks: Blocks, patches: Patches, shape: tuple[int, int], method: LeastSquares | Average) -> Image:
    """Stitch by `LeastSquares` or `Average`.

    Only sums of the patches are kept: sums of w_i a_i in each pixel of the image, and of w_i a_i and w_i a_i^2 in each
    patch.
    """
    total = np.zeros(shape, np.int64)
    sums = np.full((len(patches.corner), 2), np.nan)
    for which, values in blocks:
        part = patches.select(which)
        sums[which] = stitching_kernels.accumulate(np.ascontiguousarray(values), part.weight, part.corner, total)
    order = _order_usable(patches, sums)
    left_out = len(sums) - len(order)
    return _blend(total, sums[order], patches.select(order), left_out, method)


def _blend(
    total: np.ndarray, sums: np.ndarray, patches: Patches, left_out: int, method: LeastSquares | Average
) -> Image:
    """Return the weighted mean of the patches plus their offsets, which are 0 if the patches have no unknown constant.

    total: sum of w_i a_i in each pixel, in units of 1 / ONE.
    """
    cover = _spread_values(np.ones(len(sums)), patches, total.shape)
    inverse = np.divide(1.0, cover, out=np.zeros_like(cover), where=cover > 0)
    image = total * (inverse / stitching_kernels.FIXED_POINT_ONE)
    component, member = _components(patches, total.shape)
    offset, residual = np.zeros(len(sums)), None
    if isinstance(method, LeastSquares):
        offset, residual = solve_offsets(sums[:, 0], image, inverse, patches, member, method)
    image += _spread_values(offset, patches, total.shape) * inverse
    squares = (sums[:, 1] + offset * (2 * sums[:, 0] + offset * patches.mass)).sum() - (cover * image**2).sum()
    misfit = float(np.sqrt(max(squares, 0.0) / cover.sum()))
    return Image(np.where(cover > 0, image, np.nan), cover, component, left_out, misfit, residual)


def _components(patches: Patches, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Return the component of each pixel (y, x), from 1 (0: no patch), and that of each patch, from 0."""
    owner = np.full(shape, -1)
    _, member = np.unique(stitching_kernels.link(patches.weight, patches.corner, owner), return_inverse=True)
    return np.where(owner < 0, 0, member[owner] + 1).astype(np.uint32), member


def _spread_values(values: np.ndarray, patches: Patches, shape: tuple[int, ...]) -> np.ndarray:
    return stitching_kernels.spread(values, patches.weight, patches.corner, np.zeros(shape))


def _stitch_by_sweeps(blocks: Blocks, patches: Patches, shape: tuple[int, int], method: Iterative) -> Image:
    """Stitch by `Iterative`. As published, all sweeps visit the patches in the same random order."""
    values = np.full((len(patches.corner), *patches.weight.shape[1:]), np.nan, np.float32)
    for which, part in blocks:
        values[which] = part
    order = _order_usable(
        patches, stitching_kernels.accumulate(values, patches.weight, patches.corner, np.zeros(shape, np.int64))
    )
    left_out = len(values) - len(order)
    values, patches = values[order], patches.select(order)
    shuffled = np.random.default_rng(method.seed).permutation(len(order))
    image = np.zeros(shape)
    for _ in range(method.sweeps):
        stitching_kernels.relax(values, patches.weight > 0, patches.corner, shuffled, method.alpha, image)
    cover = _spread_values(np.ones(len(values)), patches, shape)
    component, _ = _components(patches, shape)
    return Image(np.where(cover > 0, image, np.nan), cover, component, left_out, None, None)
