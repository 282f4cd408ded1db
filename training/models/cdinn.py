"""CDI NN: one network each for shape and phase, from far-field diffraction patterns.

    net:  encoder (32, 64, 128) -> decoder (128, 64, 32) -> 1 channel         see training/autoencoder.py

Each channel of the output has its own net, because the paper trains one net for the structure and one for the
phase. With `groups=1,2` the second net gives two channels, for a phase as cosine and sine. The output is linear: the
paper's sigmoid belongs to the task's head. Extensions of the paper: several input images, any number of spatial axes,
and sizes that pooling does not divide, which are padded and cropped.

Parameters: 720,321 per net (1 image in). Cherukara, Nashed and Harder, Sci. Rep. 8, 16520 (2018).
"""

from typing import Any

import jax.numpy as jnp
from flax import nnx
from pydantic import Field

from schemas.runtime.settings import Settings, setting
from training.autoencoder import Count, Decoder, Encoder, branch_channels
from training.contract import Array, Inputs, Shape
from training.layers import crop, pad_to

FIT = "kept"
VERSION = "1.0"


class Config(Settings):
    """Settings of CDI NN."""

    filters: tuple[Count, ...] = Field(
        (32, 64, 128), min_length=1, max_length=8, **setting("channels per level; upwards in reverse order", "channel")
    )
    groups: tuple[Count, ...] | None = Field(
        None, min_length=1, **setting("output channels of each net; none: one net per channel", "channel")
    )


def build(config: Config, inputs: Inputs, outputs: Shape, rngs: nnx.Rngs, dtype: Any) -> nnx.Module:
    """Return the network. It takes any sizes and any number of spatial axes.

    Raises:
        ValueError: `groups` do not add up to the channels of the output.
    """
    return CDINN(config, inputs, outputs, rngs, dtype)


class CDINN(nnx.Module):
    """CDI NN, as the module describes it."""

    def __init__(self, config: Config, inputs: Inputs, outputs: Shape, rngs: nnx.Rngs, dtype: Any) -> None:
        self.multiple = 2 ** len(config.filters)
        rank, down, up = len(inputs.spatial), config.filters, config.filters[::-1]
        groups = branch_channels(config.groups, outputs[-1])
        self.encoders = nnx.List([Encoder(rank, inputs.channels, down, rngs, dtype) for _ in groups])
        self.decoders = nnx.List([Decoder(rank, down[-1], up, n, "nearest", rngs, dtype) for n in groups])

    def __call__(self, x: Array, key: Array | None = None) -> Array:
        """Return (sample, *spatial, outputs) for (sample, *spatial, inputs)."""
        padded, nets = pad_to(x, self.multiple), zip(self.encoders, self.decoders, strict=True)
        return crop(jnp.concatenate([decode(encode(padded)) for encode, decode in nets], axis=-1), x.shape[1:-1])
