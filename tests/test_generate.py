"""From the command line to the store: identity, extension and refusals. In this process, with the toy task."""

import importlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from generators.engine import shards
from schemas import preview

from .conftest import TOY_TASK, Command, digest, files, refused, scaled


def test_counts_names_units_and_roles(generate: Command) -> None:
    code, out, err = generate(*TOY_TASK, "--n", 50)
    assert (code, err) == (0, "")
    assert "50 + 5 + 5 samples complete, 60 made now" in out
    tree = xr.open_datatree("toy.zarr", engine="zarr")
    assert {split: node.sizes["sample"] for split, node in tree.children.items()} == {
        "train": 50,
        "validation": 5,
        "test": 5,
    }
    train = xr.open_zarr("toy.zarr/train")
    assert train.blurred.dims == ("sample", "x")
    assert (train.blurred.attrs["units"], train.blurred.attrs["role"]) == ("1", "input")
    assert np.isfinite(train.blurred).all()
    assert train.position.dims == ("x",)


def test_the_formula_holds_without_noise(generate: Command) -> None:
    assert generate(*TOY_TASK, "--n", 20, "--set", "noise=0")[0] == 0
    train = xr.open_zarr("toy.zarr/train")
    line = train.line.values
    expected = (np.roll(line, 1, 1) + line + np.roll(line, -1, 1)) / 3
    assert np.allclose(train.blurred, expected, atol=1e-6)


def test_optional_fields_are_stored_when_asked_for(generate: Command) -> None:
    generate(*TOY_TASK, "--n", 4, "--out", "a.zarr")
    generate(*TOY_TASK, "--n", 4, "--out", "b.zarr", "--set", "expectation=true")
    assert "expected" not in xr.open_zarr("a.zarr/train")
    both = xr.open_zarr("b.zarr/train")
    assert np.array_equal(both.blurred, xr.open_zarr("a.zarr/train").blurred)
    assert 0.05 < float((both.blurred - both.expected).std()) < 0.2


@pytest.mark.parametrize("shard", [1, 7, 64])
def test_digest_does_not_depend_on_shards(generate: Command, shard: int) -> None:
    generate(*TOY_TASK, "--n", 40, "--out", "a.zarr")
    generate(*TOY_TASK, "--n", 40, "--out", "b.zarr", "--shard-samples", shard)
    assert digest("a.zarr") == digest("b.zarr")


def test_another_seed_or_recipe_gives_another_digest(generate: Command) -> None:
    made = {}
    extras: dict[str, list[object]] = {"a": [], "b": ["--seed", 1], "c": ["--set", "noise=0.2"], "d": ["--test", 5]}
    for name, extra in extras.items():
        assert generate(*TOY_TASK, "--n", 40, "--out", f"{name}.zarr", *extra)[0] == 0
        made[name] = digest(f"{name}.zarr")
    assert len(set(made.values())) == 4


def test_extension_equals_all_at_once(generate: Command, dataset: Command) -> None:
    for n in (50, 50, 80):
        assert generate(*TOY_TASK, "--n", n, "--out", "a.zarr", "--shard-samples", 16)[0] == 0
    generate(*TOY_TASK, "--n", 80, "--out", "b.zarr", "--shard-samples", 16)
    assert files("a.zarr") == files("b.zarr")
    code, out, _ = generate(*TOY_TASK, "--n", 80, "--test", 30, "--out", "a.zarr")
    assert "80 + 8 + 30 samples complete" in out
    assert code == 0
    assert dataset("verify", "a.zarr")[0] == 0


def test_extension_keeps_finished_shards(generate: Command) -> None:
    generate(*TOY_TASK, "--n", 50, "--shard-samples", 16)
    _, out, _ = generate(*TOY_TASK, "--n", 80, "--shard-samples", 16)
    assert "made now" in out
    assert f"{88 + 8 - 48:,} made now" in out  # 48 training samples lie in whole shards that did not change


