"""A model's folder: whole or refused in one line, never a pickle, never lost to a save that dies."""

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import load, save

from schemas.manifest import read_manifest
from schemas.runtime import publish
from schemas.runtime.errors import UserError
from schemas.runtime.hashes import sha256
from schemas.task import find_task
from tests.training.conftest import columns, features_for, recipe_for
from training import model_building
from training.contract import model_names, versions
from training.export import store as models
from training.export.card import ModelCard
from training.export.store import load_model
from training.network import Named
from training.recipe import Recipe


def card(store: Path, recipe: Recipe, **changes: Any) -> ModelCard:
    """That of a run on this dataset."""
    manifest, features = read_manifest(store), features_for(store, f"input={recipe.input}", _scalars(recipe))
    known: dict[str, Any] = {
        "name": "run", "task": manifest.task, "sizes": manifest.sizes, "recipe": recipe.model_dump(mode="json"),
        "moments": features.moments, "ranges": {}, "dataset_digest": manifest.root_digest,
        "dataset_family": manifest.family, "run": "",
        "dataset_recipe": manifest.recipe,
        "versions": versions(manifest.task.name, recipe.network),
        "samples": 21, "parameters": 3, "step": 7, "epoch": 1, "scores": {"validation/nrms": 0.5}, "history": [],
        "seconds": 1.0, "places": [],
    }  # fmt: skip
    return ModelCard(**known | changes)


def _scalars(recipe: Recipe) -> str:
    return f"scalars={','.join(recipe.scalars)}" if recipe.scalars else "seed=0"


@cache
def identity(store: Path) -> tuple[Named, Named]:
    return model_building.build_network(recipe_for("mlp"), features_for(store)).initial


def write(folder: Path, store: Path, scale: float = 1.0) -> Path:
    """A model that gives `scale` times the identity, nearly."""
    parameters, rest = identity(store)
    models.save(folder, card(store, recipe_for("mlp")), {k: scale * v for k, v in parameters.items()}, rest)
    return folder


@pytest.fixture
def model(toy: Path, tmp_path: Path) -> Path:
    return write(tmp_path / "run" / "best", toy)


def refuse(path: Path, *parts: str) -> None:
    with pytest.raises(UserError) as error:
        load_model(path)
    assert "\n" not in str(error.value)
    for part in (path.name, *parts):
        assert part in str(error.value)


def test_a_run_its_best_and_a_copy_are_all_models(model: Path, tmp_path: Path) -> None:
    shutil.copytree(model, tmp_path / "copy")
    for path in (model.parent, model, tmp_path / "copy"):
        assert load_model(path).card.step == 7


def test_the_folder_holds_data_alone(model: Path) -> None:
    assert {path.name for path in model.parent.rglob("*") if path.is_file()} == {
        "model.safetensors",
        "model.json",
        "README.md",
    }
    assert load((model / "model.safetensors").read_bytes()).keys() == {
        f"parameters/{layer}.{part}" for layer in ("layers.0", "layers.1") for part in ("kernel", "bias")
    }
    text = (model / "README.md").read_text()
    assert "toy 1.0" in text
    assert "validation/nrms | 0.5" in text
    toy = find_task("toy")
    dims = {dim for role in ("input", "target") for field in toy.of(role) for dim in field.dims[1:]}
    listed = next(line for line in text.splitlines() if "sizes of the training data" in line).split("|")[2]
    assert {part.split()[0] for part in listed.split(",")} == dims, "no dimensions of other fields"


def edited(**changes: Any) -> Callable[[Path], None]:
    """model.json with other values, `a__b` for b in a."""

    def edit(model: Path) -> None:
        content = json.loads((model / "model.json").read_text())
        for name, value in changes.items():
            *outer, last = name.split("__")
            inner = content
            for part in outer:
                inner = inner[part]
            inner[last] = value
        (model / "model.json").write_text(json.dumps(content))

    return edit


