"""Background of scanned images, which adds to the signal of the object and is never negative.

    background = s (smooth + pedestal + slope + contamination) + tails

s is the signal of the object: the mean of the clean image where it is above a tenth of its maximum. Each part scales
with the clean image, and an empty image has no background. Images of a series are independent: the only random part,
the smooth one, has random numbers of its own for each image.
"""

from dataclasses import dataclass
from math import cos, pi, sin
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import AfterValidator
from scipy.fft import next_fast_len
from scipy.ndimage import gaussian_filter

from generators.random_streams import image_generator
from generators.specimens.draws import check_whole_numbers, draw_count, stored_parameters, to_float32
from physics.arrays import Real
from physics.fourier import frequencies, irfft2, rfft2
from schemas.runtime.ranges import Range, within
from schemas.runtime.settings import Settings, between

PARTS = ("height", "pedestal", "slope", "tails", "contamination")  # 0 switches a part off
SPREAD = 1 / 12  # standard deviation of the contamination around the object, relative to the shorter side of the image


class Background(Settings):
    """Settings of the background. Heights are relative to the signal of the object."""

    height: Annotated[Range, within(0, 10)] = between(
        0.0, 0.3, "range, from lowest to highest pixel, of the smooth random background"
    )
    width: Annotated[Range, within(1, 1000), AfterValidator(check_whole_numbers)] = between(
        10, 29, "standard deviation of the Gaussian filter that makes it smooth, drawn for each image", "pixel"
    )
    pedestal: Annotated[Range, within(0, 10)] = between(0.0, 0.1, "constant background")
    slope: Annotated[Range, within(0, 10)] = between(
        0.0, 0.1, "difference between opposite edges of a linear background"
    )
    azimuth: Annotated[Range, within(-2 * pi, 2 * pi)] = between(
        0.0, 2 * pi, "direction in which it rises, from x towards y", "rad"
    )
    tails: Annotated[Range, within(0, 1)] = between(0.0, 0.1, "share of the signal in long-range tails of the probe")
    reach: Annotated[Range, within(0.01, 1000)] = between(0.5, 3.0, "decay length of these tails", "nm")
    contamination: Annotated[Range, within(0, 10)] = between(
        0.0, 0.1, "height of the contamination that grows where the beam is"
    )

    @property
    def is_on(self) -> bool:
        """True if a sample can have a background."""
        return any(getattr(self, part).high for part in PARTS)


@dataclass(frozen=True, slots=True, eq=False)
class DrawnBackground:
    """The drawn background of a series: numbers that float32 holds exactly (see `schemas.fields.backgrounds`)."""

    height: float  # relative to the signal of the object, as are pedestal, slope and contamination
    width: NDArray[np.float32]  # (tilt,) [pixel]
    pedestal: float
    slope: float
    azimuth: float  # [rad]
    tails: float
    reach: float  # [nm]
    contamination: float
    seed: int

    @property
    def is_on(self) -> bool:
        """True if the images have a background."""
        return any(getattr(self, part) for part in PARTS)

    def columns(self) -> dict[str, Any]:
        """Return the parameters by field: the attributes with the prefix `background_`."""
        return stored_parameters("background_", self)


def draw(settings: Background, tilts: int, rng: np.random.Generator) -> DrawnBackground:
    """Draw the background of a series.

    Args:
        settings: the settings
        tilts: number of images
        rng: random numbers; 8 + tilts of them are consumed
    """
    names = ("height", "pedestal", "slope", "azimuth", "tails", "reach", "contamination")
    numbers = dict(zip(names, to_float32(*(getattr(settings, name).draw(rng) for name in names)), strict=True))
    seed = int(2**32 * rng.random())
    width = np.array([draw_count(settings.width, rng) for _ in range(tilts)], np.float32)
    return DrawnBackground(width=width, seed=seed, **numbers)


def render(drawn: DrawnBackground, clean: NDArray[np.floating], index: int, sampling: float) -> NDArray[np.float32]:
    """Return the expected background of one image.

    Args:
        drawn: the drawn background of the series
        clean: the image of the object without background (y, x)
        index: index of the image in its series
        sampling: [nm]

    Returns:
        The background (y, x), in the unit of `clean`.
    """
    bright = np.maximum(clean, 0, dtype=np.float64)
    shape, found = bright.shape, np.full(bright.shape, float(drawn.pedestal))
    if drawn.height:
        noise = image_generator(drawn.seed, index).random(shape)
        found += drawn.height * _from_0_to_1(gaussian_filter(noise, float(drawn.width[index])))
    if drawn.slope:
        y, x = np.ogrid[: shape[0], : shape[1]]
        found += drawn.slope * _from_0_to_1(y * sin(drawn.azimuth) + x * cos(drawn.azimuth))
    if drawn.contamination:
        dose = gaussian_filter(bright, SPREAD * min(shape))
        found += drawn.contamination * dose / (dose.max() or 1)
    found *= _signal(bright)
    if drawn.tails:
        found += drawn.tails * _tails(bright, drawn.reach / sampling)
    return found.astype(np.float32)


def _signal(bright: Real) -> float:
    """Return the mean of an image where it is above a tenth of its maximum; 0 for an empty image."""
    inside = bright > bright.max() / 10
    return float(bright[inside].mean()) if inside.any() else 0.0


def _from_0_to_1(values: Real) -> Real:
    """Return values shifted and scaled so that they range from 0 to 1; zeros if all are equal."""
    span = values.max() - values.min()
    return (values - values.min()) / (span or 1)


def _tails(bright: Real, reach: float) -> Real:
    """Return an image convolved with exp(-r / reach), normalised to the sum 1 over the plane; reach in pixels.

    Outside of the image is nothing.
    """
    padded = (next_fast_len(2 * bright.shape[0] - 1, real=True), next_fast_len(2 * bright.shape[1] - 1, real=True))
    fy, fx = frequencies(padded, 1.0, np)
    kernel = np.exp(-np.hypot(fy * padded[0], fx * padded[1]) / reach)
    # Both are below the sum over all pixels of the plane. It is the first for a short reach, the second for a long one.
    kernel /= max(kernel.sum(), 2 * pi * reach**2)
    spread: Real = irfft2(rfft2(bright, padded) * rfft2(kernel, padded), padded)
    return np.maximum(spread[: bright.shape[0], : bright.shape[1]], 0)
