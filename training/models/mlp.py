"""The dense network of phase-ret-dl: hidden layers over all pixels, linear output, identity initialisation.

    y = W2 tanh(W1 x + b1) + b2,   W1 = eye(inputs, hidden), W2 = eye(hidden, outputs), b1 = b2 = 0

Published with 50,000 hidden units. A unit whose column of W1 and row of W2 are both zero (index >= max(inputs,
outputs)) has tanh(0) = 0 and no gradient, ever: `hidden=none`, max(inputs, outputs) units, is exactly the same network,
before and after any training by gradients (a test says so). It is bound to the size of its images.

Parameters for 64x64 pixels: 33.6 M (one image), 100.7 M (two), 201.3 M (three). arXiv:1709.09940.
"""

from collections.abc import Callable, Mapping
from itertools import pairwise
from math import prod
from typing import Annotated, Any, Literal, Self

import jax
import jax.numpy as jnp
from flax import nnx
from pydantic import Field, model_validator

from schemas.knobs import Knobs, knob
from training.contract import Array, Shape

SPREAD = 0.05  # standard deviation of a normal distribution that is cut at twice that

type Activation = Literal["tanh", "relu", "elu", "softplus", "softsign", "sigmoid", "linear"]
type Initialisation = Literal["identity", "random", "randomised_identity", "ones", "zeros"]

ACTIVATIONS: Mapping[str, Callable[[Array], Array]] = {
    "tanh": jnp.tanh,
    "relu": jax.nn.relu,
    "elu": jax.nn.elu,
    "softplus": jax.nn.softplus,
    "softsign": jax.nn.soft_sign,
    "sigmoid": jax.nn.sigmoid,
    "linear": lambda x: x,
}


class Config(Knobs):
    """Its knobs."""

    hidden: tuple[Annotated[int, Field(ge=1, le=10**6)], ...] | None = Field(
        None, min_length=1, max_length=16, **knob("units of each hidden layer; none: one, as many as can ever act")
    )
    activations: tuple[Activation, ...] = Field(
        ("tanh",), min_length=1, max_length=16, **knob("of each hidden layer, or one for all")
    )
    initialisation: Initialisation = Field(
        "identity", **knob(f"of all weights; random: normal, {SPREAD}, cut at twice that; biases are 0")
    )

    @model_validator(mode="after")
    def _of_each_layer(self) -> Self:
        layers = len(self.hidden or (0,))
        if len(self.activations) not in (1, layers):
            raise ValueError(f"activations must be one, or one for each of the {layers} hidden layers")
        return self


def build(config: Config, inputs: Shape, outputs: Shape, rngs: nnx.Rngs, dtype: Any) -> nnx.Module:
    """The network, for these sizes only."""
    return MLP(config, inputs, outputs, rngs, dtype)


def initialiser(name: Initialisation) -> Callable[[Array, Shape, Any], Array]:
    """Of the weights of a dense layer, by the seed's names."""

    def first(key: Array, shape: Shape, dtype: Any) -> Array:
        if name in ("ones", "zeros"):
            return jnp.full(shape, float(name == "ones"), dtype)
        eye = jnp.eye(shape[0], shape[1], dtype=dtype) if "identity" in name else jnp.zeros(shape, dtype)
        return eye if name == "identity" else eye + SPREAD * jax.random.truncated_normal(key, -2, 2, shape, dtype)

    return first


class MLP(nnx.Module):
    """See the module. Pixels are flattened channel by channel, so that the first channel meets the output."""

    def __init__(self, config: Config, inputs: Shape, outputs: Shape, rngs: nnx.Rngs, dtype: Any) -> None:
        self.inputs, self.outputs = inputs, outputs
        hidden = config.hidden or (max(prod(inputs), prod(outputs)),)
        self.activations = config.activations * (len(hidden) // len(config.activations))
        options = {"kernel_init": initialiser(config.initialisation), "rngs": rngs, "dtype": dtype}
        self.layers = nnx.List(
            [nnx.Linear(a, b, **options) for a, b in pairwise([prod(inputs), *hidden, prod(outputs)])]
        )

    def __call__(self, x: Array, key: Array | None = None) -> Array:
        """(sample, *inputs) -> (sample, *outputs)."""
        if x.shape[1:] != self.inputs:
            raise ValueError(f"an mlp for {self.inputs} cannot take {x.shape[1:]}")
        y = jnp.moveaxis(x, -1, 1).reshape(len(x), -1)
        for layer, activation in zip(self.layers, self.activations, strict=False):
            y = ACTIVATIONS[activation](layer(y))
        y = self.layers[-1](y)
        return jnp.moveaxis(y.reshape(len(x), self.outputs[-1], *self.outputs[:-1]), 1, -1)
