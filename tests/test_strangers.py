"""Datasets and models from strangers: none brings another file of this machine into what is made or shown.

In each test the secret is a file outside of what the stranger gave.
"""

import asyncio
import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import xarray as xr
import zarr
from pydantic import BaseModel, Field
from zarr.core.buffer import default_buffer_prototype

from generators.contract import find_generator
from generators.engine import pipeline
from generators.engine.recompute import recompute
from generators.specimens.from_files import picture_files
from generators.tasks import stem4d
from schemas.manifest import METADATA
from schemas.runtime.errors import UserError
from schemas.runtime.hashes import sha256
from schemas.runtime.publish import publish
from schemas.runtime.settings import Settings, load_recipe, make_settings, refuse_paths, setting, undescribed_settings
from schemas.store import Confined
from schemas.task import find_task, task_names
from tests.conftest import TOY_TASK, Command, files, refused
from training import batches
from training.export import store as models


def left_out(kind: type[BaseModel]) -> Iterator[tuple[str, ...]]:
    """Yield the settings that dumps of a recipe leave out, however deep."""
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
    assert {
        "files.path",
        "files.paths",
        "waves.path",
        "pictures.path",
        "probe.path",
        "scan.positions.location",
    } <= found


def store_of(task: str, recipe: Mapping[str, Any]) -> Path:
    """Write the root of a complete dataset, all that is read of it before the files of its recipe are looked for."""
    samples = {"train": 2, "validation": 0, "test": 0}
    manifest = pipeline.plan(task, find_generator(task)[1].Recipe(), 0, samples, Path("x.zarr")).manifest
    manifest = manifest.model_copy(update={"recipe": recipe, "status": "complete", "root_digest": "0" * 64})
    root = {"attributes": {METADATA.key: manifest.model_dump(mode="json")}}
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
        assert f"{store}: {said} a stored recipe must hold only hashes (--inputs DIR finds" in str(error.value)
    for more in ((), ("--inputs", "inputs"), ("--set", f"{names[0]}=none"), ("--plan",), ("--describe",)):
        refused(generate("--from", store, "--out", "new.zarr", *more), f"--from {store}: {said}")
    assert not Path("new.zarr").exists()


def test_a_user_names_files_in_a_recipe_of_his_own(generate: Command) -> None:
    Path("recipe.json").write_text('{"probe": {"path": "here.npy"}}')
    refused(generate("--task", "stem4d", "--n", 2, "--recipe", "recipe.json"), "here.npy: No such file")
    assert make_settings(stem4d.Recipe, load_recipe(Path("recipe.json")), []).probe.path == Path("here.npy")


class Files(Settings):
    path: Path | None = Field(None, exclude=True, **setting("of a file", "path"))


class Other(Settings):
    width: int = Field(1, **setting("of it"))


class Deep(Settings):
    """Settings within all that may hold them."""

    either: Other | Files | None = Field(None, **setting("one of two"))
    several: tuple[Files, ...] = Field((), **setting("in a row"))
    named: dict[str, list[Files]] = Field({}, **setting("by name"))


@pytest.mark.parametrize(
    "data", [{"either": {"path": "s"}}, {"several": [{}, {"path": "s"}]}, {"named": {"a": [{"path": "s"}]}}]
)
def test_a_path_is_seen_in_whatever_holds_it(data: dict[str, Any]) -> None:
    make_settings(Deep, data, [])  # as its owner may
    with pytest.raises(UserError, match=r"path = s; a stored recipe must hold only hashes"):
        refuse_paths(Deep, data, "x")


