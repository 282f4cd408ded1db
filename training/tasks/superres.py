"""Learning fine images from coarse ones."""

from training.contract import Learn
from training.enlarged import enlarged
from training.log_counts import log_counts

ENLARGED = enlarged("low", ("y", "x"), "coarse image, interpolated to the fine grid")

LEARN = Learn(
    inputs={"enlarged": (ENLARGED,), "low": ("low",)},
    grids={"low": ("ylow", "xlow")},
    derived_scalars={"log_photons": log_counts("photons", "logarithm of the quanta of the value 1; not counted: 8")},
    scalars=("point_spread",),
    symmetries=("flip_y", "flip_x", "transpose"),
    crop=64,
    recipes={
        "default": {"model": {"name": "unet"}, "scalars": ("point_spread",)},
        "coarse": {"model": {"name": "edsr"}, "input": "low", "scalars": ("point_spread",)},  # works on coarse pixels
    },
)
