"""Bodies that belong to classes: areas, labels, places, and what is stored of them."""

import numpy as np
import pytest

from generators.specimens.bodies import boxes, composite
from generators.specimens.bodies.bodies import DrawnBodies, cover_of, make_bodies, render
from generators.specimens.bodies.boxes import Boxes, place_boxes
from generators.specimens.bodies.composite import BACKGROUND, FIBRE, GRAIN, PORE, Composite
from generators.specimens.sections.section import Room, make_section, painted_figures, revalue
from physics.tomography.phantom import Phantom, ellipses, integral, magnify, polygons
from physics.tomography.pixel_means import pixel_means
from schemas.fields.sections import BODY_FIELDS, CLASSES
from schemas.runtime.ranges import Range

SHAPES = [(64, 48), (33, 50), (40, 40)]
FIGURES = [
    ellipses([(3.3, -2.1, 9.2, 4.1, 0.7, 1.0)]),
    polygons([[(-8.2, -6.1), (-7.0, 9.3), (11.4, 2.2)]], [1.0]),
]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("figure", FIGURES)
@pytest.mark.parametrize("shift", [(0, 0), (18, -20), (200, 0)])
def test_the_cover_of_a_window_is_that_of_the_whole_image(
    shape: tuple[int, int], figure: Phantom, shift: tuple[int, int]
) -> None:
    moved = Phantom(
        figure.ellipses + np.pad(shift, (0, 4)), figure.corners + shift, figure.first, figure.values, figure.gaussians
    )
    image = np.zeros(shape)
    window, cover = cover_of(moved, shape)
    image[window] = cover
    np.testing.assert_allclose(image, pixel_means(moved, shape), atol=1e-6)


def disc_in_square(shape: tuple[int, int]) -> tuple[DrawnBodies, float]:
    """A square of class 1, in it a disc of class 2, and in this a hole."""
    frame = min(shape)
    rows = [(0.02, -0.03, 0.2, 0.2, 0, 0.5), (0.05, -0.05, 0.07, 0.07, 0, 0.1)]
    corners = np.array([[-1, -1], [-1, 1], [1, 1], [1, -1]]) * 0.3
    figures = make_section(Room(3, 2, 5), rows, [corners], [1.0], layers=([2, 3], [1]))
    return make_bodies(figures, [2, 0], [1], 0.1), float(frame)


@pytest.mark.parametrize("shape", SHAPES)
def test_areas_and_values_are_exact(shape: tuple[int, int]) -> None:
    bodies, frame = disc_in_square(shape)
    image, labels = render(bodies, shape, 4)
    square, disc, hole = 0.36 * frame**2, np.pi * (0.2 * frame) ** 2, np.pi * (0.07 * frame) ** 2
    expected = 0.1 * np.prod(shape) + (1.0 - 0.1) * square + (0.5 - 1.0) * disc + (0.1 - 0.5) * hole
    assert image.sum(dtype=float) == pytest.approx(expected, rel=1e-6)
    areas = {0: np.prod(shape) - square + hole, 1: square - disc, 2: disc - hole, 3: 0.0}
    for number, area in areas.items():
        assert abs((labels == number).sum() - area) < 0.03 * frame**2  # half a pixel along the outlines


