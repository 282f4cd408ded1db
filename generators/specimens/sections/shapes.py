"""Random rectangles, circles, triangles and ellipses in a round field of view, after superres-tomo.

That library draws them with skimage.draw.random_shapes on 64 x 64 pixels: 3 to 10 shapes of 2 to 10 pixels, of which
later ones replace earlier ones, cut by a disc. These are the settings overlap=replace, cut=true. By default, values of
shapes that overlap add, and no shape is cut, so that the sinogram has a closed form.
"""

from dataclasses import replace
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import AfterValidator, Field
from scipy.ndimage import gaussian_filter

from generators.specimens.draws import check_whole_numbers, draw_count
from generators.specimens.sections.outlines import turn_outline
from generators.specimens.sections.placement import points_in_disc
from generators.specimens.sections.section import DrawnSection, Room, make_section, revalue
from physics.tomography.phantom import Floats
from schemas.runtime.ranges import Range, within
from schemas.runtime.settings import Settings, between, setting

KINDS = ("rectangle", "circle", "triangle", "ellipse")
NUMBERS = 9  # random numbers per shape

type Kind = Literal["rectangle", "circle", "triangle", "ellipse", "mixed"]


class Shapes(Settings):
    """Settings of random shapes."""

    kind: Kind = Field("mixed", **setting("kind of the shapes; mixed: any of them, for each shape"))
    shapes: Annotated[Range, within(1, 1000), AfterValidator(check_whole_numbers)] = between(3, 10, "number of shapes")
    size: Annotated[Range, within(0.001, 0.5)] = between(
        2 / 64, 10 / 64, "sides of rectangles and triangles, diameters of circles and ellipses", "frame width"
    )
    rotation: Annotated[Range, within()] = between(
        0.0, 2 * np.pi, "rotation of rectangles and triangles; ellipses have any direction", "rad"
    )
    value: Annotated[Range, within()] = between(0.1, 1.0, "value of a shape")
    background: Annotated[float, within()] = Field(0.0, **setting("value between the shapes, within the support"))
    support: Annotated[float, within(0.05, 0.5)] = Field(
        0.5 - 5 / 64, **setting("radius of the disc that holds the shapes", "frame width")
    )
    overlap: Literal["add", "replace"] = Field("add", **setting("where shapes overlap, values add, or the later hides"))
    cut: bool = Field(False, **setting("true: shapes lie anywhere in the frame, and the support cuts them"))
    normalise: bool = Field(False, **setting("true: divide the values by the largest one"))
    scale: Annotated[Range, within()] = between(1.0, 1.0, "factor that all values of an image are multiplied by")
    decades: Annotated[Range, within(0, 20)] = between(0.0, 0.0, "the factor is multiplied by 10^-decades")

    @property
    def room(self) -> Room:
        """Largest numbers of ellipses, polygons and corners."""
        count = int(self.shapes.high)
        return Room(count + 1, count, 4)


def draw(shapes: Shapes, rng: np.random.Generator) -> DrawnSection:
    """Draw an object. The first shapes do not depend on how many follow.

    Args:
        shapes: the settings
        rng: random numbers; 3 + 9 shapes.high of them are consumed
    """
    count = draw_count(shapes.shapes, rng)
    scale = shapes.scale.draw(rng) * 10 ** -shapes.decades.draw(rng)
    u = rng.random((int(shapes.shapes.high), NUMBERS))[:count]
    values = _spread(u[:, 0], shapes.value)
    values = scale * values / (abs(values).max() if shapes.normalise and abs(values).max() else 1)
    kinds = (4 * u[:, 1]).astype(int) if shapes.kind == "mixed" else np.full(count, KINDS.index(shapes.kind))
    size = _spread(u[:, 2:4], shapes.size)
    angle = np.where(kinds == 3, 2 * np.pi * u[:, 4], _spread(u[:, 4], shapes.rotation))
    size[kinds == 1, 1] = size[kinds == 1, 0]
    outlines = [_outline(kind, size[n], angle[n]) for n, kind in enumerate(kinds)]
    reach = np.array([np.hypot(*o.T).max() if len(o) else size[n].max() / 2 for n, o in enumerate(outlines)])
    middles = u[:, 7:] - 0.5 if shapes.cut else points_in_disc(u[:, 5:7], np.maximum(shapes.support - reach, 0))
    round_ones, order = kinds % 2 == 1, np.arange(1, count + 1)
    columns = (middles, size / 2, angle[:, None], values[:, None])
    rows = [(0, 0, shapes.support, shapes.support, 0, scale * shapes.background)] if shapes.background else []
    layers = order[round_ones] if shapes.overlap == "replace" else np.zeros(round_ones.sum())
    return make_section(
        shapes.room,
        [*rows, *np.concatenate(columns, axis=1)[round_ones]],
        [outline + middles[n] for n, outline in enumerate(outlines) if len(outline)],
        values[~round_ones],
        kind=shapes.kind,
        scale=scale,
        support=shapes.support if shapes.cut else 0.0,
        layers=([0.0] * len(rows) + list(layers), order[~round_ones] if shapes.overlap == "replace" else 0),
    )


def material(shapes: Shapes, drawn: DrawnSection) -> DrawnSection:
    """Return the object with the value 1 in all shapes and 0 between them, wherever they overlap.

    Args:
        shapes: the settings
        drawn: the object
    """
    layers = (np.ones_like(drawn.ellipse_layer), np.ones_like(drawn.polygon_layer))
    painted = replace(drawn, ellipse_layer=layers[0], polygon_layer=layers[1])
    return revalue(painted, np.arange(len(layers[0])) >= bool(shapes.background), 1)


def _spread(u: Floats, span: Range) -> Floats:
    return span.low + (span.high - span.low) * u


def _outline(kind: int, size: Floats, angle: float) -> Floats:
    """Return the corners of a rectangle or an equilateral triangle about the origin; none for others."""
    if KINDS[kind] == "rectangle":
        corners = np.array([[-1, -1], [-1, 1], [1, 1], [1, -1]]) * size / 2
    elif KINDS[kind] == "triangle":
        corners = np.array([[-1, -np.sqrt(3)], [-1, np.sqrt(3)], [2, 0]]) * size[0] / (2 * np.sqrt(3))
    else:
        return np.zeros((0, 2))
    return turn_outline(corners, angle)


def add_image_noise(
    image: NDArray[np.float32], levels: float, blur: float, rng: np.random.Generator
) -> NDArray[np.float32]:
    """Return an image with the noise of superres-tomo, which is part of the object: Poisson, then a Gaussian filter.

    After each of both steps, the image is divided by its maximum.

    Args:
        image: (y, x), not negative, maximum 1
        levels: expected counts where the image is 1
        blur: standard deviation of the filter [pixel]
        rng: random numbers
    """
    noisy = rng.poisson(np.asarray(image, float) * levels).astype(float)
    blurred = gaussian_filter(noisy / max(noisy.max(), 1), blur)
    return (blurred / (blurred.max() or 1)).astype(np.float32)
