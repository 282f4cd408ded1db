"""Learning images from sinograms."""

import jax.numpy as jnp

from training.contract import Array, Arrays, Derived, Learn, Operator, Sizes, Symmetry
from training.log_counts import log_counts
from training.operators.rays import RAYS, back_project, filtered_back_projection, project


def _fbp(fields: Arrays, sizes: Sizes) -> Array:
    return filtered_back_projection(fields["sinogram"], fields, sizes)[..., None]


def _log_views(fields: Arrays) -> Array:
    """Logarithm of the number of measured views. It does not depend on the number of views that are stored."""
    return jnp.log10(jnp.maximum(jnp.sum((fields["measured"] != 0).astype(jnp.float32), axis=1, keepdims=True), 1))


def _measured_range(fields: Arrays) -> Array:
    """Mean of (cos t, sin t) over the measured views, where t is the angle in a fan, and twice it in a parallel beam.

    Its direction is the middle of the measured range. Its length is 1 for a single view and 0 for a whole turn, so the
    two values tell where the range begins and ends. They are rounded to 0.0001, so that a whole turn has exactly 0.
    """
    turns = jnp.where(fields["source_distance"] > 0, 1, 2)[:, None] * fields["angle"]
    measured = (fields["measured"] != 0).astype(jnp.float32)
    share = measured / jnp.maximum(jnp.sum(measured, axis=1, keepdims=True), 1)
    return jnp.round(
        jnp.stack([jnp.sum(share * function(turns), axis=1) for function in (jnp.cos, jnp.sin)], axis=1), 4
    )


def _mirror(fields: dict[str, Array]) -> dict[str, Array]:
    """Reverse x. The ray (t, s) becomes (-t, -s) turned by half a turn: (pi - t, s); a fan opens the other way."""
    return {
        "angle": -fields["angle"],
        "sinogram": jnp.flip(fields["sinogram"], -1),
        "axis_offset": -fields["axis_offset"],
    }


FBP = Derived(("sinogram", *RAYS), _fbp, "image", "filtered back projection with the window of Hann", sized=True)

LEARN = Learn(
    version="2.0",  # since 2.0, the window of filtered back projection ends where the pixels of the image end
    inputs={"fbp": (FBP,), "sinogram": ("sinogram",)},
    grids={"sinogram": ("view", "detector")},
    derived_scalars={
        "log_photons": log_counts("photons", "logarithm of the counts without object"),
        "log_views": Derived(("measured",), _log_views, "", "logarithm of the number of measured views", by="field"),
        "measured_range": Derived(
            ("angle", "measured", "source_distance"), _measured_range, "", "middle and length of the measured range"
        ),
    },
    operator=Operator(
        ("sinogram", *RAYS),
        "sinogram",
        project,
        back_project,
        "integrals along rays",
        version="2.0",
        inverse=filtered_back_projection,
    ),
    symmetries=(Symmetry("mirror", ("sinogram", "angle", "axis_offset"), _mirror, lambda image: jnp.flip(image, -1)),),
    normalise={"sinogram": "field"},
    recipes={
        "default": {"model": {"name": "unet"}},
        # superres-tomo: Adam, mean squared error, patience 3; rates and sizes as published
        "published": {
            "model": {"name": "cnn_reconstruct"},
            "input": "sinogram",
            "augment": False,
            "epochs": 100,
            "batch_size": 32,
            "optimizer": {"learning_rate": 2.5e-5, "clip": None},
            "schedule": {"name": "constant", "warmup": 0},
            "loss": {"relative": 0, "mse": 1},
            "patience": 3,
        },
    },
)
