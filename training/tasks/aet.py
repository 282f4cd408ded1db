"""Learning clean images from noisy ones with background. Each image of a series is a sample of its own."""

from training.contract import Learn, Like
from training.log_counts import log_counts

LEARN = Learn(
    inputs={"image": ("noisy",)},
    derived_scalars={
        "log_electrons": log_counts(
            "electrons", "logarithm of the electrons that the value 1 counts; without noise, of 1e8"
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
