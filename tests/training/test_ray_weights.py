"""Weights of rays in XLA equal those of physics, for views that lie anywhere."""

from collections.abc import Callable
from functools import partial
from math import pi

import jax
import jax.export
import numpy as np
import pytest

from physics.arrays import Array, Real
from physics.tomography.filtered_back_projection import weights_by_sample
from physics.tomography.geometry import Geometry
from training.operators import rays
from training.operators.ray_weights import weigh

VIEWS, DETECTORS, PITCH = 60, 25, 0.8
STEPS = np.arange(VIEWS)
RNG = np.random.default_rng(1)
DEGREE = pi / 180
# Rays of four samples: parallel and fan beams, whose axis falls near the middle of the detector and onto its end.
OFFSETS = np.array([0, DETECTORS / 2, -2.25, -DETECTORS / 2], np.float32)
DISTANCES = np.array([0, 0, 45, 45], np.float32)

run = jax.jit(partial(weigh, {"detector": DETECTORS}))


def exact(angles: Array, measured: Array, row: int) -> Real:
    """Return the weights of sample `row` from the views that were measured, 0 in others."""
    weights, known = np.zeros((len(angles), DETECTORS)), measured != 0
    beam = Geometry(angles[known].astype(float), DETECTORS, PITCH, float(OFFSETS[row]), float(DISTANCES[row]))
    weights[known] = weights_by_sample(beam, None)
    return weights


def check(angles: Array, measured: Array | None = None) -> Real:
    """Compare the weights of all samples with those of physics, and return them."""
    turned = np.tile(angles, (4, 1)).astype(np.float32)
    known = np.ones(turned.shape, np.uint8) if measured is None else np.tile(measured, (4, 1)).astype(np.uint8)
    made = np.asarray(run(turned, known, OFFSETS, np.full(4, PITCH, np.float32), DISTANCES))
    for row in range(4):
        expected = exact(turned[row], known[row], row)
        assert abs(made[row] - expected).max() < 1e-5 * expected.max(), f"sample {row}"
    return made


CASES: dict[str, Array] = {
    "half a turn": STEPS * pi / VIEWS,
    "half a turn with its end": STEPS * pi / (VIEWS - 1),
    "whole turn": STEPS * 2 * pi / VIEWS,
    "whole turn with its end": STEPS * 2 * pi / (VIEWS - 1),
    "backwards": 3 - STEPS * 2 * pi / VIEWS,
    "random": RNG.uniform(-3, 4, VIEWS),
    "random over several turns": RNG.uniform(-30, 40, VIEWS),
    "golden angle": STEPS * pi * (5**0.5 - 1) / 2,
    "golden angle over a whole turn": STEPS * pi * (5**0.5 - 1),
    "repeated": STEPS % 20 * pi / 20,
    "repeated after a turn": STEPS * 2 * pi / 20,
    "repeated with errors": np.repeat(RNG.uniform(0, 7, 20), 3) + RNG.normal(0, 1e-7, VIEWS),
    "one wedge is missing": STEPS * 2 * DEGREE,
    "short scan of a fan": STEPS * 3.7 * DEGREE,
    "two wedges are missing": np.where(STEPS < 30, STEPS, STEPS + VIEWS) * 1.5 * DEGREE,
    "opposite wedges are missing": np.where(STEPS < 30, STEPS, STEPS + 60) * 2 * DEGREE,
    "a choice of evenly spread views": RNG.permutation(150)[:VIEWS] * 2 * pi / 150,
    "steps of a quarter of the usual gap": np.where(STEPS < 45, STEPS * 4, (STEPS - 45) * 12 + 1) * DEGREE,
    "a gap of four steps": np.where(STEPS < 30, STEPS, STEPS + 3) * pi / 63,
    "a gap of five steps": np.where(STEPS < 30, STEPS, STEPS + 4) * 2 * pi / 64,
}


@pytest.mark.parametrize("angles", CASES.values(), ids=CASES)
def test_weights_equal_those_of_physics(angles: Array) -> None:
    check(angles)


@pytest.mark.parametrize("chosen", [0.6, 0.15])
@pytest.mark.parametrize("name", ["half a turn", "whole turn", "random", "repeated", "two wedges are missing"])
def test_views_that_were_not_measured_do_not_count(name: str, chosen: float) -> None:
    measured = np.random.default_rng(2).random(VIEWS) < chosen
    made = check(CASES[name], measured)
    assert (made[:, ~measured] == 0).all()


@pytest.mark.parametrize("chosen", [[7], [7, 22], [7, 37], [0, 59]])
def test_one_view_and_two(chosen: list[int]) -> None:
    """Also with two opposite views of a whole turn, and two neighbours."""
    check(CASES["whole turn"], np.isin(STEPS, chosen))


def test_a_scan_of_one_view() -> None:
    check(np.ones(1))


def test_samples_without_a_view_have_no_weight() -> None:
    made = run(np.ones((4, VIEWS), np.float32), np.zeros((4, VIEWS), np.uint8), OFFSETS, DISTANCES + 1, DISTANCES)
    assert (np.asarray(made) == 0).all()


@pytest.mark.parametrize("total", [180, 220, 360])
def test_a_thousand_views(total: int) -> None:
    """The step is a few thousand times as wide as the rounding of float32."""
    check(np.arange(1000) * total * DEGREE / 1000)


def test_a_gap_of_four_steps_is_measured() -> None:
    """Steps are whole numbers of 2^-14 rad, so that the gap is exactly 4 steps in physics, but not in counts."""
    views = np.arange(1000)
    check(np.where(views < 30, views, views + 3) * 41 / 2**14)


@pytest.mark.parametrize("function", [rays.project, rays.back_project, rays.filtered_back_projection])
def test_a_device_calls_no_host(function: Callable[..., jax.Array]) -> None:
    sizes = {"y": 9, "x": 8, "view": VIEWS, "detector": DETECTORS}
    shape = (4, 9, 8) if function is rays.project else (4, VIEWS, DETECTORS)
    fields = dict(zip(rays.RAYS, (*np.ones((2, 4, VIEWS)), OFFSETS, np.ones(4), DISTANCES), strict=True))
    call = jax.jit(jax.grad(lambda x: (function(x, fields, sizes) ** 2).sum()))
    program = jax.export.export(call, platforms=["cuda"])(jax.ShapeDtypeStruct(shape, np.float32)).mlir_module()
    assert "callback" not in program
