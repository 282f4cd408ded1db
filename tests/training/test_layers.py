"""Layers against flax and against their definitions, for one, two and three spatial axes."""

import itertools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from tests.training.conftest import QUICK
from training.layers import (
    BatchNorm,
    Depthwise,
    GroupNorm,
    Transposed,
    convolve_wide,
    crop,
    enlarge,
    max_pool,
    pad_to,
    to_depth,
    to_space,
)

SHAPES = [(2, 7, 12), (2, 5, 8, 12), (1, 3, 4, 5, 12)]  # never square; sample first, channels last


def normal(shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def value_and_slopes(f: Callable[..., jax.Array], *args: Any, weight: Any) -> tuple[jax.Array, Any]:
    """f(*args), and the slopes of sum(f * weight) in each argument; compiled as a whole, not operation by operation."""

    def objective(*args: Any) -> tuple[jax.Array, jax.Array]:
        y = f(*args)
        return jnp.sum(y * weight), y

    slopes, y = jax.jit(jax.grad(objective, argnums=range(len(args)), has_aux=True), **QUICK)(*args)
    return y, slopes


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
    y, [slope] = value_and_slopes(norm, jnp.full((2, 5, 12), 7.0), weight=normal((2, 5, 12)))
    np.testing.assert_array_equal(y, np.broadcast_to(norm.bias[...], (2, 5, 12)))
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
    weight = normal((2, *(-(-n // 2) for n in sizes), 3), 1)
    mine, theirs = (
        value_and_slopes(pool, x, weight=weight)
        for pool in (max_pool, lambda x: flax(x, two, strides=two, padding="SAME"))
    )
    np.testing.assert_array_equal(mine[0], theirs[0])
    np.testing.assert_array_equal(mine[1][0], theirs[1][0])


@pytest.mark.parametrize("sizes", [(7,), (6, 9), (1, 4, 5)])
def test_depthwise_is_a_grouped_convolution(sizes: tuple[int, ...]) -> None:
    x = jnp.asarray(normal((2, *sizes, 3)))
    mine: Any = Depthwise(len(sizes), 3, rngs=nnx.Rngs(0))
    theirs: Any = nnx.Conv(3, 3, (3,) * len(sizes), feature_group_count=3, rngs=nnx.Rngs(0))
    mine.bias[...] = theirs.bias[...] = jnp.asarray(normal((3,), 1))
    theirs.kernel[...] = mine.kernel[...][..., None, :]
    found, expected = jax.jit(lambda x: (mine(x), theirs(x)), **QUICK)(x)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert np.std(mine.kernel[...]) == pytest.approx(9 ** (-len(sizes) / 4), rel=0.6)


@pytest.mark.parametrize("sizes", [(7,), (6, 9), (1, 4, 5)])
def test_enlarging_repeats_each_pixel(sizes: tuple[int, ...]) -> None:
    """Values and slopes of `jax.image.resize`."""
    x = jnp.asarray(normal((2, *sizes, 3)))
    larger = (2, *(2 * n for n in sizes), 3)
    weight = normal(larger, 1)
    mine, theirs = (
        value_and_slopes(f, x, weight=weight) for f in (enlarge, lambda x: jax.image.resize(x, larger, "nearest"))
    )
    np.testing.assert_array_equal(mine[0], theirs[0])
    np.testing.assert_allclose(mine[1][0], theirs[1][0], atol=1e-5)


@pytest.mark.parametrize("side", [2, 3, 4])
@pytest.mark.parametrize("sizes", [(7,), (6, 9), (1, 4, 5)])
def test_transposed_convolution_is_that_of_keras(sizes: tuple[int, ...], side: int) -> None:
    """Values and slopes; Keras stores (*taps, outputs, inputs)."""
    rank, x = len(sizes), jnp.asarray(normal((2, *sizes, 3)))
    layer: Any = Transposed(rank, 3, 5, rngs=nnx.Rngs(0), side=side)
    letters = "DHW"[-rank:]
    layout = (f"N{letters}C", f"{letters}IO", f"N{letters}C")
    weight = jnp.asarray(normal((2, *(2 * n for n in sizes), 5), 1))

    def mine(kernel: jax.Array, x: jax.Array) -> jax.Array:
        graph, state = nnx.split(layer)
        state["kernel"] = kernel
        y: jax.Array = nnx.merge(graph, state)(x)
        return y

    def keras(kernel: jax.Array, x: jax.Array) -> jax.Array:
        taps = jnp.swapaxes(kernel, -1, -2)
        transpose: Any = jax.lax.conv_transpose
        y: jax.Array = transpose(x, taps, (2,) * rank, "SAME", dimension_numbers=layout, transpose_kernel=True)
        return y

    found, expected = (value_and_slopes(f, layer.kernel[...], x, weight=weight) for f in (mine, keras))
    np.testing.assert_allclose(found[0], expected[0], atol=1e-5)
    for slope, exact in zip(found[1], expected[1], strict=True):
        np.testing.assert_allclose(slope, exact, atol=1e-4)


def test_transposed_convolution_is_the_transpose_of_a_strided_one() -> None:
    """<A x, y> = <x, A' y>, A the layer's, A' the convolution with stride 2 and the same kernel."""
    layer: Any = Transposed(2, 3, 5, rngs=nnx.Rngs(0))
    x, y = jnp.asarray(normal((2, 6, 9, 3))), jnp.asarray(normal((2, 12, 18, 5), 1))
    kernel = jnp.swapaxes(layer.kernel[...], -1, -2)
    strided = jax.lax.conv_general_dilated(y, kernel, (2, 2), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))
    assert float(jnp.vdot(layer(x), y)) == pytest.approx(float(jnp.vdot(x, strided)), rel=1e-4)


def batch_norm() -> Any:
    norm: Any = BatchNorm(12)
    for number, vector in enumerate((norm.scale, norm.bias, norm.mean)):
        vector[...] = jnp.asarray(normal((12,), number))
    norm.variance[...] = jnp.asarray(1 + normal((12,), 3) ** 2)
    return norm


@pytest.mark.parametrize("learning", [True, False])
@pytest.mark.parametrize("shape", SHAPES)
def test_batch_norm_is_that_of_flax(shape: tuple[int, ...], learning: bool) -> None:
    """With the constants of Keras: values, slopes and running averages."""
    x, weight = jnp.asarray(3 * normal(shape) - 1), jnp.asarray(normal(shape, 5))
    mine, theirs = batch_norm(), nnx.BatchNorm(12, momentum=0.99, epsilon=1e-3, rngs=nnx.Rngs(0))
    pairs = (("scale", "scale"), ("bias", "bias"), ("mean", "mean"), ("variance", "var"))
    for a, b in pairs:
        getattr(theirs, b)[...] = getattr(mine, a)[...]

    def objective(norm: Any, x: jax.Array, mode: tuple[str, bool]) -> tuple[jax.Array, jax.Array]:
        y = norm(x, **dict([mode]))
        return jnp.sum(y * weight), y

    slope = nnx.jit(nnx.grad(objective, argnums=(0, 1), has_aux=True), static_argnums=2)
    found = slope(mine, x, ("learning", learning)), slope(theirs, x, ("use_running_average", not learning))
    (slopes, y), (expected, exact) = found
    np.testing.assert_allclose(y, exact, atol=1e-5)
    np.testing.assert_allclose(slopes[1], expected[1], atol=1e-5)
    for a, b in pairs[:2]:
        np.testing.assert_allclose(slopes[0][a][...], expected[0][b][...], atol=1e-4)
    before = batch_norm()
    for a, b in pairs[2:]:
        np.testing.assert_allclose(getattr(mine, a)[...], getattr(theirs, b)[...], atol=1e-5)
        assert np.any(getattr(before, a)[...] != getattr(mine, a)[...]) == learning


def test_batch_norm_does_not_see_what_fills_up_a_batch() -> None:
    """Three samples and two of weight 0 give what the three alone give, and the same running averages."""
    x = jnp.asarray(normal((5, 4, 3, 12)))
    filled, alone = batch_norm(), batch_norm()
    weight = jnp.asarray([1.0, 1, 1, 0, 0])
    y = filled(x.at[3:].set(100), learning=True, weight=weight)
    np.testing.assert_allclose(y[:3], alone(x[:3], learning=True), atol=1e-6)
    for name in ("mean", "variance"):
        np.testing.assert_allclose(getattr(filled, name)[...], getattr(alone, name)[...], atol=1e-6)


def test_batch_norm_bears_a_large_offset_and_keeps_its_statistics_in_half_precision() -> None:
    x = 1e3 + normal((4, 20, 30, 12))
    exact = (x - x.mean((0, 1, 2))) / np.sqrt(x.astype(float).var((0, 1, 2)) + 1e-3)
    np.testing.assert_allclose(BatchNorm(12)(jnp.asarray(x), learning=True), exact, atol=2e-3)
    half, whole = jnp.asarray(20 + normal((2, 64, 64, 12)), jnp.bfloat16), BatchNorm(12)
    y = BatchNorm(12, dtype=jnp.bfloat16)(half, learning=True)
    assert y.dtype == jnp.bfloat16
    np.testing.assert_allclose(y.astype(float), whole(half, learning=True), atol=0.02)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("window", "stride"), [(2, 2), (4, 2), (2, 1), (3, 2)])
@pytest.mark.parametrize("pad", [True, False])
def test_any_maximum_of_windows_is_that_of_flax(shape: Any, window: int, stride: int, pad: bool) -> None:
    if not pad:
        shape = (shape[0], *(n + 3 for n in shape[1:-1]), shape[-1])  # at least one window fits
    theirs: Any = nnx.max_pool
    x, rank = jnp.asarray(normal(shape)), len(shape) - 2
    expected = theirs(x, (window,) * rank, (stride,) * rank, "SAME" if pad else "VALID")
    np.testing.assert_array_equal(max_pool(x, window, stride, pad=pad), expected)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("side", [3, 4])
@pytest.mark.parametrize("padding", ["SAME", "VALID"])
def test_a_wide_convolution_is_that_of_flax(shape: Any, side: int, padding: str) -> None:
    """With its slopes. Images may be smaller than the kernel if they are padded."""
    rank, more = len(shape) - 2, 2 * (padding == "VALID")
    shape = (shape[0], *(n + more for n in shape[1:-1]), shape[-1])
    x, made = jnp.asarray(normal(shape)), []
    for options in ({}, {"conv_general_dilated": convolve_wide}):
        conv = nnx.Conv(shape[-1], 5, (side,) * rank, padding=padding, rngs=nnx.Rngs(0), **options)  # type: ignore[arg-type]
        made.append((conv(x), jax.grad(lambda x, conv=conv: jnp.sum(conv(x) ** 2))(x)))
    for found, expected in zip(made[1], made[0], strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)