def _reweighed(change: Callable[[dict[str, np.ndarray]], dict[str, np.ndarray]]) -> Callable[[Path], None]:
    """Other weights, with the hash that goes with them."""

    def edit(model: Path) -> None:
        weights = save(change(load((model / "model.safetensors").read_bytes())))
        (model / "model.safetensors").write_bytes(weights)
        edited(weights_sha256=sha256(weights))(model)

    return edit


def _bytes(change: Callable[[bytearray], bytearray], name: str = "model.safetensors") -> Callable[[Path], None]:
    def edit(model: Path) -> None:
        (model / name).write_bytes(change(bytearray((model / name).read_bytes())))

    return edit


def _flipped(content: bytearray) -> bytearray:
    content[len(content) // 2] ^= 1
    return content


HARM: dict[str, tuple[Callable[[Path], None], tuple[str, ...]]] = {
    "no card": (lambda model: (model / "model.json").unlink(), ("no model here",)),
    "nothing": (shutil.rmtree, ("no model here",)),
    "card cut short": (_bytes(lambda x: x[: len(x) // 2], "model.json"), ("damaged", "copy the model again")),
    "card not text": (_bytes(lambda x: bytearray(b"\xff\xfe") + x, "model.json"), ("damaged",)),
    "card a list": (_bytes(lambda x: bytearray(b"[]"), "model.json"), ("damaged",)),
    "card without task": (edited(task=None), ("damaged: task",)),
    "unknown key": (edited(surprise=1), ("damaged: surprise",)),
    "newer format": (edited(format=3), ("format 3, this program reads up to 2",)),
    "no format": (edited(format=None), ("damaged: format",)),
    "newer schema": (edited(task__version="1.1"), ("version 1.1", "knows 1.0", "install a newer drybeam")),
    "another LEARN": (edited(versions__learn="2.0"), ("version 2.0 of learn", "train it again")),
    "another network": (edited(versions__model="0.9"), ("version 0.9 of model (toy, mlp)", "has 1.0")),
    "sizes of others": (edited(sizes__x=32), ("do not fit", "mlp")),
    "sizes of giants": (edited(sizes__x=1 << 20), ("do not fit", "mlp")),
    "unknown task": (edited(task__name="holography"), ("holography", "there are: ", "toy")),
    "task no word": (edited(task__name="../x"), ("damaged: task", "must be an identifier")),
    "version no number": (edited(task__version="9" * 5000), ("damaged: task.version",)),
    "fields missing": (edited(task__fields=[]), ("damaged: task: no field blurred",)),
    "unknown model": (
        edited(recipe__model__name="resnet"),
        ("'resnet'", ", ".join(model_names())),
    ),
    "no model named": (edited(recipe__model=None), ("None", ", ".join(model_names()))),
    "unknown setting": (edited(recipe__model__depth=3), ("model.depth", "no such setting")),
    "unknown input": (edited(recipe__input="pictures"), ("pictures", "line")),
    "unknown scalar": (edited(recipe__scalars=["weight"]), ("weight", "height")),
    "moments missing": (edited(moments={}), ("moments", "blurred")),
    "no weights": (lambda model: (model / "model.safetensors").unlink(), ("missing",)),
    "weights cut short": (_bytes(lambda x: x[:-4]), ("not the weights of model.json",)),
    "a bit flipped": (_bytes(_flipped), ("not the weights of model.json",)),
    "another shape": (_reweighed(lambda w: {k: v[..., :-1].copy() for k, v in w.items()}), ("do not fit", "mlp")),
    "another dtype": (_reweighed(lambda w: {k: v.astype(np.float16) for k, v in w.items()}), ("do not fit",)),
    "a parameter less": (_reweighed(lambda w: {k: v for k, v in w.items() if "bias" not in k}), ("do not fit",)),
    "a parameter more": (_reweighed(lambda w: w | {"parameters/third": np.zeros(3)}), ("do not fit",)),
    "another width": (edited(recipe__model__hidden=[5]), ("do not fit",)),
}


@pytest.mark.parametrize("harm", HARM)
def test_what_is_not_whole_or_not_known_is_refused_in_one_line(harm: str, model: Path) -> None:
    damage, parts = HARM[harm]
    damage(model)
    refuse(model, *parts)


@pytest.mark.parametrize("older", [{}, {"learn": "1.7"}])
def test_a_model_without_versions_or_of_a_later_minor_one_is_read(older: dict[str, str], model: Path) -> None:
    edited(versions=older)(model)
    assert load_model(model).card.versions == older


def test_an_operator_has_a_version() -> None:
    assert versions("toy_scan", "unrolled") == {"learn": "1.0", "model": "1.0", "operator": "1.0"}
    assert versions("toy_scan", "unet").keys() == {"learn", "model"}


def test_another_task_or_schema_is_not_accepted(model: Path, toy: Path, tie: Path) -> None:
    trained = load_model(model)
    mine, other = read_manifest(toy), read_manifest(tie)
    assert trained.reasons_to_refuse(mine.task, mine.sizes) == []
    assert trained.reasons_to_refuse(other.task, other.sizes) == [
        "it was trained for the task toy, but the dataset is of tie"
    ]
    newer = replace(mine.task, version="2.0")
    assert trained.reasons_to_refuse(newer, mine.sizes) == ["it was trained on schema 1.0, but the dataset has 2.0"]


@pytest.mark.parametrize("count", [1, 2, 5, 64, 65, 130])
def test_a_prediction_does_not_depend_on_how_many_are_asked_for(model: Path, toy: Path, count: int) -> None:
    trained, fields = load_model(model), columns(toy)
    many = {name: np.resize(fields[name], (130, *fields[name].shape[1:])) for name in trained.inputs}
    whole = trained.predict(many)["line"]
    part = trained.predict({name: values[:count] for name, values in many.items()})["line"]
    assert (part.dtype, part.shape) == (np.dtype(np.float32), (count, 33))
    np.testing.assert_allclose(part, whole[:count], atol=1e-6)


# --- a save that dies


class Killed(BaseException):
    """As a process is: nothing is tidied up."""


DEADLY = ((os, "fsync"), (os, "replace"), (Path, "rename"), (shutil, "rmtree"))


def dies(monkeypatch: pytest.MonkeyPatch, at: int) -> None:
    """The process ends before the `at`-th change to the disk."""
    left = [at]

    def wrap(original: Callable[..., Any]) -> Callable[..., Any]:
        def act(*args: Any, **kwargs: Any) -> Any:
            left[0] -= 1
            if left[0] < 0:
                raise Killed
            return original(*args, **kwargs)

        return act

    for owner, name in DEADLY:
        monkeypatch.setattr(owner, name, wrap(getattr(owner, name)))


def scale_of(path: Path) -> float:
    return float(jnp.max(load_model(path).parameters["layers.0.kernel"]))


@pytest.mark.parametrize("deaths", [(at,) for at in range(10)] + [(7, at) for at in range(12)])
def test_a_save_that_dies_leaves_the_old_or_the_new_model(
    deaths: tuple[int, ...], model: Path, toy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed before each of its ten changes to the disk; also a second time, after a death between the renames."""
    monkeypatch.setattr(publish, "_dead", lambda name: True)
    for scale, death in enumerate(deaths, 2):
        with monkeypatch.context() as patch:
            dies(patch, death)
            with pytest.raises(Killed):
                write(model, toy, scale)
        for path in (model.parent, model):
            assert scale_of(path) in range(1, scale + 1)
    write(model, toy, 9)
    assert scale_of(model) == 9
    assert [path.name for path in model.parent.iterdir()] == ["best"]


def test_eleven_changes_would_be_one_too_many(model: Path, toy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So the test above kills between any two."""
    dies(monkeypatch, 10)
    write(model, toy)


def test_scale_of_sees_the_difference(model: Path, toy: Path) -> None:
    assert scale_of(write(model, toy, 3)) == 3
