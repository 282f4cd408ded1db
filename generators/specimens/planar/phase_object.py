"""Thin objects: pure phase, or phase with weak absorption, from images in 0..1 or from phases in rad.

    O = exp(-k phi) exp(i phi),   phi = range x image

k is the ratio V'/V of the absorptive potential to the mean inner potential, the same everywhere: 0 is a pure phase
object. Waves are those of `physics.optics`.
"""

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from numpy.typing import NDArray

from generators.specimens.random_values import stored
from physics.optics import exit_wave
from schemas.runtime.ranges import Range, within
from schemas.runtime.settings import Settings, between


class PhaseObject(Settings):
    """How strong objects are."""

    range: Annotated[Range, within(0)] = between(0.0, 1.5, "phase of an image's 1, relative to that of its 0", "rad")
    absorption: Annotated[Range, within(0, 10)] = between(
        0.0, 0.0, "ratio k of the amplitude exp(-k phase); 0: pure phase"
    )


@dataclass(frozen=True, slots=True)
class DrawnObject:
    """Numbers that float32 holds exactly."""

    range: float  # [rad]
    absorption: float


def draw(settings: PhaseObject, rng: np.random.Generator) -> DrawnObject:
    """The strength of an object. Always consumes two numbers of `rng`."""
    return DrawnObject(*stored(settings.range.draw(rng), settings.absorption.draw(rng)))


def phase(drawn: DrawnObject, image: NDArray[np.float32]) -> NDArray[np.float32]:
    """The phase [rad] of an image in 0..1, (..., y, x)."""
    return np.float32(drawn.range) * image


def transmission(phase: NDArray[np.float32], absorption: float) -> NDArray[np.complex64]:
    """O of a phase (..., y, x) [rad]: what multiplies a probe, in the projection approximation. absorption: k."""
    wave: NDArray[np.complex64] = exit_wave(phase, np.exp(np.float32(-absorption) * phase) if absorption else 1.0)
    return wave
