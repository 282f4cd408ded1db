"""Measurements become datasets: what other libraries wrote, read bit for bit."""

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pint
import pytest
import scipy.io
import tifffile
import xarray as xr
import zarr

from inference.task_modules import find_inference
from schemas.exchange.measurements import measure
from schemas.formats.pixel_sizes import NM_PER_UNIT, nanometres, pixel
from schemas.grids import Grid
from schemas.manifest import read_manifest
from schemas.runtime.errors import UserError
from schemas.task import Field, Task, find_import, find_task
from tests.conftest import DATA, Command, digest, files, finish, refused, start
from tests.foreign import (
    ALL,
    DEFOCUS,
    PIXEL,
    SERIES,
    STATING,
    UNSAID,
    WRITERS,
    dm4,
    tiff_imagej,
)


def imported(dataset: Command, *args: Any, out: str = "measured.zarr") -> tuple[dict[str, np.ndarray], str]:
    """The arrays of a measurement, and what was said."""
    code, said, err = dataset("import", "--task", "tie", "--out", out, *args)
    assert (code, err) == (0, "")
    group = zarr.open_group(out, path="test", mode="r")
    return {name: np.asarray(group[name][...]) for name in group.array_keys()}, said  # type: ignore[index]


@pytest.mark.parametrize("name", WRITERS)
def test_a_stack_of_any_format_has_the_same_bits(name: str, dataset: Command) -> None:
    WRITERS[name](name, SERIES)
    arrays, _ = imported(dataset, "--from", name, *ALL)
    assert arrays["intensity"].tobytes() == SERIES[None].tobytes()
    assert arrays["intensity"].dtype == np.float32
    assert arrays["defocus"].tolist() == [[-8000, 0, 8000]]
    assert arrays["voltage"].tolist() == [300e3]
    assert np.array_equal(arrays["window"], np.ones((20, 31), np.float32))


@pytest.mark.parametrize("name", [name for name in WRITERS if "matlab" not in name])
def test_one_image_a_file_in_the_order_of_planes(name: str, dataset: Command) -> None:
    names = [f"{plane}{name}" for plane in "cab"]
    for one, values in zip(names, SERIES, strict=True):
        WRITERS[name](one, values)
    arrays, _ = imported(dataset, "--from", *names, *ALL)
    assert arrays["intensity"].tobytes() == SERIES[None].tobytes()
    assert [source.name for source in read_manifest(Path("measured.zarr")).sources] == names


@pytest.mark.parametrize("name", STATING)
def test_the_pixel_size_is_read_from_the_file(name: str, dataset: Command) -> None:
    STATING[name](name, SERIES)
    arrays, said = imported(dataset, "--from", name, *UNSAID)
    assert arrays["sampling"] == pytest.approx([PIXEL], rel=1e-6)
    assert "sampling 2.34 nm" in said


def test_the_voltage_is_read_from_the_file(dataset: Command) -> None:
    dm4("a.dm4", SERIES)
    arrays, said = imported(dataset, "--from", "a.dm4", "--set", DEFOCUS)
    assert arrays["voltage"].tolist() == [200e3]
    assert "in the file; --set is used" not in said


def test_what_is_set_is_used_and_a_difference_is_told(dataset: Command) -> None:
    tiff_imagej("a.tif", SERIES)
    arrays, said = imported(dataset, "--from", "a.tif", *UNSAID, "sampling=2.35")
    assert "states" not in said  # within 1 %
    arrays, said = imported(dataset, "--from", "a.tif", *UNSAID, "sampling=2.5", out="b.zarr")
    assert "sampling is 2.34 nm in the file; --set is used" in said
    assert arrays["sampling"] == pytest.approx([2.5])


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "int32", "float64"])
def test_numbers_of_any_kind(dtype: str, dataset: Command) -> None:
    values = (np.arange(3 * 20 * 31).reshape(3, 20, 31) % 200).astype(dtype)
    tifffile.imwrite("a.tif", values, photometric="minisblack")
    arrays, said = imported(dataset, "--from", "a.tif", *ALL)
    assert np.array_equal(arrays["intensity"][0], values)
    assert "looks like counts: give --beam" in said


