"""Faults that a stranger found where tasks are of other kinds than images on the grid of their input."""

import json
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
import tifffile
import xarray as xr
from PIL import Image

from inference.invert.tiling import Tiles, cut_steps, to_stored
from schemas.array_checks import array_problems
from schemas.grids import Grid
from schemas.scores import score
from schemas.task import Field, Task, find_task
from tests.conftest import Command, refused
from tests.test_families import dataset_of, learned
from tests.training.conftest import features_for
from training import losses
from training.recipe import Loss

pytestmark = pytest.mark.usefixtures("quick")
TURN = 2 * np.pi


def angles_of(*, coarse: bool = False) -> Task:
    fields = (
        Field("image", ("sample", "y", "x"), "float32", "1", "input", ""),
        Field(
            "angle",
            ("sample", "v", "u") if coarse else ("sample", "y", "x"),
            "float32",
            "rad",
            "target",
            "",
            period=TURN,
        ),
    )
    grids = (Grid(("y", "x")), *((Grid(("v", "u"), of=("y", "x"), how="coarser"),) if coarse else ()))
    return Task("angles", "1.0", "", "", fields, grids=grids)


def test_grids_of_another_factor_are_refused(
    generate: Command, train: Command, infer: Command, dataset: Command
) -> None:
    learned(train, dataset_of(generate, "toy_fusion"), "unet", "--input", "low")
    np.save("low.npy", np.zeros((2, 6, 7), np.float32))
    np.save("guide.npy", np.zeros((12, 14), np.float32))
    command = ("import", "--task", "toy_fusion", "--set", "sampling=1", "--out", "two.zarr")
    assert dataset(*command, "--from", "low=low.npy", "guide=guide.npy")[0] == 0
    said = infer("--model", "run", "--data", "two.zarr", "--tile", "none", "--out", "p.zarr")
    refused(said, "y has 12 for 6 along ylow, must be 3 times as many")
    np.save("guide.npy", np.zeros((5, 14), np.float32))
    refused(
        dataset(*command[:-1], "three.zarr", "--from", "low=low.npy", "guide=guide.npy"),
        "ylow = 6: must be at most y = 5",
    )


def test_turns_do_not_count_in_images_of_angles() -> None:
    task, rng = angles_of(), np.random.default_rng(0)
    exact = rng.uniform(-3, 3, (2, 12, 13))
    found = score(task, {"angle": exact - TURN}, {"angle": exact})
    assert found["nrms"] == pytest.approx(0, abs=1e-12)
    assert found["rms"] == pytest.approx(0, abs=1e-12)


def test_tiles_of_angles_meet_across_the_turn() -> None:
    """Two tiles that lie a hundredth on either side of pi meet near pi, not near 0."""
    task, values = angles_of(), iter([np.pi - 0.01, 0.01 - np.pi])
    block = {"image": np.zeros((1, 1, 6), np.float32)}
    tiles = Tiles({"x": 4}, 0.5)
    found = tiles.apply(lambda f: {"angle": np.full(f["image"].shape, next(values))}, task, {"y": 1, "x": 6}, block, 1)
    assert np.all(abs(found["angle"]) > 3.1)


def test_a_target_coarser_than_the_input_is_tiled() -> None:
    """Pixels of the target are three of the input: tiles may begin at any of its pixels."""
    task, sizes = angles_of(coarse=True), {"y": 6, "x": 30, "v": 2, "u": 10}
    assert cut_steps(task, sizes, ("u",)) == {"u": 1}
    image = np.repeat(np.arange(10.0) / 10, 3)[None, None].repeat(6, 1).astype(np.float32)
    found = Tiles({"u": 4}, 0.5, {"u": 1}).apply(
        lambda f: {"angle": f["image"][:, ::3, ::3]}, task, sizes, {"image": image}, 2
    )["angle"]
    np.testing.assert_allclose(found, image[:, ::3, ::3], atol=1e-6)


def test_dice_of_a_class_that_does_not_weigh_still_counts_what_is_taken_from_it(generate: Command) -> None:
    """All is predicted as the disc, which one pixel in four is: 2 x 1/4 / (1 + 1/4), with one added to each sum."""
    features = features_for(dataset_of(generate, "toy_labels"))
    truth = np.zeros((1, 4, 4), np.uint8)
    truth[0, 0] = 1
    logits = np.stack([np.full((1, 4, 4), -50.0), np.full((1, 4, 4), 50.0), np.zeros((1, 4, 4))], -1).astype(np.float32)
    weights = Loss(relative=0, dice=1, classes=(0, 1, 0))
    found = losses.loss(features, weights, {"mask": jnp.asarray(logits)}, {"mask": jnp.asarray(truth)})
    assert found[0] == pytest.approx(1 - 9 / 21, rel=1e-5)


def test_values_are_stored_within_their_dtype() -> None:
    counts = Field("n", ("sample",), "uint16", "1", "target", "")
    assert to_stored(counts, np.array([-0.7, 70000.0, 2.6])).tolist() == [0, 65535, 3]
    assert to_stored(Field("b", ("sample",), "bool", "1", "target", ""), np.array([0.1, 0.9])).tolist() == [False, True]


def test_labels_beyond_the_classes_are_told() -> None:
    task = find_task("toy_labels")
    found = array_problems(task.holding((task["mask"],)), {"y": 2, "x": 2}, {"mask": np.full((1, 2, 2), 7, np.uint8)})
    assert found == ["mask: has the label 7, the classes are 0 to 2"]


