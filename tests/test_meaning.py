"""The meaning of a dataset is checked, not only its samples: all metadata against the manifest, and its task."""

import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

from schemas.manifest import read_manifest
from schemas.validation import validate
from tests.conftest import TOY_TASK, Command

type Change = Callable[[dict[str, Any]], object]


@pytest.fixture
def toy(generate: Command) -> Path:
    assert generate(*TOY_TASK, "--n", 8, "--validation", 2, "--test", 0)[0] == 0
    return Path("toy.zarr")


def edit(path: Path, change: Change) -> None:
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def everywhere(store: Path, array: str, change: Change) -> None:
    """Change the metadata of an array, and the consolidated copies of them, as a careful forger would."""
    edit(store / array / "zarr.json", change)
    group, _, name = array.partition("/")
    edit(store / "zarr.json", lambda root: change(root["consolidated_metadata"]["metadata"][array]))
    edit(store / group / "zarr.json", lambda root: change(root["consolidated_metadata"]["metadata"][name]))


OF_ARRAYS: dict[str, Change] = {
    "scale_factor": lambda array: array["attributes"].update(scale_factor=2.0),
    "add_offset": lambda array: array["attributes"].update(add_offset=1.0),
    "_FillValue": lambda array: array["attributes"].update(_FillValue=0.5),
    "units": lambda array: array["attributes"].update(units="furlong"),
    "long_name": lambda array: array["attributes"].pop("long_name"),
    "role": lambda array: array["attributes"].update(role="target"),
    "dimensions": lambda array: array.update(dimension_names=["sample", "y"]),
    "fill_value": lambda array: array.update(fill_value=0.0),
    "storage_transformers": lambda array: array.update(storage_transformers=[{"name": "other"}]),
}


@pytest.mark.parametrize("name", OF_ARRAYS)
def test_metadata_of_arrays_are_what_the_manifest_would_write(toy: Path, dataset: Command, name: str) -> None:
    everywhere(toy, "train/blurred", OF_ARRAYS[name])
    code, out, _ = dataset("validate", toy)
    assert code == 1
    assert f"train/blurred: {name}" in out or "cannot be read" in out


@pytest.mark.parametrize("group", ["", "train"])
def test_groups_hold_no_other_attributes(toy: Path, dataset: Command, group: str) -> None:
    edit(toy / group / "zarr.json", lambda root: root["attributes"].update(author="somebody"))
    code, out, _ = dataset("validate", toy)
    assert code == 1
    assert f"{group or 'root'}: author is somebody, must be None" in out


@pytest.mark.parametrize("metadata", [None, [], 3, {"metadata": None}, {"metadata": [1]}])
def test_consolidated_metadata_of_any_form_are_compared(toy: Path, dataset: Command, metadata: Any) -> None:
    edit(toy / "train/zarr.json", lambda root: root.update(consolidated_metadata=metadata))
    for verb in ("validate", "verify"):
        code, out, err = dataset(verb, toy)
        assert (code, err) == (1, "")
        assert "train" in out


OF_MANIFESTS: dict[str, tuple[Change, str]] = {
    "formula": (lambda own: own["task"].update(formula="line = 2 * blurred"), "formula"),
    "ambiguities": (lambda own: own["task"].update(ambiguities={"free": ["shift"]}), "ambiguities"),
    "slices": (lambda own: own["task"].update(slices=["x"]), "slices"),
    "period": (lambda own: own["task"]["fields"][0].update(period=3.0), "differs from its declaration"),
    "statistics": (lambda own: next(iter(own["statistics"].values())).update(mean=3.0), "mean 3, but the samples"),
    "platform": (lambda own: own.update(platform="another"), "metadata digest"),
    "seed": (lambda own: own.update(seed=5), "metadata digest"),
    "recipe": (lambda own: own["recipe"].update(size=5), "metadata digest"),
}


@pytest.mark.parametrize("name", OF_MANIFESTS)
def test_an_edited_manifest_is_found(toy: Path, dataset: Command, name: str) -> None:
    change, said = OF_MANIFESTS[name]
    edit(toy / "zarr.json", lambda root: change(root["attributes"]["drybeam"]))
    code, out, _ = dataset("validate", toy)
    assert code == 1
    assert said in out
    assert dataset("verify", toy)[0] == 0, "verify is for the samples alone"


def test_the_metadata_digest_covers_meaning_and_not_layout(toy: Path, generate: Command, dataset: Command) -> None:
    def digest(store: Path | str) -> str:
        found: str = json.loads(dataset("info", store, "--json")[1])["metadata_digest"]
        assert found in dataset("info", store)[1]
        return found

    same = ("--n", 8, "--validation", 2, "--test", 0, "--shard-samples", 2, "--out", "b.zarr")
    assert generate(*TOY_TASK, *same)[0] == 0
    assert digest(toy) == digest("b.zarr") == read_manifest(toy).metadata_digest
    assert digest(toy) == read_manifest(toy).sealed().sealed().metadata_digest
    edit(toy / "zarr.json", lambda root: root["attributes"]["drybeam"]["task"]["fields"][0].update(about="other"))
    assert digest(toy) != digest("b.zarr")


def test_a_store_of_an_older_version_has_no_metadata_digest(toy: Path, dataset: Command) -> None:
    edit(toy / "zarr.json", lambda root: root["attributes"]["drybeam"].pop("metadata_digest"))
    assert dataset("validate", toy)[0] == 0
    assert len(json.loads(dataset("info", toy, "--json")[1])["metadata_digest"]) == 64


def test_checks_stop_after_many_problems(toy: Path, dataset: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    from schemas import validation

    monkeypatch.setattr(validation, "MAX_PROBLEMS", 2)
    everywhere(toy, "train/blurred", lambda array: array["attributes"].update(a=1, b=2, c=np.pi))
    assert len(validation.validate(toy)) == 2


@pytest.mark.parametrize("consolidated", [False, True])
def test_an_array_that_does_not_belong_to_the_dataset_is_told(toy: Path, consolidated: bool) -> None:
    """Xarray would show it beside the fields, but no digest covers it."""
    zarr.create_array(toy / "train" / "further", data=np.ones(8, np.float32), dimension_names=["sample"])
    if consolidated:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # consolidated metadata are not yet in the specification of Zarr 3
            zarr.consolidate_metadata(toy / "train")
    assert any(line.startswith("train/further: no array of this dataset") for line in validate(toy))
