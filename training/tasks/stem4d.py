"""Learning the phase under a focused probe from its diffraction pattern: inputs and recipes."""

import jax.numpy as jnp

from training.contract import Array, Arrays, Derived, Learn

EMPTY_FLOOR = 1e-30  # keeps an empty pattern finite


def _relative_amplitude(fields: Arrays) -> Array:
    """Amplitude A / rms A, (sample, qy, qx, 1). It depends neither on the dose nor on the unit of counts."""
    amplitude = fields["amplitude"]
    rms = jnp.sqrt(jnp.mean(amplitude**2, axis=(1, 2), keepdims=True))
    return (amplitude / (rms + EMPTY_FLOOR))[..., None]


LEARN = Learn(
    inputs={
        "relative": (Derived(("amplitude",), _relative_amplitude, "", "amplitude divided by its root mean square"),),
        "amplitude": ("amplitude",),
    },
    scalars=("dose", "voltage", "sampling"),
    recipes={
        # A pattern does not depend on a constant phase, so the loss ignores it.
        "default": {
            "optimizer": {"learning_rate": 2e-3},
            "batch_size": 64,
            "loss": {"relative": 0, "l1": 1, "aligned": True},
        },
        # deep-phase-imaging: raw amplitudes, plain gradient descent on the mean absolute error. The published code
        # computes the loss of only the first sample of each batch; here the loss of all samples is used.
        "published": {
            "model": {"name": "dledi"},
            "input": "amplitude",
            "normalisation": "none",
            "epochs": 100,
            "batch_size": 16,
            "augment": False,
            "optimizer": {"name": "sgd", "learning_rate": 1e-4, "momentum": 0, "clip": None},
            "schedule": {"name": "constant", "warmup": 0},
            "loss": {"relative": 0, "l1": 1},
        },
    },
)
