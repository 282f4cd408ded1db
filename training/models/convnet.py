"""The convolutional variant of phase-ret-dl: two convolutions with pooling, then dense layers.

    x -> conv 5x5, 16 -> max 2x2 -> relu -> conv 16x16, 36 -> max 2x2 -> relu -> [flattened, scalars] -> dense layers

The original was published untrained ("has not been tested"), behind a reshape that fails; this one runs. Convolutions
keep the size (with zeros beyond the borders). Their kernels start as the original's `random`, a truncated normal
distribution, with biases 0: an identity would leave most filters dead behind the relu. Odd sizes are pooled to half
their length, rounded up. The network is bound to the size of its images.

Parameters for 64x64 pixels: 122.8 M (one, two or three images). arXiv:1709.09940.
"""

from itertools import pairwise
from math import prod
from typing import Annotated, Any, Self

import jax
from flax import nnx
from pydantic import Field, model_validator

from schemas.runtime.settings import Settings, setting
from training.contract import Array, Inputs, Shape
from training.dense import Dense, apply_layers, initialiser, make_layers
from training.layers import Conv, max_pool

type Count = Annotated[int, Field(ge=1, le=4096)]
type Length = Annotated[int, Field(ge=1, le=64)]

FIT = "any"
VERSION = "1.0"


class Config(Settings):
    """Settings of the convolutional network."""

    filters: tuple[Count, ...] = Field(
        (16, 36), min_length=1, max_length=8, **setting("channels of each convolution", "channel")
    )
    kernels: tuple[Length, ...] = Field(
        (5, 16), min_length=1, max_length=8, **setting("side of the kernel of each convolution", "pixel")
    )
    dense: Dense = Field(Dense(), **setting("dense layers after the convolutions"))

    @model_validator(mode="after")
    def _check_kernels(self) -> Self:
        if len(self.filters) != len(self.kernels):
            raise ValueError(f"kernels must be {len(self.filters)} values, one for each of filters")
        return self


def build(config: Config, inputs: Inputs, outputs: Shape, rngs: nnx.Rngs, dtype: Any) -> nnx.Module:
    """Return the network, which is bound to these sizes."""
    return ConvNet(config, inputs, outputs, rngs, dtype)


class ConvNet(nnx.Module):
    """The convolutional network, as the module describes it."""

    def __init__(self, config: Config, inputs: Inputs, outputs: Shape, rngs: nnx.Rngs, dtype: Any) -> None:
        self.dense, self.inputs, self.outputs = config.dense, inputs, outputs
        options: Any = {"kernel_init": initialiser("random"), "rngs": rngs, "dtype": dtype}
        sizes = zip(pairwise([inputs.images, *config.filters]), config.kernels, strict=True)
        self.convolutions = nnx.List([Conv(a, b, (k,) * len(inputs.spatial), **options) for (a, b), k in sizes])
        pooled = prod(-(-n // 2 ** len(config.filters)) for n in inputs.spatial)
        self.layers = make_layers(config.dense, pooled * config.filters[-1], inputs.scalars, prod(outputs), rngs, dtype)

    def __call__(self, x: Array, key: Array | None = None) -> Array:
        """Return (sample, *outputs) for (sample, *inputs.shape)."""
        y, scalars = self.inputs.split_scalars(x)
        for convolution in self.convolutions:
            y = jax.nn.relu(max_pool(convolution(y)))
        return apply_layers(self.layers, self.dense, y, scalars, self.outputs)
