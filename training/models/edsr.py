"""EDSR: finer images from coarse ones, by residual blocks on the coarse grid.

    g = conv(x),  f = g + conv(blocks(g))               features on the grid of the input
    y = enlarged x + unfold(conv(f))                    if each axis becomes finer by the same whole factor
    y = enlarged x + conv(relu(conv(enlarged f)))       for any other factor, such as 369/185

The blocks are those of training/residual.py. `unfold` puts channels into blocks of pixels (pixel shuffle). Images are
enlarged by cubic interpolation and features by linear interpolation, both as exact linear maps between grids with the
same outer edges. x is added if the output has as many channels as the images of the input. The last layer starts at
zero, so training starts from the interpolated image, in the normalisation of the target. Differences from the paper:
the image is added at the end, and the features are unfolded in one step.

Any number of spatial axes; images of other sizes are enlarged by the factor of the training data. Parameters (1 image
in and out, factor 2): 0.36 M with the defaults, 1.22 M with the `width=64 blocks=16` of the paper's baseline. Lim et
al., arXiv:1707.02921; Shi et al., arXiv:1609.05158.
"""

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from pydantic import Field

from schemas.runtime.settings import Settings, setting
from training.contract import Array, Inputs, Shape
from training.layers import Conv, resize, scaled_lengths, to_space
from training.residual import chain

FIT = "resized"
VERSION = "1.0"


class Config(Settings):
    """Settings of EDSR."""

    width: int = Field(48, ge=1, le=4096, **setting("channels of each layer", "channel"))
    blocks: int = Field(8, ge=0, le=64, **setting("residual blocks"))
    residual: bool = Field(
        True, **setting("true: what the layers find is added to the enlarged image, if both have as many channels")
    )


def build(config: Config, inputs: Inputs, outputs: Shape, rngs: nnx.Rngs, dtype: Any) -> nnx.Module:
    """Return the network. It takes any sizes and any number of spatial axes, and enlarges all by the same factors."""
    return EDSR(config, inputs, outputs, rngs, dtype)


class EDSR(nnx.Module):
    """The network, as the module describes it."""

    def __init__(self, config: Config, inputs: Inputs, outputs: Shape, rngs: nnx.Rngs, dtype: Any) -> None:
        rank, width, self.coarse, self.fine = len(inputs.spatial), config.width, inputs.spatial, outputs[:-1]
        kernel, options = (3,) * rank, {"rngs": rngs, "dtype": dtype}
        factors = {b / a for a, b in zip(self.coarse, self.fine, strict=True)}
        self.factor = int(max(factors)) if len(factors) == 1 and max(factors).is_integer() else 0
        self.channels = outputs[-1] if config.residual and outputs[-1] == inputs.images else 0
        self.first = Conv(inputs.channels, width, kernel, **options)
        self.blocks = chain(rank, width, config.blocks, rngs, dtype)
        self.last = Conv(width, width, kernel, **options)
        self.refine = None if self.factor else Conv(width, width, kernel, **options)
        wide, zeros = outputs[-1] * max(1, self.factor) ** rank, nnx.initializers.zeros
        self.head = Conv(width, wide, kernel, kernel_init=zeros, rngs=rngs)  # float32

    def __call__(self, x: Array, key: Array | None = None) -> Array:
        """Return (sample, *(factors spatial), outputs) for (sample, *spatial, inputs)."""
        lengths = scaled_lengths(x.shape[1:-1], self.coarse, self.fine)
        features = self.first(x)
        features = features + self.last(self.blocks(features))
        if self.refine is not None:
            features = jax.nn.relu(self.refine(resize(features, lengths, "linear")))
        y: Array = to_space(self.head(features.astype(jnp.float32)), max(1, self.factor))
        return y + resize(x[..., : self.channels], lengths, "cubic") if self.channels else y
