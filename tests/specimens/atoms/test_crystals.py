"""Lattice sites against magic numbers, symmetry, and what is known of fcc crystals and multiply twinned particles."""

from itertools import pairwise
from math import pi, sqrt

import numpy as np
import pytest
from scipy.spatial import KDTree

from generators.specimens.atoms.crystals import (
    ATOM_VOLUME,
    CELL,
    FaultName,
    Floats,
    Sites,
    decahedron,
    decahedron_of_limits,
    icosahedron,
    icosahedron_of_shells,
    octahedron,
    sphere,
)

HOLE = (0.5, 0.0, 0.0)
ATOM = (0.0, 0.0, 0.0)
ANY = (0.31, 0.12, 0.23)


def corner(volume: float, truncation: float) -> float:
    return float((volume * ATOM_VOLUME / (4 / 3 - 4 * truncation**3)) ** (1 / 3))


def volume_of(edge: float, truncation: float) -> float:
    """The volume of an octahedron with a corner at edge / sqrt(2), in atoms, and a little more."""
    return (edge / sqrt(2)) ** 3 * (4 / 3 - 4 * truncation**3) / ATOM_VOLUME * 1.001


def same(one: Floats, other: Floats) -> bool:
    """Return True if two sets of points are the same."""
    return len(one) == len(other) and bool((np.asarray(KDTree(one).query(other)[0]) < 1e-9).all())


def rotation(axis: Floats, angle: float) -> Floats:
    """Rotation matrix by the formula of Rodrigues."""
    x, y, z = axis / np.linalg.norm(axis)
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    out: Floats = np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross
    return out


@pytest.mark.parametrize(
    ("atoms", "edge", "truncation", "middle"),
    [
        (6, 1, 0.0, HOLE),
        (19, 2, 0.0, ATOM),
        (44, 3, 0.0, HOLE),
        (85, 4, 0.0, ATOM),
        (38, 3, 1 / 3, HOLE),
        (201, 6, 1 / 3, ATOM),
        (586, 9, 1 / 3, HOLE),
        (13, 2, 0.5, ATOM),
        (55, 4, 0.5, ATOM),
        (147, 6, 0.5, ATOM),
    ],
)
def test_octahedra_have_magic_numbers(
    atoms: int, edge: int, truncation: float, middle: tuple[float, float, float]
) -> None:
    """Octahedra n (2 n^2 + 1) / 3, regular truncated octahedra, and cuboctahedra."""
    assert len(octahedron(volume_of(edge, truncation), truncation, middle).positions) == atoms


@pytest.mark.parametrize(("shells", "atoms"), [(0, 1), (1, 13), (2, 55), (3, 147), (4, 309), (10, 3871)])
def test_icosahedra_have_magic_numbers(shells: int, atoms: int) -> None:
    assert len(icosahedron_of_shells(shells).positions) == atoms


@pytest.mark.parametrize(
    ("atoms", "m", "n", "k"),
    [
        *[(7, 1, 1, 9), (23, 2, 2, 9), (54, 3, 3, 9), (105, 4, 4, 9), (13, 2, 1, 9), (55, 4, 2, 9), (147, 6, 3, 9)],
        *[(75, 4, 3, 2), (101, 5, 3, 2), (146, 5, 4, 3), (192, 6, 4, 3)],
    ],
)
def test_decahedra_have_magic_numbers(atoms: int, m: int, n: int, k: int) -> None:
    """Bipyramids, the decahedra of Ino, and those of Marks."""
    assert len(decahedron_of_limits(m, n, k, m % 2 / 2).positions) == atoms


@pytest.mark.parametrize("volume", [400.0, 5000.0])
@pytest.mark.parametrize("kind", ["sphere", "octahedron", "decahedron", "Marks", "fault", "twin"])
def test_the_number_of_atoms_is_that_of_the_volume(kind: str, volume: float) -> None:
    """Averaged over offsets, up to a tenth of a layer; so the error falls with the size."""
    offsets = np.random.default_rng(1).random((6, 3)).tolist()
    counts = []
    for step, offset in enumerate(offsets):
        wanted = volume * (0.9 + 0.04 * step)
        made = {
            "sphere": lambda v=wanted, o=offset: sphere(v, o),
            "octahedron": lambda v=wanted, o=offset: octahedron(v, 0.28, o),
            "decahedron": lambda v=wanted, o=offset: decahedron(v, 0.4, 0.0, o[0]),
            "Marks": lambda v=wanted, o=offset: decahedron(v, 0.4, 0.3, o[0]),
            "fault": lambda v=wanted, o=offset: octahedron(v, 0.28, o, "fault", 0.2),
            "twin": lambda v=wanted, o=offset: octahedron(v, 0.28, o, "twin", 0.2),
        }[kind]()
        counts.append(len(made.positions) / wanted)
    assert np.mean(counts) == pytest.approx(1, abs=0.8 * volume ** (-1 / 3))


def test_the_icosahedron_of_whole_shells_comes_nearest() -> None:
    for smaller, larger in pairwise([1, 13, 55, 147, 309, 561, 923]):
        for wanted in (smaller + 0.3 * (larger - smaller), larger - 0.3 * (larger - smaller)):
            nearest = smaller if wanted - smaller < larger - wanted and smaller > 1 else larger
            assert len(icosahedron(wanted).positions) == nearest


