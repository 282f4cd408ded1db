"""Values of other programs' files: calibrations are applied, masks are heeded, and what is not clear is refused."""

import re
import struct
from pathlib import Path
from typing import Any

import h5py
import mrcfile
import numpy as np
import pytest
import tifffile
import xarray as xr

from schemas.exchange import attached_arrays
from schemas.exchange.input_values import find_unmeasured
from schemas.formats import reading
from schemas.formats.image import Picture
from schemas.runtime.errors import UserError
from schemas.tasks.cdi import TASK as CDI
from schemas.tasks.stem4d import TASK as STEM4D
from tests import digital_micrograph, foreign
from tests.conftest import Command, refused
from tests.foreign import ALL, nexus
from tests.foreign_scans import SAMPLING, py4dstem

COUNTS = np.random.default_rng(0).integers(80, 200, (3, 16, 20)).astype(np.uint8)


def read(name: str, inner: str = "") -> Picture:
    """Return the content of a file, read in this process."""
    return reading.read_as(reading._kind_and_head(Path(name))[0], Path(name), inner)


def imagej(name: str, values: np.ndarray, calibration: str) -> None:
    text = f"ImageJ=1.54f\nimages={len(values)}\nslices={len(values)}\nunit=nm\n{calibration}\n"
    tifffile.imwrite(name, values, photometric="minisblack", description=text, metadata=None)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_straight_line_of_imagej_is_applied(dtype: type) -> None:
    imagej("a.tif", COUNTS.astype(dtype), "cf=0\nc0=-50.5\nc1=0.5")
    assert np.array_equal(read("a.tif").values, np.float32(COUNTS * 0.5 - 50.5))
    imagej("b.tif", COUNTS.astype(dtype), "cf=20\nc0=-50.5\nc1=0.5")  # ImageJ's number for no calibration
    assert np.array_equal(read("b.tif").values, COUNTS)


@pytest.mark.parametrize("calibration", ["cf=21", "cf=4\nc0=1\nc1=2\nc2=3", "cf=0"])
def test_other_functions_of_imagej_are_refused(calibration: str) -> None:
    imagej("a.tif", COUNTS, calibration)
    with pytest.raises(UserError, match=r"calibrated by ImageJ's function number .* not a straight line; apply it"):
        read("a.tif")


def test_digital_micrograph_states_scale_and_origin() -> None:
    data = digital_micrograph.image(COUNTS, 2.0, "nm", 200e3, brightness=(30.0, 0.5))
    Path("a.dm4").write_bytes(data)
    assert np.array_equal(read("a.dm4").values, np.float32((COUNTS - 30.0) * 0.5))


def test_scale_and_fill_value_of_hdf5() -> None:
    with h5py.File("a.h5", "w") as file:
        item = file.create_dataset("d", data=COUNTS.astype(np.int16))
        item.attrs.update({"scale_factor": 0.5, "add_offset": 10.0, "_FillValue": np.int16(COUNTS[0, 0, 0])})
    expected = np.where(COUNTS[0, 0, 0] == COUNTS, np.nan, COUNTS * 0.5 + 10)
    assert np.array_equal(read("a.h5").values, np.float32(expected), equal_nan=True)


@pytest.mark.parametrize("place", ["field", "of the group", "of the signal"])
@pytest.mark.parametrize(("key", "scale", "offset"), [("scaling_factor", 0.5, 0), ("data_offset", 1, 0.5)])
def test_nexus_scales_or_shifts(place: str, key: str, scale: float, offset: float) -> None:
    nexus("a.nxs", COUNTS, [".", "y", "x"])
    with h5py.File("a.nxs", "a") as file:
        group = file["entry/data"]
        holder = {"field": group, "of the group": group.attrs, "of the signal": group["data"].attrs}[place]
        holder[key] = [scale if scale != 1 else offset]
    assert np.array_equal(read("a.nxs").values, np.float32(COUNTS * scale + offset))
    with h5py.File("a.nxs", "a") as file:
        file["entry/data"].attrs.update({"scaling_factor": 0.5, "offset": 0.5})
    with pytest.raises(UserError, match=r"a.nxs:entry/data/data: states scaling_factor and offset, in no clear order"):
        read("a.nxs")


