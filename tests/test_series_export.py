"""Series of images go out: MAT with any name and order of axes, stacks of MRC, and animations."""

import json
import warnings
from pathlib import Path

import mrcfile
import numpy as np
import pytest
import scipy.io
import zarr
from PIL import Image, ImageSequence

from schemas.formats import mrc, pictures
from schemas.formats.export_metadata import ExportMetadata
from tests.conftest import Command, refused

TILTS, ROWS, COLUMNS = 4, 9, 14
SERIES = np.random.default_rng(2).uniform(1, 9, (2, TILTS, ROWS, COLUMNS)).astype(np.float32)
SET = ("--set", "angles=-30:30", "sampling=0.0347,0.05")
EXPORT = ("export", "m.zarr", "--fields", "noisy", "--out", "out", "--format")


@pytest.fixture(autouse=True)
def _measured(dataset: Command) -> None:
    for name, values in zip("ab", SERIES, strict=True):
        np.save(f"{name}.npy", values)
    assert dataset("import", "--task", "aet", "a.npy", "b.npy", *SET, "--out", "m.zarr")[0] == 0


def opened(path: str) -> tuple[np.ndarray, tuple[float, float]]:
    """Return the sections of an MRC file, and its voxel size (y, x) [angstrom], after checks by mrcfile."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # mrcfile sets dtypes of arrays
        assert mrcfile.validate(path)
        with mrcfile.open(path) as file:
            assert file.data.ndim == 2 or file.is_image_stack()
            return np.array(file.data), (float(file.voxel_size.y), float(file.voxel_size.x))


def brought_back(dataset: Command, *files: str) -> np.ndarray:
    assert dataset("import", "--task", "aet", *files, "--out", "back.zarr")[0] == 0
    return np.asarray(zarr.open_array("back.zarr/test/noisy", mode="r")[...])


def test_mat_has_the_name_and_the_axes_that_are_asked_for(dataset: Command) -> None:
    assert dataset(*EXPORT, "mat", "--key", "img_new", "--axes", "y,x,tilt")[0] == 0
    found = scipy.io.loadmat("out/test_0001_noisy.mat")
    assert np.array_equal(found["img_new"], np.moveaxis(SERIES[1], 0, -1))
    assert found["sampling"].item() == np.float32(0.05)
    assert np.array_equal(brought_back(dataset, "out/test_0000_noisy.mat", "out/test_0001_noisy.mat"), SERIES)
    again = dataset(*EXPORT, "mat", "--key", "img_old", "--axes", "y,x,tilt")
    refused(again, "--out out: already holds another export")


def test_npy_has_the_axes_that_are_asked_for(dataset: Command) -> None:
    assert dataset(*EXPORT, "npy", "--axes", "x,tilt,y")[0] == 0
    assert np.array_equal(np.load("out/test_0000_noisy.npy"), SERIES[0].transpose(2, 0, 1))
    assert json.loads(Path("out/test_0000_noisy.json").read_text())["axes"] == ["x", "tilt", "y"]
    assert np.array_equal(brought_back(dataset, "out/test_0000_noisy.npy", "out/test_0001_noisy.npy"), SERIES)


def test_mrc_is_a_stack_of_images(dataset: Command) -> None:
    assert dataset(*EXPORT, "mrc")[0] == 0
    found, voxel = opened("out/test_0001_noisy.mrc")
    assert np.array_equal(found, SERIES[1])
    assert voxel == pytest.approx((0.5, 0.5))
    assert np.array_equal(brought_back(dataset, "out/test_0000_noisy.mrc", "out/test_0001_noisy.mrc"), SERIES)
    code, said, _ = dataset("import", "--task", "aet", "out/test_0001_noisy.mrc", "--out", "c.zarr")
    assert code == 0
    assert "sampling 0.05 nm" in said


@pytest.mark.parametrize("values", [np.arange(6, dtype=np.uint8).reshape(2, 3), np.ones(4, np.float32), np.eye(3) > 0])
def test_mrc_holds_images_of_other_kinds(values: np.ndarray) -> None:
    card = ExportMetadata(task="tie", split="test", sample=0, field="mask", units="1", axes=["y", "x"])
    Path("a.mrc").write_bytes(mrc.write(values, card, {"sampling_y": (2.0,), "sampling_x": (3.0,)}))
    found, voxel = opened("a.mrc")
    assert np.array_equal(found.reshape(values.shape), values)
    assert voxel == pytest.approx((20, 30))


def test_gif_shows_one_image_after_another(dataset: Command) -> None:
    """With one scale for all samples, as PNG."""
    assert dataset(*EXPORT, "gif")[1].startswith("out: 2 files")
    scale = json.loads(Path("out/export.json").read_text())["fields"]["noisy"]
    limits = scale["black"], scale["white"]
    assert limits == (float(SERIES.min()), float(SERIES.max()))
    with Image.open("out/test_0001_noisy.gif") as animation:
        frames = len(list(ImageSequence.Iterator(animation)))
        assert (frames, animation.info["loop"], animation.info["duration"]) == (TILTS, 0, 100)
        for number, values in enumerate(SERIES[1]):
            animation.seek(number)
            assert np.array_equal(np.asarray(animation.convert("L")), pictures.grey(values, *limits))


def test_gif_of_labels_has_their_colours() -> None:
    labels = np.array([[[0, 1], [2, 1]], [[1, 1], [0, 0]]], np.uint8)
    Path("a.gif").write_bytes(pictures.gif(labels, None))
    with Image.open("a.gif") as animation:
        for number, values in enumerate(labels):
            animation.seek(number)
            colours = np.array(pictures.PALETTE).reshape(-1, 3)[values]
            assert np.array_equal(np.asarray(animation.convert("RGB")), colours)


@pytest.mark.parametrize(
    ("options", "rule"),
    [
        (("tiff", "--axes", "y,x,tilt"), "--axes y,x,tilt: --format tiff has its own order of axes; choose npy or mat"),
        (("mat", "--axes", "y,x"), "--axes y,x: noisy has tilt,y,x; name these, in any order"),
        (("npy", "--key", "img_new"), "--key img_new: --format npy names no arrays; choose mat"),
        (("mat", "--key", "img new"), "--key img new: must be a name for a variable of MATLAB"),
        (("mat", "--key", "sampling"), "--key sampling: must be a name for a variable of MATLAB that is not in use"),
    ],
)
def test_mistakes(options: tuple[str, ...], rule: str, dataset: Command) -> None:
    refused(dataset(*EXPORT, *options), rule)
    assert not Path("out").exists()
