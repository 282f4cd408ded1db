"""Samples that are simulated slice by slice, because one of them takes minutes."""

import importlib
import tracemalloc
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from generators.contract import Sliced, find_generator
from generators.engine import finished_slices, pipeline, shards, store_creation
from generators.engine.plan import Job
from schemas.runtime.errors import UserError
from schemas.task import find_task
from tests.conftest import Command, refused
from tests.test_contract import plan_of

SERIES = ("--task", "toy_series", "--scheduler", "synchronous", "--validation", 0, "--test", 0)


@pytest.fixture
def simulated(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ...]]:
    """The index of each slice that is simulated."""
    toy, indices = importlib.import_module("generators.tasks.toy_series"), []

    def noted(recipe: Any, block: Any, index: tuple[int, ...]) -> Any:
        indices.append(index)
        return toy.simulate_slice(recipe, block, index)

    monkeypatch.setattr(toy, "simulate", replace(toy.simulate, simulate_slice=noted))
    return indices


def series(*settings: str) -> Any:
    return plan_of("toy_series", *settings)


def test_a_plan_makes_two_slices_of_a_sample_that_takes_long(
    simulated: list[tuple[int, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipeline, "STORE_SLICES_ABOVE_SECONDS", 0.0)
    plan, seconds = pipeline.lay_out(series("tilts=40"), None)
    assert plan.stores_slices
    assert seconds > 0
    assert simulated == [(0,), (1,)]
    monkeypatch.setattr(pipeline, "STORE_SLICES_ABOVE_SECONDS", 60.0)
    assert not pipeline.lay_out(series("tilts=40"), None)[0].stores_slices


def test_a_finished_sample_is_made_again_only_under_other_versions(
    simulated: list[tuple[int, ...]], generate: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipeline, "STORE_SLICES_ABOVE_SECONDS", 0.0)
    assert generate(*SERIES, "--n", 2, "--shard-samples", 1)[0] == 0
    simulated.clear()
    assert generate(*SERIES, "--n", 3)[0] == 0
    assert len(simulated) == 2 + 4
    monkeypatch.setattr(store_creation, "packages", lambda: {"numpy": "0"})
    simulated.clear()
    assert generate(*SERIES, "--n", 3)[0] == 0
    assert len(simulated) > 2


def test_finished_slices_are_part_of_a_run(generate: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """They stay through an interruption, are removed with what is overwritten, and nothing else lies among them."""
    monkeypatch.setattr(pipeline, "STORE_SLICES_ABOVE_SECONDS", 0.0)
    monkeypatch.setattr(finished_slices, "remove", lambda job: None)
    monkeypatch.setattr(pipeline, "finalise", lambda plan: plan.manifest)
    command = (*SERIES, "--n", 1, "--out", "a.zarr")
    assert generate(*command)[0] == 0
    left = Path("a.zarr.run/slices")
    assert len(list(left.iterdir())) == 4
    assert generate(*command)[0] == 0
    (left / "notes.txt").write_text("mine")
    refused(generate(*command), "notes.txt")
    (left / "notes.txt").unlink()
    assert generate(*command, "--overwrite", "--set", "tilts=2")[0] == 0
    assert len(list(left.iterdir())) == 2


def test_a_large_sample_is_held_a_few_times_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    """Once as it is, and one field in float64 for the statistics; not its slices, nor a copy to be stored."""
    generator = find_generator("toy_series")[1]
    plan = replace(series("size=64", "tilts=64"), stores_slices=True)
    monkeypatch.setattr(generator, "measure", lambda recipe, block, arrays, rngs: arrays)
    sample = sum(field.nbytes(plan.manifest.sizes) for field in plan.task.fields if field.per_sample)
    tracemalloc.start()
    try:
        shards._samples(Job(plan, "samples", "train", 0, 1))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 2.5 * sample


def test_arrays_of_slices_are_stacked_where_their_fields_have_them() -> None:
    """(sample, y, tilt, x); what is no field has slices after samples; what does not vary with them stays as it is."""
    made = lambda recipe, block, index: {  # noqa: E731
        "clean": np.full((2, 11, 12), index[0], np.float32),
        "ideal": np.full((2, 5), index[0]),
        "background": np.ones(2),
    }
    task, recipe = find_task("toy_series"), series().recipe
    found = Sliced(task, made)(recipe, [])
    assert {name: values.shape for name, values in found.items()} == {
        "clean": (2, 11, 4, 12),
        "ideal": (2, 4, 5),
        "background": (2,),
    }
    np.testing.assert_array_equal(found["clean"][1, 3, :, 7], range(4))
    np.testing.assert_array_equal(found["ideal"][1, :, 2], range(4))
    thinner = Sliced(task, lambda recipe, block, index: {"clean": np.zeros((2, 11, 12 - index[0]))})
    with pytest.raises(UserError, match=r"simulate_slice returned clean of shape \(2, 11, 11\) for slice \(1,\)"):
        thinner(recipe, [])
