"""Small datasets, made once."""

import pkgutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import training.tasks
from generators.cli import main as generate
from schemas.manifest import read_manifest
from schemas.runtime.settings import make_settings
from schemas.slices import fold
from schemas.store import open_split
from tests.shared import Made
from training.contract import find_model
from training.features import Features
from training.recipe import Recipe, recipe_type
from training.run import prepare

TIE = ("image_size=16", "field_of_view=40", "supersampling=1", "defocus=300:900")
QUICK: Any = {"compiler_options": {"xla_backend_optimization_level": 0}}  # what runs for a second is compiled in ten
WINDOWED = ("window=0.4", "noise=0.01:0.05")
BARE = ("noise=0", "misalignment=none", "window=none")


def made(folder: Path, task: str, *args: str, n: int = 21) -> Path:
    command = f"--task {task} --n {n} --validation 6 --test 0 --scheduler synchronous --out {folder / task}.zarr"
    assert generate([*command.split(), *args]) == 0
    return folder / f"{task}.zarr"


@pytest.fixture(scope="session")
def toy(made_once: Made) -> Path:
    return made_once("toy", lambda folder: made(folder, "toy", n=41)) / "toy.zarr"


@pytest.fixture(scope="session")
def tie(made_once: Made) -> Path:
    """With noise, misalignment and a window, on a grid of even size."""
    return made_once("tie", lambda folder: made(folder, "tie", "--set", *TIE, *WINDOWED)) / "tie.zarr"


@pytest.fixture(scope="session")
def bare(made_once: Made) -> Path:
    """As the schema's formula has it."""
    return made_once("bare", lambda folder: made(folder, "tie", "--set", *TIE, *BARE)) / "tie.zarr"


@pytest.fixture(scope="session")
def stores(toy: Path, made_once: Made) -> dict[str, Path]:
    """Of each task, with every field that an input may read."""
    rich = ("--recipe", "magnetic", "--set", *TIE, *WINDOWED, "padding=1", "retrieval=tie")
    others = {module.name for module in pkgutil.iter_modules(training.tasks.__path__)} - {"toy"}
    folder = made_once(
        "stores", lambda folder: [made(folder, task, *(rich if task == "tie" else ())) for task in sorted(others)]
    )
    return {"toy": toy} | {task: folder / f"{task}.zarr" for task in others}


def recipe_for(model: str = "mlp", *settings: str) -> Recipe:
    return make_settings(recipe_type(model, find_model(model)), {}, list(settings))


def features_for(store: Path, *settings: str) -> Features:
    task = read_manifest(store).task
    suited = ("loss.relative=0", "loss.cross_entropy=1") if task.of("target")[0].classes else ()
    return prepare(store, Path("run"), recipe_for("mlp", *suited, *settings)).features


def rows_of(store: Path, split: str = "train") -> dict[str, Any]:
    """The same as `columns`, slice by slice."""
    manifest = read_manifest(store)
    return dict(fold(manifest.task, columns(store, split), manifest.samples[split]))


def columns(store: Path, split: str = "train") -> dict[str, Any]:
    """All fields of a split, constants too."""
    group = open_split(store, split)
    return {field.name: np.asarray(group[field.name][...]) for field in read_manifest(store).task.fields}
