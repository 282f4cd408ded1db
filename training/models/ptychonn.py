"""PtychoNN: amplitude and phase from diffraction patterns, by one encoder and one decoder for each output.

    y = [decoder(encoder(x)) for each channel of the output]                   see training/autoencoder.py

The defaults are those of its Keras variant: encoder (32, 64, 128), decoders (128, 64, 32), nearest-pixel upsampling.
The PyTorch variant is `decoder=128,64,64 upsampling=bilinear`. With `groups=1,2` the second decoder gives two channels,
for a phase as cosine and sine. The output is linear as in Keras: the functions that the PyTorch variant applies to it
(sigmoid, pi tanh) belong to the task's head. Extensions of the paper: several input images, any number of spatial axes,
and sizes that pooling does not divide, which are padded and cropped.

Parameters (1 image in, 2 channels out): 1,154,210 with the defaults, 1,247,074 as in PyTorch. Cherukara et al., Appl.
Phys. Lett. 117, 044103 (2020).
"""

from typing import Any, Self

import jax.numpy as jnp
from flax import nnx
from pydantic import Field, model_validator

from schemas.runtime.settings import Settings, setting
from training.autoencoder import Count, Decoder, Encoder, Upsampling, branch_channels
from training.contract import Array, Inputs, Shape
from training.layers import crop, pad_to

FIT = "kept"
VERSION = "1.0"


class Config(Settings):
    """Settings of PtychoNN."""

    encoder: tuple[Count, ...] = Field(
        (32, 64, 128), min_length=1, max_length=8, **setting("channels of each encoder level", "channel")
    )
    decoder: tuple[Count, ...] = Field(
        (128, 64, 32), min_length=1, max_length=8, **setting("channels of each decoder level", "channel")
    )
    upsampling: Upsampling = Field("nearest", **setting("how a decoder doubles the resolution"))
    groups: tuple[Count, ...] | None = Field(
        None, min_length=1, **setting("output channels of each decoder; none: one decoder per channel", "channel")
    )

    @model_validator(mode="after")
    def _check_levels(self) -> Self:
        if len(self.encoder) != len(self.decoder):
            raise ValueError(f"decoder must be {len(self.encoder)} values, one for each of encoder")
        return self


def build(config: Config, inputs: Inputs, outputs: Shape, rngs: nnx.Rngs, dtype: Any) -> nnx.Module:
    """Return the network. It takes any sizes and any number of spatial axes.

    Raises:
        ValueError: `groups` do not add up to the channels of the output.
    """
    return PtychoNN(config, inputs, outputs, rngs, dtype)


class PtychoNN(nnx.Module):
    """PtychoNN, as the module describes it."""

    def __init__(self, config: Config, inputs: Inputs, outputs: Shape, rngs: nnx.Rngs, dtype: Any) -> None:
        rank, before, how = len(inputs.spatial), config.encoder[-1], config.upsampling
        self.multiple = 2 ** len(config.encoder)
        self.encoder = Encoder(rank, inputs.channels, config.encoder, rngs, dtype)
        groups = branch_channels(config.groups, outputs[-1])
        self.decoders = nnx.List([Decoder(rank, before, config.decoder, n, how, rngs, dtype) for n in groups])

    def __call__(self, x: Array, key: Array | None = None) -> Array:
        """Return (sample, *spatial, outputs) for (sample, *spatial, inputs)."""
        code = self.encoder(pad_to(x, self.multiple))
        return crop(jnp.concatenate([decode(code) for decode in self.decoders], axis=-1), x.shape[1:-1])
