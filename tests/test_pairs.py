"""`dataset thin`: pairs of independent counts to learn from, from images without clean ones."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from inference.invert.split_reader import open_source
from inference.without_truth.scoring import _read_block
from schemas.counting.pairs import Division, make_pairs
from schemas.manifest import read_manifest
from schemas.runtime import machine

from .conftest import TOY_TASK, Command, refused

COUNTS = ("--task", "toy_counts", "--scheduler", "synchronous")
VIEWS = 2  # slices per sample


@pytest.fixture
def counted(generate: Command) -> Path:
    """Return a dataset of 5 samples, each with 2 views of 7 x 9 pixels."""
    options = ("--n", 5, "--validation", 0, "--test", 0, "--set", f"views={VIEWS}")
    assert generate(*COUNTS, *options)[0] == 0
    return Path("toy_counts.zarr")


def stored(path: Path, split: str) -> dict[str, np.ndarray]:
    opened = xr.open_zarr(path / split)
    return {str(name): array.values for name, array in opened.items()}


def whole(fields: dict[str, np.ndarray], name: str, share: float) -> np.ndarray:
    """Return the counts (sample, y, x) of the inputs (share of the counts: `share`), or of the targets."""
    electrons = fields["electrons"].astype(float) / (1 if name == "noisy" else share)
    return np.asarray(fields[name][:, :, 0] * electrons[:, None])


@pytest.mark.parametrize("share", [0.5, 0.7])
def test_the_parts_of_an_image_are_all_its_counts(counted: Path, dataset: Command, share: float) -> None:
    """The copies of an image differ. One of ten images, and at least one, is for validation, and not for training."""
    code, out, err = dataset("thin", counted, "--share", share, "--copies", 3)
    assert (code, err, out) == (0, "", "pairs.zarr: pairs of toy_counts.zarr/train (train 27, validation 1)\n")
    source = stored(counted, "train")
    every = source["noisy"].transpose(0, 2, 1, 3) * source["electrons"][:, :, None, None].astype(float)
    images, doses = np.rint(every).reshape(5 * VIEWS, *every.shape[2:]), np.repeat(source["dose"], VIEWS)
    found = []
    for split in ("train", "validation"):
        pairs = stored(Path("pairs.zarr"), split)
        first, second = whole(pairs, "noisy", 1), whole(pairs, "clean", share / (1 - share))
        for part in (first, second):
            np.testing.assert_allclose(part, np.rint(part), atol=1e-3)
        numbers = [int(np.flatnonzero((images == one).all(axis=(1, 2)))[0]) for one in np.rint(first + second)]
        np.testing.assert_allclose(pairs["dose"], share * doses[numbers], rtol=1e-6)
        assert len(np.unique(first, axis=0)) == len(first)
        found.append(numbers)
    assert sorted(found[0] + found[1] * 3) == sorted([*range(5 * VIEWS)] * 3)


def test_the_same_command_makes_the_same_pairs(counted: Path, dataset: Command) -> None:
    dataset("thin", counted)
    first = read_manifest(Path("pairs.zarr")).root_digest
    assert dataset("thin", counted)[1].endswith("already made\n")
    refused(dataset("thin", counted, "--seed", 1), "holds another import of these files", "--overwrite")
    assert dataset("thin", counted, "--seed", 1, "--overwrite")[0] == 0
    assert read_manifest(Path("pairs.zarr")).root_digest != first
    assert dataset("validate", "pairs.zarr")[0] == 0


def test_networks_learn_from_pairs(counted: Path, dataset: Command, train: Command, quick: None) -> None:
    dataset("thin", counted)
    told = ("--data", "pairs.zarr", "--model", "unet", "--epochs", 1, "--set", "model.width=2")
    assert train(*told)[0] == 0


def test_what_cannot_be_divided_is_refused(
    counted: Path, generate: Command, dataset: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused(dataset("thin", counted, "--validation", 10), "--validation 10: toy_counts.zarr/train has 10 images")
    refused(dataset("thin", counted, "--split", "test"), "--split test: toy_counts.zarr has no samples")
    refused(dataset("thin", counted, "--share", 1), "must be a share of the counts")
    generate(*TOY_TASK, "--n", 2)
    refused(dataset("thin", "toy.zarr"), "dataset thin: no input of task toy is counts", "toy_counts")
    generate(*COUNTS, "--n", 2, "--set", "noise=0", "--out", "clear.zarr")
    refused(dataset("thin", "clear.zarr"), "electrons = 0 in sample 0", "give counted ones")
    monkeypatch.setattr(machine, "memory", lambda: 1000)
    monkeypatch.setattr("schemas.counting.pairs.memory", lambda: 1000)
    refused(dataset("thin", counted), "--copies 8: 73 pairs need", "give fewer copies")


def test_without_validation_images_all_are_for_training(counted: Path) -> None:
    _, splits = make_pairs(counted, "train", Division(copies=2, validation=0))
    assert splits == {"train": 20, "validation": 0}


def test_a_known_background_is_taken_off_the_targets_alone(dataset: Command) -> None:
    """It was counted, so it cannot be taken off before counts are divided."""
    counts = np.random.default_rng(1).poisson(3.0, (4, 40, 50)).astype(np.float32)
    np.save("a.npy", counts)
    told = ("--set", "electrons=1", "sampling=0.02", "background_level=2", "angle=0,0.1,0.2,0.3", "--axes", "tilt,y,x")
    assert dataset("import", "--task", "aet", "a.npy", *told)[0] == 0
    assert dataset("thin", "measured.zarr", "--share", 0.5, "--copies", 1, "--validation", 0)[0] == 0
    pairs = stored(Path("pairs.zarr"), "train")
    assert pairs["noisy"].mean() == pytest.approx(3.0, abs=0.2)
    assert pairs["clean"].mean() == pytest.approx(1.0, abs=0.2)
    opened = (replace(open_source(Path("measured.zarr"), "test"), half=half) for half in (0, 1))
    block = _read_block((next(opened), next(opened)), 0, 1)
    np.testing.assert_array_equal(block.add_levels(block.halves[0], ["clean"]), block.halves[0] + 2)
    np.testing.assert_array_equal(block.add_levels(block.halves[0], ["clean", "background"]), block.halves[0])
    np.testing.assert_allclose(pairs["noisy"][:, 0] / 2 + (pairs["clean"][:, 0] + 2) / 2, counts, atol=1e-5)
