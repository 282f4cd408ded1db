"""Measurements become datasets: what other libraries wrote, read bit for bit; whatever is wrong, told in one line."""

import json
import random
import struct
import sys
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import mrcfile
import numpy as np
import pint
import pytest
import scipy.io
import tifffile
import xarray as xr
import zarr
from rsciio.emd import file_writer as write_emd

from inference.contract import find_inference
from schemas.core import Field, Task, find_task
from schemas.errors import UserError
from schemas.formats.lengths import NM, nanometres, pixel
from schemas.manifest import read_manifest
from schemas.measurement import measure
from tests import digital_micrograph
from tests.conftest import DATA, Command, digest, files, finish, refused, start

SERIES = np.random.default_rng(1).uniform(0.5, 1.5, (3, 20, 31)).astype(np.float32)  # neither square nor even
PIXEL = 2.34  # nm
DEFOCUS = "defocus=-8000,0,8000"
ALL = ("--set", DEFOCUS, "voltage=300e3", f"sampling={PIXEL}")
UNSAID = ("--set", DEFOCUS, "voltage=300e3")

type Write = Callable[[str, np.ndarray], None]


def imported(dataset: Command, *args: Any, out: str = "measured.zarr") -> tuple[dict[str, np.ndarray], str]:
    """The arrays of a measurement, and what was said."""
    code, said, err = dataset("import", "--task", "tie", "--out", out, *args)
    assert (code, err) == (0, "")
    group = zarr.open_group(out, path="test", mode="r")
    return {name: np.asarray(group[name][...]) for name in group.array_keys()}, said  # type: ignore[index]


def tiff_imagej(path: str, values: np.ndarray) -> None:
    tifffile.imwrite(path, values, imagej=True, resolution=(1e3 / PIXEL,) * 2, metadata={"unit": "um"})


def tiff_ome(path: str, values: np.ndarray) -> None:
    axes = "ZYX"[-values.ndim :]
    metadata = {"axes": axes, "PhysicalSizeX": PIXEL, "PhysicalSizeY": PIXEL}
    metadata |= {"PhysicalSizeXUnit": "nm", "PhysicalSizeYUnit": "nm"}
    tifffile.imwrite(path, values, ome=True, metadata=metadata)


def tiff_tags(path: str, values: np.ndarray) -> None:
    tifffile.imwrite(
        path,
        values,
        resolution=(1e7 / PIXEL,) * 2,
        resolutionunit="CENTIMETER",
        compression="zlib",
        photometric="minisblack",
    )


