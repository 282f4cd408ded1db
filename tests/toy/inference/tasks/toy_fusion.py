"""A classical method for fine images."""

from collections.abc import Mapping

import numpy as np

from inference.contract import Arrays, Method, Report, Shown


def repeat(fields: Arrays) -> dict[str, np.ndarray]:
    """Repeat each pixel of `low` to the size of `guide`."""
    low, shape = fields["low"], fields["guide"].shape[1:]
    for axis, length in zip((2, 3), shape, strict=True):
        low = np.repeat(low, length // low.shape[axis], axis)
    return {"high": low}


METHODS: Mapping[str, Method] = {"repeat": Method(about="each pixel repeated", needs=("low", "guide"), solve=repeat)}

REPORT = Report(inputs=(Shown("guide"),))
