"""The encoder and the decoder of CDI NN and PtychoNN: pairs of 3x3 convolutions, with pooling or upsampling by 2.

    encoder:  x -> [conv relu conv relu, max 2x2] for each number of filters
    decoder:  x -> [conv relu conv relu, enlarge 2x2] for each number of filters -> conv

Convolutions pad images with zeros. Kernels are initialised by Glorot's uniform distribution, biases with zeros. The
last layer of a decoder is linear, in float32. Cherukara et al., Sci. Rep. 8, 16520 (2018); Cherukara et
al., Appl. Phys. Lett. 117, 044103 (2020).
"""

from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Annotated, Any, Literal

import jax
import jax.numpy as jnp
from flax import nnx
from pydantic import Field

from training.contract import Array
from training.layers import Conv, enlarge, max_pool

type Count = Annotated[int, Field(ge=1, le=4096)]
type Counts = tuple[Count, ...]
type Upsampling = Literal["nearest", "bilinear"]


def _enlarge_bilinear(x: Array) -> Array:
    size = (len(x), *(2 * n for n in x.shape[1:-1]), x.shape[-1])
    return jnp.asarray(jax.image.resize(x, size, "linear"))


UPSAMPLING: Mapping[str, Callable[[Array], Array]] = {"nearest": enlarge, "bilinear": _enlarge_bilinear}


class Encoder(nnx.Module):
    """Encoder, as the module describes it."""

    def __init__(self, rank: int, inputs: int, filters: Counts, rngs: nnx.Rngs, dtype: Any) -> None:
        self.pairs = _convolution_pairs(rank, inputs, filters, rngs, dtype)

    def __call__(self, x: Array) -> Array:
        """Return (sample, *(spatial / 2^levels), filters[-1]) for (sample, *spatial, inputs)."""
        for first, second in self.pairs:
            x = max_pool(jax.nn.relu(second(jax.nn.relu(first(x)))))
        return x


class Decoder(nnx.Module):
    """Decoder, as the module describes it."""

    def __init__(
        self, rank: int, inputs: int, filters: Counts, outputs: int, upsampling: Upsampling, rngs: nnx.Rngs, dtype: Any
    ) -> None:
        self.upsampling = upsampling
        self.pairs = _convolution_pairs(rank, inputs, filters, rngs, dtype)
        self.head = _conv(rank, filters[-1], outputs, rngs, jnp.float32)

    def __call__(self, x: Array) -> Array:
        """Return (sample, *(spatial 2^levels), outputs) for (sample, *spatial, inputs)."""
        for first, second in self.pairs:
            x = UPSAMPLING[self.upsampling](jax.nn.relu(second(jax.nn.relu(first(x)))))
        y: Array = self.head(x)
        return y


def _convolution_pairs(rank: int, inputs: int, filters: Counts, rngs: nnx.Rngs, dtype: Any) -> Any:
    return nnx.List(
        nnx.List([_conv(rank, a, b, rngs, dtype), _conv(rank, b, b, rngs, dtype)])
        for a, b in pairwise([inputs, *filters])
    )


def _conv(rank: int, inputs: int, outputs: int, rngs: nnx.Rngs, dtype: Any) -> Any:
    return Conv(inputs, outputs, (3,) * rank, kernel_init=nnx.initializers.glorot_uniform(), rngs=rngs, dtype=dtype)


def branch_channels(groups: Counts | None, channels: int) -> Counts:
    """Return the number of channels of each output branch.

    Args:
        groups: channels of each branch; None: one channel each.
        channels: channels of the output.

    Raises:
        ValueError: the groups do not add up to the channels of the output.
    """
    if groups is None:
        return (1,) * channels
    if sum(groups) != channels:
        shown = ",".join(map(str, groups))
        raise ValueError(f"model.groups = {shown}: must add up to the {channels} channels of the output, or be none")
    return groups
