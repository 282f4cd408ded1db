"""Values that the numbers of a network's output stand for: probabilities of classes, and angles."""

import jax
import jax.numpy as jnp

from schemas.task import Field
from training.contract import Array

EXCLUDED_LOGIT = -1e9  # logit of a class that is impossible


def numbers_per_value(field: Field) -> int:
    """Return how many numbers a network outputs for one value of a target."""
    return len(field.classes) or (2 if field.period else 1)


def probabilities(field: Field, logits: Array) -> Array:
    """Return the probability of each class. That of the ignored class is 0."""
    counted = jnp.isin(jnp.arange(len(field.classes)), jnp.array(field.counted))
    return jax.nn.softmax(jnp.where(counted, logits, -jnp.inf), axis=-1)


def outside_first_class(logits: Array, inside: Array) -> Array:
    """Return logits that stand for the first class where `inside` is 0.

    Args:
        logits: (sample, ..., class).
        inside: 1 or 0, broadcasts with (sample, ...).
    """
    others = jnp.arange(logits.shape[-1]) > 0
    return jnp.where((inside[..., None] == 0) & others, EXCLUDED_LOGIT, logits)


def angle(cosine: Array, sine: Array) -> Array:
    """Return the angle [rad] of a cosine and a sine of any length; where both are 0, the angle and its gradient are 0.

    Args:
        cosine: cosine, times a length.
        sine: sine, times the same length.
    """
    return jnp.arctan2(sine, jnp.where((cosine == 0) & (sine == 0), 1.0, cosine))
