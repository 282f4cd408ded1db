"""A drawn object in two dimensions: ellipses and polygons, from which images and sinograms are computed exactly.

Lengths are in frame widths, the frame being the shorter side of the image; the origin is the middle of the image.
Values are relative: image and sinogram are proportional to them. Where values add, `sinogram` follows from the figures
without a grid, and `render` holds the means over pixels. Where later figures replace earlier ones, or a disc cuts the
image, there is no closed sinogram; project an image that is rendered on a finer grid.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from physics.tomography import analytic
from physics.tomography.phantom import Floats, Phantom, add, disk, ellipses, magnify, polygons
from physics.tomography.pixel_means import pixel_means
from schemas.fields.sections import KINDS

type Image = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class DrawnSection:
    """A drawn object: numbers as they are stored by `schemas.fields.sections`, padded with zeros."""

    kind: int  # position in the list of kinds
    scale: float
    support: float  # [frame width]; 0: the image is not cut
    ellipses: int
    ellipse_middle: NDArray[np.float32]  # (ellipse, 2): y, x [frame width]
    ellipse_semi_axes: NDArray[np.float32]  # (ellipse, 2) [frame width]
    ellipse_angle: NDArray[np.float32]  # (ellipse,) [rad]
    ellipse_value: NDArray[np.float32]  # (ellipse,)
    ellipse_layer: NDArray[np.uint16]  # (ellipse,)
    polygons: int
    polygon_corners: NDArray[np.uint8]  # (polygon,)
    polygon_corner: NDArray[np.float32]  # (polygon, corner, 2): y, x [frame width]
    polygon_value: NDArray[np.float32]  # (polygon,)
    polygon_layer: NDArray[np.uint16]  # (polygon,)

    @property
    def exact(self) -> bool:
        """Return True if the values of figures add, so that the sinogram has a closed form."""
        return not (self.support or self.ellipse_layer.any() or self.polygon_layer.any())


@dataclass(frozen=True, slots=True)
class Room:
    """Largest numbers of figures that the settings of an object allow."""

    ellipses: int = 0
    polygons: int = 0
    corners: int = 0  # of a polygon

    def sizes(self) -> dict[str, int]:
        """Return the lengths of the dimensions of the fields."""
        lengths = {"section_ellipse": self.ellipses, "section_polygon": self.polygons, "section_corner": self.corners}
        return lengths | {"coordinate": 2, "semi_axis": 2}


def make_section(
    room: Room,
    rows: Any = (),
    outlines: Sequence[Floats] = (),
    values: Any = (),
    *,
    kind: str = KINDS[0],
    scale: float = 1.0,
    support: float = 0.0,
    layers: tuple[Any, Any] = (0, 0),
) -> DrawnSection:
    """Return the object with these figures; numbers are rounded to float32.

    Args:
        room: the largest numbers of figures
        rows: (ellipse, 6): y, x, two semi-axes [frame width], angle [rad], value
        outlines: (corner, 2) of each polygon: y, x [frame width]
        values: values of the polygons
        kind: kind of the figures
        scale: factor that the values contain
        support: radius of the disc that cuts the image [frame width]; 0: none
        layers: layers of the ellipses and of the polygons
    """
    table, points = np.zeros((room.ellipses, 6), np.float32), np.zeros((room.polygons, room.corners, 2), np.float32)
    rows = np.asarray(rows, float).reshape(-1, 6)
    table[: len(rows)] = rows
    counts, polygon_value = np.zeros(room.polygons, np.uint8), np.zeros(room.polygons, np.float32)
    polygon_value[: len(outlines)] = values
    for n, outline in enumerate(outlines):
        points[n, : len(outline)], counts[n] = outline, len(outline)
    ellipse_layer, polygon_layer = (np.zeros(n, np.uint16) for n in (room.ellipses, room.polygons))
    ellipse_layer[: len(rows)], polygon_layer[: len(outlines)] = layers
    figures = (len(rows), table[:, :2], table[:, 2:4], table[:, 4], table[:, 5], ellipse_layer)
    return DrawnSection(
        KINDS.index(kind),
        float(np.float32(scale)),
        float(np.float32(support)),
        *figures,
        len(outlines),
        counts,
        points,
        polygon_value,
        polygon_layer,
    )


def phantom(drawn: DrawnSection, frame: float) -> Phantom:
    """Return the figures of an object whose values are not 0, in pixels.

    Args:
        drawn: the object
        frame: width of the frame [pixel]
    """
    parts = _ellipses_of(drawn), _polygons_of(drawn)
    return magnify(add(*parts), frame)


def _ellipses_of(drawn: DrawnSection) -> Phantom:
    columns = (
        drawn.ellipse_middle,
        drawn.ellipse_semi_axes,
        drawn.ellipse_angle[:, None],
        drawn.ellipse_value[:, None],
    )
    rows = np.concatenate(columns, axis=1).astype(float)
    return ellipses(rows[rows[:, 5] != 0])


def _polygons_of(drawn: DrawnSection) -> Phantom:
    chosen = np.flatnonzero(drawn.polygon_value)
    corners = [drawn.polygon_corner[n, : drawn.polygon_corners[n]] for n in chosen]
    return polygons(corners, drawn.polygon_value[chosen])


def sinogram(drawn: DrawnSection, frame: float, angle: Floats, detectors: int, **beam: float) -> Image:
    """Return the line integrals of an object, averaged over detector pixels, (angle, detector) float32.

    Args:
        drawn: the object
        frame: width of the frame [pixel]
        angle: angles of the views [rad]
        detectors: number of detector pixels
        beam: the other arguments of `physics.tomography.analytic.sinogram`

    Raises:
        ValueError: the sinogram has no closed form
    """
    if not drawn.exact:
        raise ValueError(
            "the figures of this object replace each other or are cut, so its sinogram has no closed form; "
            "project an image that is rendered on a finer grid"
        )
    return analytic.sinogram(phantom(drawn, frame), angle, detectors, **beam)


def render(drawn: DrawnSection, shape: tuple[int, int]) -> Image:
    """Return the image of an object, (y, x) float32.

    Where values add, these are exact means over pixels. Figures that replace others are blended with the share of the
    pixel that they cover, which is exact in pixels that at most one outline crosses.

    Args:
        drawn: the object
        shape: pixels (y, x)
    """
    frame = min(shape)
    if drawn.exact:
        return pixel_means(phantom(drawn, frame), shape)
    image = np.zeros(shape, np.float32)
    for figure, value, layer in painted_figures(drawn):
        cover = pixel_means(magnify(figure, frame), shape)
        image = image * (1 - cover) + value * cover if layer else image + value * cover
    return image * pixel_means(disk(drawn.support * frame), shape) if drawn.support else image


def painted_figures(drawn: DrawnSection) -> list[tuple[Phantom, np.float32, int]]:
    """Return each figure with the value 1, its value and its layer, in the order of layers.

    Args:
        drawn: the object
    """
    found = []
    for n in range(drawn.ellipses):
        row = (*drawn.ellipse_middle[n], *drawn.ellipse_semi_axes[n], drawn.ellipse_angle[n], 1.0)
        found.append((ellipses([row]), drawn.ellipse_value[n], int(drawn.ellipse_layer[n])))
    for n in range(drawn.polygons):
        corners = drawn.polygon_corner[n, : drawn.polygon_corners[n]]
        found.append((polygons([corners], [1.0]), drawn.polygon_value[n], int(drawn.polygon_layer[n])))
    return sorted(found, key=lambda figure: figure[2])


def revalue(drawn: DrawnSection, ellipses: Any, polygons: Any = 0) -> DrawnSection:
    """Return an object with the same figures, and other values.

    Args:
        drawn: the object
        ellipses: values of all rows of ellipses, or of each
        polygons: values of all rows of polygons, or of each
    """
    rows, outlines = np.arange(len(drawn.ellipse_value)), np.arange(len(drawn.polygon_value))
    return replace(
        drawn,
        ellipse_value=np.where(rows < drawn.ellipses, ellipses, 0).astype(np.float32),
        polygon_value=np.where(outlines < drawn.polygons, polygons, 0).astype(np.float32),
    )


def displace(drawn: DrawnSection, shift: tuple[float, float], turn: float) -> DrawnSection:
    """Return an object that is turned about the middle of the image, and then shifted.

    Args:
        drawn: the object; its support stays where it is
        shift: (y, x) [frame width]
        turn: angle [rad], from x towards y
    """
    sine, cosine = np.sin(turn), np.cos(turn)

    def moved(places: NDArray[np.float32]) -> NDArray[np.float32]:
        y, x = np.moveaxis(places.astype(float), -1, 0)
        turned = np.stack([y * cosine + x * sine + shift[0], x * cosine - y * sine + shift[1]], axis=-1)
        return turned.astype(np.float32)

    return replace(
        drawn,
        ellipse_middle=moved(drawn.ellipse_middle),
        ellipse_angle=drawn.ellipse_angle + np.float32(turn),
        polygon_corner=moved(drawn.polygon_corner),
    )
