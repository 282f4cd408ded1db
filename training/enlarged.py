"""Coarse images on the grid of the fine ones, as an input of networks."""

import jax

from training.contract import Array, Arrays, Derived, Sizes


def enlarged(name: str, like: tuple[str, ...], about: str) -> Derived:
    """Return images interpolated by cubic convolution (Keys 1981) to a finer grid with the same outer edges.

    The images may be cut: only within two coarse pixels of an edge do they depend on what lies beyond it.

    Args:
        name: field of the coarse images, whose last two dimensions are spatial; a third one becomes the channels.
        like: the dimensions of the fine grid.
        about: meaning, for messages.
    """

    def compute(fields: Arrays, sizes: Sizes) -> Array:
        images = fields[name]
        shape = (*images.shape[:-2], *(sizes[dim] for dim in like))
        made = jax.image.resize(images, shape, "cubic", antialias=False)
        return made[..., None] if made.ndim == 3 else jax.numpy.moveaxis(made, 1, -1)

    return Derived((name,), compute, name, about, local=True, sized=True)
