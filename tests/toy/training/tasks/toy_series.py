"""Learning clean views from noisy ones."""

from training.contract import Learn, Like

LEARN = Learn(
    inputs={"view": ("noisy",)},
    scalars=("angle", "background"),
    symmetries=("flip_y",),
    normalise={"noisy": "sample", "clean": Like("noisy")},
)
