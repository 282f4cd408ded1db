"""Learning an image from its projections."""

import jax.numpy as jnp

from training.contract import Array, Arrays, Derived, Learn, Operator, Sizes, Symmetry

SHAPE = ("y", "x", "detector")


def _rays(angle: Array, lengths: tuple[int, ...]) -> Array:
    """Return weights (sample, angle, detector, y, x) of the pixels in each value of the sinogram."""
    y, x, t = (jnp.arange(n) - (n - 1) / 2 for n in lengths)
    turn = angle[..., None, None]
    place = jnp.cos(turn) * x + jnp.sin(turn) * y[:, None]
    return jnp.maximum(0, 1 - abs(place[:, :, None] - t[:, None, None]))


def forward(image: Array, fields: Arrays, sizes: Sizes) -> Array:
    """Project images (sample, y, x) to sinograms (sample, angle, detector)."""
    return jnp.einsum("sadyx,syx->sad", _rays(fields["angle"], tuple(sizes[dim] for dim in SHAPE)), image)


def adjoint(sinogram: Array, fields: Arrays, sizes: Sizes) -> Array:
    """Project sinograms (sample, angle, detector) back to images (sample, y, x)."""
    return jnp.einsum("sadyx,sad->syx", _rays(fields["angle"], tuple(sizes[dim] for dim in SHAPE)), sinogram)


def _projected(fields: Arrays, sizes: Sizes) -> Array:
    return adjoint(fields["sinogram"], fields, sizes)[..., None] / fields["angle"].shape[1]


def _mirrored(fields: dict[str, Array]) -> dict[str, Array]:
    """Reverse x: the same projections then belong to the angles pi - angle."""
    return {"image": jnp.flip(fields["image"], -1), "angle": jnp.pi - fields["angle"]}


BACK = Derived(("sinogram", "angle"), _projected, "", "back projection", sized=True, by="field")

LEARN = Learn(
    inputs={"sinogram": ("sinogram",), "back": (BACK,)},
    grids={"sinogram": ("angle_index", "detector")},
    operator=Operator(("sinogram", "angle"), "sinogram", forward, adjoint, "sums along rays"),
    symmetries=(Symmetry("mirror", ("image", "angle"), _mirrored),),
    recipes={"default": {"model": {"name": "unrolled"}}},
)
