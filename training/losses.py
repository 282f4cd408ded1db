"""Terms of the loss, per sample. Each compares one target of a batch, (sample, ...), where `inside` is true.

scale: the standard deviation of the target over the training data, so that terms are of order 1.
"""

from collections.abc import Callable, Mapping

import jax.numpy as jnp
import optax

from schemas.core import Task
from schemas.gauge import align
from training.contract import Array, Arrays
from training.features import Features, spread
from training.recipe import Loss

type Term = Callable[[Array, Array, Array, float], Array]

TINY = 1e-3  # of the scale: keeps the relative error of an empty sample finite


def _relative(prediction: Array, truth: Array, inside: Array, scale: float) -> Array:
    """sqrt(sum error^2 / sum truth^2), each sum with (TINY scale)^2 per pixel added."""
    floor = jnp.mean(inside * jnp.ones_like(truth), _axes(truth)) * (TINY * scale) ** 2
    error = jnp.mean(inside * (prediction - truth) ** 2, _axes(truth))
    size = jnp.mean(inside * truth**2, _axes(truth))
    return jnp.sqrt((error + floor) / (size + floor))


def _mean(values: Array, inside: Array) -> Array:
    weight = inside * jnp.ones_like(values)
    return jnp.sum(weight * values, _axes(values)) / jnp.sum(weight, _axes(values))


def _mse(prediction: Array, truth: Array, inside: Array, scale: float) -> Array:
    return _mean(((prediction - truth) / scale) ** 2, inside)


def _l1(prediction: Array, truth: Array, inside: Array, scale: float) -> Array:
    return _mean(abs(prediction - truth) / scale, inside)


def _huber(prediction: Array, truth: Array, inside: Array, scale: float) -> Array:
    return _mean(optax.losses.huber_loss(prediction / scale, truth / scale), inside)


def _axes(array: Array) -> tuple[int, ...]:
    return tuple(range(1, array.ndim))


TERMS: Mapping[str, Term] = {"relative": _relative, "mse": _mse, "l1": _l1, "huber": _huber}


def loss(features: Features, weights: Loss, prediction: Arrays, fields: Arrays) -> Array:
    """The loss of each sample, (sample,): the weighted terms, added over targets."""
    truth = {field.name: fields[field.name] for field in features.targets}
    if weights.aligned:
        prediction = align(features.task, prediction, truth, window_of(features.task, fields))
    total = jnp.zeros(len(next(iter(truth.values()))))
    for name, exact in truth.items():
        inside = inside_of(features, name, fields)
        for term, compare in TERMS.items():
            if weight := getattr(weights, term):
                total += weight * compare(prediction[name], exact, inside, features.moments[name].std)
    return total


def nrms(features: Features, prediction: Arrays, fields: Arrays) -> Array:
    """sqrt(sum error^2 / sum truth^2) of each sample, first target, as it is: the score that runs are compared by."""
    name = features.targets[0].name
    truth = fields[name]
    error = jnp.sum((prediction[name] - truth) ** 2, _axes(truth))
    size = jnp.sum(truth**2, _axes(truth))
    return jnp.where(size > 0, jnp.sqrt(error / jnp.where(size > 0, size, 1)), jnp.nan)


def window_of(task: Task, fields: Arrays) -> Array | None:
    """The task's window, if it has one."""
    return fields[task.window] if task.window else None


def inside_of(features: Features, name: str, fields: Arrays) -> Array:
    """1 where the window is not 0, else 0, to be multiplied with a batch of a target."""
    window = window_of(features.task, fields)
    if window is None:
        return jnp.ones(())
    return spread((window != 0).astype(jnp.float32), features.task[features.task.window or ""], features.task[name])
