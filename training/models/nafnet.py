"""NAFNet: a U-Net whose blocks multiply halves of their channels instead of using an activation function.

    block:  x + beta  point(attend(gate(depthwise(point(norm(x))))))     then
            x + gamma point(gate(point(norm(x))))
    gate:   (a, b) -> a b, the two halves of the channels;     attend:  x -> x point(mean of x over the image)

`norm` normalises over the channels of each pixel, `point` is a linear map of them, and `depthwise` is a 3x3 convolution
of each channel by itself. beta and gamma, one value per channel, start at zero, so every block starts as the identity.
Each level halves the resolution by folding 2x2 pixels into channels and doubles the width. On the way back, a linear
map and pixel shuffle double the resolution, and the skip connection of that level is added. Differences from the paper:
input and output are folded by `patch`, as in `unet`; the output is not added to the input, because it is another
quantity; the last layer starts at zero, so training starts from the mean of the target. Sizes that the folding does not
divide are padded and cropped.

Parameters (2 images in, 1 out): 0.28 M with the defaults. Chen et al. 2022, arXiv:2204.04676.
"""

from typing import Annotated, Any

import jax.numpy as jnp
from flax import nnx
from pydantic import Field

from schemas.runtime.settings import Settings, setting
from training.contract import Array, Inputs, Shape
from training.layers import Conv, Depthwise, crop, pad_to, to_depth, to_space

type Count = Annotated[int, Field(ge=0, le=64)]

FIT = "enlarged"
VERSION = "1.0"


class Config(Settings):
    """Settings of NAFNet."""

    width: int = Field(
        32, ge=1, le=4096, **setting("channels of the first level; each further level has twice as many", "channel")
    )
    encoder: tuple[Count, ...] = Field((1, 1), min_length=1, max_length=8, **setting("blocks of each level, downwards"))
    middle: int = Field(1, ge=0, le=64, **setting("blocks at the lowest resolution"))
    decoder: int = Field(1, ge=0, le=64, **setting("blocks of each level, upwards"))
    patch: int = Field(2, ge=1, le=16, **setting("side of the blocks of pixels folded into channels", "pixel"))


def build(config: Config, inputs: Inputs, outputs: Shape, rngs: nnx.Rngs, dtype: Any) -> nnx.Module:
    """Return the network. It takes any sizes and any number of spatial axes.

    The output may be larger than the input by a whole factor.
    """
    return NAFNet(config, inputs, outputs, rngs, dtype)


class Block(nnx.Module):
    """Block of NAFNet, as the module describes it."""

    def __init__(self, rank: int, width: int, rngs: nnx.Rngs, dtype: Any) -> None:
        options: Any = {"rngs": rngs, "dtype": dtype}
        self.first_norm, self.second_norm = (_norm(width, rngs, dtype) for _ in range(2))
        self.widen = nnx.Linear(width, 2 * width, **options)
        self.depthwise = Depthwise(rank, 2 * width, **options)
        self.attend = nnx.Linear(width, width, **options)
        self.mix = nnx.Linear(width, width, **options)
        self.forward_widen = nnx.Linear(width, 2 * width, **options)
        self.forward_mix = nnx.Linear(width, width, **options)
        self.beta, self.gamma = (nnx.Param(jnp.zeros(width)) for _ in range(2))

    def __call__(self, x: Array) -> Array:
        """Return an array of the same shape."""
        y = _gate(self.depthwise(self.widen(self.first_norm(x))))
        y = self.mix(y * self.attend(y.mean(range(1, y.ndim - 1), keepdims=True)))
        x = x + y * self.beta[...].astype(y.dtype)
        y = self.forward_mix(_gate(self.forward_widen(self.second_norm(x))))
        return x + y * self.gamma[...].astype(y.dtype)


def _norm(width: int, rngs: nnx.Rngs, dtype: Any) -> nnx.LayerNorm:
    """Layer normalisation with the variance as the mean of (x - m)^2; `training.layers.GroupNorm` says why."""
    return nnx.LayerNorm(width, epsilon=1e-6, use_fast_variance=False, rngs=rngs, dtype=dtype)


def _gate(x: Array) -> Array:
    first, second = jnp.split(x, 2, axis=-1)
    return first * second


class NAFNet(nnx.Module):
    """The network, as the module describes it."""

    def __init__(self, config: Config, inputs: Inputs, outputs: Shape, rngs: nnx.Rngs, dtype: Any) -> None:
        rank, options = len(inputs.spatial), {"rngs": rngs, "dtype": dtype}
        fold = config.patch**rank
        widths = [config.width * 2**level for level in range(len(config.encoder) + 1)]
        self.patch = config.patch

        def blocks(width: int, count: int) -> nnx.Sequential:
            return nnx.Sequential(*(Block(rank, width, rngs, dtype) for _ in range(count)))

        self.stem = Conv(inputs.channels * fold, widths[0], (3,) * rank, **options)
        self.encoder = nnx.List([blocks(w, count) for w, count in zip(widths, config.encoder, strict=False)])
        self.down = nnx.List([nnx.Linear(w * 2**rank, 2 * w, **options) for w in widths[:-1]])
        self.middle = blocks(widths[-1], config.middle)
        self.up = nnx.List([nnx.Linear(2 * w, w * 2**rank, use_bias=False, **options) for w in widths[:-1]])
        self.decoder = nnx.List([blocks(w, config.decoder) for w in widths[:-1]])
        zeros = nnx.initializers.zeros
        self.factor = outputs[0] // inputs.spatial[0]
        wide = (config.patch * self.factor) ** rank
        self.head = nnx.Linear(widths[0], outputs[-1] * wide, kernel_init=zeros, rngs=rngs)  # float32

    def __call__(self, x: Array, key: Array | None = None) -> Array:
        """Return (sample, *(factor spatial), outputs) for (sample, *spatial, inputs)."""
        spatial, skips = x.shape[1:-1], []
        x = self.stem(to_depth(pad_to(x, self.patch * 2 ** len(self.encoder)), self.patch))
        for blocks, down in zip(self.encoder, self.down, strict=True):
            skips.append(blocks(x))
            x = down(to_depth(skips[-1], 2))
        x = self.middle(x)
        for blocks, up, skip in reversed(list(zip(self.decoder, self.up, skips, strict=True))):
            x = blocks(skip + to_space(up(x), 2))
        return crop(to_space(self.head(x), self.patch * self.factor), tuple(self.factor * n for n in spatial))
