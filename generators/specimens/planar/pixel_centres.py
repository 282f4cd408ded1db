"""The frame of an object in the plane: lengths are in units of its width, whatever the grid.

The frame spans -1/2..1/2 along y and along x. Pixel i of n lies at (i - n // 2) / n, so the origin is pixel n // 2.
Grids of different sampling show the same object. With more rows than columns, pixels are lower than wide.
"""

import numpy as np
from numpy.typing import NDArray


def pixel_centres(n: int) -> NDArray[np.float64]:
    """Return the positions of the n pixel centres of a row or column [frame width].

    Args:
        n: number of pixels
    """
    return (np.arange(n) - n // 2) / n
