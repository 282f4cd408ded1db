"""An image as a detector records it: blur, counted quanta, white noise, and errors of pixels as rings or stripes.

    expected = blur( image ),   measured = detector( counts * expected ) / counts + white noise + rings + stripes

An error of a column of the detector is a stripe in a radiograph and a ring in a reconstructed section, about the middle
of the image. Each kind of noise has a stream of its own: `shot_noise`, `read_noise`, `white_noise`, `rings`, `stripes`,
and those of the fixed pattern. A setting at its default changes no bit.
"""

from dataclasses import dataclass, replace
from typing import Annotated, Any, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator
from scipy.ndimage import gaussian_filter

from generators.instruments.detectors.chain import IN_COUNTS, DetectorChain
from generators.random_streams import Streams
from generators.specimens.draws import stored_parameters, to_float32
from schemas.runtime.ranges import Range, within
from schemas.runtime.settings import Settings, between, setting

type Image = NDArray[np.float32]


class Exposure(Settings):
    """Settings of a recorded image. With the defaults, it is the image itself."""

    blur: Annotated[Range, within(0, 100)] = between(
        0.0, 0.0, "standard deviation of the blur before counting, such as by motion or a large source", "pixel"
    )
    counts: Annotated[Range, within(0, 1e12)] = between(
        0.0,
        0.0,
        "counted quanta per pixel where the image is 1, drawn on a logarithmic scale; 0: not counted",
        "photon",
    )
    white_noise: Annotated[Range, within(0, 100)] = between(0.0, 0.0, "standard deviation of white Gaussian noise")
    rings: Annotated[Range, within(0, 10)] = between(
        0.0, 0.0, "standard deviation of constants added to rings of one pixel about the middle"
    )
    stripes: Annotated[Range, within(0, 10)] = between(0.0, 0.0, "standard deviation of constants added to columns")
    detector: DetectorChain = Field(DetectorChain(), **setting("the detector, whose noise may be correlated"))

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.counts.high and not self.counts.low:
            raise ValueError("counts: 0 means not counted and cannot be the end of a range; raise it to 1 or more")
        neutral = DetectorChain()
        in_counts = [name for name in IN_COUNTS if getattr(self.detector, name) != getattr(neutral, name)]
        if in_counts and not self.counts.high:
            raise ValueError(f"detector.{in_counts[0]}: is in counts; give counts, too")
        return self


@dataclass(frozen=True, slots=True)
class DrawnExposure:
    """The drawn settings of an image: numbers that float32 holds exactly."""

    blur: float
    counts: float
    white_noise: float
    rings: float
    stripes: float

    def columns(self) -> dict[str, Any]:
        """Return the parameters by field."""
        return stored_parameters("exposure_", self)

    def without_noise(self) -> "DrawnExposure":
        """Return the same exposure without anything random."""
        return replace(self, counts=0.0, white_noise=0.0, rings=0.0, stripes=0.0)


def draw(settings: Exposure, rng: Streams) -> DrawnExposure:
    """Draw the settings of an image, from the stream `exposure`. Every call consumes the same number of numbers.

    Args:
        settings: the settings
        rng: the streams of the sample
    """
    counts = settings.counts.draw_logarithmic(rng.exposure)
    blur, *noises = (getattr(settings, name).draw(rng.exposure) for name in ("blur", "white_noise", "rings", "stripes"))
    return DrawnExposure(*to_float32(blur, counts, *noises))


def expect(drawn: DrawnExposure, image: Image) -> Image:
    """Return the image that reaches the detector, (y, x).

    Args:
        drawn: the drawn settings
        image: the image (y, x); beyond its edges, it goes on as its mirror image
    """
    blurred: Image = gaussian_filter(image, drawn.blur) if drawn.blur else image
    return blurred


def measure(settings: Exposure, drawn: DrawnExposure, expected: Image, rng: Streams) -> Image:
    """Return the measured image, (y, x) float32.

    Args:
        settings: the settings
        drawn: the drawn settings
        expected: the image that reaches the detector (y, x), of `expect`; 0 or more, if it is counted
        rng: the streams of the sample
    """
    measured = _record(settings.detector, drawn.counts, expected.astype(np.float64), rng)
    if drawn.white_noise:
        measured = measured + drawn.white_noise * rng.white_noise.standard_normal(expected.shape)
    if drawn.stripes:
        measured = measured + drawn.stripes * rng.stripes.standard_normal(expected.shape[1])
    if drawn.rings:
        number = ring_numbers(expected.shape)
        measured = measured + drawn.rings * rng.rings.standard_normal(number.max() + 1)[number]
    return measured.astype(np.float32)


def _record(chain: DetectorChain, counts: float, image: NDArray[np.float64], rng: Streams) -> NDArray[np.float64]:
    """Return what the detector reads, divided by its reading where the image is 1."""
    pixels = chain.pattern.draw(image.shape, rng)
    if counts:
        recorded = chain.record(counts * image, pixels, rng.shot_noise, rng.read_noise)
    elif chain == DetectorChain():
        return image
    else:
        recorded = chain.expect(image, pixels)
    relative: NDArray[np.float64] = (recorded - chain.offset) / (chain.gain * (counts or 1.0))
    return relative


def ring_numbers(shape: tuple[int, ...]) -> NDArray[np.int64]:
    """Return the number of the ring, of one pixel width, that the middle of each pixel (y, x) lies in.

    Args:
        shape: pixels (y, x)
    """
    y, x = (np.arange(n) - (n - 1) / 2 for n in shape)
    return np.hypot(y[:, None], x).astype(np.int64)
