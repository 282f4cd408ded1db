"""What convnet, dncnn, nafnet and fno promise by themselves; tests/training/test_models.py has what all promise."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from tests.training.conftest import QUICK
from tests.training.test_models import applied, network, normal, shaken
from training.contract import Inputs
from training.dense import Dense
from training.models import dncnn
from training.models.fno import Spectral
from training.models.nafnet import Block
from training.network import Network

# --- convnet


def test_convnet_is_convolution_pooling_relu_and_dense_layers() -> None:
    """Dense layers that are the identity and have no activation show what they are given, first filter first."""
    net = network("convnet", (9, 6, 2), 1, filters=(2, 4), kernels=(3, 4), dense=Dense(activations=("linear",)))
    parameters, rest = net.initial
    x = y = normal((3, 9, 6, 2))
    pool: Any = nnx.max_pool
    for layer in range(2):
        kernel = parameters[f"convolutions.{layer}.kernel"]
        y = jax.lax.conv_general_dilated(y, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))
        y = jnp.maximum(pool(y, (2, 2), strides=(2, 2), padding="SAME"), 0)
    flat = np.moveaxis(np.asarray(y), -1, 1).reshape(3, -1)  # 4 filters of 3x2 pixels
    expected = np.zeros((3, 54))
    expected[:, :24] = flat
    np.testing.assert_allclose(applied(net, parameters, rest)(x).reshape(3, -1), expected, atol=1e-6)
    assert np.std(expected) > 0


def test_convnet_has_the_parameters_that_its_docstring_says() -> None:
    for images in (1, 2, 3):
        convolutions = 25 * images * 16 + 16 + 256 * 16 * 36 + 36
        dense = 9216 * 9216 + 9216 + 9216 * 4096 + 4096
        net = network("convnet", (64, 64, images), 1, filters=(16, 36), kernels=(5, 16))
        assert net.parameters == convolutions + dense
        assert f"{net.parameters / 1e6:.1f} M" == "122.8 M"


def test_convnet_tells_scalars_to_its_dense_layers_alone() -> None:
    plain, told = (network("convnet", (9, 6, 2 + n), 1, scalars=n) for n in (0, 3))
    shapes = {name: value.shape for name, value in plain.shapes[0].items()}
    more = {name: value.shape for name, value in told.shapes[0].items() if value.shape != shapes[name]}
    assert more == {"layers.0.kernel": (shapes["layers.0.kernel"][0] + 3, shapes["layers.0.kernel"][1])}


def test_convnet_refuses_another_size_and_an_odd_number_of_kernels() -> None:
    net = network("convnet", (9, 6, 2), 1)
    with pytest.raises(ValueError, match=r"of shape \(9, 6, 2\) cannot take \(6, 9, 2\)"):
        net(*net.initial, normal((2, 6, 9, 2)))
    with pytest.raises(ValueError, match="kernels must be 2 values, one for each of filters"):
        network("convnet", (9, 6, 2), 1, filters=(3, 4), kernels=(3,))


# --- dncnn


def test_dncnn_has_the_parameters_that_its_docstring_says() -> None:
    """The Keras version counts the running averages, too: 558,977."""
    net = Network(lambda: dncnn.build(dncnn.Config(), Inputs((8, 8), 1), (8, 8, 1), nnx.Rngs(0), jnp.float32))
    averages = sum(value.size for value in net.shapes[1].values())
    assert (net.parameters, averages) == (557_057, 1_920)
    assert net.parameters + averages == 558_977
    assert all(f"{count:,}" in str(dncnn.__doc__) for count in (net.parameters, averages))


def test_dncnn_subtracts_what_its_layers_find() -> None:
    """A last layer of zeros finds nothing, and leaves the input, unless there are other channels or it is asked."""
    x = normal((2, 9, 12, 1))
    for outputs, residual, expected in ((1, True, x), (1, False, 0 * x), (2, True, jnp.zeros((2, 9, 12, 2)))):
        net = network("dncnn", (9, 12, 1), outputs, residual=residual)
        parameters, rest = net.initial
        zero = {name: 0 * value if name.startswith("last.") else value for name, value in parameters.items()}
        np.testing.assert_array_equal(applied(net, zero, rest)(x), expected)


def test_dncnn_sees_as_far_as_its_docstring_says() -> None:
    net, x = network("dncnn", (61, 1), 1, depth=3), jnp.zeros((1, 61, 1))
    parameters, rest = shaken(net)
    apply = applied(net, parameters, rest)
    moved = np.flatnonzero(np.asarray(apply(x.at[0, 30].set(1.0)) - apply(x)))
    assert (int(moved.min()), int(moved.max())) == (30 - 5, 30 + 5)  # depth + 2


# --- nafnet


@pytest.mark.parametrize("sizes", [(7,), (6, 9)])
def test_a_block_of_nafnet_starts_as_the_identity(sizes: tuple[int, ...]) -> None:
    block, x = Block(len(sizes), 4, nnx.Rngs(0), jnp.float32), normal((2, *sizes, 4))
    apply = nnx.jit(lambda block: block(x))
    np.testing.assert_array_equal(apply(block), x)
    for scale in (block.beta, block.gamma):
        scale[...] = jnp.ones(4)
        assert np.std(apply(block) - x) > 0.01
        scale[...] = jnp.zeros(4)


def test_a_block_of_nafnet_by_its_formula() -> None:
    """In float64."""
    block: Any = Block(2, 4, nnx.Rngs(0), jnp.float32)
    norms = block.first_norm, block.second_norm
    for number, vector in enumerate((block.beta, block.gamma, *(v for n in norms for v in (n.scale, n.bias)))):
        vector[...] = normal((4,), number)
    x = np.asarray(normal((1, 5, 6, 4), 3), float)

    def norm(layer: Any, x: np.ndarray) -> np.ndarray:
        y = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-6)
        return y * np.asarray(layer.scale[...]) + np.asarray(layer.bias[...])

    def point(layer: Any, x: np.ndarray) -> np.ndarray:
        return x @ np.asarray(layer.kernel[...], float) + np.asarray(layer.bias[...])

    wide = np.pad(point(block.widen, norm(block.first_norm, x)), [(0, 0), (1, 1), (1, 1), (0, 0)])
    kernel = np.asarray(block.depthwise.kernel[...])
    y = sum(wide[:, i : i + 5, j : j + 6] * kernel[i, j] for i in range(3) for j in range(3))
    y = y[..., :4] * y[..., 4:]
    z = x + point(block.mix, y * point(block.attend, y.mean((1, 2), keepdims=True))) * np.asarray(block.beta[...])
    y = point(block.forward_widen, norm(block.second_norm, z))
    expected = z + point(block.forward_mix, y[..., :4] * y[..., 4:]) * np.asarray(block.gamma[...])
    np.testing.assert_allclose(jax.jit(block, **QUICK)(jnp.asarray(x, jnp.float32)), expected, atol=1e-5)


def test_nafnet_may_have_levels_without_blocks() -> None:
    net = network("nafnet", (12, 16, 2), 1, encoder=(0, 1), middle=0, decoder=0)
    assert applied(net, *net.initial)(normal((2, 12, 16, 2))).shape == (2, 12, 16, 1)


# --- fno


def spectral(modes: tuple[int, ...], width: int = 3) -> Any:
    return Spectral(modes, width, nnx.Rngs(0), jnp.float32)


@pytest.mark.parametrize(("sizes", "modes"), [((9,), (4,)), ((8, 11), (3, 6)), ((5, 6, 7), (2, 3, 4))])
def test_a_spectral_layer_is_a_product_of_fourier_transforms(sizes: tuple[int, ...], modes: tuple[int, ...]) -> None:
    """By NumPy's FFT in float64; modes that are not kept are zero."""
    layer, x, axes = spectral(modes), np.asarray(normal((2, *sizes, 3)), float), tuple(range(1, len(sizes) + 1))
    kernel = np.asarray(layer.kernel[...], float) @ [1, 1j]
    transform = np.fft.rfftn(x, axes=axes)
    rows = np.ix_(*(np.r_[0:m, 1 - m : 0] % n for m, n in zip(modes[:-1], sizes, strict=False)), np.arange(modes[-1]))
    kept: Any = (slice(None), *rows)
    product = np.zeros_like(transform)
    product[kept] = np.einsum("s...a,...ab->s...b", transform[kept], kernel)
    expected = np.fft.irfftn(product, s=sizes, axes=axes)
    np.testing.assert_allclose(jax.jit(layer, **QUICK)(jnp.asarray(x, jnp.float32)), expected, atol=1e-5)