def test_the_same_command_again_changes_nothing(generate: Command) -> None:
    generate(*TOY_TASK, "--n", 50)
    before = {p: p.stat().st_mtime_ns for p in Path("toy.zarr").rglob("*")}
    code, out, _ = generate(*TOY_TASK, "--n", 50)
    assert code == 0
    assert "0 made now" in out
    assert {p: p.stat().st_mtime_ns for p in Path("toy.zarr").rglob("*")} == before


def test_empty_splits(generate: Command, dataset: Command) -> None:
    assert generate(*TOY_TASK, "--n", 3)[0] == 0
    tree = xr.open_datatree("toy.zarr", engine="zarr")
    assert tree["test"].sizes["sample"] == 0
    assert dataset("verify", "toy.zarr", "--recompute", "100%")[0] == 0
    assert dataset("validate", "toy.zarr")[0] == 0


def test_a_dataset_makes_itself_again(generate: Command) -> None:
    generate(*TOY_TASK, "--n", 30, "--seed", 5, "--set", "height=1:3", "--out", "a.zarr")
    code, _, err = generate("--from", "a.zarr", "--out", "b.zarr")
    assert (code, err) == (0, "")
    assert digest("a.zarr") == digest("b.zarr")


@pytest.mark.parametrize(
    ("args", "parts"),
    [
        (["--task", "nonsense", "--n", 10], ["nonsense", "no such task", "tie"]),
        (["--n", 10], ["--task is missing"]),
        (["--task", "toy"], ["--n is missing", "--n 5000"]),
        (["--task", "toy", "--n", 0], ["--n 0", "no sample is asked for"]),
        (["--task", "toy", "--n", -5], ["-5: must be a whole number, at least 0"]),
        (["--task", "toy", "--n", "ten"], ["ten: must be a whole number"]),
        (["--task", "toy", "--n", 1.5], ["1.5: must be"]),
        (["--task", "toy", "--n", 10, "--test", -1], ["-1: must be a whole number, at least 0"]),
        (["--task", "toy", "--n", 10**15], ["samples take up to", "free", "--n"]),
        (["--task", "tie", "--n", 10**12], ["samples take up to", "free", "--n"]),
        (["--task", "toy", "--n", 10**30], ["whole number"]),
        (["--task", "toy", "--n", 10, "--seed", -1], ["-1: must be"]),
        (["--task", "toy", "--n", 10, "--set", "nosie=1"], ["no such setting; did you mean noise?"]),
        (["--task", "toy", "--n", 10, "--recipe", "sead"], ["no such recipe or file", "default"]),
        (["--task", "toy", "--n", 10, "--out", "/proc/nope/a.zarr"], ["/proc/nope/a.zarr", "choose a place"]),
        (["--task", "toy", "--n", 10, "--out", "/dev/null"], ["/dev/null", "choose"]),
        (["--task", "toy", "--n", 10, "--out", "/dev/null/a.zarr"], ["/dev/null", "choose"]),
        (["--task", "toy", "--n", 10, "--bogus"], ["--bogus"]),
        (["--task", "toy", "--n", 10, "--scheduler", "tcp://127.0.0.1:9"], ["--scheduler tcp://127.0.0.1:9"]),
        (["--task", "toy", "--n", 10, "--scheduler", "nonsense"], ["--scheduler nonsense"]),
        (["--task", "toy", "--n", 10, "--workers", 0], ["0: must be"]),
        (["--from", "nowhere.zarr", "--out", "a.zarr"], ["nowhere.zarr", "no dataset here"]),
        (["--task", "toy", "--n", 4, "--shard-samples", 10**9], ["at most 10000000"]),
    ],
)
def test_bad_input_is_refused_in_one_line(generate: Command, args: list[object], parts: list[str]) -> None:
    refused(generate(*args), *parts)
    assert not list(Path().glob("*.zarr*"))


