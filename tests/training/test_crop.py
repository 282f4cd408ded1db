"""Parts of samples: the same from memory and from the store, inside their samples, all of a sample when scored."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from schemas.manifest import read_manifest
from schemas.runtime.errors import UserError
from schemas.task import Field, Task, find_task
from tests.conftest import Command, refused
from tests.runs import card, dies_at, weights
from tests.shared import Made
from tests.training.conftest import made, recipe_for
from training import devices, model_building
from training.batches import Batch, BatchSource, Resident, Split, Stream
from training.contract import Derived, Learn, find_learn
from training.crop import Crop, plan_crop
from training.features import Features
from training.nan_watch import Watch
from training.run import Run, prepare
from training.sample_order import Order

FUSION = find_task("toy_fusion")
CUT = {"y": 6, "x": 9}  # of 12 x 15, three fine pixels to a coarse one
KINDS: dict[str, Callable[..., BatchSource]] = {"resident": Resident, "stream": Stream}


@pytest.fixture(scope="module")
def fusion(made_once: Made) -> Path:
    return made_once("fusion", lambda folder: made(folder, "toy_fusion", n=11)) / "toy_fusion.zarr"


def batches_of(
    kind: str, store: Path, seed: int | None, fields: tuple[str, ...] = ("low", "guide", "high")
) -> list[Batch]:
    manifest = read_manifest(store)
    crop = Crop(manifest.task, manifest.sizes, CUT, seed)
    data = Split(store, "train", fields, (), manifest.task, 1, crop)
    order = Order(11 * crop.parts, 4, seed, 2 * crop.parts, 0, 0, crop.parts)
    return list(KINDS[kind](data, order, devices.mesh(4)).batches(0, order.steps))


@pytest.mark.parametrize("seed", [3, None])
def test_parts_from_memory_and_from_the_store_are_the_same(seed: int | None, fusion: Path) -> None:
    for one, other in zip(batches_of("resident", fusion, seed), batches_of("stream", fusion, seed), strict=True):
        assert one.keys() == other.keys()
        for name in one:
            np.testing.assert_array_equal(one[name], other[name])


@pytest.mark.parametrize("seed", [3, None])
def test_all_fields_are_cut_at_the_same_place(seed: int | None, fusion: Path) -> None:
    """Without noise, each coarse pixel is the mean of the nine fine ones that lie under it, also in a part."""
    for batch in batches_of("stream", fusion, seed):
        low, high, guide = (np.asarray(batch[name]) for name in ("low", "high", "guide"))
        assert (low.shape[2:], high.shape[2:], guide.shape[1:]) == ((2, 3), (6, 9), (6, 9))
        means = high.reshape(*high.shape[:2], 2, 3, 3, 3).mean((3, 5))
        assert abs(low - means).max() < 0.1  # the noise is 0.01
        np.testing.assert_allclose(guide, high.mean(1), atol=1e-6)


def test_random_parts_begin_everywhere_on_the_coarse_grid_and_cover_ends() -> None:
    crop = Crop(FUSION, {"y": 12, "x": 15, "ylow": 4, "xlow": 5, "channel": 2}, CUT, seed=5)
    drawn = np.concatenate([crop.corners(step, np.arange(8)) for step in range(100)])
    assert sorted(set(drawn[:, 0])) == [0, 3, 6]
    assert sorted(set(drawn[:, 1])) == [0, 3, 6]
    assert len({tuple(row) for row in drawn}) == 9
    np.testing.assert_array_equal(crop.corners(7, np.arange(8)), crop.corners(7, np.arange(8)[::-1]))
    covered = np.zeros((12, 15), int)
    for y, x in replace(crop, seed=None).cover_corners:
        covered[y : y + 6, x : x + 9] += 1
    assert covered.min() == 1


def test_a_constant_is_cut_with_each_sample() -> None:
    field = Field("place", ("x", "y"), "float32", "1", "auxiliary", "")
    task = replace(FUSION, fields=(*FUSION.fields, field))
    crop = Crop(task, {"y": 12, "x": 15, "ylow": 4, "xlow": 5, "channel": 2}, CUT)
    assert crop.cut_task["place"].dims == ("sample", "x", "y")
    values = np.arange(180.0).reshape(15, 12)
    np.testing.assert_array_equal(crop.part(field, values, np.array([3, 6])), values[6:15, 3:9])


def test_what_needs_whole_samples_is_not_cut(fusion: Path, train: Command) -> None:
    for options, rule in (
        (("--set", "crop=4"), "must be a multiple of 3 along y, 3 along x"),
        (("--model", "mlp", "--set", "crop=6"), "depends on whole samples"),
    ):
        refused(train("--data", fusion, "--out", "r", *options), "crop", rule)
    series = Task("t", "1", "", "", FUSION.fields, grids=FUSION.grids)
    whole = Learn({"both": (Derived(("low",), lambda fields: fields["low"], "", "from all of it"), "guide")})
    with pytest.raises(UserError, match="whole samples"):
        plan_crop(Features(series, whole, "both", (), {}, read_manifest(fusion).sizes), 6, whole=False)


def run_of(store: Path, *settings: str, model: str = "unet") -> Run:
    return prepare(store, Path("r"), recipe_for(model, *settings))


def test_a_task_may_state_how_samples_are_cut(fusion: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The crop of a task is used unless another is given; small samples, and those that must not be cut, stay whole."""
    learn = find_learn("toy_fusion")
    for length, settings, model, expected in (
        (6, (), "unet", 6),
        (6, ("crop=9",), "unet", 9),
        (6, ("crop=none",), "unet", None),
        (6, ("crop=0",), "unet", None),
        (6, (), "mlp", None),
        (30, (), "unet", None),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(model_building, "find_learn", lambda _, length=length: replace(learn, crop=length))
            run = run_of(fusion, *settings, model=model)
        assert run.recipe.crop == expected
        assert run.features.sizes["y"] == (expected or 12)
        assert bool(run.crop) == (expected is not None)


@pytest.mark.usefixtures("quick")
def test_a_run_on_parts_is_the_same_however_it_is_read_and_resumes(
    fusion: Path, train: Command, infer: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whole images are then cut into tiles of the size of a part."""
    settings = ("crop=6", "model.width=2", "model.widening=1,2", "save_every=2", "log_every=1")
    command: Any = ("--data", fusion, "--batch-size", 4, "--epochs", 3, "--set", *settings)
    for mode in ("resident", "stream"):
        assert train(*command, "--mode", mode, "--out", mode)[0] == 0
    assert weights("resident") == weights("stream")
    with monkeypatch.context() as patch:
        patch.setattr(Watch, "follow", dies_at(5, Watch.follow))
        with pytest.raises(RuntimeError, match="killed"):
            train(*command, "--mode", "stream", "--out", "killed")
    assert train(*command, "--mode", "resident", "--out", "killed")[0] == 0
    assert weights("killed") == weights("stream")
    assert card("stream")["sizes"]["y"] == 6
    assert infer("--model", "stream", "--data", fusion, "--split", "train", "--out", "p.zarr")[0] == 0
