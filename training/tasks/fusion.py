"""Learning fine images of many channels from coarse ones and a fine guide."""

from training.contract import Learn
from training.enlarged import enlarged

ENLARGED = enlarged("low", ("y", "x"), "coarse images, interpolated to the fine grid")

LEARN = Learn(
    inputs={"both": (ENLARGED, "guide"), "enlarged": (ENLARGED,), "low": ("low",)},
    grids={"low": ("ylow", "xlow")},
    scalars=("point_spread",),
    symmetries=("flip_y", "flip_x", "transpose"),
    crop=64,
    recipes={
        "default": {"model": {"name": "unet"}, "scalars": ("point_spread",)},
        "encoders": {"model": {"name": "fusion"}, "input": "both"},  # one for the coarse channels, one for the guide
    },
)
