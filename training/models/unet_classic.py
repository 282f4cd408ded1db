"""The plain U-Net of Ronneberger and of super_tomo_py, in each of its published forms.

    down:  x -> [conv 3x3, relu] twice, pool        for each of `widths`; the last one is not pooled
    up:    x -> enlarge, conv 2x2, relu -> concatenate the skip connection -> [conv 3x3, relu] twice
    head:  x -> (conv 3x3, `bottleneck` channels, relu) -> conv 1x1 (-> sigmoid)

Pooling takes the maximum of 2x2 pixels, and each pixel is repeated on the way back. The lowest levels end with dropout
while learning. Convolutions pad with zeros. Kernels start by He's normal distribution and biases at zero. Sizes that
pooling does not divide are padded and cropped. Any number of spatial axes.

The published forms end with `bottleneck=2 sigmoid=true`. Their two channels behind a relu may all become 0, and then
the network learns no more; so neither is the default. A sigmoid belongs to targets with values from 0 to 1
(`normalisation=none`); a target with classes has none, because its loss applies the softmax.

    unet_3layer   the default                                                      1,862,789 parameters
    unet_4layer   widths=64,128,256,512 narrow=2                                   7,697,285
    unet          widths=64,128,256,512,1024 dropped=2                            31,031,685

Of `unet_4layer`, the second pooling and its enlargement act along all axes but the first. `unet_weight_map` of
super_tomo_py is `unet` with a loss: a softmax, and a cross entropy that a map of weights multiplies. Here the loss is
`loss.border=1`, and the map is computed from the labels (`training/border_weights.py`).

The numbers are for one image in and one out, with `bottleneck=2`. Ronneberger et al., arXiv:1505.04597;
github.com/keeeto/super_tomo_py.
"""

from collections.abc import Callable
from itertools import pairwise
from typing import Annotated, Any, Self

import jax
import jax.numpy as jnp
from flax import nnx
from pydantic import Field, model_validator

from schemas.runtime.ranges import within
from schemas.runtime.settings import Settings, setting
from training.contract import Array, Inputs, Shape
from training.layers import Conv, crop, enlarge, max_pool, pad_to

type Count = Annotated[int, Field(ge=1, le=4096)]

FIT = "kept"
VERSION = "1.0"
START = nnx.initializers.he_normal()


class Config(Settings):
    """Settings of the plain U-Net."""

    widths: tuple[Count, ...] = Field(
        (64, 128, 256), min_length=1, max_length=8, **setting("channels of each level", "channel")
    )
    narrow: tuple[Annotated[int, Field(ge=1, le=7)], ...] = Field(
        (), max_length=7, **setting("poolings, counted from 1, that leave the first axis as it is")
    )
    dropout: Annotated[float, within(0, 0.9)] = Field(0.5, **setting("fraction of the values that dropout zeroes"))
    dropped: int = Field(1, ge=0, le=8, **setting("number of the lowest levels that end with dropout"))
    bottleneck: int = Field(
        0, ge=0, le=4096, **setting("channels of a 3x3 convolution before the last layer; 0: none", "channel")
    )
    sigmoid: bool = Field(False, **setting("apply a sigmoid to the output, for targets from 0 to 1"))

    @model_validator(mode="after")
    def _check_levels(self) -> Self:
        levels = len(self.widths)
        if wrong := [level for level in self.narrow if level >= levels]:
            raise ValueError(f"narrow = {wrong[0]}: must be at most {levels - 1}, the number of poolings")
        if self.dropped > levels:
            raise ValueError(f"dropped = {self.dropped}: must be at most {levels}, the number of widths")
        return self


def build(config: Config, inputs: Inputs, outputs: Shape, rngs: nnx.Rngs, dtype: Any) -> nnx.Module:
    """Return the network. It takes any sizes and any number of spatial axes."""
    return UNet(config, inputs, outputs, rngs, dtype)


class Pair(nnx.Module):
    """Two convolutions, x -> [conv 3x3, relu] twice."""

    def __init__(self, rank: int, inputs: int, width: int, rngs: nnx.Rngs, dtype: Any) -> None:
        self.first, self.second = (_conv(rank, a, width, 3, rngs, dtype) for a in (inputs, width))

    def __call__(self, x: Array) -> Array:
        """Return (sample, *spatial, width) for (sample, *spatial, inputs)."""
        return jax.nn.relu(self.second(jax.nn.relu(self.first(x))))


class UNet(nnx.Module):
    """The network, as the module describes it."""

    def __init__(self, config: Config, inputs: Inputs, outputs: Shape, rngs: nnx.Rngs, dtype: Any) -> None:
        rank, widths = len(inputs.spatial), config.widths
        self.narrow, self.multiple, self.sigmoid = config.narrow, 2 ** (len(widths) - 1), config.sigmoid
        self.undropped, self.dropout = len(widths) - config.dropped, nnx.Dropout(config.dropout)
        self.down = nnx.List([Pair(rank, a, b, rngs, dtype) for a, b in pairwise((inputs.channels, *widths))])
        self.up = nnx.List([_conv(rank, b, a, 2, rngs, dtype) for a, b in pairwise(widths)])
        self.join = nnx.List([Pair(rank, 2 * a, a, rngs, dtype) for a in widths[:-1]])
        thin = config.bottleneck
        self.bottleneck = _conv(rank, widths[0], thin, 3, rngs, dtype) if thin else None
        self.head = _conv(rank, thin or widths[0], outputs[-1], 1, rngs, jnp.float32)

    def __call__(self, x: Array, key: Array | None = None) -> Array:
        """Return (sample, *spatial, outputs) for (sample, *spatial, inputs). key: for dropout; None in inference."""
        spatial, skips = x.shape[1:-1], []
        x = pad_to(x, self.multiple)
        for level, pair in enumerate(self.down):
            x = pair(self._resize(max_pool, x, level) if level else x)
            x = self._drop(x, level, key)
            skips.append(x)
        for level in reversed(range(1, len(skips))):
            x = jax.nn.relu(self.up[level - 1](self._resize(enlarge, x, level)))
            x = self.join[level - 1](jnp.concatenate([skips[level - 1], x], axis=-1))
        x = jax.nn.relu(self.bottleneck(x)) if self.bottleneck else x
        y: Array = crop(self.head(x), spatial)
        return jax.nn.sigmoid(y) if self.sigmoid else y

    def _drop(self, x: Array, level: int, key: Array | None) -> Array:
        if key is None or level < self.undropped:
            return x
        return self.dropout(x, deterministic=False, rngs=jax.random.fold_in(key, level))

    def _resize(self, by_two: Callable[[Array], Array], x: Array, level: int) -> Array:
        """Pool or enlarge, along all axes or all but the first; that axis then counts as further samples."""
        if level not in self.narrow:
            return by_two(x)
        y = by_two(x.reshape(-1, *x.shape[2:]))
        return y.reshape(*x.shape[:2], *y.shape[1:])


def _conv(rank: int, inputs: int, outputs: int, side: int, rngs: nnx.Rngs, dtype: Any) -> Any:
    return Conv(inputs, outputs, (side,) * rank, kernel_init=START, rngs=rngs, dtype=dtype)
