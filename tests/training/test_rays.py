"""Projections inside networks equal those of physics, and their gradients are the adjoints."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from physics.tomography import filtered_back_projection as fbp
from physics.tomography.geometry import Geometry
from physics.tomography.projection import back_project, project
from training.operators import rays
from training.tasks.tomo import LEARN

SIZES = {"y": 18, "x": 21, "view": 9, "detector": 25}
SHAPES = {"image": (4, 18, 21), "sinogram": (4, 9, 25)}


def make_fields(distance: float) -> dict[str, Any]:
    """Return the rays of four samples: the first and the last have the same."""
    rng = np.random.default_rng(1)
    angle = rng.uniform(-3, 4, (4, 9)).astype(np.float32)
    measured = np.array([[1] * 9, [1] * 5 + [0] * 4, [0, 1] * 4 + [1], [1] * 9], np.uint8)
    angle[3] = angle[0]
    offset = np.array([0.5, 0, -4.25, 0.5], np.float32)
    return {
        "angle": angle,
        "measured": measured,
        "axis_offset": offset,
        "pitch": np.array([1, 0.8, 1.1, 1], np.float32),
        "source_distance": np.full(4, distance, np.float32),
    }


def geometry(fields: dict[str, Any], row: int) -> Geometry:
    numbers = (float(fields[name][row]) for name in ("pitch", "axis_offset", "source_distance"))
    return Geometry(fields["angle"][row][fields["measured"][row] != 0].astype(float), SIZES["detector"], *numbers)


def exact(fields: dict[str, Any], name: str, values: np.ndarray) -> np.ndarray:
    """Apply the function of physics, sample by sample."""
    made = np.zeros((4, 9, 25) if name in ("project", "fbp_adjoint") else (4, 18, 21))
    for row in range(4):
        seen, beam = fields["measured"][row] != 0, geometry(fields, row)
        ramp: dict[str, Any] = {"window": "hann", "cutoff": min(1.0, beam.pitch)}
        if name == "project":
            made[row, seen] = project(values[row].astype(float), beam)
        elif name == "fbp_adjoint":
            made[row, seen] = fbp.filtered_back_projection_adjoint(values[row].astype(float), beam, **ramp)
        elif name == "back_project":
            made[row] = back_project(values[row, seen].astype(float), beam, (18, 21))
        else:
            made[row] = fbp.filtered_back_projection(values[row, seen].astype(float), beam, (18, 21), **ramp)
    return made


CASES = [
    (rays.project, "image", "project", "back_project"),
    (rays.back_project, "sinogram", "back_project", "project"),
    (rays.filtered_back_projection, "sinogram", "fbp", "fbp_adjoint"),
]


@pytest.mark.parametrize("distance", [0.0, 45.0])
@pytest.mark.parametrize(("function", "kind", "name", "transposed"), CASES, ids=[case[2] for case in CASES])
@pytest.mark.parametrize(("devices", "tolerance"), [(1, 2e-5), (2, 1e-4)])
def test_values_and_gradients(
    function: Callable[..., Any],
    kind: str,
    name: str,
    transposed: str,
    distance: float,
    devices: int,
    tolerance: float,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """On several devices, or on a GPU, the sums are made in XLA."""
    monkeypatch.setattr(jax, "device_count", lambda: devices)
    fields = make_fields(distance)
    values = np.random.default_rng(2).normal(size=SHAPES[kind]).astype(np.float32)
    run = jax.jit(lambda x: function(x, fields, SIZES))
    made = run(values)
    expected = exact(fields, name, values)
    assert abs(made - expected).max() < tolerance * abs(expected).max()
    weights = np.random.default_rng(3).normal(size=made.shape).astype(np.float32)
    gradient = jax.jit(jax.grad(lambda x: jnp.vdot(run(x), weights)))(values)
    expected = exact(fields, transposed, weights)
    assert abs(gradient - expected).max() < tolerance * abs(expected).max()


@pytest.mark.parametrize("distance", [0.0, 45.0])
def test_a_mirrored_image_has_the_mirrored_sinogram(distance: float) -> None:
    """With an axis off the middle of the detector, which the mirror moves to the other side."""
    fields = make_fields(distance)
    mirror: Any = LEARN.symmetries[0]
    image = np.random.default_rng(5).normal(size=SHAPES["image"]).astype(np.float32)
    measured = fields | {"sinogram": exact(fields, "project", image)}
    moved = measured | {name: np.asarray(values) for name, values in mirror.apply(measured).items()}
    expected = exact(moved, "project", np.asarray(mirror.on_grid(image)))
    assert abs(moved["sinogram"] - expected).max() < 1e-5 * abs(expected).max()
