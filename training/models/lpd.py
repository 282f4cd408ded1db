"""Learned primal-dual: iterations of networks for the measurement (dual) and the image (primal), linked by physics.

    h <- h + D_k(h, A f_2, g),    f <- f + P_k(f, A* h_1),    k = 1 ... 10

f and h are images and measurements with 5 channels of memory each, from zero on; f_1, their first channel, is the
result, and f_2 the second one. D_k and P_k are three 3x3 convolutions, 32 channels wide, with a PReLU (one slope per
channel, 0 at first) behind all but the last. A is the operator of `LEARN.operator` divided by its norm, A* its adjoint,
and g the measurement divided by the norm. f is in standard deviations of the target. The norm of a sample, whose angles
may be its own, is taken as sqrt(max(A 1) max(A* 1)), which is never below the true one (Schur's test) if A has no
negative weights.

`start=inverse` begins with the task's approximate inverse of the measurement, such as filtered back projection, in f_1
and f_2; `adjoint=inverse` puts it in the place of A*. `primal=unet` makes P_k a U-Net with the settings `unet`, which
sees further than three convolutions do where angles are missing. P_k also receives the scalars, each as a constant
channel, and the images of the input if they lie on the grid of the target. There must be one target of one channel.

Parameters: 253,220, of which 1,280 are slopes. Adler and Oktem, IEEE Trans. Med. Imaging 37, 1322 (2018).
"""

from typing import Any, Literal

import jax.numpy as jnp
from flax import nnx
from pydantic import Field

from schemas.runtime.settings import Settings, setting
from training.contract import Array, Arrays, Inputs, Shape, SizedOperator
from training.dense_to_image import Count, conv
from training.models.unet import Config as UNetConfig
from training.models.unet import UNet

FIT = "operator"
VERSION = "1.0"


class Config(Settings):
    """Settings of learned primal-dual."""

    iterations: int = Field(10, ge=1, le=64, **setting("iterations, each with networks of its own"))
    memory: int = Field(5, ge=2, le=64, **setting("channels of the image and of the measurement", "channel"))
    width: Count = Field(32, **setting("channels of the convolutions", "channel"))
    adjoint: Literal["transpose", "inverse"] = Field(
        "transpose", **setting("way from measurement to image; inverse: the task's approximate inverse")
    )
    start: Literal["zero", "inverse"] = Field(
        "zero", **setting("first image; inverse: the task's approximate inverse of the measurement")
    )
    primal: Literal["cnn", "unet"] = Field("cnn", **setting("kind of the networks for the image"))
    unet: UNetConfig = Field(UNetConfig(), **setting("primal=unet: settings of the U-Nets"))


def build(config: Config, inputs: Inputs, outputs: Shape, rngs: nnx.Rngs, dtype: Any) -> nnx.Module:
    """Return the network. It takes any sizes.

    Raises:
        ValueError: the output has more than one channel, or the task states no approximate inverse.
    """
    if outputs[-1] != 1:
        raise ValueError(f"finds one image, not {outputs[-1]} channels; take another model, or one image with --target")
    assert inputs.operator is not None
    for name, other in (("adjoint", "transpose"), ("start", "zero")):
        if getattr(config, name) == "inverse" and inputs.operator.inverse is None:
            raise ValueError(f"model.{name} = inverse: LEARN.operator states no inverse; take model.{name}={other}")
    return LearnedPrimalDual(config, inputs, outputs[:-1], rngs, dtype)


class PReLU(nnx.Module):
    """max(x, 0) + a min(x, 0), where a is learned for each channel, from 0 on. He et al., arXiv:1502.01852."""

    def __init__(self, channels: int) -> None:
        self.slope = nnx.Param(jnp.zeros(channels))

    def __call__(self, x: Array) -> Array:
        """Return an array of the same shape."""
        return jnp.maximum(x, 0) + self.slope[...].astype(x.dtype) * jnp.minimum(x, 0)


