"""Every optimizer learns; those that optax lacks are what was published."""

from typing import Any, get_args

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from schemas.runtime.errors import UserError
from schemas.runtime.settings import make_settings
from training import optimizers, proximal
from training.contract import find_model
from training.recipe import Optimizer, Optimizers, Recipe, Schedule, recipe_type

NAMES = get_args(Optimizers.__value__)
RATES = {
    "muon": 0.01,
    "schedule_free": 0.3,
    "adadelta": 30.0,
    "adagrad_da": 0.5,
    "ftrl": 0.5,
    "adagrad": 0.5,
    "proximal_adagrad": 0.5,
}
A, L1, L2 = 0.3, 0.02, 0.1


def rule_of(name: str, **settings: Any) -> optax.GradientTransformation:
    optimizer = Optimizer(name=name, learning_rate=RATES.get(name, 0.05), **settings)
    return optimizers.build_optimizer(Recipe(optimizer=optimizer, schedule=Schedule(name="constant", warmup=0)), 100)


@pytest.mark.parametrize("name", NAMES)
def test_every_optimizer_finds_the_minimum_of_a_valley(name: str) -> None:
    curvature = {"kernel": jnp.asarray([[1.0, 0.2], [0.5, 2.0], [0.3, 1.0]]), "bias": jnp.asarray([1.0, 0.1])}
    target = {"kernel": jnp.asarray([[0.5, -1.0], [0.2, 0.4], [-0.3, 1.0]]), "bias": jnp.asarray([0.3, -0.6])}
    rule = rule_of(name, weight_decay=0.0)

    def loss(w: Any) -> jax.Array:
        return sum(jnp.sum(c * (w[k] - target[k]) ** 2) for k, c in curvature.items())  # type: ignore[return-value]

    @jax.jit
    def step(w: Any, state: Any) -> Any:
        update, state = rule.update(jax.grad(loss)(w), state, w)
        return optax.apply_updates(w, update), state

    w: Any = jax.tree.map(lambda x: x + 1, target)
    state, first = rule.init(w), loss(w)
    for _ in range(300):
        w, state = step(w, state)
    if name == "schedule_free":
        w = optimizers.average(w, state)
    assert loss(w) < 0.02 * first


def published(name: str, gradients: np.ndarray, start: np.ndarray) -> np.ndarray:
    """w after each step, parameter by parameter as the papers have it."""
    w, total, square, z = start.copy(), np.zeros_like(start), np.full_like(start, 0.1), np.zeros_like(start)
    out = []
    for t, g in enumerate(gradients, 1):
        for i in range(len(w)):
            before = square[i]
            square[i] += g[i] ** 2
            total[i] += g[i]
            if name == "proximal_sgd":
                w[i] = argmin(w[i] - A * g[i], A)
            elif name == "proximal_adagrad":
                own = A / np.sqrt(square[i])
                w[i] = argmin(w[i] - own * g[i], own)
            elif name == "adagrad_da":  # min over w of <total, w> + t (l1 |w| + l2 w^2 / 2) + sqrt(G) w^2 / 2a
                w[i] = quadratic(total[i], t * L1, t * L2 + np.sqrt(square[i]) / A)
            else:  # min over w of <sum g, w> + sum_s (p_s - p_(s-1)) (w - w_s)^2 / 2 + l1 |w| + l2 w^2
                z[i] += g[i] - (np.sqrt(square[i]) - np.sqrt(before)) / A * w[i]
                w[i] = quadratic(z[i], L1, np.sqrt(square[i]) / A + 2 * L2)
        out.append(w.copy())
    return np.array(out)


def argmin(v: float, a: float) -> float:
    """Of (w - v)^2 / 2 + a l1 |w| + a l2 w^2 / 2."""
    return quadratic(-v, a * L1, 1 + a * L2)


def quadratic(linear: float, l1: float, curvature: float) -> float:
    """The minimum of linear w + l1 |w| + curvature w^2 / 2: the best of the two branches and 0."""
    branches = [0.0, *((-linear - sign * l1) / curvature for sign in (1, -1))]
    return min(branches, key=lambda w: linear * w + l1 * abs(w) + curvature * w * w / 2)


@pytest.mark.parametrize("name", ["proximal_sgd", "proximal_adagrad", "adagrad_da", "ftrl"])
def test_what_optax_lacks_is_what_was_published(name: str) -> None:
    rng = np.random.default_rng(0)
    gradients = rng.normal(size=(12, 7)) * 0.2
    start = np.zeros(7) if name == "ftrl" else 0.1 * rng.normal(size=7)
    rule = getattr(proximal, name)(optax.constant_schedule(A), L1, L2)
    w: Any = {"w": jnp.asarray(start)}
    state = rule.init(w)
    expected = published(name, gradients, start)
    assert (expected == 0).any()
    assert (expected != 0).any()
    for g, wanted in zip(gradients, expected, strict=True):
        update, state = rule.update({"w": jnp.asarray(g)}, state, w)
        w = optax.apply_updates(w, update)
        np.testing.assert_allclose(w["w"], wanted, atol=2e-6)


PLAIN = [("proximal_sgd", "sgd"), ("proximal_adagrad", "adagrad"), ("ftrl", "adagrad")]


@pytest.mark.parametrize(("name", "plain"), PLAIN)
def test_without_l1_and_l2_they_are_the_plain_rules_under_any_schedule(name: str, plain: str) -> None:
    rate = optax.linear_schedule(0.1, 0.5, 6)
    rules = [getattr(proximal, name)(rate, 0.0, 0.0), getattr(optax, plain)(rate)]
    ways = []
    for rule in rules:
        w: Any = {"w": jnp.asarray([0.5, -0.2, 0.0])}
        state = rule.init(w)
        for k in range(8):
            update, state = rule.update({"w": jnp.asarray([0.3, -0.1, 0.2]) * (1 + k % 3)}, state, w)
            w = optax.apply_updates(w, update)
        ways.append(w["w"])
    np.testing.assert_allclose(ways[0], ways[1], rtol=1e-5)


def test_schedule_free_refuses_a_schedule() -> None:
    kind = recipe_type("mlp", find_model("mlp"))
    with pytest.raises(UserError, match=r"schedule_free: needs schedule\.name=constant"):
        make_settings(kind, {"optimizer": {"name": "schedule_free"}}, [])
    make_settings(kind, {"optimizer": {"name": "schedule_free"}, "schedule": {"name": "constant"}}, [])
