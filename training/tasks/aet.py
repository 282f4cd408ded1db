"""Learning clean images from noisy ones with background. Each image of a series is a sample of its own."""

import jax.numpy as jnp

from training.contract import Array, Arrays, Derived, Learn, Like


def _log_electrons(fields: Arrays) -> Array:
    """Logarithm of the electrons that the value 1 counts; images without noise (0) stand as 1e8 electrons."""
    electrons = fields["electrons"]
    return jnp.log10(jnp.where(electrons > 0, electrons, 1e8))[:, None]


LEARN = Learn(
    inputs={"image": ("noisy",)},
    derived_scalars={
        "log_electrons": Derived(
            ("electrons",),
            _log_electrons,
            "",
            "logarithm of the electrons that the value 1 counts; without noise, of 1e8",
            by="field",
        ),
    },
    scalars=("angle", "zone_angle"),
    symmetries=("flip_y", "flip_x", "transpose"),
    normalise={"clean": Like("noisy"), "background": Like("noisy")},
    crop=64,
    recipes={
        "default": {"model": {"name": "unet"}},
        # DnCNN for tilt series: Adam, batches of 128 patches, a tenth of the rate for the last epoch. 51 epochs of
        # 215,460 patches are 85,845 steps. Patches are cut anew here, and not scaled.
        "published": {
            "model": {"name": "dncnn"},
            "target": "clean",
            "crop": 40,
            "epochs": 51,
            "steps_per_epoch": 1683,
            "batch_size": 128,
            "optimizer": {"learning_rate": 1e-3, "clip": None},
            "schedule": {"name": "step", "warmup": 0, "factor": 0.1, "drops": [50 / 51]},
            "loss": {"relative": 0, "mse": 1},
        },
    },
)
