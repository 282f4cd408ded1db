"""Sums over patches laid over one another: adjoint, the same in any order, and equal to plain NumPy."""

from typing import Any

import numpy as np
import pytest

from physics import stitching_kernels

SIZE, SHAPE, COUNT = (5, 8), (33, 20), 40


def patches(shared: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """values, weight, corner: overlapping, some weights 0."""
    rng = np.random.default_rng(3)
    weight = np.rint(rng.uniform(-0.3, 1, (1 if shared else COUNT, *SIZE)).clip(0) * 2**16) / 2**16
    corner = np.stack([rng.integers(0, n - p + 1, COUNT) for n, p in zip(SHAPE, SIZE, strict=True)], axis=1)
    return rng.normal(size=(COUNT, *SIZE)).astype(np.float32), weight.astype(np.float32), corner


def spread_plainly(values: Any, corner: np.ndarray) -> np.ndarray:
    """values: (patch, y, x)."""
    image = np.zeros(SHAPE)
    for (y, x), patch in zip(corner, values, strict=True):
        image[y : y + SIZE[0], x : x + SIZE[1]] += patch
    return image


@pytest.mark.parametrize("shared", [True, False])
def test_sums_are_those_of_plain_loops(shared: bool) -> None:
    values, weight, corner = patches(shared)
    offset = np.random.default_rng(4).normal(size=COUNT)
    spread = stitching_kernels.spread(offset, weight, corner, np.zeros(SHAPE))
    full = np.broadcast_to(weight, values.shape).astype(float)
    np.testing.assert_allclose(spread, spread_plainly(full * offset[:, None, None], corner), atol=1e-12)
    total = np.zeros(SHAPE, np.int64)
    sums = stitching_kernels.accumulate(values, weight, corner, total)
    np.testing.assert_allclose(
        total / stitching_kernels.FIXED_POINT_ONE,
        spread_plainly(full * values, corner),
        atol=COUNT / stitching_kernels.FIXED_POINT_ONE,
    )
    np.testing.assert_allclose(sums[:, 0], (full * values).sum((1, 2)), atol=1e-12)
    np.testing.assert_allclose(sums[:, 1], (full * values.astype(float) ** 2).sum((1, 2)), atol=1e-12)


@pytest.mark.parametrize("shared", [True, False])
def test_spread_and_collect_are_adjoint(shared: bool) -> None:
    _, weight, corner = patches(shared)
    rng = np.random.default_rng(5)
    offset, image = rng.normal(size=COUNT), rng.normal(size=SHAPE)
    spread = stitching_kernels.spread(offset, weight, corner, np.zeros(SHAPE))
    assert (spread * image).sum() == pytest.approx(offset @ stitching_kernels.collect(image, weight, corner), rel=1e-12)


def test_the_image_of_sums_has_the_same_bits_in_any_order() -> None:
    values, weight, corner = patches(False)
    first, second = np.zeros(SHAPE, np.int64), np.zeros(SHAPE, np.int64)
    stitching_kernels.accumulate(values, weight, corner, first)
    for i in np.random.default_rng(6).permutation(COUNT):
        stitching_kernels.accumulate(values[i : i + 1], weight[i : i + 1], corner[i : i + 1], second)
    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize(
    "bad", [np.nan, np.inf, -np.inf, 2 * stitching_kernels.MAX_MODULUS, -2 * stitching_kernels.MAX_MODULUS]
)
def test_a_patch_without_numbers_is_left_out_whole(bad: float) -> None:
    values, weight, corner = patches(True)
    weight[0, 2, 3], weight[0, 1, 1] = 1, 0
    expected, found = np.zeros(SHAPE, np.int64), np.zeros(SHAPE, np.int64)
    stitching_kernels.accumulate(np.delete(values, 7, axis=0), weight, np.delete(corner, 7, axis=0), expected)
    values[7, 2, 3] = bad
    values[8, 1, 1] = bad  # where nothing counts
    sums = stitching_kernels.accumulate(values, weight, corner, found)
    np.testing.assert_array_equal(found, expected)
    assert np.flatnonzero(np.isnan(sums).any(axis=1)).tolist() == [7]


def test_patches_are_linked_by_chains_of_overlaps() -> None:
    weight = np.ones((1, 2, 2), np.float32)
    corner = np.array([[0, 0], [6, 6], [0, 2], [1, 1], [6, 5], [3, 0], [0, 8]])
    owner = np.full((8, 10), -1)
    assert stitching_kernels.link(weight, corner, owner).tolist() == [0, 1, 0, 0, 1, 5, 6], "touching is no overlap"
    assert (owner >= 0).sum() == 4 * 7 - 2 - 2, "0 and 2 each share a pixel with 3, 1 and 4 two"


@pytest.mark.parametrize("shared", [True, False])
def test_a_sweep_is_the_seeds_rule(shared: bool) -> None:
    """u + alpha (b - u + <u>) M, b = (a - <a>) M, one patch after another on views of the whole image."""
    values, weight, corner = patches(shared)
    order = np.random.default_rng(7).permutation(COUNT)
    found, expected = np.zeros(SHAPE), np.zeros(SHAPE)
    for _ in range(3):
        stitching_kernels.relax(values, weight > 0, corner, order, 0.1, found)
        for i in order:
            mask = weight[0 if shared else i] > 0
            (y, x), (ny, nx) = corner[i], SIZE
            window = expected[y : y + ny, x : x + nx]
            b = (values[i].astype(float) - values[i][mask].mean(dtype=float)) * mask
            expected[y : y + ny, x : x + nx] = window + 0.1 * (b - window + window[mask].mean()) * mask
    np.testing.assert_allclose(found, expected, atol=1e-13)
