"""The dense network of phase-ret-dl: one hidden layer of tanh over all pixels, linear output, identity initialisation.

    y = W2 tanh(W1 x + b1) + b2,   W1 = eye(inputs, hidden), W2 = eye(hidden, outputs), b1 = b2 = 0

Published with 50,000 hidden units. A unit whose column of W1 and row of W2 are both zero (index >= max(inputs,
outputs)) has tanh(0) = 0 and no gradient, ever: `hidden=none`, max(inputs, outputs) units, is exactly the same network,
before and after any training by gradients (a test says so). It is bound to the size of its images.

Parameters for 64x64 pixels: 33.6 M (one image), 100.7 M (two), 201.3 M (three). arXiv:1709.09940.
"""

from math import prod
from typing import Any

import jax.numpy as jnp
from flax import nnx
from pydantic import Field

from schemas.knobs import Knobs, knob
from training.contract import Array, Shape


class Config(Knobs):
    """Its knobs."""

    hidden: int | None = Field(None, ge=1, le=10**6, **knob("hidden units; none: as many as can ever act"))


def build(config: Config, inputs: Shape, outputs: Shape, rngs: nnx.Rngs, dtype: Any) -> nnx.Module:
    """The network, for these sizes only."""
    return MLP(config, inputs, outputs, rngs, dtype)


def _eye(_: Any, shape: Shape, dtype: Any) -> Array:
    return jnp.eye(shape[0], shape[1], dtype=dtype)


class MLP(nnx.Module):
    """See the module. Pixels are flattened channel by channel, so that the first channel meets the output."""

    def __init__(self, config: Config, inputs: Shape, outputs: Shape, rngs: nnx.Rngs, dtype: Any) -> None:
        self.inputs, self.outputs = inputs, outputs
        hidden = config.hidden or max(prod(inputs), prod(outputs))
        self.first = nnx.Linear(prod(inputs), hidden, kernel_init=_eye, rngs=rngs, dtype=dtype)
        self.second = nnx.Linear(hidden, prod(outputs), kernel_init=_eye, rngs=rngs, dtype=dtype)

    def __call__(self, x: Array, key: Array | None = None) -> Array:
        """(sample, *inputs) -> (sample, *outputs)."""
        if x.shape[1:] != self.inputs:
            raise ValueError(f"an mlp for {self.inputs} cannot take {x.shape[1:]}")
        flat = jnp.moveaxis(x, -1, 1).reshape(len(x), -1)
        y = self.second(jnp.tanh(self.first(flat)))
        return jnp.moveaxis(y.reshape(len(x), self.outputs[-1], *self.outputs[:-1]), 1, -1)