@pytest.mark.parametrize("shape", SHAPES)
def test_a_pixel_belongs_to_the_class_with_the_largest_share_of_it(shape: tuple[int, int]) -> None:
    """By points in each pixel, where no two shares are nearly equal."""
    bodies, frame = disc_in_square(shape)
    points = 20
    y, x = ((np.arange(n * points) + 0.5) / points - n / 2 for n in shape)
    top = np.zeros((len(y), len(x)), int)
    top[(abs(y[:, None]) < 0.3 * frame) & (abs(x) < 0.3 * frame)] = 1
    top[np.hypot(y[:, None] - 0.02 * frame, x + 0.03 * frame) < 0.2 * frame] = 2
    top[np.hypot(y[:, None] - 0.05 * frame, x + 0.05 * frame) < 0.07 * frame] = 0
    tiles = top.reshape(shape[0], points, shape[1], points)
    shares = np.stack([(tiles == number).mean(axis=(1, 3)) for number in range(4)])
    clear = np.diff(np.sort(shares, axis=0)[-2:], axis=0)[0] > 0.05
    image, labels = render(bodies, shape, 4)
    np.testing.assert_array_equal(labels[clear], shares.argmax(axis=0)[clear])
    hard, same = render(bodies, shape, 4, partial_volume=False)
    np.testing.assert_array_equal(same[clear], labels[clear])
    np.testing.assert_array_equal(hard, np.array([0.1, 1.0, 0.5], np.float32)[same])
    assert len(np.unique(image)) > 3


def test_halves_belong_to_the_lower_class() -> None:
    figures = make_section(
        Room(0, 1, 4), outlines=[np.array([(-0.5, -0.5), (-0.5, 0.125), (0.5, 0.125), (0.5, -0.5)])], values=[1.0]
    )
    _, labels = render(make_bodies(figures, [], [1], 0.0), (4, 4), 4)
    np.testing.assert_array_equal(labels, [[1, 1, 0, 0]] * 4)


def drawn(seed: int = 0, **settings: object) -> DrawnBodies:
    return composite.draw(Composite.model_validate(settings), np.random.default_rng(seed))


def class_figures(bodies: DrawnBodies, number: int) -> list[Phantom]:
    classes = revalue(bodies.figures, bodies.ellipse_class, bodies.polygon_class)
    return [magnify(figure, 200) for figure, value, _ in painted_figures(classes) if value == number]


@pytest.mark.parametrize("kind", [*composite.KINDS, "mixed"])
@pytest.mark.parametrize("number", [GRAIN, PORE, FIBRE])
def test_bodies_of_a_class_do_not_overlap(kind: str, number: int) -> None:
    """Their shares of a pixel, also around the image, add up to 1 at most; and none is lost."""
    for seed in range(2):
        figures = class_figures(drawn(seed, kind=kind, grains=80, pores=40, fibres=10), number)
        total = sum(pixel_means(figure, (300, 300)).astype(float) for figure in figures)
        assert np.max(total) < 1 + 1e-5
        assert np.sum(total) == pytest.approx(sum(map(integral, figures)), rel=1e-5)


def test_grains_keep_their_gap() -> None:
    wide = drawn(kind="ellipse", grains=200, gap=0.02, aspect=1, pores=0, fibres=0).figures
    y, x = wide.ellipse_middle[: wide.ellipses].T.astype(float)
    radius = wide.ellipse_semi_axes[: wide.ellipses, 0].astype(float)
    apart = np.hypot(y[:, None] - y, x[:, None] - x) - radius[:, None] - radius
    assert apart[~np.eye(len(y), dtype=bool)].min() > 0.02 - 1e-6


def test_fibres_lie_over_pores_and_pores_over_grains() -> None:
    bodies = drawn(kind="cell", grains=100, pores=200, fibres=30, pore_radius=0.05, fibre_width=0.05, spread=0)
    _, labels = render(bodies, (200, 200), 4)
    for number, above in ((PORE, (FIBRE,)), (GRAIN, (FIBRE, PORE))):
        cover = sum(pixel_means(figure, (200, 200)) for figure in class_figures(bodies, number))
        assert set(np.unique(labels[np.asarray(cover) > 0.9])) == {number, *above}
    fibres = sum(pixel_means(figure, (200, 200)) for figure in class_figures(bodies, FIBRE))
    assert (labels[np.asarray(fibres) > 0.9] == FIBRE).all()


