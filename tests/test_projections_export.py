"""Sinograms go out to the formats of tomography, come back, and are opened by readers of others."""

from pathlib import Path

import h5py
import numpy as np
import pytest
import zarr

from tests.conftest import Command, refused
from tests.physics.sinograms import angle_sets, sinogram

WIDTH, VIEWS = 40, 31


@pytest.fixture
def store(dataset: Command) -> Path:
    """Return a dataset of two sinograms with golden views, one of them not measured."""
    angles = angle_sets(VIEWS)["golden"]
    values = np.stack([share * WIDTH * sinogram(angles, WIDTH, 18.3) for share in (0.02, 0.03)], axis=1)
    values[5] *= 0.01
    np.save("p.npy", values.astype(np.float32))
    np.save("a.npy", np.rad2deg(angles))
    assert (
        dataset(
            "import", "--task", "tomo", "--from", "p.npy", "rotation=a.npy", "--set", "log=taken", "--out", "a.zarr"
        )[0]
        == 0
    )
    return Path("a.zarr")


def arrays(store: Path | str) -> dict[str, np.ndarray]:
    group = zarr.open_group(store, path="test", mode="r")
    return {name: np.asarray(group[name][...]) for name in group.array_keys() if name != "leaf_digest"}  # type: ignore[index]


@pytest.mark.parametrize(
    ("kind", "suffix"), [("nxtomo", "nxs"), ("dxfile", "h5"), ("npy", "npy"), ("tiff", "tif"), ("mat", "mat")]
)
def test_an_export_comes_back_with_all_its_parameters(kind: str, suffix: str, store: Path, dataset: Command) -> None:
    assert dataset("export", store, "--format", kind, "--out", "out", "--fields", "sinogram")[0] == 0
    groups = [part for i in range(2) for part in ("--from", f"out/test_000{i}_sinogram.{suffix}")]
    code, _, err = dataset("import", "--task", "tomo", *groups, "--out", "b.zarr")
    assert (code, err) == (0, "")
    before, after = arrays(store), arrays("b.zarr")
    assert before.keys() == after.keys()
    for name, values in before.items():
        assert np.array_equal(values, after[name]), name
    assert (
        "--set rings=columns: the files hold exported inputs"
        in dataset("import", "--task", "tomo", *groups, "--set", "rings=columns")[2]
    )


def test_an_export_again_changes_nothing(store: Path, dataset: Command) -> None:
    before = []
    for _ in range(2):
        assert dataset("export", store, "--format", "nxtomo", "--out", "out")[0] == 0
        before.append({path.name: path.read_bytes() for path in Path("out").iterdir()})
    assert before[0] == before[1]


@pytest.mark.parametrize("kind", ["nxtomo", "dxfile"])
def test_other_programs_find_the_line_integrals(kind: str, store: Path, dataset: Command) -> None:
    """-ln((data - dark) / (flat - dark)), with the frames as their definitions name them."""
    assert dataset("export", store, "--format", kind, "--out", "out")[0] == 0
    known = arrays(store)
    with h5py.File(next(Path("out").glob("test_0001*"))) as file:
        if kind == "dxfile":
            data, flat, dark = (file[f"exchange/{name}"][...] for name in ("data", "data_white", "data_dark"))
            angles = file["exchange/theta"][...]
        else:
            frames, keys = (file[f"entry/data/{name}"][...] for name in ("data", "image_key"))
            assert np.flatnonzero(keys[2:] == 3).tolist() == [5]
            data, flat, dark = frames[2:], frames[keys == 1], frames[keys == 2]
            angles = file["entry/sample/rotation_angle"][2:]
            offset = file["entry/instrument/detector/x_rotation_axis_pixel_position"][()]
            assert offset == pytest.approx(18.3 - 19.5, abs=0.05)
    assert -np.log((data - dark) / (flat - dark))[:, 0] == pytest.approx(known["sinogram"][1], abs=1e-7)
    assert np.deg2rad(angles) == pytest.approx(known["angle"][1], abs=1e-6)


def test_a_library_of_pairs_comes_back(store: Path, dataset: Command) -> None:
    assert dataset("export", store, "--format", "library", "--out", "out")[0] == 0
    with h5py.File("out/test_library.h5") as file:
        assert file["Sinograms"].shape == (VIEWS, WIDTH, 2)
        assert (file["NImages"][()], file["ImageSize"][()]) == (2, WIDTH)
    code, said, _ = dataset("import", "--task", "tomo", "--from", "out/test_library.h5", "--out", "b.zarr")
    assert code == 0
    before, after = arrays(store), arrays("b.zarr")
    assert np.array_equal(before["sinogram"], after["sinogram"])
    assert np.array_equal(before["angle"], after["angle"])
    assert "states no angles" not in said


def test_formats_of_projections_are_for_projections(store: Path, learnable: Path, dataset: Command) -> None:
    refused(dataset("export", store, "--format", "nxtomo", "--fields", "leaf"), "no such field")
    said = "is for projections, which this task does not have; choose npy or tiff"
    refused(dataset("export", learnable, "--split", "train", "--format", "dxfile"), said)
