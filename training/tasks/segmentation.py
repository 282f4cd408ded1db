"""Learning the classes of pixels from images."""

from training.contract import Learn

LEARN = Learn(
    inputs={"image": ("image",)},
    symmetries=("flip_y", "flip_x", "transpose"),
    crop=64,
    recipes={
        "default": {"model": {"name": "unet"}, "loss": {"relative": 0, "cross_entropy": 1, "dice": 1}, "best": "iou"},
        # superres-tomo: Adam, weighted cross-entropy with beta 2, one patch of 64 x 64 pixels per step. Its patches are
        # cut from a grid, and here at random.
        "published": {
            "model": {"name": "unet_classic"},
            "crop": 64,
            "augment": False,
            "epochs": 6,
            "steps_per_epoch": 2000,
            "validation_steps": 100,
            "batch_size": 1,
            "optimizer": {"learning_rate": 1e-3, "clip": None},
            "schedule": {"name": "constant", "warmup": 0},
            "loss": {"relative": 0, "weighted_cross_entropy": 1, "classes": [1, 2, 2, 2]},
        },
    },
)
