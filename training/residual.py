"""Residual blocks without normalisation, which keep the scale of an image: x -> x + conv(relu(conv(x))), 3x3 each.

The second kernel starts at a tenth of the usual deviation, so that many blocks in a row start near the identity. Lim et
al., arXiv:1707.02921.
"""

from typing import Any

import jax
from flax import nnx

from training.contract import Array
from training.layers import Conv

SMALL = nnx.initializers.variance_scaling(0.01, "fan_in", "truncated_normal")


class Residual(nnx.Module):
    """One block, as the module describes it."""

    def __init__(self, rank: int, width: int, rngs: nnx.Rngs, dtype: Any) -> None:
        kernel, options = (3,) * rank, {"rngs": rngs, "dtype": dtype}
        self.first = Conv(width, width, kernel, **options)
        self.second = Conv(width, width, kernel, kernel_init=SMALL, **options)

    def __call__(self, x: Array) -> Array:
        """Return an array of the same shape."""
        y: Array = x + self.second(jax.nn.relu(self.first(x)))
        return y


def chain(rank: int, width: int, count: int, rngs: nnx.Rngs, dtype: Any) -> nnx.Sequential:
    """Return blocks in a row.

    Args:
        rank: number of spatial axes.
        width: number of channels.
        count: number of blocks; 0: the identity.
        rngs: random numbers for the initialisation.
        dtype: dtype of the computation.
    """
    return nnx.Sequential(*(Residual(rank, width, rngs, dtype) for _ in range(count)))
