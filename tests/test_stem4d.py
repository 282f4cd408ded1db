"""The task `stem4d`: patterns and targets follow from objects, probe and positions; electrons are counted; scans."""

import json
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from generators.engine import pipeline, shards
from generators.instruments.probe import Probe
from generators.random_streams import Streams
from generators.specimens import thin_objects
from generators.specimens.planar import lattice
from generators.tasks import stem4d
from physics.electron import interaction
from schemas.fields.illuminated_patches import enlarge_middle, first_origin_pixel, pixel_offsets
from schemas.runtime.errors import UserError
from schemas.runtime.settings import make_settings

from .conftest import DATA, Command, digest, refused

MEASURED = DATA / "hbn_4dstem"
CLEAN = ("noise=0", "phase_patch=true")
SCAN = ("scan.rows=6", "scan.columns=5")
SMOOTH = "lattice.vibration=0.05"  # nm: no atom is sharper than two pixels


def plan(*settings: str, recipe: str = "default", train: int = 64, test: int = 0) -> Any:
    made = make_settings(stem4d.Recipe, stem4d.RECIPES[recipe].model_dump(mode="json"), settings)
    samples = {"train": train, "validation": 0, "test": test}
    return pipeline.plan("stem4d", made.bind(None), 0, samples, Path("x.zarr"))


def samples(n: int, *settings: str) -> dict[str, np.ndarray]:
    found = plan(*settings)
    return shards.make(found, "train", range(n)) | shards.constants(found)


def scanned(*settings: str, n: int = 30) -> dict[str, np.ndarray]:
    found = plan(*SCAN, *settings, recipe="hbn_scan", train=0, test=n)
    return shards.make(found, "test", range(n)) | shards.constants(found)


def pattern(probe: np.ndarray, phase: np.ndarray, absorption: float, move: Any = (0.0, 0.0)) -> np.ndarray:
    """The sums of the definition, written out in float64: |F (P O)|, the probe moved by a phase ramp of its sums."""
    n = len(probe)
    place = np.arange(n) - n // 2
    kernel = np.exp(-2j * np.pi / n * place[:, None] * place)
    # Fourier's shift by the frequencies from -N/2 on, as zero frequency first has them
    turn = [np.exp(-2j * np.pi / n * place * shift) for shift in move]
    moved = kernel.conj() @ (turn[0][:, None] * (kernel @ probe.astype(complex) @ kernel) * turn[1]) @ kernel.conj()
    wave = moved / n**2 * np.exp((1j - absorption) * phase.astype(float))
    return abs(kernel @ wave @ kernel)


