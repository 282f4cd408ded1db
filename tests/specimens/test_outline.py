"""Outlines: areas, edges, what each kind promises, and one object on every grid."""

from dataclasses import fields, replace
from math import erf, sqrt

import numpy as np
import pytest
from numpy.typing import NDArray
from pydantic import ValidationError
from scipy.ndimage import gaussian_filter
from scipy.spatial import ConvexHull

from generators.specimens.planar.outline import (
    EDGE_REACH,
    DrawnOutline,
    Kind,
    Outline,
    bounding_disc,
    draw,
    largest_corner_radius,
    render,
    sizes,
)
from generators.specimens.planar.pixel_centres import pixel_centres
from generators.specimens.planar.polygon import signed_distance, width
from schemas.fields import outlines
from schemas.fields.outlines import KINDS
from schemas.runtime.ranges import Range

type Corners = tuple[tuple[float, float], ...]
type Floats = NDArray[np.float64]

SHAPES = [(64, 48), (33, 50), (41, 37)]
SQUARE: Corners = ((-0.25, -0.25), (0.25, -0.25), (0.25, 0.25), (-0.25, 0.25))
EDGE = 1 / 32
CORNERS = ((-0.5, -0.5), (-0.5, 0.5), (0.5, -0.5), (0.5, 0.5))  # of a pixel


def polygon(corners: Corners, bite: Corners = ()) -> DrawnOutline:
    return DrawnOutline(0, len(corners), corners, len(bite), bite)


def population(outline: Outline, n: int, reach: float = 0.5, edge: float = EDGE) -> list[DrawnOutline]:
    return [draw(outline, np.random.default_rng(seed), reach, edge) for seed in range(n)]


def area(corners: Floats) -> float:
    y, x = corners.T
    return float(np.sum(y * np.roll(x, -1) - x * np.roll(y, -1)) / 2)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_areas_of_known_polygons(shape: tuple[int, int]) -> None:
    """To the number of pixels that the outline crosses, and to the second order in the edge where it is soft."""
    triangle: Corners = ((-0.3, -0.4), (0.2, 0.1), (-0.1, 0.35))
    for corners, bite, expected in (
        (SQUARE, (), 0.25),
        (triangle, (), 0.1375),
        (SQUARE, ((0, -0.1), (0.4, -0.1), (0.4, 0.1), (0, 0.1)), 0.25 - 0.2 * 0.25),
    ):
        fine = shape[0] * 8, shape[1] * 8
        assert render(polygon(corners, bite), *fine, 0.0).mean() == pytest.approx(expected, abs=0.005)
        assert render(polygon(corners, bite), *shape, 0.01).mean() == pytest.approx(expected, abs=0.002)


def test_a_sharp_object_fills_pixels_whose_centre_it_holds() -> None:
    """Fixes axes, signs and origin: rows -0.3..0.1 of 10, columns 0.05..0.45 of 7."""
    box: Corners = ((-0.301, 0.05), (0.101, 0.05), (0.101, 0.45), (-0.301, 0.45))
    expected = np.zeros((10, 7), np.float32)
    expected[2:7, 4:7] = 1  # columns at 1/7, 2/7, 3/7
    image = render(polygon(box), 10, 7, 0.0)
    assert image.dtype == np.float32
    assert np.array_equal(image, expected)


@pytest.mark.parametrize("edge", [0.01, 1 / 32, 0.06])
@pytest.mark.parametrize("axis", [0, 1])
def test_the_edge_of_a_half_plane_is_a_blurred_step(edge: float, axis: int) -> None:
    """Against the integral of the Gaussian over the half plane from -0.1 on."""
    half: Corners = ((-0.1, -5.0), (5.0, -5.0), (5.0, 5.0), (-0.1, 5.0))
    corners = half if axis == 0 else tuple((y, x) for x, y in reversed(half))
    image = np.moveaxis(render(polygon(corners), 65, 64, edge), axis, 0)
    y = pixel_centres(image.shape[0])
    step = np.arange(-1, 1, 1e-4) + 5e-5
    weights = np.exp(-((y[:, None] - step) ** 2) / (2 * edge**2)) * 1e-4 / (edge * np.sqrt(2 * np.pi))
    expected = (weights * (step > -0.1)).sum(axis=1)
    assert image == pytest.approx(np.broadcast_to(expected[:, None], image.shape), abs=1e-4)


