"""Images and masks are imported as targets of measured sinograms: size, direction, pairs for training, and mistakes."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import scipy.io
import tifffile
import zarr

from inference.tasks.tomo import fbp
from physics.tomography.geometry import field_of_view
from schemas.exchange import projections
from schemas.exchange.targets import find_doubts
from schemas.target_kinds import confusion_matrix, matthews_correlation
from schemas.task import SPLITS, find_task
from tests.conftest import DATA, Command
from tests.physics.sinograms import OBJECTS, sinogram
from tests.projection_files import ANGLES, WIDTH, fan_struct, imported, mistake

MIDDLE = (WIDTH - 1) / 2
GIVEN = ("angles=0:176", "log=taken", f"center={MIDDLE}")


def picture(size: int, turn: float = 0.0) -> np.ndarray:
    """Return the image [1/pixel] of the objects in the tests' sinograms, turned from x towards y [degree]."""
    fine = 512
    y, x = (np.mgrid[:fine, :fine] - (fine - 1) / 2) / fine
    c, s = np.cos(np.deg2rad(turn)), np.sin(np.deg2rad(turn))
    image = np.zeros((fine, fine))
    for ox, oy, radius, coefficient in OBJECTS:
        image += coefficient * (np.hypot(x - (c * ox - s * oy), y - (s * ox + c * oy)) <= radius)
    step = fine // size
    return (image.reshape(size, step, size, step).mean(axis=(1, 3)) / size).astype(np.float32)


def cover(size: int, turn: float = 0.0) -> np.ndarray:
    """Return 1 where at least half of a pixel is in an object."""
    fine = 512
    inside = picture(fine, turn) > 0
    step = fine // size
    return (inside.reshape(size, step, size, step).mean(axis=(1, 3)) >= 0.5).astype(np.uint8)


def agreement(made: np.ndarray, true: np.ndarray) -> float:
    """Return Matthews' correlation coefficient of two masks."""
    return float(matthews_correlation(confusion_matrix(find_task("tomo")["mask"], made, true)))


@pytest.fixture
def scan() -> str:
    """Write a sinogram whose axis is in the middle, and return its file."""
    tifffile.imwrite("p.tif", sinogram(ANGLES, WIDTH, MIDDLE).astype(np.float32))
    return "p.tif"


def pair(dataset: Command, scan: str, *more: str, **targets: np.ndarray) -> tuple[dict[str, np.ndarray], str]:
    """Import a sinogram with targets."""
    files = [f"{name}={name}.npy" for name in targets]
    for name, values in targets.items():
        np.save(f"{name}.npy", values)
    out = f"{len(list(Path().glob('*.zarr')))}.zarr"
    return imported(dataset, "--from", scan, *files, "--set", *GIVEN, *more, out=out)


