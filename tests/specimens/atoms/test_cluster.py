"""Nanoparticles against their drawn numbers: size, composition, chemical order, defects, orientation, and bits."""

from dataclasses import asdict, replace
from itertools import product
from math import sqrt
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError
from scipy.spatial import KDTree

from generators.specimens.atoms import alloys, cluster
from generators.specimens.atoms.alloys import choose_second, lattice_constant
from generators.specimens.atoms.cluster import Cluster, DrawnCluster, Kind, atoms_of
from generators.specimens.atoms.crystals import Sites, sphere
from generators.specimens.particles.mesh import rotation_matrix
from physics.scattering.atoms import Atoms

KINDS: tuple[Kind, ...] = ("octahedron", "sphere", "icosahedron", "decahedron", "amorphous")
CRYSTALS = KINDS[:4]
IDENTITY = (1.0, 0.0, 0.0, 0.0)


def make(seed: int = 0, **settings: Any) -> DrawnCluster:
    return cluster.draw(Cluster.model_validate(settings), np.random.default_rng(seed))


def perfect(kind: str, **settings: Any) -> DrawnCluster:
    """A particle of 3 nm without defects."""
    defaults: dict[str, Any] = {"diameter": 3, "vacancies": 0, "relaxation": 0, "displacement": 0, "faults": ["none"]}
    return make(kinds=[kind], **(defaults | settings))


def neighbours(atoms: Atoms, reach: float) -> np.ndarray:
    found = KDTree(atoms.positions).query_ball_point(atoms.positions, reach, return_length=True) - 1
    return np.asarray(found)


@pytest.mark.parametrize("kind", KINDS)
def test_drawn_numbers_are_those_of_float32_and_make_the_same_bits(kind: str) -> None:
    drawn = make(3, kinds=[kind], diameter=2.5)
    for name, value in asdict(drawn).items():
        numbers = [v for v in (value if isinstance(value, tuple) else (value,)) if isinstance(v, float)]
        assert all(np.float32(v) == v for v in numbers), name
    one, again = atoms_of(drawn), atoms_of(DrawnCluster(**asdict(drawn)))
    assert one.positions.tobytes() == again.positions.tobytes()
    assert (one.kinds == again.kinds).all()
    other = atoms_of(replace(drawn, seed=drawn.seed + 1, vacancies=0.02, displacement=0.01))
    assert not np.array_equal(one.positions, other.positions)


def test_each_draw_consumes_the_same_number_of_random_numbers() -> None:
    left = set()
    for kind, arrangement, fault, constant in product(KINDS, ("random", "L1_0"), ("none", "twin"), (None, 0.38)):
        for elements in (["Au"], ["Ni", "Pt"]):
            rng = np.random.default_rng(1)
            settings = {"kinds": [kind], "arrangements": [arrangement], "faults": [fault], "constant": constant}
            cluster.draw(Cluster.model_validate(settings | {"elements": elements}), rng)
            left.add(float(rng.random()))
    assert left == {float(np.random.default_rng(1).random(23)[-1])}


@pytest.mark.parametrize("kind", KINDS)
def test_the_diameter_is_that_of_the_sphere_of_as_many_atoms(kind: str) -> None:
    """Icosahedra have whole shells, and decahedra whole rows, 11 % apart at this diameter."""
    drawn = perfect(kind, diameter=4, offset=0.3)
    density = 4 / drawn.constant**3
    diameter = (6 / np.pi * len(atoms_of(drawn)) / density) ** (1 / 3)
    assert diameter == pytest.approx(4, rel=0.06 if kind in ("icosahedron", "decahedron") else 0.02)


def test_the_particle_of_8_nm_has_more_than_10_000_atoms() -> None:
    assert len(atoms_of(perfect("octahedron", diameter=8.5))) > 10_000


@pytest.mark.parametrize("kind", KINDS)
def test_neighbours_are_as_far_apart_as_the_lattice_says(kind: str) -> None:
    drawn = perfect(kind, diameter=3.5)
    atoms = atoms_of(drawn)
    distance = drawn.constant / sqrt(2)
    count = neighbours(atoms, 1.2 * distance)
    inside = np.linalg.norm(atoms.positions, axis=1) < 0.6
    bonds = KDTree(atoms.positions).query(atoms.positions[inside], k=13)[0][:, 1:]
    if kind == "amorphous":
        assert bonds.min() >= 0.85 * distance * (1 - 1e-9)
        assert len(set(count[inside])) > 2
    else:
        assert set(count[inside]) == {12}
        assert bonds.mean() == pytest.approx(distance, rel=5e-3 if kind in ("icosahedron", "decahedron") else 1e-6)