def test_units_of_length_as_pint_has_them() -> None:
    units = pint.UnitRegistry()
    for name, scale in NM_PER_UNIT.items():
        theirs = {"a": "angstrom", "å": "angstrom"}.get(name, name)
        assert units(theirs).to("nm").magnitude == pytest.approx(scale), name
    assert [nanometres(name) for name in ("Å", "µm", "μm", "\\u00B5m", "NM", "microns", "nanometres")] == [
        *(0.1, 1e3, 1e3, 1e3, 1, 1e3, 1)
    ]
    assert [nanometres(name) for name in ("1/nm", "", "px", None, "mrad", "s")] == [None] * 6
    assert pixel(0.0, 1.0) == pixel(float("nan"), 1.0) == {}


def test_several_samples(dataset: Command) -> None:
    """--from once each, a file of several, or parameters of each."""
    np.save("a.npy", SERIES)
    np.save("b.npy", SERIES[::-1])
    np.save("both.npy", np.stack([SERIES, SERIES[::-1]]))
    several = ("--set", "defocus=-8000,0,8000,-4000,0,4000", "voltage=300e3", "sampling=2.34,1.17")
    arrays, said = imported(dataset, "--from", "a.npy", "--from", "b.npy", *several)
    assert "2 samples of tie" in said
    assert arrays["defocus"].tolist() == [[-8000, 0, 8000], [-4000, 0, 4000]]
    assert arrays["sampling"] == pytest.approx([2.34, 1.17])
    other, _ = imported(dataset, "--from", "both.npy", *several, out="b.zarr")
    assert digest("measured.zarr") == digest("b.zarr")
    assert np.array_equal(other["intensity"], np.stack([SERIES, SERIES[::-1]]))


def test_a_task_of_several_inputs() -> None:
    """Each file says which it is; sizes go with the names of dimensions."""
    fields = (
        Field("low", ("sample", "channel", "ylow", "xlow"), "float32", "1", "input", "spectra"),
        Field("guide", ("sample", "y", "x"), "float32", "1", "input", "one image"),
        Field("high", ("sample", "channel", "y", "x"), "float32", "1", "target", "both"),
        Field("energy", ("sample", "channel"), "float32", "eV", "parameter", "of each channel"),
    )
    task = Task(
        "fuse", "1.0", "", "", fields, grids=(Grid(("y", "x")), Grid(("ylow", "xlow"), of=("y", "x"), how="coarser"))
    )
    np.save("low.npy", SERIES)
    np.save("guide.npy", np.ones((40, 62), np.uint8))
    found = measure(task, [["guide=guide.npy", "low=low.npy"]], ["energy=1,2,3"])
    assert found.sizes == {"channel": 3, "ylow": 20, "xlow": 31, "y": 40, "x": 62}
    assert [field.name for field in found.task.fields] == ["low", "guide", "energy"]
    for given, rule in ((["low.npy"], "write low=... guide=..."), (["low=low.npy"], "lacks guide")):
        with pytest.raises(UserError, match=rule):
            measure(task, [given], ["energy=1,2,3"])


def test_axes_in_another_order(dataset: Command) -> None:
    np.save("a.npy", SERIES.transpose(2, 0, 1))
    arrays, _ = imported(dataset, "--from", "a.npy", "--axes", "x,plane,y", *ALL)
    assert np.array_equal(arrays["intensity"][0], SERIES)


def test_a_cube_of_matlab_must_be_explained(dataset: Command) -> None:
    cube = np.ones((3, 3, 3))
    scipy.io.savemat("a.mat", {"a": cube})
    refused(dataset("import", "--task", "tie", "--from", "a.mat", *ALL), "a.mat", "two ways", "--axes plane,y,x")
    imported(dataset, "--from", "a.mat", "--axes", "plane,y,x", *ALL)


