"""Commands that read a dataset while another one takes its place: samples of two datasets are never mixed."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from generators.command import Options
from generators.command import generate as generate_directly
from inference.invert.split_reader import Source
from schemas.exchange import export_sources
from training import batches

from .conftest import TOY_TASK, Command, refused

GENERATE = (*TOY_TASK, "--test", 40, "--shard-samples", 8, "--out", "toy.zarr")
SAME: dict[str, Any] = {"task": "toy", "scheduler": "synchronous", "out": Path("toy.zarr")}
OTHERS = {
    "overwritten": Options(**SAME, n=40, test=40, seed=9, overwrite=True),
    "extended": Options(**SAME, n=44, test=44),
}
READERS: dict[str, tuple[tuple[Any, str], tuple[object, ...]]] = {
    "infer": ((Source, "read"), ("--method", "identity", "--data", "toy.zarr", "--out", "p.zarr", "--batch-size", 8)),
    "export": ((export_sources, "_rows"), ("export", "toy.zarr", "--format", "npy", "--out", "e")),
    "train": (
        (batches.Split, "read"),
        ("--data", "toy.zarr", "--out", "r", "--mode", "stream", "--epochs", 1, "--batch-size", 8),
    ),
}


@pytest.mark.parametrize("other", OTHERS)
@pytest.mark.parametrize("reader", READERS)
def test_samples_of_two_datasets_are_not_mixed(
    reader: str,
    other: str,
    generate: Command,
    infer: Command,
    dataset: Command,
    train: Command,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert generate(*GENERATE, "--n", 40)[0] == 0
    (owner, name), command = READERS[reader]
    read = getattr(owner, name)
    reads: list[int] = []

    def sleeping(*args: Any) -> Any:
        reads.append(1)
        if len(reads) == 3:
            generate_directly(OTHERS[other])  # the thread that reads batches may handle no signals
        return read(*args)

    monkeypatch.setattr(owner, name, sleeping)
    commands: dict[str, Callable[..., tuple[int, str, str]]] = {"infer": infer, "export": dataset, "train": train}
    code, _, err = commands[reader](*command)
    assert code == 75, err
    assert "toy.zarr: has become another dataset meanwhile; run the same command again" in err
    assert not Path("e/export.json").exists()
    if reader == "infer":
        refused(infer(*command), "holds predictions for another dataset")
