"""Mean and standard deviation for normalisation: of a field, of each of its channels, or of each sample."""

from typing import Annotated, Any

import jax.numpy as jnp
from pydantic import BaseModel, ConfigDict
from pydantic import Field as Limits

from training.contract import Array, Arrays


class Moments(BaseModel):
    """Mean and standard deviation of a field over the training samples; deviation 1 for a constant."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    mean: Annotated[float, Limits(allow_inf_nan=False)]
    std: Annotated[float, Limits(gt=0, allow_inf_nan=False)]


class Each(BaseModel):
    """Moments of each channel of a field."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    channels: Annotated[tuple[Moments, ...], Limits(min_length=1)]


class Own(BaseModel):
    """Moments of an input that are computed for each sample."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    of: str


type Normalised = Moments | Each | Own
type Scale = tuple[Any, Any]  # mean and deviation: numbers, or arrays that broadcast
IDENTITY = Moments(mean=0, std=1)
MIN_RELATIVE_STD = 1e-6  # a deviation below this share of the mean is taken as a rounding error


def mean_and_std(known: Normalised, fields: Arrays, rank: int) -> Scale:
    """Return mean and deviation in a form that broadcasts with an array.

    Args:
        known: the moments.
        fields: the fields of a batch, for moments of each sample.
        rank: number of axes of the array, samples first and channels last.
    """
    if isinstance(known, Own):
        one = (-1, *(1 for _ in range(rank - 1)))
        mean, std = (values.reshape(one) for values in sample_moments(fields[known.of]))
        return mean, std
    if isinstance(known, Moments):
        return known.mean, known.std
    both = jnp.asarray([(one.mean, one.std) for one in known.channels], jnp.float32)
    return both[:, 0], both[:, 1]


def sample_moments(values: Array) -> tuple[Array, Array]:
    """Return mean and standard deviation of each sample.

    Args:
        values: (sample, ...).

    Returns:
        Two arrays (sample,). The deviation of a constant is its modulus, or 1 if it is 0.
    """
    rows = jnp.reshape(values, (len(values), -1)).astype(jnp.float32)
    mean, size = jnp.mean(rows, 1), jnp.mean(abs(rows), 1)
    std = jnp.sqrt(jnp.mean((rows - mean[:, None]) ** 2, 1))
    return mean, jnp.where(std > MIN_RELATIVE_STD * size, std, jnp.where(size > 0, size, 1.0))
