"""The blind pixels of a detector of diffraction patterns: behind its beamstop, and between its modules."""

from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from schemas.runtime.ranges import within
from schemas.runtime.settings import Settings, setting


class Gaps(Settings):
    """Insensitive bands between square modules."""

    module: int = Field(24, ge=1, **setting("side of a module", "pixel"))
    width: int = Field(2, ge=1, **setting("width of the gap between two modules", "pixel"))


class Detector(Settings):
    """A beamstop, and gaps between modules. Lengths are in pixels of the finest pattern."""

    beamstop: Annotated[float, within(0)] = Field(
        0.0, **setting("radius of the beamstop about q = 0; 0: none", "pixel")
    )
    gaps: Gaps | None = Field(None, **setting("gaps between modules; none: the detector has no gaps"))
    beside: float = Field(
        0.0, ge=-0.5, le=0.5, **setting("distance of the middle of a module from q = 0, in module sides")
    )

    def mask(self, shape: tuple[int, int]) -> NDArray[np.uint8]:
        """Return a mask (qy, qx) that is 1 where a pattern is measured and 0 elsewhere.

        Args:
            shape: pixels (qy, qx) of the pattern; q = 0 lies at pixel N//2
        """
        y, x = (np.arange(n) - n // 2 for n in shape)
        mask = np.hypot(y[:, None], x) >= self.beamstop if self.beamstop else np.ones(shape, bool)
        return (mask & self._is_in_module(y)[:, None] & self._is_in_module(x)).astype(np.uint8)

    def _is_in_module(self, position: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return True for pixels at these distances from q = 0 that lie in a module."""
        if self.gaps is None:
            return np.ones(len(position), bool)
        module, width = self.gaps.module, self.gaps.width
        first = module // 2 - round(self.beside * module)
        inside: NDArray[np.bool_] = (position + first) % (module + width) < module
        return inside
