"""Layers against flax and against their definitions, for one, two and three spatial axes."""

import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from training.layers import Depthwise, GroupNorm, crop, max_pool, pad_to, to_depth, to_space

SHAPES = [(2, 7, 12), (2, 5, 8, 12), (1, 3, 4, 5, 12)]  # never square; sample first, channels last


def normal(shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def norms(groups: int, used: int) -> tuple[Any, Any]:
    mine: Any = GroupNorm(12, groups)
    theirs: Any = nnx.GroupNorm(12, used, rngs=nnx.Rngs(0))
    for norm in (mine, theirs):
        norm.scale[...] = jnp.asarray(normal((12,), 1))
        norm.bias[...] = jnp.asarray(normal((12,), 2))
    return mine, theirs


@pytest.mark.parametrize(
    ("shape", "groups", "used"),
    [(SHAPES[0], 4, 4), (SHAPES[2], 3, 3), *((SHAPES[1], *n) for n in [(1, 1), (12, 12), (8, 4), (5, 1)])],
)
def test_group_norm_is_that_of_flax(shape: tuple[int, ...], groups: int, used: int) -> None:
    """Also where the groups asked for do not divide the channels: the greatest number that divides both is used."""
    x, weight = jnp.asarray(3 * normal(shape) - 1), normal(shape, 5)

    def objective(norm: Any, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        y = norm(x)
        return jnp.sum(jnp.sin(y) * weight), y

    slope = nnx.jit(nnx.grad(objective, argnums=(0, 1), has_aux=True))
    slopes, values = zip(*(slope(norm, x) for norm in norms(groups, used)), strict=True)
    np.testing.assert_allclose(values[0], values[1], atol=1e-5)
    for name in ("scale", "bias"):
        found = [slope[0][name][...] for slope in slopes]
        np.testing.assert_allclose(found[0], found[1], atol=1e-4)
    np.testing.assert_allclose(slopes[0][1], slopes[1][1], atol=1e-5)


def test_group_norm_of_a_faint_image() -> None:
    """Deviation 1e-3 beside the constant 1e-6 under the root: it comes out with variance 1/2."""
    x = 1e-3 * np.random.default_rng(0).standard_normal((1, 400, 500, 12))
    assert np.var(GroupNorm(12, 4)(jnp.asarray(x, jnp.float32))) == pytest.approx(0.5, rel=0.01)


@pytest.mark.parametrize("mean", [0.0, 30.0, 1e3, -1e4])
def test_group_norm_bears_a_large_offset(mean: float) -> None:
    """An error of eps |mean| / std, which the rounding of the input makes anyway; flax's is 4100 at 1e3."""
    x = (mean + np.random.default_rng(3).standard_normal((4, 20, 30, 12))).astype(np.float32)
    exact = x.astype(float).reshape(4, -1, 4, 3)
    exact = (exact - exact.mean((1, 3), keepdims=True)) / np.sqrt(exact.var((1, 3), keepdims=True) + 1e-6)
    error = np.max(abs(np.asarray(GroupNorm(12, 4)(jnp.asarray(x))) - exact.reshape(x.shape)))
    assert error < 4 * np.finfo(np.float32).eps * (abs(mean) + 10)


def test_group_norm_of_a_constant_is_the_bias() -> None:
    norm = norms(4, 4)[0]
    slope = jax.grad(lambda x: jnp.sum(norm(x) ** 2))(jnp.full((2, 5, 12), 7.0))
    np.testing.assert_array_equal(norm(jnp.full((2, 5, 12), 7.0)), np.broadcast_to(norm.bias[...], (2, 5, 12)))
    assert np.isfinite(slope).all()


def test_group_norm_treats_samples_alone() -> None:
    norm, x = norms(4, 4)[0], normal((3, 6, 5, 12))
    np.testing.assert_allclose(norm(jnp.asarray(x))[1:2], norm(jnp.asarray(x[1:2])), atol=1e-6)


def test_group_norm_in_half_precision_keeps_its_statistics() -> None:
    x = jnp.asarray(20 + normal((2, 64, 64, 12)), jnp.bfloat16)
    half = GroupNorm(12, 4, dtype=jnp.bfloat16)(x)
    assert half.dtype == jnp.bfloat16
    np.testing.assert_allclose(half.astype(float), GroupNorm(12, 4)(x), atol=0.02)


@pytest.mark.parametrize("factor", [1, 2, 3])
@pytest.mark.parametrize("sizes", [(2,), (2, 3), (1, 2, 3)])
def test_depth_and_space_are_inverse(factor: int, sizes: tuple[int, ...]) -> None:
    x = normal((2, *(factor * n for n in sizes), 5))
    deep = to_depth(jnp.asarray(x), factor)
    assert deep.shape == (2, *sizes, 5 * factor ** len(sizes))
    np.testing.assert_array_equal(to_space(deep, factor), x)
    np.testing.assert_array_equal(to_depth(to_space(deep, factor), factor), deep)


@pytest.mark.parametrize("sizes", [(4,), (2, 3), (2, 1, 3)])
def test_depth_by_its_definition(sizes: tuple[int, ...]) -> None:
    """Channel (k, c) of a pixel i is channel c of pixel f i + k, k counted like a number of digits 0 ... f - 1."""
    factor, rank = 2, len(sizes)
    x = normal((1, *(factor * n for n in sizes), 3))
    deep = np.asarray(to_depth(jnp.asarray(x), factor))
    for place in itertools.product(*map(range, sizes)):
        for number, offset in enumerate(itertools.product(range(factor), repeat=rank)):
            source = tuple(factor * i + k for i, k in zip(place, offset, strict=True))
            np.testing.assert_array_equal(deep[0][place][3 * number : 3 * number + 3], x[0][source])


@pytest.mark.parametrize("sizes", [(7,), (8,), (5, 8), (3, 4, 9)])
@pytest.mark.parametrize("multiple", [1, 4])
def test_padding_repeats_the_edge_and_is_cropped_again(sizes: tuple[int, ...], multiple: int) -> None:
    x = normal((2, *sizes, 3))
    padded = pad_to(jnp.asarray(x), multiple)
    assert padded.shape[1:-1] == tuple(-(-n // multiple) * multiple for n in sizes)
    index = np.ix_(*(np.minimum(np.arange(m), n - 1) for m, n in zip(padded.shape[1:-1], sizes, strict=True)))
    rows: Any = (slice(None), *index)
    np.testing.assert_array_equal(padded, x[rows])
    np.testing.assert_array_equal(crop(padded, sizes), x)


@pytest.mark.parametrize("sizes", [(7,), (6, 9), (1, 4, 5)])
def test_max_pooling_is_that_of_flax(sizes: tuple[int, ...]) -> None:
    """Values and slopes; what is left over of an odd size makes a block of its own, as padding SAME has it."""
    x = jnp.asarray(normal((2, *sizes, 3)))
    two = (2,) * len(sizes)
    flax: Any = nnx.max_pool
    pools = (max_pool, lambda x: flax(x, two, strides=two, padding="SAME"))
    mine, theirs = (jax.vjp(pool, x) for pool in pools)
    np.testing.assert_array_equal(mine[0], theirs[0])
    weight = jnp.asarray(normal(mine[0].shape, 1))
    np.testing.assert_array_equal(mine[1](weight)[0], theirs[1](weight)[0])


@pytest.mark.parametrize("sizes", [(7,), (6, 9), (1, 4, 5)])
def test_depthwise_is_a_grouped_convolution(sizes: tuple[int, ...]) -> None:
    x = jnp.asarray(normal((2, *sizes, 3)))
    mine: Any = Depthwise(len(sizes), 3, rngs=nnx.Rngs(0))
    theirs: Any = nnx.Conv(3, 3, (3,) * len(sizes), feature_group_count=3, rngs=nnx.Rngs(0))
    mine.bias[...] = theirs.bias[...] = jnp.asarray(normal((3,), 1))
    theirs.kernel[...] = mine.kernel[...][..., None, :]
    np.testing.assert_allclose(mine(x), theirs(x), atol=1e-5)
    assert np.std(mine.kernel[...]) == pytest.approx(9 ** (-len(sizes) / 4), rel=0.6)
