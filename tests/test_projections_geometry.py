"""Measured projections in the geometry of a network: some of the views, turned images, and pixels of any width."""

import numpy as np
import pytest
import tifffile

from generators.tasks.tomo import RECIPES
from physics.tomography.filtered_back_projection import filtered_back_projection
from physics.tomography.geometry import Geometry
from schemas.exchange.view_angles import select_views
from tests.conftest import DATA, Command
from tests.physics.sinograms import sinogram
from tests.projection_files import CENTRE, COUNTS, ROWS, WIDTH, disc, dxfile, imported, mistake, tiff_stack

HTC = RECIPES["htc"]


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


def test_several_ranges_of_a_scan_that_begin_at_angle_0(dataset: Command) -> None:
    """The target of each range is turned with its sinogram; it has the same sum."""
    disc("full.mat", np.linspace(0, 360, 721))
    mask = np.zeros((512, 512), np.uint8)
    mask[250:262, 300:420] = 1
    np.save("mask.npy", mask)
    settings = ("range=300:30", "ranges=4", "turn=start", "log=taken", "flip=no")
    arrays, said = imported(dataset, "--from", "full.mat", "mask=mask.npy", "--set", *IN_HTC, *settings)
    assert arrays["sinogram"].shape == (4, 61, HTC.detectors)
    assert np.array_equal(arrays["angle"], np.tile(HTC.rays.angles()[:61], (4, 1)))
    assert "61 of 721 views are kept in each of 4 ranges, each turned so that it begins at angle 0" in said
    assert arrays["mask"].sum(axis=(1, 2)) == pytest.approx([mask.sum() / 4] * 4, rel=0.1)
    single, _ = imported(
        dataset, "--from", "full.mat", "mask=mask.npy", "--set", *IN_HTC, "range=30:30", *settings[2:], "--overwrite"
    )
    for name in ("sinogram", "mask", "angle"):
        assert np.array_equal(single[name][0], arrays[name][1]), name


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


@pytest.mark.parametrize("size", [("pixel=2",), ("pitch=0.5",)])
def test_a_fan_beam_that_is_given_is_known_to_the_search_for_the_axis(size: tuple[str, ...], dataset: Command) -> None:
    """The distance is given in pixels of the image, and the axis lies off the middle; only the whole fan shows it."""
    angles = np.linspace(0, 2 * np.pi, 181)[:-1]
    tifffile.imwrite("fan.tif", sinogram(angles, WIDTH, 29.5, source_distance=120.0).astype(np.float32))
    settings = ("--set", "angles=0:358", "log=taken", "source_distance=60", *size)
    arrays, said = imported(dataset, "--from", "fan.tif", *settings)
    assert arrays["axis_offset"] == pytest.approx(29.5 - (WIDTH - 1) / 2, abs=0.01)
    assert arrays["source_distance"].tolist() == [60]
    assert arrays["pitch"].tolist() == [0.5]
    assert "not certain" not in said
    parallel, _ = imported(dataset, "--from", "fan.tif", *settings[:3], *size, out="parallel.zarr")
    assert abs(parallel["axis_offset"] - arrays["axis_offset"]) > 0.02


def test_an_axis_that_is_given_is_not_looked_for(dataset: Command) -> None:
    tiff_stack("a.tif")
    arrays, said = imported(dataset, "--from", "a.tif", "--set", "angles=0:176", "axis_offset=1,2,3")
    assert arrays["axis_offset"].tolist() == [1, 2, 3]
    assert "centre of rotation" not in said


@pytest.mark.parametrize(
    ("given", "text"),
    [
        (("pitch=0.5", "pixel=4"), "--set pitch=0.5: must be 1/pixel, 0.25; give only one of them"),
        (("pitch=0",), "--set pitch=0: must be more than 0"),
        (("source_distance=-9",), "--set source_distance=-9: must be positive, or 0 for a parallel beam"),
        (("source_distance=9,8,9",), "--set source_distance=...: must be the same for all samples"),
    ],
)
def test_a_geometry_that_is_given_must_be_possible(given: tuple[str, ...], text: str, dataset: Command) -> None:
    tiff_stack("a.tif")
    assert text in mistake(dataset, "--from", "a.tif", "--set", "angles=0:176", *given)


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
