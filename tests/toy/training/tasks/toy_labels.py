"""Learning a mask from an image."""

from training.contract import Learn

LEARN = Learn(
    inputs={"image": ("image",)},
    symmetries=("flip_y", "flip_x"),
    recipes={"default": {"loss": {"relative": 0, "cross_entropy": 1, "dice": 1}, "best": "iou"}},
)
