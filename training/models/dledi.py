"""Deep Learning Electron Diffractive Imaging: a U-Net of pre-activation residual blocks with batch normalisation.

    block:  shortcut(x) + conv(relu(norm(conv(relu(norm(x))))))     all 3x3; the shortcut is a convolution without relu
    stage:  drop(block(block(x)))      downwards the first block has stride 2 in conv and shortcut, upwards both are
                                       transposed convolutions of stride 2, which double the size

    x -> drop(block 16) -> stages 32, 64, 128, 256 downwards -> stages 256, 128, 64, 32 upwards -> block 32 -> block out

After each stage upwards, the skip connection of the same resolution is concatenated behind its channels; the skip has a
dropout of its own. The output is linear. Dropout and the statistics of the batch act in training only; inference uses
neither, but running averages, which belong to the parameters as they are learned (`ema` averages the parameters only).
Samples that fill up the last batch do not enter the statistics. In the published code, the second convolution of a
stage upwards is a transposed one of stride 1; it is the same function as a convolution with the kernel turned round.
Extensions of the published network: several images in and out, any number of spatial axes, and sizes that the strides
do not divide, which are padded and cropped.

Parameters (1 image in, 1 out): 9,445,408, and 8,356 running averages. Chang et al., Phys. Rev. Lett. 130, 016101
(2023), with code in github.com/dillanchang/deep-phase-imaging.
"""

from itertools import pairwise
from typing import Annotated, Any, Literal

import jax
import jax.numpy as jnp
from flax import nnx
from pydantic import Field

from schemas.runtime.ranges import within
from schemas.runtime.settings import Settings, setting
from training.contract import Array, Inputs, Shape
from training.layers import BatchNorm, Conv, Transposed, crop, pad_to

type Count = Annotated[int, Field(ge=1, le=4096)]
type Resolution = Literal["same", "half", "double"]

FIT = "kept"
VERSION = "1.0"


class Config(Settings):
    """Settings of DLEDI."""

    filters: tuple[Count, ...] = Field(
        (16, 32, 64, 128, 256), min_length=2, max_length=8, **setting("channels of each level, downwards", "channel")
    )
    dropout: Annotated[float, within(0, 0.9)] = Field(0.2, **setting("fraction of the values that dropout zeroes"))


def build(config: Config, inputs: Inputs, outputs: Shape, rngs: nnx.Rngs, dtype: Any) -> nnx.Module:
    """Return the network. It takes any sizes and any number of spatial axes."""
    return DLEDI(config, inputs, outputs, rngs, dtype)


class Block(nnx.Module):
    """Residual block with pre-activation, at the same, half or double resolution."""

    def __init__(self, rank: int, a: int, b: int, rngs: nnx.Rngs, dtype: Any, resolution: Resolution = "same") -> None:
        self.first_norm, self.second_norm = BatchNorm(a, dtype=dtype), BatchNorm(b, dtype=dtype)
        self.first = _conv(rank, a, b, rngs, dtype, resolution)
        self.second = _conv(rank, b, b, rngs, dtype, "same")
        self.shortcut = _conv(rank, a, b, rngs, dtype, resolution)

    def __call__(self, x: Array, **mode: Any) -> Array:
        """Return (sample, *spatial of the new resolution, b) for (sample, *spatial, a). mode: as in `BatchNorm`."""
        y: Array = self.first(jax.nn.relu(self.first_norm(x, **mode)))
        y = self.second(jax.nn.relu(self.second_norm(y, **mode)))
        return y + jnp.asarray(self.shortcut(x))


def _conv(rank: int, inputs: int, outputs: int, rngs: nnx.Rngs, dtype: Any, resolution: Resolution) -> Any:
    if resolution == "double":
        return Transposed(rank, inputs, outputs, rngs=rngs, dtype=dtype)
    start, stride = nnx.initializers.glorot_uniform(), 2 if resolution == "half" else 1
    return Conv(inputs, outputs, (3,) * rank, stride, kernel_init=start, rngs=rngs, dtype=dtype)


class DLEDI(nnx.Module):
    """The U-Net, as the module describes it."""

    def __init__(self, config: Config, inputs: Inputs, outputs: Shape, rngs: nnx.Rngs, dtype: Any) -> None:
        filters, rank = config.filters, len(inputs.spatial)
        self.multiple = 2 ** (len(filters) - 1)
        self.dropout = nnx.Dropout(config.dropout)
        after = filters[:0:-1]  # channels of the stages upwards
        before = [filters[-1], *(a + skip for a, skip in zip(after, filters[-2::-1], strict=True))]

        def stage(a: int, b: int, resolution: Resolution) -> Any:
            return nnx.List([Block(rank, a, b, rngs, dtype, resolution), Block(rank, b, b, rngs, dtype)])

        self.first = Block(rank, inputs.channels, filters[0], rngs, dtype)
        self.down = nnx.List([stage(a, b, "half") for a, b in pairwise(filters)])
        self.up = nnx.List([stage(a, b, "double") for a, b in zip(before, after, strict=False)])
        self.join = Block(rank, before[-1], after[-1], rngs, dtype)
        self.head = Block(rank, after[-1], outputs[-1], rngs, jnp.float32)

    def __call__(self, x: Array, key: Array | None = None, weight: Array | None = None) -> Array:
        """Return (sample, *spatial, outputs) for (sample, *spatial, inputs).

        Args:
            x: network input.
            key: key for dropout; None in inference.
            weight: (sample,), 0 for samples that only fill up the batch.
        """
        mode: Any = {"learning": key is not None, "weight": weight}
        layers = 3 * len(self.up) + 1  # number of dropout layers
        keys = iter([None] * layers if key is None else jax.random.split(key, layers))
        y, skips = self.first(pad_to(x, self.multiple), **mode), []
        for resize, block in self.down:
            skips.append(self._drop(y, next(keys)))
            y = block(resize(self._drop(y, next(keys)), **mode), **mode)
        y = self._drop(y, next(keys))
        for (resize, block), skip in zip(self.up, reversed(skips), strict=True):
            y = self._drop(block(resize(y, **mode), **mode), next(keys))
            y = jnp.concatenate([y, skip], axis=-1)
        return crop(self.head(self.join(y, **mode), **mode), x.shape[1:-1])

    def _drop(self, x: Array, key: Array | None) -> Array:
        return self.dropout(x, deterministic=key is None, rngs=key)
