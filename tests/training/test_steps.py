"""What a step keeps beside the parameters, and the learning rate that it takes."""

from pathlib import Path

import jax
import numpy as np
import pytest

from schemas.task import find_task
from tests.training.conftest import features_for, recipe_for
from training import devices, model_building, optimizers, steps
from training.batches import Resident, Split
from training.recipe import Schedule
from training.sample_order import Order


def test_the_average_follows_the_parameters_after_each_step(toy: Path) -> None:
    """keep = min(ema, k / (9 + k)) after step k, of the parameters that the step has made."""
    recipe, features = (
        recipe_for("mlp", "ema=0.2", "optimizer.learning_rate=0.05", "schedule.warmup=0"),
        features_for(toy),
    )
    network, mesh = model_building.build_network(recipe, features), devices.mesh(8)
    rule = optimizers.build_optimizer(recipe, 100)
    learn, state = (
        steps.learning_step(network, features, rule, recipe, mesh),
        steps.initial_state(network, rule, recipe, mesh),
    )
    expected = jax.tree.map(np.asarray, state["parameters"])
    data = Split(toy, "train", ("blurred", "line"), ("position",), find_task("toy"))
    for k, batch in enumerate(Resident(data, Order(41, 8, 0, 8), mesh).batches(0, 4), 1):
        state, _ = learn(state, batch)
        keep = min(0.2, k / (9 + k))
        expected = {
            name: keep * value + (1 - keep) * np.asarray(state["parameters"][name]) for name, value in expected.items()
        }
        for name, value in expected.items():
            np.testing.assert_allclose(state["average"][name], value, atol=1e-6)
    assert steps.best_parameters(state) is state["average"]


@pytest.mark.usefixtures("quick")
def test_what_fills_up_a_batch_teaches_nothing(toy: Path) -> None:
    """Rows of weight 0 may hold anything: neither parameters nor running averages of the batch's statistics feel it."""
    recipe, features = recipe_for("dledi", "model.filters=3,4"), features_for(toy)
    network, mesh = model_building.build_network(recipe, features), devices.mesh(8)
    rule = optimizers.build_optimizer(recipe, 100)
    learn = steps.learning_step(network, features, rule, recipe, mesh)
    data = Split(toy, "train", ("blurred", "line"), ("position",), find_task("toy"))
    order = Order(41, 8, 0, 8)
    batch = next(Resident(data, order, mesh).batches(5, 6))
    assert [*map(float, batch["weight"])] == [1, 0, 0, 0, 0, 0, 0, 0]
    other = {**batch, **{name: batch[name].at[1:].multiply(-3) for name in data.fields}}
    first, second = (learn(steps.initial_state(network, rule, recipe, mesh), each)[0] for each in (batch, other))
    for part in ("parameters", "rest"):
        assert all(np.array_equal(first[part][name], second[part][name]) for name in first[part])
    start = network.initial[1]
    assert all(np.any(first["rest"][name] != start[name]) for name in start)


@pytest.mark.parametrize("warmup", [0, 10])
def test_a_cosine_rises_in_its_warmup_and_falls_to_its_floor_with_the_last_step(warmup: int) -> None:
    rate = optimizers.schedule(Schedule(name="cosine", warmup=warmup, floor=0.1), 2.0, 100)
    found = np.array([float(rate(step)) for step in range(101)])
    np.testing.assert_allclose(found[:warmup], 2.0 * np.arange(1, warmup + 1) / max(warmup, 1), rtol=1e-6)
    share = (np.arange(warmup, 101) - warmup) / (100 - warmup)
    np.testing.assert_allclose(found[warmup:], 2.0 * (0.1 + 0.9 * (1 + np.cos(np.pi * share)) / 2), rtol=1e-5)


def test_a_warmup_takes_a_tenth_of_a_run_at_most() -> None:
    rate = optimizers.schedule(Schedule(name="constant", warmup=100), 1.0, 50)
    np.testing.assert_allclose([float(rate(step)) for step in range(7)], [0.2, 0.4, 0.6, 0.8, 1, 1, 1], rtol=1e-6)
