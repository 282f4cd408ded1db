"""Terms of the loss, per sample. Each compares one target of a batch, (sample, ...), where `inside` is true.

scale: the standard deviation of the target over the training data, so that terms are of order 1. Of classes, the
prediction holds logits, (sample, ..., class); what is labelled `ignore` counts nowhere. Values with a period differ by
less than half of it. A task's own losses (`LEARN.losses`) see all targets at once.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from schemas.ambiguities import align
from schemas.task import Field, Task
from training.contract import Array, Arrays
from training.features import Features, spread
from training.recipe import Loss

type Term = Callable[[Compared], Array]  # -> (sample,)

HIGHER = ("iou",)  # scores of which more is better
SURE = 2.0**-20  # a share is never surer than that; 1 less it is exact in float32
NEVER = -1e9  # logit of a class that does not count
TINY = 1e-3  # of the scale: keeps the relative error of an empty sample finite


@dataclass(frozen=True)
class Compared:
    """One target of a batch, as a term sees it."""

    field: Field
    prediction: Array
    truth: Array
    inside: Array  # 1 or 0, to be multiplied with a batch of the target
    scale: Any  # a number, or an array to be combined with a batch of the target
    weights: tuple[float, ...] = ()  # of classes; empty: all 1
    part: bool = False  # of a larger sample

    @property
    def error(self) -> Array:
        """Return the error; of values with a period, the least difference."""
        return difference(self.field, self.prediction, self.truth)

    @property
    def typical(self) -> Any:
        """Return the scale of a sample as a whole: a number, or (sample,)."""
        return self.scale if isinstance(self.scale, float) else jnp.sqrt(jnp.mean(self.scale**2, _axes(self.scale)))

    @property
    def counted(self) -> Array:
        """(sample, ..., class): 1 for the class of each value, times its weight; 0 where nothing counts."""
        known = np.array(self.weights or [1.0] * len(self.field.classes), np.float32)
        known[[i for i in range(len(known)) if i not in self.field.counted]] = 0
        return jax.nn.one_hot(self.truth, len(known)) * known * jnp.asarray(self.inside)[..., None]

    @property
    def logarithms(self) -> Array:
        """(sample, ..., class): of the probabilities of the classes that count."""
        counted = np.isin(np.arange(len(self.field.classes)), self.field.counted)
        return jax.nn.log_softmax(jnp.where(counted, self.prediction, NEVER), axis=-1)


def difference(field: Field, prediction: Array, truth: Array) -> Array:
    """prediction - truth; of values with a period, the one in -period / 2 ... period / 2."""
    away = prediction - truth
    if field.period is None:
        return away
    return away - field.period * jnp.round(away / field.period)


def _relative(c: Compared) -> Array:
    """sqrt(sum error^2 / sum truth^2), each sum with (TINY scale)^2 per pixel added; of parts, scale^2 to the second.

    A part of a sample may be nearly empty, and must not count more than others.
    """
    inside = jnp.mean(c.inside * jnp.ones_like(c.truth), _axes(c.truth))
    floor = inside * (TINY * c.typical) ** 2
    error = jnp.mean(c.inside * c.error**2, _axes(c.truth))
    size = jnp.mean(c.inside * c.truth**2, _axes(c.truth))
    return jnp.sqrt((error + floor) / (size + (inside * c.typical**2 if c.part else floor)))


def _mean(values: Array, inside: Array) -> Array:
    weight = inside * jnp.ones_like(values)
    return jnp.sum(weight * values, _axes(values)) / jnp.sum(weight, _axes(values))


def _mse(c: Compared) -> Array:
    return _mean((c.error / c.scale) ** 2, c.inside)


def _l1(c: Compared) -> Array:
    return _mean(abs(c.error) / c.scale, c.inside)


def _huber(c: Compared) -> Array:
    return _mean(optax.losses.huber_loss(c.error / c.scale), c.inside)


def _shares(c: Compared) -> Array:
    return _mean(cross_entropy(c.prediction, c.truth), c.inside)


def cross_entropy(prediction: Array, truth: Array) -> Array:
    """- t log p - (1 - t) log(1 - p) of shares, values from 0 to 1."""
    p, t = jnp.clip(prediction, SURE, 1 - SURE), jnp.clip(truth, 0, 1)
    return -t * jnp.log(p) - (1 - t) * jnp.log1p(-p)


def _entropy(c: Compared) -> Array:
    """Mean of - log of the probability of the right class, weighted by class."""
    weight = jnp.sum(c.counted, _axes(c.counted))
    return -jnp.sum(c.counted * c.logarithms, _axes(c.counted)) / jnp.where(weight > 0, weight, 1)


def _dice(c: Compared) -> Array:
    """1 - the mean over classes of 2 sum p t / (sum p + sum t), the weights of classes weigh the mean."""
    inside = (jnp.isin(c.truth, jnp.array(c.field.counted)) & (jnp.asarray(c.inside) > 0))[..., None]
    p, t = inside * jnp.exp(c.logarithms), inside * jax.nn.one_hot(c.truth, len(c.field.classes))
    axes = _axes(c.prediction)[:-1]
    overlap, size = jnp.sum(p * t, axes), jnp.sum(p + t, axes)
    known = np.array(c.weights or [1.0] * len(c.field.classes), np.float32)[list(c.field.counted)]
    each = (2 * overlap + 1) / (size + 1)  # a class that is nowhere and not predicted is right
    return 1 - jnp.sum(each[:, list(c.field.counted)] * known, -1) / known.sum()


def _axes(array: Array) -> tuple[int, ...]:
    return tuple(range(1, array.ndim))


OF_VALUES: Mapping[str, Term] = {
    "relative": _relative,
    "mse": _mse,
    "l1": _l1,
    "huber": _huber,
    "cross_entropy": _shares,
}
OF_CLASSES: Mapping[str, Term] = {"cross_entropy": _entropy, "dice": _dice}


def terms(features: Features, field: Field) -> dict[str, Term]:
    """The general terms for a target, without those in whose place the task has its own."""
    general = OF_CLASSES if field.classes else OF_VALUES
    return {name: term for name, term in general.items() if name not in features.learn.losses}


def loss(
    features: Features,
    weights: Loss,
    prediction: Arrays,
    fields: Arrays,
    further: Arrays = MappingProxyType({}),
) -> Array:
    """The loss of each sample, (sample,): weighted terms, added over targets, then the task's own and `further`.

    further: (sample,) by name, those that the network itself gives.
    """
    truth = {field.name: fields[field.name] for field in features.targets}
    if weights.aligned and features.task.ambiguities.free:
        prediction = align(features.task, prediction, truth, window_of(features.task, fields))
    total, known = jnp.zeros(len(next(iter(truth.values())))), weights.weights
    for field in features.targets:
        name, inside = field.name, inside_of(features, field.name, fields)
        _, scale = features.scale(field, fields)
        seen = Compared(field, prediction[name], truth[name], inside, scale, weights.classes, features.parts)
        for term, compare in terms(features, field).items():
            if weight := known[term]:
                total += weight * compare(seen)
    for name, own in features.learn.losses.items():
        if weight := known.get(name, 0.0):
            total += weight * own.of(prediction, truth)
    for name, values in further.items():
        total += known[name] * values
    return total


def scores_of(features: Features) -> tuple[str, ...]:
    """The names of the scores of `score`."""
    if features.targets[0].classes:
        return ("iou",)
    return ("nrms",) if features.out else ("absolute_error",)


def cost(name: str, scores: Mapping[str, float]) -> float:
    """A mean score, negated if more is better; infinite where it is undefined."""
    value = scores.get(name, math.inf)
    return -value if name in HIGHER and math.isfinite(value) else value


def score(features: Features, prediction: Arrays, fields: Arrays) -> dict[str, Array]:
    """The scores of each sample by which runs are compared, of the first target as it is; NaN where undefined."""
    field = features.targets[0]
    guess, truth = prediction[field.name], fields[field.name]
    if field.classes:
        return {"iou": _iou(field, guess, truth)}
    if not features.out:
        error = abs(difference(field, guess, truth))
        return {"absolute_error": error.reshape(len(error), -1).mean(-1)}
    error = jnp.sum(difference(field, guess, truth) ** 2, _axes(truth))
    size = jnp.sum(truth**2, _axes(truth))
    return {"nrms": jnp.where(size > 0, jnp.sqrt(error / jnp.where(size > 0, size, 1)), jnp.nan)}


def _iou(field: Field, logits: Array, truth: Array) -> Array:
    """Intersection over union, the mean over the classes that are there or predicted."""
    counted = np.isin(np.arange(len(field.classes)), field.counted)
    inside = jnp.isin(truth, jnp.array(field.counted))[..., None]
    labels = jnp.argmax(jnp.where(counted, logits, NEVER), axis=-1)
    p, t = (inside & (values[..., None] == jnp.array(field.counted)) for values in (labels, truth))
    axes = _axes(p)[:-1]
    both, either = jnp.sum(p & t, axes), jnp.sum(p | t, axes)
    there = either > 0
    return jnp.sum(both / jnp.where(there, either, 1), -1) / jnp.sum(there, -1)


def window_of(task: Task, fields: Arrays) -> Array | None:
    """The task's window, if it has one."""
    return fields[task.window] if task.window else None


def inside_of(features: Features, name: str, fields: Arrays) -> Array:
    """1 where the window is not 0, else 0, to be multiplied with a batch of a target."""
    window = window_of(features.task, fields)
    if window is None:
        return jnp.ones(())
    return spread((window != 0).astype(jnp.float32), features.task[features.task.window or ""], features.task[name])
