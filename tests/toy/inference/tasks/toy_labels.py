"""A classical method for the mask: a threshold."""

from collections.abc import Mapping

import numpy as np

from inference.contract import Arrays, Method, Report, Setting, Shown


def threshold(fields: Arrays, *, level: float) -> dict[str, np.ndarray]:
    """Return a disc where the image is above a level [1]."""
    return {"mask": (fields["image"] > level).astype(np.uint8)}


METHODS: Mapping[str, Method] = {
    "threshold": Method(
        about="pixels above a threshold",
        needs=("image",),
        solve=threshold,
        settings={"level": Setting("threshold of the image", "1", (0.1, 0.3, 0.5, 0.7))},
    )
}

REPORT = Report(inputs=(Shown("image"),), parameters=("radius",))
