"""One target of a batch, in the form in which the terms of a loss compare prediction and truth."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from schemas.task import Field
from training.contract import Array
from training.recipe import Loss

IGNORED_LOGIT = -1e9  # logit of an ignored class


@dataclass(frozen=True)
class Compared:
    """One target of a batch, as a term compares it."""

    field: Field
    prediction: Array
    truth: Array
    inside: Array  # 1 inside the window, else 0; broadcasts with a batch of the target
    scale: Any  # standard deviation: a number, or an array that broadcasts with a batch of the target
    settings: Loss  # the settings of losses
    cut: bool = False  # True: samples are parts of larger ones

    @property
    def error(self) -> Array:
        """Error of the prediction; for values with a period, the smallest difference."""
        return difference(self.field, self.prediction, self.truth)

    @property
    def sample_scale(self) -> Any:
        """Scale of a sample as a whole: a number, or (sample,)."""
        return (
            self.scale if isinstance(self.scale, float) else jnp.sqrt(jnp.mean(self.scale**2, pixel_axes(self.scale)))
        )

    @property
    def class_weights(self) -> np.ndarray:
        """Weight of each class (class,); 0 for a class that is ignored."""
        known = np.array(self.settings.class_weights or [1.0] * len(self.field.classes), np.float32)
        known[[i for i in range(len(known)) if i not in self.field.counted]] = 0
        return known

    @property
    def counted(self) -> Array:
        """True where the true class is not ignored, inside the window, (sample, ...)."""
        return jnp.isin(self.truth, jnp.array(self.field.counted)) & (jnp.asarray(self.inside) > 0)

    @property
    def weighted_classes(self) -> Array:
        """One-hot classes (sample, ..., class), times the weight of the class; 0 where pixels are left out."""
        classes = jax.nn.one_hot(self.truth, len(self.field.classes)) * self.class_weights
        return classes * jnp.asarray(self.inside)[..., None]

    @property
    def logarithms(self) -> Array:
        """Logarithms of the probabilities of the classes that are not ignored, (sample, ..., class)."""
        counted = np.isin(np.arange(len(self.field.classes)), self.field.counted)
        return jax.nn.log_softmax(jnp.where(counted, self.prediction, IGNORED_LOGIT), axis=-1)


def difference(field: Field, prediction: Array, truth: Array) -> Array:
    """Return prediction - truth; for values with a period, the difference in -period / 2 ... period / 2.

    Args:
        field: the target.
        prediction: predicted values.
        truth: exact values, same shape.
    """
    away = prediction - truth
    if field.period is None:
        return away
    return away - field.period * jnp.round(away / field.period)


def pixel_axes(array: Array) -> tuple[int, ...]:
    """Return all axes but that of the samples."""
    return tuple(range(1, array.ndim))
