"""Agglomerates: bodies that touch, never overlap, and stay in the field."""

from itertools import combinations

import numpy as np
import pytest

from generators.specimens.particles.mesh import Mesh, volume
from generators.specimens.particles.nanoparticle import Nanoparticle, Particle, bodies, build, draw
from generators.specimens.particles.projection import occupancy
from schemas.runtime.ranges import Range

from .closed_mesh import is_closed
from .hulls import grown, meet

CLUSTER = Nanoparticle(agglomerated=1)
FACETED = CLUSTER.model_copy(update={"rounded": 0.0, "wavy": 0.0, "twisted": 0.0})
ODDS = Nanoparticle(agglomerated=1, fractured=1, lost=0.6, copies=Range(low=2, high=6))
FIELD = 1000.0  # nm: what keeps bodies apart is 0.002 nm here, and far more than a linear program's tolerance


def population(recipe: Nanoparticle, n: int) -> list[Particle]:
    return [draw(recipe, np.random.default_rng(seed)) for seed in range(n)]


def linked(meshes: list[Mesh]) -> bool:
    """Whether each body, a little larger, meets one of those before it."""
    large = [grown(mesh, 1e-4) for mesh in meshes]
    return all(any(meet(large[k], large[j]) for j in range(k)) for k in range(1, len(large)))


@pytest.mark.parametrize("recipe", [FACETED, ODDS], ids=["faceted", "broken"])
def test_bodies_touch_and_never_meet(recipe: Nanoparticle) -> None:
    for particle in population(recipe, 8):
        meshes = bodies(particle, FIELD)
        assert len(meshes) == 1 + particle.copies
        assert not any(meet(one, other) for one, other in combinations(meshes, 2))
        assert linked(meshes)


def test_no_voxel_is_filled_twice() -> None:
    n = 120
    voxels = (n, n + 1, n - 1), (1.3, 100 / (n + 1), 100 / (n - 1))
    for particle in [*population(CLUSTER, 10), *population(ODDS, 5)]:
        filled = np.sum([occupancy(mesh, *voxels) for mesh in bodies(particle, 100.0)], axis=0)
        assert filled.max() == 1
        assert np.array_equal(filled, occupancy(build(particle, 100.0), *voxels))


@pytest.mark.parametrize("recipe", [CLUSTER, ODDS], ids=["whole", "broken"])
def test_all_stay_in_the_field_about_the_middle_that_was_drawn(recipe: Nanoparticle) -> None:
    for seed, particle in enumerate(population(recipe, 200)):
        mesh = build(particle, 1.0)
        assert np.max(abs(mesh[..., 1:])) <= 0.5 - recipe.margin + 1e-6
        alone = draw(recipe.model_copy(update={"agglomerated": 0.0}), np.random.default_rng(seed))
        assert (mesh.max(axis=(0, 1)) + mesh.min(axis=(0, 1))) / 2 == pytest.approx(alone.middle, abs=1e-6)


def test_an_agglomerate_that_fits_is_as_large_as_its_bodies_alone() -> None:
    small = CLUSTER.model_copy(update={"size": Range(low=0.02, high=0.03)})
    for seed, particle in enumerate(population(small, 50)):
        alone = draw(small.model_copy(update={"agglomerated": 0.0}), np.random.default_rng(seed))
        assert particle.half == alone.half
    shrunk = [
        particle.half != draw(Nanoparticle(), np.random.default_rng(k)).half
        for k, particle in enumerate(population(CLUSTER, 50))
    ]
    assert 5 < sum(shrunk) < 50


def test_a_copy_is_the_body_in_another_size_and_orientation() -> None:
    for particle in population(CLUSTER, 30):
        first, *others = bodies(particle, 100.0)
        volumes = [volume(mesh) / volume(first) for mesh in others]
        assert volumes == pytest.approx(np.array(particle.copy_scale[: particle.copies]) ** 3, rel=1e-6)
        assert is_closed(build(particle, 100.0))


def test_agglomerates_follow_the_recipe() -> None:
    drawn = population(CLUSTER, 500)
    assert np.bincount([p.copies for p in drawn])[1:] / len(drawn) == pytest.approx(np.full(4, 0.25), abs=0.08)
    scales = np.concatenate([p.copy_scale[: p.copies] for p in drawn])
    assert (scales.min(), scales.max(), scales.mean()) == pytest.approx((0.5, 1, 0.75), abs=0.01)
    turns = np.concatenate([p.copy_quaternion[: p.copies] for p in drawn])
    assert turns.T @ turns / len(turns) == pytest.approx(np.eye(4) / 4, abs=0.04)
    for particle in drawn:
        for column in (particle.copy_scale, particle.copy_quaternion, particle.copy_middle):
            assert not np.any(column[particle.copies :])


def test_copies_lie_in_all_directions() -> None:
    """None is preferred: mean 0, and as far along the beam as across."""
    two = CLUSTER.model_copy(update={"copies": Range(low=1, high=1)})
    ways = np.array([np.subtract(p.copy_middle[0], p.middle) for p in population(two, 500)])
    ways /= np.linalg.norm(ways, axis=1, keepdims=True)
    assert ways.mean(axis=0) == pytest.approx(np.zeros(3), abs=0.1)
    assert ways.T @ ways / len(ways) == pytest.approx(np.eye(3) / 3, abs=0.07)
