"""What a detector of diffraction patterns does not see: behind the beamstop, and between its modules."""

from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from schemas.runtime.ranges import within
from schemas.runtime.settings import Settings, setting


class Gaps(Settings):
    """Insensitive bands between square modules, the first module about the middle of the pattern."""

    module: int = Field(24, ge=1, **setting("side of a module", "pixel"))
    width: int = Field(2, ge=1, **setting("of the gap between two", "pixel"))


class Detector(Settings):
    """Pixels are those of the finest pattern."""

    beamstop: Annotated[float, within(0)] = Field(
        0.0, **setting("radius of the beamstop about q = 0; 0: none", "pixel")
    )
    gaps: Gaps | None = Field(None, **setting("between modules; none: the detector is one"))
    beside: float = Field(
        0.0, ge=-0.5, le=0.5, **setting("place of the gaps: the middle of a module from q = 0, modules")
    )

    def seen(self, shape: tuple[int, int]) -> NDArray[np.uint8]:
        """1 where a pattern (qy, qx) is measured, 0 where not."""
        y, x = (np.arange(n) - n // 2 for n in shape)
        seen = np.hypot(y[:, None], x) >= self.beamstop if self.beamstop else np.ones(shape, bool)
        return (seen & self._module(y)[:, None] & self._module(x)).astype(np.uint8)

    def _module(self, place: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Whether pixels at these distances from q = 0 lie in a module."""
        if self.gaps is None:
            return np.ones(len(place), bool)
        module, width = self.gaps.module, self.gaps.width
        first = module // 2 - round(self.beside * module)
        inside: NDArray[np.bool_] = (place + first) % (module + width) < module
        return inside
