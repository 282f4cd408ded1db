"""Amorphous support films, atom by atom: carbon under the particles, or another element.

Atoms are packed at random (`packing`), with a density and a minimum distance. Bonds have no directions, so the film
scatters like glass, but has more neighbours than the network of amorphous carbon has. The film is periodic along y and
x; its faces are plane cuts.
"""

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from pydantic import AfterValidator, Field

from generators.specimens.atoms.alloys import check_element
from generators.specimens.atoms.packing import Floats, packed
from generators.specimens.draws import to_float32
from physics.scattering.atoms import Atoms
from schemas.runtime.ranges import Range, within
from schemas.runtime.settings import Settings, between, setting


class Support(Settings):
    """Settings of amorphous support films; the defaults are for carbon of 1.8 to 2.2 g/cm^3."""

    element: Annotated[str, AfterValidator(check_element)] = Field("C", **setting("element of the film"))
    thickness: Annotated[Range, within(0.5, 100)] = between(2.0, 5.0, "thickness of the film", "nm")
    density: Annotated[Range, within(1, 200)] = between(90.0, 110.0, "number of atoms per volume", "1/nm^3")
    minimum: Annotated[Range, within(0.1, 0.4)] = between(0.13, 0.14, "minimum distance of two atoms", "nm")


@dataclass(frozen=True, slots=True)
class DrawnSupport:
    """A drawn film: numbers that float32 holds exactly, and a seed for its atoms."""

    element: str
    thickness: float  # [nm]
    density: float  # [1/nm^3]
    minimum: float  # [nm]
    seed: int


def draw(support: Support, rng: np.random.Generator) -> DrawnSupport:
    """Draw a film.

    Args:
        support: the settings
        rng: random numbers; 4 of them are consumed
    """
    numbers = (span.draw(rng) for span in (support.thickness, support.density, support.minimum))
    thickness, density, minimum = to_float32(*numbers)
    return DrawnSupport(support.element, thickness, density, minimum, int(2**32 * rng.random()))


def atoms_of(drawn: DrawnSupport, field_of_view: tuple[float, float]) -> Atoms:
    """Return the atoms of a film that fills the field of view, with its middle at the origin.

    Args:
        drawn: the film
        field_of_view: (y, x) [nm]; the film is periodic with it

    Raises:
        ValueError: the density is too high for the minimum distance, or the film too small
    """
    box = (drawn.thickness, *field_of_view)
    count = round(drawn.density * float(np.prod(box)))
    rng = np.random.Generator(np.random.Philox(drawn.seed))
    positions: Floats = packed(count, box, drawn.minimum, drawn.minimum, rng)
    return Atoms((drawn.element,), np.zeros(count, np.int64), positions - np.array(box) / 2)
