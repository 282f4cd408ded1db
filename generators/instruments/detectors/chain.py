"""The detector chain, which turns the expected number of quanta in each pixel into what the detector puts out.

    counting -> point spread -> gain -> fixed pattern -> offset -> read noise -> saturation -> quantisation
    -> dead and hot pixels

Quanta are electrons, photons or neutrons. The formulas are those of `physics.noise`. A setting at its default changes
no bit and draws no random numbers. The pixels of a detector form an image (y, x), or a line (detector,) that is read
for each row of a measurement, such as each view of a sinogram.
"""

from math import inf
from typing import Annotated, Any, Self

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from pydantic import Field, model_validator

from generators.instruments.detectors.fixed_pattern import FixedPattern, Pixels
from physics import noise
from schemas.runtime.ranges import within
from schemas.runtime.settings import Settings, setting

type Floats = NDArray[np.floating]

IN_COUNTS = ("offset", "read_noise", "saturation", "step")  # settings in output units


class DetectorChain(Settings):
    """Settings of the chain. The unit "count" is the unit of the output."""

    blur: Annotated[float, within(0, 100)] = Field(
        0.0, **setting("standard deviation of the point spread; 0: none", "pixel")
    )
    tail: Annotated[float, within(0, 1)] = Field(
        0.0, **setting("share of the quanta that is spread by an exponential tail")
    )
    tail_length: Annotated[float, within(0, 1000, above=True)] = Field(
        1.0, **setting("1/e radius of the tail", "pixel")
    )
    correlation: Annotated[float, within(0, noise.MAX_CORRELATION)] = Field(
        0.0,
        **setting("correlation of the noise of neighbouring pixels along an axis, by quanta that both of them see"),
    )
    gain: Annotated[float, within(0, above=True)] = Field(1.0, **setting("output per quantum", "count"))
    pattern: FixedPattern = Field(FixedPattern(), **setting("differences between the pixels"))
    offset: Annotated[float, within()] = Field(0.0, **setting("output without quanta", "count"))
    read_noise: Annotated[float, within(0)] = Field(
        0.0, **setting("standard deviation of the electronic noise", "count")
    )
    saturation: Annotated[float, within(0, above=True)] | None = Field(
        None, **setting("largest output; none: no limit", "count")
    )
    step: Annotated[float, within(0)] = Field(
        0.0, **setting("step of the analogue-to-digital converter; 1: whole counts; 0: not rounded", "count")
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.pattern.hot and self.saturation is None:
            raise ValueError("pattern.hot: hot pixels read the saturation; give saturation, too")
        return self

    @property
    def is_neutral(self) -> bool:
        """True if the chain puts out the quanta as they are, or changes them by gains only."""
        return self.model_copy(update={"gain": 1.0, "pattern": FixedPattern()}) == DetectorChain()

    def expect(self, quanta: Floats, pixels: Pixels) -> Floats:
        """Return the output without noise and without rounding: the mean of infinitely many exposures.

        Args:
            quanta: expected quanta (..., y, x), or (..., detector) of a line
            pixels: the pixels, of `FixedPattern.draw`
        """
        return self._read(quanta, pixels, np.random.default_rng(0), electrons=inf)

    def record(self, quanta: Floats, pixels: Pixels, counting: Generator, readout: Generator) -> Floats:
        """Return the output of one exposure.

        Args:
            quanta: expected quanta >= 0 (..., y, x), or (..., row, detector) of a line that is read for each row
            pixels: the pixels, of `FixedPattern.draw`
            counting: random numbers of the counting
            readout: random numbers of the read noise

        Returns:
            the output, of the shape and dtype of `quanta`
        """
        return self._read(
            quanta, pixels, counting, electrons=1.0, read_noise=self.read_noise, step=self.step, readout=readout
        )

    def _read(self, quanta: Floats, pixels: Pixels, counting: Generator, **noises: Any) -> Floats:
        saturation = inf if self.saturation is None else self.saturation
        measured: Floats = noise.detect(
            quanta,
            counting,
            mtf=self.modulation_transfer(pixels.shape),
            gain=self.gain * pixels.gain,
            offset=self.offset,
            saturation=saturation,
            **noises,
        )
        for blind, value in ((pixels.dead, self.offset), (pixels.hot, saturation)):
            measured[..., blind] = value
        return measured

    def digitise(self, counts: Floats) -> Floats:
        """Return an output that is limited by the saturation and rounded to steps.

        Args:
            counts: output without these limits
        """
        limited = counts if self.saturation is None else np.minimum(counts, self.saturation)
        return noise.quantise(limited, self.step)  # type: ignore[no-any-return]

    def modulation_transfer(self, shape: tuple[int, ...]) -> Floats:
        """Return the modulation transfer function of the point spread, for pixels that are mirrored at the ends.

        Args:
            shape: pixels of the detector: (detector,) of a line, or (y, x)

        Returns:
            (1, 2 detector), or (2 y, 2 x), as for `physics.noise.modulate`
        """
        spread = {name: getattr(self, name) for name in ("blur", "tail", "tail_length", "correlation")}
        transfer: Floats = noise.modulation_transfer((1, *(2 * n for n in shape)), **spread)
        return transfer
