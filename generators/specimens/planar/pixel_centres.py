"""The frame of an object in the plane: a square of width 1, whatever the grid.

The centre of pixel i of n lies at (i - n // 2) / n, so the origin is the centre of pixel n // 2, and the first pixel
begins half a pixel before -1/2 (n even). Grids of different sampling show the same object. If rows and columns differ
in number, pixels are not square.
"""

import numpy as np
from numpy.typing import NDArray


def pixel_centres(n: int) -> NDArray[np.float64]:
    """Return the positions of the n pixel centres of a row or column [frame width].

    Args:
        n: number of pixels
    """
    return (np.arange(n) - n // 2) / n
