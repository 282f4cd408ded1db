"""The AlexNet of super_tomo_py: numbers or a class from a measurement. Convolutions with pooling, then dense layers.

    x -> conv 15x5 stride 5x2, 96 -> max 4x4 stride 2 -> norm -> conv 11x11, 256 -> max 2x2 stride 2
      -> conv 3x3, 384 -> conv 3x3, 384 -> norm -> conv 3x3, 256 -> max 2x2 stride 1
      -> dense 1096, drop -> dense 1096, norm -> dense 1000, drop, norm -> dense

Every layer but the last has a relu, before pooling, dropout and batch normalisation. Its classifier and its regressor
are one network: the target, which `--target` names, decides whether the output is numbers or classes. Kernels start by
Glorot's normal distribution. Published without padding, the network needs images of 280x111 pixels at least.
`padding=same` takes any size.

Parameters for one image of 280x111 pixels and one number: 8,665,985. Krizhevsky et al., NeurIPS 25 (2012);
github.com/keeeto/super_tomo_py.
"""

from itertools import pairwise
from math import prod
from typing import Annotated, Any, Literal

import jax
import jax.numpy as jnp
from flax import nnx
from pydantic import Field

from schemas.runtime.ranges import within
from schemas.runtime.settings import Settings, setting
from training.contract import Array, Inputs, Shape
from training.dense_to_image import Count, Units
from training.layers import BatchNorm, Conv, convolve_wide, max_pool

FIT = "any"
VERSION = "1.0"

POOLS = {0: (4, 2), 1: (2, 2), 4: (2, 1)}  # window and stride of the pooling behind a convolution
LATER_KERNELS = (11, 3, 3, 3)  # sides of the kernels of the second and further convolutions


class Config(Settings):
    """Settings of AlexNet."""

    filters: tuple[Count, Count, Count, Count, Count] = Field(
        (96, 256, 384, 384, 256), **setting("channels of each convolution", "channel")
    )
    kernel: tuple[Annotated[int, Field(ge=1, le=64)], ...] = Field(
        (15, 5), min_length=1, max_length=3, **setting("sides of the first kernel; the last one also for further axes")
    )
    stride: tuple[Annotated[int, Field(ge=1, le=16)], ...] = Field(
        (5, 2), min_length=1, max_length=3, **setting("strides of the first kernel; the last one also for further axes")
    )
    hidden: tuple[Units, Units, Units] = Field((1096, 1096, 1000), **setting("units per hidden dense layer"))
    dropout: Annotated[float, within(0, 0.9)] = Field(0.4, **setting("fraction of the values that dropout zeroes"))
    padding: Literal["valid", "same"] = Field("valid", **setting("what lies beyond the borders; same: zeros"))


def build(config: Config, inputs: Inputs, outputs: Shape, rngs: nnx.Rngs, dtype: Any) -> nnx.Module:
    """Return the network, which is bound to these sizes.

    Raises:
        ValueError: the images are too small.
    """
    if min(_final_lengths(config, inputs.spatial)) < 1:
        least = " x ".join(str(_shortest(config, axis)) for axis in range(len(inputs.spatial)))
        found = " x ".join(map(str, inputs.spatial))
        raise ValueError(f"takes images of at least {least} pixels, here {found}; or --set model.padding=same")
    return AlexNet(config, inputs, outputs, rngs, dtype)


def _along(settings: Shape, axis: int) -> int:
    """Return the value for an axis. Beyond the last value, it is the last one."""
    return settings[min(axis, len(settings) - 1)]


def _final_lengths(config: Config, spatial: Shape) -> list[int]:
    """Return the lengths of the last features along each axis; less than 1 where an image is too short."""
    return [_final_length(config, axis, n) for axis, n in enumerate(spatial)]


def _final_length(config: Config, axis: int, n: int) -> int:
    kernels = (_along(config.kernel, axis), *LATER_KERNELS)
    for layer, kernel in enumerate(kernels):
        stride = _along(config.stride, axis) if layer == 0 else 1
        for window, step in ((kernel, stride), POOLS.get(layer, (1, 1))):
            n = -(-n // step) if config.padding == "same" else (n - window) // step + 1
    return n


def _shortest(config: Config, axis: int) -> int:
    return next(n for n in range(1, 10**6) if _final_length(config, axis, n) >= 1)


class AlexNet(nnx.Module):
    """AlexNet, as the module describes it."""

    def __init__(self, config: Config, inputs: Inputs, outputs: Shape, rngs: nnx.Rngs, dtype: Any) -> None:
        self.inputs, self.outputs, self.pad = inputs, outputs, config.padding == "same"
        axes = range(len(inputs.spatial))
        first = tuple(_along(config.kernel, axis) for axis in axes)
        kernels = [first, *((k,) * len(axes) for k in LATER_KERNELS)]
        strides: Any = [tuple(_along(config.stride, axis) for axis in axes), *(1,) * 4]
        options: Any = {"kernel_init": nnx.initializers.glorot_normal(), "rngs": rngs, "dtype": dtype}
        channels = zip(pairwise((inputs.images, *config.filters)), kernels, strides, strict=True)
        self.convolutions = nnx.List(
            [Conv(a, b, k, s, padding=config.padding.upper(), **options) for (a, b), k, s in channels]
        )
        if self.pad:
            self.convolutions[1].conv_general_dilated = convolve_wide
        self.norms = nnx.Dict({str(k): BatchNorm(config.filters[k], dtype=dtype) for k in (0, 3)})
        numbers = prod(_final_lengths(config, inputs.spatial)) * config.filters[-1] + inputs.scalars
        self.dense = nnx.List([nnx.Linear(a, b, **options) for a, b in pairwise((numbers, *config.hidden))])
        self.dense_norms = nnx.Dict({str(k): BatchNorm(config.hidden[k], dtype=dtype) for k in (1, 2)})
        self.dropout = nnx.Dropout(config.dropout)
        start = nnx.initializers.glorot_uniform()
        self.head = nnx.Linear(config.hidden[-1], prod(outputs), kernel_init=start, rngs=rngs)  # float32

    def __call__(self, x: Array, key: Array | None = None, weight: Array | None = None) -> Array:
        """Return (sample, *outputs) for (sample, *inputs.shape).

        Args:
            x: network input.
            key: key for dropout; None in inference.
            weight: (sample,), 0 for samples that only fill up the batch.
        """
        mode: Any = {"learning": key is not None, "weight": weight}
        y, scalars = self.inputs.split_scalars(x)
        for layer, convolve in enumerate(self.convolutions):
            y = jax.nn.relu(convolve(y))
            y = max_pool(y, *POOLS[layer], pad=self.pad) if layer in POOLS else y
            y = self.norms[str(layer)](y, **mode) if str(layer) in self.norms else y
        y = jnp.concatenate([y.reshape(len(y), -1), scalars], axis=-1)
        for layer, dense in enumerate(self.dense):
            y = jax.nn.relu(dense(y))
            if layer != 1 and key is not None:
                y = self.dropout(y, deterministic=False, rngs=jax.random.fold_in(key, layer))
            y = self.dense_norms[str(layer)](y, **mode) if layer else y
        return self.head(y).reshape(len(y), *self.outputs)
