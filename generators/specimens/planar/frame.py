"""The frame of an object in the plane: lengths in units of its width, whatever the grid.

The frame spans -1/2..1/2 along y and along x. Pixel i of n lies at (i - n // 2) / n, so the origin is pixel n // 2, and
the same object on a finer grid is the same object; with more rows than columns, pixels are that much less high.
"""

import numpy as np
from numpy.typing import NDArray


def places(n: int) -> NDArray[np.float64]:
    """Where the n pixel centres of a row (or column) lie [frame width]."""
    return (np.arange(n) - n // 2) / n
