"""A camera that takes one image: it counts quanta, and has errors that do not average out.

    measured = (chain(photons * image) - offset) / (photons * gain) + rings + deviation * g

The chain is that of `generators.instruments.detectors.chain`. Stripes are errors of gain that all pixels of a column
have in common, as where a line detector scans the image. Rings are what constant errors of the columns of a sinogram
leave in a section (`physics.tomography.filtered_back_projection`); their middle is that of the image. g is white and
normal. Each kind of noise has a stream of its own: `photons`, `read_noise`, `stripes`, `rings`, `white_noise`, and
those of the fixed pattern. A setting at its default changes no bit. Without photons, settings in counts do nothing.
"""

from dataclasses import dataclass, replace
from math import ceil, hypot
from typing import Annotated, Any, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from generators.instruments.detectors.chain import IN_COUNTS, DetectorChain
from generators.random_streams import Streams
from generators.specimens.draws import stored_parameters, to_float32
from physics.noise import modulate
from physics.tomography.filtered_back_projection import ring_image
from schemas.runtime.errors import UserError
from schemas.runtime.ranges import Range, within
from schemas.runtime.settings import Settings, between, setting

ROUNDING = 1e-5  # negative values up to this, relative to the largest value, are errors of rounding

type Image = NDArray[np.float32]


class Camera(Settings):
    """Settings of a camera. With the defaults, the measured image is the exact one."""

    photons: Annotated[Range, within(0, 1e12)] = between(
        0.0,
        0.0,
        "counted quanta per pixel where the image is 1, drawn on a logarithmic scale; 0: they are not counted",
        "photon",
    )
    deviation: Annotated[Range, within(0, 1e6)] = between(
        0.0, 0.0, "standard deviation of white noise that does not depend on the image, in units of the image"
    )
    stripes: Annotated[Range, within(0, 1)] = between(
        0.0, 0.0, "standard deviation of the logarithm of the gain, from column to column"
    )
    rings: Annotated[Range, within(0, 1e6)] = between(
        0.0, 0.0, "standard deviation of the errors of a column of the sinogram, over the value 1 of the image", "pixel"
    )
    detector: DetectorChain = Field(DetectorChain(), **setting("the detector"))

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.photons.high and not self.photons.low:
            raise ValueError("photons: 0 means no counting and cannot be the end of a range; raise it to 1 or more")
        neutral = DetectorChain()
        given = [name for name in IN_COUNTS if getattr(self.detector, name) != getattr(neutral, name)]
        if given and not self.photons.high:
            raise ValueError(f"detector.{given[0]}: is in counts; give photons, too")
        return self


@dataclass(frozen=True, slots=True)
class DrawnCamera:
    """The drawn settings of a sample: numbers that float32 holds exactly (see `schemas.fields.transmission`)."""

    photons: float
    deviation: float
    stripes: float
    rings: float

    def columns(self) -> dict[str, Any]:
        """Return the parameters by field: `photons`, and the others with the prefix `camera_`."""
        found = stored_parameters("camera_", self)
        return {"photons": found.pop("camera_photons"), **found}


NOISELESS = DrawnCamera(0.0, 0.0, 0.0, 0.0)


def draw(camera: Camera, rng: Streams) -> DrawnCamera:
    """Draw the settings of a sample, from the stream `camera`; every call consumes four random numbers.

    Args:
        camera: the settings
        rng: the streams of the sample
    """
    photons = camera.photons.draw_logarithmic(rng.camera)
    others = (getattr(camera, name).draw(rng.camera) for name in ("deviation", "stripes", "rings"))
    return DrawnCamera(*to_float32(photons, *others))


def expect(camera: Camera, image: Image) -> Image:
    """Return the mean of infinitely many exposures without stripes and rings: the image behind the point spread.

    Args:
        camera: the settings
        image: (y, x)
    """
    return modulate(image, camera.detector.modulation_transfer(image.shape))  # type: ignore[no-any-return]


def measure(camera: Camera, drawn: DrawnCamera, image: Image, rng: Streams) -> Image:
    """Return one exposure, (y, x) float32.

    Args:
        camera: the settings
        drawn: the drawn settings of this sample
        image: the image in front of the detector, (y, x); not negative if quanta are counted
        rng: the streams of the sample

    Raises:
        UserError: quanta of a negative image would be counted
    """
    chain, shared = camera.detector, camera.detector.pattern.streams(rng)
    pixels = chain.pattern.draw(image.shape, rng)
    if drawn.stripes:
        columns = np.exp(drawn.stripes * shared.stripes.standard_normal(image.shape[1]))
        pixels = replace(pixels, gain=pixels.gain * columns)
    if drawn.photons:
        quanta = drawn.photons * _without_negatives(image.astype(np.float64))
        counts = chain.record(quanta, pixels, rng.photons, rng.read_noise)
        measured = (counts - chain.offset) / (drawn.photons * chain.gain)
    else:  # nothing is in counts
        measured = np.where(pixels.dead, 0, expect(camera, image) * pixels.gain)
    if drawn.rings:
        errors = shared.rings.standard_normal(ceil(hypot(*image.shape)) + 2)
        measured += drawn.rings * ring_image(errors, image.shape)
    if drawn.deviation:
        measured += drawn.deviation * rng.white_noise.standard_normal(image.shape)
    return measured.astype(np.float32)


def _without_negatives(image: NDArray[np.float64]) -> NDArray[np.float64]:
    lowest, highest = float(image.min()), float(abs(image).max())
    if lowest < -ROUNDING * highest:
        raise UserError(f"photons: a value of the image is {lowest:g}, and no quanta are negative; give values above 0")
    return np.maximum(image, 0)