def test_authors_keep_paths_out_of_datasets() -> None:
    class Forgotten(Settings):
        source: Path | None = Field(None, **setting("of a file"))

    assert list(undescribed_settings(Files)) == list(undescribed_settings(Deep)) == []
    assert "Forgotten.source: names a file: must be Field(..., exclude=True)" in "".join(
        undescribed_settings(Forgotten)
    )


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset, predictions for it, and another dataset: the secret."""
    from generators.cli import main as generate
    from inference.cli import infer

    folder = tmp_path_factory.mktemp("made")
    for name, seed in (("toy", 0), ("secret", 1)):
        args = (*TOY_TASK, "--n", 20, "--shard-samples", 4, "--seed", seed, "--out", folder / f"{name}.zarr")
        assert generate([str(arg) for arg in args]) == 0
    store, out = str(folder / "toy.zarr"), str(folder / "guess.zarr")
    assert infer(["--data", store, "--method", "identity", "--out", out]) == 0
    return folder


@pytest.fixture
def there(made: Path) -> Path:
    """Copies of all that, to be damaged."""
    shutil.copytree(made, "there")
    return Path("there")


def out_of(store: Path, key: str, secret: Path) -> None:
    """Put a link in the place of an object, or of a folder of objects."""
    place, target = store / key, secret.absolute()
    assert target.exists()
    shutil.rmtree(place) if place.is_dir() else place.unlink()
    place.symlink_to(target)


TRAINED = ("train/blurred/c/0/0", "train/blurred/c/0", "train/blurred/zarr.json", "train/blurred", "train")
TESTED = ("test/blurred/c/0/0", "test/blurred", "test/line/c/0", "test/line/zarr.json", "test")


@pytest.mark.parametrize("key", TRAINED)
def test_no_link_out_of_a_dataset_is_followed(key: str, there: Path, dataset: Command, train: Command) -> None:
    store = there / "toy.zarr"
    out_of(store, key, there / "secret.zarr" / key)
    for verb in ("validate", "verify", "preview"):
        refused(dataset(verb, store), f"{store}/train", "links out of a store", f"cp -rL {store} COPY")
    refused(dataset("export", store, "--format", "npy", "--split", "train"), "links out of a store")
    refused(train("--data", store, "--model", "mlp", "--epochs", 1), "links out of a store")
    fields = batches.Split(store, "train", ("blurred",), (), find_task("toy"))
    with pytest.raises(UserError, match="links out of a store"):
        fields.read(slice(0, 4))


@pytest.mark.parametrize("key", TESTED)
def test_no_link_out_of_a_dataset_is_inverted(key: str, there: Path, infer: Command, evaluate: Command) -> None:
    store = there / "toy.zarr"
    out_of(store, key, there / "secret.zarr" / key)
    if "line" not in key:
        refused(infer("--data", store, "--method", "identity", "--out", "p"), f"{store}/test", "links out of a store")
    if "blurred" not in key:
        result = evaluate("--data", store, "--predictions", there / "guess.zarr", "--out", "report")
        refused(result, f"{store}/test", "links out of a store")


def test_no_link_out_of_a_dataset_is_made_again(there: Path, dataset: Command) -> None:
    store = there / "toy.zarr"
    out_of(store, "train/leaf_digest", there / "secret.zarr/train/leaf_digest")
    refused(dataset("verify", store, "--recompute", "1%"), "leaf_digest", "links out of a store")
    with pytest.raises(UserError, match=r"leaf_digest/zarr.json: leads out of there/toy"):
        recompute(store, 0.01)


@pytest.mark.parametrize("key", ["train/blurred/c", "train/blurred", "train", "train/position"])
def test_no_link_out_of_a_dataset_is_written_through(key: str, there: Path, generate: Command) -> None:
    """Neither objects nor metadata, of a dataset that is made again or extended."""
    before = files(there / "secret.zarr")
    out_of(there / "toy.zarr", key, there / "secret.zarr" / key)
    shutil.rmtree(there / "toy.zarr.run/receipts")
    for n in (20, 30):
        command = (*TOY_TASK, "--n", n, "--shard-samples", 4, "--out", there / "toy.zarr")
        refused(generate(*command), "links out of a store")
    assert files(there / "secret.zarr") == before


@pytest.mark.parametrize("key", ["line/c/0/0", "line/c", "line/zarr.json", "line"])
def test_no_link_out_of_predictions_is_followed(
    key: str, there: Path, dataset: Command, infer: Command, evaluate: Command
) -> None:
    store, data, secret = there / "guess.zarr", there / "toy.zarr", there / "secret.zarr/test"
    out_of(store, key, secret / key)
    refused(dataset("export", store, "--format", "npy"), f"{store}/line", "links out of a store")
    refused(evaluate("--data", data, "--predictions", store, "--out", "report"), "links out of a store")
    before = files(there / "secret.zarr")
    refused(infer("--data", data, "--method", "identity", "--out", store), f"{store}/line", "links out of a store")
    assert files(there / "secret.zarr") == before


def test_no_root_is_a_link(there: Path, dataset: Command, generate: Command, evaluate: Command) -> None:
    store, guess = there / "toy.zarr", there / "guess.zarr"
    shutil.copytree(guess, "copy.zarr")
    out_of(store, "zarr.json", there / "secret.zarr/zarr.json")
    out_of(guess, "zarr.json", Path("copy.zarr/zarr.json"))
    for verb in (("info",), ("validate",), ("verify",), ("preview",), ("export", "--format", "npy")):
        refused(dataset(*verb, store), f"{store}/zarr.json", "links out of a store")
    refused(generate("--from", store, "--out", "new.zarr"), "links out of a store")
    refused(dataset("export", guess, "--format", "npy"), "links out of a store")
    refused(evaluate("--data", there / "secret.zarr", "--predictions", guess, "--out", "r"), "links out of a store")


def test_no_copied_metadata_name_a_place_outside(there: Path, dataset: Command) -> None:
    """The keys of consolidated metadata are paths, too."""
    store = there / "toy.zarr"
    for key in ("../secret.zarr", str((there / "secret.zarr").absolute())):
        root = json.loads((store / "zarr.json").read_text())
        root["consolidated_metadata"]["metadata"][key] = {}
        (store / "zarr.json").write_text(json.dumps(root))
        refused(dataset("verify", store), "secret.zarr", "leads out of")


def test_links_to_a_store_and_within_it_are_followed(there: Path, dataset: Command) -> None:
    store = there / "toy.zarr"
    (store / "train/blurred").rename(store / "aside")
    (store / "train/blurred").symlink_to("../aside")
    Path("link.zarr").symlink_to(store)
    for verb in ("info", "validate", "verify"):
        assert dataset(verb, "link.zarr")[0] == 0
    assert xr.open_zarr("link.zarr/train").sizes["sample"] == 20


@pytest.mark.parametrize("way", ["get", "get_sync", "get_partial_values"])
def test_no_way_to_read_an_object_leads_out(way: str) -> None:
    """Whichever of its methods zarr calls."""
    Path("secret").write_bytes(b"secret")
    Path("store").mkdir()
    Path("store/object").write_bytes(b"object")
    Path("store/link").symlink_to("../secret")
    store, like = Confined(Path("store")), default_buffer_prototype()
    ways: Mapping[str, Callable[[str], Any]] = {
        "get": lambda key: asyncio.run(store.get(key, like)),
        "get_sync": store.get_sync,
        "get_partial_values": lambda key: asyncio.run(store.get_partial_values(like, [(key, None)]))[0],
    }
    assert ways[way]("object").to_bytes() == b"object"
    assert ways[way]("none") is None
    with pytest.raises(UserError, match="store/link: leads out of store"):
        ways[way]("link")


def test_no_link_out_of_an_array_of_pictures_is_followed() -> None:
    zarr.save_array("pictures.zarr", np.ones((2, 8, 8), np.float32))
    assert picture_files.count_pictures(Path("pictures.zarr")) == 2
    Path("pictures.zarr/c/0/0/0").rename("secret")
    Path("pictures.zarr/c/0/0/0").symlink_to(Path("secret").absolute())
    with pytest.raises(UserError, match=r"pictures.zarr/c/0/0/0: leads out of pictures"):
        picture_files.read_picture(Path("pictures.zarr"), picture_files.open_stack(Path("pictures.zarr")), 0)


def test_no_link_out_of_a_model_is_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("best").mkdir()
    Path("secret").write_bytes(b"{}")
    Path("best/model.json").symlink_to(Path("secret").absolute())
    with pytest.raises(UserError, match=r"best/model.json: leads out of best"):
        models.load_model(Path("best"))
    Path("best/model.safetensors").symlink_to("../secret")
    card = SimpleNamespace(weights_sha256=sha256(b"{}"))
    monkeypatch.setattr(models, "load_card", lambda path: (path, card))
    with pytest.raises(UserError, match=r"best/model.safetensors: leads out of best"):
        models.load_card_and_weights(Path("best"))