def test_an_array_is_named_after_the_file(dataset: Command) -> None:
    with h5py.File("a.h5", "w") as file:
        file["one/raw"] = SERIES
        file["dark"] = SERIES + 1
    tie = ("import", "--task", "tie", "--from")
    refused(dataset(*tie, "a.h5", *ALL), "a.h5: holds 2 images (arrays: dark, one/raw); choose one, such as a.h5:dark")
    refused(dataset(*tie, "a.h5:one/row", *ALL), "a.h5:one/row: no such array; did you mean one/raw?")
    arrays, _ = imported(dataset, "--from", "a.h5:/one/raw", *ALL)
    assert np.array_equal(arrays["intensity"][0], SERIES)
    scipy.io.savemat("a.mat", {"raw": SERIES, "dark": SERIES + 1})
    arrays, _ = imported(dataset, "--from", "a.mat:dark", *ALL, out="b.zarr")
    assert np.array_equal(arrays["intensity"][0], SERIES + 1)


def test_counts_are_divided_by_the_beam(dataset: Command) -> None:
    counts = np.float32(100) * SERIES
    np.save("a.npy", counts)
    arrays, said = imported(dataset, "--from", "a.npy", *ALL, "--beam", 100)
    assert arrays["intensity"][0] == pytest.approx(SERIES, rel=1e-6)
    assert "warning" not in said
    arrays, _ = imported(dataset, "--from", "a.npy", *ALL, "--beam", "mean", out="b.zarr")
    assert arrays["intensity"].mean(axis=(-2, -1)) == pytest.approx(np.ones((1, 3)), rel=1e-5)
    refused(
        dataset("import", "--task", "tie", "--from", "a.npy", "--beam", "-1"),
        "--beam -1",
        "more than 0, or the word mean",
    )
    refused(dataset("import", "--task", "toy", "--from", "a.npy", "--beam", "1"), "toy", "relative to a beam")


def test_every_verb_takes_a_measurement(dataset: Command, infer: Command, train: Command, evaluate: Command) -> None:
    np.save("a.npy", SERIES)
    imported(dataset, "--from", "a.npy", *ALL)
    assert dataset("validate", "measured.zarr")[0] == 0
    assert dataset("verify", "measured.zarr")[0] == 0
    assert dataset("preview", "measured.zarr")[0] == 0
    code, said, _ = dataset("info", "measured.zarr")
    assert code == 0
    assert "measured: a.npy" in said
    known = json.loads(dataset("info", "--json", "measured.zarr")[1])
    assert (known["origin"], known["recipe"], known["samples"]) == ("measured", None, {"test": 1})
    assert xr.open_datatree("measured.zarr", engine="zarr")["test"].sizes["plane"] == 3
    settings = ("cutoff=0.004", "floor=0.1", "offset=none")
    assert infer("--data", "measured.zarr", "--method", "tie", "--set", *settings, "--out", "p.zarr")[0] == 0
    refused(infer("--data", "measured.zarr", "--method", "tie"), "no validation or training samples", "--set cutoff=")
    refused(train("--data", "measured.zarr"), "holds measurements, without targets")
    refused(evaluate("--data", "measured.zarr", "--predictions", "p.zarr"), "measurements without targets")


def test_a_method_needs_nothing_that_no_measurement_has() -> None:
    task = find_task("tie")
    there = {*find_import("tie").needs, task.window, *(field.name for field in task.of("input"))}
    assert all(set(method.needs) <= there for method in find_inference("tie").METHODS.values())


def test_a_network_infers_a_measurement(generate: Command, dataset: Command, train: Command, infer: Command) -> None:
    """Of any task: what a simulation made, exported and imported, gives the same predictions."""
    assert generate("--task", "toy", "--n", 8, "--out", "s.zarr", "--scheduler", "synchronous")[0] == 0
    assert train("--data", "s.zarr", "--out", "run", "--model", "mlp", "--epochs", 1, "--batch-size", 4)[0] == 0
    np.save("a.npy", zarr.open_array("s.zarr/train/blurred")[...])
    assert dataset("import", "--task", "toy", "--from", "a.npy")[0] == 0
    for data, split in (("s.zarr", "train"), ("measured.zarr", "test")):
        code, _, err = infer("--data", data, "--split", split, "--model", "run", "--out", f"{split}.zarr")
        assert (code, err) == (0, "")
    assert np.array_equal(zarr.open_array("test.zarr/line")[...], zarr.open_array("train.zarr/line")[...])


