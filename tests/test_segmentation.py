"""Images of bodies with the labels of their pixels: the generator, the classical methods, scores and imports."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import xarray as xr
from PIL import Image

from generators.contract import Arrays
from generators.random_streams import Streams
from generators.tasks import segmentation
from inference.task_modules import find_methods
from inference.tasks.segmentation import CLASSES, measure_sizes
from schemas.runtime.settings import make_settings
from schemas.store import open_split

from .conftest import Command, refused

METHODS = {name: method for name, method in find_methods("segmentation").items() if name != "mean"}
SIMPLE: dict[str, Any] = {"classes": "background,grain", "width": 0.0, "core": 0.0}
THREE: dict[str, Any] = {"classes": "background,grain,grain"}


def make(recipe: str, *settings: str, samples: int = 2) -> Arrays:
    base = segmentation.RECIPES[recipe].model_dump(mode="json")
    made = make_settings(segmentation.Recipe, base, settings)
    rngs = [Streams(0, "train", i) for i in range(samples)]
    block = [segmentation.draw(made, rng) for rng in rngs]
    return segmentation.measure(made, block, segmentation.simulate(made, block), rngs)


def test_the_share_of_labels_is_that_of_the_seed() -> None:
    """superres-tomo states the mean 0.2913 of the labels of its field of 1280 pixels."""
    labels = make("published", samples=1)["mask"][0]
    assert set(np.unique(labels)) == {0, 1}
    assert round(float(labels.mean()), 4) == 0.2913


def test_the_noise_of_the_seed_is_white_and_normal() -> None:
    small = ("image_size=320",)
    noise = make("published", *small)["image"] - make("published", *small, "noise=0")["image"]
    n = noise.size
    assert noise.mean() == pytest.approx(0, abs=5 * 0.3 / n**0.5)
    assert noise.std() == pytest.approx(0.3, rel=5 / (2 * n) ** 0.5)
    assert (noise[..., 1:] * noise[..., :-1]).mean() == pytest.approx(0, abs=5 * 0.09 / n**0.5)
    assert (noise**4).mean() / 0.3**4 == pytest.approx(3, rel=0.05)


def test_without_noise_the_seed_has_one_value_in_each_figure() -> None:
    arrays = make("published", "image_size=320", "noise=0", samples=1)
    values = np.unique(arrays["image"][arrays["mask"] == 1])
    assert len(values) == 24
    assert values.min() >= 0.2
    assert values.max() <= 1
    assert not arrays["image"][arrays["mask"] == 0].any()


def test_noise_has_the_variance_of_counted_quanta() -> None:
    """The variance of an image that is 0.5 everywhere is 0.5 / photons."""
    flat = ("composite.grains=0", "composite.pores=0", "composite.fibres=0", "composite.background=0.5")
    image = make(
        "default", *flat, "camera.photons=50", "camera.rings=0", "camera.stripes=0", "camera.detector.correlation=0"
    )
    assert not image["mask"].any()
    found = image["image"].astype(float)
    assert found.mean() == pytest.approx(0.5, abs=5 * (0.01 / found.size) ** 0.5)
    assert found.var() == pytest.approx(0.5 / 50, rel=5 * (2 / found.size) ** 0.5)


def test_labels_do_not_depend_on_the_measurement() -> None:
    first, other = make("default"), make("default", "noise=0", "blur=3", "camera.detector.correlation=0")
    np.testing.assert_array_equal(first["mask"], other["mask"])
    assert not np.array_equal(first["image"], other["image"])


def test_blur_keeps_the_mean_of_the_image() -> None:
    sharp, blurred = (make("default", "noise=0", f"blur={width}")["image"] for width in (0, 2))
    np.testing.assert_allclose(blurred.mean(axis=(1, 2)), sharp.mean(axis=(1, 2)), rtol=1e-5)
    assert blurred.std() < 0.95 * sharp.std()


def test_all_classes_occur_by_default_and_each_is_named() -> None:
    labels = make("default", "image_size=64", samples=8)["mask"]
    assert set(np.unique(labels)) == set(range(len(CLASSES)))


def test_boxes_that_are_too_small_are_refused(generate: Command) -> None:
    command = ("--task", "segmentation", "--recipe", "published", "--set", "image_size=24")
    refused(generate(*command), "boxes must be at least 4 pixels wide; lower it to 6, or raise image_size")


def solve(name: str, arrays: Arrays, **settings: Any) -> np.ndarray:
    method = METHODS[name]
    given = {key: settings.get(key, setting.values[0]) for key, setting in method.settings.items()}
    arguments = method.arguments(given, arrays if method.fit else None)
    return method.solve({"image": arrays["image"]}, **arguments)["mask"]


@pytest.mark.parametrize("name", [name for name, method in METHODS.items() if not method.fit])
def test_a_field_without_noise_is_segmented_exactly(name: str) -> None:
    """Figures of one value on a dark background; on grids that are neither square nor even, too.

    With markers that keep a distance from edges, single pixels at corners may be lost.
    """
    arrays = make("published", "image_size=160", "noise=0", "boxes.value=0.8")
    for rows, columns in ((160, 160), (97, 130)):
        part = {key: values[:, :rows, :columns] for key, values in arrays.items()}
        found = solve(name, part, **(SIMPLE | THREE if name == "multi_otsu" else SIMPLE))
        assert found.dtype == np.uint8
        np.testing.assert_array_equal(found, part["mask"])
        if "core" in METHODS[name].settings:
            assert (solve(name, part, **SIMPLE | {"core": 1.0}) != part["mask"]).mean() < 0.005


def test_a_field_without_noise_is_learned() -> None:
    """The forest looks at smoothed images, so single pixels at corners may be lost."""
    arrays = make("published", "image_size=80", "noise=0", samples=3)
    first, other = ({key: values[part] for key, values in arrays.items()} for part in (slice(2), slice(2, None)))
    forest = METHODS["random_forest"].arguments({"largest": 4.0, "pixels": 5000, "trees": 10, "leaf": 1}, first)
    found = METHODS["random_forest"].solve({"image": other["image"]}, **forest)["mask"]
    assert (found != other["mask"]).mean() < 0.01


@pytest.mark.parametrize("name", [name for name in METHODS if name not in ("random_forest", "otsu")])
def test_more_classes_are_told_apart_by_their_grey_values(name: str) -> None:
    values = ("pore=0.1", "background=0.4", "fibre=0.7", "grain=1", "spread=0")
    settings = [f"composite.{value}" for value in values]
    arrays = make(
        "default", "noise=0", "blur=0", "partial_volume=false", "camera.detector.correlation=0", *settings, samples=3
    )
    found = solve(name, arrays, **SIMPLE | {"classes": "pore,background,fibre,grain"})
    np.testing.assert_array_equal(found, arrays["mask"])


@pytest.mark.parametrize("name", METHODS)
def test_constant_images_have_one_class(name: str) -> None:
    arrays: Arrays = {"image": np.full((2, 20, 17), 0.3, np.float32), "mask": np.zeros((2, 20, 17), np.uint8)}
    given = SIMPLE | THREE if name == "multi_otsu" else SIMPLE
    assert not solve(name, arrays, **given).any()


@pytest.mark.parametrize("name", ["watershed", "random_walker", "random_forest"])
def test_noise_of_the_seed_costs_less_than_with_a_threshold_of_single_pixels(name: str) -> None:
    arrays = make("published", "image_size=160", "boxes.value=0.8")
    plain, found = (
        solve(one, arrays, **SIMPLE | {"width": width, "core": 1.0}) for one, width in (("otsu", 0.0), (name, 1.0))
    )
    errors = [(one != arrays["mask"]).mean() for one in (plain, found)]
    assert errors[1] < 0.4 * errors[0]


def test_the_forest_is_the_same_whenever_it_is_trained() -> None:
    arrays = make("default", "image_size=48")
    first, second = (solve("random_forest", arrays, pixels=500) for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_scores_of_objects_by_their_size() -> None:
    """A large object is found but for a quarter, a small one is missed, another is found with as much beside it."""
    truth, found = np.zeros((2, 64, 80), np.uint8), np.zeros((2, 64, 80), np.uint8)
    truth[0, 4:36, 4:36], found[0, 4:36, 4:28] = 1, 1
    truth[0, 50:54, 10:14] = 1
    truth[0, 50:54, 60:64], found[0, 50:54, 60:68] = 2, 2
    scores = measure_sizes({"mask": truth}, {"mask": found})
    large, small = 2 * 0.75 / 1.75, (0 + 2 / 3) / 2
    np.testing.assert_allclose(scores["dice_large"], [large, np.nan])
    np.testing.assert_allclose(scores["dice_small"], [small, np.nan])
    assert np.isnan(scores["dice_medium"]).all()


def test_a_wrong_pixel_counts_for_the_nearest_object_of_its_class() -> None:
    truth = np.zeros((1, 9, 40), np.uint8)
    truth[0, 3:6, 2:6], truth[0, 1:5, 30:34] = 1, 1
    found = truth.copy()
    found[0, 8, 8:11] = 1  # three pixels near the first object, which has 12
    found[0, 0, 20:25] = 3  # of a class that the truth does not have
    scores = measure_sizes({"mask": truth}, {"mask": found})["dice_small"]
    np.testing.assert_allclose(scores, (2 * 12 / (12 + 15) + 1) / 2)


def test_pixels_that_touch_at_a_corner_are_one_object() -> None:
    truth = np.zeros((1, 12, 12), np.uint8)
    truth[0, 2:8, 2:8], truth[0, 8:12, 8:12] = 1, 1
    found = truth.copy()
    found[0, 8:12, 8:12] = 0
    np.testing.assert_allclose(measure_sizes({"mask": truth}, {"mask": found})["dice_small"], 2 * 36 / (36 + 52))


def pictures(count: int) -> list[str]:
    """Pairs of an image of 16 bit and its labels, as arguments of import."""
    rng, groups = np.random.default_rng(0), []
    for n in range(count):
        tifffile.imwrite(f"i{n}.tif", rng.integers(0, 60000, (20, 31)).astype(np.uint16))
        tifffile.imwrite(f"m{n}.tif", rng.integers(0, 4, (20, 31)).astype(np.uint8))
        groups += ["--from", f"image=i{n}.tif", f"mask=m{n}.tif"]
    return groups


def test_images_and_masks_are_imported_split_and_exported(dataset: Command) -> None:
    groups = pictures(5)
    command = ("import", "--task", "segmentation", *groups, "--validation", 1, "--test", 1, "--out", "own.zarr")
    code, _, err = dataset(*command)
    assert (code, err) == (0, "")
    for split, first, count in (("train", 0, 3), ("validation", 3, 1), ("test", 4, 1)):
        group = open_split(Path("own.zarr"), split)
        for n in range(count):
            np.testing.assert_array_equal(group["mask"][n], tifffile.imread(f"m{first + n}.tif"))
            np.testing.assert_array_equal(group["image"][n], tifffile.imread(f"i{first + n}.tif"))
    assert dataset("validate", "own.zarr")[0] == 0
    assert (
        dataset("export", "own.zarr", "--format", "png", "--fields", "mask", "--split", "test", "--out", "out")[0] == 0
    )
    with Image.open("out/test_0000_mask.png") as exported:
        np.testing.assert_array_equal(np.asarray(exported), open_split(Path("own.zarr"), "test")["mask"][0])


def test_images_alone_are_imported_and_segmented(dataset: Command, infer: Command) -> None:
    pictures(1)
    assert dataset("import", "--task", "segmentation", "i0.tif", "--out", "own.zarr")[0] == 0
    command = ("--method", "otsu", "--data", "own.zarr", "--set", "classes=background,grain", "width=1")
    assert infer(*command, "--out", "p.zarr")[0] == 0
    assert set(np.unique(xr.open_zarr("p.zarr").mask)) == {0, 1}


WRONG: list[tuple[np.ndarray, str]] = [
    (np.full((20, 31), 255, np.uint8), "mask: holds 255; its values must be numbers of classes: 0 background, 1 grain"),
    (np.full((20, 31), 0.5, np.float32), "mask: holds 0.5; its values must be numbers of classes"),
    (np.full((20, 31), 256, np.uint16), "mask: holds 256; its values must be numbers of classes"),
    (np.full((20, 30), 1, np.uint8), "mask has 30 along x, others 31; crop all to one size"),
]


@pytest.mark.parametrize(("mask", "rule"), WRONG)
def test_masks_that_do_not_fit_are_refused(mask: np.ndarray, rule: str, dataset: Command) -> None:
    pictures(1)
    tifffile.imwrite("wrong.tif", mask)
    command = ("import", "--task", "segmentation", "--from", "image=i0.tif", "mask=wrong.tif", "--out", "own.zarr")
    refused(dataset(*command), rule)


def test_images_without_their_mask_are_refused(dataset: Command) -> None:
    groups = pictures(2)
    refused(dataset("import", "--task", "segmentation", *groups[:-1]), "2 of image, 1 of mask; give equally many")
