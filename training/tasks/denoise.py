"""Learning clean images from noisy ones."""

from training.contract import Learn, Like
from training.log_counts import log_counts

LEARN = Learn(
    inputs={"image": ("noisy",)},
    derived_scalars={"log_photons": log_counts("photons", "logarithm of the quanta of the value 1; not counted: 8")},
    scalars=("camera_deviation",),
    symmetries=("flip_y", "flip_x", "transpose"),
    normalise={"clean": Like("noisy")},
    crop=64,
    recipes={
        "default": {"model": {"name": "unet"}},
        # superres-tomo: a variational autoencoder of images of 64 x 64 pixels from 0 to 1, one image per step. Its
        # evidence lower bound needs no further weights.
        "published": {
            "model": {"name": "vae", "sigmoid": True},
            "normalisation": "none",
            "augment": False,
            "epochs": 500,
            "evaluate_every": 5,
            "batch_size": 1,
            "optimizer": {"learning_rate": 1e-4, "clip": None},
            "schedule": {"name": "constant", "warmup": 0},
            "loss": {"relative": 0, "cross_entropy": 1},
        },
    },
)
