"""Measured projections become sinograms: files as other programs write them, settings, and mistakes in one line."""

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import tifffile

from schemas.exchange.view_angles import read_angles
from schemas.formats.image import Beside
from tests.conftest import DATA, Command
from tests.physics.sinograms import angle_sets, sinogram
from tests.projection_files import (
    ANGLES,
    BEAM,
    CENTRE,
    COUNTS,
    DARK,
    DARKS,
    DEGREES,
    FILES,
    FLATS,
    ROWS,
    VIEWS,
    WIDTH,
    P,
    dxfile,
    fan_struct,
    imported,
    mistake,
    nxtomo,
)


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
    fan = fan_struct("a.mat", np.linspace(0, 2 * np.pi, 91))
    arrays, said = imported(dataset, "--from", "a.mat")
    assert arrays["sinogram"][0] == pytest.approx(fan, abs=1e-6)
    assert arrays["source_distance"] == pytest.approx(553.74 / 2.0)
    assert arrays["sampling"] == pytest.approx(2e6 * 410.66 / 553.74)
    assert arrays["axis_offset"] == pytest.approx(0, abs=0.05)
    assert "the ends of the detector are dark: no logarithm is taken" in said
    fan_struct("a.mat", ANGLES, geometryType="Helix")
    assert "states the geometry Helix" in mistake(dataset, "--from", "a.mat")


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


def test_an_axis_off_the_detector_is_doubtful(dataset: Command) -> None:
    cut = slice(40, None)
    dxfile("a.h5", data=COUNTS[..., cut], data_white=FLATS[..., cut], data_dark=DARKS[..., cut])
    _, said = imported(dataset, "--from", "a.h5")
    assert "warning: the centre of rotation is not certain (" in said
    assert "warning: the object reaches beyond the detector: near its edge, the image is not quantitative" in said


def test_a_truncated_field_of_view_with_opposite_views_has_its_axis(dataset: Command) -> None:
    degrees = np.arange(90) * 4.0
    views = 0.02 * WIDTH * sinogram(np.deg2rad(degrees), WIDTH, 31.0)[:, None, 16:52]
    dxfile("a.h5", data=1e4 * np.exp(-views), data_white=1e4 + 0 * views[:1], data_dark=0 * views[:1], angles=degrees)
    arrays, said = imported(dataset, "--from", "a.h5")
    assert arrays["axis_offset"] == pytest.approx(31.0 - 16 - 17.5, abs=0.1)
    assert "warning: the object reaches beyond the detector" in said
    assert "not certain" not in said


def test_zero_and_negative_counts_are_told(dataset: Command) -> None:
    counts = COUNTS.copy()
    counts[3, 1, 20:25], counts[9, 0, 30] = DARK[1, 20:25] - 7, 0
    dxfile("a.h5", data=counts)
    arrays, said = imported(dataset, "--from", "a.h5", "--set", "views=keep", "columns=keep")
    assert "warning: 6 of 8,640 transmissions are below 0.0001, to which they are set" in said
    assert arrays["sinogram"][1, 3, 20:25] == pytest.approx(-np.log(1e-4))


@pytest.mark.parametrize(("order", "named"), [((2, 1, 0), "angle and detector"), ((0, 2, 1), "sample and detector")])
@pytest.mark.parametrize("log", ["auto", "taken"])
def test_exchanged_axes_are_found(order: tuple[int, ...], named: str, log: str, dataset: Command) -> None:
    rows = np.concatenate([P, 0.8 * P, 1.3 * P], axis=1).astype(np.float32)
    np.save("p.npy", rows.transpose(order))
    code, said, err = dataset("import", "--task", "tomo", "--from", "p.npy", "--set", "angles=0:176", f"log={log}")
    assert code == (2 if "look exchanged" in err else 0)
    right = ",".join(np.array(["angle", "sample", "detector"])[list(order)])
    told = f"the axes {named} look exchanged: name all in the order of the file, such as --axes {right}"
    assert told in said + err
    assert imported(dataset, "--from", "p.npy", "--axes", right, "--set", "angles=0:176", "log=taken", "--overwrite")


def test_the_axes_of_a_transposed_sinogram_are_named(dataset: Command) -> None:
    """The advice of the message works."""
    np.save("p.npy", P[:, 0].T)
    _, said, err = dataset("import", "--task", "tomo", "--from", "p.npy", "--set", "angles=0:176", "log=taken")
    assert "name all in the order of the file, such as --axes detector,angle" in said + err
    arrays, said = imported(
        dataset, "--from", "p.npy", "--axes", "detector,angle", "--set", "angles=0:176", "log=taken", "--overwrite"
    )
    assert arrays["sinogram"].shape == (1, VIEWS, WIDTH)
    assert "exchanged" not in said


@pytest.mark.parametrize(
    ("last", "unit", "text"),
    [
        (6.28, "--set", "angles over 6.28 degrees: are they in rad? Then give --set angles=FIRST:LAST in degrees"),
        (2.5, "degrees", "angles over 2.5 degrees: are they in rad?"),
        (20.0, "rad", "angles over 20 rad: are they in degrees?"),
        (30.0, "degrees", ""),
        (6.28, "rad", ""),
    ],
)
def test_a_doubtful_unit_of_angles_is_told(last: float, unit: str, text: str) -> None:
    given = f"0:{last}" if unit == "--set" else ""
    _, notes = read_angles(Path("a"), (9, 1, 9), given, Beside(np.linspace(0, last, 9), unit))
    assert [note.partition(text)[1] for note in notes] == ([text] if text else [])
    assert all(note.startswith("warning: ") for note in notes)


WITH_NAN = np.where(np.arange(COUNTS.size).reshape(COUNTS.shape) == 999, np.nan, COUNTS)

