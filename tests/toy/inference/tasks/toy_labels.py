"""Classical methods for the mask: a threshold that is given, and levels that are learned from training samples."""

from collections.abc import Mapping

import numpy as np

from inference.contract import Arrays, Method, Report, Setting, Shown


def threshold(fields: Arrays, *, level: float) -> dict[str, np.ndarray]:
    """Return a disc where the image is above a level [1]."""
    return {"mask": (fields["image"] > level).astype(np.uint8)}


def learn_levels(fields: Arrays, *, power: float) -> np.ndarray:
    """Return the mean over the training samples of image^power in the void and in the disc, (2,)."""
    return np.array([(np.maximum(fields["image"], 0) ** power)[fields["mask"] == k].mean() for k in (0, 1)])


def nearest_level(fields: Arrays, *, power: float, fitted: np.ndarray) -> dict[str, np.ndarray]:
    """Return the class whose level is nearest to image^power."""
    away = abs((np.maximum(fields["image"], 0) ** power)[..., None] - fitted)
    return {"mask": away.argmin(axis=-1).astype(np.uint8)}


METHODS: Mapping[str, Method] = {
    "threshold": Method(
        about="pixels above a threshold",
        needs=("image",),
        solve=threshold,
        settings={"level": Setting("threshold of the image", "1", (0.1, 0.3, 0.5, 0.7))},
    ),
    "levels": Method(
        about="class with the nearest mean of training samples",
        needs=("image",),
        solve=nearest_level,
        fit=learn_levels,
        settings={"power": Setting("exponent of the image", "1", (0.25, 1.0))},
    ),
}

REPORT = Report(inputs=(Shown("image"),), parameters=("radius",))
