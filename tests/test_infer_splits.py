"""`infer --split train,test`: each split into a store of its own, the same as if it were asked for alone."""

from pathlib import Path

import pytest

from schemas.predictions import read_predictions

from .conftest import TOY_TASK, Command, refused, values

WIENER = ("--method", "wiener", "--data", "toy.zarr")


@pytest.fixture(autouse=True)
def _toy(generate: Command) -> None:
    generate(*TOY_TASK, "--n", 20, "--validation", 6, "--test", 10, "--shard-samples", 8)


def test_each_split_has_a_store_as_if_it_were_alone(infer: Command) -> None:
    code, out, err = infer(*WIENER, "--split", "train,test")
    assert (code, err) == (0, "")
    assert "predictions-toy-wiener-train.zarr: 20 samples complete, 20 made now" in out
    assert "predictions-toy-wiener-test.zarr: 10 samples complete, 10 made now" in out
    assert out.count("tuned on 6 samples of validation") == 1
    assert not Path("predictions-toy-wiener.zarr").exists()
    for split in ("train", "test"):
        infer(*WIENER, "--split", split, "--out", "alone.zarr", "--overwrite")
        together = Path(f"predictions-toy-wiener-{split}.zarr")
        assert read_predictions(together).split == split
        assert read_predictions(together).fingerprint == read_predictions(Path("alone.zarr")).fingerprint
        assert values(together) == values("alone.zarr")


def test_datasets_side_by_side_have_predictions_of_their_own(generate: Command, infer: Command) -> None:
    """Named after dataset and method, each once."""
    generate(*TOY_TASK, "--n", 4, "--test", 2, "--out", "other.zarr")
    for data in ("toy.zarr", "other.zarr"):
        assert infer("--method", "identity", "--data", data)[0] == 0
    assert infer("--method", "identity", "--data", "toy.zarr", "--name", "toy-identity", "--overwrite")[0] == 0
    assert sorted(path.name for path in Path().glob("p*")) == [
        "predictions-other-identity.zarr",
        "predictions-toy-identity.zarr",
    ]


def test_a_place_that_is_given_is_given_the_names_of_the_splits(infer: Command) -> None:
    assert infer(*WIENER, "--split", "train, test,train", "--out", "a/p.zarr")[0] == 0
    assert sorted(path.name for path in Path("a").iterdir()) == ["p-test.zarr", "p-train.zarr"]
    again = infer(*WIENER, "--split", "validation,test", "--out", "a/p")[1]
    assert "a/p-validation.zarr: 6 samples complete, 6 made now" in again
    assert "a/p-test.zarr: 10 samples complete, 0 made now" in again
    assert again.count("warning: wiener was tuned on samples of validation") == 1
    assert infer(*WIENER, "--split", "train", "--out", "one.zarr")[0] == 0
    assert read_predictions(Path("one.zarr")).split == "train"


def test_nothing_is_inverted_if_a_split_cannot_be(infer: Command) -> None:
    refused(infer(*WIENER, "--split", "train,tset"), "--split tset", "samples are in: train (20)")
    refused(infer(*WIENER, "--split", "train,"), "must be splits separated by commas")
    assert not list(Path().glob("predictions*"))
