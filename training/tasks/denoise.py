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
    recipes={"default": {"model": {"name": "unet"}}},
)
