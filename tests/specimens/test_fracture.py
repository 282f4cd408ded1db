"""Broken bodies: no piece overlaps another, and together they are the body."""

from itertools import combinations

import numpy as np
import pytest

from generators.specimens.particles import fracture
from generators.specimens.particles.mesh import (
    Mesh,
    displace,
    rotate,
    subdivide,
    support,
    surface_distance,
    twist,
    volume,
)
from generators.specimens.particles.nanoparticle import Nanoparticle, build, draw
from generators.specimens.particles.projection import occupancy
from generators.specimens.particles.solids import KINDS, Kind, cuboid, solid
from schemas.runtime.ranges import Range

from .closed_mesh import Box, is_closed

POINTS = ((0.1, -0.5, 0.2), (-0.4, 0.3, 0.6), (0.7, 0.2, -0.3), (0.0, -0.1, -0.8))
KEPT = (1, 1, 1, 1)
VOXELS = (71, 64, 65), (0.077, 0.085, 0.081)
BROKEN = Nanoparticle(fractured=1, lost=0.3, pieces=Range(low=2, high=6))


def wavy(kind: Kind) -> Mesh:
    """A body that is not convex."""
    waves, phases = np.array([[0.3, 0.1, -0.2], [0.1, -0.4, 0.2]]), np.array([0.1, 0.5])
    return twist(displace(subdivide(subdivide(solid(kind, (1.0, 1.2, 0.8)))), 0.5, waves, phases), 0.4)


@pytest.fixture(params=["cuboid", "tetrahedron", "ellipsoid"])
def body(request: pytest.FixtureRequest) -> Mesh:
    return wavy(request.param)


@pytest.mark.parametrize("kind", KINDS)
def test_pieces_without_gap_are_the_body(kind: Kind) -> None:
    whole = solid(kind, 1.0)
    pieces = fracture.break_body(whole, POINTS, KEPT, 0.0)
    assert all(is_closed(piece) for piece in pieces)
    assert min(map(volume, pieces)) > 0.1
    assert sum(map(volume, pieces)) == pytest.approx(volume(whole), rel=1e-12)