@pytest.mark.parametrize("key", ["scale_factor", "add_offset", "valid_max", "missing_value"])
def test_attributes_of_values_must_be_numbers(key: str) -> None:
    with h5py.File("a.h5", "w") as file:
        file["d"] = COUNTS
        file["d"].attrs[key] = "none" if key == "missing_value" else [1.0, 2.0]
    with pytest.raises(UserError, match=rf"a.h5:d: its attribute {key} = (1.0, 2.0: must be one|none: must be) number"):
        read("a.h5")


@pytest.mark.parametrize(
    "attributes",
    [
        {"missing_value": [200, 199]},
        {"valid_range": [80, 198]},
        {"valid_min": 80, "valid_max": 198},
        {"missing_value": np.array([-56, -57], np.int8), "_Unsigned": "true"},
        {"valid_max": np.int8(-58), "_Unsigned": np.bytes_("true")},
    ],
)
def test_values_without_a_measurement_in_netcdf(attributes: dict[str, Any]) -> None:
    with h5py.File("a.h5", "w") as file:
        file["d"] = COUNTS.view(np.int8) if "_Unsigned" in attributes else COUNTS
        file["d"].attrs.update(attributes)
    expected = np.where(COUNTS > 198, np.nan, np.float32(COUNTS))
    assert np.array_equal(read("a.h5").values, expected, equal_nan=True)


def test_the_missing_value_of_a_tiff() -> None:
    values = COUNTS.astype(np.float32)
    values[0, 1, 2] = -5
    tags = [(42113, 2, 0, "-5", True)]  # GDAL_NODATA
    tifffile.imwrite("a.tif", values, photometric="minisblack", metadata=None, extratags=tags)
    assert np.argwhere(np.isnan(read("a.tif").values)).tolist() == [[0, 1, 2]]


@pytest.mark.parametrize("orientation", range(2, 9))
def test_images_that_are_to_be_turned_are_refused(orientation: int) -> None:
    tags = [(274, 3, 1, orientation, True)]
    tifffile.imwrite("a.tif", COUNTS, photometric="minisblack", metadata=None, extratags=tags)
    with pytest.raises(UserError, match=rf"its tag Orientation is {orientation}: .*save it upright"):
        read("a.tif")


@pytest.mark.parametrize("scale", [0.0, 0.5, 1.0])
def test_values_calibrated_by_digital_micrograph_in_tiff(scale: float) -> None:
    """The scale is applied; another origin than 0 is refused."""
    for name, values in (("a.tif", (0.0, scale)), ("b.tif", (5.0, scale))):
        tags = [(65024 + index, 12, 1, value, True) for index, value in enumerate(values)]
        tifffile.imwrite(name, COUNTS, photometric="minisblack", metadata=None, extratags=tags)
    assert np.array_equal(read("a.tif").values, (scale or 1) * COUNTS)
    with pytest.raises(UserError, match="DigitalMicrograph with the origin 5; give its DM4 file"):
        read("b.tif")


def test_texts_of_matlab_are_not_images() -> None:
    foreign.mat_73("a.mat", COUNTS)
    with h5py.File("a.mat", "a") as file:
        file["title"] = np.zeros((3, 9), np.uint16)
        file["title"].attrs["MATLAB_class"] = np.bytes_("char")
    assert read("a.mat").values.shape == (16, 20, 3)
    with pytest.raises(UserError, match=r"a.mat:title: holds text; give an array of numbers"):
        read("a.mat", "title")


def test_white_that_is_zero_is_refused() -> None:
    tifffile.imwrite("a.tif", COUNTS, photometric="miniswhite")
    with pytest.raises(UserError, match=r"0 is white; save it with 0 as black"):
        read("a.tif")


@pytest.mark.parametrize(
    ("flags", "extremes", "dtype"),
    [
        (0, (0, 0), np.uint8),
        (1, (0, 0), np.int8),
        (None, (80, 199), np.uint8),
        (None, (-128, 127), np.int8),
        (None, (0, -1), None),
    ],
)
@pytest.mark.parametrize("order", "<>")
def test_bytes_of_mrc_are_signed_as_stated(
    flags: int | None, extremes: tuple[float, float], dtype: type | None, order: str
) -> None:
    with mrcfile.new("a.mrc") as file:
        file.set_data(COUNTS.view(np.int8))
    raw = bytearray(Path("a.mrc").read_bytes())
    if order == ">":
        header = np.frombuffer(raw[:1024], mrcfile.dtypes.HEADER_DTYPE)
        raw[:1024] = header.astype(header.dtype.newbyteorder()).tobytes()
        raw[212:216] = b"\x11\x11\0\0"
    raw[76:84] = struct.pack(f"{order}ff", *extremes)
    raw[152:160] = struct.pack(f"{order}ii", 0 if flags is None else 1146047817, flags or 0)
    Path("a.mrc").write_bytes(raw)
    if dtype:
        assert np.array_equal(read("a.mrc").values, COUNTS.view(dtype))
    else:
        with pytest.raises(UserError, match=r"bytes \(mode 0\).*does not say which; convert it to mode 1"):
            read("a.mrc")