def test_values_are_those_of_the_classes_with_a_deviation_of_each_body() -> None:
    bodies = drawn(grains=5000, kind="blob", spread=0.05, grain=0.6, smallest=0.004, largest=0.02, background=0.3)
    grains = bodies.figures.polygon_value[bodies.polygon_class == GRAIN]
    grains = grains[grains > 0].astype(float)
    assert len(grains) > 500
    assert grains.mean() == pytest.approx(0.6, abs=5 * 0.05 / len(grains) ** 0.5)
    assert grains.std() == pytest.approx(0.05, rel=5 / (2 * len(grains)) ** 0.5)
    assert bodies.background == np.float32(0.3)


@pytest.mark.parametrize(
    "settings", [Boxes(), Composite(), Composite.model_validate({"grains": 0, "pores": 0, "fibres": 0})]
)
def test_stored_columns_are_those_of_the_schema(settings: Boxes | Composite) -> None:
    rng = np.random.default_rng(0)
    found = boxes.draw(settings, 64, rng) if isinstance(settings, Boxes) else composite.draw(settings, rng)
    sizes, columns = settings.room.sizes(), found.columns()
    assert set(columns) == {field.name for field in BODY_FIELDS}
    for field in BODY_FIELDS:
        values = np.asarray(columns[field.name])
        assert values.shape == field.shape(sizes), field.name
        assert np.array_equal(values.astype(field.dtype), values), field.name


@pytest.mark.parametrize(("count", "side", "size"), [(24, 20, 160), (24, 5, 45), (1, 7, 7), (6, 20, 83)])
def test_boxes_do_not_overlap_and_lie_in_the_image(count: int, side: int, size: int) -> None:
    for seed in range(5):
        places = place_boxes(count, side, size, np.random.default_rng(seed))
        covered = np.zeros((size, size), int)
        for y, x in places:
            covered[y : y + side, x : x + side] += 1
        assert covered.max() == 1
        assert covered.sum() == count * side**2


def test_boxes_are_placed_uniformly() -> None:
    corners = np.concatenate([place_boxes(1, 8, 64, np.random.default_rng(seed)) for seed in range(500)])
    assert corners.min() == 0
    assert corners.max() == 56
    np.testing.assert_allclose(corners.mean(axis=0), 28, atol=5 * 57 / 12**0.5 / 500**0.5)


@pytest.mark.parametrize("side", [64, 160])
def test_figures_in_boxes_have_the_pixels_of_the_seed(side: int) -> None:
    """Square, frame, disc and ring on coordinates from -1 to 1 over the middles of the pixels of a box."""
    size = 8 * side
    found = boxes.draw(Boxes(boxes=4), size, np.random.default_rng(1))
    image, labels = render(found, (size, size), len(CLASSES), partial_volume=False)
    assert (labels == (image > 0)).all()
    y = np.linspace(-1, 1, side)[:, None]
    square, radius = np.maximum(abs(y), abs(y.T)), np.hypot(y, y.T)
    expected = [np.ones((side, side), bool), square > 0.5, radius < 1, (radius < 1) & (radius > 0.5)]
    held = [value for value in np.unique(image) if value]
    areas = sorted(int((image == value).sum()) for value in held)
    assert areas == sorted(int(one.sum()) for one in expected)
    seen = []
    for value in held:
        rows, columns = np.nonzero(image == value)
        part = image[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1] == value
        seen.append(np.pad(part, (side - len(part)) // 2))
    for one in expected:
        assert any(part.shape == one.shape and (part == one).all() for part in seen)
    analytic = [1, 3 / 4, np.pi / 4 * (1 - 1 / side) ** 2, 3 * np.pi / 16 * (1 - 1 / side) ** 2]
    np.testing.assert_allclose(np.array(areas) / side**2, sorted(analytic), atol=0.6 / side)


def test_too_many_boxes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"boxes = 30: they would cover 47% of the image, at most 40% .* lower it"):
        Boxes(boxes=30)


def test_ranges_of_grey_values_overlap_between_classes_by_default() -> None:
    default = Composite()
    assert BACKGROUND == 0
    assert default.grain.low < default.fibre.high
    assert default.fibre.low - 2 * default.spread.high < default.background.high
    assert Range(low=0.05, high=0.3) == default.pore