class Step(nnx.Module):
    """Three convolutions, D_k or P_k."""

    def __init__(self, rank: int, inputs: int, width: int, outputs: int, rngs: nnx.Rngs, dtype: Any) -> None:
        self.first, self.first_slope = conv(rank, inputs, width, 3, rngs, dtype), PReLU(width)
        self.second, self.second_slope = conv(rank, width, width, 3, rngs, dtype), PReLU(width)
        self.last = conv(rank, width, outputs, 3, rngs, jnp.float32)

    def __call__(self, x: Array) -> Array:
        """Return (sample, *spatial, outputs) for (sample, *spatial, inputs)."""
        found: Array = self.last(self.second_slope(self.second(self.first_slope(self.first(x)))))
        return found


class LearnedPrimalDual(nnx.Module):
    """Learned primal-dual, as the module describes it."""

    def __init__(self, config: Config, inputs: Inputs, spatial: Shape, rngs: nnx.Rngs, dtype: Any) -> None:
        assert inputs.operator is not None
        self.operator: SizedOperator = inputs.operator
        self.inputs, self.config, self.memory = inputs, config, config.memory
        self.mean, self.std = inputs.moments
        memory, width = config.memory, config.width
        seen = memory + 1 + inputs.scalars + (inputs.images if inputs.on_targets else 0)

        def primal() -> Any:
            if config.primal == "cnn":
                return Step(len(spatial), seen, width, memory, rngs, dtype)
            return UNet(config.unet, Inputs(spatial, seen), (*spatial, memory), rngs, dtype)

        repeats, axes = range(config.iterations), self.operator.axes
        self.dual = nnx.List([Step(axes, memory + 2, width, memory, rngs, dtype) for _ in repeats])
        self.primal = nnx.List([primal() for _ in repeats])

    def __call__(self, x: Array, key: Array | None, fields: Arrays) -> Array:
        """Return the target, (sample, *spatial of the target, 1), normalised.

        Args:
            x: network input, (sample, *spatial of the input, channel).
            key: not used.
            fields: the measurement and the other fields that the operator reads, in their own units.
        """
        measured = fields[self.operator.measured].astype(jnp.float32)
        columns = self.operator.adjoint(jnp.ones_like(measured), fields)
        norm = self._norm(columns, fields)
        g = _divide(measured, self.std * norm)
        h, f = (jnp.zeros((*array.shape, self.memory)) for array in (measured, columns))
        if self.config.start == "inverse" and self.operator.inverse:
            f = f.at[..., :2].set((self.operator.inverse(measured, fields) / self.std)[..., None])
        told = self._told(x, columns.shape)
        for dual, primal in zip(self.dual, self.primal, strict=True):
            projected = _divide(self.operator.forward(f[..., 1], fields), norm)
            h = h + dual(jnp.concatenate([h, projected[..., None], g[..., None]], axis=-1))
            image = self._to_image(h[..., 0], norm, fields)
            f = f + primal(jnp.concatenate([f, image[..., None], told], axis=-1))
        return f[..., :1] - self.mean / self.std

    def _norm(self, columns: Array, fields: Arrays) -> Array:
        """Return the norm of each sample's operator, (sample,); 1 for an operator that is zero."""
        rows = self.operator.forward(jnp.ones_like(columns), fields)
        square = jnp.prod(jnp.stack([sums.reshape(len(sums), -1).max(1) for sums in (rows, columns)]), axis=0)
        return jnp.where(square > 0, jnp.sqrt(square), 1.0)

    def _to_image(self, h: Array, norm: Array, fields: Arrays) -> Array:
        """Return A* h, or the approximate inverse of A applied to h."""
        if self.config.adjoint == "inverse" and self.operator.inverse:
            return _divide(self.operator.inverse(h, fields), 1 / norm)
        return _divide(self.operator.adjoint(h, fields), norm)

    def _told(self, x: Array, shape: Shape) -> Array:
        """Return the further channels of the primal networks on the grid of the target."""
        if self.inputs.on_targets:
            return x
        scalars = x[(slice(None), *(0 for _ in self.inputs.spatial), slice(self.inputs.images, None))]
        return jnp.broadcast_to(scalars.reshape(len(x), *(1 for _ in shape[1:]), -1), (*shape, self.inputs.scalars))


def _divide(values: Array, divisor: Array) -> Array:
    """Return values (sample, ...) divided by a number for each sample."""
    return values / divisor.reshape(-1, *(1 for _ in values.shape[1:]))