def test_a_foreign_folder_is_never_touched(generate: Command) -> None:
    Path("b.zarr").mkdir()
    Path("b.zarr/notes.txt").write_text("mine")
    refused(generate(*TOY_TASK, "--n", 10, "--out", "b.zarr"), "holds notes.txt, which `generate` did not write")
    refused(
        generate(*TOY_TASK, "--n", 10, "--out", "b.zarr", "--overwrite"),
        "holds notes.txt, which `generate` did not write",
    )
    Path("b.zarr/zarr.json").write_text("x")
    refused(generate(*TOY_TASK, "--n", 10, "--out", "b.zarr"), "damaged metadata; give another path")
    refused(generate(*TOY_TASK, "--n", 10, "--out", "b.zarr", "--overwrite"), "damaged metadata; give another path")
    assert files("b.zarr") == {"notes.txt": b"mine", "zarr.json": b"x"}


def test_another_dataset_is_not_overwritten(generate: Command) -> None:
    generate(*TOY_TASK, "--n", 40, "--shard-samples", 16)
    before = files("toy.zarr")
    command = ("--task", "toy", "--scheduler", "synchronous", "--out", "toy.zarr")
    refused(generate(*command, "--n", 40, "--set", "noise=0.2"), "noise is 0.1, asked 0.2", "--overwrite")
    refused(generate(*command, "--n", 40, "--seed", 1), "seed is 0, asked 1")
    refused(generate(*command, "--n", 30), "--n 30", "already has 40", "can only grow")
    refused(generate(*command, "--n", 40, "--test", 1), "--test 1", "already has 4")
    refused(generate(*command, "--n", 40, "--shard-samples", 8), "shards of 16")
    refused(generate("--task", "tie", "--n", 40, "--out", "toy.zarr"), "task is toy, asked tie")
    assert files("toy.zarr") == before
    assert generate(*command, "--n", 30, "--seed", 1, "--overwrite")[0] == 0
    assert files("toy.zarr") != before


