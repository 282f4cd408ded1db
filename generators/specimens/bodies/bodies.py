"""Bodies that belong to classes, and the images and labels that follow from them.

Bodies are ellipses and polygons (`generators.specimens.sections.section`). Those of a higher layer replace what lies
below. Each has a grey value and a class; where no body lies, the class is 0.

    image = sum over bodies of value * share of the pixel,   label = class with the largest share of the pixel

If two classes have equal shares, the lower one is taken. Shares are exact in pixels that at most one outline crosses;
elsewhere a body takes its share of what lies below.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from generators.specimens.draws import stored_parameters
from generators.specimens.sections.section import DrawnSection, Image, painted_figures, revalue
from physics.tomography.phantom import Floats, Phantom, magnify
from physics.tomography.pixel_means import pixel_means
from schemas.fields.sections import BODY_FIELDS

type Labels = NDArray[np.uint8]
type Window = tuple[slice, slice]

STORED = {field.name for field in BODY_FIELDS}


@dataclass(frozen=True, slots=True)
class DrawnBodies:
    """Drawn bodies: numbers as they are stored by `schemas.fields.sections.BODY_FIELDS`."""

    figures: DrawnSection
    ellipse_class: NDArray[np.uint8]  # (ellipse,)
    polygon_class: NDArray[np.uint8]  # (polygon,)
    background: float  # value where no body lies

    def columns(self) -> dict[str, Any]:
        """Return the parameters by field."""
        own = {name: getattr(self, name) for name in ("ellipse_class", "polygon_class", "background")}
        found = stored_parameters("section_", self.figures) | {f"section_{name}": own[name] for name in own}
        return {name: value for name, value in found.items() if name in STORED}


def make_bodies(figures: DrawnSection, ellipse_classes: Any, polygon_classes: Any, background: float) -> DrawnBodies:
    """Return bodies whose classes are padded with zeros.

    Args:
        figures: the bodies, with their values and layers
        ellipse_classes: class of each ellipse, of as many as there are
        polygon_classes: class of each polygon, of as many as there are
        background: value where no body lies
    """
    ellipse_class, polygon_class = (
        np.zeros(len(values), np.uint8) for values in (figures.ellipse_value, figures.polygon_value)
    )
    ellipse_class[: figures.ellipses], polygon_class[: figures.polygons] = ellipse_classes, polygon_classes
    return DrawnBodies(figures, ellipse_class, polygon_class, float(np.float32(background)))


def render(
    bodies: DrawnBodies, shape: tuple[int, int], classes: int, *, partial_volume: bool = True
) -> tuple[Image, Labels]:
    """Return the image (y, x) float32 of some bodies, and the labels (y, x) uint8 of their classes.

    Args:
        bodies: the bodies
        shape: pixels (y, x)
        classes: number of classes
        partial_volume: False: a pixel belongs to a body as a whole, if at least half of it does
    """
    image = np.full(shape, bodies.background)
    shares = np.zeros((classes, *shape))
    shares[0] = 1
    for window, cover, value, number in _covers(bodies, shape):
        share = cover if partial_volume else (cover >= 0.5).astype(float)
        image[window] += (value - image[window]) * share
        shares[:, *window] *= 1 - share
        shares[number, *window] += share
    return image.astype(np.float32), shares.argmax(axis=0).astype(np.uint8)


def _covers(bodies: DrawnBodies, shape: tuple[int, int]) -> Iterator[tuple[Window, Floats, float, int]]:
    """Yield where each body lies, its share of each pixel there, its value and its class, in the order of layers."""
    classes = revalue(bodies.figures, bodies.ellipse_class, bodies.polygon_class)
    pairs = zip(painted_figures(bodies.figures), painted_figures(classes), strict=True)
    for (figure, value, _), (_, number, _) in pairs:
        window, cover = cover_of(magnify(figure, min(shape)), shape)
        yield window, cover, float(value), int(number)


def cover_of(figure: Phantom, shape: tuple[int, int]) -> tuple[Window, Floats]:
    """Return the part of the image that a figure touches, and its share of each pixel there.

    Args:
        figure: one ellipse or polygon of the value 1; lengths in pixels, from the middle of the image
        shape: pixels (y, x) of the image
    """
    reach = figure.ellipses[:, 2:4].max(axis=1, initial=0)[:, None]
    points = np.concatenate([figure.ellipses[:, :2] - reach, figure.ellipses[:, :2] + reach, figure.corners])
    middle = np.array(shape) / 2
    first = np.clip(np.floor(points.min(axis=0) + middle), 0, shape).astype(int)
    last = np.clip(np.ceil(points.max(axis=0) + middle), first, shape).astype(int)
    shift = middle - (first + last) / 2  # from the middle of the window to that of the image
    moved = replace(figure, ellipses=figure.ellipses + np.pad(shift, (0, 4)), corners=figure.corners + shift)
    window = slice(first[0], last[0]), slice(first[1], last[1])
    return window, pixel_means(moved, (last[0] - first[0], last[1] - first[1])).astype(float)