def bonds(sites: Sites, depth: float = 0.6) -> tuple[np.ndarray, Floats]:
    """Coordination and bond lengths of the atoms inside."""
    inside = sites.depth < depth
    distance, _ = KDTree(sites.positions).query(sites.positions[inside], k=14)
    return (distance[:, 1:] < 1.2).sum(axis=1), distance[:, 1:13]


@pytest.mark.parametrize("kind", ["sphere", "fault", "twin", "icosahedron", "decahedron"])
def test_atoms_inside_have_twelve_neighbours_at_distance_1(kind: str) -> None:
    sites = {
        "sphere": lambda: sphere(1500, ANY),
        "fault": lambda: sphere(1500, ANY, "fault", 0.1),
        "twin": lambda: octahedron(1500, 0.3, ANY, "twin", 0.1),
        "icosahedron": lambda: icosahedron(1500),
        "decahedron": lambda: decahedron(1500, 0.4, 0.2, 0.1),
    }[kind]()
    count, length = bonds(sites)
    assert set(count) == {12}
    assert length.mean() == pytest.approx(1, abs=1e-9 if kind in ("sphere", "fault", "twin") else 3e-3)
    assert length.min() > {"icosahedron": 0.974, "decahedron": 0.99}.get(kind, 1 - 1e-9)
    assert length.max() < {"icosahedron": 1.026, "decahedron": 1.02}.get(kind, 1 + 1e-9)


@pytest.mark.parametrize(("fault", "hexagonal"), [("none", 0), ("fault", 2), ("twin", 1)])
def test_faults_make_layers_of_hexagonal_packing(fault: FaultName, hexagonal: int) -> None:
    """An atom of fcc is the middle of each pair of opposite neighbours; next to a fault, three pairs have none.

    A twin boundary is one layer with the surroundings of hcp, an intrinsic stacking fault has two.
    """
    sites = sphere(3000, ANY, fault, 0.2)
    inside = np.flatnonzero(sites.depth < 0.8)
    near = KDTree(sites.positions).query(sites.positions[inside], k=13)[1][:, 1:]
    arms = sites.positions[near] - sites.positions[inside, None]
    opposite = np.linalg.norm(arms[:, :, None] + arms[:, None], axis=3).min(axis=2) < 1e-6
    faulted = opposite.sum(axis=1) == 6
    assert set(opposite.sum(axis=1)) <= {6, 12}
    assert len(np.unique(sites.positions[inside[faulted]].sum(axis=1).round(6))) == hexagonal


def test_a_twin_is_its_own_mirror_image_with_its_order() -> None:
    sites = octahedron(3000, 0.3, ATOM, "twin", 0.0)
    mirrored = sites.positions - 2 / 3 * sites.positions.sum(axis=1, keepdims=True)
    assert same(sites.positions, mirrored)
    twins = KDTree(sites.positions).query(mirrored)[1]
    assert (sites.sublattice[twins] == sites.sublattice).all()
    untwinned = octahedron(3000, 0.3, ATOM).positions
    assert not same(untwinned, untwinned - 2 / 3 * untwinned.sum(axis=1, keepdims=True))


def test_the_decahedron_has_one_axis_of_five_and_a_mirror_plane() -> None:
    positions = decahedron(2000, 0.4, 0.25, 0.5).positions
    axis = np.array([1.0, 0.0, 0.0])
    assert same(positions, positions @ rotation(axis, 2 * pi / 5).T)
    assert not same(positions, positions @ rotation(axis, pi / 5).T)
    assert same(positions, positions * [-1, 1, 1])


def test_the_icosahedron_has_six_axes_of_five() -> None:
    positions = icosahedron_of_shells(4).positions
    vertices = positions[np.argsort(-np.linalg.norm(positions, axis=1))[:12]]
    for axis in vertices:
        assert same(positions, positions @ rotation(axis, 2 * pi / 5).T)
        assert not same(positions, positions @ rotation(axis, pi / 5).T)


@pytest.mark.parametrize("kind", ["sphere", "icosahedron", "decahedron"])
def test_neighbours_lie_on_other_sublattices(kind: str) -> None:
    """Four of the twelve neighbours lie on each of the three other sublattices, in the grains as in the crystal."""
    sites = {"sphere": sphere(2000, ANY), "icosahedron": icosahedron(2000), "decahedron": decahedron(2000, 0.4, 0, 0)}
    chosen = sites[kind]
    inside = np.flatnonzero(chosen.depth < 0.75)
    near = KDTree(chosen.positions).query(chosen.positions[inside], k=13)[1][:, 1:]
    counts = np.stack([(chosen.sublattice[near] == k).sum(axis=1) for k in range(4)], axis=1)
    own = np.take_along_axis(counts, chosen.sublattice[inside, None], axis=1)
    regular = (np.sort(counts, axis=1) == [0, 4, 4, 4]).all(axis=1)
    assert regular[own[:, 0] == 0].any()
    assert regular.mean() > {"sphere": 0.999, "icosahedron": 0.2, "decahedron": 0.6}[kind]


def test_faces_lie_where_the_truncation_says() -> None:
    truncation, volume = 0.3, 20000.0
    positions = octahedron(volume, truncation, ANY).positions
    reach = corner(volume, truncation)
    assert abs(positions).max() == pytest.approx((1 - truncation) * reach, abs=CELL / 2)
    assert abs(positions).sum(axis=1).max() == pytest.approx(reach, abs=CELL / 2)
