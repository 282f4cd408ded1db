"""The task `tie`: its formula, its frame, its window, and the faults of phase-ret-dl that it must not have."""

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from scipy import ndimage

from generators.engine import pipeline, shards
from generators.instruments.misalignment import Misalignment, Pose, draw, misalign
from generators.instruments.spline import affine
from generators.instruments.window import Window, window
from generators.random_streams import Streams
from generators.tasks import tie
from schemas.runtime.settings import make_settings

from .conftest import DATA, Command

SAMPLES = {"train": 8, "validation": 0, "test": 0}
CLEAN = ("noise=0", "misalignment=none", "window=none", "supersampling=1")


def samples(n: int, *settings: str, recipe: str = "default") -> dict[str, np.ndarray]:
    made = make_settings(tie.Recipe, tie.RECIPES[recipe].model_dump(mode="json"), settings)
    return shards.make(pipeline.plan("tie", made.bind(None), 0, SAMPLES, Path("x.zarr")), "train", range(n))


def wavelength(volts: float) -> float:
    """Relativistic, [nm]; written again, to be independent."""
    h, m, e, c = 6.62607015e-34, 9.1093837139e-31, 1.602176634e-19, 299792458.0
    return float(1e9 * h * c / np.sqrt(e * volts * (2 * m * c * c + e * volts)))


@pytest.mark.parametrize("images", [2, 3, 5])
@pytest.mark.parametrize("size", [64, 33])
def test_images_follow_from_the_stored_wave_by_the_stated_formula(generate: Command, images: int, size: int) -> None:
    settings = (*CLEAN, f"images={images}", f"image_size={size}", "voltage=80e3:300e3", "defocus=1000:2000")
    assert generate("--task", "tie", "--n", 3, "--set", *settings)[0] == 0
    data = xr.open_zarr("tie.zarr/train").load()
    for i in range(3):
        s = data.isel(sample=i)
        psi = s.amplitude.values.astype(complex) * np.exp(1j * s.phase.values.astype(float))
        f = np.fft.fftfreq(size, float(s.sampling))
        for z, image in zip(s.defocus.values.astype(float), s.intensity.values, strict=True):
            kernel = np.exp(-1j * np.pi * wavelength(float(s.voltage)) * z * (f[:, None] ** 2 + f**2))
            assert np.max(abs(abs(np.fft.ifft2(kernel * np.fft.fft2(psi))) ** 2 - image)) < 1e-5
        assert float(s.phase.std()) > 0.05


def test_planes_run_from_under_to_overfocus_with_the_true_in_focus_image_amid() -> None:
    values = samples(4, *CLEAN, "images=5", "defocus=4000:8000")
    assert np.all(np.diff(values["defocus"], axis=1) > 0)
    assert np.allclose(values["defocus"], values["defocus"][:, -1:] * np.linspace(-1, 1, 5))
    assert np.allclose(values["intensity"][:, 2], values["amplitude"] ** 2, atol=2e-6)
    # the mean of under- and overfocus, which the seed puts in its place, is another image
    mean = (values["intensity"][:, 0] + values["intensity"][:, 4]) / 2
    assert np.max(abs(mean - values["intensity"][:, 2])) > 0.05


def test_phase_and_amplitude_are_relativistic() -> None:
    """17 V and 1 V at 300 kV: 0.1109 rad/nm (the seed has 0.0903) and the same thickness in both."""
    values = samples(4, *CLEAN, "potential=17", "absorption=1")
    phase, absorbed = values["phase"], -np.log(values["amplitude"].astype(float))
    inside = phase > 0.5
    assert np.allclose(phase[inside] / absorbed[inside], 17, rtol=1e-4)
    thickness = samples(4, *CLEAN, "potential=1", "absorption=0")["phase"] / 6.526155e-3
    assert np.allclose(phase, 17 * 6.526155e-3 * thickness, atol=1e-4)
    assert pytest.approx(17 * 6.526155e-3, rel=1e-3) == 0.1109


def test_thickness_and_absorption_vary_independently() -> None:
    """Else a network could read the thickness from the absorption alone."""
    values = samples(8)
    assert len(set(values["potential"])) == len(set(values["absorption"])) == 8
    ratio = values["potential"] / values["absorption"]
    assert ratio.max() / ratio.min() > 1.5


