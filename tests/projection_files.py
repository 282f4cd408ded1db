"""Files of projections as other programs write them, and their import."""

from collections.abc import Callable
from typing import Any

import h5py
import numpy as np
import scipy.io
import tifffile
import zarr

from tests.conftest import Command
from tests.physics.sinograms import angle_sets, sinogram

VIEWS, ROWS, WIDTH, CENTRE = 45, 3, 64, 30.2
ANGLES = angle_sets(VIEWS)["half"]
DEGREES = np.rad2deg(ANGLES)
P = np.stack([0.4 * share * WIDTH * sinogram(ANGLES, WIDTH, CENTRE) for share in (0.02, 0.03, 0.04)], axis=1)
RNG = np.random.default_rng(0)
BEAM, DARK = RNG.uniform(9e3, 11e3, (ROWS, WIDTH)), RNG.uniform(90, 110, (ROWS, WIDTH))
COUNTS = DARK + BEAM * np.exp(-P)
FLATS, DARKS = np.stack([DARK + BEAM - 9, DARK + BEAM + 9]), np.stack([DARK - 3, DARK, DARK + 3])


def dxfile(path: str, *, angles: np.ndarray = DEGREES, units: str = "degrees", **changed: np.ndarray) -> None:
    arrays = {"data": COUNTS, "data_white": FLATS, "data_dark": DARKS, "theta": angles} | changed
    with h5py.File(path, "w") as file:
        for name, values in arrays.items():
            file[f"exchange/{name}"] = values
        file["exchange/data"].attrs["axes"] = "theta:y:x"
        file["exchange/theta"].attrs["units"] = units


def nxtomo(path: str) -> None:
    """The keys of the frames tell flats (1) and darks (2), before, between and after the projections."""
    frames = np.concatenate([DARKS[:1], FLATS[:1], COUNTS[:20], COUNTS[:1] * 0, COUNTS[20:], FLATS[1:], DARKS[1:]])
    keys = np.array([2, 1, *[0] * 20, 3, *[0] * (VIEWS - 20), 1, 2, 2])
    angles = np.zeros(len(keys))
    angles[keys == 0] = np.rad2deg(ANGLES)
    with h5py.File(path, "w") as file:
        entry = file.create_group("entry")
        entry.attrs["NX_class"] = "NXentry"
        entry["definition"] = "NXtomo"
        entry["instrument/detector/data"], entry["instrument/detector/image_key"] = frames, keys
        entry["sample/rotation_angle"] = angles
        entry["sample/rotation_angle"].attrs["units"] = "degree"
        entry["data/data"], entry["data/image_key"] = (
            h5py.SoftLink(f"/entry/instrument/detector/{n}") for n in ("data", "image_key")
        )
        entry["data"].attrs["signal"] = "data"


def nexus_scan(path: str) -> None:
    """Line integrals in NXdata, whose first axis is the rotation."""
    with h5py.File(path, "w") as file:
        group = file.create_group("entry/data")
        group.attrs.update({"NX_class": "NXdata", "signal": "data", "axes": ["theta", "y", "x"]})
        group["data"], group["theta"] = P, np.rad2deg(ANGLES)
        group["theta"].attrs["units"] = "degrees"


def tiff_stack(path: str) -> None:
    tifffile.imwrite(path, P.astype(np.float32))


FILES: dict[str, tuple[Callable[[str], None], tuple[str, ...]]] = {
    "a.h5": (dxfile, ()),
    "a.nxs": (nxtomo, ()),
    "scan.nxs": (nexus_scan, ()),
    "a.tif": (tiff_stack, ("--set", "angles=0:176")),
}


def imported(dataset: Command, *args: Any, out: str = "m.zarr") -> tuple[dict[str, np.ndarray], str]:
    code, said, err = dataset("import", "--task", "tomo", "--out", out, *args)
    assert (code, err) == (0, "")
    group = zarr.open_group(out, path="test", mode="r")
    return {name: np.asarray(group[name][...]) for name in group.array_keys()}, said  # type: ignore[index]


def mistake(dataset: Command, *args: Any) -> str:
    """Return the one line with which an import is refused."""
    code, said, err = dataset("import", "--task", "tomo", *args)
    assert (code, said, err.count("\n")) == (2, "", 1)
    return err


def disc(path: str, degrees: np.ndarray) -> None:
    """Write a scan in the geometry of the Helsinki Tomography Challenge."""
    distance = 553.74 / 0.2
    views = 560 * 0.01 * sinogram(np.deg2rad(degrees), 560, 279.5, source_distance=distance)
    geometry = {"geometryType": "Cone", "distanceSourceOrigin": 410.66, "distanceSourceDetector": 553.74}
    geometry |= {"distanceUnit": "mm", "pixelSizePost": 0.2, "angles": degrees}
    scipy.io.savemat(path, {"CtDataLimited": {"sinogram": views.astype(np.float32), "parameters": geometry}})


def fan_struct(path: str, angles: np.ndarray, **changed: Any) -> np.ndarray:
    """Write a fan beam as a struct of the Helsinki tomography laboratory, and return its line integrals."""
    fan = sinogram(angles, WIDTH, (WIDTH - 1) / 2, source_distance=553.74 / 2.0)
    geometry = {"geometryType": "Cone", "distanceSourceOrigin": 410.66, "distanceSourceDetector": 553.74}
    geometry |= {"distanceUnit": "mm", "pixelSizePost": 2.0, "angles": np.rad2deg(angles)} | changed
    scipy.io.savemat(path, {"CtDataFull": {"type": "2d", "sinogram": fan, "parameters": geometry}})
    return fan
