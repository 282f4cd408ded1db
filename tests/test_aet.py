"""The task `aet`: images follow from the atoms, noise from the electrons, and the published problem is as stated."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

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
    """Bounds are five standard errors, of the mean over 16 images: 0.005 along, 0.0072 across."""
    made = samples(16, "scan.afterglow=0.8", "scan.flicker=0", "dose=3e4")
    noise = (made["noisy"] - made["clean"] - made["background"])[:, 0, :, 8:]
    noise /= np.sqrt((made["clean"] + made["background"])[:, 0, :, 8:])  # Poisson noise is wider where it is bright
    noise /= noise.std(axis=(1, 2), keepdims=True)
    along, across = (noise[..., 1:] * noise[..., :-1]).mean(), (noise[:, 1:] * noise[:, :-1]).mean()
    assert abs(along - np.exp(-1 / 0.8)) < 0.025
    assert abs(across) < 0.036


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


def test_the_atoms_of_a_file_are_shown_as_they_are(generate: Command, dataset: Command) -> None:
    """XYZ holds x, y, z in angstrom. The file is recorded by its hash, and found again by it."""
    rows = ["2", "two atoms", "Pt 0 0 0", "Ni 2.0 -3.0 1.5"]
    Path("two.xyz").write_text("\n".join(rows))
    small = ("image_size=24", "sampling=0.1", "stem.semi_angle=0.015", "noise=0")
    command = ("--task", "aet", "--n", 2, "--validation", 0, "--test", 0)
    assert generate(*command, "--set", *small, "model.path=two.xyz", "--out", "a.zarr")[0] == 0
    made = xr.open_zarr("a.zarr/train")
    assert (made.atom_count == 2).all()
    assert made.atom_element[0].values.tolist() == [78, 28]
    assert np.allclose(made.atom_position[0], [[-0.075, 0.15, -0.1], [0.075, -0.15, 0.1]])
    assert "zone_angle" not in made
    assert (made.atom_position[0] == made.atom_position[1]).all()
    assert generate("--from", "a.zarr", "--inputs", ".", "--out", "b.zarr")[0] == 0
    assert xr.open_zarr("b.zarr/train").equals(made)
    refused(generate("--from", "a.zarr", "--out", "c.zarr"), "--inputs DIR")
    assert generate(*command, "--set", *small, "model.path=two.xyz", "model.turned=true", "--out", "d.zarr")[0] == 0
    turned = xr.open_zarr("d.zarr/train").atom_position.values
    assert np.allclose(np.linalg.norm(turned, axis=2), np.linalg.norm(made.atom_position.values, axis=2))
    assert abs(turned[0] - turned[1]).max() > 0.01
    refused(generate(*command, "--set", "model.path=two.xyz", "model.unit=nm", "--out", "e.zarr"), "unit=angstrom")


COARSE = ("stem.inner=0.03", "stem.outer=0.05", "stem.slice=0.4", "stem.vibration=0", "cluster.elements=Ni")


@pytest.mark.slow(20)
def test_a_certificate_states_the_error_and_stays_with_the_dataset(generate: Command, dataset: Command) -> None:
    """A larger number of slices goes on, and another `generate` of the same dataset keeps what was found."""
    command = ("--task", "aet", "--n", 3, "--validation", 0, "--test", 0, "--set", *SMALL, *COARSE, "--out", "a.zarr")
    assert generate(*command)[0] == 0
    before = json.loads(dataset("info", "a.zarr", "--json")[1])
    code, said, err = dataset("certify", "a.zarr", "--slices", 1, "--values", 9)
    assert (code, err) == (0, "")
    assert said.count("error") == 1
    assert "slices), with sums of" in said
    said = dataset("certify", "a.zarr", "--slices", 2, "--values", 9)[1]
    assert said.count(": error") == 1
    after = json.loads(dataset("info", "a.zarr", "--json")[1])
    assert len(after["accuracy"]["slices"]) == 2
    assert {one["values"] for one in after["accuracy"]["slices"]} == {9}
    assert before | {"accuracy": after["accuracy"]} == after
    assert "accuracy   images of a point source" in dataset("info", "a.zarr")[1]
    assert generate(*command)[0] == 0
    assert json.loads(dataset("info", "a.zarr", "--json")[1]) == after
    assert dataset("verify", "a.zarr")[0] == 0
    refused(dataset("certify", "a.zarr", "--slices", 4), "has 3")


def test_multislice_differs_little_from_itself() -> None:
    """The window around the compared pixels is wide enough."""
    recipe = recipe_of(*SMALL, *COARSE, "stem.fidelity=multislice", "stem.phonons=1")
    drawn = aet.draw(recipe, Streams(0, "train", 0))
    found, exact = aet.compare(recipe, drawn, (0,), 9, np.random.default_rng(0))
    assert len(found) == 9
    assert np.linalg.norm(found - exact) < 0.03 * np.linalg.norm(exact)


def test_tasks_without_approximations_have_no_certificate(generate: Command, dataset: Command) -> None:
    assert generate("--task", "cdi", "--n", 2, "--validation", 0, "--test", 0, "--set", "image_size=16")[0] == 0
    refused(dataset("certify", "cdi.zarr"), "has no approximation")


def test_doses_may_be_given_per_square_angstrom() -> None:
    for text, low, high in (("2e3e/A^2", 2e5, 2e5), ("1e4:3e4 e/A^2", 1e6, 3e6), ("5e4e/nm^2", 5e4, 5e4)):
        dose = recipe_of(f"dose={text}").dose
        assert (dose.low, dose.high) == pytest.approx((low, high))


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
        ("dose=5e/cm^2", "is not a number"),
        ("cluster.diameter=14", "must be at most the field of view"),
        ("cluster.elements=Xx", "Xx"),
        ("tilts.number=0", "tilts.number"),
        ("stem.outer=0.01", "must be above inner"),
        ("signal_unit=0", "signal_unit"),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_line(setting: str, reason: str, generate: Command) -> None:
    refused(generate("--task", "aet", "--n", 2, "--set", setting), reason)
