"""Two encoders: a coarse image of many channels is refined by the features of a fine guide.

    guide:   g -> conv, then for each level: blocks, fold 2x2 pixels into channels, linear
    coarse:  c -> mean over the blocks of pixels of level `entry`, conv, blocks
    join:    at level `entry`, the features of both, concatenated -> linear; they go on to the lower levels
    up:      linear, pixel shuffle, concatenate the features of that level, linear, blocks
    output:  c + conv(features of the finest level)

The input has two parts on the fine grid: first the coarse image, already enlarged by the task with an exact linear map,
then the guide (with the scalars). Factors need not be whole, and the enlarged image may be cut into parts like the
guide. The mean over blocks leads back to a grid about as coarse as the measured one: `entry=1` for factors of about 2,
`entry=2` of about 4. Where the input has one part, both encoders see all of it. c is added to the output if it has as
many channels; the last layer starts at zero, so training starts from the enlarged coarse image, in the normalisation
of the target. Blocks: training/residual.py. Any number of spatial axes. Sizes that folding does not divide are padded
and cropped.

Parameters (10 + 1 images in, 10 out): 0.33 M with the defaults. A U-Net, arXiv:1505.04597, with a second encoder.
"""

from itertools import pairwise
from typing import Annotated, Any, Self

import jax.numpy as jnp
from flax import nnx
from pydantic import Field, model_validator

from schemas.runtime.settings import Settings, setting
from training.contract import Array, Inputs, Shape
from training.layers import Conv, crop, pad_to, to_depth, to_space
from training.residual import chain

type Count = Annotated[int, Field(ge=1, le=4096)]

FIT = "kept"
VERSION = "1.0"


class Config(Settings):
    """Settings of the network with two encoders."""

    widths: tuple[Count, ...] = Field(
        (32, 48, 64), min_length=1, max_length=8, **setting("channels of each level, the finest first", "channel")
    )
    entry: int = Field(1, ge=0, le=7, **setting("level at which the coarse image enters; 0: the finest"))
    blocks: int = Field(1, ge=0, le=16, **setting("residual blocks per level, downwards and upwards"))
    coarse_blocks: int = Field(2, ge=0, le=64, **setting("residual blocks of the encoder of the coarse image"))
    residual: bool = Field(True, **setting("true: the output is a correction of the coarse image"))

    @model_validator(mode="after")
    def _check_entry(self) -> Self:
        if self.entry >= len(self.widths):
            raise ValueError(f"entry = {self.entry}: must be less than {len(self.widths)}, the number of widths")
        return self


def build(config: Config, inputs: Inputs, outputs: Shape, rngs: nnx.Rngs, dtype: Any) -> nnx.Module:
    """Return the network. It takes any sizes and any number of spatial axes."""
    return Fusion(config, inputs, outputs, rngs, dtype)


class Fusion(nnx.Module):
    """The network, as the module describes it."""

    def __init__(self, config: Config, inputs: Inputs, outputs: Shape, rngs: nnx.Rngs, dtype: Any) -> None:
        rank, widths, self.entry = len(inputs.spatial), config.widths, config.entry
        options: Any = {"rngs": rngs, "dtype": dtype}
        kernel, fold, entry = (3,) * rank, 2**rank, widths[config.entry]
        apart = len(inputs.parts) > 1
        self.coarse, self.first = inputs.parts[0] if apart else inputs.channels, inputs.parts[0] if apart else 0
        images = inputs.parts[0] if apart else inputs.images
        self.added = outputs[-1] if config.residual and outputs[-1] == images else 0
        self.multiple = 2 ** (len(widths) - 1)
        self.stem = Conv(inputs.channels - self.first, widths[0], kernel, **options)
        self.coarse_stem = Conv(self.coarse, entry, kernel, **options)
        self.coarse_blocks = chain(rank, entry, config.coarse_blocks, rngs, dtype)
        self.join = nnx.Linear(2 * entry, entry, **options)
        self.fold = nnx.List([nnx.Linear(a * fold, b, **options) for a, b in pairwise(widths)])
        self.down = nnx.List([chain(rank, width, config.blocks, rngs, dtype) for width in widths])
        self.unfold = nnx.List([nnx.Linear(b, a * fold, **options) for a, b in pairwise(widths)])
        self.merge = nnx.List([nnx.Linear(2 * a, a, **options) for a in widths[:-1]])
        self.up = nnx.List([chain(rank, width, config.blocks, rngs, dtype) for width in widths[:-1]])
        self.head = Conv(widths[0], outputs[-1], kernel, kernel_init=nnx.initializers.zeros, rngs=rngs)  # float32

    def __call__(self, x: Array, key: Array | None = None) -> Array:
        """Return (sample, *spatial, outputs) for (sample, *spatial, inputs)."""
        padded, skips = pad_to(x, self.multiple), []
        y = self.stem(padded[..., self.first :])
        for level, blocks in enumerate(self.down):
            y = self.fold[level - 1](to_depth(y, 2)) if level else y
            if level == self.entry:
                y = self.join(jnp.concatenate([y, self._encode_coarse(padded[..., : self.coarse])], axis=-1))
            y = blocks(y)
            skips.append(y)
        for level in reversed(range(len(self.up))):
            y = jnp.concatenate([skips[level], to_space(self.unfold[level](y), 2)], axis=-1)
            y = self.up[level](self.merge[level](y))
        y = crop(self.head(y.astype(jnp.float32)), x.shape[1:-1])
        return y + x[..., : self.added] if self.added else y

    def _encode_coarse(self, x: Array) -> Array:
        """Return the features of the coarse image at the level where it enters."""
        side = 2**self.entry
        folded = to_depth(x, side)
        means = folded.reshape(*folded.shape[:-1], -1, x.shape[-1]).mean(-2)
        y: Array = self.coarse_blocks(self.coarse_stem(means))
        return y
