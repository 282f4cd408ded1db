"""The dense network of super_tomo_py: dense layers find an image, and convolutions refine it.

    x -> [dense 10 n, relu] four times -> dense n^2, relu -> image -> [conv 3x3, 64, relu] three times -> conv 3x3

n is the number of pixels along the longest side of the image. The output is linear. The network is bound to the size of
its images.

Parameters for 64x64 pixels: 6,553,409. github.com/keeeto/super_tomo_py.
"""

from math import prod
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from pydantic import Field

from schemas.runtime.settings import Settings, setting
from training.contract import Array, Inputs, Shape
from training.dense_to_image import Convolutions, Count, DenseLayers, Units, conv, flatten, refuse_numbers, to_image

FIT = "any"
VERSION = "1.0"


class Config(Settings):
    """Settings of the network."""

    hidden: tuple[Units, ...] | None = Field(
        None,
        min_length=1,
        max_length=16,
        **setting("units per hidden layer; none: four layers of 10 times the longest side of the image"),
    )
    filters: tuple[Count, ...] = Field(
        (64, 64, 64), min_length=1, max_length=8, **setting("channels of each convolution", "channel")
    )


def build(config: Config, inputs: Inputs, outputs: Shape, rngs: nnx.Rngs, dtype: Any) -> nnx.Module:
    """Return the network, which is bound to these sizes.

    Raises:
        ValueError: the output is no image.
    """
    refuse_numbers(outputs)
    return DenseReconstruct(config, inputs, outputs, rngs, dtype)


class DenseReconstruct(nnx.Module):
    """The network, as the module describes it."""

    def __init__(self, config: Config, inputs: Inputs, outputs: Shape, rngs: nnx.Rngs, dtype: Any) -> None:
        self.inputs, self.spatial = inputs, outputs[:-1]
        hidden = config.hidden or (10 * max(self.spatial),) * 4
        self.dense = DenseLayers((inputs.numbers, *hidden, prod(self.spatial)), jax.nn.relu, rngs, dtype)
        self.features = Convolutions(len(self.spatial), (1, *config.filters), 3, rngs, dtype)
        self.image = conv(len(self.spatial), config.filters[-1], outputs[-1], 3, rngs, jnp.float32)

    def __call__(self, x: Array, key: Array | None = None) -> Array:
        """Return (sample, *outputs) for (sample, *inputs.shape)."""
        found: Array = self.image(self.features(to_image(self.dense(flatten(self.inputs, x)), self.spatial)))
        return found
