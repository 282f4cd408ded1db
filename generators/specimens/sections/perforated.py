"""Discs with holes, of the kind of the Helsinki Tomography Challenge 2022: one material, or none.

The discs of its training set have 4 to 12 holes of one kind each: round ones, ovals in one direction, distorted
rectangles in one direction, and the cells between walls of one thickness. Ranges of sizes and distances hold those of
the training set. Slits, wavy and rough outlines, and rectangles with waists are added, so that a network does not learn
four kinds by heart; waists are also seen in test discs. The data: doi.org/10.5281/zenodo.8041800.
"""

from typing import Annotated, Literal

import numpy as np
from pydantic import AfterValidator, Field

from generators.specimens.draws import check_weights, check_whole_numbers, choose_kind, draw_count
from generators.specimens.sections import outlines
from generators.specimens.sections.outlines import MAX_CORNERS, round_corners, turn_outline
from generators.specimens.sections.placement import laguerre_cells, place_discs, place_outlines, points_in_disc
from generators.specimens.sections.section import DrawnSection, Room, make_section
from physics.tomography.phantom import Floats
from schemas.runtime.ranges import Range, within
from schemas.runtime.settings import Settings, between, setting

KINDS = ("round", "oval", "quadrilateral", "cell", "polygon", "blob", "slit")
NUMBERS = 20  # random numbers for the shape of a hole
PLACES = 40  # places that are tried for a hole

type Kind = Literal["round", "oval", "quadrilateral", "cell", "polygon", "blob", "slit", "mixed"]


class Perforated(Settings):
    """Settings of random discs with holes."""

    kind: Kind = Field("mixed", **setting("shape of the holes; mixed: one kind for each disc, or several (`several`)"))
    weights: Annotated[tuple[float, ...], Field(min_length=7, max_length=7), AfterValidator(check_weights)] = Field(
        (1.0, 1.0, 1.5, 2.0, 1.5, 1.5, 1.5), **setting(f"relative weights of {', '.join(KINDS)} if kind=mixed")
    )
    several: Annotated[float, within(0, 1)] = Field(
        0.3, **setting("share of the discs whose holes have a kind each, other than cell, if kind=mixed")
    )
    radius: Annotated[Range, within(0.05, 0.5)] = between(0.455, 0.464, "radius of the disc", "frame width")
    shift: Annotated[float, within(0, 0.1)] = Field(
        0.025, **setting("largest distance of its middle from the middle of the image", "frame width")
    )
    holes: Annotated[Range, within(0, 100), AfterValidator(check_whole_numbers)] = between(
        1, 16, "number of holes; there are fewer if there is no room"
    )
    size: Annotated[Range, within(0.005, 0.3)] = between(
        0.025, 0.11, "radius of the disc that has the area of a usual hole; slits are longer", "frame width"
    )
    spread: Annotated[Range, within(0, 0.9)] = between(0.0, 0.5, "largest deviation of a hole's size, relative to it")
    aspect: Annotated[Range, within(0.1, 1)] = between(0.25, 0.9, "shorter over longer axis of holes")
    pinch: Annotated[Range, within(0, 0.9)] = between(
        0.0, 0.8, "how far the middles of a quadrilateral's sides may lie inwards, relative to half its shorter side"
    )
    aligned: Annotated[float, within(0, 1)] = Field(0.5, **setting("share of discs whose holes have one direction"))
    rounding: Annotated[Range, within(0, 1)] = between(0.1, 0.5, "radius of rounded corners, relative to the hole's")
    gap: Annotated[Range, within(0, 0.2)] = between(0.02, 0.07, "minimum distance between holes", "frame width")
    rim: Annotated[Range, within(0, 0.3)] = between(
        0.05, 0.13, "minimum distance of holes from the edge", "frame width"
    )

    @property
    def room(self) -> Room:
        """Largest numbers of ellipses, polygons and corners."""
        return Room(1, int(self.holes.high), MAX_CORNERS)


