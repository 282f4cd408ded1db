"""Thin objects with pure phase, or with phase and weak absorption, from images in 0..1 or from phases in rad.

    O = exp(-k phi) exp(i phi),   phi = range x image

k is the ratio V'/V of the absorptive potential to the mean inner potential. It is the same everywhere; 0 is a pure
phase object. Waves are those of `physics.optics`.
"""

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from numpy.typing import NDArray

from generators.specimens.draws import to_float32
from physics.optics import exit_wave
from schemas.runtime.ranges import Range, within
from schemas.runtime.settings import Settings, between


class PhaseObject(Settings):
    """Settings of the strength of objects."""

    range: Annotated[Range, within(0)] = between(
        0.0, 1.5, "phase of image value 1, relative to that of image value 0", "rad"
    )
    absorption: Annotated[Range, within(0, 10)] = between(
        0.0, 0.0, "ratio k in the amplitude exp(-k phase); 0: pure phase object"
    )


@dataclass(frozen=True, slots=True)
class DrawnObject:
    """A drawn strength: numbers that float32 holds exactly."""

    range: float  # [rad]
    absorption: float  # k


def draw(settings: PhaseObject, rng: np.random.Generator) -> DrawnObject:
    """Draw the strength of an object; consumes two random numbers.

    Args:
        settings: the settings
        rng: random numbers
    """
    return DrawnObject(*to_float32(settings.range.draw(rng), settings.absorption.draw(rng)))


def phase(drawn: DrawnObject, image: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the phase [rad] of an image.

    Args:
        drawn: the strength
        image: (..., y, x) in 0..1
    """
    return np.float32(drawn.range) * image


def transmission(phase: NDArray[np.float32], absorption: float) -> NDArray[np.complex64]:
    """Return the transmission function O in the projection approximation, which multiplies a probe.

    Args:
        phase: (..., y, x) [rad]
        absorption: k
    """
    wave: NDArray[np.complex64] = exit_wave(phase, np.exp(np.float32(-absorption) * phase) if absorption else 1.0)
    return wave
