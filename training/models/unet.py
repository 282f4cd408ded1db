"""U-Net with residual blocks, group normalisation and pixel shuffle.

Blocks of pixels are folded into channels at the input and unfolded at the output (`patch`), because convolutions at
full resolution with few channels take most of the time of a plain U-Net. Each level halves the resolution by folding
again, and has more channels. On the way back, a linear layer and pixel shuffle double the resolution, and the skip
connection of that level is concatenated. The last layer starts at zero, so training starts from the mean of the target.
Sizes that the folding does not divide are padded and cropped.

Parameters (2 images in, 1 out): 0.51 M with the defaults. Ronneberger et al., arXiv:1505.04597; residual blocks as He
et al., arXiv:1512.03385.
"""

from itertools import pairwise
from typing import Annotated, Any

import jax
import jax.numpy as jnp
from flax import nnx
from pydantic import Field

from schemas.runtime.ranges import within
from schemas.runtime.settings import Settings, setting
from training.contract import Array, Inputs, Shape
from training.layers import Conv, GroupNorm, crop, pad_to, to_depth, to_space

type Factor = Annotated[float, within(0, 64, above=True)]

FIT = "enlarged"
VERSION = "1.0"


class Config(Settings):
    """Settings of the U-Net."""

    width: int = Field(32, ge=1, le=4096, **setting("channels of the first level", "channel"))
    widening: tuple[Factor, ...] = Field((1, 2, 2), min_length=1, max_length=8, **setting("channels per level / width"))
    blocks: int = Field(1, ge=1, le=16, **setting("residual blocks per level, downwards and upwards"))
    patch: int = Field(2, ge=1, le=16, **setting("side of the blocks of pixels folded into channels", "pixel"))
    groups: int = Field(8, ge=1, le=4096, **setting("number of groups of channels in group normalisation"))


def build(config: Config, inputs: Inputs, outputs: Shape, rngs: nnx.Rngs, dtype: Any) -> nnx.Module:
    """Return the network. It takes any sizes and any number of spatial axes.

    The output may be larger than the input by a whole factor.
    """
    return UNet(config, inputs, outputs, rngs, dtype)


class Block(nnx.Module):
    """Residual block relu(x' + norm(conv(relu(norm(conv(x)))))), where x' is x or a linear map of it."""

    def __init__(self, rank: int, inputs: int, outputs: int, groups: int, rngs: nnx.Rngs, dtype: Any) -> None:
        kernel, options = (3,) * rank, {"use_bias": False, "rngs": rngs, "dtype": dtype}
        self.first = Conv(inputs, outputs, kernel, **options)
        self.first_norm = GroupNorm(outputs, groups, dtype=dtype)
        self.second = Conv(outputs, outputs, kernel, **options)
        self.second_norm = GroupNorm(outputs, groups, dtype=dtype)
        self.skip = nnx.Linear(inputs, outputs, **options) if inputs != outputs else None

    def __call__(self, x: Array) -> Array:
        """Return (sample, *spatial, outputs) for (sample, *spatial, inputs)."""
        y = jax.nn.relu(self.first_norm(self.first(x)))
        y = self.second_norm(self.second(y))
        return jax.nn.relu(y + (self.skip(x) if self.skip else x))


class UNet(nnx.Module):
    """The U-Net, as the module describes it."""

    def __init__(self, config: Config, inputs: Inputs, outputs: Shape, rngs: nnx.Rngs, dtype: Any) -> None:
        rank = len(inputs.spatial)
        fold = config.patch**rank
        widths = [max(1, round(config.width * factor)) for factor in config.widening]
        self.patch, self.levels = config.patch, len(widths)

        def stage(before: int, width: int) -> Any:
            sizes = [before, *(width for _ in range(config.blocks))]
            return nnx.List([Block(rank, a, b, config.groups, rngs, dtype) for a, b in pairwise(sizes)])

        self.stem = Conv(inputs.channels * fold, widths[0], (3,) * rank, rngs=rngs, dtype=dtype)
        before = [widths[0], *(width * 2**rank for width in widths[:-1])]
        self.down = nnx.List([stage(a, b) for a, b in zip(before, widths, strict=True)])
        pairs = list(pairwise(widths))
        self.up = nnx.List([nnx.Linear(b, a * 2**rank, rngs=rngs, dtype=dtype) for a, b in pairs])
        self.join = nnx.List([stage(2 * a, a) for a, _ in pairs])
        zeros = nnx.initializers.zeros
        self.factor = outputs[0] // inputs.spatial[0]
        wide = (config.patch * self.factor) ** rank
        self.head = nnx.Linear(widths[0], outputs[-1] * wide, kernel_init=zeros, rngs=rngs)  # float32

    def __call__(self, x: Array, key: Array | None = None) -> Array:
        """Return (sample, *(factor spatial), outputs) for (sample, *spatial, inputs)."""
        spatial = x.shape[1:-1]
        x = self.stem(to_depth(pad_to(x, self.patch * 2 ** (self.levels - 1)), self.patch))
        skips = []
        for level, stage in enumerate(self.down):
            x = _apply(stage, to_depth(x, 2) if level else x)
            skips.append(x)
        for level in reversed(range(self.levels - 1)):
            x = _apply(self.join[level], jnp.concatenate([skips[level], to_space(self.up[level](x), 2)], axis=-1))
        return crop(to_space(self.head(x), self.patch * self.factor), tuple(self.factor * n for n in spatial))


def _apply(stage: Any, x: Array) -> Array:
    for block in stage:
        x = block(x)
    return x