def test_every_voxel_belongs_to_the_nearest_point(body: Mesh) -> None:
    """The definition of a Voronoi cell, of a body that is not convex."""
    axes = [(np.arange(n) - n // 2) * step for n, step in zip(*VOXELS, strict=True)]
    places = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)
    points = fracture.points_within(body, POINTS)
    nearest = np.argmin([np.sum((places - point) ** 2, axis=-1) for point in points], axis=0)
    whole = occupancy(body, *VOXELS)
    for k, piece in enumerate(fracture.break_body(body, POINTS, KEPT, 0.0)):
        assert np.array_equal(occupancy(piece, *VOXELS), whole & (nearest == k))


def test_gaps_keep_the_volume_and_never_overlap(body: Mesh) -> None:
    for gap in (0.02, 0.3):
        pieces = fracture.break_body(body, POINTS, KEPT, gap)
        assert sum(map(volume, pieces)) == pytest.approx(volume(body), rel=1e-12)
        filled = np.sum([occupancy(piece, *VOXELS) for piece in pieces], axis=0)
        assert filled.max() == 1
        assert np.array_equal(filled, occupancy(np.concatenate(pieces), *VOXELS))


def test_a_crack_opens_as_wide_as_was_drawn(body: Mesh) -> None:
    points, gap = fracture.points_within(body, POINTS), 0.15
    pieces = fracture.break_body(body, POINTS, KEPT, gap)
    for i, j in combinations(range(len(POINTS)), 2):
        distance = float(np.linalg.norm(points[j] - points[i]))
        normal = (points[j] - points[i]) / distance
        assert -support(pieces[j], -normal) - support(pieces[i], normal) >= gap * distance - 1e-12
    two = fracture.break_body(body, POINTS[:2], KEPT, gap)
    distance = float(np.linalg.norm(points[1] - points[0]))
    normal = (points[1] - points[0]) / distance
    assert -support(two[1], -normal) - support(two[0], normal) == pytest.approx(gap * distance, rel=1e-12)


def test_lost_pieces_are_not_there(body: Mesh) -> None:
    every = fracture.break_body(body, POINTS, KEPT, 0.1)
    some = fracture.break_body(body, POINTS, (0, 1, 0, 1), 0.1)
    assert [piece.tobytes() for piece in some] == [every[1].tobytes(), every[3].tobytes()]


def test_rays_leave_a_box_at_its_sides() -> None:
    box = Box((5.0, 8.0, 11.0), (0.31, -0.83, 0.42, 0.59))
    for ray in np.random.default_rng(0).normal(size=(50, 3)):
        assert surface_distance(box.mesh, ray) == pytest.approx(np.min(box.half / abs(box.axes @ ray)), rel=1e-12)
    for corner in cuboid(1.0).reshape(-1, 3):  # through vertices, edges and middles of faces, too
        for ray in (corner, corner * (1, 1, 0), corner * (0, 0, 1)):
            assert surface_distance(cuboid(1.0), ray) == pytest.approx(1, rel=1e-15)


def test_points_lie_within_their_body() -> None:
    for kind in KINDS:
        far = tuple(tuple(0.999 * row) for row in np.random.default_rng(1).normal(size=(20, 3)))
        relative = tuple((z / r, y / r, x / r) for z, y, x in far for r in [1.001 * (z * z + y * y + x * x) ** 0.5])
        for point in fracture.points_within(wavy(kind), relative):
            assert occupancy(rotate(wavy(kind) - point, (1.0, 0, 0, 0)), (1, 1, 1), (1.0, 1.0, 1.0)).all()


def test_particles_break_as_the_recipe_says() -> None:
    drawn = [draw(BROKEN, np.random.default_rng(seed)) for seed in range(2000)]
    assert np.bincount([p.pieces for p in drawn])[2:] / len(drawn) == pytest.approx(np.full(5, 0.2), abs=0.04)
    assert min(sum(p.piece_kept) for p in drawn) >= 1
    assert all(sum(p.piece_kept[p.pieces :]) == 0 and not np.any(p.piece_point[p.pieces :]) for p in drawn)
    many = [p for p in drawn if p.pieces == 6]
    assert np.mean([p.piece_kept for p in many]) == pytest.approx(0.7, abs=0.03)
    radii = np.linalg.norm(np.concatenate([p.piece_point[: p.pieces] for p in drawn]), axis=1)
    assert np.mean(radii**3) == pytest.approx(0.5, abs=0.02)  # uniform in the ball
    assert all(0.02 - 1e-8 <= p.gap <= 0.2 + 1e-8 for p in drawn)


def test_one_piece_stays_whatever_is_lost() -> None:
    gone = BROKEN.model_copy(update={"lost": 1.0})
    assert {sum(draw(gone, np.random.default_rng(seed)).piece_kept) for seed in range(50)} == {1}


def test_a_whole_body_is_one_piece() -> None:
    particle = draw(Nanoparticle(), np.random.default_rng(0))
    assert (particle.pieces, particle.gap, particle.piece_kept) == (1, 0.0, (1, 0, 0, 0, 0))
    assert not np.any(particle.piece_point)


def test_broken_particles_are_closed_and_lose_only_what_is_lost() -> None:
    for seed in range(30):
        particle = draw(BROKEN, np.random.default_rng(seed))
        assert is_closed(build(particle, 100.0))
        assert volume(build(particle, 100.0)) > 0


def test_pieces_far_apart_stay_in_the_field() -> None:
    wide = BROKEN.model_copy(update={"gap": Range(low=1.5, high=2), "size": Range(low=0.3, high=0.4), "lost": 0.0})
    reaches = [np.max(abs(build(draw(wide, np.random.default_rng(k)), 1.0)[..., 1:])) for k in range(100)]
    assert 0.35 < max(reaches) <= 0.5 - wide.margin + 1e-6
