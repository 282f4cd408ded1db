"""Foam: a disc with round bubbles that do not overlap; small ones are more frequent than large ones.

    density of the wanted radii r ~ r^-power between the smallest and the largest

Bubbles are placed one after the other. One for which there is too little room shrinks, so small bubbles fill the gaps
between large ones.
"""

from typing import Annotated

import numpy as np
from pydantic import AfterValidator, Field

from generators.specimens.draws import check_whole_numbers, draw_count
from generators.specimens.sections.placement import ATTEMPTS, place_discs, points_in_disc, radii_by_power
from generators.specimens.sections.section import DrawnSection, Room, make_section, revalue
from schemas.runtime.ranges import Range, within
from schemas.runtime.settings import Settings, between, setting


class Foam(Settings):
    """Settings of random foams."""

    radius: Annotated[Range, within(0.05, 0.5)] = between(0.38, 0.46, "radius of the disc", "frame width")
    shift: Annotated[float, within(0, 0.1)] = Field(
        0.02, **setting("largest distance of its middle from the middle of the image", "frame width")
    )
    value: Annotated[Range, within()] = between(1.0, 1.0, "value of the material")
    filling: Annotated[Range, within()] = between(0.0, 0.0, "value within bubbles, relative to the material")
    bubbles: Annotated[Range, within(0, 5000), AfterValidator(check_whole_numbers)] = between(
        20, 250, "largest number of bubbles; there are fewer if there is no room"
    )
    smallest: Annotated[float, within(0, above=True)] = Field(
        0.006, **setting("minimum radius of a bubble", "frame width")
    )
    largest: Annotated[Range, within(0, 0.5, above=True)] = between(
        0.02, 0.12, "maximum radius of the bubbles of a foam", "frame width"
    )
    power: Annotated[Range, within(0, 6)] = between(0.5, 3.0, "exponent of the frequency of radii, r^-power")
    wall: Annotated[Range, within(0, 0.1)] = between(
        0.002, 0.01, "minimum distance between bubbles, and of bubbles from the edge", "frame width"
    )

    @property
    def room(self) -> Room:
        """Largest number of ellipses."""
        return Room(1 + int(self.bubbles.high))


def draw(foam: Foam, rng: np.random.Generator) -> DrawnSection:
    """Draw an object. The first bubbles do not depend on how many follow.

    Args:
        foam: the settings
        rng: random numbers; 9 + 36 bubbles.high of them are consumed
    """
    count = draw_count(foam.bubbles, rng)
    settings = (foam.radius, foam.value, foam.filling, foam.largest, foam.power, foam.wall)
    radius, value, filling, largest, power, wall = (span.draw(rng) for span in settings)
    middle = points_in_disc(rng.random(2), min(foam.shift, 0.5 - radius))
    u = rng.random((ATTEMPTS * int(foam.bubbles.high), 3))
    wanted = radii_by_power(u[:, 2], foam.smallest, max(largest, foam.smallest), power)
    candidates = np.column_stack([points_in_disc(u[:, :2], radius), wanted])
    bubbles = place_discs(candidates, count, radius, wall, foam.smallest)
    y, x, r = bubbles.T
    hole = np.full(len(bubbles), value * (filling - 1))
    rows = np.stack([y + middle[0], x + middle[1], r, r, np.zeros(len(r)), hole], axis=1)
    return make_section(foam.room, [(*middle, radius, radius, 0.0, value), *rows])


def material(foam: Foam, drawn: DrawnSection) -> DrawnSection:
    """Return the object with the value 1 between the bubbles and 0 within them, whatever fills them.

    Args:
        foam: the settings
        drawn: the object
    """
    return revalue(drawn, np.where(np.arange(foam.room.ellipses), -1, 1))
