import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from generators.specimens.particles.mesh import (
    Mesh,
    clip,
    displace,
    inflate,
    rotate,
    rotation_matrix,
    sine,
    subdivide,
    support,
    transform,
    translate,
    twist,
    volume,
)
from generators.specimens.particles.solids import KINDS, Kind, cuboid, ellipsoid, solid

from .closed_mesh import is_closed

TURN = (0.3, -0.8, 0.4, 0.6)
WAVES = np.array([[0.3, 0.1, -0.2], [0.1, -0.4, 0.2], [-0.2, 0.3, 0.3]])
PHASES = np.array([0.1, 0.5, 0.8])


def pebble(kind: Kind = "octahedron") -> Mesh:
    """A wavy body that is not convex."""
    return displace(subdivide(subdivide(solid(kind, (1.0, 1.3, 0.8)))), 0.5, WAVES, PHASES)


def sides(mesh: Mesh) -> np.ndarray:
    """Six times the signed volume under each triangle, seen from the origin."""
    return np.asarray(np.linalg.det(mesh))


def test_sine() -> None:
    turns = np.concatenate([np.linspace(-3, 3, 10001), np.arange(-8, 9) / 4])
    assert [sine(turn) for turn in turns] == pytest.approx(np.sin(2 * np.pi * turns), abs=1e-13)


def test_rotation_is_that_of_the_quaternion() -> None:
    w, *axis = TURN
    assert rotation_matrix(TURN) == pytest.approx(Rotation.from_quat([*axis, w]).as_matrix(), abs=1e-15)
    assert rotation_matrix((1.0, 0.0, 0.0, 0.0)) == pytest.approx(np.eye(3), abs=0)


def test_moving_keeps_the_volume() -> None:
    mesh = pebble()
    moved = translate(rotate(mesh, TURN), (3.0, -2.0, 1.0))
    assert volume(moved) == pytest.approx(volume(mesh), rel=1e-12)
    assert volume(transform(mesh, np.diag([2.0, 3.0, 0.5]))) == pytest.approx(3 * volume(mesh), rel=1e-12)


def test_turning_back() -> None:
    mesh = pebble()
    assert transform(rotate(mesh, TURN), rotation_matrix(TURN).T) == pytest.approx(mesh, abs=1e-14)


def test_subdividing_leaves_the_body() -> None:
    mesh = solid("dodecahedron", (1.0, 2.0, 3.0))
    fine = subdivide(mesh)
    assert len(fine) == 4 * len(mesh)
    assert volume(fine) == pytest.approx(volume(mesh), rel=1e-13)
    areas = np.linalg.norm(np.cross(fine[:, 1] - fine[:, 0], fine[:, 2] - fine[:, 0]), axis=1).reshape(-1, 4)
    assert areas == pytest.approx(np.repeat(areas[:, :1], 4, axis=1))


@pytest.mark.parametrize("body", [cuboid((1.0, 2.0, 3.0)), pebble(), twist(pebble("cuboid"), 0.9)])
@pytest.mark.parametrize("offset", [-0.7, 0.0, 0.3, 0.9])
def test_the_two_sides_of_a_cut_are_the_whole(body: Mesh, offset: float) -> None:
    normal = np.array([0.4, 0.5, -0.9])
    below, above = clip(body, normal, offset), clip(body, -normal, -offset)
    assert is_closed(below)
    assert is_closed(above)
    assert volume(below) > 0.1
    assert volume(above) > 0.1
    assert volume(below) + volume(above) == pytest.approx(volume(body), rel=1e-12)
    assert support(below, normal) <= offset + 1e-12


def test_a_cut_box_has_the_volume_of_a_box() -> None:
    """Fixes side, place and sign: 2 of the 6 nm along x stay."""
    below = clip(cuboid((1.0, 2.0, 3.0)), (0.0, 0.0, 2.0), -2.0)
    assert volume(below) == pytest.approx(2 * 4 * 2, rel=1e-13)
    assert np.max(below[..., 2]) == -1.0


def test_the_cap_faces_outwards() -> None:
    normal = np.array([0.2, -0.3, 0.9])
    below = clip(solid("icosahedron", 1.0), normal, 0.4)
    on_cap = np.all(abs(below @ normal - 0.4) < 1e-12, axis=1)
    a, b, c = below[on_cap].transpose(1, 0, 2)
    assert on_cap.sum() >= 3
    assert np.min(np.cross(b - a, c - a) @ normal) > 0


def test_nested_cuts() -> None:
    """A cut behind another adds nothing; cuts of convex bodies commute."""
    body, first, second = solid("dodecahedron", (1.0, 1.2, 1.5)), (0.3, 0.8, -0.1), (-0.5, 0.2, 0.6)
    once = clip(body, first, 0.2)
    assert np.array_equal(clip(once, first, 0.5), once)
    one, other = clip(once, second, 0.1), clip(clip(body, second, 0.1), first, 0.2)
    assert volume(one) == pytest.approx(volume(other), rel=1e-12)
    assert volume(one) < volume(once)