DAMAGED: dict[str, tuple[dict[str, Any], tuple[str, ...], str]] = {
    "angles": ({"angles": np.arange(44.0)}, (), "44 angles for 45 views (angle 45, sample 3, detector 64); give one"),
    "transposed": ({"data": np.moveaxis(COUNTS, 0, 2)}, (), "its axis detector has this length: transposed?"),
    "rad": ({"angles": np.rad2deg(ANGLES) * 20, "units": "rad"}, (), "angles over 3520 rad: must be less than 4 turns"),
    "no unit": ({"angles": 20 * DEGREES, "units": ""}, (), "angles over 3520 without a unit: must be less"),
    "alike": ({"angles": 0 * DEGREES + 7}, (), "all 45 angles are 7; give one angle per view"),
    "one angle": ({}, ("angles=0:0",), "angles = 0:0: all 45 views would be alike; give the first and the last angle"),
    "half a turn": ({"angles": np.linspace(0, 180, VIEWS), "units": "rad"}, (), "angles over 180 rad: must be less"),
    "turn": ({"angles": np.linspace(0, 6.28, VIEWS)}, (), "angles over 6.28 degrees look like rad; correct the unit"),
    "degrees": ({"angles": ANGLES}, (), "degrees look like rad; correct the unit"),
    "unit": ({"units": "turns"}, (), "angles in turns: must be in degrees or rad"),
    "flat size": ({"data_white": FLATS[..., 1:]}, (), "flat frames have 2 x 3 x 63 values; they must have 3 x 64"),
    "flat zero": ({"data_white": 0 * FLATS}, (), "flat frames are not brighter than the dark frames in 100%"),
    "not finite": ({"data": WITH_NAN}, (), "a.h5: 1 values are not finite numbers (NaN, inf)"),
    "no counts": ({"data": 0 * COUNTS}, (), "100% of the transmissions lie below 0.0001"),
    "center": ({}, ("center=64",), "center = 64: must lie on the detector, 0 to 63; give --set center="),
    "rings": ({}, ("rings=magic",), "rings = magic: must be one of none, sorting, columns"),
    "background": ({}, ("background=40",), "background of 40 pixels at each end; must be 1 to 32"),
    "log taken": ({}, ("log=taken",), "flat frames: for counts, but the logarithm has been taken (log=taken, or"),
    "letters": ({}, ("angels=0:180",), "angels: no such setting or parameter; did you mean angles?"),
    "source": ({}, ("rows=1:2", "source_distance=40"), "source_distance = 40 pixels of the image: the source must"),
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
    said = mistake(dataset, "--from", "a.tif")
    assert "states no angles; give the first and the last in degrees, both included: --set angles=0:180" in said


@pytest.mark.parametrize("what", ["dark frames", "zingers=true"])
def test_corrections_of_counts_are_not_for_line_integrals(what: str, dataset: Command) -> None:
    np.save("p.npy", P.astype(np.float32))
    np.save("d.npy", DARKS)
    files = ("dark=d.npy", "--set", "log=taken") if what == "dark frames" else ("--set", what)
    said = mistake(dataset, "--from", "p.npy", *files, "angles=0:176")
    assert f"p.npy: {what}: for counts, but the logarithm has been taken" in said


@pytest.mark.parametrize("log", ["auto", "taken"])
@pytest.mark.parametrize("pixels", [1, 2, 4])
def test_a_detector_of_few_pixels(pixels: int, log: str, dataset: Command) -> None:
    np.save("p.npy", P[:, 0, 30 : 30 + pixels].astype(np.float32))
    files = ("--from", "p.npy", "--set", "angles=0:176", f"log={log}")
    if log == "auto" and pixels == 1:
        assert "shows whether the logarithm has been taken; give --set log=" in mistake(dataset, *files)
        return
    arrays, said = imported(dataset, *files)
    assert arrays["sinogram"].shape == (1, VIEWS, pixels)
    assert "warning: the centre of rotation is not certain" in said


def test_angles_of_another_length_in_a_file_of_their_own(dataset: Command) -> None:
    np.save("p.npy", P.astype(np.float32))
    np.save("angles.npy", DEGREES[1:])
    said = mistake(dataset, "--from", "p.npy", "rotation=angles.npy", "--set", "log=taken")
    assert "p.npy: 44 angles for 45 views" in said


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
    "tooth": ("tomo/tooth.h5", (), 2, 296.0, 0.5, ""),
    "neutron": (
        "tomo/sinogram_360_neutron_image.tif",
        ("angles=0:360",),
        1,
        244.93,
        0.1,
        "2 dead columns of the detector are filled: 314, 346",
    ),
    "scan": ("tomo/savu_mm.nxs:entry1/stxm_entry/data/data", (), 7, 44.5, 0.9, ""),
    "disc": ("htc2022/training/htc2022_ta_full.mat", (), 1, 279.5, 0.3, ""),
}


@pytest.mark.skipif(not (DATA / "tomo").exists(), reason="measured sinograms lie in ../shared/data: absent")
@pytest.mark.parametrize("name", REAL)
def test_measured_projections(name: str, dataset: Command) -> None:
    file, settings, rows, centre, tolerance, dead = REAL[name]
    arrays, said = imported(dataset, "--from", str(DATA / file), *(("--set", *settings) if settings else ()))
    assert len(arrays["sinogram"]) == rows
    middle = (arrays["sinogram"].shape[-1] - 1) / 2
    assert arrays["axis_offset"] + middle == pytest.approx(np.full(rows, centre), abs=tolerance)
    assert "not certain" not in said
    assert dead in said
    assert dead or "dead columns" not in said
