"""The terms of the loss and the scores, for each sample. A term compares one target of a batch where `inside` is true.

Targets are (sample, ...). `scale` is the standard deviation of a target over the training data; it makes terms of order
1. The terms of classes are in `training/class_losses.py`. Values with a period differ by at most half of it. A task's
own losses (`LEARN.losses`) see all targets at once.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType

import jax.numpy as jnp
import optax

from schemas.ambiguities import align
from schemas.target_kinds import Kind
from schemas.task import Field, Task
from training.class_losses import CLASS_SCORES, CLASS_TERMS, class_scores
from training.compared import Compared, difference
from training.compared import pixel_axes as _axes
from training.contract import Array, Arrays
from training.features import Features, broadcast_to_field
from training.recipe import Loss

type Term = Callable[[Compared], Array]  # function from one compared target to values (sample,)

HIGHER_IS_BETTER = CLASS_SCORES  # scores that are better when they are higher
MIN_PROBABILITY = 2.0**-20  # predictions are cut to MIN_PROBABILITY ... 1 - MIN_PROBABILITY, which is exact in float32
SCALE_FLOOR = 1e-3  # share of the scale that keeps the relative error of an empty sample finite


def _relative(c: Compared) -> Array:
    """sqrt(sum error^2 / sum truth^2), with (SCALE_FLOOR scale)^2 per pixel added to each sum.

    For parts of samples, scale^2 is added to the second sum instead: a part may be nearly empty, and must not have a
    larger weight than others.
    """
    inside = jnp.mean(c.inside * jnp.ones_like(c.truth), _axes(c.truth))
    floor = inside * (SCALE_FLOOR * c.sample_scale) ** 2
    error = jnp.mean(c.inside * c.error**2, _axes(c.truth))
    size = jnp.mean(c.inside * c.truth**2, _axes(c.truth))
    return jnp.sqrt((error + floor) / (size + (inside * c.sample_scale**2 if c.cut else floor)))


def _mean_inside(values: Array, inside: Array) -> Array:
    weight = inside * jnp.ones_like(values)
    return jnp.sum(weight * values, _axes(values)) / jnp.sum(weight, _axes(values))


def _mse(c: Compared) -> Array:
    return _mean_inside((c.error / c.scale) ** 2, c.inside)


def _rmse(c: Compared) -> Array:
    """sqrt(mean squared error), with SCALE_FLOOR^2 added so that its slope is finite where the error is 0."""
    return jnp.sqrt(_mse(c) + SCALE_FLOOR**2)


def _l1(c: Compared) -> Array:
    return _mean_inside(abs(c.error) / c.scale, c.inside)


def _huber(c: Compared) -> Array:
    return _mean_inside(optax.losses.huber_loss(c.error / c.scale), c.inside)


def _value_cross_entropy(c: Compared) -> Array:
    return _mean_inside(cross_entropy(c.prediction, c.truth), c.inside)


def cross_entropy(prediction: Array, truth: Array) -> Array:
    """Cross entropy - t log p - (1 - t) log(1 - p) of values from 0 to 1.

    Args:
        prediction: p; it is cut to MIN_PROBABILITY ... 1 - MIN_PROBABILITY.
        truth: t, same shape; it is cut to 0 ... 1.
    """
    p, t = jnp.clip(prediction, MIN_PROBABILITY, 1 - MIN_PROBABILITY), jnp.clip(truth, 0, 1)
    return -t * jnp.log(p) - (1 - t) * jnp.log1p(-p)


VALUE_TERMS: Mapping[str, Term] = {
    "relative": _relative,
    "mse": _mse,
    "rmse": _rmse,
    "l1": _l1,
    "huber": _huber,
    "cross_entropy": _value_cross_entropy,
}

USUAL_TERMS: Mapping[Kind, str] = {"images": "relative", "classes": "cross_entropy", "numbers": "mse"}


def general_terms(field: Field, targets: Iterable[Field]) -> dict[str, Term]:
    """Return the general terms for a target. Beside targets with classes, the cross entropy is for these alone.

    Args:
        field: the target.
        targets: all targets that are learned together.
    """
    if field.classes:
        return dict(CLASS_TERMS)
    taken = CLASS_TERMS if any(other.classes for other in targets) else {}
    return {name: term for name, term in VALUE_TERMS.items() if name not in taken}


def terms(features: Features, field: Field) -> dict[str, Term]:
    """Return the general terms for a target, without those that the task replaces by its own.

    Args:
        features: conversion of fields.
        field: the target.
    """
    general = general_terms(field, features.targets)
    return {name: term for name, term in general.items() if name not in features.learn.losses}


def loss(
    features: Features,
    weights: Loss,
    prediction: Arrays,
    fields: Arrays,
    further: Arrays = MappingProxyType({}),
) -> Array:
    """Return the loss of each sample: weighted terms summed over targets, then the task's own losses, then `further`.

    Args:
        features: conversion of fields.
        weights: weights of the terms, and the other settings of the loss.
        prediction: targets as returned by `Features.decode`.
        fields: fields of the batch, which include the exact targets.
        further: losses (sample,) that the network itself returns, by name.

    Returns:
        Loss (sample,).
    """
    truth = {field.name: fields[weights.against or field.name] for field in features.targets}
    if weights.aligned and features.task.ambiguities.free:
        prediction = align(features.task, prediction, truth, window_of(features.task, fields))
    total, known = jnp.zeros(len(next(iter(truth.values())))), weights.weights
    for field in features.targets:
        name, inside = field.name, inside_window(features, field.name, fields)
        _, scale = features.scale(field, fields)
        compared = Compared(field, prediction[name], truth[name], inside, scale, weights, features.cut)
        for term, compare in terms(features, field).items():
            if weight := known[term]:
                total += weight * compare(compared)
    for name, own in features.learn.losses.items():
        if weight := known.get(name, 0.0):
            total += weight * own.compute(prediction, truth)
    for name, values in further.items():
        total += known[name] * values
    return total


def score_names(features: Features) -> tuple[str, ...]:
    """Return the names of the scores that `score` computes."""
    if features.targets[0].classes:
        return CLASS_SCORES
    return (*(("nrms",) if features.target_grid else ()), "absolute_error", "squared_error")


def cost(name: str, scores: Mapping[str, float]) -> float:
    """Return a mean score, negated if higher is better, and infinite where it is undefined.

    Args:
        name: name of the score.
        scores: mean scores by name.
    """
    value = scores.get(name, math.inf)
    return -value if name in HIGHER_IS_BETTER and math.isfinite(value) else value


def score(features: Features, prediction: Arrays, fields: Arrays) -> dict[str, Array]:
    """Return the scores by which runs are compared, those of the first target without alignment.

    Args:
        features: conversion of fields.
        prediction: targets as returned by `Features.decode`.
        fields: fields of the batch, which include the exact targets.

    Returns:
        Each score, (sample,); NaN where it is undefined.
    """
    field = features.targets[0]
    guess, truth = prediction[field.name], fields[field.name]
    if field.classes:
        return class_scores(field, guess, truth)
    error = difference(field, guess, truth)
    means = {"absolute_error": jnp.mean(abs(error), _axes(error)), "squared_error": jnp.mean(error**2, _axes(error))}
    if not features.target_grid:
        return means
    total, size = jnp.sum(error**2, _axes(error)), jnp.sum(truth**2, _axes(truth))
    return {"nrms": jnp.where(size > 0, jnp.sqrt(total / jnp.where(size > 0, size, 1)), jnp.nan), **means}


def window_of(task: Task, fields: Arrays) -> Array | None:
    """Return the task's window, or None if it has none.

    Args:
        task: the task.
        fields: fields of a batch.
    """
    return fields[task.window] if task.window else None


def inside_window(features: Features, name: str, fields: Arrays) -> Array:
    """Return 1 where the window is not 0, else 0.

    Args:
        features: conversion of fields.
        name: name of a target.
        fields: fields of a batch.

    Returns:
        Array that broadcasts with a batch of the target.
    """
    window = window_of(features.task, fields)
    if window is None:
        return jnp.ones(())
    task, inside = features.task, (window != 0).astype(jnp.float32)
    return broadcast_to_field(inside, task[task.window or ""], task[name])
