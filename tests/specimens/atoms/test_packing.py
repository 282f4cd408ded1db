"""Random packings against what distinguishes a glass from a gas and from a crystal; films made of them."""

import numpy as np
import pytest
from scipy.spatial import KDTree

from generators.specimens.atoms import support
from generators.specimens.atoms.packing import Box, Floats, packed
from generators.specimens.atoms.support import Support
from schemas.runtime.ranges import Range

BOX: Box = (9.0, 10.5, 12.0)
DENSITY = 0.95 * 2**0.5
COUNT = round(DENSITY * float(np.prod(BOX)))
BINS = np.arange(0.5, 4.5, 0.05)


@pytest.fixture(scope="module")
def glass() -> Floats:
    return packed(COUNT, BOX, 1.0, 0.85, np.random.default_rng(3))


def pair_correlation(positions: Floats, box: Box) -> Floats:
    """The density of atoms at a distance from an atom, relative to the mean."""
    tree = KDTree(positions, boxsize=np.array(box))
    pairs = 2 * np.diff(tree.count_neighbors(tree, BINS) - len(positions)) / 2
    shells = 4 / 3 * np.pi * np.diff(BINS**3) * len(positions) / np.prod(box)
    return np.asarray(pairs / len(positions) / shells)


def test_the_first_peak_lies_at_the_distance_and_order_ends(glass: Floats) -> None:
    g, middle = pair_correlation(glass, BOX), (BINS[:-1] + BINS[1:]) / 2
    assert middle[g.argmax()] == pytest.approx(0.98, abs=0.05)
    assert g.max() > 3
    assert abs(g[middle > 3.5] - 1).max() < 0.1  # no order at long range
    assert abs(g[(middle > 1.3) & (middle < 1.5)]).max() < 0.9  # second neighbours of fcc would be here, at 1.41


def test_there_are_about_thirteen_neighbours(glass: Floats) -> None:
    near = KDTree(glass, boxsize=np.array(BOX)).query_ball_point(glass, 1.35, return_length=True) - 1
    assert near.mean() == pytest.approx(13, abs=0.5)
    assert near.std() > 0.7  # each atom has its own surroundings


def test_a_glass_has_rings_and_no_spots(glass: Floats) -> None:
    """|F|^2 / N has an exponential distribution about the structure factor, which is at most 3; a crystal's is N."""
    numbers = np.mgrid[-12:13, -14:15, 1:17].reshape(3, -1).T[::5]
    waves = 2 * np.pi * numbers / np.array(BOX)
    intensity = abs(np.exp(1j * np.einsum("kc,ic->ki", waves, glass)).sum(axis=1)) ** 2 / len(glass)
    assert len(waves) == 2320
    assert intensity.max() < 3 * np.log(100 * len(waves)) < len(glass) / 30


@pytest.mark.parametrize("seed", range(2))
def test_the_minimum_distance_is_kept_across_faces_too(seed: int) -> None:
    for distance, minimum in ((1.0, 0.9), (0.8, 0.8)):
        positions = packed(900, (8.0, 9.0, 10.0), distance, minimum, np.random.default_rng(seed))
        box = np.array([8.0, 9.0, 10.0])
        assert ((positions >= -0.01) & (positions <= box + 0.01)).all()
        inside = positions % box
        assert not KDTree(inside, boxsize=box).query_pairs(minimum * (1 - 1e-12))


def test_what_cannot_be_packed_is_refused_at_once() -> None:
    with pytest.raises(ValueError, match=r"would fill 0.63 of the volume: must be at most 0.55; lower the density"):
        packed(1200, (10.0, 10.0, 10.0), 1.0, 1.0, np.random.default_rng(0))
    with pytest.raises(ValueError, match=r"a box of 2 nm: must be at least 2.5 nm wide"):
        packed(10, (2.0, 10.0, 10.0), 1.0, 0.8, np.random.default_rng(0))


def test_a_film_has_its_density_thickness_and_element() -> None:
    drawn = support.draw(Support(thickness=Range(low=2, high=3)), np.random.default_rng(5))
    film = support.atoms_of(drawn, (3.0, 4.5))
    extent = np.ptp(film.positions, axis=0)
    assert film.elements == ("C",)
    assert len(film) == pytest.approx(drawn.density * drawn.thickness * 3.0 * 4.5, abs=1)
    assert extent == pytest.approx([drawn.thickness, 3.0, 4.5], abs=0.08)
    assert film.positions.mean(axis=0) == pytest.approx([0, 0, 0], abs=0.1)
    assert not KDTree(film.positions).query_pairs(drawn.minimum * (1 - 1e-12))
    again = support.atoms_of(drawn, (3.0, 4.5))
    assert (again.positions == film.positions).all()
    assert not np.array_equal(support.atoms_of(drawn, (3.0, 4.5001)).positions, film.positions)


def test_a_film_of_too_many_atoms_is_refused() -> None:
    drawn = support.draw(Support.model_validate({"density": 150, "minimum": 0.21}), np.random.default_rng(0))
    with pytest.raises(ValueError, match=r"minimum distance, 0.21 nm, would fill 0.73"):
        support.atoms_of(drawn, (3.0, 3.0))
    with pytest.raises(ValueError, match=r"element 'Xx': must be the symbol"):
        Support(element="Xx")