def tiff_naive(path: str, values: np.ndarray) -> None:
    """A stack of three without a word: stored as planes of colour."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tifffile.imwrite(path, values)


def mrc(path: str, values: np.ndarray) -> None:
    with mrcfile.new(path) as file:
        file.set_data(values)
        file.voxel_size = 10 * PIXEL


def npy(path: str, values: np.ndarray) -> None:
    np.save(path, values)


def npz(path: str, values: np.ndarray) -> None:
    np.savez_compressed(path, images=values, exposure=np.float32(3))


def hdf5(path: str, values: np.ndarray) -> None:
    with h5py.File(path, "w") as file:
        file.create_dataset("entry/data", data=values, compression="gzip")
        file["entry/exposure"] = 3.0


def mat(path: str, values: np.ndarray) -> None:
    scipy.io.savemat(path, {"images": values, "exposure": 3.0}, do_compression=True)


def mat_matlab(path: str, values: np.ndarray) -> None:
    """Images last, as A(:, :, k)."""
    scipy.io.savemat(path, {"images": np.moveaxis(values, 0, -1)})


def mat_73(path: str, values: np.ndarray) -> None:
    """As MATLAB writes A(y, x, plane): HDF5 with all axes reversed."""
    with h5py.File(path, "w", userblock_size=512) as file:
        file["images"] = np.moveaxis(values, 0, -1).T
    with Path(path).open("r+b") as raw:
        raw.write(b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(124) + b"\x00\x02IM")


def dm4(path: str, values: np.ndarray) -> None:
    Path(path).write_bytes(digital_micrograph.image(values, PIXEL / 1e3, "µm", 200e3))


def emd(path: str, values: np.ndarray) -> None:
    axes = [
        {
            "name": name,
            "size": size,
            "scale": scale,
            "offset": 0.0,
            "units": units,
            "index_in_array": index,
            "navigate": False,
        }
        for index, (name, size, scale, units) in enumerate(
            zip(
                "zyx"[-values.ndim :], values.shape, (1.0, PIXEL, PIXEL)[-values.ndim :], ("", "nm", "nm"), strict=False
            )
        )
    ]
    write_emd(
        path,
        {"data": values, "axes": axes, "metadata": {"General": {"title": "a"}, "Signal": {}}, "original_metadata": {}},
    )


STATING: dict[str, Write] = {
    "imagej.tif": tiff_imagej,
    "ome.ome.tif": tiff_ome,
    "tags.tiff": tiff_tags,
    "a.mrc": mrc,
    "a.dm4": dm4,
    "a.emd": emd,
}
SILENT: dict[str, Write] = {
    "naive.tif": tiff_naive,
    "a.npy": npy,
    "a.npz": npz,
    "a.h5": hdf5,
    "python.mat": mat,
    "matlab.mat": mat_matlab,
    "matlab73.mat": mat_73,
}
WRITERS = STATING | SILENT
APART = ("a.emd", "a.h5", "matlab73.mat")  # HDF5: each is read in a process of its own


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
    assert "the file states" not in said


def test_what_is_set_is_used_and_a_difference_is_told(dataset: Command) -> None:
    tiff_imagej("a.tif", SERIES)
    arrays, said = imported(dataset, "--from", "a.tif", *UNSAID, "sampling=2.35")
    assert "states" not in said  # within 1 %
    arrays, said = imported(dataset, "--from", "a.tif", *UNSAID, "sampling=2.5", out="b.zarr")
    assert "the file states sampling 2.34 nm; --set is used" in said
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
    for name, scale in NM.items():
        theirs = {"a": "angstrom", "å": "angstrom"}.get(name, name)
        assert units(theirs).to("nm").magnitude == pytest.approx(scale), name
    assert [nanometres(name) for name in ("Å", "µm", "μm", "\\u00B5m", "NM", "microns", "nanometres")] == [
        *(0.1, 1e3, 1e3, 1e3, 1, 1e3, 1)
    ]
    assert [nanometres(name) for name in ("1/nm", "", "px", None, "mrad", "s")] == [None] * 6
    assert pixel(0.0, 1.0, "nm") == pixel(float("nan"), 1.0, "nm") == {}


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
    task = Task("fuse", "1.0", "", "", (), fields, measured=("energy",))
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
    refused(dataset(*tie, "a.h5", *ALL), "a.h5: holds 2 images (arrays: dark, one/raw); write a.h5:dark or another")
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
    assert "beware" not in said
    arrays, _ = imported(dataset, "--from", "a.npy", *ALL, "--beam", "mean", out="b.zarr")
    assert arrays["intensity"].mean(axis=(-2, -1)) == pytest.approx(np.ones((1, 3)), rel=1e-5)
    refused(dataset("import", "--task", "tie", "--from", "a.npy", "--beam", "-1"), "--beam: -1", "more than 0, or mean")
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
    there = {*task.measured, task.window, *(field.name for field in task.of("input"))}
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
    assert "there already" in said
    assert files("measured.zarr") == before
    other = ("import", "--task", "tie", "--from", "a.npy", "--set", DEFOCUS, "voltage=200e3", "sampling=2.34")
    refused(dataset(*other), "measured.zarr: holds another measurement", "--overwrite")
    assert files("measured.zarr") == before
    arrays, _ = imported(dataset, *other[3:], "--overwrite")
    assert arrays["voltage"].tolist() == [200e3]
    assert sorted(path.name for path in Path().iterdir()) == ["a.npy", "measured.zarr"]


def test_what_somebody_else_made_is_left_alone(dataset: Command, generate: Command) -> None:
    np.save("a.npy", SERIES)
    Path("folder").mkdir()
    Path("folder/letter.txt").write_text("dear")
    assert generate("--task", "toy", "--n", 2, "--out", "s.zarr", "--scheduler", "synchronous")[0] == 0
    for out, rule in {"folder": "no dataset", "a.npy": "is a file", "s.zarr": "made by generate"}.items():
        result = dataset("import", "--task", "tie", "--from", "a.npy", *ALL, "--out", out, "--overwrite")
        refused(result, f"--out {out}", rule)


def test_a_killed_import_leaves_nothing_that_looks_complete(dataset: Command) -> None:
    """Killed in the middle of writing its objects; the next import sweeps up."""
    np.save("a.npy", np.ones((40, 3, 64, 64), np.float32))
    room = ("import", "--task", "tie", "--from", "a.npy", *ALL)
    slow = Path("slow.py")
    slow.write_text(
        "import os, sys, schemas.objects as o\n"
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


@pytest.mark.parametrize(
    ("values", "settings", "rule"),
    [
        (
            SERIES,
            (),
            "defocus, voltage, sampling are missing: give --set defocus=...,...,... [nm] voltage=... [V] samp",
        ),
        (SERIES, UNSAID, "sampling is missing: give --set sampling=... [nm]"),
        (SERIES[:2], ALL, "defocus: 3 values, the images have plane 2: give 2"),
        (SERIES, (*ALL, "sampling=1,2"), "sampling: 2 values, the images have one a sample: give 1"),
        (SERIES, (*ALL, "voltge=1"), "--set voltge: no such parameter; did you mean voltage?"),
        (SERIES, (*ALL, "phase=1"), "--set phase: no such parameter"),
        (SERIES, (*ALL, "voltage"), "--set voltage: write name=value"),
        (SERIES, (*ALL, "voltage=high"), "voltage: 'high' is no finite number [V]"),
        (SERIES, (*ALL, "voltage=1e60"), "voltage: '1e60' is no finite number"),
        (SERIES, (*ALL, "sampling=-1"), "sampling = -1 [nm]: must be more than 0"),
        (SERIES.astype(complex), ALL, "holds complex values"),
        (np.where(SERIES > 1.4, np.nan, SERIES), ALL, "values are not finite numbers (NaN, inf)"),
        (SERIES.astype(float) * 1e60, ALL, "values are not finite numbers"),
        (np.zeros((3, 0, 4)), ALL, "holds no pixels (shape (3, 0, 4))"),
        (np.zeros((20, 31, 3), np.uint8), ALL, "colours (RGB)"),
        (np.array(["a"]), ALL, "grey values (numbers)"),
        (np.zeros((2, 2, 3, 4, 5)), ALL, "intensity is plane, y, x: give it so"),
        (np.zeros(4), ALL, "shape (4,); intensity is plane, y, x"),
    ],
)
def test_mistakes(values: np.ndarray, settings: tuple[str, ...], rule: str, dataset: Command) -> None:
    np.save("a.npy", values)
    refused(dataset("import", "--task", "tie", "--from", "a.npy", *settings), rule)
    assert not Path("measured.zarr").exists()


def test_files_that_are_no_images(dataset: Command) -> None:
    Path("empty.tif").touch()
    Path("a.txt").write_text("1 2 3")
    Path("folder").mkdir()
    np.save("objects.npy", np.array([{}, []], dtype=object), allow_pickle=True)
    tifffile.imwrite("rgb.tif", np.zeros((20, 31, 3), np.uint8), photometric="rgb")
    said = {
        "empty.tif": "is empty",
        "a.txt": "no kind of file that is read; there are: .dm3",
        "folder": "is a folder",
        "none.tif": "no such file",
        "objects.npy": "Python objects",
        "rgb.tif": "colours (RGB)",
    }
    for name, rule in said.items():
        refused(dataset("import", "--task", "tie", "--from", name, *ALL), name, rule)


def test_images_of_a_series_must_be_alike(dataset: Command) -> None:
    tie = ("import", "--task", "tie", "--from")
    for name, size, step in (("a.tif", 20, 2.0), ("b.tif", 20, 3.0), ("c.tif", 24, 2.0)):
        metadata = {"unit": "nm"}
        tifffile.imwrite(name, SERIES[0, :10, :size], imagej=True, resolution=(1 / step,) * 2, metadata=metadata)
    refused(dataset(*tie, "a.tif", "c.tif", *ALL), "c.tif: 10 x 24 pixels, a.tif has 10 x 20")
    refused(dataset(*tie, "a.tif", "b.tif", *ALL), "sampling: 2 in a.tif, 3 in b.tif")
    tifffile.imwrite("oblong.tif", SERIES, imagej=True, resolution=(0.5, 0.25), metadata={"unit": "nm"})
    refused(dataset(*tie, "oblong.tif", *UNSAID), "pixels of 4 x 2 nm", "square")
    np.save("a.npy", SERIES)
    np.save("b.npy", SERIES[:, :10])
    refused(dataset(*tie, "a.npy", "--from", "b.npy", *ALL), "sample 1: intensity has 10 along y, others 20")


def test_what_a_printer_would_take_is_no_pixel_size(dataset: Command) -> None:
    tifffile.imwrite("a.tif", SERIES, resolution=(72, 72), resolutionunit="INCH", photometric="minisblack")
    refused(dataset("import", "--task", "tie", "--from", "a.tif", *UNSAID), "sampling is missing")


def test_headers_that_promise_more_than_the_file_holds(dataset: Command) -> None:
    """Nothing is allocated for them."""
    header = b"{'descr': '<f4', 'fortran_order': False, 'shape': (3, 100000, 100000), }".ljust(117) + b"\n"
    lie = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + bytes(64)
    Path("a.npy").write_bytes(lie)
    with zipfile.ZipFile("a.npz", "w") as archive:
        archive.writestr("images.npy", lie)
    with h5py.File("a.h5", "w") as file:
        file.create_dataset("images", (3, 100_000, 100_000), "f4", chunks=(1, 1000, 1000))
    with h5py.File("b.h5", "w") as file:
        file.create_dataset("images", (3, 3000, 10_000), "f4", chunks=(1, 1000, 1000))
    mrc("a.mrc", SERIES)
    raw = bytearray(Path("a.mrc").read_bytes())
    raw[:12] = struct.pack("<3i", 100_000, 100_000, 3)
    Path("a.mrc").write_bytes(raw)
    good = digital_micrograph.image(SERIES, PIXEL, "nm", 200e3)
    Path("a.dm4").write_bytes(good.replace(struct.pack("<I", 31), struct.pack("<I", 10**9)))
    for name in ("a.npy", "a.npz", "a.h5", "a.mrc", "a.dm4"):
        refused(dataset("import", "--task", "tie", "--from", name, *ALL), name, "GiB of images, at most 4 are read")
    refused(dataset("import", "--task", "tie", "--from", "b.h5", *ALL), "b.h5: promises 360,000,000 bytes")


def test_pixels_that_are_missing_are_no_zeros(dataset: Command) -> None:
    """A TIFF may leave pages out, and readers give zeros for them."""
    tiff_tags("a.tiff", SERIES)
    with tifffile.TiffFile("a.tiff", mode="r+") as file:
        file.pages[1].tags[279].overwrite(0)  # type: ignore[union-attr]  # StripByteCounts
    refused(dataset("import", "--task", "tie", "--from", "a.tiff", *ALL), "a.tiff: pixels are missing")


def test_a_library_that_crashes_takes_nothing_along(dataset: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """As libhdf5 does on some damaged files."""
    hdf5("a.h5", SERIES)
    Path("sitecustomize.py").write_text("import os, sys\nif '-P' in sys.orig_argv: os.abort()")
    monkeypatch.setenv("PYTHONPATH", str(Path.cwd()))
    result = dataset("import", "--task", "tie", "--from", "a.h5", *ALL)
    refused(result, "a.h5: cannot be read as HDF5", "died", "get another copy")


def test_values_in_other_files_are_not_followed(dataset: Command) -> None:
    Path("secret.bin").write_bytes(SERIES.tobytes())
    with h5py.File("a.h5", "w") as file:
        file.create_dataset("images", SERIES.shape, "f4", external=[("secret.bin", 0, SERIES.nbytes)])
    refused(dataset("import", "--task", "tie", "--from", "a.h5", *ALL), "a.h5:images: its values lie in other files")


def test_without_the_extra_one_line_says_what_to_install(dataset: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    dm4("a.dm4", SERIES)
    monkeypatch.setitem(sys.modules, "rsciio.digitalmicrograph", None)
    refused(dataset("import", "--task", "tie", "--from", "a.dm4", *ALL), "a.dm4", "pip install 'drybeam[microscopy]'")


@pytest.mark.parametrize("name", WRITERS)
def test_damaged_files_are_one_line_or_numbers(name: str, dataset: Command) -> None:
    """Cut short: refused, unless all pixels are there. A bit flipped: refused, or other values; never a traceback."""
    WRITERS[name](name, SERIES)
    good, chance = Path(name).read_bytes(), random.Random(name)
    damaged = Path(f"damaged-{name}")
    for share in (0.6,) if name in APART else (0.02, 0.3, 0.7, 0.95):
        damaged.write_bytes(good[: int(len(good) * share)])
        result = dataset("import", "--task", "tie", "--from", damaged, *ALL, "--out", "cut.zarr", "--overwrite")
        if result[0] == 0:
            assert share > 0.9
            assert zarr.open_array("cut.zarr/test/intensity")[...].tobytes() == SERIES.tobytes()  # type: ignore[union-attr]
        else:
            refused(result)
    for number in range(2 if name in APART else 24):
        raw = bytearray(good)
        for _ in range(3):
            raw[chance.randrange(min(len(raw), 2000 if number % 2 else len(raw)))] ^= 1 << chance.randrange(8)
        damaged.write_bytes(raw)
        result = dataset("import", "--task", "tie", "--from", damaged, *ALL, "--out", f"{number}.zarr")
        if result[0]:
            refused(result)


@pytest.mark.skipif(not DATA.is_dir(), reason="no measured files beside the project")
def test_measured_files(dataset: Command) -> None:
    image = DATA / "xray" / "x-ray-image.tif"
    arrays, _ = imported(dataset, "--from", image, image, image, *ALL, "--beam", "mean")
    assert np.array_equal(arrays["intensity"][0, 0], arrays["intensity"][0, 2])
    tilts = DATA / "ta_film" / "Ta_film_Projections_area1.mat"
    refused(dataset("import", "--task", "tie", "--from", tilts, *ALL), "defocus: 3 values, the images have plane 46")
