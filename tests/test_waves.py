"""Waves aligned with others: what was planted is undone exactly, and nothing nearer is missed."""

from itertools import combinations
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from physics.diffraction import amplitude
from physics.wave_ambiguities import align_wave
from schemas.ambiguities import align
from schemas.grids import Ambiguities, Freedom, Grid
from schemas.task import Field, Task

SHAPES = [(24,), (33,), (24, 32), (21, 27), (8, 9, 6)]
KINDS: tuple[Freedom, ...] = ("constant", "shift", "twin")
COMBINATIONS = [tuple(some) for n in range(4) for some in combinations(KINDS, n)]
EVERY: tuple[Freedom, ...] = KINDS

type Shape = tuple[int, ...]
shapes = pytest.mark.parametrize("shape", SHAPES, ids=str)
every_combination = pytest.mark.parametrize("ambiguities", COMBINATIONS, ids="-".join)


def waves(shape: Shape, samples: int = 4, seed: int = 0) -> tuple[Any, Any]:
    """Modulus, 0 outside an object; phase in (-3, 3), 0 there."""
    rng = np.random.default_rng(seed)
    modulus = rng.uniform(0.2, 1, (samples, *shape))
    for axis, n in enumerate(shape, start=1):
        inside = abs(np.arange(n) - n // 2) <= n // 4
        modulus = modulus * inside.reshape([n if i == axis else 1 for i in range(modulus.ndim)])
    return modulus, np.where(modulus > 0, rng.uniform(-3, 3, modulus.shape), 0)


def turned(values: Any) -> Any:
    """index -> -index along each axis but the first."""
    for axis in range(1, values.ndim):
        values = np.take(values, -np.arange(values.shape[axis]) % values.shape[axis], axis=axis)
    return values


def planted(wave: tuple[Any, Any], ambiguities: tuple[str, ...], seed: int) -> tuple[Any, Any]:
    """The same waves, each somewhere else in the ambiguities."""
    modulus, phase = (values.copy() for values in wave)
    rng = np.random.default_rng(seed)
    for i in range(len(modulus)):
        row = slice(i, i + 1)
        if "twin" in ambiguities and i % 2:
            modulus[row], phase[row] = turned(modulus[row]), -turned(phase[row])
        if "shift" in ambiguities:
            steps = tuple(rng.integers(0, 99, modulus.ndim - 1))
            axes = tuple(range(1, modulus.ndim))
            modulus[row], phase[row] = (np.roll(x[row], steps, axes) for x in (modulus, phase))
        if "constant" in ambiguities:
            phase[row] = np.where(modulus[row] > 0, phase[row] + rng.uniform(-9, 9), 0)
    return modulus, phase


def task(*free: Freedom) -> Task:
    dims = ("sample", "y", "x")
    fields = (
        Field("a", dims, "float32", "1", "input", ""),
        Field("phase", dims, "float32", "rad", "target", ""),
        Field("shape", dims, "float32", "1", "target", ""),
    )
    ambiguities = Ambiguities(free, phases=("phase",), modulus="shape")
    return Task(
        name="w", version="1", about="", formula="", ambiguities=ambiguities, fields=fields, grids=(Grid(("y", "x")),)
    )


@shapes
@every_combination
def test_what_was_planted_is_undone(shape: Shape, ambiguities: tuple[Freedom, ...]) -> None:
    exact = waves(shape)
    moved = planted(exact, ambiguities, seed=1)
    found = align_wave(*moved, *exact, ambiguities)
    assert np.array_equal(found.modulus, exact[0])
    assert np.allclose(found.phase, exact[1], atol=1e-12)
    assert found.twin.tolist() == ["twin" in ambiguities and i % 2 == 1 for i in range(4)]
    if ambiguities:
        assert not np.allclose(moved[1], exact[1])


@pytest.mark.parametrize("shape", [(7,), (4, 5)], ids=str)
@every_combination
def test_no_other_place_in_the_ambiguities_is_nearer(shape: Shape, ambiguities: tuple[Freedom, ...]) -> None:
    """Tried one by one: every shift, both twins, the best constant by hand."""
    rng = np.random.default_rng(3)
    (m, p), (exact_m, exact_p) = ((rng.uniform(0, 1, (3, *shape)), rng.uniform(-3, 3, (3, *shape))) for _ in range(2))
    found = align_wave(m, p, exact_m, exact_p, ambiguities)
    truth, nearest = exact_m * np.exp(1j * exact_p), found.modulus * np.exp(1j * found.phase)
    wave = m * np.exp(1j * p)
    axes = tuple(range(1, m.ndim))
    shifts = list(np.ndindex(shape)) if "shift" in ambiguities else [(0,) * len(shape)]
    best = np.full(3, np.inf)
    for candidate in [wave, turned(wave).conj()] if "twin" in ambiguities else [wave]:
        for shift in shifts:
            there = np.roll(candidate, shift, axes)
            c = (there.conj() * truth).sum(axes, keepdims=True)
            there = there * c / abs(c) if "constant" in ambiguities else there
            best = np.minimum(best, (abs(there - truth) ** 2).sum(axes))
    assert (abs(nearest - truth) ** 2).sum(axes) == pytest.approx(best, rel=1e-9)


def test_the_ambiguities_is_what_a_far_field_does_not_show() -> None:
    modulus, phase = waves((21, 26))
    moved = planted((modulus, phase), EVERY, seed=5)
    one, other = (amplitude(m * np.exp(1j * p)) for m, p in ((modulus, phase), moved))
    assert np.allclose(one, other)


def test_errors_of_whole_turns_are_none() -> None:
    modulus, phase = waves((16, 15))
    turns = np.random.default_rng(0).integers(-2, 3, phase.shape) * 2 * np.pi
    found = align_wave(modulus, np.where(modulus > 0, phase + turns, 0), modulus, phase, ())
    assert np.allclose(found.phase, phase)
    assert np.array_equal(found.raw_phase, np.where(modulus > 0, phase + turns, 0))


def test_where_nothing_is_predicted_there_is_no_phase() -> None:
    modulus, phase = waves((16, 15))
    found = align_wave(modulus, np.where(modulus > 0, phase + 1, 0), modulus, phase + 5, EVERY)
    assert (found.phase[found.modulus == 0] == 0).all()


def test_a_task_of_a_wave_is_aligned_as_one() -> None:
    exact = waves((16, 15))
    moved = planted(exact, EVERY, seed=1)
    names = ("shape", "phase")
    found = align(task(*EVERY), dict(zip(names, moved, strict=True)), dict(zip(names, exact, strict=True)))
    assert np.allclose(found["phase"], exact[1])
    assert np.array_equal(found["shape"], exact[0])


def test_jax_finds_the_same_and_has_finite_gradients() -> None:
    exact = waves((12, 15))
    moved = planted(exact, EVERY, seed=1)
    rows = [jnp.asarray(x, jnp.float32) for x in (*moved, *exact)]
    found = jax.jit(lambda m, p, a, b: align_wave(m, p, a, b, EVERY).phase)(*rows)
    assert np.allclose(found, exact[1], atol=1e-4)
    slope = jax.grad(lambda p: jnp.sum(align_wave(rows[0], p, rows[2], rows[3], EVERY).phase ** 2))(rows[1])
    assert np.isfinite(np.asarray(slope)).all()


def test_a_wave_has_no_ramp() -> None:
    with pytest.raises(ValueError, match="must not be free"):
        task("constant", "ramp")
