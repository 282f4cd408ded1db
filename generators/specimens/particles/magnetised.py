"""Bodies of uniform magnetisation in a direction that is drawn, or along fields from files."""

import math
from dataclasses import dataclass
from typing import Annotated, Any, Self

import numpy as np
from pydantic import Field, model_validator

from physics import magnetics
from schemas.runtime.ranges import Range, within
from schemas.runtime.settings import Settings, between, setting


class Magnetisation(Settings):
    """Of the material; magnetite as default."""

    mass: Annotated[Range, within(0)] = between(80, 80, "magnetisation per mass", "emu/g")
    density: Annotated[Range, within(0, above=True)] = between(5.18, 5.18, "mass", "g/cm^3")
    direction: tuple[float, ...] | None = Field(
        None, **setting("z,y,x, of any length; none: drawn for each sample, uniform on the sphere")
    )

    @model_validator(mode="after")
    def _vector(self) -> Self:
        given = self.direction
        if given is not None and (len(given) != 3 or not 0 < math.hypot(*given) < math.inf):
            raise ValueError("direction must be three numbers z,y,x, not all 0")
        return self


@dataclass(frozen=True)
class Magnet:
    """What is drawn, as float32 stores it."""

    mass_magnetisation: np.float32  # emu/g
    density: np.float32  # g/cm^3
    magnetisation_direction: np.ndarray  # (z, y, x)

    @property
    def size(self) -> float:
        """|M| [A/m]."""
        return float(magnetics.magnetisation(float(self.mass_magnetisation), float(self.density)))

    def uniform(self, thickness: np.ndarray, sampling: float) -> np.ndarray:
        """Phase (y, x) [rad] of a body of this thickness [nm], magnetised in one direction."""
        _, y, x = self.magnetisation_direction.tolist()
        return magnetics.uniform_phase(thickness, self.size * y, self.size * x, sampling)  # type: ignore[no-any-return]

    def along(self, moment: tuple[np.ndarray, np.ndarray], sampling: float) -> np.ndarray:
        """Phase (y, x) [rad] of a field of directions, integrated along the beam: its (y, x) components [nm]."""
        y, x = (self.size * part for part in moment)
        return magnetics.phase(y, x, sampling).astype(np.float32)  # type: ignore[no-any-return]


def draw(recipe: Magnetisation, rng: np.random.Generator) -> Magnet:
    """A magnet. What is fixed is drawn all the same, so the others do not change."""
    z, azimuth = 2 * rng.random() - 1, 2 * math.pi * rng.random()
    flat = math.sqrt(1 - z * z)
    vector = (z, flat * math.sin(azimuth), flat * math.cos(azimuth))
    given: Any = vector if recipe.direction is None else np.array(recipe.direction) / math.hypot(*recipe.direction)
    return Magnet(
        mass_magnetisation=np.float32(recipe.mass.draw(rng)),
        density=np.float32(recipe.density.draw(rng)),
        magnetisation_direction=np.array(given, np.float32),
    )
