"""`dataset map`: groups of samples come apart, outliers are found, and names from strangers are only text."""

import csv
import re
from pathlib import Path

import numpy as np
import pytest
import tifffile

from schemas.mapping.embedding import Settings, draw_map, read_part

from .conftest import Command, refused

RNG = np.random.default_rng(0)


def images(count: int, waves: int, size: int = 24, seed: int = 0) -> np.ndarray:
    """Stripes of random phases, so many per image, with some noise."""
    rng = np.random.default_rng(seed)
    x = np.arange(size) / size
    stripes = np.cos(2 * np.pi * (waves * x + rng.random((count, 1))))[:, None, :] + np.zeros((1, size, 1))
    return np.asarray(stripes + 0.1 * rng.normal(size=(count, size, size)), np.float32)


def store(dataset: Command, name: str, stack: np.ndarray) -> Path:
    np.save(f"{name}.npy", stack)
    told = ("--task", "denoise", f"{name}.npy", "--axes", "sample,y,x", "--out", f"{name}.zarr")
    code, _, err = dataset("import", *told)
    assert (code, err) == (0, "")
    return Path(f"{name}.zarr")


@pytest.mark.parametrize("method", ["tsne", "pca"])
def test_kinds_of_samples_come_apart(dataset: Command, method: str) -> None:
    """Also if one kind has other pixels: the nearest neighbour of nearly every sample is of its kind."""
    first = store(dataset, "first", images(40, 2))
    second = store(dataset, "second", images(30, 5, size=31, seed=1))
    code, out, err = dataset("map", first, second, "--method", method, "--perplexity", 8, "--iterations", 300)
    assert (code, err) == (0, "")
    assert out.startswith("map: 70 samples; principal components hold ")
    with Path("map/map.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    places = np.array([[float(row["axis_1"]), float(row["axis_2"])] for row in rows])
    kinds = np.array([row["store"] for row in rows])
    distance = ((places[:, None] - places) ** 2).sum(axis=-1) + np.diag([np.inf] * len(rows))
    assert np.mean(kinds[distance.argmin(axis=1)] == kinds) > 0.95
    assert sorted({(row["store"], row["sample"]) for row in rows if row["store"] == "first.zarr"}) == sorted(
        ("first.zarr", str(number)) for number in range(40)
    )
    page = Path("map/map.html").read_text()
    assert page.count("<circle") == 70
    assert Path("map/map.png").read_bytes().startswith(b"\x89PNG")


def test_an_outlier_is_named_first(dataset: Command) -> None:
    stack = images(40, 2)
    stack[17] = 3 * images(1, 7, seed=3)[0]
    out = dataset("map", store(dataset, "mixed", stack), "--method", "pca")[1]
    assert "outlier mixed.zarr/test sample 17: " in out.splitlines()[1]


def test_places_repeat_and_brightness_may_be_left_out(dataset: Command) -> None:
    stack = images(30, 2)
    path = store(dataset, "a", np.concatenate([stack, 5 * stack]))
    part = read_part(path, None, None, 100)
    how = Settings(method="pca", alone=True)
    places = draw_map([part], how).places
    np.testing.assert_allclose(places[:30], places[30:], atol=1e-4)
    np.testing.assert_array_equal(draw_map([part], how).places, places)
    together = draw_map([part], Settings(method="pca")).places
    assert abs(together[:30] - together[30:]).max() > 1


def test_colours_show_a_parameter(generate: Command, dataset: Command) -> None:
    generate("--task", "toy", "--n", 12, "--scheduler", "synchronous")
    known = read_part(Path("toy.zarr"), "train", None, 12).parameters
    name = next(iter(known))
    assert dataset("map", "toy.zarr", "--method", "pca", "--colour", name)[0] == 0
    assert f"Colours: {name} from" in Path("map/map.html").read_text()
    refused(dataset("map", "toy.zarr", "--method", "pca", "--colour", "hue"), "--colour hue: no such parameter")


def test_names_from_strangers_are_text(dataset: Command) -> None:
    path = store(dataset, "<script>alert(1)<", images(8, 2))
    assert dataset("map", path, "--method", "pca")[0] == 0
    assert not re.search("<script>alert", Path("map/map.html").read_text())


def test_what_cannot_be_mapped_is_refused(dataset: Command, generate: Command) -> None:
    path = store(dataset, "few", images(8, 2))
    refused(dataset("map", path), "--perplexity 30: must be below the number of samples, 8")
    refused(dataset("map", path, "--field", "nosy"), "--field nosy: few.zarr has no such field", "did you mean noisy?")
    refused(dataset("map", path, "--split", "train"), "--split train: few.zarr has no samples in this split")
    refused(dataset("map", path, "--samples", 3, "--components", 3, "--method", "pca"), "needs at least 5")
    generate("--task", "toy", "--n", 4, "--scheduler", "synchronous")
    refused(dataset("map", path, "toy.zarr", "--method", "pca"), "samples cannot be compared (few.zarr: 1 x 24 x 24;")
    Path("mine").mkdir()
    tifffile.imwrite("mine/a.tif", RNG.random((4, 4)))
    refused(dataset("map", path, "--method", "pca", "--out", "mine"), "mine", "a.tif")
