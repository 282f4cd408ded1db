"""Phase retrieval, whole: schedules, objects that come back, refinement; bits of blocks, and JAX."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from physics.diffraction import amplitude, far_field, inverse_far_field
from physics.phase_retrieval import PUBLISHED_SCHEDULE, Schedule, best_of, reconstruct, refine, shrink_wrap
from physics.projections import ALGORITHMS, hybrid_input_output, raar, residual, scale_to_amplitude
from tests.physics.test_phase_retrieval import SHORT, Shape, distance, grids, noisy, objects, random_start, whole


def compiled(step: Callable[[Any], Any], state: Any, count: int) -> Any:
    return jax.lax.fori_loop(0, count, lambda _, s: step(s), state)


def test_the_published_schedule_has_620_iterations_and_averages_20() -> None:
    assert PUBLISHED_SCHEDULE.iterations == 620
    assert PUBLISHED_SCHEDULE.average == 20
    stages = list(PUBLISHED_SCHEDULE.stages())
    assert sum(count for _, count, _ in stages) == 600
    assert {feedback for feedback, _, _ in stages} == {True, False}
    widths = [sigma for _, _, sigma in stages if sigma is not None]
    assert len(widths) == 600 // PUBLISHED_SCHEDULE.shrink_every
    assert (widths[0], widths[-1]) == PUBLISHED_SCHEDULE.sigma
    np.testing.assert_allclose(np.diff(widths), widths[1] - widths[0])


def test_a_support_shrinks_within_a_stage_and_between_two() -> None:
    schedule = Schedule(cycles=2, feedback=3, reduction=2, average=1, shrink_every=4, sigma=(3.0, 1.0))
    expected = [(True, 3, None), (False, 1, 3.0), (False, 1, None), (True, 3, 1.0), (False, 2, None)]
    assert list(schedule.stages()) == expected
    never = Schedule(cycles=1, feedback=2, reduction=1, shrink_every=0)
    assert list(never.stages()) == [(True, 2, None), (False, 1, None)]


@pytest.mark.parametrize("wrong", [{"average": 0}, {"cycles": -1}, {"shrink_every": -2}])
def test_a_schedule_that_cannot_be_run_is_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="give counts >= 0 and average >= 1"):
        Schedule(**wrong)  # type: ignore[arg-type]


def test_a_start_on_another_grid_is_refused() -> None:
    pattern = np.ones((2, 8, 8))
    with pytest.raises(ValueError, match=r"start of \(2, 4, 4\) for amplitudes of \(2, 8, 8\): embed it in their grid"):
        reconstruct(pattern, np.ones((2, 4, 4), complex))


@grids
@pytest.mark.parametrize(("step", "beta"), [(hybrid_input_output, 0.9), (raar, 0.97)])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_random_object_comes_back_from_its_amplitude_and_support(
    shape: Shape, step: Any, beta: float, seed: int
) -> None:
    """A tight support leaves neither shift nor twin: only the constant."""
    truth, support = objects(shape, 4, seed)
    pattern = amplitude(truth)
    schedule = Schedule(cycles=1, feedback=600, reduction=0, shrink_every=0, beta=beta)
    found = reconstruct(pattern, random_start(pattern, seed + 10), schedule, support=support, algorithm=step)
    assert np.max(distance(found.wave, truth)) < 1e-3
    assert np.max(found.residual) < 1e-6
    np.testing.assert_array_equal(found.support, np.broadcast_to(support, truth.shape))


def test_nothing_known_but_the_amplitude_the_published_schedule_finds_the_shape() -> None:
    """A bitten disc of phase: up to shift, twin and constant, from the least residual of a few starts."""
    y, x = (np.arange(-24, 24)[:, None], np.arange(-24, 24))
    shape = ((y**2 + x**2 < 90) & ~((y - 5) ** 2 + (x - 8) ** 2 < 30)).astype(float)
    truth = (shape * np.exp(0.3j * y * np.cos(x / 4)))[None].astype(np.complex64)
    pattern = amplitude(truth)
    tries = [reconstruct(pattern, random_start(pattern, seed)) for seed in range(4)]
    waves, supports, residuals = (np.stack(parts) for parts in zip(*tries, strict=True))
    wave, least = best_of(waves, residuals)
    assert least < 1e-2
    support, _ = best_of(supports, residuals)
    assert np.sum(support) == pytest.approx(np.sum(shrink_wrap(truth, 0.5, 0.1)), rel=0.15)  # with its last blur
    likeness = []
    for candidate in (wave, np.flip(wave, (1, 2)).conj()):
        overlap = inverse_far_field(far_field(truth) * far_field(candidate).conj())
        likeness.append(np.max(abs(overlap)) / np.sqrt(np.sum(abs(truth) ** 2) * np.sum(abs(wave) ** 2)))
    assert max(likeness) > 0.97


def test_averaged_waves_are_brought_into_one_phase() -> None:
    """A step that only turns the phase by 100 degrees: the mean is the wave, not near 0."""
    truth, support = objects((12, 9))
    twisted = reconstruct(
        amplitude(truth), truth, Schedule(cycles=0, average=18), support=support, repeat=_turning(100 * np.pi / 180)
    )
    assert np.max(distance(twisted.wave, truth)) < 1e-9


def _turning(angle: float) -> Any:
    def repeat(step: Any, state: Any, count: int) -> Any:
        for _ in range(count):
            guess, total = state
            state = step((guess * np.exp(1j * angle), total))
        return state

    return repeat


@grids
def test_refinement_mends_a_guess_whatever_its_scale(shape: Shape) -> None:
    truth, support = objects(shape)
    rng = np.random.default_rng(0)
    guess = truth * np.exp(0.4j * rng.standard_normal(truth.shape)) * rng.uniform(0.8, 1.2, truth.shape)
    found = refine(amplitude(truth), guess, 50, support=support)
    assert np.all(distance(found.wave, truth) < 0.2 * distance(guess, truth))
    measured = np.ones(whole(shape), bool)
    measured[shape[0], shape[1]] = False  # q = 0, which alone tells the scale of a flat object
    one, other = (refine(amplitude(truth), c * guess, 20, measured=measured) for c in (1.0, 7.0))
    np.testing.assert_allclose(other.wave, one.wave, atol=1e-9)


@grids
def test_the_scale_of_a_guess_is_that_of_least_squares(shape: Shape) -> None:
    truth, _ = objects(shape)
    pattern = noisy(amplitude(truth))
    best = scale_to_amplitude(truth, pattern)
    np.testing.assert_allclose(scale_to_amplitude(3j * truth, pattern), 1j * best, atol=1e-12)
    for factor in (0.99, 1.01):
        assert np.all(residual(factor * best, pattern) > residual(best, pattern))


def test_the_best_start_is_chosen_for_each_sample() -> None:
    candidates = np.arange(24.0).reshape(3, 4, 2, 1)
    residuals = np.array([[5, 1, 2, 9], [4, 1, 3, 9], [6, 0, 2, 8]])
    waves, least = best_of(candidates, residuals)
    np.testing.assert_array_equal(least, [4, 0, 2, 8])
    np.testing.assert_array_equal(waves, candidates[[1, 2, 0, 2], range(4)])
    traced = jax.jit(best_of)(jnp.asarray(candidates), jnp.asarray(residuals))
    np.testing.assert_array_equal(traced[0], waves)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("shape", [(12, 15), (32, 32)])
def test_a_block_is_its_samples_bit_for_bit(algorithm: str, shape: Shape) -> None:
    truth, _ = objects(shape, 21, dtype=np.complex64)  # more than one slab of the larger
    pattern = noisy(amplitude(truth))
    start, measured = random_start(pattern), np.random.default_rng(6).random(pattern.shape) > 0.05
    options: dict[str, Any] = {"algorithm": ALGORITHMS[algorithm]}
    block = reconstruct(pattern, start, SHORT, measured=measured, **options)
    assert block.wave.dtype == np.complex64
    assert block.residual.dtype == np.float32
    for i in (0, 7, 20):
        one = slice(i, i + 1)
        alone = reconstruct(pattern[one], start[one], SHORT, measured=measured[one], **options)
        for a, b in zip(block, alone, strict=True):
            np.testing.assert_array_equal(a[one], b)


def test_an_empty_block_is_empty() -> None:
    found = reconstruct(np.zeros((0, 8, 6), np.float32), np.zeros((0, 8, 6), np.complex64), SHORT)
    assert found.wave.shape == found.support.shape == (0, 8, 6)
    assert found.residual.shape == (0,)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_jax_agrees_compiled(algorithm: str) -> None:
    """Supports are thresholds: few iterations, or rounding would choose other ones."""
    truth, _ = objects((12, 15), dtype=np.complex64)
    pattern, schedule = amplitude(truth), Schedule(cycles=1, feedback=3, reduction=2, average=3, shrink_every=4)
    measured = np.random.default_rng(6).random(whole((12, 15))) > 0.05
    start, step = random_start(pattern), ALGORITHMS[algorithm]
    expected = reconstruct(pattern, start, schedule, measured=measured, algorithm=step)

    @jax.jit
    def traced(pattern: Any, start: Any, measured: Any) -> Any:
        return reconstruct(pattern, start, schedule, measured=measured, algorithm=step, repeat=compiled)

    found = traced(pattern, start, measured)
    assert found.wave.dtype == jnp.complex64
    np.testing.assert_array_equal(found.support, expected.support)
    np.testing.assert_allclose(found.wave, expected.wave, atol=2e-4)
    np.testing.assert_allclose(found.residual, expected.residual, rtol=1e-3)
    refined = jax.jit(lambda a, g: refine(a, g, 5, repeat=compiled))(pattern, truth)
    np.testing.assert_allclose(refined.wave, refine(pattern, truth, 5).wave, atol=2e-4)


def test_the_published_schedule_compiles_to_the_same_quality() -> None:
    """620 iterations part ways by rounding; their misfits do not."""
    truth, _ = objects((12, 15), 8, dtype=np.complex64)
    pattern = amplitude(truth)
    start = random_start(pattern)
    found = jax.jit(lambda a, g: reconstruct(a, g, repeat=compiled))(pattern, start)
    expected = reconstruct(pattern, start)
    assert np.median(found.residual) == pytest.approx(np.median(expected.residual), rel=1, abs=1e-4)