def draw(perforated: Perforated, rng: np.random.Generator) -> DrawnSection:
    """Draw an object; its value is 1, and 0 in holes. Where a hole lies does not depend on how many follow.

    Args:
        perforated: the settings
        rng: random numbers; every call with the same holes.high consumes equally many
    """
    kind = choose_kind(KINDS, perforated.kind, perforated.weights, rng)
    several = float(rng.random()) < perforated.several and perforated.kind == "mixed"
    count, most = draw_count(perforated.holes, rng), int(perforated.holes.high)
    settings = (perforated.radius, perforated.size, perforated.spread, perforated.gap, perforated.rim)
    radius, size, spread, gap, rim = (span.draw(rng) for span in settings)
    middle = points_in_disc(rng.random(2), min(perforated.shift, 0.5 - radius))
    directions = 2 * np.pi * rng.random(), rng.random() < perforated.aligned
    aspect, rounding, pinch = (s.draw(rng) for s in (perforated.aspect, perforated.rounding, perforated.pinch))
    u, places = rng.random((most, NUMBERS)), rng.random((most, PLACES, 2))
    sizes = size * (1 + spread * (2 * u[:, 0] - 1))
    reach = max(radius - rim, 0.0)
    if kind == "cell" and not several:
        holes = _cells(places, sizes, count, reach, gap, rounding)
    else:
        kinds = [_kind_by_weight(perforated, number) if several else kind for number in u[:count, 1]]
        turns = directions[0] + (0.25 if directions[1] else 2 * np.pi) * (u[:, 2] - 0.5)
        made = [_hole(kinds[n], sizes[n], aspect, rounding, pinch, u[n, 3:]) for n in range(count)]
        made = [turn_outline(hole, turn) for hole, turn in zip(made, turns[:count], strict=True)]
        holes = _place(made, points_in_disc(places[:count], reach), reach, gap)
    disc = (*middle, radius, radius, 0.0, 1.0)
    return make_section(
        perforated.room,
        [disc],
        [hole + middle for hole in holes],
        [-1.0] * len(holes),
        kind="mixed" if several else kind,
    )


def material(perforated: Perforated, drawn: DrawnSection) -> DrawnSection:
    """Return the object itself: its value is 1 in the material and 0 elsewhere.

    Args:
        perforated: the settings
        drawn: the object
    """
    return drawn


def _kind_by_weight(perforated: Perforated, number: float) -> str:
    """Return a kind other than cell."""
    weights = np.array(perforated.weights) * [kind != "cell" for kind in KINDS]
    ends = np.cumsum(weights if weights.any() else np.array(KINDS) != "cell")
    return KINDS[int(np.searchsorted(ends[:-1], number * ends[-1], side="right"))]


def _hole(kind: str, size: float, aspect: float, rounding: float, pinch: float, u: Floats) -> Floats:
    """Return the outline of a hole about the origin, its longer axis along x."""
    aspect, u = aspect + 0.3 * (1 - aspect) * u[0], u[1:]  # the holes of a disc differ somewhat
    if kind == "round":
        return outlines.oval(size, 1.0)
    if kind == "oval":
        return outlines.oval(size, aspect)
    if kind == "quadrilateral":
        return outlines.quadrilateral(u, size, aspect, rounding, pinch)
    if kind == "polygon":
        return outlines.rough_polygon(u[1:], 1.4 * size, 3 + int(5 * u[0]), aspect, rounding)
    if kind == "blob":
        return outlines.blob(u[1:], size, aspect, 0.1 + 0.6 * u[0])
    return outlines.slit(u[1:], (2 + 5 * (1 - aspect)) * size, size * (0.5 + 0.5 * aspect), 0.8 + u[0])


def _place(made: list[Floats], places: Floats, reach: float, gap: float) -> list[Floats]:
    """Return the outlines that found a place."""
    table = np.zeros((len(made), MAX_CORNERS, 2))
    for n, outline in enumerate(made):
        table[n, : len(outline)] = outline
    chosen = place_outlines(table, np.array([len(outline) for outline in made], np.int64), places, reach, gap)
    return [made[n] + places[n, place] for n, place in enumerate(chosen) if place >= 0]


def _cells(places: Floats, sizes: Floats, count: int, reach: float, gap: float, rounding: float) -> list[Floats]:
    """Return the cells of discs that fill the disc, with rounded corners."""
    # Cells should fill the disc: discs are as large as `count` equal ones that cover half of it.
    wanted = np.minimum(1.5 * sizes, 0.75 * reach / np.sqrt(max(count, 1)))[:, None]
    points = points_in_disc(places, reach)
    candidates = np.concatenate([points, np.broadcast_to(wanted[..., None], (*points.shape[:2], 1))], axis=2)
    discs = place_discs(candidates.swapaxes(0, 1).reshape(-1, 3), count, reach, gap / 2, 0.3 * float(wanted.min()))
    cells = [cell for cell in laguerre_cells(discs, reach, gap) if len(cell) > 2]
    return [round_corners(cell, rounding * float(np.mean(wanted))) for cell in cells]
