"""Whatever is wrong with a measurement is told in one line, and nothing is left behind."""

import random
import struct
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest
import tifffile
import xarray as xr
import zarr

from tests import digital_micrograph
from tests.conftest import Command, refused
from tests.foreign import ALL, APART, PIXEL, SERIES, UNSAID, WRITERS, mrc, tiff_tags


@pytest.mark.parametrize(
    ("values", "settings", "rule"),
    [
        (
            SERIES,
            (),
            "defocus, voltage, sampling are missing: give --set defocus=...,...,... [nm] voltage=... [V] samp",
        ),
        (SERIES, UNSAID, "sampling is missing: give --set sampling=... [nm]"),
        (SERIES[:2], ALL, "defocus: has 3 values, but the images have plane 2; give 2"),
        (SERIES, (*ALL, "sampling=1,2"), "sampling: has 2 values, but the images have one per sample; give 1"),
        (SERIES, (*ALL, "voltge=1"), "--set voltge: no such parameter; did you mean voltage?"),
        (SERIES, (*ALL, "phase=1"), "--set phase: no such parameter"),
        (SERIES, (*ALL, "voltage"), "--set voltage: write name=value"),
        (SERIES, (*ALL, "voltage=high"), "voltage: 'high' is not a finite number [V]"),
        (SERIES, (*ALL, "voltage=1e60"), "voltage: '1e60' is not a finite number"),
        (SERIES, (*ALL, "sampling=-1"), "sampling = -1 [nm]: must be more than 0"),
        (SERIES.astype(complex), ALL, "holds complex values"),
        (np.where(SERIES > 1.4, np.nan, SERIES), ALL, "values are not finite numbers (NaN, inf)"),
        (SERIES.astype(float) * 1e60, ALL, "values are not finite numbers"),
        (np.zeros((3, 0, 4)), ALL, "holds no pixels (shape (3, 0, 4))"),
        (np.zeros((20, 31, 3), np.uint8), ALL, "colours (RGB)"),
        (np.array(["a"]), ALL, "grey values (numbers)"),
        (np.zeros((2, 2, 3, 4, 5)), ALL, "intensity must have the axes plane, y, x, with or"),
        (np.zeros(4), ALL, "shape (4,); intensity must have the axes plane, y, x"),
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
        "a.txt": "this kind of file cannot be read; give one of: .dm3",
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
    refused(dataset(*tie, "a.tif", "c.tif", *ALL), "c.tif: has 10 x 24 pixels, but a.tif has 10 x 20")
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
        refused(dataset("import", "--task", "tie", "--from", name, *ALL), name, "GiB of images; at most 4 GiB are read")
    refused(dataset("import", "--task", "tie", "--from", "b.h5", *ALL), "b.h5: damaged: states 360,000,000 bytes")


def test_pixels_that_are_missing_are_no_zeros(dataset: Command) -> None:
    """A TIFF may leave pages out, and readers give zeros for them."""
    tiff_tags("a.tiff", SERIES)
    with tifffile.TiffFile("a.tiff", mode="r+") as file:
        file.pages[1].tags[279].overwrite(0)  # type: ignore[union-attr]  # StripByteCounts
    refused(
        dataset("import", "--task", "tie", "--from", "a.tiff", *ALL), "a.tiff: truncated or damaged, pixels are missing"
    )


def test_values_in_other_files_are_not_followed(dataset: Command) -> None:
    Path("secret.bin").write_bytes(SERIES.tobytes())
    with h5py.File("a.h5", "w") as file:
        file.create_dataset("images", SERIES.shape, "f4", external=[("secret.bin", 0, SERIES.nbytes)])
    refused(dataset("import", "--task", "tie", "--from", "a.h5", *ALL), "a.h5:images: its values lie in other files")


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


@pytest.mark.parametrize(("planes", "defocus"), [(3, "0,0,0"), (2, "9000,9000"), (1, "9000")])
def test_a_series_at_one_defocus_is_none(dataset: Command, planes: int, defocus: str) -> None:
    np.save("a.npy", np.random.default_rng(0).random((planes, 8, 8), np.float32))
    told = ("--set", f"defocus={defocus}", "voltage=3e5", "sampling=2")
    refused(dataset("import", "--task", "tie", "--from", "a.npy", *told), "defocus", "must differ", "two or more")


@pytest.mark.parametrize(
    ("told", "doubt"),
    [
        ("voltage=300", "voltage = 300 V; usual are 10000 to 5e+06: check the unit"),
        ("sampling=2e-10", "sampling = 2e-10 nm"),
        ("defocus=-9e-6,0,9e-6", "defocus = 9e-06 nm"),
    ],
)
def test_another_unit_is_doubted(dataset: Command, told: str, doubt: str) -> None:
    np.save("a.npy", np.ones((3, 8, 8)) + np.random.default_rng(0).random((3, 8, 8)))
    code, out, _ = dataset("import", "--task", "tie", "--from", "a.npy", *ALL, told)
    assert code == 0
    assert f"warning: {doubt}" in out
    code, out, _ = dataset("import", "--task", "tie", "--from", "a.npy", *ALL, "--out", "b.zarr")
    assert "check the unit" not in out


def test_bad_pixels_are_told(dataset: Command) -> None:
    values = np.random.default_rng(0).random((3, 8, 8)) + 0.5
    values[0, 0, :2], values[1] = -5, 0
    np.save("a.npy", values)
    code, out, _ = dataset("import", "--task", "tie", "--from", "a.npy", *ALL)
    assert code == 0
    assert "2 values below 0" in out
    assert "1 of the 3 images of intensity are constant" in out


def test_axes_that_are_said_are_no_colours(dataset: Command) -> None:
    values = np.random.default_rng(0).integers(80, 120, (16, 20, 3), np.uint8)
    tifffile.imwrite("a.tif", values)
    refused(dataset("import", "--task", "tie", "--from", "a.tif", *ALL), "colours (RGB)", "--axes y,x,plane")
    assert dataset("import", "--task", "tie", "--from", "a.tif", *ALL, "--axes", "y,x,plane")[0] == 0
    assert np.array_equal(xr.open_zarr("measured.zarr/test").intensity[0, 2].values, values[..., 2])


@pytest.mark.parametrize(
    ("values", "units", "rule"),
    [
        ("[-1e3, 0, NaN]", "nm", "defocus is missing"),
        ("[-1, 0, 1]", "um", "defocus is missing"),
        ("[-1e300, 0, 1e300]", "nm", "not a finite number"),
    ],
)
def test_what_lies_beside_a_file_is_believed_in_its_units_alone(
    dataset: Command, values: str, units: str, rule: str
) -> None:
    np.save("a.npy", np.ones((3, 8, 8)) + np.random.default_rng(0).random((3, 8, 8)))
    parameter = f'{{"values": {values}, "units": "{units}"}}'
    Path("a.json").write_text(
        '{"drybeam_image": 1, "task": "tie", "split": "test", "sample": 0, "field": "intensity", "units": "1", '
        f'"axes": ["plane", "y", "x"], "parameters": {{"defocus": {parameter}}}}}'
    )
    told = ("--set", "voltage=3e5", "sampling=2")
    refused(dataset("import", "--task", "tie", "--from", "a.npy", *told), rule)


def test_small_files_that_promise_much_are_refused_at_once(dataset: Command) -> None:
    mrc("a.mrc", np.ones((3, 8, 8), np.float32))
    data = bytearray(Path("a.mrc").read_bytes())
    data[92:96] = (2**31 - 1).to_bytes(4, "little")
    Path("a.mrc").write_bytes(data)
    refused(dataset("import", "--task", "tie", "--from", "a.mrc", *ALL), "states more data than the file holds")
