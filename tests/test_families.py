"""A toy family of each kind of grid, dimension and target: from a dataset to scores, each as four files."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
import xarray as xr
from PIL import Image

from schemas.task import find_task
from tests.conftest import Command, refused
from tests.runs import card, lines

SMALL: dict[str, tuple[str, ...]] = {
    "unet": ("model.width=2", "model.widening=1,2"),
    "mlp": ("model.hidden=8",),
    "convnet": ("model.filters=2", "model.kernels=3", "model.dense.hidden=8"),
    "unrolled": ("model.iterations=2", "model.width=2"),
    "toy_vae": (),
    "unet_classic": ("model.widths=2,3",),
    "autoencoder": ("model.filters=3", "model.code=2"),
    "vae": ("model.latent=2", "model.filters=2,2"),
    "edsr": ("model.width=3", "model.blocks=1"),
    "fusion": ("model.widths=3,4", "model.blocks=0"),
}
type Scores = Callable[[np.ndarray, np.ndarray], dict[str, float]]
pytestmark = pytest.mark.usefixtures("quick", "brief_report")


def images(p: np.ndarray, t: np.ndarray) -> dict[str, float]:
    """Means over rows, each a slice: p, t (row, ...)."""
    squares = [((a - b) ** 2).mean() for a, b in zip(p, t, strict=True)]
    rows = [np.sqrt(((a - b) ** 2).sum() / (b**2).sum()) for a, b in zip(p, t, strict=True)]
    return {"nrms": float(np.mean(rows)), "rms": float(np.mean(np.sqrt(squares)))}


def views(p: np.ndarray, t: np.ndarray) -> dict[str, float]:
    """(sample, y, tilt, x): a row of each view."""
    return images(*(np.moveaxis(v, 2, 1).reshape(-1, v.shape[1], v.shape[3]) for v in (p, t)))


def masks(p: np.ndarray, t: np.ndarray) -> dict[str, float]:
    """Of the classes 0 and 1, where the truth is not 2."""
    found = []
    for a, b in zip(p, t, strict=True):
        a, b = a[b != 2], b[b != 2]
        found.append(np.mean([((a == k) & (b == k)).sum() / ((a == k) | (b == k)).sum() for k in (0, 1)]))
    return {"iou": float(np.mean(found)), "jaccard_distance": 1 - float(np.mean(found))}


def kinds(p: np.ndarray, t: np.ndarray) -> dict[str, float]:
    return dict.fromkeys(("accuracy", "pooled.accuracy"), float(np.mean(p == t)))


def numbers(p: np.ndarray, t: np.ndarray) -> dict[str, float]:
    return {"absolute_error": float(np.mean(abs(p - t))), "r2": 1 - float(np.mean((p - t) ** 2) / np.var(t))}


def angles(p: np.ndarray, t: np.ndarray) -> dict[str, float]:
    """The least of the differences by whole turns."""
    return {"absolute_error": float(np.mean(np.min([abs(p - t + 2 * np.pi * k) for k in (-1, 0, 1)], axis=0)))}


CASES: list[tuple[str, str, tuple[str, ...], str, Scores]] = [  # task, model, options of train, target, scores by hand
    ("toy_fusion", "unet", ("--input", "both"), "high", images),
    ("toy_fusion", "unet", ("--input", "low"), "high", images),
    ("toy_series", "unet", ("scalars=angle,background",), "clean", views),
    ("toy_labels", "unet", (), "mask", masks),
    ("toy_labels", "convnet", ("--target", "radius"), "radius", numbers),
    ("toy_labels", "mlp", ("--target", "direction"), "direction", angles),
    ("toy_labels", "convnet", ("--target", "kind"), "kind", kinds),
    ("toy_series", "mlp", ("--target", "angle"), "angle", numbers),
    ("toy_scan", "unrolled", (), "image", images),
    ("toy_scan", "mlp", ("--input", "sinogram"), "image", images),
    ("toy_scan", "unet", ("--input", "back"), "image", images),
    ("toy", "toy_vae", ("loss.kl=0.01",), "line", images),
    ("toy_fusion", "edsr", ("--input", "low"), "high", images),
    ("toy_fusion", "fusion", ("--input", "both"), "high", images),
    ("toy_labels", "unet_classic", ("loss.border=1", "loss.classes=balanced"), "mask", masks),
    ("toy_series", "autoencoder", ("loss.against=noisy",), "clean", views),
    ("toy_series", "vae", ("loss.kl=0.01", "model.samples=2"), "clean", views),
]


def dataset_of(generate: Command, task: str, *args: object, out: str = "data.zarr") -> Path:
    command = ("--task", task, "--n", 12, "--validation", 4, "--test", 6, "--scheduler", "synchronous", "--out", out)
    assert generate(*command, *args)[0] == 0
    return Path(out)


def learned(train: Command, data: Path, model: str, *options: str, out: str = "run") -> None:
    named = [option for i, option in enumerate(options) if "=" not in option]
    settings = ("log_every=1", *SMALL[model], *(option for option in options if "=" in option))
    command = ("--data", data, "--out", out, "--batch-size", 4, "--epochs", 2, "--model", model)
    code, _, said = train(*command, *named, "--set", *settings)
    assert code == 0, said


@pytest.mark.parametrize(("task", "model", "options", "target", "by_hand"), CASES)
def test_from_a_dataset_to_scores(
    task: str,
    model: str,
    options: tuple[str, ...],
    target: str,
    by_hand: Scores,
    generate: Command,
    train: Command,
    infer: Command,
    evaluate: Command,
    dataset: Command,
) -> None:
    data = dataset_of(generate, task)
    learned(train, data, model, *options)
    assert infer("--model", "run", "--data", data, "--out", "p.zarr")[0] == 0
    code, _, said = evaluate("--data", data, "--predictions", "p.zarr", "--out", "report")
    assert code == 0, said
    predicted, exact = (xr.open_zarr(store)[target] for store in ("p.zarr", "data.zarr/test"))
    assert (predicted.dims, predicted.dtype, predicted.shape) == (exact.dims, exact.dtype, exact.shape)
    found = json.loads(Path("report/metrics.json").read_text())["methods"]["run"]["metrics"]
    for name, value in by_hand(predicted.values, exact.values).items():
        assert found[name]["mean"] == pytest.approx(value, rel=1e-5), name
    assert dataset("export", "p.zarr", "--format", "npy", "--out", "files")[0] == 0
    if predicted.ndim == 1:
        assert target in Path("files/parameters.csv").read_text().splitlines()[0]
    else:
        np.testing.assert_array_equal(np.load(f"files/test_0003_{target}.npy"), predicted.values[3])
    assert dataset("preview", data, "--split", "test", "--out", "sheet.png")[0] == 0


def test_further_losses_are_weighed_and_written_down(generate: Command, train: Command) -> None:
    """loss = relative + weight kl, of each line."""
    data = dataset_of(generate, "toy")
    learned(train, data, "toy_vae", "loss.kl=0.5", "loss.relative=0", "loss.mse=1", out="with")
    learned(train, data, "toy_vae", "loss.kl=0", "loss.relative=0", "loss.mse=1", out="without")
    first, other = lines("with")[0], lines("without")[0]  # the same start, the same batch, the same draws
    assert first["train/kl"] == pytest.approx(other["train/kl"], rel=1e-5)
    assert first["train/loss"] == pytest.approx(other["train/loss"] + 0.5 * first["train/kl"], rel=1e-5)
    assert "validation/kl" in card("with")["scores"]


def test_a_network_of_slices_takes_series_of_another_length(
    generate: Command, train: Command, infer: Command, evaluate: Command
) -> None:
    """Each view is inverted like any other: those of a longer series come out as in a shorter one."""
    learned(train, dataset_of(generate, "toy_series"), "unet")
    longer = dataset_of(generate, "toy_series", "--set", "tilts=7", out="longer.zarr")
    assert infer("--model", "run", "--data", longer, "--out", "p.zarr")[0] == 0
    assert evaluate("--data", longer, "--predictions", "p.zarr", "--out", "report")[0] == 0
    assert json.loads(Path("report/metrics.json").read_text())["methods"]["run"]["metrics"]["nrms"]["n"] == 6 * 7
    rows = Path("report/metrics.csv").read_text().splitlines()
    assert rows[0].startswith("sample,slice,angle,background,")
    assert rows[8].startswith("1,0,")


@pytest.mark.parametrize(("model", "options"), [("unrolled", ()), ("unet", ("--input", "back"))])
def test_physics_inside_takes_the_sizes_of_the_data(
    model: str, options: tuple[str, ...], generate: Command, train: Command, infer: Command, evaluate: Command
) -> None:
    """More angles, a longer detector, a larger image than in training: as good as where all is as in training."""
    data = dataset_of(generate, "toy_scan")
    learned(train, data, model, *options)
    other = dataset_of(generate, "toy_scan", "--set", "size=15", "angles=9", out="other.zarr")
    found = {}
    for store in (data, other):
        out = f"p-{store.stem}.zarr"
        code, _, said = infer("--model", "run", "--data", store, "--out", out)
        assert code == 0, said
        predicted, exact = (xr.open_zarr(path).image for path in (out, store / "test"))
        assert predicted.shape == exact.shape
        found[store.stem] = images(predicted.values, exact.values)["nrms"]
    assert found["other"] < 1.3 * found["data"]


def test_batches_count_slices_and_hold_them_in_any_order(generate: Command, train: Command) -> None:
    """12 series of 4 views, 4 a batch: 12 steps an epoch; from memory and from the store the same weights."""
    data = dataset_of(generate, "toy_series")
    for mode in ("resident", "stream"):
        learned(train, data, "unet", "--mode", mode, "scalars=angle", out=mode)
    assert lines("stream")[-1]["step"] == 2 * 12
    one, other = (Path(mode, "best/model.safetensors").read_bytes() for mode in ("resident", "stream"))
    assert one == other


def test_tiles_of_coarse_and_fine_grids_are_those_of_the_whole(
    generate: Command, train: Command, infer: Command
) -> None:
    """A network that has learned nothing gives the mean everywhere, whatever the tile; tiles keep to coarse pixels."""
    learned(train, dataset_of(generate, "toy_fusion"), "unet", "--input", "both")
    wide = dataset_of(generate, "toy_fusion", "--set", "size=24", out="wide.zarr")
    assert infer("--model", "run", "--data", wide, "--out", "tiled.zarr")[0] == 0
    assert json.loads(Path("tiled.zarr/zarr.json").read_text())["attributes"]["drybeam_predictions"]["tiles"] == {
        "y": 12,
        "x": 15,
    }
    refused(infer("--model", "run", "--data", wide, "--tile", 10, "--out", "odd.zarr"), "--tile", "a multiple of 3")


MISTAKES = [
    (
        "toy_scan",
        "unet",
        ("--input", "sinogram"),
        "models that can: alexnet, automap, cnn_reconstruct, convnet, dense_reconstruct, edsr, lpd, mlp, toy_vae, "
        "unrolled, vae",
    ),
    ("toy_scan", "unet", ("--input", "sinogram"), "inputs on the grid of the targets: back"),
    ("toy_labels", "unet", ("loss.relative=1",), "target mask has classes, which loss.relative cannot compare"),
    ("toy_labels", "unet", ("loss.classes=1,2",), "loss.classes has 2 weights, mask 3 classes"),
    ("toy_labels", "unet", ("loss.classes=0,0,1",), "at least one class that is not ignored must be above 0"),
    ("toy_labels", "unet", ("best=nrms",), "best = nrms: must be one of loss, iou"),
    ("toy_labels", "unet", ("--target", "radius"), "keeps the grid of its input"),
    ("toy_labels", "mlp", ("--target", "image"), "--target image: unknown to toy_labels; there are: mask, radius"),
    (
        "toy_series",
        "mlp",
        ("--target", "background"),
        "--target background: unknown to toy_series; there are: clean, angle",
    ),
    ("toy_series", "unet", ("loss.dice=1",), "target clean holds values, which loss.dice cannot compare"),
    ("toy", "unet", ("loss.wave=1",), "loss.wave"),
]


@pytest.mark.parametrize(("task", "model", "options", "rule"), MISTAKES)
def test_what_does_not_fit_is_refused(
    task: str, model: str, options: tuple[str, ...], rule: str, generate: Command, train: Command
) -> None:
    data = dataset_of(generate, task)
    named = [option for option in options if "=" not in option]
    settings = [option for option in options if "=" in option]
    refused(train("--data", data, "--model", model, *named, "--set", "epochs=1", *settings), rule)
    assert not Path("runs").exists()


def test_a_measured_series_is_imported_and_inverted(
    generate: Command, train: Command, infer: Command, dataset: Command
) -> None:
    data = dataset_of(generate, "toy_series")
    learned(train, data, "unet")
    series = xr.open_zarr("data.zarr/test").noisy.values[2]
    tifffile.imwrite("series.tif", series)
    command = ("import", "--task", "toy_series", "--from", "series.tif", "--axes", "y,tilt,x", "--out", "measured.zarr")
    assert dataset(*command, "--set", "angle=0,1,2,3", "background=0")[0] == 0
    assert infer("--model", "run", "--data", "measured.zarr", "--out", "p.zarr")[0] == 0
    assert infer("--model", "run", "--data", data, "--out", "all.zarr")[0] == 0
    one, all_of_them = (xr.open_zarr(store).clean.values for store in ("p.zarr", "all.zarr"))
    np.testing.assert_allclose(one[0], all_of_them[2], atol=1e-5)


def test_names_of_classes_belong_to_the_data() -> None:
    """Those of a dataset without classes are what they were."""
    task = find_task("toy_labels")
    assert task["mask"].identity[-1] == ["void", "disc", "ignore"]
    assert len(task["image"].identity) == 5


def test_masks_are_exported_as_palettes_of_their_labels(generate: Command, dataset: Command) -> None:
    data = dataset_of(generate, "toy_labels")
    assert dataset("export", data, "--format", "png", "--fields", "mask", "--out", "png")[0] == 0
    stored = xr.open_zarr("data.zarr/test").mask.values
    with Image.open("png/test_0002_mask.png") as image:
        assert image.mode == "P"
        np.testing.assert_array_equal(np.asarray(image), stored[2])
    assert dataset("export", data, "--format", "tiff", "--fields", "mask", "--out", "tiff")[0] == 0
    np.testing.assert_array_equal(tifffile.imread("tiff/test_0002_mask.tif"), stored[2])
    about = json.loads(Path("png/export.json").read_text())["fields"]["mask"]
    assert about["classes"] == ["void", "disc", "ignore"]


def test_a_tiff_has_the_pixels_of_its_own_grid(generate: Command, dataset: Command) -> None:
    """Not those of another grid: where a task states no width of pixels, the file says none."""
    data = dataset_of(generate, "toy_fusion")
    assert dataset("export", data, "--format", "tiff", "--fields", "guide", "low", "--out", "tiff")[0] == 0
    for name, known in (("guide", True), ("low", False)):
        with tifffile.TiffFile(f"tiff/test_0000_{name}.tif") as file:
            tags = file.pages.first.tags
            assert ("XResolution" in tags and tags["XResolution"].value[0] == 2 * tags["XResolution"].value[1]) == known


def test_probabilities_are_stored_if_asked_for(
    generate: Command, train: Command, infer: Command, evaluate: Command
) -> None:
    data = dataset_of(generate, "toy_labels")
    learned(train, data, "unet")
    command = ("--model", "run", "--data", data, "--probabilities", "--out", "p.zarr")
    assert infer(*command)[0] == 0
    found = xr.open_zarr("p.zarr")
    assert found.mask_probability.dims == ("sample", "mask_class", "y", "x")
    np.testing.assert_allclose(found.mask_probability.sum("mask_class"), 1, atol=1e-5)
    assert not found.mask_probability[:, 2].any(), "what is ignored is never likely"
    np.testing.assert_array_equal(found.mask_probability.argmax("mask_class"), found.mask)
    assert ", 0 made now" in infer(*command)[1]
    assert evaluate("--data", data, "--predictions", "p.zarr", "--out", "report")[0] == 0
    refused(infer("--model", "run", "--data", data, "--out", "p.zarr"), "p.zarr")
    assert infer("--method", "threshold", "--data", data, "--probabilities", "--out", "t.zarr")[0] == 0
    assert set(np.unique(xr.open_zarr("t.zarr").mask_probability)) == {0, 1}
