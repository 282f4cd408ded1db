"""A composite: grains in a binder, with pores in both and fibres through all, seen in a section.

Grains do not overlap. Each lies in a disc of its own, as an ellipse, a polygon or a blob, or fills the cell around the
disc, up to a gap. Pores are ellipses that cut grains and binder, and fibres are bent slits that cut all of them. The
classes are those of `CLASSES`. The value of a body is that of its class in this image, plus a deviation of its own.
"""

from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import AfterValidator, Field

from generators.specimens.bodies.bodies import DrawnBodies, make_bodies
from generators.specimens.draws import check_whole_numbers, draw_count
from generators.specimens.sections import outlines
from generators.specimens.sections.outlines import MAX_CORNERS, round_corners, turn_outline
from generators.specimens.sections.placement import (
    ATTEMPTS,
    laguerre_cells,
    place_discs,
    place_outlines,
    points_in_disc,
    radii_by_power,
)
from generators.specimens.sections.section import Room, make_section
from physics.tomography.phantom import Floats
from schemas.fields.sections import CLASSES
from schemas.runtime.ranges import Range, within
from schemas.runtime.settings import Settings, between, setting

BACKGROUND, GRAIN, PORE, FIBRE = range(len(CLASSES))
KINDS = ("ellipse", "polygon", "blob", "cell")
REACH = 0.72  # radius of the disc that holds the bodies [frame width]; a square frame lies within it
ROUNDING = 0.2  # of corners, relative to the radius of a grain
WAVINESS = 0.3  # of blobs
LARGEST_WAVE = 1 + WAVINESS * sum(1 / k for k in outlines.BLOB_WAVES)  # largest radius of a blob over its mean
NUMBERS = 19  # random numbers per grain

type Kind = Literal["ellipse", "polygon", "blob", "cell", "mixed"]


class Composite(Settings):
    """Settings of composites."""

    kind: Kind = Field("mixed", **setting("shape of the grains; mixed: any of them, for each image"))
    grains: Annotated[Range, within(0, 5000), AfterValidator(check_whole_numbers)] = between(
        30, 150, "largest number of grains in and around the image; there are fewer if there is no room"
    )
    smallest: Annotated[float, within(0, above=True)] = Field(
        0.015, **setting("minimum radius of a grain", "frame width")
    )
    largest: Annotated[Range, within(0, 0.5, above=True)] = between(
        0.05, 0.15, "maximum radius of the grains of an image", "frame width"
    )
    power: Annotated[Range, within(0, 6)] = between(0.0, 2.0, "exponent of the frequency of radii, r^-power")
    gap: Annotated[Range, within(0, 0.1)] = between(0.005, 0.02, "minimum distance between grains", "frame width")
    aspect: Annotated[Range, within(0.1, 1)] = between(0.5, 1.0, "short over long axis of grains and pores")
    pores: Annotated[Range, within(0, 5000), AfterValidator(check_whole_numbers)] = between(
        0, 60, "largest number of pores in and around the image"
    )
    pore_radius: Annotated[Range, within(0, 0.5, above=True)] = between(
        0.01, 0.05, "radius of a pore; small ones are frequent as r^-2", "frame width"
    )
    fibres: Annotated[Range, within(0, 1000), AfterValidator(check_whole_numbers)] = between(
        0, 10, "largest number of fibres in and around the image"
    )
    fibre_length: Annotated[Range, within(0, 1, above=True)] = between(0.15, 0.5, "length of a fibre", "frame width")
    fibre_width: Annotated[Range, within(0, 0.2, above=True)] = between(
        0.012, 0.03, "width of the fibres of an image", "frame width"
    )
    bend: Annotated[float, within(0, 3)] = Field(0.8, **setting("largest bend of either half of a fibre", "rad"))
    background: Annotated[Range, within(0)] = between(0.35, 0.55, "mean value of the binder")
    grain: Annotated[Range, within(0)] = between(0.7, 1.0, "mean value of the grains")
    pore: Annotated[Range, within(0)] = between(0.05, 0.3, "mean value of the pores")
    fibre: Annotated[Range, within(0)] = between(0.55, 0.8, "mean value of the fibres")
    spread: Annotated[Range, within(0)] = between(
        0.02, 0.08, "standard deviation of values between the bodies of a class; none is below 0"
    )

    @property
    def room(self) -> Room:
        """Largest numbers of ellipses, polygons and corners."""
        grains, pores, fibres = (int(span.high) for span in (self.grains, self.pores, self.fibres))
        return Room(grains + pores, grains + fibres, MAX_CORNERS)

    def sizes(self) -> dict[str, int]:
        """Return the lengths of the dimensions of the fields."""
        return {dim: n for dim, n in self.room.sizes().items() if n}