def test_pixels_integrate_the_finer_grid() -> None:
    """Supersampling changes no mean, and converges: the phase's change falls with the pixel squared or faster."""
    grids = [samples(8, "noise=0", "misalignment=none", f"supersampling={n}") for n in (1, 2, 4, 8)]
    means = [grid["phase"].mean(dtype=float) for grid in grids]
    assert means == pytest.approx([means[-1]] * 4, rel=5e-3)
    steps = [float(np.sqrt(np.mean((a["phase"] - b["phase"]) ** 2))) for a, b in pairwise(grids)]
    assert steps[1] < steps[0] / 1.8
    assert steps[2] < steps[1] / 1.8


@pytest.mark.parametrize(("images", "reference"), [(2, 0), (3, 1), (5, 2)])
def test_the_reference_image_is_never_misaligned_and_the_others_each_by_themselves(images: int, reference: int) -> None:
    values = samples(8, f"images={images}")
    neutral = {"rotation": 0, "scale": 1, "shift_y": 0, "shift_x": 0}
    for name, zero in neutral.items():
        assert np.all(values[name][:, reference] == zero)
        others = np.delete(values[name], reference, axis=1)
        assert np.unique(others).size == others.size  # of rotation, scale and shift, per image
        if others.size > 10:
            assert (others > zero).any()
            assert (others < zero).any()


def test_the_target_is_in_the_frame_of_the_reference_image() -> None:
    still, moved = samples(4, "noise=0", "misalignment=none"), samples(4, "noise=0")
    assert np.array_equal(still["phase"], moved["phase"])
    assert np.array_equal(still["intensity"][:, 1], moved["intensity"][:, 1])
    assert np.max(abs(still["intensity"][:, 0] - moved["intensity"][:, 0])) > 0.05


SWITCHES = {"rotation": "rotation", "scale": "scale", "shift": "shift_y"}


@pytest.mark.parametrize("switch", SWITCHES)
def test_each_misalignment_has_a_switch(switch: str) -> None:
    off = [f"misalignment.{name}=0" for name in SWITCHES if name != switch]
    values = samples(4, *off)
    for name, field in SWITCHES.items():
        varies = np.unique(values[field]).size > 1
        assert varies == (name == switch)


@pytest.mark.parametrize("mode", ["uniform", "gaussian"])
def test_distributions_of_misalignment(mode: Any) -> None:
    """Two-sided, of the stated widths: mean and standard deviation to 5 standard errors of 4,000 draws."""
    recipe = Misalignment(rotation=0.05, rotation_mode=mode, scale=0.02, scale_mode=mode, shift=0.01, shift_mode=mode)
    poses = [draw(recipe, 150.0, Streams(0, "train", i).misalignment) for i in range(4000)]
    width = 1 / np.sqrt(3) if mode == "uniform" else 1.0
    for values, magnitude in (([p.rotation for p in poses], 0.05), ([p.scale - 1 for p in poses], 0.02)):
        assert abs(np.mean(values)) < 5 * magnitude * width / np.sqrt(4000)
        assert np.std(values) == pytest.approx(magnitude * width, rel=5 / np.sqrt(4000))
        if mode == "uniform":
            assert np.max(np.abs(values)) <= magnitude
    length = np.array([np.hypot(p.shift_y, p.shift_x) for p in poses])
    expected = 0.5 * 1.5 if mode == "uniform" else np.sqrt(2 / np.pi) * 1.5
    assert length.mean() == pytest.approx(expected, rel=5 * 0.8 / np.sqrt(4000))
    direction = np.array([[p.shift_y, p.shift_x] for p in poses]) / length[:, None]
    assert np.max(abs(direction.mean(axis=0))) < 5 * np.sqrt(0.5 / 4000)


def blob(shape: tuple[int, int], y: float, x: float, width: float = 3.0) -> np.ndarray:
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    dot: np.ndarray = np.exp(-((rows - y) ** 2 + (columns - x) ** 2) / (2 * width**2)).astype(np.float32)
    return dot


