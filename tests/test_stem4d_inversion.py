"""The task `stem4d`: what networks are told, methods that need whole scans, images stitched of patches."""

import json
import shutil
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr
from scipy import ndimage

from inference.stitching.offsets import LeastSquares
from inference.stitching.patches import Patches, first_pixels, frame_of, relative_weights
from inference.stitching.raster import find_raster
from inference.stitching.resolution import Resolution, lay_over_object, resolution
from inference.stitching.stitched_image import stitch
from inference.tasks.stem4d import METHODS, patch_places, phase_at
from physics import pie
from schemas.runtime.errors import UserError
from schemas.tasks.stem4d import TASK
from tests.training.conftest import columns, features_for, made

from .conftest import Command, refused, values
from .test_stem4d import scanned

ROOMY = ("scan.rows=20", "scan.columns=18", "scan.step=0.04", "noise=0", "lattice.vibration=0.03")
GENERATE = ("--task", "stem4d", "--recipe", "hbn_scan", "--n", 0, "--validation", 0, "--scheduler", "synchronous")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made(tmp_path_factory.mktemp("stem4d"), "stem4d", "--set", "pattern=16", "probe.semi_angle=0.05")


def settings(name: str, **given: float) -> dict[str, Any]:
    return {key: setting.values[0] for key, setting in METHODS[name].settings.items()} | given


def invert(name: str, fields: dict[str, np.ndarray], **given: float) -> np.ndarray:
    """Scan by scan."""
    method, found = METHODS[name], np.empty_like(fields["phase"])
    for number in np.unique(fields["scan"]):
        rows = fields["scan"] == number
        one = {key: values[rows] if TASK[key].per_sample else values for key, values in fields.items()}
        found[rows] = method.invert(TASK, settings(name, **given), method.prepare_fields(one))["phase"]
    return found


def error(found: np.ndarray, fields: dict[str, np.ndarray]) -> float:
    """Relative to the phase, each patch less its mean; the median."""
    inside = fields["mask"] != 0
    a, b = (x[:, inside].astype(float) for x in (found, fields["phase"]))
    a, b = (x - x.mean(axis=1, keepdims=True) for x in (a, b))
    return float(np.median(np.linalg.norm(a - b, axis=1) / np.linalg.norm(b, axis=1)))


@pytest.mark.parametrize(("name", "least"), [("epie", 0.05), ("rpie", 0.05), ("idpc", 0.6)])
def test_methods_find_the_object_of_a_clean_scan(name: str, least: float) -> None:
    """iDPC blurs with the probe; and each of two scans has its own object, wherever it lies."""
    fields = scanned(*ROOMY, "scan.scans=2", "lattice.orientation=0:1", n=720)
    fields["position"] = fields["position"] + np.float32(0.7) * fields["scan"][:, None]
    given = {"sweeps": 60.0} if name != "idpc" else {}
    found = invert(name, fields, **given)
    assert error(found, fields) < least
    assert (found[:, fields["mask"] == 0] == 0).all()
    turned = {**fields, "phase": fields["phase"][:, ::-1]}
    assert error(found, turned) > 1.5 * error(found, fields)


@pytest.mark.parametrize(("name", "most"), [("epie", 0.8), ("rpie", 0.3)])
def test_modes_find_the_object_that_one_cannot(name: str, most: float) -> None:
    """A source that is no point: one mode takes its blur for the object's. Of one mode the source says nothing."""
    fields = scanned(*ROOMY, "scan.rows=12", "scan.columns=11", "probe.source=0.02", n=132)
    solve = partial(invert, name, fields, sweeps=20)
    one = error(solve(), fields)
    assert one > 0.1
    assert error(solve(modes=6), fields) < most * one
    assert error(solve(modes=6, beta=0.3), fields) < most * one
    assert np.array_equal(solve(source=0.5), solve())
    with pytest.raises(UserError, match=r"--set source=0\.5: must be at most 0\.06\d+ nm for this probe"):
        solve(modes=6, source=0.5)


