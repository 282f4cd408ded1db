"""The state of a run, one step of learning, and one of evaluation. They are pure functions, compiled once.

The state holds neither random numbers nor the order of the data, because both are computed from (seed, step).
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh

from training import losses, optimizers
from training.augmentation import augment
from training.batches import WEIGHT, Batch
from training.contract import Array
from training.devices import replicated
from training.features import Features
from training.network import Named, Network
from training.recipe import Recipe

type State = dict[
    str, Any
]  # keys: step, parameters, rest, optimizer, average (may be empty), rate (a factor of the learning rate)
type Metrics = dict[str, Array]


def initial_state(
    network: Network,
    rule: optax.GradientTransformation,
    recipe: Recipe,
    mesh: Mesh,
    given: tuple[Named, Named] | None = None,
) -> State:
    """Return the state before the first step, on every device.

    Args:
        network: the network.
        rule: the optimizer.
        recipe: recipe of the run.
        mesh: the devices.
        given: parameters and rest to start from, instead of those drawn by the seed.
    """

    initial = partial(_begin, rule, recipe)
    made: State = jax.jit(initial, out_shardings=replicated(mesh))(*(given or network.initial))
    return made


def _begin(rule: optax.GradientTransformation, recipe: Recipe, parameters: Named, rest: Named) -> State:
    """Return the state before the first step."""
    average = jax.tree.map(jnp.copy, parameters) if _keeps_average(recipe) else {}
    counters = {"step": jnp.zeros((), jnp.int32), "rate": jnp.ones(())}
    return {"parameters": parameters, "rest": rest, "optimizer": rule.init(parameters), "average": average, **counters}


def state_bytes(network: Network, recipe: Recipe) -> int:
    """Return the bytes of the state of a run and of one gradient. Nothing is computed or compiled.

    Args:
        network: the network.
        recipe: recipe of the run.
    """
    state = jax.eval_shape(partial(_begin, optimizers.build_optimizer(recipe, 1), recipe), *network.shapes)
    return sum(array.size * array.dtype.itemsize for array in jax.tree.leaves((state, network.shapes[0])))


def learning_step(
    network: Network, features: Features, rule: optax.GradientTransformation, recipe: Recipe, mesh: Mesh
) -> Callable[[State, Batch], tuple[State, Metrics]]:
    """Return the compiled step of learning.

    Args:
        network: the network.
        features: conversion of fields.
        rule: the optimizer.
        recipe: recipe of the run.
        mesh: the devices.

    Returns:
        A function from a state and a batch to the next state and the metrics of the step. Its first argument is used
        up.
    """

    def objective(
        parameters: Named, state: State, batch: Batch, key: Array
    ) -> tuple[Array, tuple[Named, Array, Named]]:
        output, rest, further = network(parameters, state["rest"], features.encode(batch), key, batch[WEIGHT], batch)
        each = losses.loss(features, recipe.loss, features.decode(output, batch), batch, further)
        each, count = jnp.where(batch[WEIGHT] > 0, each, 0), jnp.sum(batch[WEIGHT])
        means = {name: jnp.sum(jnp.where(batch[WEIGHT] > 0, values, 0)) / count for name, values in further.items()}
        return jnp.sum(each) / count, (rest, each, means)

    @partial(jax.jit, donate_argnums=0, out_shardings=replicated(mesh))
    def step(state: State, batch: Batch) -> tuple[State, Metrics]:
        key = jax.random.fold_in(jax.random.key(recipe.seed), state["step"])
        symmetry, dropout = jax.random.split(key)
        if recipe.augment:
            batch = augment(features, batch, symmetry)
        slope = jax.value_and_grad(objective, has_aux=True)
        (loss, (rest, each, further)), gradient = slope(state["parameters"], state, batch, dropout)
        update, optimizer = rule.update(gradient, state["optimizer"], state["parameters"])
        update = jax.tree.map(lambda u: u * state["rate"], update)
        parameters = optax.apply_updates(state["parameters"], update)
        changed = {"parameters": parameters, "rest": rest, "optimizer": optimizer, "step": state["step"] + 1}
        average = _next_average(recipe, {**state, **changed})
        metrics = {"loss": loss, "losses": each, "gradient_norm": optax.tree.norm(gradient), **further}
        return {**state, **changed, "average": average}, metrics

    return step


def _keeps_average(recipe: Recipe) -> bool:
    return recipe.ema is not None or optimizers.keeps_average(recipe.optimizer)


def _next_average(recipe: Recipe, state: State) -> Named:
    """Return the optimizer's own average, or the moving average.

    The moving average follows faster at first: its decay is at most step / (9 + step).
    """
    if optimizers.keeps_average(recipe.optimizer):
        return optimizers.average(state["parameters"], state["optimizer"])
    if recipe.ema is None:
        return {}
    keep = jnp.minimum(recipe.ema, state["step"] / (9 + state["step"]))
    return {name: keep * state["average"][name] + (1 - keep) * value for name, value in state["parameters"].items()}


def best_parameters(state: State) -> Named:
    """Return the parameters that are evaluated and kept: the average if there is one."""
    chosen: Named = state["average"] or state["parameters"]
    return chosen


def evaluation_step(
    network: Network, features: Features, recipe: Recipe, mesh: Mesh
) -> Callable[[Named, Named, Batch], Metrics]:
    """Return the compiled evaluation of a batch. It learns nothing and draws nothing.

    Args:
        network: the network.
        features: conversion of fields.
        recipe: recipe of the run.
        mesh: the devices.

    Returns:
        A function from parameters, rest and a batch to losses and scores, (sample,) each.
    """

    @partial(jax.jit, out_shardings=replicated(mesh))
    def measure(parameters: Named, rest: Named, batch: Batch) -> Metrics:
        output, _, further = network(parameters, rest, features.encode(batch), fields=batch)
        prediction = features.decode(output, batch)
        loss = losses.loss(features, recipe.loss, prediction, batch, further)
        return {"loss": loss, **further, **losses.score(features, prediction, batch)}

    return measure
