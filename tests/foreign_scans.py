"""Scans (row, column, qy, qx) as other libraries write them: 80 kV where a format has a place for it, else without."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from rsciio.emd import file_writer as write_emd
from rsciio.hspy import file_writer as write_hspy

from tests import digital_micrograph

STEP = (0.04, 0.05)  # nm, of rows and columns: never the same
SAMPLING = 0.0285  # nm
WAVELENGTH = 4.17571e-3  # nm, at 80 kV

type Write = Callable[[str, np.ndarray], None]


def frequency(counts: np.ndarray) -> float:
    """Width of a pixel of the patterns [1/nm]."""
    width: float = 1 / (counts.shape[-1] * SAMPLING)
    return width


def py4dstem(path: str, counts: np.ndarray) -> None:
    """As emdfile 0.0.15 writes a py4DSTEM.DataCube: EMD 1.0, of each axis its first two places; in angstrom."""
    with h5py.File(path, "w") as file:
        file.attrs.update({"emd_group_type": "file", "version_major": 1, "version_minor": 0})
        root = file.create_group("datacube_root")
        root.attrs.update({"emd_group_type": "root", "python_class": "Root"})
        cube = root.create_group("datacube")
        cube.attrs.update({"emd_group_type": "array", "python_class": "DataCube"})
        cube.create_dataset("data", data=counts).attrs["units"] = "pixel intensity"
        for number, (name, step, unit) in enumerate(
            zip(("Rx", "Ry", "Qx", "Qy"), _steps(counts, 10.0), ("A", "A", "A^-1", "A^-1"), strict=True)
        ):
            dim = cube.create_dataset(f"dim{number}", data=[0.0, step])
            dim.attrs.update({"name": name, "units": unit})
        bundle = root.create_group("metadatabundle")
        bundle.attrs["emd_group_type"] = "metadatabundle"
        calibration = bundle.create_group("calibration")
        calibration.attrs.update({"emd_group_type": "metadata", "python_class": "Calibration"})
        calibration["R_pixel_size"], calibration["Q_pixel_size"] = 10 * STEP[0], frequency(counts) / 10


def _steps(counts: np.ndarray, unit: float) -> tuple[float, ...]:
    """Of all axes, in nm divided by the unit and its inverse."""
    return (STEP[0] * unit, STEP[1] * unit, *[frequency(counts) / unit] * 2)


def _signal(counts: np.ndarray, steps: Sequence[float], units: Sequence[str]) -> dict[str, Any]:
    axes = [
        {"_type": "UniformDataAxis", "name": name, "size": size, "scale": step, "offset": 0.0, "units": unit,
         "navigate": index < 2, "index_in_array": index}
        for index, (name, size, step, unit) in enumerate(
            zip(("y", "x", "ky", "kx"), counts.shape, steps, units, strict=True))
    ]  # fmt: skip
    return {
        "data": counts,
        "axes": axes,
        "metadata": {
            "General": {"title": "scan"},
            "Signal": {"signal_type": "electron_diffraction"},
            "Acquisition_instrument": {"TEM": {"beam_energy": 80.0}},  # keV
        },
        "original_metadata": {},
        "attributes": {"_lazy": False},
        "tmp_parameters": {},
        "learning_results": {},
        "models": {},
        "package_info": {"package": "hyperspy", "package_version": "2.3"},
    }


def hyperspy(path: str, counts: np.ndarray) -> None:
    """Angles of scattering, which only the energy in the file makes a length."""
    steps = (*STEP, *[1e3 * frequency(counts) * WAVELENGTH] * 2)
    write_hspy(path, _signal(counts, steps, ("nm", "nm", "mrad", "mrad")), show_progressbar=False)


def ncem(path: str, counts: np.ndarray) -> None:
    """EMD 0.2 as Berkeley's ncempy writes it: dim1 is the first axis of the array."""
    names, units = ("Ry", "Rx", "Qy", "Qx"), ("n_m", "n_m", "n_m^-1", "n_m^-1")
    with h5py.File(path, "w") as file:
        file.attrs.update({"version_major": 0, "version_minor": 2})
        group = file.create_group("data/scan")
        group.attrs["emd_group_type"] = 1
        group["data"] = counts
        for number, (name, unit, step) in enumerate(zip(names, units, _steps(counts, 1.0), strict=True)):
            group[f"dim{number + 1}"] = np.arange(counts.shape[number]) * step
            group[f"dim{number + 1}"].attrs.update({"name": name, "units": unit})


def berkeley(path: str, counts: np.ndarray) -> None:
    """EMD 0.2 as HyperSpy writes it: all axes are reversed."""
    write_emd(path, _signal(counts, _steps(counts, 1.0), ("nm", "nm", "1/nm", "1/nm")))


def digital_micrograph_scan(path: str, counts: np.ndarray) -> None:
    """The scan outside: qx, the last axis of the array, runs fastest."""
    steps = [(step, unit) for step, unit in zip(_steps(counts, 1.0), ("nm", "nm", "1/nm", "1/nm"), strict=True)]
    Path(path).write_bytes(digital_micrograph.data(counts, steps[::-1], 80e3))


def digital_micrograph_patterns(path: str, counts: np.ndarray) -> None:
    """The patterns outside: the column of the scan runs fastest."""
    steps = [(step, unit) for step, unit in zip(_steps(counts, 1.0), ("nm", "nm", "1/nm", "1/nm"), strict=True)]
    turned = [*steps[2:], *steps[:2]]
    Path(path).write_bytes(digital_micrograph.data(counts.transpose(2, 3, 0, 1), turned[::-1], 80e3))


WRITERS: dict[str, Write] = {
    "py4dstem.h5": py4dstem,
    "py4dstem.emd": py4dstem,
    "scan.hspy": hyperspy,
    "ncem.emd": ncem,
    "berkeley.emd": berkeley,
    "scan.dm4": digital_micrograph_scan,
    "patterns.dm4": digital_micrograph_patterns,
}
SAYING_VOLTAGE = ("scan.hspy", "scan.dm4", "patterns.dm4")