def waves(sizes: tuple[int, int], channels: int) -> jax.Array:
    """The same function of period 1 along both axes, |k| <= 2, sampled so often."""
    rng = np.random.default_rng(5)
    y, x = (np.arange(n) / n for n in sizes)
    found = np.zeros((1, *sizes, channels))
    for ky in range(-2, 3):
        for kx in range(3):
            angle = 2 * np.pi * (ky * y[:, None] + kx * x)[..., None] + rng.random(channels)
            found[0] += rng.standard_normal(channels) * np.cos(angle)
    return jnp.asarray(found, jnp.float32)


@pytest.mark.parametrize("finer", [(3, 2), (1, 3)])
def test_a_spectral_layer_sees_the_function_not_its_samples(finer: tuple[int, int]) -> None:
    """Sampled finer, the same values at the same places; on the coarse grid there are fewer modes than it has."""
    layer, (a, b) = jax.jit(spectral((4, 4)), **QUICK), finer
    coarse, fine = layer(waves((6, 5), 3)), layer(waves((6 * a, 5 * b), 3))
    np.testing.assert_allclose(fine[:, ::a, ::b], coarse, atol=1e-5 * np.ptp(coarse))


def test_fno_tends_to_one_function_as_it_is_sampled_finer() -> None:
    """gelu makes harmonics that a grid cannot tell apart: what they do falls faster than any power of its spacing."""
    net = network("fno", (64, 64, 3), 1, width=4, modes=5, layers=2, projection=8)
    parameters, rest = net.initial
    parameters = {name: value + 0.1 * normal(value.shape, 3) for name, value in parameters.items()}
    apply = applied(net, parameters, rest)
    made = {n: np.asarray(apply(0.2 * waves((n, n), 3)))[:, :: n // 8, :: n // 8] for n in (8, 16, 32, 64)}
    errors = [np.max(abs(made[n] - made[64])) / np.ptp(made[64]) for n in (8, 16, 32)]
    assert errors[0] > 10 * errors[1] > 0
    assert errors[2] < 1e-5


@pytest.mark.parametrize("shift", [(1, 0), (-3, 5)])
def test_fno_moves_with_its_input_around_the_image(shift: tuple[int, int]) -> None:
    net = network("fno", (14, 11, 2), 1)
    parameters, rest = shaken(net)
    x = normal((2, 14, 11, 2))
    apply = applied(net, parameters, rest)
    expected = np.roll(apply(x), shift, (1, 2))
    np.testing.assert_allclose(apply(jnp.roll(x, shift, (1, 2))), expected, atol=1e-5 * np.ptp(expected))


def test_all_pixels_meet_in_fno() -> None:
    """One layer, one pixel: every other one feels it."""
    net = network("fno", (16, 12, 1), 1, layers=1, modes=4)
    parameters, rest = shaken(net)
    x = normal((1, 16, 12, 1))
    apply = applied(net, parameters, rest)
    difference = apply(x.at[0, 3, 2].add(1.0)) - apply(x)
    assert np.min(abs(np.asarray(difference))) > 0