@pytest.mark.parametrize(("kind", "share"), [*((kind, 0.4) for kind in KINDS), ("sphere", 0.0), ("sphere", 1.0)])
@pytest.mark.parametrize("arrangement", ["random", "core-shell", "L1_0", "L1_2"])
def test_the_composition_is_as_drawn_after_vacancies(kind: str, share: float, arrangement: str) -> None:
    drawn = make(kinds=[kind], share=share, arrangements=[arrangement], diameter=2, vacancies=0.1)
    atoms = atoms_of(drawn)
    assert abs(atoms.kinds.sum() - drawn.share * len(atoms)) <= 0.5
    assert len(atoms) == len(atoms_of(replace(drawn, vacancies=0.0))) - round(
        drawn.vacancies * len(atoms_of(replace(drawn, vacancies=0.0)))
    )


@pytest.mark.parametrize("share", [0.2, 0.5, 0.65])
@pytest.mark.parametrize("order", [0.0, 0.5, 1.0])
def test_the_order_parameter_is_as_drawn(share: float, order: float) -> None:
    """S = (p - x) / (1 - v), relative to the largest: p = 1, or no atom of the second element elsewhere."""
    sites = sphere(4000, (0.2, 0.1, 0.3))
    numbers = np.random.default_rng(2).random((len(sites.depth), 2))
    preferred = {"L1_0": sites.sublattice >= 2, "L1_2": (sites.sublattice == 0) == (share < 0.5)}
    for arrangement, where in preferred.items():
        second = choose_second(arrangement, sites, share, order, numbers)  # type: ignore[arg-type]
        v = where.mean()
        parameter = (second[where].mean() - share) / (1 - v)
        assert parameter == pytest.approx(order * min((1 - share) / (1 - v), share / v), abs=2e-3)
        assert second.mean() == pytest.approx(share, abs=2e-4)


def test_complete_order_has_the_neighbours_of_its_structure() -> None:
    """Eight of the twelve neighbours of an atom in L1_0 are of the other element; in L1_2, all of the rare one."""
    for arrangement, share, others in (("L1_0", 0.5, 8), ("L1_2", 0.25, 12), ("L1_2", 0.75, 4)):
        drawn = perfect("sphere", arrangements=[arrangement], share=share, order=1)
        atoms = atoms_of(drawn)
        inside = np.flatnonzero((np.linalg.norm(atoms.positions, axis=1) < 1.0) & (atoms.kinds == 1))
        near = KDTree(atoms.positions).query(atoms.positions[inside], k=13)[1][:, 1:]
        wrong = (atoms.kinds[near] == 0).sum(axis=1) != others
        assert wrong.mean() < 0.12  # whatever the surface has too many of, sits on wrong sites


def test_a_random_alloy_has_no_correlation_of_neighbours() -> None:
    atoms = atoms_of(perfect("sphere", arrangements=["random"], share=0.4, diameter=5))
    pairs = KDTree(atoms.positions).query_pairs(0.3, output_type="ndarray")
    unlike = (atoms.kinds[pairs[:, 0]] != atoms.kinds[pairs[:, 1]]).mean()
    assert unlike == pytest.approx(2 * 0.4 * 0.6, abs=0.01)


@pytest.mark.parametrize("kind", KINDS)
def test_the_first_element_is_the_core(kind: str) -> None:
    atoms = atoms_of(perfect(kind, arrangements=["core-shell"], share=0.5, order=1))
    radius = np.linalg.norm(atoms.positions, axis=1)
    assert radius[atoms.kinds == 0].mean() < 0.8 * radius[atoms.kinds == 1].mean()
    assert set(atoms.kinds[radius < 0.6]) == {0}
    mixed = atoms_of(perfect(kind, arrangements=["core-shell"], share=0.5, order=0))
    radius = np.linalg.norm(mixed.positions, axis=1)
    assert radius[mixed.kinds == 0].mean() == pytest.approx(radius[mixed.kinds == 1].mean(), rel=0.05)


