"""Convex polygons: hulls, what a bite leaves of an outline, and distances from it."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.spatial import ConvexHull

from generators.specimens.planar.polygon import boundary, hull, signed_distance, signed_distance_numpy, width

type Floats = NDArray[np.float64]

NOTHING = np.zeros((0, 2))
BODY = np.array([(-1.0, -1.0), (1.0, -1.0), (1.0, 1.0), (-1.0, 1.0)])
BITES = {
    "none": NOTHING,
    "missing": BODY + np.array([3.0, 0.0]),
    "a corner": 0.5 * BODY + np.array([1.0, 1.0]),
    "an edge": 0.5 * BODY + np.array([1.0, 0.1]),
    "amid": 0.3 * BODY,
    "a band": BODY * (0.2, 2.0) + np.array([0.3, 0.0]),
    "half": BODY + np.array([1.0, 0.0]),
}


def random_hull(rng: np.random.Generator, size: float) -> Floats:
    points = size * rng.normal(size=(int(rng.integers(3, 20)), 2)) + rng.normal(size=2) / 2
    return np.array(hull([(y, x) for y, x in points.tolist()]))


def pairs(n: int) -> list[tuple[Floats, Floats]]:
    rng = np.random.default_rng(7)
    return [(random_hull(rng, 1.0), random_hull(rng, 0.7)) for _ in range(n)]


def within(polygon: Floats, points: Floats) -> NDArray[np.bool_]:
    """By Qhull's half planes: another way than ours."""
    if not len(polygon):
        return np.zeros(points.shape[:-1], bool)
    equations = ConvexHull(polygon).equations
    return np.all(points @ equations[:, :2].T + equations[:, 2] <= 0, axis=-1)


def sampled(body: Floats, bite: Floats, steps: int = 4000) -> tuple[Floats, float]:
    """Points of the outline close to one another, and its length: edges, without what the other polygon hides."""
    points, length = [], 0.0
    for polygon, other, hidden in ((body, bite, True), (bite, body, False)):
        for start, end in zip(polygon, np.roll(polygon, -1, axis=0), strict=True):
            line = start + (np.arange(steps)[:, None] + 0.5) / steps * (end - start)
            seen = line[within(other, line) != hidden]
            points.append(seen)
            length += len(seen) / steps * float(np.linalg.norm(end - start))
    return np.concatenate(points), length


@pytest.mark.parametrize("n", [3, 4, 7, 30, 200])
def test_hulls_are_those_of_qhull(n: int) -> None:
    rng = np.random.default_rng(n)
    for _ in range(50):
        points = rng.normal(size=(n, 2))
        ours = np.array(hull([(y, x) for y, x in points.tolist()]))
        theirs = points[ConvexHull(points).vertices]  # counter-clockwise, from another corner
        first = int(np.flatnonzero((theirs == ours[0]).all(axis=1))[0])
        assert np.array_equal(ours, np.roll(theirs, -first, axis=0))


def test_a_hull_has_no_corner_in_line_or_twice() -> None:
    lattice = [(float(y), float(x)) for y in range(5) for x in range(4)]
    assert hull(lattice * 2) == [(0, 0), (4, 0), (4, 3), (0, 3)]


@pytest.mark.parametrize("name", BITES)
def test_an_outline_is_what_two_polygons_leave(name: str) -> None:
    segments = boundary(BODY, BITES[name])
    length = float(np.linalg.norm(segments[:, 1] - segments[:, 0], axis=1).sum())
    assert length == pytest.approx(sampled(BODY, BITES[name])[1], abs=2e-3)


def test_outlines_of_random_polygons() -> None:
    bitten = 0
    for body, bite in pairs(60):
        segments = boundary(body, bite)
        length = float(np.linalg.norm(segments[:, 1] - segments[:, 0], axis=1).sum())
        assert length == pytest.approx(sampled(body, bite)[1], rel=2e-3, abs=1e-2)
        bitten += len(segments) != len(body)
    assert bitten > 30


def test_the_compiled_distance_is_the_plain_one() -> None:
    y, x = np.linspace(-2, 2, 23), np.linspace(-2.5, 2, 38)
    for body, bite in [*((BODY, bite) for bite in BITES.values()), *pairs(100)]:
        if len(boundary(body, bite)):
            assert signed_distance(body, bite, y, x) == pytest.approx(
                signed_distance_numpy(body, bite, y, x), abs=1e-14
            )


@pytest.mark.parametrize("name", BITES)
def test_distances_are_those_from_points_of_the_outline(name: str) -> None:
    """The sign by half planes of Qhull, the distance by trying many points."""
    bite, y, x = BITES[name], np.linspace(-1.9, 1.8, 17), np.linspace(-1.7, 1.9, 12)
    points = np.stack(np.meshgrid(y, x, indexing="ij"), axis=-1)
    outline = sampled(BODY, bite, 1500)[0]
    least = np.min(np.linalg.norm(points[..., None, :] - outline, axis=-1), axis=-1)
    inside = within(BODY, points) & ~within(bite, points)
    assert signed_distance(BODY, bite, y, x) == pytest.approx(np.where(inside, least, -least), abs=2e-3)


def test_distance_from_a_square() -> None:
    """Within, beside an edge, and beyond a corner; the axes are y and x."""
    distance = signed_distance(BODY * (1.0, 2.0), NOTHING, np.array([0.0, 0.5, 4.0]), np.array([0.0, 1.8, 6.0]))
    assert distance == pytest.approx(np.array([[1, 0.2, -4], [0.5, 0.2, -4], [-3, -3, -5]]))


def test_the_width_is_that_of_the_narrowest_gap_it_passes() -> None:
    """Against its extent in every direction, of which the least is found by trying; and of known polygons."""
    assert width([(0.0, 0.0), (0.0, 2.0), (3**0.5, 1.0)][::-1]) == pytest.approx(3**0.5)
    assert width(BODY.tolist()) == pytest.approx(2)
    assert width([(0.0, 0.0), (1.0, 2.0)]) == width([(0.0, 0.0)]) == width([]) == 0
    angles = np.linspace(0, np.pi, 20_001)
    directions = np.stack([np.sin(angles), np.cos(angles)])
    for body, _ in pairs(30):
        extents = np.ptp(body @ directions, axis=0)
        assert width(body.tolist()) == pytest.approx(extents.min(), rel=1e-3)
