"""A classical method for clean views."""

from collections.abc import Mapping

import numpy as np

from inference.contract import Arrays, Method, Report, Shown


def smooth(fields: Arrays) -> dict[str, np.ndarray]:
    """Subtract the background, then average three neighbours along x, for views (slice, y, x)."""
    views = fields["noisy"] - fields["background"][:, None, None]
    return {"clean": (np.roll(views, 1, -1) + views + np.roll(views, -1, -1)) / np.float32(3)}


METHODS: Mapping[str, Method] = {
    "smooth": Method(about="mean of three neighbours", needs=("noisy", "background"), solve=smooth, scope="slice")
}

REPORT = Report(inputs=(Shown("noisy"),), parameters=("background",))
