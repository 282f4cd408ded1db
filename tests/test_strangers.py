"""Datasets and models from strangers: none brings another file of this machine into what is made or shown.

In each test the secret is a file outside of what the stranger gave.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, Field

from generators import engine
from generators.contract import find_generator
from generators.recompute import recompute
from generators.tasks import stem4d
from schemas.core import task_names
from schemas.errors import UserError
from schemas.knobs import Knobs, knob, load, make, refuse_paths, untold
from schemas.manifest import KEY
from schemas.objects import publish
from tests.conftest import Command, refused


def left_out(kind: type[BaseModel]) -> Iterator[tuple[str, ...]]:
    """Yield the knobs that dumps of a recipe leave out, however deep."""
    for name, info in kind.model_fields.items():
        if info.exclude:
            yield (name,)
        for inner in (kind for kind in (info.annotation, *getattr(info.annotation, "__args__", ())) if is_model(kind)):
            yield from ((name, *rest) for rest in left_out(inner))


def is_model(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


PLACES = [(task, names) for task in task_names() for names in left_out(find_generator(task)[1].Recipe)]


def test_places_are_found_in_all_tasks() -> None:
    found = {".".join(names) for _, names in PLACES}
    assert {"files.path", "files.paths", "waves.path", "pictures.path", "probe.path", "scan.positions.place"} <= found


def store_of(task: str, recipe: Mapping[str, Any]) -> Path:
    """Write the root of a complete dataset, all that is read of it before the files of its recipe are looked for."""
    samples = {"train": 2, "validation": 0, "test": 0}
    manifest = engine.plan(task, find_generator(task)[1].Recipe(), 0, samples, Path("x.zarr")).manifest
    manifest = manifest.model_copy(update={"recipe": recipe, "status": "complete", "root_digest": "0" * 64})
    root = {"attributes": {KEY: manifest.model_dump(mode="json")}}
    publish(Path("x.zarr/zarr.json"), json.dumps(root).encode())
    return Path("x.zarr")


@pytest.mark.parametrize(("task", "names"), PLACES, ids=[f"{task}-{'.'.join(names)}" for task, names in PLACES])
def test_no_stored_recipe_names_a_file(task: str, names: tuple[str, ...], generate: Command) -> None:
    recipe: Any = json.loads(find_generator(task)[1].Recipe().model_dump_json())
    inner = recipe
    for name in names[:-1]:
        inner[name] = inner.get(name) or {}
        inner = inner[name]
    Path("inputs").mkdir()
    for place in ("/tmp/secret.npy", "", "secret.npy"):
        inner[names[-1]] = place
        store, said = store_of(task, recipe), f"its recipe names a file of this machine, {'.'.join(names)} = {place};"
        with pytest.raises(UserError) as error:
            recompute(store, 1.0, Path("inputs"))
        assert f"{store}: {said} a stored recipe may hold hashes alone (--inputs DIR finds" in str(error.value)
    for more in ((), ("--inputs", "inputs"), ("--set", f"{names[0]}=none"), ("--plan",), ("--describe",)):
        refused(generate("--from", store, "--out", "new.zarr", *more), f"--from {store}: {said}")
    assert not Path("new.zarr").exists()


def test_a_user_names_files_in_a_recipe_of_his_own(generate: Command) -> None:
    Path("recipe.json").write_text('{"probe": {"path": "here.npy"}}')
    refused(generate("--task", "stem4d", "--n", 2, "--recipe", "recipe.json"), "here.npy: No such file")
    assert make(stem4d.Recipe, load(Path("recipe.json")), []).probe.path == Path("here.npy")


class Files(Knobs):
    path: Path | None = Field(None, exclude=True, **knob("of a file", "path"))


class Other(Knobs):
    width: int = Field(1, **knob("of it"))


class Deep(Knobs):
    """Knobs within all that may hold them."""

    either: Other | Files | None = Field(None, **knob("one of two"))
    several: tuple[Files, ...] = Field((), **knob("in a row"))
    named: dict[str, list[Files]] = Field({}, **knob("by name"))


@pytest.mark.parametrize(
    "data", [{"either": {"path": "s"}}, {"several": [{}, {"path": "s"}]}, {"named": {"a": [{"path": "s"}]}}]
)
def test_a_path_is_seen_in_whatever_holds_it(data: dict[str, Any]) -> None:
    make(Deep, data, [])  # as its owner may
    with pytest.raises(UserError, match=r"path = s; a stored recipe may hold hashes alone"):
        refuse_paths(Deep, data, "x")


def test_authors_keep_paths_out_of_datasets() -> None:
    class Forgotten(Knobs):
        source: Path | None = Field(None, **knob("of a file"))

    assert list(untold(Files)) == list(untold(Deep)) == []
    assert "Forgotten.source: names a file: must be Field(..., exclude=True)" in "".join(untold(Forgotten))
