"""A command that cannot do its work leaves what is there: damaged data, full disks, kills amid a replacement."""

import errno
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
import zarr

from schemas import objects
from tests.conftest import TOY_TASK, Command, files, launch, refused
from tests.runs import SMALL

GENERATE = (*TOY_TASK, "--n", 20, "--validation", 6, "--test", 20, "--unit-samples", 8, "--out", "toy.zarr")
TRAIN = ("--data", "toy.zarr", *SMALL, "--epochs", 1, "--out", "run")
INFER = ("--method", "wiener", "--data", "toy.zarr", "--set", "noise=0.1")
TIE = ("import", "--task", "tie", "--set", "defocus=-8000,0,8000", "sampling=2", "--from", "a.npy")
SERIES = np.random.default_rng(0).random((3, 16, 16)).astype(np.float32) + 0.5


@pytest.fixture
def toy(generate: Command) -> Path:
    assert generate(*GENERATE)[0] == 0
    return Path("toy.zarr")


@pytest.mark.parametrize("name", ["../../esc", "a/b", "/etc/x"])
def test_a_name_is_no_path(name: str, toy: Path, infer: Command, evaluate: Command) -> None:
    rule = "must be printable text without /"
    refused(infer(*INFER, "--name", name), f"--name '{name}'", rule)
    refused(evaluate("--data", toy, "--predictions", f"{name}=p.zarr"), f"--predictions '{name}'", rule)
    assert not list(Path().glob("predictions*"))


def test_the_home_of_nobody_is_refused(generate: Command, train: Command, evaluate: Command) -> None:
    rule = "~nosuchuser/x: the home folder of ~nosuchuser is not known"
    refused(generate(*GENERATE, "--out", "~nosuchuser/x"), rule)
    refused(train("--data", "~nosuchuser/x"), rule)
    refused(evaluate("--data", "toy.zarr", "--predictions", "a=~nosuchuser/x"), rule)


def test_a_folder_that_is_a_link_to_nowhere_is_refused(generate: Command) -> None:
    Path("disk").mkdir()
    Path("link").symlink_to("disk/gone")
    for out in ("link/toy.zarr", "link/a/b/toy.zarr"):
        refused(generate(*GENERATE, "--out", out), f"--out {out}: lies in link, a link to nowhere")
    assert not list(Path("disk").iterdir())
    Path("disk/gone").mkdir()
    assert generate(*GENERATE, "--out", "link/toy.zarr")[0] == 0
    assert Path("disk/gone/toy.zarr/zarr.json").exists()


def test_a_split_of_another_format_is_one_line(toy: Path, dataset: Command, infer: Command) -> None:
    shutil.rmtree(toy / "test")
    zarr.create_array(toy / "test/line", data=np.zeros((20, 33), np.float32), zarr_format=2)
    zarr.open_group(toy / "test", zarr_format=2)
    code, out, err = dataset("validate", toy)
    assert (code, err) == (1, "")
    assert "test: no readable group" in out
    assert dataset("verify", toy)[0] == 1
    refused(infer(*INFER), "cannot be read")


def test_a_dataset_that_the_recipe_reads_is_not_replaced(generate: Command) -> None:
    command = ("--task", "stem4d", "--n", 3, "--validation", 0, "--test", 0, "--scheduler", "synchronous")
    assert generate(*command, "--out", "s.zarr")[0] == 0
    Path("link").symlink_to("s.zarr")
    before = files(".")
    for store in ("s.zarr", "link"):
        pictures = (f"pictures.path={store}/train/phase", "pictures.levels=image", "pictures.shared=true")
        refused(generate(*command, "--out", "s.zarr", "--overwrite", "--set", *pictures), "which this recipe reads")
    assert files(".") == before
