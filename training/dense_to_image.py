"""Layers of networks that map any measurement to an image: dense layers over all values, then convolutions.

Kernels start by Glorot's uniform distribution and biases at zero, as those of Keras. Scalars enter the first dense
layer, each of them once.
"""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Annotated, Any

import jax
import jax.numpy as jnp
from flax import nnx
from pydantic import Field

from training.contract import Array, Inputs, Shape
from training.layers import Conv

GLOROT = nnx.initializers.glorot_uniform()

type Count = Annotated[int, Field(ge=1, le=4096)]
type Units = Annotated[int, Field(ge=1, le=10**6)]


class DenseLayers(nnx.Module):
    """Dense layers, x -> drop(f(W x + b)) for each of them."""

    def __init__(
        self,
        widths: Sequence[int],
        activation: Callable[[Array], Array],
        rngs: nnx.Rngs,
        dtype: Any,
        dropout: float = 0.0,
    ) -> None:
        self.activation, self.dropout = activation, nnx.Dropout(dropout)
        options: Any = {"kernel_init": GLOROT, "rngs": rngs, "dtype": dtype}
        self.layers = nnx.List([nnx.Linear(a, b, **options) for a, b in pairwise(widths)])

    def __call__(self, x: Array, key: Array | None = None) -> Array:
        """Return (sample, widths[-1]) for (sample, widths[0]). key: for dropout; None in inference."""
        for number, layer in enumerate(self.layers):
            own = None if key is None else jax.random.fold_in(key, number)
            x = self.dropout(self.activation(layer(x)), deterministic=own is None, rngs=own)
        return x


class Convolutions(nnx.Module):
    """Convolutions that keep the size, or divide it by a stride: x -> relu(conv(x)) for each of them."""

    def __init__(
        self, rank: int, channels: Sequence[int], kernel: int, rngs: nnx.Rngs, dtype: Any, stride: int = 1
    ) -> None:
        self.layers = nnx.List([conv(rank, a, b, kernel, rngs, dtype, stride) for a, b in pairwise(channels)])

    def __call__(self, x: Array) -> Array:
        """Return (sample, *(spatial / stride^layers), channels[-1]) for (sample, *spatial, channels[0])."""
        for layer in self.layers:
            x = jax.nn.relu(layer(x))
        return x


def conv(rank: int, inputs: int, outputs: int, kernel: int, rngs: nnx.Rngs, dtype: Any, stride: int = 1) -> Any:
    """Return a convolution with zeros beyond the borders.

    Args:
        rank: number of spatial axes.
        inputs: channels of the input.
        outputs: channels of the output.
        kernel: side of the kernel.
        rngs: random numbers for the initialisation.
        dtype: dtype of the computation.
        stride: distance of the pixels that are computed.
    """
    return Conv(inputs, outputs, (kernel,) * rank, stride, kernel_init=GLOROT, rngs=rngs, dtype=dtype)


def flatten(inputs: Inputs, x: Array) -> Array:
    """Return all values of the images, then each scalar once, (sample, value), for a network input."""
    images, scalars = inputs.split_scalars(x)
    return jnp.concatenate([images.reshape(len(x), -1), scalars], axis=-1)


def to_image(values: Array, spatial: Shape) -> Array:
    """Return an image of one channel, (sample, *spatial, 1), for (sample, value)."""
    return values.reshape(len(values), *spatial, 1)


def refuse_numbers(outputs: Shape) -> None:
    """Raise ValueError if the output of a network, (*spatial, channels), is no image."""
    if len(outputs) == 1:
        raise ValueError("gives images, and the target is a number or a class; take --model alexnet, convnet or mlp")
