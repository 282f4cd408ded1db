"""The fixed pattern of a detector: pixels that differ in gain, and pixels that do not measure.

The pattern is the same in all exposures of a sample. Of a line detector, a pixel is a column of the measurement.
"""

from dataclasses import dataclass
from typing import Annotated, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from generators.random_streams import Streams
from schemas.runtime.ranges import within
from schemas.runtime.settings import Settings, setting


class FixedPattern(Settings):
    """Settings of the fixed pattern. With the defaults, all pixels are equal and measure."""

    variation: Annotated[float, within(0, 0.5)] = Field(
        0.0, **setting("standard deviation of the logarithm of a pixel's gain, from pixel to pixel")
    )
    dead: Annotated[float, within(0, 0.5)] = Field(0.0, **setting("share of pixels that read the offset only"))
    hot: Annotated[float, within(0, 0.5)] = Field(0.0, **setting("share of pixels that read the saturation"))
    per: Literal["sample", "dataset"] = Field(
        "sample", **setting("whether each sample has its own pattern, or all samples have the same one")
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.dead + self.hot > 0.5:
            raise ValueError(f"dead + hot = {self.dead + self.hot:g}: at least half of the pixels must measure")
        return self

    def streams(self, rng: Streams) -> Streams:
        """Return the streams of the sample, or those that all samples of a dataset share.

        Args:
            rng: the streams of the sample
        """
        return rng if self.per == "sample" else rng.group(0, "train")

    def draw(self, shape: tuple[int, ...], rng: Streams) -> "Pixels":
        """Draw the gain of each pixel (stream `gain_map`) and the blind pixels (stream `blind_pixels`).

        Args:
            shape: pixels of the detector: (detector,) of a line, or (y, x)
            rng: the streams of the sample
        """
        streams = self.streams(rng)
        gain = np.exp(self.variation * streams.gain_map.standard_normal(shape)) if self.variation else np.ones(shape)
        chance = streams.blind_pixels.random(shape) if self.dead or self.hot else np.full(shape, 0.5)
        return Pixels(gain, chance < self.dead, chance >= 1 - self.hot)


@dataclass(frozen=True)
class Pixels:
    """The pixels of a detector, as arrays (detector,) or (y, x)."""

    gain: NDArray[np.float64]  # relative to the mean
    dead: NDArray[np.bool_]
    hot: NDArray[np.bool_]

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of pixels along each axis of the detector."""
        return self.gain.shape

    @property
    def blind(self) -> NDArray[np.bool_]:
        """True for pixels that do not measure."""
        return self.dead | self.hot