def test_a_strong_phase_is_found_without_jumps() -> None:
    """A texture over more than 2 pi, as the targets have it; wrapped, the error would be 1 rad."""
    strong = ("object.range=8", "texture.slope=3", "lattice=none", "noise=0")
    fields = scanned(*strong, "scan.rows=20", "scan.columns=20", "scan.step=0.04", n=400)
    inside = fields["mask"] != 0
    assert np.ptp(fields["phase"][:, inside]) > 2 * np.pi
    assert np.std((invert("rpie", fields) - fields["phase"])[:, inside]) < 0.1


def test_phases_between_pixels_have_the_cycles_of_their_neighbours() -> None:
    """Whatever noise is beside them; and what does not wrap is the phase of the interpolated wave, bit for bit."""
    y, x = np.mgrid[:40, :33]
    bump, seen = 11 * np.exp(-((y - 18) ** 2 + 1.5 * (x - 15) ** 2) / 120), (abs(y - 19) < 17) & (abs(x - 16) < 14)
    noise = np.random.default_rng(0).uniform(-np.pi, np.pi, seen.shape)
    grid = np.mgrid[5:34, 5:28] + np.array([0.3, 0.45])[:, None, None]
    exact = 11 * np.exp(-((grid[0] - 18) ** 2 + 1.5 * (grid[1] - 15) ** 2) / 120)
    found = phase_at(grid, np.exp(1j * np.where(seen, bump, noise)), seen)
    away = found - exact
    assert abs(away - 2 * np.pi * np.round(away.mean() / (2 * np.pi))).max() < 0.1
    weak = np.exp(0.25j * bump)
    real, imaginary = (ndimage.map_coordinates(part, grid, order=3, mode="mirror") for part in (weak.real, weak.imag))
    assert np.array_equal(phase_at(grid, weak, seen), np.arctan2(imaginary, real))


def test_sweeps_take_the_positions_in_orders_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    fields = scanned(*ROOMY, "scan.rows=5", "scan.columns=4", n=20)
    for name in ("epie", "rpie"):
        spy = Mock(wraps=getattr(pie, name))
        monkeypatch.setattr(pie, name, spy)
        invert(name, fields, sweeps=12)
        orders = spy.call_args.args[4]
        assert (np.sort(orders, axis=1) == np.arange(20)).all()
        assert len(np.unique(orders, axis=0)) == 12


def test_a_raster_is_found_turned_and_jittered() -> None:
    rng = np.random.default_rng(0)
    for angle, rows, across in ((0.0, 6, 9), (0.6, 9, 5), (-2.0, 8, 8)):
        axes = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) * [[1.5], [0.8]]
        index = np.array([divmod(i, across) for i in range(rows * across)])
        places = np.array([30.0, 40.0]) + index @ axes
        for jitter in (0.0, 0.05):
            raster = find_raster(places + rng.uniform(-jitter, jitter, places.shape))
            assert (raster.rows, raster.columns) == (rows, across)
            assert np.allclose(raster.axes, axes, atol=1e-9 + 2 * jitter)
        exact = find_raster(places)
        assert np.allclose(exact.indices(places.T), index.T)
        assert exact.steps == pytest.approx((1.5, 0.8))
        assert np.allclose(exact.along_axes(axes), np.diag(exact.steps), atol=1e-9)


@pytest.mark.parametrize("places", ["random", "line", "cut", "skew"])
def test_no_raster_is_refused(places: str) -> None:
    index = np.array([divmod(i, 5) for i in range(30)], float)
    wrong = {
        "random": np.random.default_rng(0).uniform(0, 30, (30, 2)),
        "line": index[:5],
        "cut": index[:28],
        "skew": index @ np.array([[1.0, 0.5], [0.0, 1.0]]),
    }[places]
    with pytest.raises(UserError, match="use a method that needs no raster"):
        find_raster(wrong)


def test_a_turned_scan_is_integrated_along_its_own_axes() -> None:
    straight, turned = (scanned(*ROOMY, f"scan.rotation={a}", n=360) for a in (0, 0.5))
    assert error(invert("idpc", turned), turned) < 1.3 * error(invert("idpc", straight), straight)


