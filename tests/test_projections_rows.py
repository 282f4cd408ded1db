"""Some rows of the detector: they alone are read, with their flat and dark frames, whatever the kind of file."""

from pathlib import Path

import h5py
import numpy as np
import pytest
import tifffile

from tests.conftest import Command
from tests.physics.sinograms import sinogram
from tests.projection_files import COUNTS, DARKS, FILES, FLATS, P, dxfile, imported, mistake

PART = ("--set", "rows=1:3", "center=30.2")


def library(path: str) -> None:
    with h5py.File(path, "w") as file:
        file["Sinograms"], file["Images"] = P.transpose(0, 2, 1), np.tile(np.arange(1.0, 4.0), (64, 64, 1))


def other_order(path: str) -> None:
    """A DXfile whose rows come first."""
    dxfile(path, data=COUNTS.transpose(1, 0, 2))
    with h5py.File(path, "a") as file:
        file["exchange/data"].attrs["axes"] = "y:theta:x"


MORE = FILES | {"order.h5": (other_order, ()), "library.h5": (library, ())}


@pytest.mark.parametrize("name", MORE)
def test_some_rows_are_those_of_all(name: str, dataset: Command) -> None:
    write, options = MORE[name]
    write(name)
    whole, _ = imported(dataset, "--from", name, *(options or ("--set",)), "center=30.2", out="whole.zarr")
    arrays, _ = imported(dataset, "--from", name, *(options or ("--set",)), *PART[1:])
    assert len(arrays["sinogram"]) == 2
    for field, values in whole.items():
        kept = values if field == "field_of_view" else values[1:3]
        assert np.array_equal(kept, arrays[field]), field


def test_rows_of_axes_that_are_named(dataset: Command) -> None:
    np.save("p.npy", np.transpose(P, (2, 0, 1)).astype(np.float32))
    with h5py.File("p.h5", "w") as file:
        file["p"] = np.transpose(P, (2, 0, 1))
    for name in ("p.npy", "p.h5"):
        named = ("--axes", "detector,angle,sample")
        arrays, _ = imported(dataset, "--from", name, *named, *PART, "angles=0:176", out=f"{name}.zarr")
        assert np.array_equal(arrays["sinogram"], np.moveaxis(P, 1, 0)[1:].astype(np.float32))


def test_rows_of_projections_in_files_of_their_own(dataset: Command) -> None:
    for kind, frames in (("p", COUNTS), ("f", FLATS), ("d", DARKS)):
        for number, frame in enumerate(frames):
            tifffile.imwrite(f"{kind}{number:03d}.tif", frame.astype(np.float32))
    beside = ("flat=f000.tif", "flat=f001.tif", "dark=d000.tif", "dark=d001.tif", "dark=d002.tif")
    projections = [f"p{number:03d}.tif" for number in range(len(COUNTS))]
    arrays, _ = imported(dataset, "--from", *projections, *beside, *PART, "angles=0:176")
    assert arrays["sinogram"] == pytest.approx(np.moveaxis(P, 1, 0)[1:], abs=2e-5)


def test_the_limit_is_on_what_is_read(dataset: Command) -> None:
    dxfile("a.h5")
    with h5py.File("a.h5", "a") as file:
        del file["exchange/data"]
        chunk = (1, 1, 1 << 20)
        file.create_dataset("exchange/data", (4, 1100, 1 << 20), "u1", chunks=chunk, compression="gzip")
        file["exchange/data"].attrs["axes"] = "theta:y:x"
        del file["exchange/theta"], file["exchange/data_white"], file["exchange/data_dark"]
        file["exchange/theta"] = np.arange(4.0) * 45
    said = mistake(dataset, "--from", "a.h5")
    assert "a.h5: 4.3 GiB of images; at most 4 GiB are read; read some of the rows: --set rows=START:STOP" in said
    assert "GiB" not in mistake(dataset, "--from", "a.h5", "--set", "rows=7:8")


@pytest.mark.parametrize(
    ("rows", "text"),
    [
        ("2", "rows = 2: must be START:STOP, two whole numbers that grow, such as 100:116"),
        ("2:2", "rows = 2:2: must be START:STOP"),
        ("-1:2", "rows = -1:2: must be START:STOP"),
        ("2:4", "a.h5: rows = 2:4: must lie within 0:3, its rows"),
        ("7:9", "a.h5: rows = 7:9: must lie within 0:3, its rows"),
    ],
)
def test_rows_that_are_not_there(rows: str, text: str, dataset: Command) -> None:
    dxfile("a.h5")
    assert text in mistake(dataset, "--from", "a.h5", "--set", f"rows={rows}")
    assert not Path("measured.zarr").exists()


def test_one_row_has_no_other(dataset: Command) -> None:
    np.save("p.npy", P[:, 0].astype(np.float32))
    said = mistake(dataset, "--from", "p.npy", "--set", "rows=1:2", "angles=0:176")
    assert "p.npy: rows = 1:2: must lie within 0:1, its rows" in said


def test_only_one_row_of_a_cone_beam_is_a_fan(dataset: Command) -> None:
    angles = np.linspace(0, 2 * np.pi, 91)
    fan = sinogram(angles, 64, 31.5, source_distance=120.0)
    np.save("cone.npy", np.stack([fan] * 5, axis=1).astype(np.float32))
    options = ("--from", "cone.npy", "--set", "angles=0:360", "source_distance=120", "log=taken")
    said = mistake(dataset, *options)
    assert "cone.npy: 5 rows and a source at a finite distance: a cone beam" in said
    assert "such as --set rows=2:3" in said
    assert "such as --set rows=3:4" in mistake(dataset, *options, "rows=2:5")
    arrays, _ = imported(dataset, *options, "rows=2:3")
    assert arrays["sinogram"][0] == pytest.approx(fan, abs=1e-5)
