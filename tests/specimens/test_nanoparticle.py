import hashlib
from dataclasses import asdict, astuple, fields, replace
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from generators.specimens.particles.mesh import volume
from generators.specimens.particles.nanoparticle import (
    PUBLISHED_PARTICLE,
    Nanoparticle,
    Particle,
    bodies,
    build,
    draw,
    sizes,
)
from generators.specimens.particles.projection import thickness
from generators.specimens.particles.solids import KINDS
from schemas.fields import particles
from schemas.runtime.ranges import Range

from .closed_mesh import is_closed

RECIPES = {
    "default": Nanoparticle(),
    "seed": PUBLISHED_PARTICLE,
    "everything": Nanoparticle(fractured=0.6, agglomerated=0.6, pieces=Range(low=2, high=7)),
}
FIRST = 13  # columns that there were before bodies broke or had copies
PIXELS = (64, 64), (100 / 64, 100 / 64)  # of a field of 100 nm


def population(recipe: Nanoparticle, n: int, seed: int = 0) -> list[Particle]:
    rng = np.random.default_rng(seed)
    return [draw(recipe, rng) for _ in range(n)]


@pytest.fixture(params=RECIPES)
def recipe(request: pytest.FixtureRequest) -> Nanoparticle:
    return RECIPES[request.param]


class Counting:
    """A generator that counts the numbers drawn from it."""

    def __init__(self, seed: int) -> None:
        self.rng, self.count = np.random.default_rng(seed), 0

    def random(self, size: Any = None) -> Any:
        self.count += 1 if size is None else int(np.prod(size))
        return self.rng.random(size)


def test_the_same_stream_gives_the_same_particle(recipe: Nanoparticle) -> None:
    assert population(recipe, 5, seed=3) == population(recipe, 5, seed=3)
    assert population(recipe, 5, seed=3) != population(recipe, 5, seed=4)


def test_every_particle_takes_as_many_random_numbers(recipe: Nanoparticle) -> None:
    counts = set()
    for seed in range(50):
        rng = Counting(seed)
        draw(recipe, rng)  # type: ignore[arg-type]
        counts.add(rng.count)
    assert len(counts) == 1


def test_a_stored_particle_builds_the_same_mesh(recipe: Nanoparticle) -> None:
    for particle in population(recipe, 20):
        columns = {name: np.asarray(value, np.float32) for name, value in asdict(particle).items()}
        shapes = {name: column.shape for name, column in columns.items()}
        values: dict[str, Any] = {name: column.astype(np.float64).tolist() for name, column in columns.items()}
        counts = {name: int(values[name]) for name in ("kind", "cuts", "pieces", "copies")}
        again = Particle(**values | counts)
        assert np.array_equal(build(again, 100.0), build(particle, 100.0))
        assert shapes["cut_normal"] == (int(recipe.cuts.high), 3)
        assert shapes["cut_depth"] == (int(recipe.cuts.high),)
        assert np.all(columns["cut_normal"][particle.cuts :] == 0)
        assert shapes["wave"] == (4, 3)


@pytest.mark.parametrize(
    ("name", "digest"),
    [
        ("default", "de691f3e7ac106ca296bf27ed60d9afa562d6db3dde72b4dfb523b8a600695c5"),
        ("seed", "0fb59fd70387a51e2a67357e5bec5f4cae2a8ba25e59fe5e8e1087e07382ffae"),
    ],
)
def test_what_was_drawn_before_bodies_broke_is_drawn_still(name: str, digest: str) -> None:
    told = hashlib.sha256()
    for seed in range(200):
        for value in astuple(draw(RECIPES[name], np.random.default_rng(seed)))[:FIRST]:
            told.update(np.asarray(value, np.float32).tobytes())
    assert told.hexdigest() == digest