def test_the_same_command_again_changes_nothing(dataset: Command) -> None:
    np.save("a.npy", SERIES)
    imported(dataset, "--from", "a.npy", *ALL)
    before = files("measured.zarr")
    _, said = imported(dataset, "--from", "a.npy", *ALL)
    assert "already imported" in said
    assert files("measured.zarr") == before
    other = ("import", "--task", "tie", "--from", "a.npy", "--set", DEFOCUS, "voltage=200e3", "sampling=2.34")
    refused(dataset(*other), "measured.zarr: holds another import of these files", "--overwrite")
    assert files("measured.zarr") == before
    arrays, _ = imported(dataset, *other[3:], "--overwrite")
    assert arrays["voltage"].tolist() == [200e3]
    assert sorted(path.name for path in Path().iterdir()) == ["a.npy", "measured.zarr"]


def test_what_somebody_else_made_is_left_alone(dataset: Command, generate: Command) -> None:
    np.save("a.npy", SERIES)
    Path("folder").mkdir()
    Path("folder/letter.txt").write_text("dear")
    assert generate("--task", "toy", "--n", 2, "--out", "s.zarr", "--scheduler", "synchronous")[0] == 0
    for out, rule in {"folder": "belong to a dataset", "a.npy": "is a file", "s.zarr": "made by `generate`"}.items():
        result = dataset("import", "--task", "tie", "--from", "a.npy", *ALL, "--out", out, "--overwrite")
        refused(result, f"--out {out}", rule)


def test_a_killed_import_leaves_nothing_that_looks_complete(dataset: Command) -> None:
    """Killed in the middle of writing its objects; the next import sweeps up."""
    np.save("a.npy", np.ones((40, 3, 64, 64), np.float32))
    room = ("import", "--task", "tie", "--from", "a.npy", *ALL)
    slow = Path("slow.py")
    slow.write_text(
        "import os, sys, schemas.runtime.publish as o\n"
        "publish, left = o.publish, int(sys.argv.pop(1))\n"
        "def dies(path, data, **options):\n"
        "    global left\n"
        "    left -= 1\n"
        "    if left < 0: os._exit(9)\n"
        "    publish(path, data, **options)\n"
        "o.publish = dies\n"
        "from schemas.cli import main\n"
        "sys.exit(main(sys.argv[1:]))\n"
    )
    for left in (0, 1, 5, 9):
        process = start(
            left, *room, room="slow", environment={"PYTHONPATH": f"{Path.cwd()}:{Path(__file__).parents[1]}"}
        )
        process.communicate()
        assert process.returncode == 9
        assert not Path("measured.zarr").exists()
    finish(*room, room="schemas")
    assert dataset("verify", "measured.zarr")[0] == 0
    assert not [path for path in Path().iterdir() if path.name.startswith(".measured")]


@pytest.mark.skipif(not DATA.is_dir(), reason="no measured files beside the project")
def test_measured_files(dataset: Command) -> None:
    image = DATA / "xray" / "x-ray-image.tif"
    arrays, _ = imported(dataset, "--from", image, image, image, *ALL, "--beam", "mean")
    assert np.array_equal(arrays["intensity"][0, 0], arrays["intensity"][0, 2])
    tilts = DATA / "ta_film" / "Ta_film_Projections_area1.mat"
    refused(
        dataset("import", "--task", "tie", "--from", tilts, *ALL), "defocus: has 3 values, but the images have plane 46"
    )