@pytest.mark.parametrize("size", [64, 128, 256])
def test_targets_of_finer_pixels_are_means_over_areas(size: int, scan: str, dataset: Command) -> None:
    arrays, said = pair(dataset, scan, "image_size=64", image=picture(size), mask=cover(size) * np.uint8(255))
    assert arrays["image"][0] == pytest.approx(picture(64), rel=1e-5, abs=1e-8)
    shares = cover(size).reshape(64, size // 64, 64, size // 64).mean(axis=(1, 3))
    assert np.array_equal(arrays["mask"][0], shares >= 0.5)
    assert (f"image of {size} x {size} pixels is stored with 64 x 64" in said) == (size != 64)
    assert "warning" not in said


def test_other_sizes_are_interpolated(scan: str, dataset: Command) -> None:
    image = picture(256)
    arrays, said = pair(dataset, scan, "image_size=96", "pixel=0.6666667", image=image, mask=cover(64))
    assert arrays["image"].shape == arrays["mask"].shape == (1, 96, 96)
    assert arrays["image"].sum() / 96 == pytest.approx(image.sum() / 256, rel=0.02)
    assert agreement(arrays["mask"][0][::3, ::3], cover(32)) > 0.9
    assert "warning" not in said


def test_without_a_size_the_image_has_that_of_its_target(scan: str, dataset: Command) -> None:
    arrays, _ = pair(dataset, scan, "pixel=2", mask=cover(64)[2:-2, 2:-2])
    assert arrays["mask"].shape == (1, 30, 30)
    assert arrays["field_of_view"].shape == (30, 30)


@pytest.mark.parametrize("turn", [90.0, 30.0, -115.0])
def test_targets_turn_with_the_angles(turn: float, scan: str, dataset: Command) -> None:
    arrays, said = pair(dataset, scan, f"turn={turn}", image=picture(64), mask=cover(64))
    assert agreement(arrays["mask"][0], cover(64, turn)) > 0.94
    difference = arrays["image"][0] - picture(64, turn)
    assert np.linalg.norm(difference) < 0.15 * np.linalg.norm(picture(64))
    assert "warning" not in said


def test_masks_of_a_laboratory_whose_y_points_up(dataset: Command) -> None:
    fan_struct("a.mat", np.linspace(0, 2 * np.pi, 91))
    scipy.io.savemat("mask.mat", {"reconFullFbpSeg": cover(64)[::-1]})
    for turn in (0, 90):
        files = ("--from", "a.mat", "mask=mask.mat")
        arrays, said = imported(dataset, *files, "--set", "log=taken", f"turn={turn}", "--overwrite")
        assert np.array_equal(arrays["mask"][0], np.rot90(cover(64), -turn // 90))
        assert "upside down, since y points up in the file" in said
        assert "warning: mask" not in said
        _, said = imported(dataset, *files, "--set", "log=taken", f"turn={turn}", "flip=no", "--overwrite")
        assert "warning: mask: agrees better with its sinogram upside down" in said
        assert "give --set flip=yes" in said


def test_targets_that_belong_to_another_sinogram_are_doubtful(scan: str, dataset: Command) -> None:
    _, said = pair(dataset, scan, image=3 * picture(64))
    assert "warning: image: must be multiplied by 0.33" in said
    _, said = pair(dataset, scan, image=np.roll(picture(64)[:, ::-1], 9, axis=1))
    assert "warning: image: does not agree with its sinogram (correlation 0." in said
    _, said = pair(dataset, scan, image=picture(64)[::-1])
    assert "warning: image: agrees better with its sinogram upside down" in said


def test_doubts_about_targets_know_the_geometry_that_is_given(dataset: Command, monkeypatch: Any) -> None:
    """The warning alone would not tell: a fan as narrow as this one nearly agrees with a parallel beam."""
    known: list[dict[str, tuple[float, ...]]] = []

    def keep(*args: Any) -> Iterator[str]:
        known.append(args[2])
        return find_doubts(*args)

    monkeypatch.setattr(projections, "find_doubts", keep)
    angles = np.linspace(0, 2 * np.pi, 91)[:-1]
    fan = sinogram(angles, WIDTH, MIDDLE + 4, source_distance=80.0)
    tifffile.imwrite("p.tif", fan.astype(np.float32))
    np.save("image.npy", picture(64))
    files = ("--from", "p.tif", "image=image.npy", "--set", "image_size=32", "angles=0:356", "log=taken", "flip=no")
    for offset in (4, -4):
        geometry = {"axis_offset": offset, "pitch": 0.5, "source_distance": 40}
        given = (f"{name}={value}" for name, value in geometry.items())
        _, said = imported(dataset, *files, *given, out=f"m{offset}.zarr")
        assert {name: known[-1][name] for name in geometry} == {name: (value,) for name, value in geometry.items()}
        assert ("warning: image" in said) == (offset < 0)


def library(path: str, images: np.ndarray, **more: Any) -> None:
    """Write pairs as superres-tomo does."""
    half = np.linspace(0, np.pi, WIDTH)
    with h5py.File(path, "w") as file:
        file["Sinograms"] = np.stack([k * sinogram(half, WIDTH, MIDDLE) for k in range(1, len(images) + 1)], axis=-1)
        file["Images"], file["NImages"], file["ImageSize"] = np.moveaxis(images, 0, -1), len(images), WIDTH
        for name, values in more.items():
            file[name] = values


IMAGES = picture(WIDTH) * np.arange(1, 7)[:, None, None]


def test_library_of_pairs(dataset: Command) -> None:
    """Its angles are those of `astra-toolbox`, whose axis y points up; the axis of rotation is in the middle."""
    library("library.h5", IMAGES[:, ::-1])
    arrays, said = imported(dataset, "--from", "library.h5")
    half = np.linspace(0, np.pi, WIDTH)
    assert arrays["sinogram"][1] == pytest.approx(2 * sinogram(half, WIDTH, MIDDLE), abs=1e-5)
    assert arrays["angle"][1] == pytest.approx(half, abs=1e-6)
    assert np.array_equal(arrays["image"], IMAGES.astype(np.float32))
    assert not arrays["axis_offset"].any()
    assert "warning: image" not in said
    assert "states no angles; taken as 64 views from 0 to 180 degrees with both ends" in said


def test_views_of_a_library_that_are_0_were_not_measured(dataset: Command) -> None:
    half = np.linspace(0, np.pi, WIDTH)
    library("library.h5", IMAGES, Angles=half)
    with h5py.File("library.h5", "a") as file:
        file["Angles"].attrs["units"] = "rad"
        file["Sinograms"][10:40, :, 2] = 0
    arrays, said = imported(dataset, "--from", "library.h5", "--set", "range=0:90")
    assert np.array_equal(arrays["image"], IMAGES.astype(np.float32))
    assert arrays["measured"][:, 10:].all(axis=1).tolist() == [True, True, False, True, True, True]
    assert not arrays["measured"][2, 10:].any()
    assert arrays["measured"][:, :10].all()
    assert "warning: image" not in said


def test_pairs_are_parted_for_training(dataset: Command) -> None:
    library("library.h5", IMAGES[:, ::-1])
    files = ("--task", "tomo", "--from", "library.h5")
    code, said, _ = dataset("import", *files, "--validation", 2, "--test", 1, "--out", "m.zarr")
    assert code == 0
    assert "6 samples of tomo (train 3, validation 2, test 1, y 64" in said
    images = [zarr.open_array("m.zarr", path=f"{split}/image", mode="r")[...] for split in SPLITS]
    assert np.array_equal(np.concatenate(images), IMAGES.astype(np.float32))
    for check in ("validate", "verify"):
        assert dataset(check, "m.zarr")[0] == 0
    assert "already imported" in dataset("import", *files, "--validation", 2, "--test", 1, "--out", "m.zarr")[1]
    said = mistake(dataset, *files[2:], "--validation", 5, "--test", 2)
    assert "--validation 5 --test 2: there are only 6 samples; give smaller numbers" in said


def test_samples_without_targets_are_not_parted(scan: str, dataset: Command) -> None:
    said = mistake(dataset, "--from", scan, "--set", *GIVEN, "--validation", 1)
    assert "--validation 1: only samples with targets can be parted; give them in --from" in said


WRONG: dict[str, tuple[dict[str, np.ndarray], str]] = {
    "size": ({"mask": np.ones((3, 64, 60))}, "--from mask=...: 3 targets for 1 sinograms; give one for each"),
    "floats": ({"mask": picture(64)}, "mask.npy: mask holds 0, "),
    "labels": ({"mask": np.arange(64 * 64).reshape(64, 64) % 3}, "mask holds 0, 1, 2; it must be 0, and one other"),
    "oblong": ({"mask": cover(64)[:50]}, "mask.npy: mask has 50 x 64 pixels; it must be square, like the image"),
    "number": ({"mask": np.stack([cover(64)] * 3)}, "--from mask=...: 3 targets for 1 sinograms; give one for each"),
    "complex": ({"image": picture(64) * 1j}, "image.npy: complex64 of shape (64, 64); give grey images (y, x)"),
    "infinite": ({"image": np.full((64, 64), np.inf)}, "image.npy: some values of image are not finite numbers"),
}


@pytest.mark.parametrize("name", WRONG)
def test_mistakes_in_targets_are_refused_in_one_line(name: str, scan: str, dataset: Command) -> None:
    targets, text = WRONG[name]
    for one, values in targets.items():
        np.save(f"{one}.npy", values)
    assert text in mistake(dataset, "--from", scan, *(f"{one}={one}.npy" for one in targets), "--set", *GIVEN)


def test_a_mask_of_whole_floats_is_a_mask(scan: str, dataset: Command) -> None:
    arrays, _ = pair(dataset, scan, mask=cover(64).astype(np.float64))
    assert np.array_equal(arrays["mask"][0], cover(64))
    arrays, said = pair(dataset, scan, mask=np.zeros((64, 64), bool))
    assert not arrays["mask"].any()
    assert "1 of the 1 images of mask are constant" in said


def test_targets_are_0_outside_of_the_field_of_view(scan: str, dataset: Command) -> None:
    full = np.ones((64, 64), np.float32)
    arrays, _ = pair(dataset, scan, image=full)
    assert np.array_equal(arrays["field_of_view"], field_of_view(64))
    assert np.array_equal(arrays["image"][0], field_of_view(64))
    np.save("square.npy", full)
    arrays, _ = imported(dataset, "--from", scan, "image=square.npy", "--set", *GIVEN, "field_of_view=square")
    assert arrays["field_of_view"].all()
    assert arrays["image"].all()


def test_frames_beside_exported_sinograms_are_refused(scan: str, dataset: Command) -> None:
    pair(dataset, scan, image=picture(64))
    dataset("export", "0.zarr", "--format", "npy", "--out", "out")
    files = ("out/test_0000_sinogram.npy", "image=out/test_0000_image.npy")
    arrays, _ = imported(dataset, "--from", *files)
    assert np.array_equal(arrays["image"][0], picture(64))
    assert "--from flat=...: the files hold exported inputs" in mistake(dataset, "--from", *files, f"flat={scan}")


@pytest.mark.skipif(not (DATA / "htc2022").exists(), reason="measured discs lie in ../shared/data: absent")
@pytest.mark.parametrize(("pixel", "least"), [(1, 0.9995), (2, 0.99)])
def test_the_official_mask_of_a_measured_disc(pixel: int, least: float, dataset: Command) -> None:
    """Helsinki Tomography Challenge 2022, disc 01a. Otsu's threshold of the whole square made it."""
    files = [str(DATA / f"htc2022/test_a/htc2022_01a_{kind}.mat") for kind in ("full", "recon_fbp_seg")]
    size = (f"pixel={pixel}", f"image_size={512 // pixel}", "field_of_view=square")
    arrays, said = imported(
        dataset, "--from", files[0], f"mask={files[1]}", "--set", *size, "center=279.5", "log=taken"
    )
    made = fbp(arrays, window="ramlak", cutoff=1.0, positive="no")["mask"]
    assert agreement(made, arrays["mask"]) > least
    assert "warning: mask" not in said
