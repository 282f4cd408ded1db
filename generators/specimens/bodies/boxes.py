"""Filled and hollow squares and discs in boxes that do not overlap, as the generator of superres-tomo draws them.

The boxes are squares of whole pixels. In turn, one holds a filled square, a square frame, a disc and a ring. Discs end
half a pixel within the box, and holes are half as wide as what they lie in, less half a pixel: coordinates run from -1
to 1 over the middles of the pixels of a box.
"""

from typing import Annotated, Any, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from generators.specimens.bodies.bodies import DrawnBodies, make_bodies
from generators.specimens.sections.section import Room, make_section
from schemas.runtime.ranges import Range, within
from schemas.runtime.settings import Settings, between, setting

CANDIDATES = 4096  # places that are tried for a box before all boxes are placed anew
MAX_COVERAGE = 0.4  # share of the image that boxes may cover; random places for more are rare
MIN_SIDE = 4  # pixels
SQUARE = np.array([[-1, -1], [-1, 1], [1, 1], [1, -1]], float)


class Boxes(Settings):
    """Settings of figures in boxes."""

    boxes: int = Field(24, ge=1, le=1000, **setting("number of boxes"))
    per_width: int = Field(8, ge=2, le=1024, **setting("width of the image / side of a box"))
    value: Annotated[Range, within(0)] = between(0.2, 1.0, "value of a figure")
    background: Annotated[float, within(0)] = Field(0.0, **setting("value between the figures"))

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (covered := self.boxes / self.per_width**2) > MAX_COVERAGE:
            raise ValueError(
                f"boxes = {self.boxes}: they would cover {covered:.0%} of the image, at most {MAX_COVERAGE:.0%} can be "
                "placed at random; lower it, or raise per_width"
            )
        return self

    def check_width(self, size: int) -> None:
        """Refuse images in which boxes have too few pixels.

        Args:
            size: width of the image [pixel]

        Raises:
            ValueError: a box is less than MIN_SIDE pixels wide
        """
        if size // self.per_width < MIN_SIDE:
            raise ValueError(
                f"boxes.per_width = {self.per_width}: boxes must be at least {MIN_SIDE} pixels wide; lower it to "
                f"{size // MIN_SIDE}, or raise image_size"
            )

    @property
    def room(self) -> Room:
        """Largest numbers of ellipses, polygons and corners."""
        return Room(self._count(2) + 2 * self._count(3), self._count(0) + 2 * self._count(1), 4)

    def _count(self, kind: int) -> int:
        """Return the number of boxes of a kind, of which there are four in turn."""
        return len(range(kind, self.boxes, 4))

    def sizes(self) -> dict[str, int]:
        """Return the lengths of the dimensions of the fields."""
        return {dim: n for dim, n in self.room.sizes().items() if n}


def draw(boxes: Boxes, size: int, rng: np.random.Generator) -> DrawnBodies:
    """Draw the figures of an image.

    Args:
        boxes: the settings
        size: width of the image [pixel]
        rng: random numbers
    """
    side = size // boxes.per_width
    corners = place_boxes(boxes.boxes, side, size, rng)
    values = boxes.value.low + (boxes.value.high - boxes.value.low) * rng.random(boxes.boxes)
    rows: list[tuple[Any, ...]] = []  # layer, class, value and numbers of each ellipse
    outlines: list[tuple[Any, ...]] = []  # layer, class, value and corners of each polygon
    for n, middle in enumerate((corners + side / 2 - size / 2) / size):
        half, reach, layer = side / 2 / size, (side - 1) / 2 / size, 2 * n + 1
        rounded, hollow = n % 4 >= 2, n % 2 == 1
        parts = [(layer, 1, values[n], reach if rounded else half)]
        parts += [(layer + 1, 0, boxes.background, reach / 2)] if hollow else []
        for *named, extent in parts:
            figure = [*middle, extent, extent, 0.0] if rounded else middle + extent * SQUARE
            (rows if rounded else outlines).append((*named, figure))
    figures = make_section(
        boxes.room,
        [[*figure, value] for _, _, value, figure in rows],
        [figure for *_, figure in outlines],
        [value for _, _, value, _ in outlines],
        layers=([row[0] for row in rows], [row[0] for row in outlines]),
    )
    return make_bodies(figures, [row[1] for row in rows], [row[1] for row in outlines], boxes.background)


def place_boxes(count: int, side: int, size: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Return the first corners (box, 2) of squares of whole pixels in an image, which do not overlap.

    Squares are placed one after the other, each uniformly over the places that are left. If none is found for one of
    them, all are placed anew.

    Args:
        count: number of squares
        side: side of a square [pixel]
        size: width of the image [pixel]
        rng: random numbers
    """
    placed = np.zeros((0, 2), np.int64)
    while len(placed) < count:
        places = rng.integers(0, size - side + 1, (CANDIDATES, 2))
        free = _is_free(places, placed, side)
        placed = np.concatenate([placed, places[free][:1]]) if free.any() else placed[:0]
    return placed


def _is_free(places: NDArray[np.int64], placed: NDArray[np.int64], side: int) -> NDArray[np.bool_]:
    away = abs(places[:, None] - placed).max(axis=-1)
    free: NDArray[np.bool_] = (away >= side).all(axis=1)
    return free
