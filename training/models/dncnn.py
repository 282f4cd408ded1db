"""DnCNN: a deep stack of convolutions that finds what is wrong with an image, such as noise and background.

    x -> conv 3x3, relu -> [conv 3x3, norm, relu] 15 times -> conv 3x3 -> residual;    output = x - residual

This is the network of Zhang et al., IEEE Trans. Image Process. 26 (2017) 3142, with the sizes of the Keras version by
which background was removed from tilt series of atomic electron tomography: all convolutions have a bias, and `norm`
is batch normalisation. Samples that fill up the last batch do not enter its statistics. Any number of spatial axes. A
pixel of the output depends on 17 pixels to each side. If the output has another number of channels than the input, or
with `residual=false`, the output is that of the convolutions alone.

Parameters (1 image in, 1 out): 557,057, and 1,920 running averages.
"""

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from pydantic import Field

from schemas.runtime.settings import Settings, setting
from training.contract import Array, Inputs, Shape
from training.layers import BatchNorm, Conv

FIT = "kept"
VERSION = "1.0"


class Config(Settings):
    """Settings of DnCNN."""

    width: int = Field(64, ge=1, le=4096, **setting("channels of each layer", "channel"))
    depth: int = Field(15, ge=0, le=64, **setting("layers with batch normalisation, between the first and the last"))
    residual: bool = Field(
        True, **setting("true: what the layers find is subtracted from the input, if both have as many channels")
    )


def build(config: Config, inputs: Inputs, outputs: Shape, rngs: nnx.Rngs, dtype: Any) -> nnx.Module:
    """Return the network. It takes any sizes and any number of spatial axes."""
    return DnCNN(config, inputs, outputs, rngs, dtype)


class DnCNN(nnx.Module):
    """The network, as the module describes it."""

    def __init__(self, config: Config, inputs: Inputs, outputs: Shape, rngs: nnx.Rngs, dtype: Any) -> None:
        kernel, width = (3,) * len(inputs.spatial), config.width
        options: dict[str, Any] = {"kernel_init": nnx.initializers.glorot_uniform(), "rngs": rngs}
        self.outputs, self.residual = outputs[-1], config.residual and outputs[-1] == inputs.images
        self.first = Conv(inputs.channels, width, kernel, dtype=dtype, **options)
        self.convs = nnx.List([Conv(width, width, kernel, dtype=dtype, **options) for _ in range(config.depth)])
        self.norms = nnx.List([BatchNorm(width, dtype=dtype) for _ in range(config.depth)])
        self.last = Conv(width, self.outputs, kernel, **options)  # float32

    def __call__(self, x: Array, key: Array | None = None, weight: Array | None = None) -> Array:
        """Return (sample, *spatial, outputs) for (sample, *spatial, inputs).

        Args:
            x: network input.
            key: None in inference; its value does not matter.
            weight: (sample,), 0 for samples that only fill up the batch.
        """
        y = jax.nn.relu(self.first(x))
        for conv, norm in zip(self.convs, self.norms, strict=True):
            y = jax.nn.relu(norm(conv(y), learning=key is not None, weight=weight))
        found = self.last(y.astype(jnp.float32))
        return x[..., : self.outputs] - found if self.residual else found
