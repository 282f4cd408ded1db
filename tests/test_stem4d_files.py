"""Scans in the files of other libraries: order of the patterns, pixel, step, and on to phases."""

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import xarray as xr

from schemas.formats.axis_order import Axis
from schemas.formats.pixel_sizes import frequency
from schemas.formats.stated import Stated, to_picture

from .conftest import Command, refused
from .foreign_scans import SAMPLING, SAYING_VOLTAGE, STEP, WAVELENGTH, WRITERS, hyperspy, py4dstem
from .test_stem4d import saved, scanned

IMPORT = ("import", "--task", "stem4d", "--counts", "--from")
VOLTAGE = ("--set", "voltage=80e3")


@pytest.fixture(scope="module")
def scan() -> dict[str, np.ndarray]:
    """Of 6 rows and 5 columns."""
    return scanned("scan.step=0.04")


def counted(scan: dict[str, np.ndarray]) -> np.ndarray:
    return np.rint(scan["amplitude"].reshape(6, 5, 32, 32) ** 2).astype(np.uint16)


def imported(dataset: Command, *args: Any) -> xr.Dataset:
    code, _, err = dataset(*IMPORT, *args)
    assert (code, err) == (0, "")
    found: xr.Dataset = xr.open_zarr("measured.zarr/test").load()
    return found


@pytest.mark.parametrize("name", WRITERS)
def test_patterns_come_row_by_row_with_their_places(
    name: str, scan: dict[str, np.ndarray], dataset: Command, infer: Command
) -> None:
    counts, probe = counted(scan), saved("probe.npy", scan["probe"])
    WRITERS[name](name, counts)
    found = imported(dataset, name, *(() if name in SAYING_VOLTAGE else VOLTAGE), "--with", f"probe={probe}")
    assert np.array_equal(np.rint(found.amplitude.values**2), counts.reshape(30, 32, 32))
    assert found.sampling.values == pytest.approx(SAMPLING, rel=1e-5)
    assert found.voltage.values == pytest.approx(80e3)
    raster = np.array([divmod(index, 5) for index in range(30)]) * STEP
    assert found.position.values == pytest.approx(raster, abs=1e-6)
    assert (found.scan == 0).all()
    assert dataset("validate", "measured.zarr")[0] == 0
    for method in ("rpie", "idpc"):
        command = ("--method", method, "--data", "measured.zarr", "--out", f"{method}.zarr", "--stitch", f"i{method}")
        assert infer(*command, *(("--set", "sweeps=2") if method == "rpie" else ()))[0] == 0
        assert np.isfinite(xr.open_zarr(f"{method}.zarr").phase.values).all()


def test_what_is_given_goes_before_what_the_file_says(scan: dict[str, np.ndarray], dataset: Command) -> None:
    hyperspy("a.hspy", counted(scan))
    position = saved("position.npy", scan["position"])
    found = imported(dataset, "a.hspy", "--set", "sampling=0.03", "--with", f"position={position}")
    assert found.sampling.values == pytest.approx(0.03)
    assert np.array_equal(found.position, scan["position"])


def test_each_file_is_a_scan_of_its_own(scan: dict[str, np.ndarray], dataset: Command) -> None:
    for name in "ab":
        py4dstem(f"{name}.h5", counted(scan))
    found = imported(dataset, "a.h5", "b.h5", *VOLTAGE)
    assert found.scan.values.tolist() == [0] * 30 + [1] * 30
    assert np.array_equal(found.position[:30], found.position[30:])


def test_a_file_without_units_asks_for_the_pixel_and_has_no_places(
    scan: dict[str, np.ndarray], dataset: Command
) -> None:
    with h5py.File("a.h5", "w") as file:
        file["datacube/data"] = counted(scan)
    refused(dataset(*IMPORT, "a.h5:datacube/data", *VOLTAGE), "sampling is missing")
    found = imported(dataset, "a.h5:datacube/data", *VOLTAGE, "sampling=0.0285")
    assert "position" not in found
    Path("a.zspy").mkdir()
    refused(dataset(*IMPORT, "a.zspy", *VOLTAGE), "a.zspy: is a folder; save it as .hspy")


@pytest.mark.parametrize("factor", [1, 1.2])
def test_a_probe_whose_file_states_another_pixel_is_refused(
    factor: float, scan: dict[str, np.ndarray], dataset: Command
) -> None:
    """Whatever its disk says."""
    import mrcfile

    hyperspy("a.hspy", counted(scan))
    with mrcfile.new("probe.mrc") as file:
        file.set_data(scan["probe"].astype(np.complex64))
        file.voxel_size = 10 * SAMPLING * factor
    if factor == 1:
        imported(dataset, "a.hspy", "--with", "probe=probe.mrc")
    else:
        refused(
            dataset(*IMPORT, "a.hspy", "--with", "probe=probe.mrc"),
            "probe: its file states pixels of 0.0342 nm",
            "0.0285",
        )


def test_units_of_patterns() -> None:
    assert [frequency(unit) for unit in ("1/nm", "nm^-1", "1 / Å", "A^-1", "1/m")] == pytest.approx(
        [1, 1, 10, 10, 1e-9]
    )
    assert [frequency(unit) for unit in ("nm", "mrad", "", None, "px", "1/px", "1/nm^-1")] == [None] * 7
    assert frequency("mrad", WAVELENGTH) == pytest.approx(1e-3 / WAVELENGTH)
    for axis, known in ((Axis("", 0.5, "1/nm"), {"sampling_y": 0.05, "sampling_x": 0.04}), (Axis("", 0.0, "1/nm"), {})):
        picture = to_picture(Path("a"), Stated(np.zeros((7, 40, 50)), (Axis(), axis, axis)))
        assert picture.patterns
        assert {name: value for name, (value,) in picture.known.items()} == pytest.approx(known)
    assert to_picture(Path("a"), Stated(np.zeros((8, 8)), (Axis("", 1.0, "mrad"),) * 2)).known == {}
