"""Terms of the loss, per sample. Each compares one target of a batch, (sample, ...), where `inside` is true.

scale: the standard deviation of the target over the training data, so that terms are of order 1.
"""

from collections.abc import Callable, Mapping

import jax.numpy as jnp
import optax

from schemas.core import Field, Task
from schemas.gauge import align
from training.contract import Array, Arrays
from training.features import Features, spread
from training.recipe import Loss

type Term = Callable[[Field, Array, Array, Array, float], Array]

SURE = 2.0**-20  # a share is never surer than that; 1 less it is exact in float32
TINY = 1e-3  # of the scale: keeps the relative error of an empty sample finite


def _relative(field: Field, prediction: Array, truth: Array, inside: Array, scale: float) -> Array:
    """sqrt(sum error^2 / sum truth^2), each sum with (TINY scale)^2 per pixel added."""
    floor = jnp.mean(inside * jnp.ones_like(truth), _axes(truth)) * (TINY * scale) ** 2
    error = jnp.mean(inside * (prediction - truth) ** 2, _axes(truth))
    size = jnp.mean(inside * truth**2, _axes(truth))
    return jnp.sqrt((error + floor) / (size + floor))


def _mean(values: Array, inside: Array) -> Array:
    weight = inside * jnp.ones_like(values)
    return jnp.sum(weight * values, _axes(values)) / jnp.sum(weight, _axes(values))


def _mse(field: Field, prediction: Array, truth: Array, inside: Array, scale: float) -> Array:
    return _mean(((prediction - truth) / scale) ** 2, inside)


def _l1(field: Field, prediction: Array, truth: Array, inside: Array, scale: float) -> Array:
    return _mean(abs(prediction - truth) / scale, inside)


def _huber(field: Field, prediction: Array, truth: Array, inside: Array, scale: float) -> Array:
    return _mean(optax.losses.huber_loss(prediction / scale, truth / scale), inside)


def _cross_entropy(field: Field, prediction: Array, truth: Array, inside: Array, scale: float) -> Array:
    """Of shares: values from 0 to 1 as they are, phases [rad] from -pi to pi as (phase + pi) / 2 pi."""
    p, t = ((x / (2 * jnp.pi) + 0.5 if field.units == "rad" else x) for x in (prediction, truth))
    p, t = jnp.clip(p, SURE, 1 - SURE), jnp.clip(t, 0, 1)
    return _mean(-t * jnp.log(p) - (1 - t) * jnp.log1p(-p), inside)


def _axes(array: Array) -> tuple[int, ...]:
    return tuple(range(1, array.ndim))


TERMS: Mapping[str, Term] = {
    "relative": _relative,
    "mse": _mse,
    "l1": _l1,
    "huber": _huber,
    "cross_entropy": _cross_entropy,
}


def _wave(modulus: Array, phase: Array, exact_modulus: Array, exact_phase: Array) -> Array:
    """sqrt(sum |p - t|^2 / sum |t|^2) of the waves p, t = modulus exp(i phase), TINY^2 per pixel added to each sum."""
    # |p - t|^2 without the waves: its gradient is smooth where both are 0
    cosine = jnp.cos(phase - exact_phase)
    error = jnp.mean(modulus**2 + exact_modulus**2 - 2 * modulus * exact_modulus * cosine, _axes(modulus))
    size = jnp.mean(exact_modulus**2, _axes(modulus))
    return jnp.sqrt((jnp.maximum(error, 0) + TINY**2) / (size + TINY**2))


def _circular(modulus: Array, phase: Array, exact_modulus: Array, exact_phase: Array) -> Array:
    """Mean of 1 - cos(phase error), weighted with the exact modulus; modulus is not read."""
    weight = jnp.sum(exact_modulus, _axes(phase)) + TINY
    return jnp.sum(exact_modulus * (1 - jnp.cos(phase - exact_phase)), _axes(phase)) / weight


WAVE_TERMS: Mapping[str, Callable[[Array, Array, Array, Array], Array]] = {"wave": _wave, "circular": _circular}


def loss(features: Features, weights: Loss, prediction: Arrays, fields: Arrays) -> Array:
    """The loss of each sample, (sample,): the weighted terms, added over targets, and those of their wave."""
    truth = {field.name: fields[field.name] for field in features.targets}
    if weights.aligned:
        prediction = align(features.task, prediction, truth, window_of(features.task, fields))
    total = jnp.zeros(len(next(iter(truth.values()))))
    for field in features.targets:
        name, inside = field.name, inside_of(features, field.name, fields)
        for term, compare in TERMS.items():
            if weight := getattr(weights, term):
                scale = features.moments[name].std
                total += weight * compare(field, prediction[name], truth[name], inside, scale)
    if features.task.wave:
        pair = [values[name] for values in (prediction, truth) for name in features.task.wave]
        for term, compare_waves in WAVE_TERMS.items():
            if weight := getattr(weights, term):
                total += weight * compare_waves(*pair)
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
