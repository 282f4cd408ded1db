"""Learning the phase from a through-focus series: inputs, symmetries and recipes.

A network receives the images, the phase that the transport-of-intensity equation (TIE) gives, or both.
"""

import jax.numpy as jnp

from physics.electron import wavelength
from physics.magnetics import separate_phases
from physics.transport_of_intensity import retrieve_from_series
from training.contract import Array, Arrays, Derived, Learn

CUTOFF, FLOOR = 0.004, 0.1  # [1/nm], [1]: near the best values for both recipes; inference tunes other values


def _tie_phase(fields: Arrays) -> Array:
    """Phase by the TIE, (sample, y, x, 1)."""
    return _solve_tie(fields, "intensity")[..., None]


def _tie_components(fields: Arrays) -> Array:
    """Electrostatic and magnetic phase by the TIE, from both series, (sample, y, x, 2)."""
    parts = separate_phases(_solve_tie(fields, "intensity"), _solve_tie(fields, "intensity_flipped"))
    return jnp.stack(parts, axis=-1)


def _solve_tie(fields: Arrays, series: str) -> Array:
    electrons, sampling = wavelength(fields["voltage"]), fields["sampling"]
    found = retrieve_from_series(fields[series], fields["defocus"], electrons, sampling, cutoff=CUTOFF, floor=FLOOR)
    return jnp.asarray(found)


RETRIEVED_PHASE = Derived(
    ("intensity", "defocus", "voltage", "sampling"), _tie_phase, "phase", "phase by the TIE, regularised, mean 0"
)

COMPONENTS = Derived(
    ("intensity", "intensity_flipped", "defocus", "voltage", "sampling"),
    _tie_components,
    "phase",
    "electrostatic and magnetic phase by the TIE, from series of the specimen before and after turning it over",
)

LEARN = Learn(
    inputs={
        "images": ("intensity",),
        "phases": (RETRIEVED_PHASE,),
        "dual": (RETRIEVED_PHASE, "intensity"),
        "pair": ("intensity", "intensity_flipped"),
        "components": (COMPONENTS,),
        "retrieved": ("phase_retrieved",),
    },
    scalars=("defocus", "noise", "voltage", "sampling", "potential", "absorption"),
    symmetries=("flip_y", "flip_x", "transpose"),
    recipes={
        # The network receives the defocus: without it, images fix the phase up to a factor only. After 3 epochs nrms is
        # 0.062 with the defocus and 0.12 without.
        "default": {"optimizer": {"learning_rate": 4e-3}, "scalars": ("defocus",)},
        # phase-ret-dl: its network receives TIE phases; gradient descent on the mean squared error, no augmentation.
        "published": {
            "model": {"name": "mlp"},
            "input": "phases",
            "normalisation": "none",
            "epochs": 50,
            "batch_size": 50,
            "augment": False,
            "optimizer": {"name": "sgd", "learning_rate": 0.5, "momentum": 0, "clip": None},
            "schedule": {"name": "constant", "warmup": 0},
            "loss": {"relative": 0, "mse": 1},
        },
    },
)