def test_the_series_of_a_specimen_turned_over_goes_with_its_own(dataset: Command) -> None:
    """An optional input is named; what the target would be is a number for all samples."""
    rng = np.random.default_rng(0)
    for name in ("a", "b"):
        np.save(f"{name}.npy", 1 + 0.1 * rng.random((3, 10, 20), np.float32))
    files = ("--from", "a.npy", "intensity_flipped=b.npy")
    arrays, _ = imported(dataset, *files, *ALL, "phase_component=2")
    assert np.array_equal(arrays["intensity_flipped"][0], np.load("b.npy"))
    assert arrays["phase_component"] == 2
    assert dataset("validate", "measured.zarr")[0] == 0
    refused(dataset("import", "--task", "tie", "--from", "intensity_flipped=b.npy", *ALL), "lacks intensity")


def test_patterns_of_counts_become_amplitudes(dataset: Command, infer: Command) -> None:
    """Sizes of the object follow from those of its pattern."""
    counts = np.random.default_rng(0).poisson(9, (3, 24, 26)).astype(np.uint16)
    np.save("counts.npy", counts)
    assert dataset("import", "--task", "cdi", "--from", "counts.npy", "--counts", "--out", "m.zarr")[0] == 0
    found = xr.open_zarr("m.zarr/test").load()
    assert np.array_equal(found.amplitude.values, np.sqrt(counts.astype(np.float32)))
    assert dataset("validate", "m.zarr")[0] == 0
    assert infer("--method", "hio", "--data", "m.zarr", "--set", "threshold=0.1", "cycles=1", "--out", "p.zarr")[0] == 0
    assert xr.open_zarr("p.zarr")["shape"].shape == (3, 24, 26)


FAR_FIELDS = {"cdi": (), "stem4d": ("--set", "voltage=80e3", "sampling=0.0285")}


@pytest.mark.parametrize("task", FAR_FIELDS)
@pytest.mark.parametrize("dtype", [np.uint16, np.float32, np.float64])
def test_counts_are_not_taken_as_amplitudes_by_mistake(task: str, dtype: type, dataset: Command) -> None:
    """Whole numbers above 1: hardly ever are all roots of counts such."""
    counts: Any = np.random.default_rng(0).poisson(1, (3, 16, 16)).astype(dtype)
    np.save("a.npy", counts)
    command = ("import", "--task", task, "--from", "a.npy", *FAR_FIELDS[task], "--overwrite", "--out")
    refused(
        dataset(*command, "x.zarr"), f"amplitude: whole numbers up to {counts.max():g}", "--counts", "or --amplitudes"
    )
    assert not Path("x.zarr").exists()
    for how, expected in (("--counts", np.sqrt(counts)), ("--amplitudes", counts)):
        assert dataset(*command, "x.zarr", how)[0] == 0
        assert np.allclose(xr.open_zarr("x.zarr/test").amplitude, expected)
    for out, values in (("roots.zarr", np.sqrt(counts)), ("few.zarr", np.minimum(counts, 1))):  # the root of 1 is 1
        np.save("a.npy", values)
        assert dataset(*command, out)[0] == 0
        assert np.allclose(xr.open_zarr(f"{out}/test").amplitude, values)


def test_patterns_hold_one_thing(dataset: Command) -> None:
    np.save("a.npy", np.ones((2, 8, 8), np.float32))
    refused(dataset("import", "--task", "cdi", "--from", "a.npy", "--counts", "--amplitudes"), "--counts")


@pytest.mark.parametrize("counts", [(), ("--counts",)])
def test_negative_counts_and_amplitudes_are_refused(counts: tuple[str, ...], dataset: Command) -> None:
    values = np.ones((2, 8, 8), np.float32)
    values[1, 2, 3] = -3
    np.save("a.npy", values)
    refused(
        dataset("import", "--task", "cdi", "--from", "a.npy", *counts), "amplitude: 1 ", "below 0, the lowest is -3"
    )


def test_counts_are_for_patterns(dataset: Command) -> None:
    np.save("a.npy", np.ones((3, 8, 8), np.float32))
    known = ("--set", "defocus=-1,0,1", "voltage=300e3", "sampling=1")
    for option in ("--counts", "--amplitudes"):
        refused(dataset("import", "--task", "tie", "--from", "a.npy", option, *known), option, "tie")