def test_a_probe_off_the_axis_is_integrated_as_one_on_it() -> None:
    """Its pattern without a specimen has its centre of mass beside zero frequency: that is no slope of the phase."""
    straight = scanned(*ROOMY, n=360)
    n = len(straight["probe"])
    np.save("tilted.npy", straight["probe"] * np.exp(2j * np.pi / n * (np.arange(n) - 2 * np.arange(n)[:, None])))
    tilted = scanned(*ROOMY, "probe.path=tilted.npy", n=360)
    assert not np.allclose(tilted["amplitude"], straight["amplitude"], atol=1)
    assert error(invert("idpc", tilted), tilted) == pytest.approx(error(invert("idpc", straight), straight), rel=0.1)


def test_whole_scans_from_the_command_line_to_images(
    generate: Command, infer: Command, evaluate: Command, dataset: Command
) -> None:
    """Shard by shard into the store, again if one is lost; stitched, compared with the object, in coordinates of it."""
    assert generate(*GENERATE, "--test", 360, "--set", *ROOMY, "--shard-samples", 64)[0] == 0
    assert dataset("validate", "stem4d.zarr")[0] == 0
    command = ("--method", "epie", "--data", "stem4d.zarr", "--set", "sweeps=40", "--out", "epie.zarr")
    code, out, _ = infer(*command, "--stitch", "scan.zarr")
    assert code == 0
    assert "scan 0: 360 patches" in out
    before = values("epie.zarr")
    shutil.rmtree("epie.zarr/phase/c/3")
    assert infer(*command)[0] == 0
    assert values("epie.zarr") == before
    assert evaluate("--data", "stem4d.zarr", "--predictions", "epie.zarr")[0] == 0
    worth = json.loads(Path("scan-resolution.json").read_text())["scans"][0]
    assert worth["rms"] < 0.02
    assert worth["seventh"] > 10
    assert worth["half_bit"] > 10
    image, truth = xr.open_zarr("scan.zarr").load(), xr.open_zarr("stem4d.zarr/test").load()
    assert float(image.y[0]) == pytest.approx(float(truth.position[:, 0].min()) - 17.5 * 0.0285 / 4, abs=0.0285 / 8)
    refused(infer(*command, "--stitch", "epie.zarr"), "epie.zarr", "lies at or inside --out")
    again = values("scan.zarr")
    assert infer(*command, "--stitch", "scan.zarr")[0] == 0
    assert values("scan.zarr") == again
    refused(infer(*command, "--stitch", "b.zarr", "--stitch-set", "alpha=0.2"), "method=iterative")
    refused(infer(*command, "--stitch-set", "alpha=0.2"), "is for --stitch; give --stitch")
    assert infer(*command, "--stitch", "b.zarr", "--stitch-set", "method=iterative", "sweeps=5")[0] == 0


def _blocks(patches: np.ndarray, window: tuple[slice, slice]) -> list[tuple[np.ndarray, np.ndarray]]:
    return [(np.arange(len(patches)), patches[:, *window])]


def test_exact_targets_are_stitched_to_the_object() -> None:
    """Positions on whole pixels: the mean over the pixels of the object is the object, exactly."""
    for size in ((), ("pattern=36",)):
        fields = scanned("noise=0", "scan.step=0.0285", *size)
        scans = patch_places(fields)
        weight = relative_weights(scans.weight)
        corner = first_pixels(scans.position - scans.zero, scans.sampling, weight.shape[1:])
        frame = frame_of(corner, weight.shape[1:])
        patches = fields["phase"] + fields["mask"] * np.random.default_rng(0).normal(size=(30, 1, 1))
        image = stitch(partial(_blocks, patches.astype(np.float32)), Patches(corner, weight), frame, LeastSquares())
        exact = fields["object"][0]
        found = resolution(lay_over_object(image.values, frame.origin, exact.shape, 4), exact, 0.0285)
        assert found.rms is not None
        assert found.rms < 1e-6
        assert found.seventh == max(f for f, counts in zip(found.frequency, found.counts, strict=True) if counts)
        assert min(found.pixels) >= 6


