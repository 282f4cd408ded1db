"""Convolutional autoencoder: what a sample has to do with others passes through few values, and noise does not.

    y = decoder(middle(encoder(x)))                                           see training/autoencoder.py

    middle:  x -> conv 1x1, `code` channels -> conv 1x1, relu

There are no skip connections: everything that the output shows has passed the code, which holds `code` values for each
block of 2^levels pixels along each axis. With the defaults, 16 values for 8x8 pixels.

It also learns without clean images, with its own input as the target: `--set loss.against=noisy`. Then neither the loss
nor the normalisation reads the target; the fewer values the code has, the less noise passes.

Any number of spatial axes. Sizes that pooling does not divide are padded and cropped. Parameters (1 image in, 1 out):
316,689. Hinton and Salakhutdinov, Science 313, 504 (2006).
"""

from typing import Any

import jax
from flax import nnx
from pydantic import Field

from schemas.runtime.settings import Settings, setting
from training.autoencoder import Count, Decoder, Encoder, Upsampling
from training.contract import Array, Inputs, Shape
from training.dense_to_image import conv
from training.layers import crop, pad_to

FIT = "kept"
VERSION = "1.0"


class Config(Settings):
    """Settings of the autoencoder."""

    filters: tuple[Count, ...] = Field(
        (32, 64, 64), min_length=1, max_length=8, **setting("channels of each level of the encoder", "channel")
    )
    code: int = Field(16, ge=1, le=4096, **setting("values of the code for each block of pixels", "channel"))
    upsampling: Upsampling = Field("bilinear", **setting("how the decoder doubles the resolution"))


def build(config: Config, inputs: Inputs, outputs: Shape, rngs: nnx.Rngs, dtype: Any) -> nnx.Module:
    """Return the network. It takes any sizes and any number of spatial axes."""
    return Autoencoder(config, inputs, outputs, rngs, dtype)


class Autoencoder(nnx.Module):
    """The network, as the module describes it."""

    def __init__(self, config: Config, inputs: Inputs, outputs: Shape, rngs: nnx.Rngs, dtype: Any) -> None:
        rank, filters, how = len(inputs.spatial), config.filters, config.upsampling
        self.multiple = 2 ** len(filters)
        self.encoder = Encoder(rank, inputs.channels, filters, rngs, dtype)
        self.code = conv(rank, filters[-1], config.code, 1, rngs, dtype)
        self.spread = conv(rank, config.code, filters[-1], 1, rngs, dtype)
        self.decoder = Decoder(rank, filters[-1], filters[::-1], outputs[-1], how, rngs, dtype)

    def __call__(self, x: Array, key: Array | None = None) -> Array:
        """Return (sample, *spatial, outputs) for (sample, *spatial, inputs)."""
        code = self.code(self.encoder(pad_to(x, self.multiple)))
        return crop(self.decoder(jax.nn.relu(self.spread(code))), x.shape[1:-1])