def test_the_width_is_a_standard_deviation() -> None:
    half: Corners = ((0.0, -5.0), (5.0, -5.0), (5.0, 5.0), (0.0, 5.0))
    image = render(polygon(half), 32, 3, EDGE)
    assert image[17, 1] == pytest.approx((1 + erf(1 / sqrt(2))) / 2)
    assert image[15, 1] == pytest.approx((1 - erf(1 / sqrt(2))) / 2)


@pytest.mark.parametrize("kind", KINDS)
def test_a_soft_object_is_nearly_a_blurred_one(kind: Kind) -> None:
    """They differ at corners only, over an area of the second order in the edge: the rms falls in proportion to it."""
    rms = {}
    for edge in (1 / 32, 1 / 64):
        drawn, n = population(Outline(kind=kind), 12), 256
        sharp = [render(outline, n, n, 0.0).astype(float) for outline in drawn]
        blurred = np.array([gaussian_filter(image, n * edge, truncate=6) for image in sharp])
        soft = np.array([render(outline, n, n, edge) for outline in drawn])
        rms[edge] = np.linalg.norm(soft - blurred) / np.linalg.norm(blurred)
        assert soft.mean() == pytest.approx(blurred.mean(), rel=0.1)
    assert rms[1 / 32] < (0.15 if kind == "bitten" else 0.08)
    assert rms[1 / 32] / rms[1 / 64] == pytest.approx(2, rel=0.2)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("factor", [2, 3, 4])
def test_a_finer_grid_shows_the_same_object(shape: tuple[int, int], factor: int) -> None:
    first = [n * factor // 2 - n // 2 * factor for n in shape]
    for drawn in population(Outline(kind="mixed"), 20):
        fine = render(drawn, shape[0] * factor, shape[1] * factor, 0.02)
        assert np.array_equal(fine[first[0] :: factor, first[1] :: factor], render(drawn, *shape, 0.02))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("reach", "edge"), [(0.5, EDGE), (0.25, EDGE), (0.5, 0.0), (0.25, 0.005)])
def test_objects_stay_within_reach(kind: Kind, reach: float, edge: float) -> None:
    """Edge and all, in a thousand draws of the largest objects."""
    large = Outline(kind=kind, size=Range(low=0.9, high=1), aspect=Range(low=1, high=1))
    distance = np.hypot(pixel_centres(32)[:, None], pixel_centres(32))
    farthest = 0.0
    for drawn in population(large, 1000, reach, edge):
        image = render(drawn, 32, 32, edge)
        assert image.min() >= 0
        assert not image[distance > reach].any()
        farthest = max(farthest, float(np.hypot(*drawn.body.T).max()))
    assert largest_corner_radius(reach, edge) * 0.95 < farthest <= reach - EDGE_REACH * edge


@pytest.mark.parametrize("kind", KINDS)
def test_bodies_are_convex_with_corners_in_order(kind: Kind) -> None:
    for drawn in population(Outline(kind=kind), 200):
        for corners in (drawn.body, drawn.bite):
            if len(corners):
                assert area(corners) == pytest.approx(ConvexHull(corners).volume, rel=1e-9)
                assert len(ConvexHull(corners).vertices) == len(corners)


def test_a_bite_leaves_a_corner_that_points_inwards() -> None:
    """A corner of the bite lies within the body, not all of the bite does, and the body's middle is left."""
    depths = []
    for drawn in population(Outline(kind="bitten"), 300):
        nothing = np.zeros((0, 2))
        inside = [signed_distance(drawn.body, nothing, *corner[:, None]).item() for corner in drawn.bite]
        middle = drawn.body.mean(axis=0)[:, None]
        assert max(inside) > 0 > min(inside)
        assert signed_distance(drawn.body, drawn.bite, *middle).item() > 0
        depths.append(max(inside))
    assert np.mean(depths) > 0.02


def filled(drawn: DrawnOutline) -> float:
    """The area of an object relative to that of the hull of its pixels: a little more than 1 if it is convex."""
    corners = (np.argwhere(render(drawn, 300, 300, 0.0) > 0)[:, None] + np.array(CORNERS)).reshape(-1, 2)
    return float(len(corners) / 4 / ConvexHull(corners).volume)


