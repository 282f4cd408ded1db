"""A small variational autoencoder: the few values in its middle are drawn, and it has a loss of its own."""

from math import prod
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from pydantic import Field

from schemas.runtime.settings import Settings, setting
from training.contract import Array, Inputs, Shape

FIT = "any"
VERSION = "1.0"
LOSSES = {"kl": "weight of the divergence of the middle values from a normal distribution"}


class Config(Settings):
    """Settings of the network."""

    middle: int = Field(4, ge=1, **setting("number of values in the middle"))


def build(config: Config, inputs: Inputs, outputs: Shape, rngs: nnx.Rngs, dtype: Any) -> nnx.Module:
    """Return the network."""
    return VAE(config, inputs, outputs, rngs, dtype)


class VAE(nnx.Module):
    """The variational autoencoder."""

    def __init__(self, config: Config, inputs: Inputs, outputs: Shape, rngs: nnx.Rngs, dtype: Any) -> None:
        self.outputs = outputs
        self.encode = nnx.Linear(prod(inputs.shape), 2 * config.middle, rngs=rngs, dtype=dtype)
        self.decode = nnx.Linear(config.middle, prod(outputs), rngs=rngs, dtype=dtype)

    def __call__(self, x: Array, key: Array | None = None) -> tuple[Array, dict[str, Array]]:
        """Return (sample, *outputs) for (sample, *inputs.shape), and the divergence (sample,)."""
        mean, logarithm = jnp.split(self.encode(x.reshape(len(x), -1)).astype(jnp.float32), 2, axis=-1)
        drawn = 0 if key is None else jnp.exp(logarithm / 2) * jax.random.normal(key, mean.shape)
        divergence = 0.5 * jnp.sum(mean**2 + jnp.exp(logarithm) - 1 - logarithm, axis=-1)
        decoded = self.decode(mean + drawn).astype(jnp.float32)
        return decoded.reshape(len(x), *self.outputs), {"kl": divergence}
