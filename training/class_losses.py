"""The terms of the loss and the scores of targets with classes.

p is the probability of a class, t is 1 for the true class and 0 for the others, w is the weight of a class
(`loss.classes`). Pixels whose true class is `ignore` are left out. With two classes, p1 the probability of the second:

    weighted   mean of - b t1 log p1 - (1 - t1) log(1 - p1)              loss.weighted_cross_entropy=1 loss.classes=1,b
    balanced   mean of - b t1 log p1 - (1 - b) (1 - t1) log(1 - p1)      the same with loss.classes=1-b,b
    binary     the same with loss.classes=1,1; as a loss of values from 0 to 1, loss.cross_entropy
    Dice       1 - (2 sum p1 t1 + 1) / (sum p1 + sum t1 + 1)             loss.dice=1 loss.classes=0,1

These are the losses of super_tomo_py, for each sample by itself. `loss.classes=balanced` computes the weights from the
training samples (`training/class_weights.py`).
"""

import math
from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
import numpy as np

from schemas.task import Field
from training.border_weights import border_weights
from training.compared import IGNORED_LOGIT, Compared, pixel_axes
from training.contract import Array

MIN_PROBABILITY = 1e-7  # probabilities are cut to MIN_PROBABILITY ... 1 - MIN_PROBABILITY, the epsilon of Keras


def _cross_entropy(c: Compared) -> Array:
    """Mean of - log p of the true class, weighted by class: sum of w times that, over the sum of w."""
    classes, axes = c.weighted_classes, pixel_axes(c.prediction)
    weight = jnp.sum(classes, axes)
    return -jnp.sum(classes * c.logarithms, axes) / jnp.where(weight > 0, weight, 1)


def _weighted_cross_entropy(c: Compared) -> Array:
    """Mean over pixels of - w log p of the true class. Pixels beyond the cut of p have no slope, as published."""
    return _pixel_mean(c, -jnp.sum(c.weighted_classes * _cut_logarithms(c), -1))


def _focal(c: Compared) -> Array:
    """Mean over pixels of - w (1 - p)^g log p of the true class, g = loss.focusing. Lin et al., arXiv:1708.02002."""
    logarithms = c.logarithms
    missing = jnp.maximum(-jnp.expm1(logarithms), MIN_PROBABILITY)  # above 0, so that the slope is finite for g < 1
    return _pixel_mean(c, -jnp.sum(c.weighted_classes * missing**c.settings.focusing * logarithms, -1))


def _border(c: Compared) -> Array:
    """Mean over pixels of - (w + border weight) log p of the true class. The border weight is >0 in the first class."""
    extra = border_weights(c.truth, c.field.counted, c.settings.border_weight, c.settings.border_width)
    bare = jax.nn.one_hot(c.truth, len(c.field.classes))
    classes = c.weighted_classes + bare * (extra * c.counted)[..., None]
    return _pixel_mean(c, -jnp.sum(classes * _cut_logarithms(c), -1))


def _dice(c: Compared) -> Array:
    """1 - the mean over classes of (2 sum p t + 1) / (sum p + sum t + 1), weighted by class."""
    inside = c.counted[..., None]
    p, t = inside * jnp.exp(c.logarithms), inside * jax.nn.one_hot(c.truth, len(c.field.classes))
    axes, known = pixel_axes(c.prediction)[:-1], c.class_weights
    overlap, size = jnp.sum(p * t, axes), jnp.sum(p + t, axes)
    each = (2 * overlap + 1) / (size + 1)  # 1 for a class that is neither present nor predicted
    mean: Array = jnp.sum(each * known, -1) / known.sum()
    return 1 - mean


def _cut_logarithms(c: Compared) -> Array:
    return jnp.clip(c.logarithms, math.log(MIN_PROBABILITY), math.log1p(-MIN_PROBABILITY))


def _pixel_mean(c: Compared, values: Array) -> Array:
    """Return the mean over the counted pixels, (sample,); `values` (sample, ...) is 0 at the others."""
    axes = pixel_axes(values)
    count = jnp.sum(c.counted, axes)
    return jnp.sum(values, axes) / jnp.where(count > 0, count, 1)


CLASS_TERMS: Mapping[str, Callable[[Compared], Array]] = {
    "cross_entropy": _cross_entropy,
    "weighted_cross_entropy": _weighted_cross_entropy,
    "dice": _dice,
    "focal": _focal,
    "border": _border,
}

CLASS_SCORES = ("iou", "dice", "accuracy")


def class_scores(field: Field, logits: Array, truth: Array) -> dict[str, Array]:
    """Return the scores of the most probable classes, NaN for a sample whose classes are all ignored.

    Args:
        field: the target.
        logits: (sample, ..., class).
        truth: labels (sample, ...).

    Returns:
        Intersection over union and Dice coefficient, both means over the classes that are present or predicted, and the
        share of pixels that are right. Each is (sample,).
    """
    counted = np.isin(np.arange(len(field.classes)), field.counted)
    inside = jnp.isin(truth, jnp.array(field.counted))[..., None]
    labels = jnp.argmax(jnp.where(counted, logits, IGNORED_LOGIT), axis=-1)
    p, t = (inside & (values[..., None] == jnp.array(field.counted)) for values in (labels, truth))
    axes = pixel_axes(p)[:-1]
    both, either, size = jnp.sum(p & t, axes), jnp.sum(p | t, axes), jnp.sum(inside[..., 0], axes)
    present, some = either > 0, jnp.where(either > 0, either, 1)
    means = (jnp.sum(value, -1) / jnp.sum(present, -1) for value in (both / some, 2 * both / (both + some)))
    return dict(zip(CLASS_SCORES, (*means, jnp.sum(both, -1) / size), strict=True))