@pytest.mark.parametrize("kind", CRYSTALS)
def test_relaxation_moves_the_surface_inwards_and_nothing_else(kind: str) -> None:
    drawn = replace(perfect(kind), quaternion=IDENTITY)
    before = atoms_of(drawn)
    after = atoms_of(replace(drawn, relaxation=0.04))
    moved = np.linalg.norm(after.positions - before.positions, axis=1)
    coordination = neighbours(before, 1.2 * drawn.constant / sqrt(2))
    assert moved[coordination < 10] == pytest.approx(0.04 * drawn.constant / sqrt(2), rel=0.1)
    assert moved[coordination >= 10] == pytest.approx(0, abs=1e-3)  # of the mean position
    outwards = np.linalg.norm(after.positions, axis=1) - np.linalg.norm(before.positions, axis=1)
    assert (outwards[coordination < 10] < 0).all()


def test_displacements_have_the_drawn_deviation() -> None:
    drawn = perfect("sphere", diameter=5)
    moved = atoms_of(replace(drawn, displacement=0.008)).positions - atoms_of(drawn).positions
    assert moved.std(axis=0) == pytest.approx(np.full(3, 0.008), rel=0.05)
    assert moved.mean(axis=0) == pytest.approx(np.zeros(3), abs=1e-12)


def test_orientations_are_uniform_and_turn_as_the_quaternion_says() -> None:
    """Over SO(3), the mean of a turned axis is 0, and that of its squared coordinates 1/3."""
    settings, rng = Cluster(), np.random.default_rng(8)
    quaternions = np.array([cluster.draw(settings, rng).quaternion for _ in range(2000)])
    assert np.linalg.norm(quaternions, axis=1) == pytest.approx(1, abs=1e-6)
    matrices = np.stack([rotation_matrix(q) for q in quaternions])
    assert abs(matrices.mean(axis=0)).max() < 0.06
    assert (matrices**2).mean(axis=0) == pytest.approx(np.full((3, 3), 1 / 3), abs=0.03)
    half = sqrt(0.5)
    drawn = replace(perfect("octahedron", offset=0.2), quaternion=IDENTITY)
    z, y, x = atoms_of(drawn).positions.T
    turned = atoms_of(replace(drawn, quaternion=(half, half, 0.0, 0.0))).positions  # a quarter about z
    assert turned == pytest.approx(np.stack([z, -x, y], axis=1), abs=1e-9)


def test_the_mean_position_is_the_origin() -> None:
    for kind in KINDS:
        assert abs(atoms_of(make(kinds=[kind], diameter=2)).positions.mean(axis=0)).max() < 1e-12


def test_vegard_and_the_lattice_constants() -> None:
    data = pytest.importorskip("ase.data", reason="ASE is not installed")
    for element, constant in alloys.LATTICE_CONSTANTS.items():
        reference = data.reference_states[data.atomic_numbers[element]]
        assert reference["symmetry"] == "fcc"
        assert constant == pytest.approx(reference["a"] / 10, abs=5e-4)
    assert lattice_constant(("Ni", "Pt"), 0.25) == pytest.approx(0.352 + 0.25 * 0.040)
    assert lattice_constant(("Au",), 0.0) == 0.408


def test_words_that_a_structure_does_not_know_are_recorded_as_what_is_made() -> None:
    assert make(kinds=["amorphous"], arrangements=["L1_0"]).arrangement == "random"
    assert make(kinds=["icosahedron"], faults=["twin"]).fault == "none"
    assert make(elements=["Au"], arrangements=["core-shell"]).arrangement == "random"
    assert make(elements=["Au"]).share == 0
    assert make(kinds=["sphere"], faults=["twin"], arrangements=["L1_2"]).arrangement == "L1_2"
    assert make(elements=["Fe", "Pt"], constant=0.38).constant == np.float32(0.38)


def test_elements_that_cannot_be_are_refused() -> None:
    with pytest.raises(ValidationError, match="lattice constant of Fe as an fcc crystal: is known for Al, "):
        Cluster(elements=("Fe", "Pt"))
    with pytest.raises(ValidationError, match="element 'Qq': must be the symbol"):
        Cluster(elements=("Qq", "Pt"))
    with pytest.raises(ValidationError, match="must be at least 1 and at most 15"):
        Cluster.model_validate({"diameter": 50})


def test_a_preferred_site_is_never_left_out_by_rounding() -> None:
    for count in range(1, 12):
        sites = Sites(np.zeros((count, 3)), np.linspace(0, 1, count), np.arange(count) % 4)
        for share, order, arrangement in product((0.0, 0.3, 0.5, 1.0), (0.0, 1.0), ("L1_0", "L1_2", "core-shell")):
            second = choose_second(arrangement, sites, share, order, np.random.default_rng(count).random((count, 2)))  # type: ignore[arg-type]
            assert second.sum() == round(share * count)
