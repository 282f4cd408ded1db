"""Clean views from noisy ones."""

from training.contract import Learn

LEARN = Learn(inputs={"view": ("noisy",)}, scalars=("angle", "background"), symmetries=("flip_y",))
