"""Measured projections become sinograms: files as other programs write them, settings, and mistakes in one line."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import scipy.io
import tifffile
import zarr

from generators.tasks.tomo import RECIPES
from physics.tomography.filtered_back_projection import filtered_back_projection
from physics.tomography.geometry import Geometry
from schemas.exchange.view_angles import read_angles, select_views
from schemas.formats.image import Beside
from tests.conftest import DATA, Command
from tests.physics.sinograms import angle_sets, sinogram

VIEWS, ROWS, WIDTH, CENTRE = 45, 3, 64, 30.2
ANGLES = angle_sets(VIEWS)["half"]
DEGREES = np.rad2deg(ANGLES)
P = np.stack([0.4 * share * WIDTH * sinogram(ANGLES, WIDTH, CENTRE) for share in (0.02, 0.03, 0.04)], axis=1)
RNG = np.random.default_rng(0)
BEAM, DARK = RNG.uniform(9e3, 11e3, (ROWS, WIDTH)), RNG.uniform(90, 110, (ROWS, WIDTH))
COUNTS = DARK + BEAM * np.exp(-P)
FLATS, DARKS = np.stack([DARK + BEAM - 9, DARK + BEAM + 9]), np.stack([DARK - 3, DARK, DARK + 3])


def dxfile(path: str, *, angles: np.ndarray = DEGREES, units: str = "degrees", **changed: np.ndarray) -> None:
    arrays = {"data": COUNTS, "data_white": FLATS, "data_dark": DARKS, "theta": angles} | changed
    with h5py.File(path, "w") as file:
        for name, values in arrays.items():
            file[f"exchange/{name}"] = values
        file["exchange/data"].attrs["axes"] = "theta:y:x"
        file["exchange/theta"].attrs["units"] = units


def nxtomo(path: str) -> None:
    """The keys of the frames tell flats (1) and darks (2), before, between and after the projections."""
    frames = np.concatenate([DARKS[:1], FLATS[:1], COUNTS[:20], COUNTS[:1] * 0, COUNTS[20:], FLATS[1:], DARKS[1:]])
    keys = np.array([2, 1, *[0] * 20, 3, *[0] * (VIEWS - 20), 1, 2, 2])
    angles = np.zeros(len(keys))
    angles[keys == 0] = np.rad2deg(ANGLES)
    with h5py.File(path, "w") as file:
        entry = file.create_group("entry")
        entry.attrs["NX_class"] = "NXentry"
        entry["definition"] = "NXtomo"
        entry["instrument/detector/data"], entry["instrument/detector/image_key"] = frames, keys
        entry["sample/rotation_angle"] = angles
        entry["sample/rotation_angle"].attrs["units"] = "degree"
        entry["data/data"], entry["data/image_key"] = (
            h5py.SoftLink(f"/entry/instrument/detector/{n}") for n in ("data", "image_key")
        )
        entry["data"].attrs["signal"] = "data"


def nexus_scan(path: str) -> None:
    """Line integrals in NXdata, whose first axis is the rotation."""
    with h5py.File(path, "w") as file:
        group = file.create_group("entry/data")
        group.attrs.update({"NX_class": "NXdata", "signal": "data", "axes": ["theta", "y", "x"]})
        group["data"], group["theta"] = P, np.rad2deg(ANGLES)
        group["theta"].attrs["units"] = "degrees"


def tiff_stack(path: str) -> None:
    tifffile.imwrite(path, P.astype(np.float32))


FILES: dict[str, tuple[Callable[[str], None], tuple[str, ...]]] = {
    "a.h5": (dxfile, ()),
    "a.nxs": (nxtomo, ()),
    "scan.nxs": (nexus_scan, ()),
    "a.tif": (tiff_stack, ("--set", "angles=0:176")),
}


def imported(dataset: Command, *args: Any, out: str = "m.zarr") -> tuple[dict[str, np.ndarray], str]:
    code, said, err = dataset("import", "--task", "tomo", "--out", out, *args)
    assert (code, err) == (0, "")
    group = zarr.open_group(out, path="test", mode="r")
    return {name: np.asarray(group[name][...]) for name in group.array_keys()}, said  # type: ignore[index]


def mistake(dataset: Command, *args: Any) -> str:
    """Return the one line with which an import is refused."""
    code, said, err = dataset("import", "--task", "tomo", *args)
    assert (code, said, err.count("\n")) == (2, "", 1)
    return err


@pytest.mark.parametrize("name", FILES)
def test_each_row_of_the_detector_is_a_sample(name: str, dataset: Command) -> None:
    write, options = FILES[name]
    write(name)
    arrays, said = imported(dataset, "--from", name, *options)
    assert arrays["sinogram"] == pytest.approx(np.moveaxis(P, 1, 0), abs=2e-5)
    assert arrays["angle"] == pytest.approx(np.broadcast_to(ANGLES, (ROWS, VIEWS)), abs=1e-6)
    assert arrays["axis_offset"] == pytest.approx(np.full(ROWS, CENTRE - (WIDTH - 1) / 2), abs=0.05)
    assert arrays["measured"].all()
    assert arrays["source_distance"].tolist() == [0] * ROWS
    assert "centre of rotation 30.2" in said


def test_projections_in_files_of_their_own(dataset: Command) -> None:
    for kind, frames in (("p", COUNTS), ("f", FLATS), ("d", DARKS)):
        for number, frame in enumerate(frames):
            tifffile.imwrite(f"{kind}{number:03d}.tif", frame.astype(np.float32))
    np.save("angles.npy", np.rad2deg(ANGLES))
    projections = [f"p{number:03d}.tif" for number in range(VIEWS)]
    beside = [f"flat=f{n:03d}.tif" for n in range(2)] + [f"dark=d{n:03d}.tif" for n in range(3)]
    arrays, said = imported(dataset, "--from", *projections, *beside, "rotation=angles.npy")
    assert arrays["sinogram"] == pytest.approx(np.moveaxis(P, 1, 0), abs=2e-5)
    assert "angles from 0 to 176 without a unit are taken as degrees" in said
    said = mistake(dataset, "--from", *projections, "--set", "angles=0:90:180")
    assert "p000.tif: angles = 0:90:180: must be FIRST:LAST in degrees" in said


def test_axes_are_named_in_the_order_of_the_file(dataset: Command) -> None:
    np.save("p.npy", np.transpose(P, (2, 0, 1)).astype(np.float32))
    arrays, _ = imported(dataset, "--from", "p.npy", "--axes", "detector,angle,sample", "--set", "angles=0:176")
    assert np.array_equal(arrays["sinogram"], np.moveaxis(P, 1, 0).astype(np.float32))


def test_angles_keep_their_order(dataset: Command) -> None:
    golden = angle_sets(VIEWS)["golden"]
    counts = DARK + BEAM * np.exp(-0.01 * WIDTH * sinogram(golden, WIDTH, CENTRE))[:, None]
    dxfile("a.h5", data=counts, angles=np.rad2deg(golden))
    arrays, said = imported(dataset, "--from", "a.h5")
    assert arrays["angle"][0] == pytest.approx(golden, abs=1e-6)
    assert "centre of rotation 30.2" in said


def test_fan_beam_in_a_struct(dataset: Command) -> None:
    angles, distance = np.linspace(0, 2 * np.pi, 91), 553.74 / 2.0
    fan = 0.01 * WIDTH * sinogram(angles, WIDTH, 31.5, source_distance=distance)
    geometry = {"geometryType": "Cone", "distanceSourceOrigin": 410.66, "distanceSourceDetector": 553.74}
    geometry |= {"distanceUnit": "mm", "pixelSizePost": 2.0, "angles": np.rad2deg(angles)}
    scipy.io.savemat("a.mat", {"CtDataFull": {"type": "2d", "sinogram": fan, "parameters": geometry}})
    arrays, said = imported(dataset, "--from", "a.mat")
    assert arrays["sinogram"][0] == pytest.approx(fan, abs=1e-6)
    assert arrays["source_distance"] == pytest.approx(distance)
    assert arrays["sampling"] == pytest.approx(2e6 * 410.66 / 553.74)
    assert arrays["axis_offset"] == pytest.approx(0, abs=0.05)
    assert "the ends of the detector are dark: no logarithm is taken" in said
    geometry["geometryType"] = "Helix"
    scipy.io.savemat("a.mat", {"CtDataFull": {"sinogram": fan, "parameters": geometry}})
    assert "states the geometry Helix" in mistake(dataset, "--from", "a.mat")


HTC = RECIPES["htc"]


def disc(path: str, degrees: np.ndarray) -> None:
    """Write a scan in the geometry of the Helsinki Tomography Challenge."""
    distance = 553.74 / 0.2
    views = 560 * 0.01 * sinogram(np.deg2rad(degrees), 560, 279.5, source_distance=distance)
    geometry = {"geometryType": "Cone", "distanceSourceOrigin": 410.66, "distanceSourceDetector": 553.74}
    geometry |= {"distanceUnit": "mm", "pixelSizePost": 0.2, "angles": degrees}
    scipy.io.savemat(path, {"CtDataLimited": {"sinogram": views.astype(np.float32), "parameters": geometry}})


def check_geometry_of_htc(arrays: dict[str, np.ndarray], views: int) -> None:
    """Check that the rays are those of the first views of the recipe htc."""
    assert arrays["sinogram"].shape == (1, views, HTC.detectors)
    assert arrays["field_of_view"].shape == (HTC.image_size,) * 2
    assert np.array_equal(arrays["angle"][0], HTC.rays.angles()[:views])
    drawn = {"pitch": HTC.rays.pitch, "source_distance": HTC.rays.source_distance, "sampling": HTC.sampling}
    for name, value in {**drawn, "axis_offset": 0}.items():
        assert arrays[name] == pytest.approx(value, rel=2e-5), name


IN_HTC = ("pixel=2", "image_size=256", "center=279.5")


@pytest.mark.parametrize("start", [75.0, 345.0])
def test_a_part_of_a_scan_in_the_geometry_of_a_recipe(start: float, dataset: Command) -> None:
    """Angles 0 and 360 are both there, and a range may go on after them."""
    disc("full.mat", np.linspace(0, 360, 721))
    arrays, said = imported(
        dataset, "--from", "full.mat", "--set", *IN_HTC, f"range={start:g}:30", f"turn={-start:g}", "log=taken"
    )
    check_geometry_of_htc(arrays, 61)
    assert f"61 of 721 views are kept, {start:g} to {start + 30:g} degrees, then turned by {-start:g}" in said


@pytest.mark.skipif(not (DATA / "htc2022").exists(), reason="measured discs lie in ../shared/data: absent")
def test_an_official_limited_scan_in_the_geometry_of_the_recipe(dataset: Command) -> None:
    limited = str(DATA / "htc2022/test_a/htc2022_07a_limited.mat")
    arrays, _ = imported(dataset, "--from", limited, "--set", *IN_HTC, "turn=-75")
    check_geometry_of_htc(arrays, 61)


def test_turned_angles_turn_the_image(dataset: Command) -> None:
    """A quarter of a turn takes the axis x to the axis y: np.rot90(image, -1)."""
    tiff_stack("a.tif")
    images = []
    for turn in (0, 90):
        arrays, _ = imported(dataset, "--from", "a.tif", "--set", "angles=0:176", f"turn={turn}", "--overwrite")
        rays = Geometry(arrays["angle"][0].astype(float), WIDTH, 1.0, float(arrays["axis_offset"][0]))
        images.append(filtered_back_projection(arrays["sinogram"][0], rays, (WIDTH, WIDTH)))
    scale = float(images[0].max())
    assert images[1] == pytest.approx(np.rot90(images[0], -1), abs=1e-3 * scale)
    assert images[1] != pytest.approx(np.rot90(images[0], 1), abs=0.5 * scale)


def test_larger_pixels_of_the_image(dataset: Command) -> None:
    tiff_stack("a.tif")
    arrays, _ = imported(dataset, "--from", "a.tif", "--set", "angles=0:176", "pixel=2.5")
    assert arrays["field_of_view"].shape == (26, 26)
    assert arrays["pitch"] == pytest.approx(0.4)
    assert arrays["axis_offset"] == pytest.approx(CENTRE - (WIDTH - 1) / 2, abs=0.05)


def test_odd_and_even_views_have_the_axis_of_all(dataset: Command) -> None:
    tiff_stack("a.tif")
    whole, _ = imported(dataset, "--from", "a.tif", "--set", "angles=0:176", out="whole.zarr")
    for first in (0, 1):
        arrays, said = imported(
            dataset, "--from", "a.tif", "--set", "angles=0:176", "every=2", f"first={first}", "--overwrite"
        )
        for name in ("sinogram", "angle", "measured"):
            assert np.array_equal(arrays[name], whole[name][:, first::2])
        assert np.array_equal(arrays["axis_offset"], whole["axis_offset"])
        assert f"{23 - first} of 45 views are kept" in said
        assert "the centre of rotation is looked for in all" in said


def test_views_outside_of_the_range_change_nothing(dataset: Command) -> None:
    """They are left out before rings, dead columns and the level of air are looked for."""
    arrays = []
    for level in (1.0, 0.3):
        counts = COUNTS.copy()
        counts[20:] *= level
        counts[20:, :, 15] *= level
        dxfile("a.h5", data=counts)
        options = ("range=0:76", "center=30", "rings=columns", "background=3")
        arrays.append(imported(dataset, "--from", "a.h5", "--set", *options, out=f"{level}.zarr")[0])
    for name, values in arrays[0].items():
        assert np.array_equal(values, arrays[1][name]), name
    assert arrays[0]["angle"].shape == (ROWS, 20)


@pytest.mark.parametrize(
    ("degrees", "part", "every", "first", "kept"),
    [
        ([0, 10, 20, 30, 40], "10:20", 1, 0, [10, 20, 30]),
        ([0, 10, 20, 30, 40], "10:20", 2, 1, [20]),
        ([40, 30.0001, 0, 10, 20], "10:20", 1, 0, [10, 20, 30.0001]),
        ([0, 90, 180, 270, 360], "270:180", 1, 0, [270, 360, 450]),
        ([0, 90, 180, 270, 360], "-90:90", 1, 0, [-90, 0]),
        ([0, 90, 180, 270, 360], "0:360", 1, 0, [0, 90, 180, 270]),
        ([-90, 0, 0, 90], "300:360", 1, 0, [360, 360, 450, 630]),
        ([700, 710, 720, 730], "350:20", 1, 0, [350, 360, 370]),
        ([5, 15, 25], "14:0", 1, 0, None),
        ([0, 1, 2], "", 3, 2, [2]),
        ([0, 1, 2], "", 3, 3, None),
        ([0, 1, 2], "0:400", 1, 0, None),
        ([0, 1, 2], "0", 1, 0, None),
        ([0, 1, 2], "0:nan", 1, 0, None),
    ],
)
def test_views_of_a_range(degrees: list[float], part: str, every: int, first: int, kept: list[float] | None) -> None:
    angles = np.deg2rad(degrees)
    if kept is None:
        with pytest.raises(ValueError, match=r"^(range|first) = "):
            select_views(angles, part, every, first)
        return
    index, chosen = select_views(angles, part, every, first)
    assert np.rad2deg(chosen) == pytest.approx(kept)
    assert np.allclose(np.exp(1j * chosen), np.exp(1j * angles[index]))


def test_library_of_pairs(dataset: Command) -> None:
    half = np.linspace(0, np.pi, WIDTH)
    sinograms = np.stack([0.01 * WIDTH * sinogram(half, WIDTH, 31.5)] * 2, axis=-1)
    with h5py.File("library.h5", "w") as file:
        file["Sinograms"], file["Images"] = sinograms, np.zeros((WIDTH, WIDTH, 2))
        file["NImages"], file["ImageSize"] = 2, WIDTH
    arrays, said = imported(dataset, "--from", "library.h5")
    assert arrays["sinogram"] == pytest.approx(np.moveaxis(sinograms, -1, 0), abs=1e-6)
    assert arrays["angle"][1] == pytest.approx(half, abs=1e-6)
    assert "Images are not read, because an import has no targets" in said


def test_settings_correct_the_data(dataset: Command) -> None:
    faulty = COUNTS * np.linspace(0.97, 1.03, VIEWS)[:, None, None]
    faulty[7] = DARK  # a closed shutter
    faulty[:, :, 20] = 300
    faulty[30, 1, 40] *= 20
    dxfile("a.h5", data=faulty)
    options = ("background=3", "normalise=true", "zingers=true", "rings=columns", "ring_width=9")
    arrays, said = imported(dataset, "--from", "a.h5", "--set", *options)
    assert "1 views are dropped, because their totals stand apart: 7" in said
    assert "3 dead columns of the detector are filled: 20" in said
    assert np.flatnonzero(arrays["measured"][0] == 0).tolist() == [7]
    assert not arrays["sinogram"][:, 7].any()
    kept = arrays["measured"][0] == 1
    assert abs(arrays["sinogram"] - np.moveaxis(P, 1, 0))[:, kept].mean() < 0.05 * P.mean()
    assert arrays["axis_offset"] == pytest.approx(CENTRE - 31.5, abs=0.2)


def test_a_centre_that_is_given_is_used(dataset: Command) -> None:
    dxfile("a.h5")
    arrays, said = imported(dataset, "--from", "a.h5", "--set", "center=33")
    assert arrays["axis_offset"].tolist() == [1.5] * ROWS
    assert "centre of rotation" not in said


def test_one_view_has_no_certain_centre(dataset: Command) -> None:
    dxfile("a.h5", data=COUNTS[:1], angles=np.zeros(1))
    arrays, said = imported(dataset, "--from", "a.h5")
    assert arrays["sinogram"].shape == (ROWS, 1, WIDTH)
    assert "warning: the centre of rotation is not certain (1 views" in said


def test_a_truncated_object_without_opposite_views_is_doubtful(dataset: Command) -> None:
    dxfile(
        "a.h5",
        data=COUNTS[:20, :, 20:50],
        data_white=FLATS[..., 20:50],
        data_dark=DARKS[..., 20:50],
        angles=np.rad2deg(ANGLES[:20]),
    )
    _, said = imported(dataset, "--from", "a.h5")
    assert "centre of rotation is not certain (an object that reaches beyond the detector" in said


DAMAGED: dict[str, tuple[dict[str, Any], tuple[str, ...], str]] = {
    "angles": ({"angles": np.arange(44.0)}, (), "44 angles for 45 views (angle 45, sample 3, detector 64); give one"),
    "transposed": ({"data": np.moveaxis(COUNTS, 0, 2)}, (), "its axis detector has this length: transposed?"),
    "rad": ({"angles": np.rad2deg(ANGLES) * 20, "units": "rad"}, (), "angles over 3520 rad: must be less than 4 turns"),
    "degrees": ({"angles": ANGLES}, (), "degrees look like rad; correct the unit"),
    "unit": ({"units": "turns"}, (), "angles in turns: must be in degrees or rad"),
    "flat size": ({"data_white": FLATS[..., 1:]}, (), "flat frames have 2 x 3 x 63 values; they must have 3 x 64"),
    "flat zero": ({"data_white": 0 * FLATS}, (), "flat frames are not brighter than the dark frames in 100%"),
    "no counts": ({"data": 0 * COUNTS}, (), "100% of the transmissions lie below 0.0001"),
    "center": ({}, ("center=64",), "center = 64: must lie on the detector, 0 to 63; give --set center="),
    "rings": ({}, ("rings=magic",), "rings = magic: must be one of none, sorting, columns"),
    "background": ({}, ("background=40",), "background of 40 pixels at each end; must be 1 to 32"),
    "name": ({}, ("ring=columns",), "ring: no such setting or parameter; did you mean rings?"),
}  # fmt: skip


@pytest.mark.parametrize("name", DAMAGED)
def test_mistakes_are_refused_in_one_line(name: str, dataset: Command) -> None:
    changed, settings, text = DAMAGED[name]
    dxfile("a.h5", **changed)
    options = ("--set", *settings) if settings else ()
    assert text in mistake(dataset, "--from", "a.h5", *options)
    assert not Path("measured.zarr").exists()


def test_files_that_do_not_fit_together(dataset: Command) -> None:
    for name, width in (("a.tif", 64), ("b.tif", 63)):
        tifffile.imwrite(name, P[0, :, :width].astype(np.float32))
    Path("folder").mkdir()
    said = mistake(dataset, "--from", "a.tif", "b.tif", "--set", "angles=0:180")
    assert "images of 3 x 63 and 3 x 64 pixels; give images of one size" in said
    assert "is a folder; give the files in it" in mistake(dataset, "--from", "folder")
    assert "no such file" in mistake(dataset, "--from", "folder/*.tif")
    assert "states no angles; give --set angles=0:180" in mistake(dataset, "--from", "a.tif")


def test_unequal_numbers_of_angles(dataset: Command) -> None:
    dxfile("a.h5")
    dxfile("b.h5", data=COUNTS[:40], angles=np.rad2deg(ANGLES[:40]))
    said = mistake(dataset, "--from", "a.h5", "--from", "b.h5")
    assert "sinogram has 40 along view, others 45" in said


def test_no_link_to_another_file_is_followed(dataset: Command) -> None:
    nxtomo("secret.nxs")
    for name in ("exchange/data", "exchange/data_white", "exchange/theta"):
        dxfile("a.h5")
        with h5py.File("a.h5", "a") as file:
            del file[name]
            file[name] = h5py.ExternalLink("secret.nxs", "/entry/instrument/detector/data")
        code, said, err = dataset("import", "--task", "tomo", "--from", "a.h5", "--out", f"{name[-5:]}.zarr")
        assert code == 2 or "secret" not in said + err


@pytest.mark.parametrize(
    ("values", "unit", "scale"),
    [
        ([0, 90, 179], "", np.pi / 180),
        ([0, 1, 3.1], "", 1),
        ([0, 1, 3.1], "rad", 1),
        ([0, 90, 179], "Degree", np.pi / 180),
    ],
)
def test_unit_of_angles(values: list[float], unit: str, scale: float) -> None:
    angles, notes = read_angles(Path("a"), (3, 1, 9), "", Beside(np.array(values), unit))
    assert angles == pytest.approx(np.array(values) * scale)
    assert bool(notes) == (not unit)


REAL = {
    "tooth": ("tomo/tooth.h5", (), 2, 296.0, 0.5),
    "neutron": ("tomo/sinogram_360_neutron_image.tif", ("angles=0:360",), 1, 244.93, 0.1),
    "scan": ("tomo/savu_mm.nxs:entry1/stxm_entry/data/data", (), 7, 44.5, 0.9),
    "disc": ("htc2022/training/htc2022_ta_full.mat", (), 1, 279.5, 0.3),
}


@pytest.mark.skipif(not (DATA / "tomo").exists(), reason="measured sinograms lie in ../shared/data: absent")
@pytest.mark.parametrize("name", REAL)
def test_measured_projections(name: str, dataset: Command) -> None:
    file, settings, rows, centre, tolerance = REAL[name]
    arrays, said = imported(dataset, "--from", str(DATA / file), *(("--set", *settings) if settings else ()))
    assert len(arrays["sinogram"]) == rows
    middle = (arrays["sinogram"].shape[-1] - 1) / 2
    assert arrays["axis_offset"] + middle == pytest.approx(np.full(rows, centre), abs=tolerance)
    assert "not certain" not in said