def test_a_share_of_broken_bodies_leaves_the_others_as_they_are() -> None:
    """A body that is whole and alone is the same in both recipes: what is new is drawn last."""
    plain, mixed = RECIPES["default"], Nanoparticle(fractured=0.5, agglomerated=0.5)
    pairs = [(draw(plain, np.random.default_rng(k)), draw(mixed, np.random.default_rng(k))) for k in range(200)]
    assert all(one == other for one, other in pairs if other.pieces == 1 and not other.copies)
    assert 20 < sum(one == other for one, other in pairs) < 80


def test_columns_have_the_sizes_that_are_told(recipe: Nanoparticle) -> None:
    lengths = sizes(recipe)
    for particle in population(recipe, 30):
        for field in particles.FIELDS:
            column = np.asarray(getattr(particle, field.name.removeprefix("particle_")))
            assert column.shape == tuple(lengths[dim] for dim in field.dims[1:])


def test_every_column_says_what_it_is() -> None:
    assert [f"particle_{column.name}" for column in fields(Particle)] == [field.name for field in particles.FIELDS]
    for info in Nanoparticle.model_fields.values():
        assert info.description
        assert isinstance(info.json_schema_extra, dict)
        assert info.json_schema_extra["unit"]


def test_particles_are_closed_and_stay_in_the_field(recipe: Nanoparticle) -> None:
    for particle in population(recipe, 600):
        mesh = build(particle, 100.0)
        assert np.max(abs(mesh[..., 1:])) <= 100 * (0.5 - recipe.margin) + 1e-4
        assert volume(mesh) > 0
    for particle in population(recipe, 60):
        assert is_closed(build(particle, 100.0))


def test_a_margin_makes_large_bodies_smaller() -> None:
    large = Nanoparticle(size=Range(low=0.3, high=0.4), margin=0.1)
    assert max(np.max(abs(build(p, 1.0)[..., 1:])) for p in population(large, 100)) <= 0.4 + 1e-6
    free = large.model_copy(update={"margin": -9.0})
    assert max(np.max(abs(build(p, 1.0)[..., 1:])) for p in population(free, 100)) > 0.5


def test_thickness_has_no_spikes(recipe: Nanoparticle) -> None:
    """Not negative, no more than the body's height, and its sum is the volume."""
    errors = []
    for particle in population(recipe, 300, seed=1):
        mesh = build(particle, 100.0)
        image = thickness(mesh, *PIXELS)
        assert image.min() >= -1e-9
        assert image.max() <= np.ptp(mesh[..., 0]) + 1e-9
        errors.append(image.sum() * (100 / 64) ** 2 / volume(mesh) - 1)
    assert np.max(np.abs(errors)) < 0.1
    assert abs(np.mean(errors)) < 0.003


def test_bodies_do_not_overlap_and_their_thickness_is_their_volume() -> None:
    """The mid-point rule: the error of the population falls with the pixel, to well below that of one voxel layer."""
    recipe, shape = RECIPES["everything"], (480, 500)
    for particle in population(recipe, 12, seed=2):
        mesh, sampling = build(particle, 100.0), (100 / 480, 100 / 500)
        image = thickness(mesh, shape, sampling)
        assert image.sum() * sampling[0] * sampling[1] == pytest.approx(volume(mesh), rel=2e-3)
        assert volume(mesh) == pytest.approx(sum(map(volume, bodies(particle, 100.0))), rel=1e-12)


def test_bodies_are_seen_entirely_from_their_middle() -> None:
    """So they never cut themselves, and thickness is exact. (A twist comes after.)"""
    for particle in population(Nanoparticle(wavy=1, rounded=1), 100):
        mesh = build(replace(particle, twist=0.0, middle=(0.0, 0.0, 0.0)), 1.0)
        assert np.min(np.linalg.det(mesh)) >= 0


def test_a_larger_field_is_a_larger_particle(recipe: Nanoparticle) -> None:
    for particle in population(recipe, 5):
        assert build(particle, 250.0) == pytest.approx(2.5 * build(particle, 100.0), rel=1e-12, abs=1e-12)