def test_views_are_imported_and_drawn_as_images(generate: Command, dataset: Command) -> None:
    """Four files of one view each; pictures show views, whatever the order of the axes in the store."""
    views = np.random.default_rng(0).random((4, 11, 12)).astype(np.float32)
    for number, view in enumerate(views):
        tifffile.imwrite(f"v{number}.tif", view)
    files = [f"v{number}.tif" for number in range(4)]
    known = ("--set", "angle=0,1,2,3", "background=0", "--out", "m.zarr")
    assert dataset("import", "--task", "toy_series", "--from", *files, *known)[0] == 0
    np.testing.assert_array_equal(xr.open_zarr("m.zarr/test").noisy[0].transpose("tilt", "y", "x"), views)
    assert dataset("export", "m.zarr", "--format", "png", "--out", "png")[0] == 0
    pictures = sorted(Path("png").glob("*.png"))
    assert len(pictures) == 4
    with Image.open(pictures[1]) as picture:
        assert picture.size == (12, 11)
        assert np.corrcoef(np.asarray(picture).ravel(), views[1].ravel())[0, 1] > 0.99


def test_exports_beside_the_truth(generate: Command, train: Command, infer: Command, dataset: Command) -> None:
    data = dataset_of(generate, "toy_labels")
    assert infer("--method", "threshold", "--data", data, "--out", "t.zarr")[0] == 0
    for kind in ("png", "tiff"):
        assert dataset("export", "t.zarr", "--data", data, "--format", kind, "--out", kind)[0] == 0
    learned(train, data, "mlp", "--target", "radius")
    assert infer("--model", "run", "--data", data, "--out", "r.zarr")[0] == 0
    assert dataset("export", "r.zarr", "--data", data, "--format", "npy", "--out", "npy")[0] == 0


def test_a_network_of_one_size_is_refused_others(generate: Command, train: Command, infer: Command) -> None:
    learned(train, dataset_of(generate, "toy_labels"), "mlp", "--target", "radius")
    other = dataset_of(generate, "toy_labels", "--set", "size=16", out="other.zarr")
    refused(infer("--model", "run", "--data", other, "--out", "p.zarr"), "y has 16, must be 12: it takes one size only")


def test_what_a_measurement_does_not_tell_is_taken_from_the_model(
    generate: Command, train: Command, infer: Command, dataset: Command
) -> None:
    data = dataset_of(generate, "toy_scan")
    learned(train, data, "unrolled")
    sinogram = xr.open_zarr("data.zarr/test")
    np.save("s.npy", sinogram.sinogram.values[0])
    angles = ",".join(map(str, sinogram.angle.values[0]))
    command = ("import", "--task", "toy_scan", "--from", "s.npy", "--set", f"angle={angles}", "--out", "m.zarr")
    assert dataset(*command)[0] == 0
    assert infer("--model", "run", "--data", "m.zarr", "--out", "p.zarr")[0] == 0
    assert xr.open_zarr("p.zarr").image.shape == (1, 12, 13)
    refused(infer("--method", "even", "--data", "m.zarr", "--out", "q.zarr"), "does not state the length of x, y")


def test_a_run_from_a_run_of_a_parameter_has_its_loss(generate: Command, train: Command) -> None:
    data = dataset_of(generate, "toy_labels")
    learned(train, data, "mlp", "--target", "radius")
    assert train("--data", data, "--from", "run", "--epochs", 1, "--batch-size", 4, "--out", "on")[0] == 0
    assert train("--data", data, "--from", "run", "--epochs", 1, "--batch-size", 4)[0] == 0
    assert [path.name for path in Path("runs").iterdir()] == ["toy_labels-radius-mlp"]
    recipe: Any = json.loads(Path("on/run.json").read_text())["recipe"]
    assert (recipe["target"], recipe["loss"]["mse"], recipe["loss"]["dice"]) == ("radius", 1, 0)


def test_layers_of_slices_and_of_operators_are_drawn(generate: Command, train: Command, infer: Command) -> None:
    for task, model in (("toy_series", "unet"), ("toy_scan", "unrolled")):
        data = dataset_of(generate, task, out=f"{task}.zarr")
        learned(train, data, model, out=model)
        assert infer("--model", model, "--data", data, "--activations", f"{model}.png")[0] == 0


def test_the_width_of_pixels_is_kept_without_an_import(dataset: Command) -> None:
    """It is kept if the grid of an input has a parameter for it; otherwise a line says that it is left out."""
    arrays = {"guide.tif": (np.eye(12, 15), 0.2), "low.tif": (np.ones((2, 4, 5)), 0.6)}
    for name, (values, width) in arrays.items():
        points = (1e7 / width, 1e7 / width)
        image = values.astype(np.float32)
        tifffile.imwrite(name, image, photometric="minisblack", resolution=points, resolutionunit="CENTIMETER")
    files = ("--from", "low=low.tif", "guide=guide.tif")
    code, said, _ = dataset("import", "--task", "toy_fusion", *files, "--out", "a.zarr")
    assert code == 0
    assert "not stored" not in said
    np.testing.assert_allclose(xr.open_zarr("a.zarr/test").sampling, [0.2], rtol=1e-6)
    code, said, _ = dataset("import", "--task", "toy_labels", "--from", "guide.tif", "--out", "b.zarr")
    assert code == 0
    assert "pixels of 0.2 x 0.2 nm in the files: not stored, since TASK.grids of toy_labels names" in said