@pytest.mark.parametrize("shape", [(64, 48), (33, 50)])
def test_poses_move_turn_and_magnify_as_documented(shape: tuple[int, int]) -> None:
    """+x towards +y; displacement in nm along its axis; magnification about the centre: each fixes a sign."""
    cy, cx = centre = (shape[0] // 2, shape[1] // 2)
    dot = blob(shape, cy, cx + 10)
    for pose, y, x in (
        (Pose(shift_y=4.0), cy + 2, cx + 10),
        (Pose(shift_x=-4.0), cy, cx + 8),
        (Pose(rotation=np.pi / 6), cy + 10 * np.sin(np.pi / 6), cx + 10 * np.cos(np.pi / 6)),
        (Pose(scale=1.2), cy, cx + 12),
        (Pose(rotation=np.pi / 6, scale=1.2, shift_y=2.0), cy + 12 * 0.5 + 1, cx + 12 * np.cos(np.pi / 6)),
    ):
        error = misalign(dot, pose, 2.0, centre) - blob(shape, y, x, 3.0 * pose.scale)
        near = blob(shape, y, x, 3.0) > 1e-3  # farther off, the dot's periodic images turn into the frame
        assert np.max(abs(error[near])) < 2e-3
    assert misalign(dot, Pose(), 2.0, centre) is dot


@pytest.mark.parametrize("shape", [(64, 48), (33, 50), (21, 27), (8, 9), (1, 5)])
def test_the_compiled_spline_is_scipys(shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    image = rng.normal(size=shape).astype(np.float32)
    for _ in range(5):
        matrix, offset = np.eye(2) + 0.3 * rng.normal(size=(2, 2)), 30 * rng.normal(size=2)
        if 1 in shape:  # scipy skips the filter along an axis of one pixel
            continue
        expected = ndimage.affine_transform(image.astype(float), matrix, offset, order=3, mode="grid-wrap")
        assert np.max(abs(affine(image, matrix, offset) - expected)) < 5e-7 * np.max(abs(expected)) + 1e-7


def test_the_hard_window_is_the_seeds() -> None:
    n = 64
    rows = [[float((i - n / 2) ** 2 + (j - n / 2) ** 2 <= (0.4 * n) ** 2) for j in range(n)] for i in range(n)]
    assert np.array_equal(window(Window(radius=0.4), n), np.array(rows))


def test_the_soft_window_falls_as_a_cosine() -> None:
    row = window(Window(radius=0.4, edge=0.2), 100)[50]
    assert row[50] == 1
    assert row[50 + 20] == pytest.approx(1)
    assert row[50 + 30] == pytest.approx(0.5, abs=1e-6)
    assert row[50 + 40] == pytest.approx(0, abs=1e-6)
    assert np.all(np.diff(row[50:]) <= 0)


def test_the_window_covers_images_and_phase_and_is_stored() -> None:
    plan = pipeline.plan("tie", tie.RECIPES["published"], 0, SAMPLES, Path("x.zarr"))
    values = shards.make(plan, "train", range(2))
    outside = shards.constants(plan)["window"] == 0
    assert 0.1 < outside.mean() < 0.3
    assert not values["intensity"][..., outside].any()
    assert not values["phase"][..., outside].any()
    assert values["amplitude"][..., outside].all()


def test_noise_has_the_stated_level() -> None:
    """1/s^2 electrons per vacuum pixel: the standard deviation is s sqrt(I); 5 standard errors."""
    settings = ("misalignment=none", "noise=0.05", "store=both")
    values = samples(8, *settings)
    expected = values["intensity_expected"].astype(float)
    deviation = (values["intensity"] - expected) / np.sqrt(expected) / 0.05
    assert abs(deviation.mean()) < 5 / np.sqrt(deviation.size)
    assert deviation.std() == pytest.approx(1, rel=5 / np.sqrt(deviation.size))
    assert np.array_equal(values["intensity_expected"], samples(8, *settings[:1], "noise=0")["intensity"])


def test_store_chooses_expectation_or_measurement() -> None:
    expectation = samples(2, "store=expectation")
    assert np.array_equal(expectation["intensity"], samples(2, "store=both")["intensity_expected"])
    assert "intensity_expected" not in expectation


def test_a_range_of_noise_down_to_nothing_always_works() -> None:
    values = samples(8, "noise=0:1e-12")
    assert np.isfinite(values["intensity"]).all()


def masks(folder: Path, numbers: Sequence[int]) -> None:
    folder.mkdir()
    for number in numbers:
        rng = np.random.default_rng(number)
        mask = np.zeros((32, 32, 32), bool)
        low, high = rng.integers(8, 13, 3), rng.integers(18, 24, 3)
        mask[low[0] : high[0], low[1] : high[1], low[2] : high[2]] = True
        np.save(folder / f"particle({number}).npy", mask)


FILES = ("--task", "tie", "--scheduler", "synchronous", "--set")


def test_specimen_files_are_dealt_to_splits_by_their_hash(generate: Command, tmp_path: Path) -> None:
    masks(tmp_path / "masks", range(80))
    command = (*FILES, "files.path=masks", "files.first=5", "image_size=32")
    assert generate(*command, "--n", 60, "--validation", 10, "--test", 10)[0] == 0
    items = {
        split: set(xr.open_zarr(f"tie.zarr/{split}").item.values.tolist()) for split in ("train", "validation", "test")
    }
    assert not items["train"] & items["validation"]
    assert not items["train"] & items["test"]
    assert not items["validation"] & items["test"]
    assert max(set.union(*items.values())) < 75
    assert len(items["train"]) > 20


def test_too_few_files_for_a_split_are_refused_unless_shared(generate: Command, tmp_path: Path) -> None:
    masks(tmp_path / "masks", [0])
    code, _, err = generate(*FILES, "files.path=masks", "--n", 10)
    assert code == 2
    assert "files.shared=true" in err
    assert not Path("tie.zarr").exists()
    assert generate(*FILES, "files.path=masks", "files.shared=true", "--n", 10)[0] == 0


def test_files_are_recorded_by_hash_and_found_by_hash(generate: Command, dataset: Command, tmp_path: Path) -> None:
    masks(tmp_path / "masks", range(4))
    assert generate(*FILES, "files.path=masks", "files.shared=true", "--n", 8, "--out", "a.zarr")[0] == 0
    assert "masks" not in Path("a.zarr/zarr.json").read_text()
    code, _, err = generate("--from", "a.zarr", "--out", "b.zarr")
    assert code == 2
    assert "--inputs DIR" in err
    (tmp_path / "masks").rename(tmp_path / "moved")
    for path in (tmp_path / "moved").iterdir():
        path.rename(path.with_name(f"renamed-{path.name}"))
    assert generate("--from", "a.zarr", "--out", "b.zarr", "--inputs", "moved")[0] == 0
    assert xr.open_zarr("a.zarr/train").equals(xr.open_zarr("b.zarr/train"))
    assert dataset("verify", "b.zarr", "--recompute", "50%")[0] == 2
    assert dataset("verify", "b.zarr", "--recompute", "50%", "--inputs", "moved")[0] == 0
    next((tmp_path / "moved").iterdir()).write_bytes(b"0 1")
    code, _, err = generate("--from", "a.zarr", "--out", "c.zarr", "--inputs", "moved")
    assert code == 2
    assert "1 of the specimen files are missing" in err


@pytest.mark.parametrize("orientation", ["fixed", "cube", "free"])
def test_orientations_conserve_volume(generate: Command, tmp_path: Path, orientation: str) -> None:
    """The integral of the phase over the image is sigma V times the volume, however the specimen is turned."""
    masks(tmp_path / "masks", [3])
    settings = (f"files.orientation={orientation}", "files.shared=true", "potential=17", *CLEAN, "image_size=48")
    assert generate(*FILES, "files.path=masks", *settings, "--n", 6)[0] == 0
    data = xr.open_zarr("tie.zarr/train")
    volume = np.load(tmp_path / "masks" / "particle(3).npy").sum() * (150 / 32) ** 3
    tolerance = 5e-3 if orientation == "free" else 1e-5  # a free one is interpolated between voxels
    integral = data.phase.sum(("y", "x")) * float(data.sampling[0]) ** 2
    assert np.allclose(integral, 17 * 6.526155e-3 * volume, rtol=tolerance)
    distinct = len({image.tobytes() for image in data.phase.values})
    assert distinct == 1 if orientation == "fixed" else distinct > 1


@pytest.mark.parametrize(
    ("content", "rule"),
    [(b"", "empty"), (b"0 1\n0 2\n", "2"), (b"0 1\n0\n", "line 2"), (b"\x93NUMPY\x01", "NumPy"), (b"abc", "abc")],
)
def test_unreadable_specimens_are_one_line(generate: Command, tmp_path: Path, content: bytes, rule: str) -> None:
    (tmp_path / "one.txt").write_bytes(content)
    code, out, err = generate(*FILES, "files.path=one.txt", "files.shared=true", "--n", 4)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "one.txt" in err
    assert rule in err
    assert not Path("tie.zarr").exists()
    code, _, err = generate(*FILES, "files.path=nowhere", "--n", 4)
    assert code == 2
    assert "nowhere" in err


@pytest.mark.skipif(not DATA.exists(), reason="the real specimen file is not part of the project")
def test_the_seeds_own_specimen(generate: Command) -> None:
    path = DATA / "specimen" / "specimen.txt"
    settings = (*CLEAN, "files.shared=true", "files.orientation=fixed", "potential=17", "absorption=1")
    assert generate(*FILES, f"files.path={path}", *settings, "--n", 2)[0] == 0
    phase = xr.open_zarr("tie.zarr/train").phase.values
    assert phase.max() == pytest.approx(23 * 150 / 64 * 17 * 6.526155e-3, rel=1e-5)  # voxels down the rows