@pytest.mark.parametrize("kind", KINDS)
def test_cuts_through_vertices_edges_and_faces(kind: Kind) -> None:
    body = solid(kind, 1.0)
    for normal in ([1.0, 0, 0], [1, 1, 0], [1, -1, 0], [1, 1, 1], [0, 1, -1], *(v for v in body[:3, 0])):
        for offset in (0.0, support(body, normal), support(body, normal) * (1 - 1e-15)):
            below, above = clip(body, normal, offset), clip(body, -np.array(normal), -offset)
            assert is_closed(below)
            assert is_closed(above)
            assert volume(below) + volume(above) == pytest.approx(8, rel=1e-12)


def test_a_cut_beside_the_body() -> None:
    body = cuboid(1.0)
    assert np.array_equal(clip(body, (1.0, 0.0, 0.0), 1.5), body)
    assert clip(body, (1.0, 0.0, 0.0), -1.5).shape == (0, 3, 3)


@pytest.mark.parametrize("kind", KINDS)
def test_closed_after_every_operation(kind: Kind) -> None:
    body = solid(kind, (0.7, 1.1, 1.0))
    rng = np.random.default_rng(7)
    steps = [lambda mesh: rotate(mesh, TURN), subdivide]
    steps += [lambda mesh: clip(mesh, rng.normal(size=3), 0.5)] * 3
    steps += [
        subdivide,
        lambda mesh: inflate(mesh, 0.6, 0.4),
        lambda mesh: displace(mesh, 0.3, WAVES, PHASES),
        lambda mesh: twist(mesh, 1.1),
        lambda mesh: translate(mesh, (3.1, -0.2, 1.7)),
        lambda mesh: clip(mesh, (0.1, 0.2, 0.3), 0.8),
    ]
    for step in steps:
        body = step(body)
        assert is_closed(body)
    assert len(body) > 100


@pytest.mark.parametrize("kind", KINDS)
def test_moves_along_rays_never_turn_a_triangle_over(kind: Kind) -> None:
    body = subdivide(clip(solid(kind, (0.7, 1.1, 1.0)), (0.3, 1.0, -0.2), 0.2))
    for moved in (displace(body, 0.95, 3 * WAVES, PHASES), inflate(body, 0.0, 1.0), inflate(body, 1.0, 0.7)):
        assert np.min(sides(moved)) > 0


def test_inflating() -> None:
    body = cuboid((1.0, 2.0, 3.0))
    sphere = inflate(subdivide(subdivide(body)), 0.0, 2.0)
    assert np.linalg.norm(sphere, axis=-1) == pytest.approx(2)
    assert inflate(body, 1.0, 0.0) == pytest.approx(body, abs=0)
    assert volume(inflate(ellipsoid(1.0), 0.5, 0.5)) == pytest.approx(volume(ellipsoid(1.0)), rel=0.01)
    assert np.all(inflate(body, 1.0, -100.0) == 0)
    grown = np.linalg.norm(inflate(body, 1.0, 0.25), axis=-1)
    assert grown == pytest.approx(np.linalg.norm(body, axis=-1) + 0.25)


def test_displacing_by_a_known_wave() -> None:
    """One wave along y alone: places axis, unit and strength."""
    body = cuboid((1.0, 2.0, 3.0))
    moved = displace(body, 0.5, np.array([[0.0, 0.125, 0.0]]), np.array([0.25]))  # cos(2 pi y/8) = cos(pi/2) at y = 2
    assert moved == pytest.approx(body, abs=1e-12)
    moved = displace(body, 0.5, np.array([[0.0, 0.0, 1 / 12]]), np.array([0.0]))  # sin(2 pi x/12) = 1 at x = 3
    assert moved == pytest.approx(body * (1 + 0.5 * np.sign(body[..., 2:])))


def test_twisting_turns_from_y_towards_x() -> None:
    mesh = twist(np.array([[[1.0, 2.0, 0.0], [-1.0, 2.0, 0.0], [0.0, 2.0, 5.0]]]), np.pi / 2)
    assert mesh[0] == pytest.approx(np.array([[1.0, 0.0, 2.0], [-1.0, 0.0, -2.0], [0.0, 2.0, 5.0]]), abs=1e-12)


def test_twisting_keeps_the_volume_as_triangles_shrink() -> None:
    body, errors = cuboid((1.0, 0.8, 1.2)), []
    for _ in range(4):
        body = subdivide(body)
        errors.append(abs(volume(twist(body, 0.7)) / volume(body) - 1))
    assert errors[-1] < 2e-3
    assert errors[-2] / errors[-1] == pytest.approx(4, rel=0.05)
