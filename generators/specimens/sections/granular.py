"""A granular bed: grains of different density, which do not overlap, in a tube with a wall.

Each grain lies in a disc of its own. It is that disc, an ellipse or a polygon in it, or the cell around it: cells are
convex and touch except for a gap, like crushed rock.
"""

from typing import Annotated, Literal

import numpy as np
from pydantic import AfterValidator, Field

from generators.specimens.draws import check_weights, check_whole_numbers, draw_count
from generators.specimens.sections.outlines import MAX_CORNERS, round_corners
from generators.specimens.sections.placement import (
    ATTEMPTS,
    laguerre_cells,
    place_discs,
    points_in_disc,
    radii_by_power,
)
from generators.specimens.sections.section import DrawnSection, Room, make_section, revalue
from physics.tomography.phantom import Floats
from schemas.runtime.ranges import Range, within
from schemas.runtime.settings import Settings, between, setting

KINDS = ("disc", "ellipse", "polygon", "cell")
MAX_POLYGON_CORNERS = 8

type Kind = Literal["disc", "ellipse", "polygon", "cell", "mixed"]


class Granular(Settings):
    """Settings of random granular beds."""

    kind: Kind = Field("mixed", **setting("shape of the grains; mixed: any kind, for each grain"))
    weights: Annotated[tuple[float, float, float, float], AfterValidator(check_weights)] = Field(
        (1.0, 1.0, 1.0, 1.0), **setting("relative weights of disc, ellipse, polygon and cell if kind=mixed")
    )
    radius: Annotated[Range, within(0.05, 0.5)] = between(0.4, 0.47, "outer radius of the tube", "frame width")
    wall: Annotated[Range, within(0, 0.2)] = between(0.01, 0.04, "thickness of the tube's wall", "frame width")
    wall_value: Annotated[Range, within()] = between(0.1, 0.6, "value of the wall")
    grains: Annotated[Range, within(0, 2000), AfterValidator(check_whole_numbers)] = between(
        10, 80, "largest number of grains; there are fewer if there is no room"
    )
    smallest: Annotated[float, within(0, above=True)] = Field(
        0.012, **setting("minimum radius of a grain", "frame width")
    )
    largest: Annotated[Range, within(0, 0.5, above=True)] = between(
        0.04, 0.12, "maximum radius of the grains of a bed", "frame width"
    )
    power: Annotated[Range, within(0, 6)] = between(0.0, 2.0, "exponent of the frequency of radii, r^-power")
    aspect: Annotated[Range, within(0.1, 1)] = between(0.5, 1.0, "short over long axis of ellipses")
    gap: Annotated[Range, within(0, 0.1)] = between(0.0, 0.01, "minimum distance between grains", "frame width")
    density: Annotated[Range, within()] = between(0.3, 1.0, "value of a grain")

    @property
    def room(self) -> Room:
        """Largest numbers of ellipses, polygons and corners."""
        grains = int(self.grains.high)
        return Room(2 + grains, grains, MAX_CORNERS)


def draw(granular: Granular, rng: np.random.Generator) -> DrawnSection:
    """Draw an object. Where grains lie does not depend on how many follow.

    Args:
        granular: the settings
        rng: random numbers; 7 + 54 grains.high of them are consumed
    """
    count, most = draw_count(granular.grains, rng), int(granular.grains.high)
    settings = (granular.radius, granular.wall, granular.wall_value, granular.largest, granular.power, granular.gap)
    radius, wall, wall_value, largest, power, gap = (span.draw(rng) for span in settings)
    u = rng.random((ATTEMPTS * most, 3))
    numbers = rng.random((most, 2 + 2 * MAX_POLYGON_CORNERS))
    inner = max(radius - wall, 0.0)
    wanted = radii_by_power(u[:, 2], granular.smallest, max(largest, granular.smallest), power)
    candidates = np.column_stack([points_in_disc(u[:, :2], inner), wanted])
    discs = place_discs(candidates, count, inner, gap, granular.smallest)
    kinds = _draw_kinds(granular, numbers[: len(discs), 0])
    density = granular.density.low + (granular.density.high - granular.density.low) * numbers[: len(discs), 1]
    tube = [(0.0, 0.0, radius, radius, 0.0, wall_value), (0.0, 0.0, inner, inner, 0.0, -wall_value)]
    rows = [*tube, *_ellipses(granular, discs, kinds, density, numbers[:, 2:])]
    outlines, values = _polygons(discs, kinds, density, numbers[:, 2:], inner, gap)
    return make_section(granular.room, rows if wall else rows[2:], outlines, values, kind=granular.kind)


def material(granular: Granular, drawn: DrawnSection) -> DrawnSection:
    """Return the object with the value 1 in its wall and in all grains, and 0 between them.

    Args:
        granular: the settings
        drawn: the object
    """
    inside = (np.arange(granular.room.ellipses) == 1) & (granular.wall.high > 0)  # the second ellipse hollows the tube
    return revalue(drawn, np.where(inside, -1, 1), 1)


def _draw_kinds(granular: Granular, u: Floats) -> np.ndarray:
    if granular.kind != "mixed":
        return np.full(len(u), KINDS.index(granular.kind))
    ends = np.cumsum(granular.weights)
    kinds: np.ndarray = np.searchsorted(ends[:-1], u * ends[-1], side="right")
    return kinds


def _ellipses(granular: Granular, discs: Floats, kinds: np.ndarray, density: Floats, u: Floats) -> Floats:
    """Return the rows of the grains that are discs and ellipses."""
    span = granular.aspect
    aspect = np.where(kinds == 1, span.low + (span.high - span.low) * u[: len(discs), 0], 1.0)
    angle = np.where(kinds == 1, 2 * np.pi * u[: len(discs), 1], 0.0)
    y, x, r = discs.T
    return np.stack([y, x, r, r * aspect, angle, density], axis=1)[kinds <= 1]


def _polygons(
    discs: Floats, kinds: np.ndarray, density: Floats, u: Floats, reach: float, gap: float
) -> tuple[list[Floats], list[float]]:
    """Return outlines and values of the grains that are polygons and cells."""
    cells = laguerre_cells(discs, reach - gap, gap) if (kinds == 3).any() else []
    outlines, values = [], []
    for n in np.flatnonzero(kinds >= 2):
        outline = _polygon_in_disc(discs[n], u[n]) if kinds[n] == 2 else _rounded_cell(cells[n])
        if len(outline) > 2:
            outlines.append(outline)
            values.append(float(density[n]))
    return outlines, values


def _polygon_in_disc(disc: Floats, u: Floats) -> Floats:
    """Return a convex polygon whose corners lie on the edge of a disc."""
    corners = 3 + int((MAX_POLYGON_CORNERS - 2) * u[0])
    angle = 2 * np.pi * (np.arange(corners) + 0.7 * u[1 : 1 + corners]) / corners + 2 * np.pi * u[-1]
    outline: Floats = disc[:2] + disc[2] * np.stack([np.sin(angle), np.cos(angle)], axis=1)
    return outline


def _rounded_cell(cell: Floats) -> Floats:
    """Return a cell with slightly rounded corners."""
    if len(cell) < 3:
        return cell
    return round_corners(cell, 0.15 * float(np.ptp(cell, axis=0).min()))
