"""Iterations of a classical method with learned corrections. The physics of the task is inside the network.

    g = C A* R (f - A u),   R = 1 / A 1,  C = 1 / A* 1         a step of SIRT (Gregor and Benson 2008)
    u <- u + s_k g + N_k(u, g)                                  s_k a number, N_k three 3x3 convolutions

A is the forward operator of `LEARN.operator`, A* its adjoint, and f the measurement in its own units; u starts at 0.
N_k is 0 and s_k is 1 before learning, so the network starts as SIRT. Where A 1 or A* 1 is 0, R and C are set to 0.
Therefore A must have no negative weights, which holds for sums along rays. There must be one target of one channel.
Learned iterations of this kind: Adler and Oktem, Inverse Problems 33 (2017) 124007.
"""

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from pydantic import Field

from schemas.runtime.settings import Settings, setting
from training.contract import Array, Arrays, Inputs, Shape, SizedOperator
from training.layers import Conv

FIT = "operator"
VERSION = "1.0"


class Config(Settings):
    """Settings of the unrolled iterations."""

    iterations: int = Field(6, ge=1, le=64, **setting("iterations of the method"))
    width: int = Field(16, ge=1, le=4096, **setting("channels of the corrections", "channel"))


def build(config: Config, inputs: Inputs, outputs: Shape, rngs: nnx.Rngs, dtype: Any) -> nnx.Module:
    """Return the network. It takes any sizes.

    Raises:
        ValueError: the output has more than one channel.
    """
    if outputs[-1] != 1:
        raise ValueError(f"finds one image, not {outputs[-1]}; take another model, or a target of one channel")
    return Unrolled(config, inputs, len(outputs) - 1, rngs, dtype)


class Correction(nnx.Module):
    """The learned correction N_k."""

    def __init__(self, rank: int, width: int, rngs: nnx.Rngs, dtype: Any) -> None:
        kernel, options = (3,) * rank, {"rngs": rngs, "dtype": dtype}
        self.first = Conv(2, width, kernel, **options)
        self.second = Conv(width, width, kernel, **options)
        self.last = Conv(width, 1, kernel, kernel_init=nnx.initializers.zeros, rngs=rngs, dtype=jnp.float32)

    def __call__(self, u: Array, g: Array) -> Array:
        """Return the correction of u, (sample, *spatial), for u and g of this shape."""
        y = jax.nn.relu(self.first(jnp.stack([u, g], axis=-1)))
        found: Array = self.last(jax.nn.relu(self.second(y)))[..., 0]
        return found


class Unrolled(nnx.Module):
    """The unrolled iterations, as the module describes them."""

    def __init__(self, config: Config, inputs: Inputs, rank: int, rngs: nnx.Rngs, dtype: Any) -> None:
        assert inputs.operator is not None
        self.operator: SizedOperator = inputs.operator
        self.mean, self.std = inputs.moments
        self.steps = nnx.Param(jnp.ones(config.iterations))
        self.corrections = nnx.List([Correction(rank, config.width, rngs, dtype) for _ in range(config.iterations)])

    def __call__(self, x: Array, key: Array | None, fields: Arrays) -> Array:
        """Return the target, (sample, *spatial of the target, 1), normalised.

        Args:
            x: network input, (sample, *spatial of the input, channel). It is not used.
            key: not used.
            fields: the measurement and the other fields that the operator reads, in their own units.
        """
        measured = fields[self.operator.measured].astype(jnp.float32)
        columns = self.operator.adjoint(jnp.ones_like(measured), fields)
        rows = self.operator.forward(jnp.ones_like(columns), fields)
        u = jnp.zeros_like(columns)
        for step, correct in zip(self.steps[...], self.corrections, strict=True):
            residual = _divide_where_positive(measured - self.operator.forward(u, fields), rows)
            g = _divide_where_positive(self.operator.adjoint(residual, fields), columns)
            u = u + step * g + self.std * correct(u / self.std, g / self.std)
        return ((u - self.mean) / self.std)[..., None]


def _divide_where_positive(values: Array, sums: Array) -> Array:
    return jnp.where(sums > 0, values / jnp.where(sums > 0, sums, 1), 0)
