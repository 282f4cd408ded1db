"""Magnetised bodies: uniform in a drawn direction, or along fields from files."""

import math
from dataclasses import dataclass
from typing import Annotated, Any, Self

import numpy as np
from pydantic import Field, model_validator

from physics import magnetics
from schemas.runtime.ranges import Range, within
from schemas.runtime.settings import Settings, between, setting


class Magnetisation(Settings):
    """Settings of the magnetic material; the defaults are for magnetite."""

    mass: Annotated[Range, within(0)] = between(80, 80, "magnetisation per mass", "emu/g")
    density: Annotated[Range, within(0, above=True)] = between(5.18, 5.18, "density", "g/cm^3")
    direction: tuple[float, ...] | None = Field(
        None, **setting("direction z,y,x of the magnetisation, of any length; none: random for each sample")
    )

    @model_validator(mode="after")
    def _check_direction(self) -> Self:
        vector = self.direction
        if vector is not None and (len(vector) != 3 or not 0 < math.hypot(*vector) < math.inf):
            raise ValueError("direction must be three numbers z,y,x, not all 0")
        return self


@dataclass(frozen=True)
class Magnet:
    """A drawn magnetisation, rounded to float32 as it is stored."""

    mass_magnetisation: np.float32  # emu/g
    density: np.float32  # g/cm^3
    magnetisation_direction: np.ndarray  # (z, y, x)

    @property
    def magnetisation(self) -> float:
        """Magnetisation |M| [A/m]."""
        return float(magnetics.magnetisation(float(self.mass_magnetisation), float(self.density)))

    def uniform_phase(self, thickness: np.ndarray, sampling: float) -> np.ndarray:
        """Return the phase (y, x) [rad] of a body magnetised in one direction.

        Args:
            thickness: projected thickness (y, x) [nm]
            sampling: width of a pixel [nm]
        """
        _, y, x = self.magnetisation_direction.tolist()
        return magnetics.uniform_phase(thickness, self.magnetisation * y, self.magnetisation * x, sampling)  # type: ignore[no-any-return]

    def phase_of_moment(self, moment: tuple[np.ndarray, np.ndarray], sampling: float) -> np.ndarray:
        """Return the phase (y, x) [rad] of a field of magnetisation directions.

        Args:
            moment: y and x components of the field, integrated along the beam, (y, x) [nm]
            sampling: width of a pixel [nm]
        """
        y, x = (self.magnetisation * part for part in moment)
        return magnetics.phase(y, x, sampling).astype(np.float32)  # type: ignore[no-any-return]


def draw(recipe: Magnetisation, rng: np.random.Generator) -> Magnet:
    """Draw a magnetisation. A fixed direction is drawn all the same, so that the other numbers do not change.

    Args:
        recipe: the settings
        rng: random numbers
    """
    z, azimuth = 2 * rng.random() - 1, 2 * math.pi * rng.random()
    radius = math.sqrt(1 - z * z)
    direction: Any = (z, radius * math.sin(azimuth), radius * math.cos(azimuth))
    if recipe.direction is not None:
        direction = np.array(recipe.direction) / math.hypot(*recipe.direction)
    return Magnet(
        mass_magnetisation=np.float32(recipe.mass.draw(rng)),
        density=np.float32(recipe.density.draw(rng)),
        magnetisation_direction=np.array(direction, np.float32),
    )
