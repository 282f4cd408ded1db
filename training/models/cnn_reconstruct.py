"""The convolutional network of super_tomo_py: convolutions read the measurement, dense layers find an image from it.

    x -> [conv 3x3, 64, stride 2, relu] four times -> [dense 1000, relu, drop] three times -> dense n^2 -> image
      -> [conv 3x3, 128, relu] three times -> conv 3x3

This is the network as its documentation has it. In the published code each dropout reads the convolutions in place of
the dense layer before it, so the three dense layers are not part of the network; `hidden=none` gives that network, with
one dropout in front of the dense layer of n^2. The output is linear. The network is bound to the size of its images.

Parameters for 64x64 pixels: 7,536,121; without the hidden layers 4,607,425. github.com/keeeto/super_tomo_py.
"""

from math import prod
from typing import Annotated, Any

import jax
import jax.numpy as jnp
from flax import nnx
from pydantic import Field

from schemas.runtime.ranges import within
from schemas.runtime.settings import Settings, setting
from training.contract import Array, Inputs, Shape
from training.dense_to_image import GLOROT, Convolutions, Count, DenseLayers, Units, conv, refuse_numbers, to_image

FIT = "any"
VERSION = "1.0"


class Config(Settings):
    """Settings of the network."""

    encoder: tuple[Count, ...] = Field(
        (64, 64, 64, 64), min_length=1, max_length=8, **setting("channels of each convolution with stride 2", "channel")
    )
    hidden: tuple[Units, ...] | None = Field(
        (1000, 1000, 1000), min_length=1, max_length=16, **setting("units per hidden dense layer; none: no such layers")
    )
    dropout: Annotated[float, within(0, 0.9)] = Field(
        0.1, **setting("fraction of the values that dropout zeroes behind each hidden layer")
    )
    decoder: tuple[Count, ...] = Field(
        (128, 128, 128), min_length=1, max_length=8, **setting("channels of each convolution of the image", "channel")
    )


def build(config: Config, inputs: Inputs, outputs: Shape, rngs: nnx.Rngs, dtype: Any) -> nnx.Module:
    """Return the network, which is bound to these sizes.

    Raises:
        ValueError: the output is no image.
    """
    refuse_numbers(outputs)
    return CNNReconstruct(config, inputs, outputs, rngs, dtype)


class CNNReconstruct(nnx.Module):
    """The network, as the module describes it."""

    def __init__(self, config: Config, inputs: Inputs, outputs: Shape, rngs: nnx.Rngs, dtype: Any) -> None:
        self.inputs, self.spatial = inputs, outputs[:-1]
        rank, hidden = len(self.spatial), config.hidden or ()
        channels = (inputs.images, *config.encoder)
        self.encoder = Convolutions(len(inputs.spatial), channels, 3, rngs, dtype, stride=2)
        coarse = prod(-(-n // 2 ** len(config.encoder)) for n in inputs.spatial)
        widths = (coarse * config.encoder[-1] + inputs.scalars, *hidden)
        self.dense = DenseLayers(widths, jax.nn.relu, rngs, dtype, config.dropout)
        self.dropout = None if hidden else nnx.Dropout(config.dropout)
        self.pixels = nnx.Linear(widths[-1], prod(self.spatial), kernel_init=GLOROT, rngs=rngs, dtype=dtype)
        self.decoder = Convolutions(rank, (1, *config.decoder), 3, rngs, dtype)
        self.image = conv(rank, config.decoder[-1], outputs[-1], 3, rngs, jnp.float32)

    def __call__(self, x: Array, key: Array | None = None) -> Array:
        """Return (sample, *outputs) for (sample, *inputs.shape). key: for dropout; None in inference."""
        images, scalars = self.inputs.split_scalars(x)
        flat = jnp.concatenate([self.encoder(images).reshape(len(x), -1), scalars], axis=-1)
        if self.dropout is not None:
            flat = self.dropout(flat, deterministic=key is None, rngs=key)
        found: Array = self.image(self.decoder(to_image(self.pixels(self.dense(flat, key)), self.spatial)))
        return found
