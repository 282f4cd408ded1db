"""The dense network of phase-ret-dl: hidden layers over all pixels, linear output, identity initialisation.

    y = W2 tanh(W1 x + b1) + b2,   W1 = eye(inputs, hidden), W2 = eye(hidden, outputs), b1 = b2 = 0

It was published with 50,000 hidden units. A unit whose column of W1 and row of W2 are both zero (index >= max(inputs,
outputs)) has tanh(0) = 0 and never a gradient. Therefore `hidden=none`, with max(inputs, outputs) units, is exactly the
same network before and after any training by gradients (a test verifies this), as long as `scalar_initialisation` is 0.
The network is bound to the size of its images. Each scalar enters once, not once for every pixel.

Parameters for 64x64 pixels: 33.6 M (one image), 100.7 M (two), 201.3 M (three). arXiv:1709.09940.
"""

from math import prod
from typing import Any

from flax import nnx

from training.contract import Array, Inputs, Shape
from training.dense import Dense, apply_layers, make_layers

Config = Dense

FIT = "any"
VERSION = "1.0"


def build(config: Config, inputs: Inputs, outputs: Shape, rngs: nnx.Rngs, dtype: Any) -> nnx.Module:
    """Return the network, which is bound to these sizes."""
    return MLP(config, inputs, outputs, rngs, dtype)


class MLP(nnx.Module):
    """The dense network, as the module describes it."""

    def __init__(self, config: Config, inputs: Inputs, outputs: Shape, rngs: nnx.Rngs, dtype: Any) -> None:
        self.config, self.inputs, self.outputs = config, inputs, outputs
        numbers = prod(inputs.spatial) * inputs.images
        self.layers = make_layers(config, numbers, inputs.scalars, prod(outputs), rngs, dtype)

    def __call__(self, x: Array, key: Array | None = None) -> Array:
        """Return (sample, *outputs) for (sample, *inputs.shape)."""
        images, scalars = self.inputs.split_scalars(x)
        return apply_layers(self.layers, self.config, images, scalars, self.outputs)