def test_other_bits_here_are_refused(generate: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """A library that draws or rounds otherwise must not finish a dataset: one sample is made again and compared."""
    generate(*TOY_TASK, "--n", 40, "--shard-samples", 16)
    scaled(monkeypatch, 1.0000002)
    refused(generate(*TOY_TASK, "--n", 60), "this installation produces different bits for its samples")


def test_a_recipe_that_fails_leaves_nothing(generate: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    scaled(monkeypatch, np.nan)
    refused(generate(*TOY_TASK, "--n", 60), "not all values are finite")
    assert not Path("toy.zarr").exists()


def test_plan_writes_nothing(generate: Command) -> None:
    code, out, _ = generate(*TOY_TASK, "--n", 100, "--plan")
    assert code == 0
    assert "disk" in out
    report = json.loads(generate(*TOY_TASK, "--n", 100, "--plan", "--json")[1])
    assert report["samples"] == {"train": 100, "validation": 10, "test": 10}
    assert report["objects"] > 0
    assert not Path("toy.zarr").exists()


def test_describe(generate: Command) -> None:
    rows = json.loads(generate("--task", "tie", "--describe", "--json", "--recipe", "published")[1])
    assert rows["field_of_view"]["unit"] == "nm"
    assert "field_of_view" in generate("--task", "tie", "--describe")[1]


def test_info_is_stable(generate: Command, dataset: Command) -> None:
    generate(*TOY_TASK, "--n", 40)
    report = json.loads(dataset("info", "toy.zarr", "--json")[1])
    assert report["task"] == "toy"
    assert report["schema_version"] == "1.0"
    assert report["status"] == "complete"
    assert report["samples"] == {"train": 40, "validation": 4, "test": 4}
    assert report["root_digest"] == digest("toy.zarr")
    assert report["seed"] == 0
    assert report["generator_version"] == 1
    assert "blurred" in dataset("info", "toy.zarr")[1]


def test_statistics_are_those_of_the_first_training_samples(generate: Command, dataset: Command) -> None:
    generate(*TOY_TASK, "--n", 1500, "--shard-samples", 100)
    report = json.loads(dataset("info", "toy.zarr", "--json")[1])["statistics"]["blurred"]
    values = xr.open_zarr("toy.zarr/train").blurred.values[:1024].astype(float)
    assert report["samples"] == 1024
    assert report["mean"] == pytest.approx(values.mean(), rel=1e-12)
    assert report["std"] == pytest.approx(values.std(), rel=1e-9)
    assert (report["min"], report["max"]) == (values.min(), values.max())
    generate(*TOY_TASK, "--n", 1500, "--shard-samples", 512, "--out", "b.zarr")
    assert json.loads(dataset("info", "b.zarr", "--json")[1])["statistics"]["blurred"] == report


def test_plan_names_a_folder_that_is_missing_and_the_first_compilation(generate: Command) -> None:
    _, out, _ = generate(*TOY_TASK, "--n", 100, "--plan", "--out", "a/b/toy.zarr")
    assert "a/b does not exist yet; `generate` creates it" in out
    assert "the first run on a machine also compiles" in out
    assert "e+" not in out
    assert "does not exist" not in generate(*TOY_TASK, "--n", 100, "--plan")[1]
    assert not Path("a").exists()


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0"), (-8278.4, "-8278"), (-10832.1, "-10830"), (0.30000001, "0.3"), (300e3, "300000"), (1.5e-7, "1.5e-07")],
)
def test_numbers_of_a_preview_have_one_form(value: float, text: str) -> None:
    assert preview._number_text(float(np.float32(value))) == text


def test_preview(generate: Command, dataset: Command) -> None:
    generate(*TOY_TASK, "--n", 12)
    assert dataset("preview", "toy.zarr", "--out", "look.png")[0] == 0
    assert Path("look.png").stat().st_size > 5000
    assert dataset("preview", "toy.zarr", "--split", "nonsense")[0] == 2


def test_what_is_incomplete_damaged_or_a_split_is_said_in_one_line(generate: Command, dataset: Command) -> None:
    generate(*TOY_TASK, "--n", 40)
    refused(dataset("info", "toy.zarr/train"), "is a split of a dataset; give the dataset")
    Path("toy.zarr/train/line/c/0/0").unlink()
    refused(dataset("preview", "toy.zarr"), "cannot be read", "run its `generate` command again")
    root = Path("toy.zarr/zarr.json")
    root.write_text(root.read_text().replace('"status": "complete"', '"status": "incomplete"'))
    refused(dataset("preview", "toy.zarr"), "cannot be read")
    refused(dataset("verify", "toy.zarr"), "incomplete; run the same `generate` command again")
    assert "incomplete: run the same `generate` command again" in dataset("info", "toy.zarr")[1]


def test_the_status_can_be_read_from_a_split(generate: Command) -> None:
    generate(*TOY_TASK, "--n", 40)
    assert xr.open_zarr("toy.zarr/train").attrs["status"] == "complete"


def test_recompute_finds_a_dataset_that_is_not_what_its_recipe_makes(generate: Command, dataset: Command) -> None:
    generate(*TOY_TASK, "--n", 40)
    assert dataset("verify", "toy.zarr", "--recompute", "10%")[0] == 0
    path = Path("toy.zarr/zarr.json")
    path.write_text(path.read_text().replace('"noise": 0.1', '"noise": 0.11'))
    code, out, _ = dataset("verify", "toy.zarr", "--recompute", "10%")
    assert code == 1
    assert "has other bits when made here" in out
    assert "simulates different samples from the same recipe" in out.splitlines()[-1]
    assert dataset("verify", "toy.zarr", "--recompute", "0%")[0] == 2


def test_few_large_samples_are_simulated_at_once(generate: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """Their number follows from their bytes, and the samples do not depend on it."""
    generate(*TOY_TASK, "--n", 40, "--out", "a.zarr")
    toy = importlib.import_module("generators.tasks.toy")
    counts: set[int] = set()
    original = toy.simulate

    def counted(recipe: Any, block: Any) -> Any:
        counts.add(len(block))
        return original(recipe, block)

    monkeypatch.setattr(toy, "simulate", counted)
    for budget, most in ((64 << 20, 16), (1000, 3), (1, 1)):
        counts.clear()
        monkeypatch.setattr(shards, "MAX_BLOCK_BYTES", budget)
        generate(*TOY_TASK, "--n", 40, "--out", f"{most}.zarr")
        assert max(counts) == most
        assert digest(f"{most}.zarr") == digest("a.zarr")
