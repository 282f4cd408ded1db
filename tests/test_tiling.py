"""Laws of tiles: an image that is cut and blended is the image."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from inference.contract import Arrays
from inference.invert.tiling import Tiles, cut_steps, dims_to_cut, starts, to_stored, weights
from schemas.grids import Grid
from schemas.task import Field, Task

AXES = ("z", "y", "x")
SIZES = {"z": 9, "y": 33, "x": 50, "plane": 3}


def task_of(rank: int, dtype: Any = "float32") -> Task:
    dims = AXES[-rank:]
    fields = (
        Field("image", ("sample", "plane", *dims), "float32", "1", "input", "the measurement"),
        Field("truth", ("sample", *dims), dtype, "1", "target", "the truth"),
        Field("window", dims, "float32", "1", "auxiliary", "what multiplies the truth"),
        Field("dose", ("sample",), "float32", "1", "parameter", "of a sample"),
    )
    return Task("cut", "1.0", "cut", "truth = image[1] window", fields, grids=(Grid(dims),), window="window")


def block_of(task: Task, samples: int, window: str = "soft") -> dict[str, np.ndarray]:
    rng = np.random.default_rng(7)
    shape = task["window"].shape(SIZES)
    return {
        "image": rng.normal(size=(samples, 3, *shape)).astype(np.float32),
        "window": rng.uniform(0.5, 1, shape).astype(np.float32) if window == "soft" else np.ones(shape, np.float32),
        "dose": rng.uniform(1, 2, samples).astype(np.float32),
    }


def identity(fields: Arrays) -> dict[str, np.ndarray]:
    dose = fields["dose"].reshape(-1, *[1] * (fields["image"].ndim - 2))
    return {"truth": fields["image"][:, 1] * fields["window"] * dose}


def counted(calls: list[int]) -> Any:
    def predict(fields: Arrays) -> dict[str, np.ndarray]:
        calls.append(len(fields["image"]))
        return identity(fields)

    return predict


LENGTHS: list[Mapping[str, int]] = [{"x": 16}, {"y": 16, "x": 16}, {"y": 11, "x": 50}, {"z": 4, "y": 7, "x": 9}]


@pytest.mark.parametrize("overlap", [0.0, 0.25, 0.5, 0.9])
@pytest.mark.parametrize("lengths", LENGTHS)
def test_an_identity_comes_out_as_it_went_in(lengths: Mapping[str, int], overlap: float) -> None:
    task = task_of(max(AXES[::-1].index(dim) for dim in lengths) + 1)
    if overlap == 0.9 and "z" in lengths:
        lengths = {"z": 8, "y": 30, "x": 40}
    block = block_of(task, 3)
    found = Tiles(lengths, overlap).apply(identity, task, SIZES, block, 5)["truth"]
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, identity(block)["truth"], rtol=3e-7, atol=1e-7)


@pytest.mark.parametrize(("length", "tile"), [(64, 64), (65, 64), (100, 33), (7, 2), (5, 1)])
@pytest.mark.parametrize("overlap", [0.0, 0.3, 0.5, 0.9])
def test_weights_are_positive_and_sum_to_one(length: int, tile: int, overlap: float) -> None:
    total = np.zeros(length)
    for start, weight in weights(length, tile, overlap).items():
        assert (weight > 0).all()
        total[start : start + tile] += weight
    np.testing.assert_allclose(total, 1, rtol=1e-14)
    begins = starts(length, tile, overlap)
    assert begins[0] == 0
    assert begins[-1] == length - tile, "the last tile lies flush with the border"
    assert max(np.diff(begins), default=0) <= max(round(tile * (1 - overlap)), 1)


def test_seams_are_blended() -> None:
    """Tiles that differ by a step meet in a slope, not in an edge."""
    task = task_of(1)
    values = iter([0.0, 1.0])

    def predict(fields: Arrays) -> dict[str, np.ndarray]:
        return {"truth": np.stack([np.full(34, next(values)) for _ in fields["image"]])}

    block = block_of(task, 1)
    found = Tiles({"x": 34}, 0.5).apply(predict, task, SIZES, block, 1)["truth"][0]
    assert found[0] == 0.0
    assert found[-1] == 1.0
    assert (np.diff(found) >= 0).all()
    assert np.diff(found).max() < 0.15


@pytest.mark.parametrize(("window", "fewest"), [("flat", True), ("soft", False)])
def test_tiles_are_predicted_in_full_batches_unless_constants_differ(window: str, fewest: bool) -> None:
    """Constants have no batch axis: tiles with other values of them cannot share a batch."""
    task = task_of(2)
    calls: list[int] = []
    Tiles({"y": 11, "x": 10}, 0.0).apply(counted(calls), task, SIZES, block_of(task, 2, window), 8)
    tiles = Tiles({"y": 11, "x": 10}, 0.0).count(SIZES)
    assert tiles == 3 * 5
    assert sum(calls) == 2 * tiles
    assert max(calls) <= 8
    assert calls == ([8, 8, 8, 6] if fewest else [2] * tiles)


def test_results_do_not_depend_on_batches() -> None:
    task = task_of(2)
    block = block_of(task, 3, "flat")
    first, second = (Tiles({"y": 16}, 0.5).apply(identity, task, SIZES, block, n)["truth"] for n in (1, 7))
    assert np.array_equal(first, second)


def test_only_what_inputs_and_targets_share_is_cut() -> None:
    assert dims_to_cut(task_of(2), ("image", "window")) == ("y", "x")
    fields = (
        Field("pattern", ("sample", "qy", "qx"), "float32", "1", "input", "of diffraction"),
        Field("phase", ("sample", "y", "x"), "float32", "rad", "target", "of the object"),
    )
    assert (
        dims_to_cut(Task("far", "1.0", "far", "F", fields, grids=(Grid(("y", "x")), Grid(("qy", "qx")))), ("pattern",))
        == ()
    )


def test_classes_are_rounded_and_complex_values_stay_complex() -> None:
    assert to_stored(task_of(1, "uint8")["truth"], np.array([0.9999, 2.0])).tolist() == [1, 2]
    task = task_of(1, "complex64")
    block = block_of(task, 1)
    found = Tiles({"x": 16}, 0.5).apply(
        lambda fields: {"truth": 1j * identity(fields)["truth"]}, task, SIZES, block, 4
    )["truth"]
    assert found.dtype == np.complex64
    np.testing.assert_allclose(found, 1j * identity(block)["truth"], rtol=3e-7, atol=1e-7)


def test_weights_are_those_of_hann_windows_between_their_zeros() -> None:
    """Two tiles of 4 on 6 pixels: h(i) = sin^2(pi (i + 1/2) / 4), which is 0.1464 at the ends, 0.8536 within."""
    low, high = np.sin(np.pi / 8) ** 2, np.sin(3 * np.pi / 8) ** 2
    found = weights(6, 4, 0.5)
    np.testing.assert_allclose(found[0], [1, 1, high / (high + low), low / (low + high)])
    np.testing.assert_allclose(found[2], [low / (low + high), high / (high + low), 1, 1])


def classes_of(*names: str) -> Task:
    fields = (
        Field("image", ("sample", "x"), "float32", "1", "input", "the measurement"),
        Field("mask", ("sample", "x"), "uint8", "1", "target", "the classes", classes=names),
    )
    return Task("cut", "1.0", "cut", "none", fields, grids=(Grid(("x",)),))


def test_classes_are_blended_by_their_probabilities() -> None:
    """Two tiles of 4 on 6 pixels give classes 0 and 2 and share two pixels: between them lies no class 1.

    There the first tile weighs b and a, the second a and b, with a = sin^2(pi / 8) = 0.1464, b = 1 - a. With 0.6 for
    class 0 in the first tile, and 0.7 for class 2 in the second, the rest for class 1, pixel 2 has (0.512, 0.385,
    0.102), pixel 3 has (0.088, 0.315, 0.598).
    """
    task, tiles = classes_of("a", "b", "c"), Tiles({"x": 4}, 0.5)
    said = [[0.6, 0.4, 0.0], [0.0, 0.3, 0.7]]
    block = {"image": np.array([[0, 0, 0, 1, 1, 1]], np.float32)}

    def predict(fields: Arrays) -> dict[str, np.ndarray]:
        which = [int(row[-1] > 0 and row[0] == 0 and row.sum() > 1) for row in fields["image"]]
        return {"mask": np.array([np.broadcast_to(said[one], (4, 3)) for one in which])}

    found = tiles.apply(predict, task, {"x": 6}, block, 8)["mask"]
    assert found.dtype == np.uint8
    assert found.tolist() == [[0, 0, 0, 2, 2, 2]]
    labels = tiles.apply(lambda f: {"mask": predict(f)["mask"].argmax(-1)}, task, {"x": 6}, block, 8)["mask"]
    assert labels.tolist() == [[0, 0, 0, 2, 2, 2]]


def test_of_equal_probabilities_the_lower_class_is_stored() -> None:
    field = classes_of("a", "b", "c")["mask"]
    assert to_stored(field, np.array([[[0.5, 0.5, 0.0], [0.0, 0.5, 0.5]]])).tolist() == [[0, 1]]


def test_tiles_of_a_coarser_grid_hold_what_lies_under_them() -> None:
    """Three fine pixels to a coarse one: each coarse pixel, repeated, comes out as it went in."""
    fields = (
        Field("low", ("sample", "xlow"), "float32", "1", "input", "coarse"),
        Field("high", ("sample", "x"), "float32", "1", "target", "fine"),
    )
    grids = (Grid(("x",)), Grid(("xlow",), of=("x",), how="coarser"))
    task, sizes = Task("cut", "1.0", "cut", "none", fields, grids=grids), {"x": 30, "xlow": 10}
    assert dims_to_cut(task, ("low",)) == ("x",)
    assert cut_steps(task, sizes, ("x",)) == {"x": 3}
    block = {"low": np.random.default_rng(0).random((2, 10)).astype(np.float32)}
    tiles = Tiles({"x": 12}, 0.4, {"x": 3})
    found = tiles.apply(lambda f: {"high": np.repeat(f["low"], 3, 1)}, task, sizes, block, 3)["high"]
    np.testing.assert_allclose(found, np.repeat(block["low"], 3, 1), rtol=1e-6)
