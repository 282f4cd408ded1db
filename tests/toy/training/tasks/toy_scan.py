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


def inverse(sinogram: Array, fields: Arrays, sizes: Sizes) -> Array:
    """Reconstruct images by filtered back projection: the ramp filter of Ramachandran and Lakshminarayanan."""
    steps = jnp.arange(sizes["detector"]) - jnp.arange(sizes["detector"])[:, None]
    ramp = jnp.where(steps == 0, 0.25, jnp.where(steps % 2 == 0, 0, -1 / (jnp.pi * jnp.where(steps, steps, 1)) ** 2))
    filtered = jnp.einsum("sad,de->sae", sinogram, ramp)
    return adjoint(filtered, fields, sizes) * jnp.pi / fields["angle"].shape[1]


def _projected(fields: Arrays, sizes: Sizes) -> Array:
    return adjoint(fields["sinogram"], fields, sizes)[..., None] / fields["angle"].shape[1]


def _mirrored(fields: dict[str, Array]) -> dict[str, Array]:
    """Reverse x: the same projections then belong to the angles pi - angle."""
    return {"angle": jnp.pi - fields["angle"]}


BACK = Derived(("sinogram", "angle"), _projected, "", "back projection", sized=True, by="field")

SPAN = Derived(
    ("angle",),
    lambda f: jnp.log(jnp.ptp(f["angle"], axis=1))[:, None],
    "",
    "logarithm of the range of angles",
    by="field",
)

LEARN = Learn(
    inputs={"sinogram": ("sinogram",), "back": (BACK,)},
    grids={"sinogram": ("angle_index", "detector")},
    derived_scalars={"span": SPAN},
    operator=Operator(("sinogram", "angle"), "sinogram", forward, adjoint, "sums along rays", inverse=inverse),
    symmetries=(Symmetry("mirror", ("angle",), _mirrored, lambda image: jnp.flip(image, -1)),),
    recipes={"default": {"model": {"name": "unrolled"}}},
)
