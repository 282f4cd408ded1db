"""Values that the numbers of a network's output stand for: probabilities of classes, and angles."""

import jax
import jax.numpy as jnp

from schemas.task import Field
from training.contract import Array


def numbers_per_value(field: Field) -> int:
    """Return how many numbers a network outputs for one value of a target."""
    return len(field.classes) or (2 if field.period else 1)


def probabilities(field: Field, logits: Array) -> Array:
    """Return the probability of each class. That of the ignored class is 0."""
    counted = jnp.isin(jnp.arange(len(field.classes)), jnp.array(field.counted))
    return jax.nn.softmax(jnp.where(counted, logits, -jnp.inf), axis=-1)


def angle(cosine: Array, sine: Array) -> Array:
    """Return the angle [rad] of a cosine and a sine of any length; where both are 0, the angle and its gradient are 0.

    Args:
        cosine: cosine, times a length.
        sine: sine, times the same length.
    """
    return jnp.arctan2(sine, jnp.where((cosine == 0) & (sine == 0), 1.0, cosine))
