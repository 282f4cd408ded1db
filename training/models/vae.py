"""Variational autoencoder: a sample is described by few random values, whose mean and variance the encoder finds.

    encoder:  x -> conv 4x4 stride 2, 16, relu -> conv 4x4 stride 2, 32, relu -> dense -> mean, log variance
    values:   z = mean + exp(log variance / 2) e,   e normal
    decoder:  z -> dense, relu -> image of 1/4 size -> [transposed conv 4x4 stride 2, relu] twice -> conv 1x1

This is the network of super_tomo_py. It learns by the evidence lower bound (ELBO) with one draw of z per step:

    - ELBO = sum over pixels of - log p(target | z) + sum over values of (mean^2 + variance - 1 - log variance) / 2

The second sum is the divergence from the normal distribution, exact here, and by one draw in super_tomo_py. The loss is
- ELBO / pixels: the network returns the second sum as `kl`, of weight 1, and `loss.cross_entropy=1` is the first one,
for targets from 0 to 1 with `normalisation=none model.sigmoid=true`, which applies a sigmoid to the output. Another
weight of `kl` is a beta-VAE. In evaluation and inference z is the mean; `samples=1` draws it, and then the validation
loss is - ELBO / pixels, too; `samples=K` averages K decoded draws. The draws depend on the input alone, so they repeat.

The network is bound to the size of its images, which are padded to 10 pixels if they are smaller. Transposed
convolutions are computed as in `training.layers.Transposed`. Any number of spatial axes.

Parameters for 64x64 pixels: 373,137. Kingma and Welling, arXiv:1312.6114; github.com/keeeto/super_tomo_py.
"""

from itertools import pairwise
from math import prod
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from pydantic import Field

from schemas.runtime.settings import Settings, setting
from training.contract import Array, Inputs, Shape
from training.dense_to_image import GLOROT, Count, conv, refuse_numbers
from training.layers import Conv, Transposed, crop

FIT = "any"
VERSION = "1.0"
LOSSES = {"kl": "weight of the divergence of the latent values from the normal distribution, per value of the output"}
SIDE = 4  # side of the kernels
LEAST = 10  # smallest image for two such convolutions with stride 2


class Config(Settings):
    """Settings of the variational autoencoder."""

    latent: int = Field(16, ge=1, le=65536, **setting("number of latent values that describe a sample"))
    filters: tuple[Count, Count] = Field((16, 32), **setting("channels of the two convolutions", "channel"))
    sigmoid: bool = Field(False, **setting("apply a sigmoid to the output, for targets from 0 to 1"))
    samples: int = Field(
        0,
        ge=0,
        le=64,
        **setting("draws whose mean is the output of inference; 0: the output of the mean latent values"),
    )


def build(config: Config, inputs: Inputs, outputs: Shape, rngs: nnx.Rngs, dtype: Any) -> nnx.Module:
    """Return the network, which is bound to these sizes.

    Raises:
        ValueError: the output is no image.
    """
    refuse_numbers(outputs)
    return VAE(config, inputs, outputs, rngs, dtype)


class VAE(nnx.Module):
    """The network, as the module describes it."""

    def __init__(self, config: Config, inputs: Inputs, outputs: Shape, rngs: nnx.Rngs, dtype: Any) -> None:
        self.inputs, self.outputs = inputs, outputs
        self.sigmoid, self.samples = config.sigmoid, config.samples
        options: Any = {"kernel_init": GLOROT, "rngs": rngs, "dtype": dtype}
        kernel, first, last = (SIDE,) * len(inputs.spatial), *config.filters
        self.convolutions = nnx.List(
            [Conv(a, b, kernel, 2, padding="VALID", **options) for a, b in pairwise((inputs.images, first, last))]
        )
        found = prod(_after(_after(max(n, LEAST))) for n in inputs.spatial) * last + inputs.scalars
        self.describe = nnx.Linear(found, 2 * config.latent, kernel_init=GLOROT, rngs=rngs, dtype=dtype)
        self.coarse = (*(-(-n // 4) for n in outputs[:-1]), last)
        self.spread = nnx.Linear(config.latent, prod(self.coarse), **options)
        rank = len(outputs) - 1
        pairs = pairwise((last, last, first))
        self.enlarge = nnx.List([Transposed(rank, a, b, side=SIDE, rngs=rngs, dtype=dtype) for a, b in pairs])
        self.head = conv(rank, first, outputs[-1], 1, rngs, jnp.float32)

    def __call__(self, x: Array, key: Array | None = None) -> tuple[Array, dict[str, Array]]:
        """Return (sample, *outputs) for (sample, *inputs.shape), and the divergence / values (sample,)."""
        mean, logarithm = self.encode(x)
        divergence = jnp.sum(mean**2 + jnp.exp(logarithm) - 1 - logarithm, axis=-1) / 2
        deviation = jnp.exp(logarithm / 2)
        if key is not None:
            y = self.decode(mean + deviation * jax.random.normal(key, mean.shape))
        elif self.samples:
            draws = _draws(x, (self.samples, mean.shape[1]))
            y = jnp.mean(jnp.stack([self.decode(mean + deviation * draws[:, k]) for k in range(self.samples)]), 0)
        else:
            y = self.decode(mean)
        return y, {"kl": divergence / prod(self.outputs)}

    def encode(self, x: Array) -> tuple[Array, Array]:
        """Return the mean and the logarithm of the variance of the latent values, (sample, latent) each."""
        y, scalars = self.inputs.split_scalars(x)
        y = jnp.pad(y, [(0, 0), *((0, max(0, LEAST - n)) for n in y.shape[1:-1]), (0, 0)], mode="edge")
        for convolve in self.convolutions:
            y = jax.nn.relu(convolve(y))
        y = self.describe(jnp.concatenate([y.reshape(len(y), -1), scalars], axis=-1)).astype(jnp.float32)
        mean, logarithm = jnp.split(y, 2, axis=-1)
        return mean, logarithm

    def decode(self, values: Array) -> Array:
        """Return images (sample, *outputs) for latent values (sample, latent)."""
        y = jax.nn.relu(self.spread(values)).reshape(len(values), *self.coarse)
        for enlarge in self.enlarge:
            y = jax.nn.relu(enlarge(y))
        y = crop(self.head(y), self.outputs[:-1])
        return jax.nn.sigmoid(y) if self.sigmoid else y


def _after(length: int) -> int:
    return (length - SIDE) // 2 + 1


def _draws(x: Array, shape: Shape) -> Array:
    """Return normal values (sample, *shape), from the bits of each sample alone."""
    bits = jax.lax.bitcast_convert_type(x.astype(jnp.float32), jnp.uint32).reshape(len(x), -1)
    weights = 2 * jnp.arange(bits.shape[1], dtype=jnp.uint32) + 1  # so that the order of the pixels matters
    seeds = jnp.sum(bits * weights, axis=1, dtype=jnp.uint32)
    return jax.vmap(lambda seed: jax.random.normal(jax.random.key(seed), shape))(seeds)