def test_bitten_objects_are_not_convex_and_others_are() -> None:
    shares = {kind: np.array([filled(drawn) for drawn in population(Outline(kind=kind), 25)]) for kind in KINDS}
    assert shares["hull"].min() > 0.92
    assert shares["faceted"].min() > 0.95
    assert np.mean(shares["bitten"] < 0.92) > 0.6


def symmetry(corners: Floats, fold: int) -> bool:
    """Whether a turn by a full one's share brings corners onto corners."""
    angle = 2 * np.pi / fold
    turned = corners @ np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return bool(np.max(np.min(np.linalg.norm(turned[:, None] - corners, axis=-1), axis=1)) < 1e-6)


def test_regular_facets_have_the_symmetry_of_a_crystal() -> None:
    folds = [3, 4, 6]
    drawn = population(Outline(kind="faceted", regular=1), 300)
    found = [[symmetry(outline.body, fold) for fold in folds] for outline in drawn]
    assert np.any(found, axis=1).all()
    assert np.mean(found, axis=0) == pytest.approx([2 / 3, 1 / 3, 1 / 3], abs=0.08)  # six-fold is three-fold, too
    unequal = population(Outline(kind="faceted", regular=0), 100)
    assert np.mean([any(symmetry(outline.body, fold) for fold in folds) for outline in unequal]) < 0.1


@pytest.mark.parametrize("regular", [0.0, 1.0])
def test_facets_lie_in_the_directions_of_a_crystal(regular: float) -> None:
    """Between any two, a multiple of 60, 45 or 30 degrees; the first in any direction."""
    first = []
    for outline in population(Outline(kind="faceted", regular=regular), 200):
        along = np.roll(outline.body, -1, axis=0) - outline.body
        angles = np.arctan2(*along[np.hypot(*along.T) > 1e-3].T)  # shorter ones are rounded
        turns = [(angles - angles[0]) / step for step in (np.pi / 3, np.pi / 4, np.pi / 6)]
        assert any(np.max(abs(turn - np.rint(turn))) < 1e-3 for turn in turns)
        assert np.hypot(*outline.body.T).max() <= largest_corner_radius(0.5, EDGE)
        first.append(angles[0] % (np.pi / 6))
    assert np.mean(first) == pytest.approx(np.pi / 12, abs=0.04)


def test_mixtures_follow_their_weights() -> None:
    drawn = population(Outline(kind="mixed", weights=(1, 2, 1)), 800)
    assert np.bincount([outline.kind for outline in drawn]) / 800 == pytest.approx([0.25, 0.5, 0.25], abs=0.05)
    assert all((outline.bite_corners > 0) == (KINDS[outline.kind] == "bitten") for outline in drawn)
    assert {outline.kind for outline in population(Outline(kind="mixed", weights=(0, 0, 3)), 50)} == {2}


def test_hulls_are_those_of_points_in_the_disc() -> None:
    """With very many points, the hull is nearly the ellipse."""
    settings = Outline(points=Range(low=64, high=64), size=Range(low=0.8, high=0.8), aspect=Range(low=0.5, high=0.5))
    drawn = population(settings, 200)
    radius = 0.8 * largest_corner_radius(0.5, EDGE)
    assert np.mean([area(outline.body) for outline in drawn]) == pytest.approx(0.5 * np.pi * radius**2, rel=0.2)
    moments = sum(outline.body.T @ outline.body / outline.corners for outline in drawn) / 200
    assert moments / np.trace(moments) == pytest.approx(np.eye(2) / 2, abs=0.05)  # no direction is preferred
    longest = [np.hypot(*outline.body.T).max() for outline in drawn]
    assert max(longest) <= radius


def test_the_disc_about_an_object() -> None:
    assert bounding_disc(polygon(((-0.2, 0.1), (0.1, 0.1), (0.1, 0.2), (-0.2, 0.2)))) == pytest.approx(
        (-0.05, 0.15, 0.15)
    )


