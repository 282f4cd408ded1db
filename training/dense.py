"""Dense layers as in phase-ret-dl: hidden layers and a linear output, over all values of a sample at once.

    y = W2 f(W1 [x, s] + b1) + b2,   W1 = [eye(inputs, hidden); c], W2 = eye(hidden, outputs), b1 = b2 = 0

x are the values of the images, flattened channel by channel, so that the identity links the first channel to the
output. s are the scalars that the network receives. Each is one more value of the input, and its row of W1 is
initialised with the constant c (the published 'Specified Parameters Initialisation'). arXiv:1709.09940.
"""

from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Annotated, Any, Literal, Self

import jax
import jax.numpy as jnp
from flax import nnx
from pydantic import Field, model_validator

from schemas.runtime.ranges import within
from schemas.runtime.settings import Settings, setting
from training.contract import Array, Shape

RANDOM_STD = 0.05  # standard deviation of the normal distribution, which is cut at twice this value

type Activation = Literal["tanh", "relu", "elu", "softplus", "softsign", "sigmoid", "linear"]
type Initialisation = Literal["identity", "random", "randomised_identity", "ones", "zeros"]
type Initialiser = Callable[[Array, Shape, Any], Array]

ACTIVATIONS: Mapping[str, Callable[[Array], Array]] = {
    "tanh": jnp.tanh,
    "relu": jax.nn.relu,
    "elu": jax.nn.elu,
    "softplus": jax.nn.softplus,
    "softsign": jax.nn.soft_sign,
    "sigmoid": jax.nn.sigmoid,
    "linear": lambda x: x,
}


class Dense(Settings):
    """Settings of dense layers."""

    hidden: tuple[Annotated[int, Field(ge=1, le=10**6)], ...] | None = Field(
        None, min_length=1, max_length=16, **setting("units per hidden layer; none: one layer, as wide as can matter")
    )
    activations: tuple[Activation, ...] = Field(
        ("tanh",), min_length=1, max_length=16, **setting("activation of each hidden layer, or one for all")
    )
    initialisation: Initialisation = Field(
        "identity",
        **setting(f"start of weights; random: normal, deviation {RANDOM_STD}, cut at twice that; biases start at 0"),
    )
    scalar_initialisation: Annotated[float, within()] = Field(
        0.0, **setting("start of the weights of the given scalars in the first layer")
    )

    @model_validator(mode="after")
    def _check_activations(self) -> Self:
        layers = len(self.hidden or (0,))
        if len(self.activations) not in (1, layers):
            raise ValueError(f"activations must be one for all, or one for each of the {layers} hidden layers")
        return self


def make_layers(config: Dense, inputs: int, scalars: int, outputs: int, rngs: nnx.Rngs, dtype: Any) -> Any:
    """Return the layers.

    Args:
        config: settings of the layers.
        inputs: number of values of the images.
        scalars: number of scalars.
        outputs: number of values of the output.
        rngs: random numbers for the initialisation.
        dtype: dtype of the computation.
    """
    sizes = [inputs + scalars, *(config.hidden or (max(inputs, outputs),)), outputs]
    start = initialiser(config.initialisation)
    starts = [_start_scalars_constant(start, scalars, config.scalar_initialisation), *(start for _ in sizes[2:])]
    options: Any = {"rngs": rngs, "dtype": dtype}
    return nnx.List([nnx.Linear(*ab, kernel_init=s, **options) for ab, s in zip(pairwise(sizes), starts, strict=True)])


def apply_layers(layers: Any, config: Dense, images: Array, scalars: Array, outputs: Shape) -> Array:
    """Apply the layers.

    Args:
        layers: as returned by `make_layers`.
        config: settings of the layers.
        images: (sample, *spatial, channel).
        scalars: (sample, scalar).
        outputs: shape of the output of one sample, (*spatial, channels).

    Returns:
        Output (sample, *outputs).
    """
    y = jnp.concatenate([jnp.moveaxis(images, -1, 1).reshape(len(images), -1), scalars], axis=-1)
    activations = config.activations * ((len(layers) - 1) // len(config.activations))
    for layer, activation in zip(layers, activations, strict=False):
        y = ACTIVATIONS[activation](layer(y))
    y = layers[-1](y)
    return jnp.moveaxis(y.reshape(len(y), outputs[-1], *outputs[:-1]), 1, -1)


def initialiser(name: Initialisation) -> Initialiser:
    """Return the initialisation of a layer's weights, by its name in phase-ret-dl."""

    def first(key: Array, shape: Shape, dtype: Any) -> Array:
        if name in ("ones", "zeros"):
            return jnp.full(shape, float(name == "ones"), dtype)
        eye = jnp.eye(shape[0], shape[1], dtype=dtype) if "identity" in name else jnp.zeros(shape, dtype)
        return eye if name == "identity" else eye + RANDOM_STD * jax.random.truncated_normal(key, -2, 2, shape, dtype)

    return first


def _start_scalars_constant(start: Initialiser, scalars: int, constant: float) -> Initialiser:
    """Return an initialisation that sets the last rows, those of the scalars, to a constant."""

    def first(key: Array, shape: Shape, dtype: Any) -> Array:
        rows = start(key, (shape[0] - scalars, shape[1]), dtype)
        return jnp.concatenate([rows, jnp.full((scalars, shape[1]), constant, dtype)])

    return first