@pytest.mark.parametrize("n", [32, 36, 44])  # of the quarters, 8, 9 and 11 pixels, one is even
@pytest.mark.parametrize("kind", ["texture.slope=2", "lattice.crystal=graphene", "pictures"])
def test_amplitudes_and_targets_follow_from_the_stored_fields(generate: Command, n: int, kind: str) -> None:
    if kind == "pictures":
        np.save("stack.npy", np.random.default_rng(0).integers(0, 255, (40, 50, 60), np.uint8))
        kind = "pictures.path=stack.npy"
    settings = (*CLEAN, f"pattern={n}", kind, "object.absorption=0:0.2", "probe.defocus=1", "probe.astigmatism=1")
    assert generate("--task", "stem4d", "--n", 3, "--validation", 1, "--set", *settings)[0] == 0
    for split in ("train", "validation"):
        data = xr.open_zarr(f"stem4d.zarr/{split}").load()
        probe, window = data.probe.values, data["mask"].values
        bright = abs(probe) ** 2 > 0.16 * (abs(probe) ** 2).max()
        q = n // 4
        middle = (slice(n // 2 - q // 2, n // 2 - q // 2 + q),) * 2
        assert np.array_equal(window, np.kron(bright[middle], np.ones((4, 4))))
        for i in range(data.sizes["sample"]):
            s = data.isel(sample=i)
            exact = np.sqrt(float(s.dose)) * pattern(probe, s.phase_patch.values, float(s.object_absorption))
            assert np.max(abs(s.amplitude.values - exact)) < 2e-6 * exact.max()
            assert np.array_equal(s.phase, window * np.kron(s.phase_patch.values[middle], np.ones((4, 4))))
        assert float(data.phase_patch.std()) > 0.005


def test_the_enlarged_pixel_of_the_origin_is_where_it_is_said_to_be() -> None:
    for n in (32, 36, 40, 44):
        patch = np.zeros((n, n))
        patch[n // 2, n // 2] = 1
        rows = np.flatnonzero(enlarge_middle(patch).any(axis=1))
        assert rows.tolist() == [first_origin_pixel(n) + k for k in range(4)]
        assert pixel_offsets(n)[first_origin_pixel(n) // 4] == 0


@pytest.mark.parametrize(
    "settings", [(), ("scan.jitter=0.01", "scan.rotation=0.3", "pattern=36"), ("scan.step=0.057",)]
)
def test_patterns_of_a_scan_follow_from_object_positions_and_probe(settings: tuple[str, ...]) -> None:
    found = scanned(*CLEAN, *settings)
    n = found["probe"].shape[0]
    for i in range(0, 30, 7):
        place = found["position"][i].astype(float) / float(found["sampling"][i])
        whole = np.floor(place + 0.5).astype(int)
        y, x = whole - n // 2
        patch = found["object"][0, y : y + n, x : x + n]
        assert np.array_equal(found["phase_patch"][i], patch)
        exact = np.sqrt(float(found["dose"][i])) * pattern(found["probe"], patch, 0.0, place - whole)
        assert np.max(abs(found["amplitude"][i] - exact)) < 4e-6 * exact.max()


@pytest.mark.parametrize("scan", [False, True])
def test_a_source_that_is_no_point_is_a_sum_over_moved_probes(scan: bool) -> None:
    """By the stated formula; without one all stays as it is, bit for bit, and with one the counts do."""
    make = scanned if scan else partial(samples, 3)
    settings = (*CLEAN, "scan.rotation=0.3") if scan else (*CLEAN, "probe.defocus=1")
    point, found = make(*settings), make(*settings, "probe.source=0.02")
    for name, values in make(*settings, "probe.source=0").items():
        assert np.array_equal(values, point[name]), name
    assert np.array_equal(found["phase"], point["phase"])
    assert np.allclose((found["amplitude"] ** 2).sum(axis=(1, 2)), found["dose"], rtol=1e-5)
    place, weight = np.polynomial.hermite.hermgauss(7)
    weight = weight / weight.sum()
    assert weight.sum() == pytest.approx(1, abs=1e-12)
    sampling = float(found["sampling"][2])
    at = found["position"][2].astype(float) / sampling
    rest = at - np.floor(at + 0.5) if scan else np.zeros(2)
    exact = np.zeros_like(found["amplitude"][2], float)
    for (x, w), (y, v) in product(zip(place, weight, strict=True), repeat=2):
        move = rest + 2**0.5 * 0.02 / sampling * np.array([x, y])
        exact = exact + w * v * pattern(found["probe"], found["phase_patch"][2], 0.0, move) ** 2
    exact = np.sqrt(float(found["dose"][2]) * exact)
    assert np.max(abs(found["amplitude"][2] - exact)) < 4e-6 * exact.max()
    assert np.max(abs(found["amplitude"][2] - point["amplitude"][2])) > 1e-3 * exact.max()


def test_targets_of_a_scan_are_the_object_about_each_position() -> None:
    """On whole pixels exactly; between them, by the lattice itself at these points."""
    found = scanned("noise=0", "scan.step=0.0285", SMOOTH)
    for i in (0, 7, 29):
        y, x = np.rint(found["position"][i] / 0.0285).astype(int)
        patch = found["object"][0, y - 4 : y + 4, x - 4 : x + 4]
        assert np.allclose(found["phase"][i], found["mask"] * np.kron(patch, np.ones((4, 4))), atol=1e-6)
    made = plan(*SCAN, "noise=0", SMOOTH, recipe="hbn_scan", train=0, test=30)
    found = shards.make(made, "test", range(30)) | shards.constants(made)
    drawn = thin_objects.draw(made.recipe, Streams(0, "test", 0).group(0)).structure
    assert isinstance(drawn, lattice.DrawnLattice)
    for i in (1, 12, 29):
        origin = made.recipe.object_shape[0] // 2 - found["position"][i].astype(float) / 0.0285 + 4
        points = interaction(80e3) * lattice.projected_potential(drawn, (8, 8), (0.0285, 0.0285), origin=tuple(origin))
        error = found["phase"][i] - found["mask"] * np.kron(points, np.ones((4, 4)))
        assert abs(error).max() < 2e-3 * np.ptp(found["object"])


def test_all_positions_of_a_scan_see_one_object_and_scans_do_not_share_it() -> None:
    found = scanned("scan.scans=2", "lattice.orientation=0:1", n=60)
    assert found["scan"].tolist() == [0] * 30 + [1] * 30
    assert len(np.unique(found["lattice_rotation"][:, 0])) == 2
    assert np.array_equal(found["position"][:30], found["position"][30:])
    assert not np.array_equal(found["object"][0], found["object"][1])


def test_positions_are_a_raster_with_jitter_turned_and_within_the_object() -> None:
    for settings in (("scan.jitter=0.02",), ("scan.rotation=2",), ("scan.rotation=-0.4", "scan.jitter=0.1")):
        made = plan(*SCAN, *settings, recipe="hbn_scan", train=0, test=30)
        found = shards.make(made, "test", range(30))
        places = found["position"] / 0.0285
        least, most = places.min(axis=0), places.max(axis=0)
        assert (np.floor(least + 0.5) >= 16).all()
        assert (np.floor(most + 0.5) + 16 <= made.recipe.object_shape).all()
    turned = plan(*SCAN, "scan.rotation=0.3", recipe="hbn_scan", train=0, test=30)
    there = shards.make(turned, "test", range(6))["position"]
    assert np.allclose(there[1] - there[0], 0.0248 * np.array([np.sin(0.3), np.cos(0.3)]), atol=1e-6)
    assert np.allclose(there[5] - there[0], 0.0248 * np.array([np.cos(0.3), -np.sin(0.3)]), atol=1e-6)
    straight = plan(*SCAN, "scan.jitter=0.02", recipe="hbn_scan", train=0, test=30)
    raster = np.array([divmod(i, 5) for i in range(30)]) * 0.0248 + (16 + 1) * 0.0285  # room for probe and jitter
    away = shards.make(straight, "test", range(30))["position"] - raster
    assert (abs(away).max(axis=0) > 0.017).all()
    assert abs(away).max() <= 0.02 + 1e-6
    assert np.allclose(away.mean(axis=0), 0, atol=4 * 0.02 / np.sqrt(3 * 30))


def test_samples_of_one_object_are_neighbours_and_no_object_is_in_two_splits() -> None:
    made = plan("patterns_per_object=5", train=23)
    found = shards.make(made, "train", range(23))
    seeds = found["texture_seed"]
    assert [len(np.unique(seeds[k : k + 5])) for k in range(0, 23, 5)] == [1] * 5
    assert len(np.unique(seeds)) == 5
    assert not set(seeds) & set(shards.make(made, "test", range(23))["texture_seed"])
    places = found["position"] / 0.0285
    assert len(np.unique(np.rint(places), axis=0)) > 20
    assert np.allclose(places, np.rint(places), atol=1e-4)
    assert places.min() >= 16 - 1e-4
    assert places.max() <= 64 - 16 + 1e-4


def test_electrons_are_counted() -> None:
    """Whole numbers, of the dose in all, with the variance of their mean."""
    found = samples(48, "store=both", "dose=20000")
    counts, expected = found["amplitude"] ** 2, found["amplitude_expected"] ** 2
    assert np.allclose(counts, np.rint(counts), atol=1e-3)
    assert np.allclose(expected.sum(axis=(1, 2)), 20_000, rtol=1e-5)
    bright = expected > 5
    pull = (counts - expected)[bright] / np.sqrt(expected[bright])
    assert abs(pull.mean()) < 4 / np.sqrt(pull.size)
    assert pull.var() == pytest.approx(1, abs=6 / np.sqrt(pull.size))
    assert np.array_equal(samples(4, "store=expectation")["amplitude"], samples(4, "noise=0")["amplitude"])


def test_doses_are_uniform_in_their_logarithm_or_follow_from_the_fluence() -> None:
    logarithms = np.log10(samples(400, "pattern=8", "object_size=8", "probe.semi_angle=0.06")["dose"])
    assert logarithms.min() >= 3
    assert logarithms.max() <= 5
    assert abs(logarithms.mean() - 4) < 4 * 2 / np.sqrt(12 * 400)
    assert np.allclose(scanned()["dose"], 4.5e7 * 0.0248**2)
    assert (scanned("scan.fluence=none", "dose=123")["dose"] == 123).all()


RANGES = ("scan.step=0.02:0.06", "scan.fluence=4e5:4e7", "scan.scans=6")


def test_each_scan_has_its_own_step_and_fluence_evenly_spaced() -> None:
    """In the logarithm, over the whole range; positions, doses and the frame follow."""
    found = scanned(*RANGES, n=180)
    step, dose = (found[name].reshape(6, 30).astype(float) for name in ("step", "dose"))
    assert (np.ptp(step, axis=1) == 0).all()
    assert (np.ptp(dose, axis=1) == 0).all()
    fluence = dose[:, 0] / step[:, 0] ** 2
    for values, low, high in ((step[:, 0], 0.02, 0.06), (fluence, 4e5, 4e7)):
        shares = np.sort(np.log(values / low) / np.log(high / low))
        assert np.floor(6 * shares).tolist() == [0, 1, 2, 3, 4, 5]
        assert np.allclose(np.diff(shares), 1 / 6, atol=1e-5)
    assert abs(np.corrcoef(np.log(step[:, 0]), np.log(fluence))[0, 1]) < 0.3
    for k in range(6):
        place = found["position"][30 * k : 30 * (k + 1)]
        assert np.allclose(place[[1, 5]] - place[0], step[k, 0] * np.array([[0, 1], [1, 0]]), atol=1e-6)
        assert np.allclose(place[0], found["position"][0])
    assert (found["position"].max(axis=0) / 0.0285 + 16 <= found["object"].shape[1:]).all()


def test_step_and_fluence_depend_on_seed_recipe_and_number_alone() -> None:
    made = plan(*SCAN, *RANGES, recipe="hbn_scan", train=0, test=180)
    late = shards.make(made, "test", range(100, 130))
    whole = scanned(*RANGES, n=180)
    for name in ("step", "dose", "position", "amplitude"):
        assert np.array_equal(late[name], whole[name][100:130])
    one = scanned("scan.step=0.03", "scan.fluence=1e6", "scan.scans=2", n=60)
    assert (one["step"] == np.float32(0.03)).all()
    assert (one["dose"] == np.float32(1e6 * 0.03**2)).all()
    again = make_settings(stem4d.Recipe, json.loads(made.recipe.model_dump_json()), [])
    assert again == made.recipe


def test_numbers_are_stored_as_they_were_before_there_were_ranges() -> None:
    stored = json.loads(stem4d.RECIPES["hbn_scan"].model_dump_json())["scan"]
    assert (stored["step"], stored["fluence"]) == (0.0248, 4.5e7)
    assert "step" not in samples(1)


@pytest.mark.skipif(not MEASURED.exists(), reason="the measured files are not here")
def test_the_measured_probe_and_positions(generate: Command) -> None:
    """The mask is the published one; files are found again by hash."""
    settings = (
        f"probe.path={MEASURED}/probe.npy",
        f"scan.positions.path={MEASURED}/positions.npy",
        "scan.fluence=none",
    )
    command = ("--task", "stem4d", "--recipe", "hbn_scan", "--n", 0, "--validation", 0, "--test", 3)
    assert generate(*command, "--set", *settings)[0] == 0
    data = xr.open_zarr("stem4d.zarr/test").load()
    assert np.array_equal(data["mask"], np.load(MEASURED / "mask.npy"))
    probe = np.load(MEASURED / "probe.npy")
    assert np.allclose(data.probe * 32 * np.sqrt((abs(probe) ** 2).sum()), probe, atol=1e-6)
    assert np.allclose(np.diff(data.position / 0.0285, axis=0), [[0.869959, 0]] * 2, atol=1e-4)
    assert data.sizes["oy"] == 222 + 32
    assert "step" not in data
    assert generate("--from", "stem4d.zarr", "--inputs", MEASURED, "--out", "again.zarr")[0] == 0
    assert digest("again.zarr") == digest("stem4d.zarr")
    refused(generate("--from", "stem4d.zarr", "--out", "other.zarr"), "--inputs")


def saved(name: str, values: Any) -> str:
    np.save(name, values)
    return name


@pytest.mark.parametrize(
    ("settings", "parts"),
    [
        (["pattern=30"], ["pattern = 30", "multiple of 4"]),
        (["pattern=128"], ["object_size = 64", "at least pattern = 128"]),
        (["probe.semi_angle=0.08"], ["0.08", "take smaller pixels"]),
        (["probe.defocus=200"], ["probe", "dark in the middle"]),
        (["probe.source=0.1"], ["probe.source = 0.1 nm", "at most 0.0637 nm", "lower it"]),
        (["probe.source=0.5", "probe.path=point.npy"], ["probe.source = 0.5 nm", "at most 0.0", "lower it"]),
        (["noise=0.5"], ["noise"]),
        (["dose=0"], ["dose", "more than 0"]),
        (["probe.path=none.npy"], ["none.npy", "No such file"]),
        (["probe.path=small.npy"], ["small.npy", "16x16 pixels", "32x32"]),
        (["probe.path=real.npy"], ["real.npy", "complex array"]),
        (["probe.path=nan.npy"], ["nan.npy", "finite"]),
        (["pictures.path=x", "lattice.crystal=hbn"], ["give only one of them"]),
        (["scan.positions.path=real.npy"], ["real.npy", "(position, 2)"]),
        (["scan.positions.path=far.npy"], ["at most 8192"]),
        (["scan.positions.path=far.npy", "scan.fluence=1"], ["only a raster has a step"]),
        (["scan.fluence=5:1"], ["scan.fluence", "did you mean 1:5"]),
        (["scan.step=0:1"], ["scan.step", "more than 0"]),
        (["scan.rows=800", "scan.step=0.02:0.3"], ["at most 8192", "lower rows, columns or step"]),
        (["scan.rows=4000"], ["split test alone", "--n 0 --validation 0"]),
        (["scan.rows=65536"], ["at most 8192"]),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(generate: Command, settings: list[str], parts: list[str]) -> None:
    saved("small.npy", np.ones((16, 16), complex))
    saved("real.npy", np.ones((32, 32)))
    saved("point.npy", Probe().wave(32, 0.0285))
    saved("nan.npy", np.full((32, 32), np.nan + 1j))
    saved("far.npy", np.array([[0.0, 0.0], [1e4, 0.0]]))
    refused(generate("--task", "stem4d", "--n", 2, "--set", *settings), *parts)


def test_a_scan_makes_no_more_samples_than_it_has_positions() -> None:
    with pytest.raises(UserError, match="30 positions x 1 scans; give --test 30"):
        scanned(n=31)


def test_a_probe_that_has_changed_is_told() -> None:
    wave = np.zeros((32, 32), complex)
    wave[16, 16] = 7
    probe = Probe(path=Path(saved("probe.npy", wave))).bind(None)
    saved("probe.npy", 2 * wave)
    with pytest.raises(UserError, match="has changed"):
        probe.array()
    again = Probe(path=Path("probe.npy")).bind(None)
    assert np.allclose(again.wave(32, 0.0285) * 32, wave / 7)  # scaled to one electron