def test_columns_hold_outlines_exactly() -> None:
    for settings in (Outline(), Outline(kind="mixed"), Outline(kind="faceted", points=Range(low=3, high=3))):
        lengths = sizes(settings)
        for outline in population(settings, 300):
            for field in outlines.FIELDS:
                value = np.array(getattr(outline, field.name.removeprefix("outline_")))
                assert np.array_equal(value.astype(field.dtype), value)
                assert value.shape == field.shape(lengths)
            assert not np.any(outline.corner[outline.corners :])
            stored = replace(outline, corner=tuple(map(tuple, np.array(outline.corner, np.float32).tolist())))
            assert np.array_equal(render(stored, 9, 9, EDGE), render(outline, 9, 9, EDGE))


def test_another_seed_is_another_outline() -> None:
    for kind in KINDS:
        assert len({draw(Outline(kind=kind), np.random.default_rng(k), 0.5, EDGE).corner for k in range(200)}) == 200
        assert len(set(population(Outline(kind=kind), 1) * 2)) == 1


def test_every_outline_takes_as_many_random_numbers() -> None:
    for settings in (Outline(), Outline(kind="mixed"), Outline(kind="faceted", regular=1), Outline(kind="bitten")):
        for seed in range(5):
            rng, other = np.random.default_rng(seed), np.random.default_rng(seed)
            draw(settings, rng, 0.25, 0.0)
            other.random(26 + 2 * 20)
            assert rng.random() == other.random()


TRIANGLES = Outline(points=Range(low=3, high=3))
LEAST = 2.2 / 32  # more than 3 / sqrt(2) pixels: a disc of half a pixel's diagonal fits in


@pytest.mark.parametrize("kind", ["hull", "bitten"])
def test_no_sharp_object_falls_between_the_pixels(kind: Kind) -> None:
    """Of hulls of three points, as they come, two in a hundred do."""
    settings = TRIANGLES.model_copy(update={"kind": kind})
    for least, empty in ((0.0, range(5, 30)), (LEAST, [0])):
        drawn = [draw(settings, np.random.default_rng(seed), 0.5, 0.0, least) for seed in range(500)]
        assert sum(not render(outline, 32, 32, 0.0).any() for outline in drawn) in empty


def test_only_hulls_that_are_too_narrow_are_drawn_again() -> None:
    for settings in (TRIANGLES, Outline(kind="mixed")):
        for seed, before in enumerate(population(settings, 200, edge=0.0)):
            after = draw(settings, np.random.default_rng(seed), 0.5, 0.0, LEAST)
            assert width(after.body.tolist()) >= LEAST
            assert (after == before) == (width(before.body.tolist()) >= LEAST)


def test_where_no_hull_is_wide_enough_the_widest_is_taken() -> None:
    first, wide = (draw(TRIANGLES, np.random.default_rng(0), 0.5, EDGE, least) for least in (0.0, 2.0))
    assert 0.5 > width(wide.body.tolist()) > width(first.body.tolist())


def test_every_column_says_what_it_is() -> None:
    assert [f"outline_{column.name}" for column in fields(DrawnOutline)] == [field.name for field in outlines.FIELDS]
    for info in Outline.model_fields.values():
        assert info.description
        assert isinstance(info.json_schema_extra, dict)


@pytest.mark.parametrize("edge", [0.07, -0.01])
def test_an_edge_too_wide_is_refused(edge: float) -> None:
    with pytest.raises(ValueError, match=r"edge = .* from 0 to 0.0625 where objects may reach 0.5 from"):
        largest_corner_radius(0.5, edge)
    assert largest_corner_radius(0.5, 1 / 16) > 0


@pytest.mark.parametrize(
    ("settings", "rule"),
    [
        ({"kind": "round"}, "hull"),
        ({"weights": (0, 0, 0)}, "not all 0"),
        ({"weights": (1, -1, 1)}, "at least 0"),
        ({"weights": (1, float("nan"), 1)}, "at least 0"),
        ({"points": "2:5"}, "at least 3"),
        ({"points": 3.5}, "whole"),
        ({"size": 1.5}, "at most 1"),
        ({"bite": 1}, "at most 0.95"),
        ({"colour": "black"}, "Extra inputs"),
    ],
)
def test_bad_settings(settings: dict[str, object], rule: str) -> None:
    with pytest.raises(ValidationError, match=rule):
        Outline.model_validate(settings)
