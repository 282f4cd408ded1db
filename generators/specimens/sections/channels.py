"""Objects with several channels, as in diffraction tomography (XRD-CT): one set of figures, whose values differ.

    value of a figure in a channel = its density x the intensity of its phase in this channel

Each phase has peaks at positions of its own.
"""

from dataclasses import dataclass, replace
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import AfterValidator, Field

from generators.specimens.draws import check_whole_numbers
from generators.specimens.sections.section import DrawnSection
from physics.tomography.phantom import Floats
from schemas.runtime.ranges import Range, within
from schemas.runtime.settings import Settings, between, setting


class Channels(Settings):
    """Settings of channels."""

    channels: int = Field(16, ge=1, le=4096, **setting("number of channels, such as scattering angles"))
    phases: int = Field(4, ge=1, le=64, **setting("number of phases that figures may consist of"))
    peaks: Annotated[Range, within(1, 64), AfterValidator(check_whole_numbers)] = between(
        2, 5, "number of peaks of a phase"
    )
    width: Annotated[Range, within(0, 1000, above=True)] = between(0.5, 1.0, "standard deviation of a peak", "channel")
    height: Annotated[Range, within(0)] = between(0.2, 1.0, "height of a peak")
    floor: Annotated[Range, within(0)] = between(0.0, 0.1, "intensity of a phase between its peaks")

    def sizes(self) -> dict[str, int]:
        """Return the lengths of the dimensions of the fields."""
        return {"channel": self.channels, "section_phase": self.phases}


@dataclass(frozen=True, slots=True)
class DrawnChannels:
    """Phases of an object's figures, and the spectra of the phases."""

    ellipse_phase: NDArray[np.uint8]  # (ellipse,)
    polygon_phase: NDArray[np.uint8]  # (polygon,)
    spectrum: NDArray[np.float32]  # (phase, channel)


def draw(channels: Channels, drawn: DrawnSection, rng: np.random.Generator) -> DrawnChannels:
    """Draw a phase for each figure, and a spectrum for each phase.

    Figures of negative value are holes in the first ellipse, and have its phase.

    Args:
        channels: the settings
        drawn: the object
        rng: random numbers
    """
    most = int(channels.peaks.high)
    spectra = np.array([_draw_spectrum(channels, rng.random((most, 3)), rng) for _ in range(channels.phases)])
    values = drawn.ellipse_value, drawn.polygon_value
    numbers = [rng.integers(channels.phases, size=len(figures)).astype(np.uint8) for figures in values]
    phases = [np.where(v < 0, numbers[0][:1], n) for v, n in zip(values, numbers, strict=True)]
    return DrawnChannels(phases[0], phases[1], spectra.astype(np.float32))


def _draw_spectrum(channels: Channels, u: Floats, rng: np.random.Generator) -> Floats:
    """Return the intensities of one phase, (channel,)."""
    count = int(channels.peaks.low + (channels.peaks.high + 1 - channels.peaks.low) * rng.random())
    middle, height, width = u[:count].T
    height = channels.height.low + (channels.height.high - channels.height.low) * height
    width = channels.width.low + (channels.width.high - channels.width.low) * width
    offset = np.arange(channels.channels)[:, None] - middle * (channels.channels - 1)
    intensity: Floats = channels.floor.draw(rng) + np.exp(-((offset / width) ** 2) / 2) @ height
    return intensity


def select(drawn: DrawnSection, channels: DrawnChannels, channel: int) -> DrawnSection:
    """Return the object of one channel: figures with their density times the intensity of their phase.

    Args:
        drawn: the object
        channels: its phases and their spectra
        channel: number of the channel
    """
    intensity = channels.spectrum[:, channel]
    return replace(
        drawn,
        ellipse_value=drawn.ellipse_value * intensity[channels.ellipse_phase],
        polygon_value=drawn.polygon_value * intensity[channels.polygon_phase],
    )


def select_phase(drawn: DrawnSection, channels: DrawnChannels, phase: int) -> DrawnSection:
    """Return the object of one phase: its figures with their density, all others with the value 0.

    The image of a channel is the sum over phases of their images, times the intensities of the phases in this channel.

    Args:
        drawn: the object
        channels: its phases and their spectra
        phase: number of the phase
    """
    return replace(
        drawn,
        ellipse_value=np.where(channels.ellipse_phase == phase, drawn.ellipse_value, np.float32(0)),
        polygon_value=np.where(channels.polygon_phase == phase, drawn.polygon_value, np.float32(0)),
    )