@pytest.mark.parametrize("names", [("real", "imag"), ("realFloat", "imagFloat"), ("r", "i")])
def test_pairs_of_numbers_are_complex(names: tuple[str, str]) -> None:
    """MATLAB 7.3 and Velox store complex numbers so."""
    values = np.zeros((4, 5), [(names[0], "f4"), (names[1], "f4")])
    values[names[0]], values[names[1]] = 2, 3
    with h5py.File("a.h5", "w") as file:
        file["wave"] = values
    assert (read("a.h5").values == 2 + 3j).all()


def test_other_tables_are_refused() -> None:
    for number, names in enumerate((("x", "y"), ("B", "G", "R", "A"))):
        with h5py.File(f"{number}.h5", "w") as file:
            file["d"] = np.zeros((4, 5), [(name, "u1") for name in names])
        with pytest.raises(UserError, match=r"holds (a table|colours) "):
            read(f"{number}.h5")


NOTHING: tuple[int, ...] = ()


@pytest.mark.parametrize(
    ("values", "marked"),
    [
        (np.array([1, 9, 2**32 - 1], np.uint32), [2]),
        (np.array([1, 9, 2**32 - 1, 2**32 - 2], np.uint32), [2, 3]),
        (np.array([1, 9, 2.0**32 - 1], np.float32), [2]),
        (np.array([1, 9, 65535], np.int32), [2]),
        (np.array([1, 9, 32767], np.int16), [2]),
        (np.array([1, 9, 32767], np.uint16), NOTHING),
        (np.array([1, 9, 1e20]), [2]),
        (np.array([1, 9, 3], np.float16), NOTHING),
        (np.array([1, 9, np.nan, np.inf, -np.inf]), [2, 3, 4]),
        (np.array([1, -1, 9, -2]), [1, 3]),
        (np.array([1.5, -9999.0, 9], np.float32), [1]),
        (np.array([1, 60000, 65535], np.uint16), NOTHING),
        (np.array([1, 9, 255], np.uint8), NOTHING),
        (np.array([1, -1, 9, -3]), NOTHING),
        (np.array([1, 1], bool), NOTHING),
        (np.array([65535, 65535], np.uint16), NOTHING),
    ],
)
def test_marks_stand_apart(values: np.ndarray, marked: list[int]) -> None:
    assert np.flatnonzero(find_unmeasured(values)).tolist() == list(marked)


MARKS: list[Any] = [(np.float32, np.nan), (np.int32, -1), (np.uint32, 2**32 - 1), (np.float64, -999.0)]


@pytest.mark.parametrize(("dtype", "mark"), MARKS)
def test_pixels_without_a_measurement_need_a_mask(dtype: type, mark: float, dataset: Command) -> None:
    counts: Any = np.random.default_rng(0).poisson(9, (2, 16, 16)).astype(dtype)
    seen = np.ones((16, 16), bool)
    seen[:, 7:9] = False
    np.save("seen.npy", seen)
    good = np.where(seen, counts, 0)
    counts[:, ~seen] = mark
    np.save("a.npy", counts)
    command = ("import", "--task", "cdi", "--from", "a.npy", "--counts")
    refused(dataset(*command), "amplitude: 64 values are", "--with seen=FILE")
    assert dataset(*command, "--with", "seen=seen.npy")[0] == 0
    assert np.array_equal(xr.open_zarr("measured.zarr/test").amplitude, np.sqrt(good.astype(np.float32)))


