"""A classical method for the image."""

from collections.abc import Mapping

import numpy as np

from inference.contract import Arrays, Method, Report, Setting, Shown


def spread(fields: Arrays, *, size: float) -> dict[str, np.ndarray]:
    """Return a uniform image with the right sum.

    Args:
        fields: the sinogram and its angles.
        size: pixels along y; there is one more along x.
    """
    shape = (int(size), int(size) + 1)
    level = fields["sinogram"].sum((1, 2)) / fields["angle"].shape[1] / np.prod(shape)
    return {"image": np.broadcast_to(level[:, None, None], (len(level), *shape)).astype(np.float32)}


METHODS: Mapping[str, Method] = {
    "even": Method(
        about="a uniform image with the right mean",
        needs=("sinogram", "angle"),
        solve=spread,
        settings={"size": Setting("pixels along y", "pixel", (12,), minimum=1, whole=True)},
    )
}

REPORT = Report(inputs=(Shown("sinogram"),))