def test_a_resolution_is_that_of_the_noise() -> None:
    rng = np.random.default_rng(0)
    truth = rng.standard_normal((40, 44))
    low = np.fft.ifft2(
        np.fft.fft2(truth) * (np.hypot(*np.meshgrid(*map(np.fft.fftfreq, (40, 44)), indexing="ij")) < 0.25)
    )
    image = np.kron(low.real + 5, np.ones((3, 3)))

    def compared(image: np.ndarray, first: tuple[int, int]) -> Resolution:
        return resolution(lay_over_object(image, first, (40, 44), 3), truth, 0.1)

    found = compared(image, (0, 0))
    assert found.pixels == (40, 44)
    assert found.seventh == pytest.approx(2.5, abs=0.7)
    assert found.half_bit == pytest.approx(2.5, abs=0.7)
    moved = compared(np.pad(image, ((5, 0), (0, 2)), constant_values=np.nan)[:-3], (-5, 0))
    assert moved.pixels == (39, 44)
    assert moved.seventh == pytest.approx(2.5, abs=0.7)
    shifted = compared(image[3:, 6:], (3, 6))
    assert shifted.pixels == (39, 42)
    assert shifted.seventh == pytest.approx(2.5, abs=0.7)
    assert compared(image[:9], (0, 0)).rms is None
    assert compared(np.full((120, 132), np.nan), (0, 0)).pixels == (0, 0)
    assert compared(image, (500, -500)).rms is None


def test_single_patterns_have_no_scans(store: Path, infer: Command) -> None:
    for name in METHODS:
        refused(infer("--method", name, "--data", store, "--split", "validation"), "lacks scan", name)
    refused(
        infer("--method", "epie", "--data", store, "--split", "validation", "--stitch", "x.zarr"),
        "--stitch",
        "no whole scans",
    )


def test_stitching_is_for_tasks_of_patches(generate: Command, infer: Command) -> None:
    generate("--task", "toy", "--n", 4, "--test", 2, "--scheduler", "synchronous")
    refused(infer("--method", "identity", "--data", "toy.zarr", "--stitch", "x.zarr"), "toy", "not patches")


def test_the_default_input_does_not_depend_on_the_dose(store: Path) -> None:
    features, fields = features_for(store), columns(store)
    once, louder = (features.encode({"amplitude": f * fields["amplitude"], "mask": fields["mask"]}) for f in (1, 100))
    assert np.allclose(once, louder, atol=1e-5)
    assert np.allclose(np.mean(np.asarray(once) ** 2, axis=(1, 2, 3)), 1, atol=1e-5)
    assert np.isfinite(np.asarray(features.encode({"amplitude": 0 * jnp.asarray(fields["amplitude"])}))).all()


@pytest.mark.usefixtures("quick")
def test_networks_are_trained_and_invert_scans(store: Path, train: Command, infer: Command, generate: Command) -> None:
    """Seeds' recipe and ours, told the dose; a network's patches are stitched like any."""
    small = ("--set", "model.filters=2,2")
    assert train("--data", store, "--recipe", "published", "--epochs", 1, "--out", "seed", *small)[0] == 0
    assert train("--data", store, "--model", "dledi", "--epochs", 1, "--out", "ours", *small, "scalars=dose")[0] == 0
    settings = ("pattern=16", "probe.semi_angle=0.05", "scan.rows=6", "scan.columns=6")
    assert generate(*GENERATE, "--test", 36, "--set", *settings)[0] == 0
    for name in ("seed", "ours"):
        command = ("--model", name, "--data", "stem4d.zarr", "--out", f"{name}.zarr", "--stitch", f"{name}-image.zarr")
        code, out, _ = infer(*command)
        assert code == 0
        assert "scan 0: 36 patches" in out
    refused(train("--data", "stem4d.zarr"), "train")


@pytest.mark.parametrize(
    ("method", "setting"), [("epie", "sweeps=0"), ("epie", "alpha=-1"), ("rpie", "alpha=1.5"), ("rpie", "beta=-0.1")]
)
def test_settings_that_mean_nothing_are_refused_before_anything_is_written(
    method: str, setting: str, generate: Command, infer: Command
) -> None:
    generate(*GENERATE, "--test", 6, "--set", "scan.rows=2", "scan.columns=3")
    command = ("--method", method, "--data", "stem4d.zarr", "--out", "p.zarr")
    refused(infer(*command, "--set", setting), f"--set {setting}", "from")
    refused(infer(*command, "--stitch", "s.zarr", "--stitch-set", "method=iterative", "sweeps=0"), "sweeps=0", "from 1")
    assert not Path("p.zarr").exists()