@pytest.mark.parametrize(
    ("good", "bad", "told"),
    [
        (1, 0, ""),
        (0, 1, r"hides 88% of the pixels; seen must be 1 where the detector measures"),
        (1, 2, "holds 2; seen must be 1 where"),
        (255, 0, "holds 255; seen must be 1"),
        (0, 0, "is 0 everywhere; .*invert it"),
    ],
)
def test_masks_are_1_where_the_detector_measures(good: int, bad: int, told: str) -> None:
    """A pixel_mask of NeXus holds reasons, and 0 at good pixels: it is inverted, and nothing else is."""
    mask = np.full((16, 16), good, np.uint32)
    mask[:, 7:9] = bad
    np.save("seen.npy", mask)
    with h5py.File("mask.h5", "w") as file:
        file["detector/pixel_mask"] = np.where(mask == good, 0, 5) if good else mask
    sizes = {"qy": 16, "qx": 16}
    if told and "hides" not in told:
        with pytest.raises(UserError, match=told):
            attached_arrays.read(CDI, ["seen=seen.npy"], sizes, 1, ("seen",))
    else:
        notes = attached_arrays.read(CDI, ["seen=seen.npy"], sizes, 1, ("seen",)).notes
        assert len(notes) == bool(told)
        assert all(re.search(told, note) for note in notes)
    found = attached_arrays.read(CDI, ["seen=mask.h5:pixel_mask"], sizes, 1, ("seen",))
    assert np.array_equal(found.arrays["seen"], (mask == good) if good else (mask == 0))
    assert "0 is taken as measured, as in pixel_mask of NeXus" in found.notes[0]


@pytest.mark.parametrize(("unit", "scale"), [("angstrom", 0.1), ("um", 1e3), ("nm", 1), ("", 1), ("pixel", None)])
def test_lengths_are_converted_by_the_unit_that_their_file_states(unit: str, scale: float | None) -> None:
    places = np.random.default_rng(0).uniform(0, 9, (5, 2)).astype(np.float32)
    with h5py.File("a.h5", "w") as file:
        file["places"] = places
        file["places"].attrs.update({"units": unit} if unit else {})
    if scale is None:
        with pytest.raises(UserError, match=r"a.h5: states the unit pixel; position must be in nm"):
            attached_arrays.read(STEM4D, ["position=a.h5"], {}, 5)
    else:
        found = attached_arrays.read(STEM4D, ["position=a.h5"], {}, 5).arrays["position"]
        assert found == pytest.approx(places * scale)


@pytest.mark.parametrize(("key", "value"), [("QR_rotation", 0.5), ("QR_flip", True)])
def test_positions_of_patterns_that_are_turned_against_their_scan_are_not_taken(
    dataset: Command, key: str, value: float
) -> None:
    counts = np.random.default_rng(0).poisson(9, (3, 4, 16, 16)).astype(np.uint16)
    for number in (value, type(value)(0)):
        py4dstem("a.h5", counts)
        with h5py.File("a.h5", "a") as file:
            file[f"datacube_root/metadatabundle/calibration/{key}"] = number
        settings = ("--set", "voltage=80e3", f"sampling={SAMPLING}")
        store = Path(f"{bool(number)}.zarr")
        found = dataset("import", "--task", "stem4d", "--from", "a.h5", "--counts", *settings, "--out", store)
        assert found[0] == 0, found
        assert (f"states {key} = {value:g}: the patterns are turned" in found[1] + found[2]) == bool(number)
        assert (store / "test/position").exists() != bool(number)


def test_messages_name_the_option_of_the_file() -> None:
    with pytest.raises(UserError, match=r"^--with seen=none.npy: no such file"):
        attached_arrays.read(CDI, ["seen=none.npy"], {"qy": 16, "qx": 16}, 1)


def test_masked_values_are_not_judged(dataset: Command) -> None:
    """Neither as counts nor as amplitudes: NaN under a mask hides no whole numbers."""
    counts = np.random.default_rng(0).poisson(9, (2, 16, 16)).astype(np.float32)
    counts[:, 0, 0] = np.nan
    seen = np.ones((16, 16), np.uint8)
    seen[0, 0] = 0
    np.save("a.npy", counts)
    np.save("seen.npy", seen)
    refused(dataset("import", "--task", "cdi", "--from", "a.npy", "--with", "seen=seen.npy"), "look like counts")


def test_a_task_without_masks_names_the_mark(dataset: Command) -> None:
    values = COUNTS.astype(np.uint16)
    values[1, 2, 3] = 65535
    np.save("a.npy", values)
    command = ("import", "--task", "tie", "--from", "a.npy", *ALL, "--beam", "mean")
    refused(dataset(*command), "intensity: 1 values are 65535, a mark", "replace or crop them")
    values[0] += 50000
    np.save("a.npy", values)
    code, out, _ = dataset(*command)
    assert code == 0
    assert "1 values of intensity are 65535, the largest of uint16: saturated?" in out
