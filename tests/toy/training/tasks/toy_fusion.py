"""Learning fine images from coarse ones."""

import jax.numpy as jnp

from training.contract import Array, Arrays, Derived, Learn, Sizes


def _enlarged(fields: Arrays, sizes: Sizes) -> Array:
    """Return `low` with each pixel repeated, (sample, y, x, channel)."""
    values = jnp.moveaxis(fields["low"], 1, -1)
    for axis, (dim, coarse) in enumerate((("y", "ylow"), ("x", "xlow")), 1):
        values = jnp.repeat(values, sizes[dim] // sizes[coarse], axis)
    return values


ENLARGED = Derived(("low",), _enlarged, "high", "coarse images, each pixel repeated", local=True, sized=True)

LEARN = Learn(
    inputs={"both": (ENLARGED, "guide"), "low": ("low",)},
    grids={"low": ("ylow", "xlow")},
    symmetries=("flip_y", "flip_x"),
    normalise={"low": "channel", "high": "channel"},
)
