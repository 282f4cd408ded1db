"""The logarithm of a dose as a scalar for networks."""

import jax.numpy as jnp

from training.contract import Array, Arrays, Derived

INFINITE_DOSE = 1e8  # counts that stand for 0, the mark of measurements without noise


def log_counts(name: str, about: str) -> Derived:
    """Return the logarithm of a parameter that holds counts; 0, an infinite dose, stands as 1e8.

    Args:
        name: the parameter.
        about: meaning of its logarithm.
    """

    def compute(fields: Arrays) -> Array:
        counts = fields[name]
        return jnp.log10(jnp.where(counts > 0, counts, INFINITE_DOSE))[:, None]

    return Derived((name,), compute, "", about, by="field")
