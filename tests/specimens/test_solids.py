from math import pi, prod, sqrt
from typing import get_args

import numpy as np
import pytest

from generators.specimens.particles.mesh import volume
from generators.specimens.particles.solids import CORNERS, KINDS, Kind, cuboid, ellipsoid, hull, radius, solid

from .closed_mesh import is_closed

# Volume of the body of edge 1, as every table of polyhedra gives it. Decahedron: the pentagonal bipyramid J13.
VOLUMES: dict[Kind, float] = {
    "cuboid": 1,
    "tetrahedron": 1 / (6 * sqrt(2)),
    "octahedron": sqrt(2) / 3,
    "dodecahedron": (15 + 7 * sqrt(5)) / 4,
    "icosahedron": 5 * (3 + sqrt(5)) / 12,
    "cuboctahedron": 5 * sqrt(2) / 3,
    "truncated_octahedron": 8 * sqrt(2),
    "truncated_cube": (21 + 14 * sqrt(2)) / 3,
    "decahedron": (5 + sqrt(5)) / 12,
    "hexagonal_prism": 3 * sqrt(3) / 2,
    "triangular_prism": sqrt(3) / 4,
}


@pytest.mark.parametrize("kind", CORNERS)
def test_volume_of_polyhedra_with_the_edge(kind: Kind) -> None:
    corners = np.array(CORNERS[kind], dtype=np.float64)
    distances = np.linalg.norm(corners[:, None] - corners, axis=-1)
    edge = np.min(distances[distances > 1e-9])
    assert volume(hull(corners)) == pytest.approx(VOLUMES[kind] * edge**3, rel=1e-13)


@pytest.mark.parametrize("kind", KINDS)
def test_size_means_the_same_volume_for_every_kind(kind: Kind) -> None:
    half = (2.0, 0.5, 3.0)
    assert volume(solid(kind, half)) == pytest.approx(8 * prod(half), rel=1e-13)


@pytest.mark.parametrize("kind", KINDS)
def test_solids_are_closed_convex_and_turned_outwards(kind: Kind) -> None:
    mesh = solid(kind, (1.0, 2.0, 0.5))
    a, b, c = mesh.transpose(1, 0, 2)
    normals = np.cross(b - a, c - a)
    heights = normals @ mesh.reshape(-1, 3).T - np.sum(normals * a, axis=1)[:, None]
    assert is_closed(mesh)
    assert np.max(heights) < 1e-9
    assert np.max(np.min(heights, axis=1)) < -1e-6  # the body lies behind each of its faces


@pytest.mark.parametrize("kind", KINDS)
def test_the_middle_is_the_centre_of_mass(kind: Kind) -> None:
    mesh = solid(kind, 1.0)
    weights = np.sum(mesh[:, 0] * np.cross(mesh[:, 1], mesh[:, 2]), axis=1) / 6
    assert weights @ mesh.sum(axis=1) / 4 == pytest.approx(0, abs=1e-12)


def test_a_cuboid_reaches_its_half_extents() -> None:
    mesh = cuboid((1.0, 2.0, 3.0))
    assert len(mesh) == 12
    assert {tuple(abs(vertex)) for vertex in mesh.reshape(-1, 3)} == {(1.0, 2.0, 3.0)}


@pytest.mark.parametrize("level", range(4))
def test_ellipsoids_have_the_exact_volume(level: int) -> None:
    mesh = ellipsoid((1.0, 2.0, 3.0), level)
    assert len(mesh) == 20 * 4**level
    assert volume(mesh) == pytest.approx(4 / 3 * pi * 6, rel=1e-13)
    assert is_closed(mesh)


def test_ellipsoids_near_the_surface_as_the_area_of_their_triangles() -> None:
    errors = [np.max(abs(np.linalg.norm(ellipsoid(1.0, level), axis=-1) - 1)) for level in (2, 3, 4)]
    assert errors[0] / errors[1] == pytest.approx(4, rel=0.1)
    assert errors[1] / errors[2] == pytest.approx(4, rel=0.05)


def test_every_kind_is_known() -> None:
    assert get_args(Kind.__value__) == KINDS
    assert {*CORNERS, "ellipsoid"} == set(KINDS)
    assert radius("cuboid") == pytest.approx(sqrt(3))
    assert radius("tetrahedron") == pytest.approx(sqrt(3 / 8) * (8 * 6 * sqrt(2)) ** (1 / 3))


def test_what_is_given_away_is_a_copy() -> None:
    solid("cuboid", 1.0)[:] = 0
    assert volume(solid("cuboid", 1.0)) == pytest.approx(8)
