"""Learning clean views from noisy ones."""

from training.contract import Learn, Like

LEARN = Learn(
    inputs={"view": ("noisy",)},
    scalars=("electrons",),
    symmetries=("flip_y",),
    normalise={"noisy": "sample", "clean": Like("noisy"), "background": Like("noisy")},
)
