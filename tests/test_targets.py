"""Targets of several kinds in one dataset, an image and its mask: learned together or alone, and scored."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from schemas.scores import score
from schemas.task import find_task
from tests.conftest import Command, done, refused
from tests.runs import card
from tests.shared import Made
from training.cli import options
from training.command import choose_recipe
from training.contract import Symmetry, _symmetry_mistakes
from training.recipe import Loss

FIXED = ("window=hann", "cutoff=1", "positive=yes")
pytestmark = pytest.mark.usefixtures("quick")


@pytest.fixture(scope="session")
def made(made_once: Made) -> Path:
    """Folder of the same samples with and without mask, of networks for some targets, and of their predictions."""
    from generators.cli import main as generate
    from inference.cli import infer
    from training.cli import main as train

    def make(folder: Path) -> None:
        sizes = ("--n", 8, "--validation", 4, "--test", 4, "--scheduler", "synchronous")
        for name, settings in (("mask", ("mask=true",)), ("image", ())):
            done(
                generate,
                "--task",
                "tomo",
                *sizes,
                "--set",
                "image_size=12",
                *settings,
                "--out",
                folder / f"{name}.zarr",
            )
        for target in ("", "mask"):
            run, small = (
                folder / f"net-{target}",
                ("--model", "mlp", "--set", "model.hidden=4", "epochs=1", "batch_size=4"),
            )
            chosen = ("--target", target) if target else ()
            done(train, "--data", folder / "mask.zarr", *chosen, *small, "--out", run)
            for store in ("mask", "image"):
                out = folder / f"{store}-net-{target}.zarr"
                done(infer, "--model", run, "--data", folder / f"{store}.zarr", "--out", out)

    return made_once("targets", make)


def scores_of(name: str) -> set[str]:
    return set(json.loads(Path("report/metrics.json").read_text())["methods"][name]["metrics"])


@pytest.mark.usefixtures("without_report")
def test_by_default_each_target_has_a_loss_of_its_kind(made: Path, evaluate: Command) -> None:
    weights = Loss(**card(str(made / "net-"))["recipe"]["loss"]).weights
    assert {name: weight for name, weight in weights.items() if weight} == {"relative": 1, "cross_entropy": 1}
    assert set(xr.open_zarr(made / "mask-net-.zarr").data_vars) == {"image", "mask"}
    assert evaluate("--data", made / "mask.zarr", "--predictions", made / "mask-net-.zarr")[0] == 0
    assert {"nrms", "mask.iou"} <= scores_of("net-")


@pytest.mark.usefixtures("brief_report")
def test_one_target_is_learned_alone_and_scored_beside_methods_that_find_all(
    made: Path, infer: Command, evaluate: Command
) -> None:
    alone, data = made / "mask-net-mask.zarr", made / "mask.zarr"
    assert set(xr.open_zarr(alone).data_vars) == {"mask"}
    assert infer("--method", "fbp", "--data", data, "--set", *FIXED, "--out", "fbp.zarr")[0] == 0
    code, out, said = evaluate("--data", data, "--predictions", alone, "fbp.zarr")
    assert code == 0, said
    assert "scored: mask, which all predictions and the dataset hold; not image" in out
    assert scores_of("fbp") == scores_of("net-mask")
    assert {"iou", "mcc"} <= scores_of("fbp")


@pytest.mark.usefixtures("without_report")
def test_targets_that_a_dataset_lacks_are_not_scored(made: Path, evaluate: Command) -> None:
    both, data = made / "image-net-.zarr", made / "image.zarr"
    assert set(xr.open_zarr(both).data_vars) == {"image", "mask"}
    assert evaluate("--data", data, "--predictions", both)[0] == 0
    assert "nrms" in scores_of("net-")
    assert not any(name.startswith("mask") for name in scores_of("net-"))
    refused(evaluate("--data", data, "--predictions", made / "image-net-mask.zarr", "--out", "r"), "holds mask; ")


@pytest.mark.parametrize(
    ("given", "losses"),
    [
        (("--recipe", "published"), {"mse": 1, "cross_entropy": 1}),
        (("--recipe", "published", "--target", "image"), {"mse": 1}),
        (("--recipe", "published", "--target", "mask"), {"cross_entropy": 1}),
        (("--target", "photons"), {"mse": 1}),
        (("--set", "loss.dice=1"), {"relative": 1, "cross_entropy": 1, "dice": 1}),
    ],
)
def test_losses_of_a_recipe_are_kept_where_they_compare_the_targets(given: Any, losses: dict[str, float]) -> None:
    from training.cli import arguments

    recipe = choose_recipe(options(arguments(list(given))), find_task("tomo"))
    assert {name: weight for name, weight in recipe.loss.weights.items() if weight} == losses


@pytest.mark.parametrize(
    ("chosen", "rule"),
    [
        (("--target", "mask,photons"), "must not name images beside numbers"),
        (("--target", "masc"), "unknown to tomo; did you mean mask"),
        (
            ("--set", "loss.cross_entropy=0"),
            "weighted_cross_entropy; set one of them, or leave mask out: --target image",
        ),
        (("--set", "loss.dice=1", "--target", "image"), "target image holds values, which loss.dice cannot compare"),
    ],
)
def test_targets_that_cannot_be_learned_are_refused(
    chosen: tuple[str, ...], rule: str, made: Path, train: Command
) -> None:
    refused(train("--data", made / "mask.zarr", *chosen), rule)


def test_a_target_that_the_dataset_lacks_is_told(made: Path, train: Command) -> None:
    lacking = "--target mask: the dataset does not hold it; generate can store it (generate --task tomo --describe)"
    refused(train("--data", made / "image.zarr", "--target", "mask"), lacking)


def test_another_geometry_than_in_training_is_told(made: Path, generate: Command, infer: Command) -> None:
    """The rays belong to the input of the network, which sees filtered back projections."""
    settings = ("image_size=12", "rays.detectors=24", "rays.pitch=0.5")
    sizes = ("--n", 0, "--validation", 0, "--test", 2)
    assert generate("--task", "tomo", *sizes, "--set", *settings, "--out", "fine.zarr")[0] == 0
    _, said, _ = infer("--model", made / "net-", "--data", "fine.zarr")
    assert "lie outside of the training data: pitch 0.5, trained with 1" in said


def test_the_cross_entropy_beside_classes_is_for_these_alone() -> None:
    """Values are no probabilities; alone, they may be compared by it."""
    from training.losses import general_terms

    task = find_task("tomo")
    fields = task.of("target")
    assert ["cross_entropy" in general_terms(field, fields) for field in fields] == [False, True]
    assert "cross_entropy" in general_terms(task["image"], [task["image"]])


def test_scores_of_images_beside_masks_leave_out_what_the_window_does() -> None:
    task, rng = find_task("tomo"), np.random.default_rng(0)
    window = np.zeros((14, 16), np.float32)
    window[2:, 3:] = 1
    truth, found = ({"image": rng.random((2, 14, 16))} for _ in range(2))
    mask = {"mask": np.zeros((2, 14, 16), np.uint8)}
    alone, both = (
        score(task.targeting(["image"]), found, truth, window),
        score(task, found | mask, truth | mask, window),
    )
    for name, values in alone.items():
        np.testing.assert_array_equal(both[name], values, err_msg=name)


def test_a_symmetry_that_would_leave_a_target_behind_is_refused() -> None:
    [mistake] = _symmetry_mistakes(find_task("tomo"), [Symmetry("mirror", ("image", "angle"), dict)])
    assert mistake == "LEARN.symmetries, mirror: changes a target, but not mask; move all of them by on_grid"
