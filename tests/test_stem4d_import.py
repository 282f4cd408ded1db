"""Measured 4D-STEM data: stacks of patterns with positions and a probe, inverted as simulated ones are."""

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from .conftest import Command, digest, refused
from .test_stem4d import saved

KNOBS = ("scan.rows=6", "scan.columns=5", "scan.step=0.04")
COMMAND = ("--task", "stem4d", "--from", "counts.npy", "--counts", "--set", "voltage=80e3", "sampling=0.0285")
BESIDE = ("--with", "position=position.npy", "probe=probe.npy")


@pytest.fixture
def files(generate: Command) -> xr.Dataset:
    """A simulated scan, and the same as files: counts by row and column of the raster, a probe in units of its own."""
    command = ("--task", "stem4d", "--recipe", "hbn_scan", "--n", 0, "--validation", 0, "--test", 30)
    assert generate(*command, "--scheduler", "synchronous", "--set", *KNOBS)[0] == 0
    data: xr.Dataset = xr.open_zarr("stem4d.zarr/test").load()
    saved("counts.npy", np.rint(data.amplitude.values**2).astype(np.uint16).reshape(6, 5, 32, 32))
    saved("position.npy", data.position.values.astype(float))
    saved("probe.npy", 17 * data.probe.values.astype(complex))
    return data


def test_a_measurement_is_inverted_as_its_simulation(files: xr.Dataset, dataset: Command, infer: Command) -> None:
    assert dataset("import", *COMMAND, *BESIDE)[0] == 0
    assert dataset("validate", "measured.zarr")[0] == 0
    found = xr.open_zarr("measured.zarr/test").load()
    for name in ("amplitude", "position", "probe", "mask", "scan", "voltage", "sampling"):
        assert np.allclose(found[name].values, files[name].values, rtol=1e-5), name
    assert "phase" not in found
    for data in ("stem4d", "measured"):
        command = ("--method", "epie", "--set", "sweeps=3", "--data", f"{data}.zarr", "--out", f"epie-{data}.zarr")
        code, out, _ = infer(*command, "--stitch", f"image-{data}.zarr")
        assert code == 0
        assert "scan 0: 30 patches" in out
        assert ("rms" in out) == (data == "stem4d")  # nobody knows a measured object
    a, b = (xr.open_zarr(f"epie-{data}.zarr").phase.values for data in ("stem4d", "measured"))
    # Beyond the aperture, the phases of the first model are rounding: counts there drive the two apart.
    assert abs(a - b).max() < 0.05 * np.ptp(a)


def test_amplitudes_without_positions_are_single_patterns(files: xr.Dataset, dataset: Command, infer: Command) -> None:
    saved("amplitudes.npy", files.amplitude.values)
    rest = ("--set", "voltage=80e3", "sampling=0.0285")
    assert dataset("import", "--task", "stem4d", "--from", "amplitudes.npy", *rest)[0] == 0
    found = xr.open_zarr("measured.zarr/test").load()
    assert np.array_equal(found.amplitude, files.amplitude)
    assert (found["mask"] == 1).all()
    refused(infer("--method", "epie", "--data", "measured.zarr"), "position")
    before = digest("measured.zarr")
    mask = saved("mask.npy", files["mask"].values)
    assert dataset("import", "--task", "stem4d", "--from", "amplitudes.npy", *rest, "--with", f"mask={mask}",
                   "--overwrite")[0] == 0  # fmt: skip
    assert np.array_equal(xr.open_zarr("measured.zarr/test")["mask"], files["mask"])
    assert digest("measured.zarr") != before


@pytest.mark.parametrize(
    ("change", "beside", "parts"),
    [
        ({"counts": -np.ones((4, 32, 32))}, (), ["counts below 0, as far as -1", "set them to 0"]),
        ({"counts": np.ones((4, 30, 30))}, (), ["(30, 30)", "multiple of 4"]),
        ({"counts": np.ones((4, 32, 28))}, (), ["(32, 28)", "square"]),
        ({"probe": np.ones((16, 16), complex)}, BESIDE, ["probe.npy", "(16, 16)", "py 32, px 32"]),
        ({"probe": np.zeros((32, 32), complex)}, BESIDE, ["probe", "is dark"]),
        ({"probe": np.eye(32, k=20) + 0j}, BESIDE, ["dark in the middle"]),
        ({"position": np.ones((29, 2))}, BESIDE, ["position.npy", "(29, 2)", "sample 30"]),
        ({"position": np.ones((30, 3))}, BESIDE, ["position", "y and x in nm"]),
        ({"position": np.full((30, 2), np.nan)}, BESIDE, ["position", "finite"]),
        ({}, ("--with", "positions=position.npy"), ["positions", "did you mean position"]),
        ({}, ("--with", "position"), ["name=file"]),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(
    files: xr.Dataset, dataset: Command, change: dict[str, np.ndarray], beside: tuple[str, ...], parts: list[str]
) -> None:
    for name, values in change.items():
        saved(f"{name}.npy", values)
    refused(dataset("import", *COMMAND, *beside), *parts)
    assert not Path("measured.zarr").exists()


def test_counts_are_for_tasks_of_amplitudes(dataset: Command) -> None:
    saved("a.npy", np.ones((3, 8, 8)))
    refused(dataset("import", "--task", "tie", "--from", "a.npy", "--counts"), "--counts", "tie")
