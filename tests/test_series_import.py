"""Measured tilt series become datasets of `aet`: axes, angles, counts, targets, and mistakes in one line."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import scipy.io
import zarr

from schemas.exchange.image_series.tilt_angles import tilt_column
from schemas.runtime.errors import UserError
from tests import foreign
from tests.conftest import Command, refused

TILTS, ROWS, COLUMNS = 12, 9, 14  # all different, odd and even
DEGREES = np.linspace(-33.0, 30.5, TILTS) + 0.3 * np.sin(np.arange(TILTS))
EULER = np.stack([0.2 * np.cos(DEGREES), DEGREES, 0.1 * np.ones(TILTS)], axis=1)
RNG = np.random.default_rng(3)


def atoms(degrees: np.ndarray, shape: tuple[int, int] = (ROWS, COLUMNS)) -> np.ndarray:
    """Return images (tilt, y, x) of a few atoms that are turned about the axis y, from x towards z."""
    places = np.random.default_rng(1).uniform(-1, 1, (3, 12)) * np.array([[0.35 * shape[0]], [3.5], [3.5]])
    y, x = (np.arange(n) - (n - 1) / 2 for n in shape)
    found = []
    for turn in np.deg2rad(degrees):
        across = places[1] * np.cos(turn) - places[2] * np.sin(turn)
        columns, rows = (np.exp(-0.5 * (axis[:, None] - at) ** 2) for axis, at in ((x, across), (y, places[0])))
        found.append(rows @ columns.T)
    return np.array(found)


SERIES = (40 * atoms(DEGREES)).astype(np.float32)
SET = ("--set", "sampling=0.0347")


def imported(dataset: Command, *args: Any, out: str = "m.zarr") -> tuple[dict[str, np.ndarray], str]:
    """Return the arrays of a measurement, and what was said."""
    code, said, err = dataset("import", "--task", "aet", "--out", out, *args)
    assert (code, err) == (0, "")
    group = zarr.open_group(out, path="test", mode="r")
    return {name: np.asarray(group[name][...]) for name in group.array_keys()}, said  # type: ignore[index]


@pytest.fixture
def angles() -> str:
    scipy.io.savemat("angles.mat", {"angles": DEGREES[:, None]})
    return "angles.mat"


def mat_key(path: str, values: np.ndarray) -> None:
    scipy.io.savemat(path, {"Dset": np.moveaxis(values, 0, -1), "dark": values[0]})


def mat73_key(path: str, values: np.ndarray) -> None:
    foreign.mat_73(path, values)
    with h5py.File(path, "a") as file:
        file.move("images", "Dset")
        file["dark"] = values[0]


def npy_last(path: str, values: np.ndarray) -> None:
    np.save(path, np.moveaxis(values, 0, -1))


FILES: dict[str, tuple[Callable[[str, np.ndarray], None], tuple[str, ...]]] = {
    "v5.mat": (mat_key, ("--key", "Dset")),
    "v73.mat": (mat73_key, ("--key", "Dset")),
    "python.mat": (foreign.mat, ()),
    "last.npy": (npy_last, ()),
    "a.npy": (foreign.npy, ()),
    "a.h5": (foreign.hdf5, ("--key", "entry/data")),
    "a.mrc": (foreign.mrc, ()),
    "imagej.tif": (foreign.tiff_imagej, ()),
}


@pytest.mark.parametrize("name", FILES)
def test_the_axis_of_tilts_is_found_by_the_number_of_angles(name: str, angles: str, dataset: Command) -> None:
    write, options = FILES[name]
    write(name, SERIES)
    arrays, said = imported(dataset, name, *options, "--angles", angles, *SET)
    assert arrays["noisy"].tobytes() == SERIES[None].tobytes()
    assert arrays["angle"] == pytest.approx(np.deg2rad(DEGREES)[None], abs=1e-6)
    assert arrays["electrons"].tolist() == [[0] * TILTS]
    assert arrays["sampling"] == pytest.approx([0.0347])
    assert "angles.mat: angles from -33 to 30.2 without a unit are taken as degrees" in said
    assert "axis seems" not in said
    assert "no more alike" not in said


def test_what_is_imported_is_valid_and_can_be_looked_at(angles: str, dataset: Command) -> None:
    np.save("a.npy", SERIES)
    imported(dataset, "a.npy", "--angles", angles, *SET)
    assert dataset("validate", "m.zarr")[0] == 0
    assert dataset("preview", "m.zarr")[0] == 0


def test_axes_that_can_be_read_in_two_ways_must_be_named(dataset: Command) -> None:
    cube = SERIES[:ROWS, :, :ROWS]
    np.save("a.npy", cube)
    np.save("angles.npy", DEGREES[:ROWS])
    aet = ("import", "--task", "aet", "a.npy", "--angles", "angles.npy", *SET)
    refused(dataset(*aet), "a.npy: shape (9, 9, 9) with 9 angles can be read in two ways", "--axes tilt,y,x or")
    assert np.array_equal(imported(dataset, *aet[3:], "--axes", "tilt,y,x")[0]["noisy"][0], cube)
    arrays, _ = imported(dataset, *aet[3:], "--axes", "y,x,tilt", out="b.zarr")
    assert np.array_equal(arrays["noisy"][0], np.moveaxis(cube, -1, 0))
    refused(dataset(*aet, "--axes", "y,tilt"), "a.npy: shape (9, 9, 9) with the axes y,tilt; name them")


@pytest.mark.parametrize("turned", [False, True])
def test_of_euler_angles_the_one_that_varies_is_the_tilt(turned: bool, dataset: Command) -> None:
    np.save("a.npy", SERIES)
    np.save("angles.npy", EULER.T if turned else EULER)
    arrays, said = imported(dataset, "a.npy", "--angles", "angles.npy", *SET)
    assert arrays["angle"] == pytest.approx(np.deg2rad(DEGREES)[None], abs=1e-6)
    assert "warning: angles.npy: column 1 of the Euler angles is the tilt; the others, up to 0.2, are not" in said


def test_euler_angles_that_are_not_clear_are_refused(dataset: Command) -> None:
    np.save("a.npy", SERIES)
    np.save("angles.npy", np.stack([0 * DEGREES, DEGREES, -DEGREES], axis=1))
    aet = ("import", "--task", "aet", "a.npy", "--angles", "angles.npy", *SET)
    refused(dataset(*aet), "angles.npy: Euler angles that vary by 0, 63.2, 63.2", "--set angle_column=0, 1 or 2")
    arrays, _ = imported(dataset, *aet[3:], "angle_column=2")
    assert arrays["angle"] == pytest.approx(-np.deg2rad(DEGREES)[None], abs=1e-6)
    with pytest.raises(UserError, match="one angle per image, or n x 3"):
        tilt_column(Path("a.npy"), np.zeros((TILTS, 2)), None)


def test_units_of_angles(dataset: Command) -> None:
    np.save("a.npy", SERIES)
    np.save("angles.npy", np.deg2rad(DEGREES))
    arrays, said = imported(dataset, "a.npy", "--angles", "angles.npy", *SET)
    assert "without a unit are taken as rad" in said
    assert arrays["angle"] == pytest.approx(np.deg2rad(DEGREES)[None], abs=1e-6)
    arrays, _ = imported(dataset, "a.npy", "--angles", "angles.npy", *SET, "angle_unit=degree", out="b.zarr")
    assert arrays["angle"] == pytest.approx(np.deg2rad(np.deg2rad(DEGREES))[None], abs=1e-6)
    arrays, _ = imported(dataset, "a.npy", *SET, "angles=-30:25", out="c.zarr")
    assert arrays["angle"] == pytest.approx(np.deg2rad(np.linspace(-30, 25, TILTS))[None], abs=1e-6)
    given = ",".join(map(str, DEGREES))
    assert "warning: angle = 33" in imported(dataset, "a.npy", *SET, f"angle={given}", out="d.zarr")[1]


@pytest.mark.parametrize(
    ("values", "rule"),
    [
        (DEGREES[:-1], "(12, 9, 14) with 11 angles: no axis of images has this length; give one angle per image"),
        (np.arange(9.0), "with 9 angles: no axis of images has this length; give one angle per image; its middle axis"),
        (np.where(DEGREES > 20, np.nan, DEGREES), "some angles are not finite numbers"),
        (np.full(TILTS, 3.0), "all 12 angles are 3"),
        (1000 * DEGREES, "must be less than 4 turns"),
        (np.zeros((2, 3, TILTS)), "give one angle per image, or n x 3 Euler angles"),
    ],
)
def test_angles_that_do_not_fit_are_refused(values: np.ndarray, rule: str, dataset: Command) -> None:
    np.save("a.npy", SERIES)
    np.save("angles.npy", values)
    refused(dataset("import", "--task", "aet", "a.npy", "--angles", "angles.npy", *SET), rule)


def test_angles_in_another_order_than_the_images_are_doubted(dataset: Command) -> None:
    """Neighbours in angle are alike; of noise alone, and of large steps, nothing can be said."""
    degrees = np.arange(-30.0, 31.0, 3.0)
    order = RNG.permutation(len(degrees))
    series, noise = atoms(degrees, (31, 24)), RNG.normal(size=(len(degrees), 31, 24))
    np.save("rad.npy", np.deg2rad(degrees))
    np.save("shuffled.npy", np.deg2rad(degrees[order]))
    np.save("wide.npy", np.deg2rad(7 * degrees[order]))
    cases = {
        ("a", "rad"): (series[order], True),
        ("b", "shuffled"): (series[order], False),
        ("c", "rad"): (series + 20 * noise, False),
        ("d", "wide"): (series, False),
    }
    for (name, given), (values, doubted) in cases.items():
        np.save("a.npy", values)
        _, said = imported(dataset, "a.npy", "--angles", f"{given}.npy", *SET, out=f"{name}.zarr")
        assert ("are the angles in the order of the images?" in said) == doubted, name


def test_a_turn_about_x_is_doubted(angles: str, dataset: Command) -> None:
    """Sums across the tilt axis do not depend on the tilt: the projection of all matter at one height."""
    series = atoms(DEGREES, (14, 15)).swapaxes(1, 2)  # (tilt, x, y)
    np.save("a.npy", series)
    _, said = imported(dataset, "a.npy", "--angles", angles, *SET)
    assert "the tilt axis seems to be x, and must be y; exchange them: --axes tilt,x,y" in said
    arrays, said = imported(dataset, "a.npy", "--angles", angles, *SET, "--axes", "tilt,x,y", out="b.zarr")
    assert "axis seems" not in said
    assert np.array_equal(arrays["noisy"][0], series.swapaxes(1, 2).astype(np.float32))


COUNTS = RNG.poisson(1 + 0.1 * SERIES)


def test_a_pedestal_is_taken_off_counts(angles: str, dataset: Command) -> None:
    """Also where -1 is the only negative value, which would else be a mark of pixels without a measurement."""
    assert {*np.unique(COUNTS)} >= {0, 1}
    np.save("a.npy", COUNTS.astype(np.uint16))
    arrays, said = imported(dataset, "a.npy", "--angles", angles, *SET, "electrons=1", "pedestal=1.0")
    assert np.array_equal(arrays["noisy"][0], COUNTS - 1.0)
    assert arrays["electrons"].tolist() == [[1] * TILTS]
    assert said.count("warning") == 1  # the unit of the angles
    scaled = ("electrons=4", "pedestal=1", "scale=4")
    arrays, said = imported(dataset, "a.npy", "--angles", angles, *SET, *scaled, out="b.zarr")
    assert arrays["noisy"][0] == pytest.approx((COUNTS - 1.0) / 4)
    assert "whole numbers" not in said
    _, said = imported(dataset, "a.npy", "--angles", angles, *SET, "pedestal=9", out="c.zarr")
    assert "warning: a.npy: pedestal = 9: 12 of 12 images are negative on average" in said


def test_counts_are_whole_and_not_negative(angles: str, dataset: Command) -> None:
    aet = ("import", "--task", "aet", "a.npy", "--angles", angles, *SET, "electrons=1")
    np.save("a.npy", COUNTS - 1.5)
    refused(dataset(*aet), "a.npy: ", "counts are below 0, the lowest is -1.5")
    np.save("a.npy", COUNTS + (np.arange(TILTS) == 3)[:, None, None] / 2)
    assert "warning: a.npy: 8.33% of the counts are not whole numbers" in imported(dataset, *aet[3:])[1]
    assert "whole numbers" not in imported(dataset, *aet[3:-1], out="b.zarr")[1]


@pytest.mark.parametrize(("value", "rule"), [(np.nan, "not finite"), (65535.0, "65535, a mark of pixels without")])
def test_pixels_without_a_measurement_are_refused(value: float, rule: str, angles: str, dataset: Command) -> None:
    values = SERIES.copy()
    values[4, 2] = value
    np.save("a.npy", values)
    said = dataset("import", "--task", "aet", "a.npy", "--angles", angles, *SET, "pedestal=0.5")
    refused(said, "a.npy: 14 values are", rule, "or leave these images out")


def test_wide_pixels_are_doubted(angles: str, dataset: Command) -> None:
    np.save("a.npy", SERIES)
    for size, doubt in (("0.347", True), ("0.3", True), ("0.0347", False)):
        said = imported(dataset, "a.npy", "--angles", angles, "--set", f"sampling={size}", out=f"{size}.zarr")[1]
        assert (f"warning: sampling = {size} nm; usual are 0.004 to 0.1: check the unit" in said) == doubt
    refused(dataset("import", "--task", "aet", "a.npy", "--angles", angles), "sampling is missing: give --set sampl")


def test_each_file_is_a_sample(dataset: Command) -> None:
    np.save("a.npy", SERIES)
    np.save("b.npy", SERIES[::-1])
    np.save("short.npy", SERIES[:-1])
    for name, degrees in (("a", DEGREES), ("b", DEGREES[::-1]), ("short", DEGREES[:-1])):
        np.save(f"{name}-angles.npy", degrees)
    arrays, said = imported(dataset, "a.npy", "b.npy", "--angles", "a-angles.npy", "b-angles.npy", *SET)
    assert "2 samples of aet" in said
    assert np.array_equal(arrays["noisy"], np.stack([SERIES, SERIES[::-1]]))
    assert np.array_equal(arrays["angle"][0], arrays["angle"][1, ::-1])
    together = ("import", "--task", "aet", "a.npy", "short.npy", "--angles", "a-angles.npy", "short-angles.npy")
    refused(dataset(*together, *SET), "sample 1: noisy has 11 along tilt, others 12", "or import them one by one")
    refused(dataset(*together[:-1], "a-angles.npy", "b.npy", *SET), "--angles: 3 files for 2 samples")


def test_single_images_and_pairs(dataset: Command) -> None:
    one, other = SERIES[2:4]
    np.save("a.npy", one)
    np.save("b.npy", other)
    arrays, _ = imported(dataset, "a.npy", "b.npy", *SET)
    assert arrays["noisy"].shape == (2, 1, ROWS, COLUMNS)
    assert not arrays["angle"].any()
    arrays, said = imported(dataset, "--from", "a.npy", "clean=b.npy", *SET, "pedestal=2", out="pair.zarr")
    assert np.array_equal(arrays["noisy"], one[None, None] - 2)
    assert np.array_equal(arrays["clean"], other[None, None] - 2)
    assert "warning" not in said
    assert "the target equals" in imported(dataset, "--from", "a.npy", "clean=a.npy", *SET, out="c.zarr")[1]
    np.save("b.npy", 20 * other)
    _, said = imported(dataset, "--from", "a.npy", "clean=b.npy", *SET, out="d.zarr")
    assert "warning: b.npy: the target has 20 times the mean" in said
    np.save("b.npy", other[:-1])
    refused(dataset("import", "--task", "aet", "--from", "a.npy", "clean=b.npy", *SET), "b.npy: 1 x 8 x 14", "1 x 9")


def test_a_stack_of_pairs_can_be_used_for_training(dataset: Command) -> None:
    np.save("a.npy", SERIES)
    np.save("b.npy", SERIES + 1)
    pairs = ("--from", "a.npy", "clean=b.npy", "--axes", "sample,y,x", *SET, "electrons=1", "--validation", "2")
    code, said, err = dataset("import", "--task", "aet", "--out", "m.zarr", *pairs)
    assert (code, err) == (0, "")
    assert "train 10, validation 2" in said
    assert zarr.open_array("m.zarr/train/clean", mode="r").shape == (10, 1, ROWS, COLUMNS)


def test_a_file_for_each_tilt(angles: str, dataset: Command) -> None:
    for number, image in enumerate(SERIES):
        np.save(f"{number:02d}.npy", image)
    names = [f"{number:02d}.npy" for number in range(TILTS)]
    arrays, _ = imported(dataset, "--from", *names, "--angles", angles, *SET)
    assert np.array_equal(arrays["noisy"][0], SERIES)
    refused(dataset("import", "--task", "aet", "--from", *names, *SET), "00.npy: 12 images without angles", "--angles")
    refused(dataset("import", "--task", "aet", "--from", *names[1:], "--angles", angles, *SET), "12 angles for 11 im")


def test_options_that_do_not_fit(angles: str, dataset: Command) -> None:
    np.save("a.npy", SERIES)
    aet = ("import", "--task", "aet", *SET)
    refused(dataset(*aet), "give the measured images: dataset import --task NAME FILE ..., or --from FILE ...")
    refused(dataset(*aet, "--key", "x", "--from", "a.npy"), "--key x: is for files without --from")
    refused(dataset("import", "--task", "tie", "a.npy", "--angles", angles), "images of task tie have no angles")
    refused(dataset("import", "--task", "aet", "a.npy", *SET, "pedstal=1"), "--set pedstal", "did you mean pedestal?")