def draw(composite: Composite, rng: np.random.Generator) -> DrawnBodies:
    """Draw the bodies of an image.

    Args:
        composite: the settings
        rng: random numbers
    """
    levels = [getattr(composite, name).draw(rng) for name in CLASSES]
    spread = composite.spread.draw(rng)
    rounded, polygons = _draw_grains(composite, rng)
    pores, fibres = _draw_pores(composite, rng), _draw_fibres(composite, rng)
    ellipse_classes = np.repeat([GRAIN, PORE], [len(rounded), len(pores)])
    polygon_classes = np.repeat([GRAIN, FIBRE], [len(polygons), len(fibres)])
    ellipse_values, polygon_values = (
        np.maximum(np.array(levels)[numbers] + spread * rng.standard_normal(len(numbers)), 0)
        for numbers in (ellipse_classes, polygon_classes)
    )
    figures = make_section(
        composite.room,
        np.concatenate([np.concatenate([rounded, pores]), ellipse_values[:, None]], axis=1),
        [*polygons, *fibres],
        polygon_values,
        layers=(ellipse_classes, polygon_classes),  # fibres over pores, pores over grains
    )
    return make_bodies(figures, ellipse_classes, polygon_classes, levels[BACKGROUND])


def _draw_grains(composite: Composite, rng: np.random.Generator) -> tuple[Floats, list[Floats]]:
    """Return grains that are ellipses, (ellipse, 5): y, x, two semi-axes, angle, and the outlines of others."""
    count, most = draw_count(composite.grains, rng), int(composite.grains.high)
    largest, power, gap = (span.draw(rng) for span in (composite.largest, composite.power, composite.gap))
    kind = KINDS[int(len(KINDS) * rng.random())] if composite.kind == "mixed" else composite.kind
    u = rng.random((ATTEMPTS * most, 3))
    wanted = radii_by_power(u[:, 2], composite.smallest, max(largest, composite.smallest), power)
    candidates = np.column_stack([points_in_disc(u[:, :2], REACH), wanted])
    discs = place_discs(candidates, count, REACH, gap, composite.smallest)
    numbers = rng.random((most, NUMBERS))[: len(discs)]
    aspect = composite.aspect.low + (composite.aspect.high - composite.aspect.low) * numbers[:, 0]
    if kind == "ellipse":
        y, x, r = discs.T
        return np.stack([y, x, r, r * aspect, 2 * np.pi * numbers[:, 1]], axis=1), []
    if kind == "cell":
        cells = laguerre_cells(discs, REACH, gap)
        return np.zeros((0, 5)), [_rounded(cell, r) for cell, r in zip(cells, discs[:, 2], strict=True) if len(cell)]
    make = _polygon if kind == "polygon" else _blob
    grains = zip(discs, aspect, numbers[:, 1:], strict=True)
    return np.zeros((0, 5)), [disc[:2] + make(float(disc[2]), float(a), n) for disc, a, n in grains]


def _rounded(cell: Floats, radius: float) -> Floats:
    rounded: Floats = round_corners(cell, ROUNDING * radius)
    return rounded


def _polygon(radius: float, aspect: float, u: Floats) -> Floats:
    """Return a polygon about the origin, within a disc."""
    corners = 5 + int(4 * u[0])
    within_disc = radius * aspect**0.25  # it is stretched by aspect^(-1/4)
    outline = outlines.rough_polygon(u[1 : 1 + 2 * corners], within_disc, corners, aspect, ROUNDING)
    return turn_outline(outline, 2 * np.pi * u[-1])


def _blob(radius: float, aspect: float, u: Floats) -> Floats:
    """Return a blob about the origin, within a disc."""
    within_disc = radius * aspect**0.5 / LARGEST_WAVE  # it is stretched by aspect^(-1/2)
    return turn_outline(outlines.blob(u[:8], within_disc, aspect, WAVINESS), 2 * np.pi * u[-1])


def _draw_pores(composite: Composite, rng: np.random.Generator) -> Floats:
    """Return pores, (ellipse, 5), which do not overlap one another."""
    count, most, span = draw_count(composite.pores, rng), int(composite.pores.high), composite.pore_radius
    u = rng.random((ATTEMPTS * most, 3))
    candidates = np.column_stack([points_in_disc(u[:, :2], REACH), radii_by_power(u[:, 2], span.low, span.high, 2)])
    y, x, r = place_discs(candidates, count, REACH, 0.0, span.low).T
    numbers = rng.random((most, 2))[: len(r)]
    aspect = composite.aspect.low + (composite.aspect.high - composite.aspect.low) * numbers[:, 0]
    return np.stack([y, x, r, r * aspect, 2 * np.pi * numbers[:, 1]], axis=1)


def _draw_fibres(composite: Composite, rng: np.random.Generator) -> list[Floats]:
    """Return the outlines of fibres, which do not touch one another."""
    count, most = draw_count(composite.fibres, rng), int(composite.fibres.high)
    width, span = composite.fibre_width.draw(rng), composite.fibre_length
    u, places = rng.random((most, 4)), rng.random((most, ATTEMPTS, 2))
    lengths = np.maximum(span.low + (span.high - span.low) * u[:, 0], 2 * width)
    made = [
        turn_outline(outlines.slit(u[n, 1:3], lengths[n], width, composite.bend), 2 * np.pi * u[n, 3])
        for n in range(count)
    ]
    if not made:
        return []
    middles = points_in_disc(places[:count], REACH)
    counts: NDArray[np.int64] = np.full(count, len(made[0]))
    chosen = place_outlines(np.stack(made), counts, middles, REACH, width / 2)
    return [made[n] + middles[n, attempt] for n, attempt in enumerate(chosen) if attempt >= 0]
