"""AUTOMAP: dense layers learn the transform from the measurement to an image, and convolutions refine the image.

    x -> [dense 256, tanh] three times -> dense n^2, tanh -> image -> [conv 5x5, 64, relu] twice -> conv 7x7, relu
      -> dense n^2, linear

The defaults are the network of super_tomo_py, whose last convolution is a transposed one with stride 1: the same
function as a convolution with the kernel turned round. The network of the paper has one hidden layer as wide as the
image, no dense layer at the end, and a penalty on the moduli of the last 64 features:

    --set model.hidden=none model.output=convolution loss.activity=1e-4

The output of its last convolution is linear. The network is bound to the size of its images, and its memory grows as
n^4: `train` refuses images that are too large before it compiles anything.

Parameters for 64x64 pixels: 19,121,665; those of the paper's network 33,669,889. Zhu et al., Nature 555, 487 (2018).
"""

from math import prod
from typing import Any, Literal

import jax
import jax.numpy as jnp
from flax import nnx
from pydantic import Field

from schemas.runtime.settings import Settings, setting
from training.contract import Array, Inputs, Shape
from training.dense_to_image import (
    GLOROT,
    Convolutions,
    Count,
    DenseLayers,
    Units,
    conv,
    flatten,
    refuse_numbers,
    to_image,
)

FIT = "any"
VERSION = "1.0"
LOSSES = {"activity": ("weight of the mean modulus of the last features (AUTOMAP: 1e-4)", 0.0)}


class Config(Settings):
    """Settings of AUTOMAP."""

    hidden: tuple[Units, ...] | None = Field(
        (256, 256, 256),
        min_length=1,
        max_length=16,
        **setting("units per hidden layer; none: one layer with a unit for each pixel of the image"),
    )
    filters: tuple[Count, ...] = Field(
        (64, 64), min_length=1, max_length=8, **setting("channels of each 5x5 convolution", "channel")
    )
    output: Literal["dense", "convolution"] = Field(
        "dense", **setting("last layer; dense: a dense layer behind the 7x7 convolution; convolution: none")
    )


def build(config: Config, inputs: Inputs, outputs: Shape, rngs: nnx.Rngs, dtype: Any) -> nnx.Module:
    """Return the network, which is bound to these sizes.

    Raises:
        ValueError: the output is no image.
    """
    refuse_numbers(outputs)
    return Automap(config, inputs, outputs, rngs, dtype)


class Automap(nnx.Module):
    """AUTOMAP, as the module describes it."""

    def __init__(self, config: Config, inputs: Inputs, outputs: Shape, rngs: nnx.Rngs, dtype: Any) -> None:
        self.inputs, self.outputs = inputs, outputs
        rank, pixels, values = len(outputs) - 1, prod(outputs[:-1]), prod(outputs)
        hidden = (pixels,) if config.hidden is None else config.hidden
        self.dense = DenseLayers((inputs.numbers, *hidden, pixels), jnp.tanh, rngs, dtype)
        self.features = Convolutions(rank, (1, *config.filters), 5, rngs, dtype)
        ends = config.output == "convolution"
        self.image = conv(rank, config.filters[-1], outputs[-1], 7, rngs, jnp.float32 if ends else dtype)
        self.last = None if ends else nnx.Linear(values, values, kernel_init=GLOROT, rngs=rngs)  # float32

    def __call__(self, x: Array, key: Array | None = None) -> tuple[Array, dict[str, Array]]:
        """Return (sample, *outputs) for (sample, *inputs.shape), and the activity of the features (sample,)."""
        features = self.features(to_image(self.dense(flatten(self.inputs, x)), self.outputs[:-1]))
        activity = jnp.mean(abs(features.astype(jnp.float32)), axis=range(1, features.ndim))
        y = self.image(features)
        if self.last is not None:
            y = self.last(jax.nn.relu(y).reshape(len(y), -1)).reshape(len(y), *self.outputs)
        return y, {"activity": activity}