def test_a_plain_cuboid_has_the_size_that_was_drawn() -> None:
    plain = Nanoparticle(kinds=("cuboid",), cuts=Range(low=0, high=0), rounded=0, wavy=0, twisted=0)
    for particle in population(plain, 5):
        mesh = build(particle, 100.0)
        assert len(mesh) == 12
        assert volume(mesh) == pytest.approx(8 * np.prod(particle.half) * 100**3, rel=1e-12)
        assert mesh.mean(axis=(0, 1)) == pytest.approx(100 * np.array(particle.middle), abs=0.2 * 100)
        assert (mesh.max(axis=(0, 1)) + mesh.min(axis=(0, 1))) / 2 == pytest.approx(100 * np.array(particle.middle))


def test_the_population_follows_the_recipe() -> None:
    particles = population(RECIPES["default"], 4000)
    kinds = np.bincount([particle.kind for particle in particles]) / len(particles)
    assert kinds == pytest.approx(np.full(len(KINDS), 1 / len(KINDS)), abs=0.02)
    counts = np.bincount([particle.cuts for particle in particles]) / len(particles)
    assert counts == pytest.approx(np.full(6, 1 / 6), abs=0.03)
    for name in ("rounded", "wavy", "twisted"):
        column = {"rounded": "rounding", "wavy": "waviness", "twisted": "twist"}[name]
        share = np.mean([getattr(particle, column) != 0 for particle in particles])
        assert share == pytest.approx(getattr(RECIPES["default"], name), abs=0.03)
    rows = np.array([particle.quaternion for particle in particles])
    assert np.linalg.norm(rows, axis=1) == pytest.approx(1, abs=1e-6)
    assert rows.T @ rows / len(rows) == pytest.approx(np.eye(4) / 4, abs=0.015)  # uniform on the sphere of quaternions
    cuts = np.array([normal for particle in particles for normal in particle.cut_normal[: particle.cuts]])
    assert cuts.T @ cuts / len(cuts) == pytest.approx(np.eye(3) / 3, abs=0.015)


def test_the_seed_is_a_cube_of_its_size() -> None:
    for particle in population(PUBLISHED_PARTICLE, 100):
        assert KINDS[particle.kind] == "cuboid"
        assert len(set(particle.half)) == 1
        assert 0.12 - 1e-7 <= particle.half[0] <= 0.14 + 1e-7
        assert max(map(abs, particle.middle)) <= 0.05


def test_recipes_survive_json() -> None:
    for recipe in RECIPES.values():
        assert Nanoparticle.model_validate_json(recipe.model_dump_json()) == recipe


@pytest.mark.parametrize(
    ("settings", "rule"),
    [
        ({"colour": "red"}, "Extra inputs"),
        ({"kinds": ("cube",)}, "'cuboid'"),
        ({"kinds": ()}, "at least 1"),
        ({"size": "0:0.1"}, "more than 0"),
        ({"cuts": "0:2.5"}, "whole numbers"),
        ({"cuts": 33}, "at most 32"),
        ({"cut_depth": 1}, "at most 0.9"),
        ({"wavy": 1.5}, "at most 1"),
        ({"offset": 0.45, "margin": 0.1}, "the sum must be below 0.5"),
        ({"size": float("nan")}, "finite"),
        ({"pieces": "2:2.5"}, "whole numbers"),
        ({"pieces": 1}, "at least 2"),
        ({"gap": -0.1}, "at least 0"),
        ({"lost": 2}, "at most 1"),
        ({"copies": "0:3"}, "at least 1"),
        ({"copy_scale": 0}, "at least 0.05"),
    ],
)
def test_bad_settings(settings: dict[str, Any], rule: str) -> None:
    with pytest.raises(ValidationError, match=rule):
        Nanoparticle.model_validate(settings)


def test_a_recipe_without_cuts_has_one_empty_row() -> None:
    (particle,) = population(Nanoparticle(cuts=Range(low=0, high=0)), 1)
    assert particle.cuts == 0
    assert particle.cut_normal == ((0.0, 0.0, 0.0),)
    assert all(np.all(np.isfinite(np.asarray(value))) for value in astuple(particle))
