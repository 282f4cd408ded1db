"""The task `aet`: images follow from the atoms, noise from the electrons, and the published problem is as stated."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from generators.engine import pipeline, shards
from generators.random_streams import Streams
from generators.tasks import aet
from physics.scattering.atoms import Atoms
from schemas.runtime.settings import make_settings

from .conftest import Command, refused

SAMPLES = {"train": 64, "validation": 8, "test": 0}
SMALL = ("image_size=48", "sampling=0.1", "cluster.diameter=1.5:2", "stem.semi_angle=0.015")


def recipe_of(*settings: str, recipe: str = "default") -> Any:
    return make_settings(aet.Recipe, aet.RECIPES[recipe].model_dump(mode="json"), settings).bind(None)


def samples(n: int, *settings: str, split: str = "train") -> dict[str, np.ndarray]:
    plan = pipeline.plan("aet", recipe_of(*SMALL, *settings), 0, SAMPLES, Path("x.zarr"))
    return shards.make(plan, split, range(n))


def test_counts_are_whole_electrons_with_the_expectation_that_is_stored() -> None:
    """Without response of the detector. Their variance is their expectation."""
    off = ("scan.afterglow=0", "scan.flicker=0", "dose=3e4")
    made, clean = samples(6, *off), samples(6, *off, "noise=0")
    electrons = np.float32(3e4 * 0.1**2)
    counts = made["noisy"] * electrons
    assert np.allclose(counts, np.round(counts), atol=1e-3)
    expected = (made["clean"] + made["background"]) * electrons
    assert np.allclose(clean["noisy"] * electrons, expected, atol=1e-5 * expected.max())
    bright = expected > 3
    assert abs(((counts - expected) ** 2 / expected)[bright].mean() - 1) < 5 * (2 / bright.sum()) ** 0.5
    assert (made["clean"] == clean["clean"]).all()


def test_the_response_correlates_noise_along_rows_alone() -> None:
    """The bounds are five standard errors: of 15,000 pixels, noise that is correlated, and brighter in the middle."""
    made = samples(8, "scan.afterglow=0.8", "scan.flicker=0", "dose=3e4")
    noise = (made["noisy"] - made["clean"] - made["background"])[:, 0, :, 8:]
    noise /= noise.std(axis=(1, 2), keepdims=True)
    along, across = (noise[..., 1:] * noise[..., :-1]).mean(), (noise[:, 1:] * noise[:, :-1]).mean()
    assert abs(along - np.exp(-1 / 0.8)) < 0.05
    assert abs(across) < 0.05


def test_a_turn_by_90_degrees_brings_what_is_downstream_to_larger_x() -> None:
    one = Atoms(("Pt",), np.zeros(1, int), np.array([[1.0, 0.5, 0.2]]))
    assert np.allclose(aet._turned(one, np.pi / 2).positions, [[-0.2, 0.5, 1.0]])
    assert np.allclose(aet._turned(aet._turned(one, 0.3), -0.3).positions, one.positions)


def test_images_show_the_stored_atoms() -> None:
    """Behind a wide probe, an image is the scattering power of the atoms at their places."""
    off = ("scan.shift=0", "scan.drift=0", "scan.jitter=0", "scan.afterglow=0", "cluster.elements=Pt")
    made = samples(3, *off, "tilts.number=1", "tilts.first=40", "tilts.random=false")
    for row in range(3):
        count = int(made["atom_count"][row])
        position, element = made["atom_position"][row], made["atom_element"][row]
        assert (element[:count] == 78).all()
        assert not element[count:].any()
        assert not position[count:].any()
        turned = aet._turned(Atoms(("Pt",), np.zeros(count, int), position[:count].astype(float)), np.radians(40))
        edges = 0.1 * (np.arange(49) - 24.5)
        density = np.histogramdd(turned.positions[:, 1:], [edges, edges])[0]
        assert np.corrcoef(smooth(density).ravel(), smooth(made["clean"][row, 0]).ravel())[0, 1] > 0.99


def smooth(image: np.ndarray) -> np.ndarray:
    from scipy.ndimage import gaussian_filter

    found: np.ndarray = gaussian_filter(image.astype(float), 2)
    return found


def test_one_particle_is_that_of_all_samples_and_splits() -> None:
    shown = [
        aet.draw(recipe_of("particle=4"), Streams(seed, split, i)).cluster
        for seed, split, i in ((0, "train", 0), (0, "train", 5), (1, "validation", 0))
    ]
    assert shown[0] == shown[1] == shown[2]
    assert aet.draw(recipe_of("particle=5"), Streams(0, "train", 0)).cluster != shown[0]
    own = [aet.draw(recipe_of(), Streams(0, "train", i)).cluster for i in range(2)]
    assert own[0] != own[1]


def test_angles_are_steps_or_drawn_or_measured() -> None:
    def angles(*settings: str) -> np.ndarray:
        found: np.ndarray = aet.draw(recipe_of(*settings), Streams(0, "train", 3)).angle
        return np.degrees(found)

    steps = ("tilts.number=5", "tilts.first=-60", "tilts.last=60")
    assert np.allclose(angles(*steps, "tilts.random=false"), [-60, -30, 0, 30, 60], atol=1e-4)
    drawn = angles(*steps)
    assert abs(drawn).max() <= 60
    assert len(set(drawn)) == 5
    assert np.allclose(angles("tilts.angles=3,-2.5,40"), [3, -2.5, 40], atol=1e-4)
    assert recipe_of("tilts.angles=3,-2.5,40").sizes()["tilt"] == 3


def test_the_published_problem_is_as_stated() -> None:
    """One particle of more than 10,000 atoms; images up to 255, backgrounds of 0 to 45; neither noise nor blur."""
    recipe = recipe_of(recipe="published")
    drawn = [aet.draw(recipe, Streams(0, "train", i)) for i in range(3)]
    made = [aet.simulate_slice(recipe, [one], (0,)) for one in drawn[:2]]
    for one in made:
        assert one["atom_count"][0] > 10_000
        assert 50 < one["clean"].max() <= 255
        assert one["background"].min() == 0
        assert 40 < one["background"].max() < 50
        assert (one["noisy"] == one["clean"] + one["background"]).all()
    assert drawn[0].electrons == 0
    assert len({float(one.angle[0]) for one in drawn}) == 3
    assert {float(one.background.width[0]) % 1 for one in drawn} == {0.0}


def test_a_particle_that_does_not_fit_is_refused() -> None:
    recipe = recipe_of(*SMALL)
    drawn = aet.draw(recipe, Streams(0, "train", 0))
    wide = replace(drawn, cluster=replace(drawn.cluster, diameter=7.0))
    with pytest.raises(Exception, match=r"does not fit into the field of view|there is room for"):
        aet.simulate_slice(recipe, [wide], (0,))


@pytest.mark.parametrize(
    ("setting", "reason"),
    [
        ("dose=0", "dose"),
        ("cluster.diameter=14", "must be at most the field of view"),
        ("cluster.elements=Xx", "Xx"),
        ("tilts.number=0", "tilts.number"),
        ("stem.outer=0.01", "must be above inner"),
        ("signal_unit=0", "signal_unit"),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_line(setting: str, reason: str, generate: Command) -> None:
    refused(generate("--task", "aet", "--n", 2, "--set", setting), reason)
