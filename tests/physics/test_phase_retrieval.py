"""Phase retrieval: what each step keeps, that the misfit falls, and that the object comes back; bits and modules."""

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from physics.diffraction import amplitude, embed, far_field, near_field
from physics.phase_retrieval import (
    ALGORITHMS,
    PUBLISHED,
    Schedule,
    autocorrelation_support,
    best_of,
    error_reduction,
    hybrid_input_output,
    in_phase,
    modulus_projection,
    raar,
    reconstruct,
    refine,
    residual,
    scaled,
    shrink_wrap,
    start_with,
    support_projection,
)

type Shape = tuple[int, int]

GRIDS = [(32, 24), (17, 26), (21, 15)]  # of the object; the pattern is twice as large, or that and one more
SHORT = Schedule(cycles=2, feedback=7, reduction=4, average=3, every=5)

grids = pytest.mark.parametrize("shape", GRIDS)
steps = pytest.mark.parametrize("step", ALGORITHMS.values(), ids=ALGORITHMS.keys())


def triangle(shape: Shape) -> Any:
    """A support that is not its own twin, bool (y, x), near the edges of its frame."""
    y, x = np.meshgrid(*(np.arange(n) / (n - 1) for n in shape), indexing="ij")
    return (x + 0.6 * y < 0.97) & (y > 0.1) & (x > 0.05)


def whole(shape: Shape) -> Shape:
    """Of the pattern: even sides get odd ones and odd ones even, never square."""
    return 2 * shape[0] + 1, 2 * shape[1]


def objects(shape: Shape, count: int = 3, seed: int = 0, dtype: Any = np.complex128) -> tuple[Any, Any]:
    """Random waves in the support, amid zeros: complex (count, *whole(shape)), and their support (*whole(shape))."""
    rng = np.random.default_rng(seed)
    support = embed(triangle(shape), whole(shape))
    modulus, phase = rng.uniform(0.5, 1.5, (count, *support.shape)), rng.uniform(-2, 2, (count, *support.shape))
    return np.where(support, modulus * np.exp(1j * phase), 0).astype(dtype), support


def random_start(pattern: Any, seed: int = 7) -> Any:
    return start_with(pattern, np.random.default_rng(seed).random(pattern.shape).astype(pattern.dtype))


def noisy(pattern: Any) -> Any:
    counts = np.random.default_rng(3).poisson(pattern**2 * 100 / np.max(pattern**2))
    return np.sqrt(counts).astype(pattern.dtype)


def distance(found: Any, truth: Any) -> Any:
    """Relative, per sample, at the best constant phase."""
    off = in_phase(found, truth) - truth
    return np.sqrt(np.sum(np.abs(off) ** 2, axis=(1, 2)) / np.sum(np.abs(truth) ** 2, axis=(1, 2)))


def compiled(step: Callable[[Any], Any], state: Any, count: int) -> Any:
    return jax.lax.fori_loop(0, count, lambda _, s: step(s), state)


# Projections


@grids
def test_the_modulus_projection_gives_the_measured_amplitude_and_keeps_the_phase(shape: Shape) -> None:
    truth, _ = objects(shape)
    guess = np.random.default_rng(1).standard_normal(truth.shape) + 1j * np.random.default_rng(2).random(truth.shape)
    found = modulus_projection(amplitude(truth))(guess)
    np.testing.assert_allclose(amplitude(found), amplitude(truth), atol=1e-9)
    turned = far_field(found) * far_field(guess).conj()
    np.testing.assert_allclose(turned, abs(turned), atol=1e-6)
    np.testing.assert_allclose(modulus_projection(amplitude(truth))(found), found, atol=1e-9)


@grids
def test_pixels_that_are_not_measured_are_free(shape: Shape) -> None:
    """Whatever stands there, even NaN, nothing changes, and the guess keeps its own far field there."""
    truth, support = objects(shape)
    pattern, measured = amplitude(truth), np.random.default_rng(4).random(whole(shape)) > 0.2
    guess = random_start(pattern)
    found = modulus_projection(np.where(measured, pattern, np.nan), measured)(guess)
    expected = np.where(measured, pattern * np.exp(1j * np.angle(far_field(guess))), far_field(guess))
    np.testing.assert_allclose(far_field(found), expected, atol=1e-9)
    one, other = (
        reconstruct(np.where(measured, pattern, hidden), guess, SHORT, measured=measured) for hidden in (np.nan, 1e4)
    )
    for a, b in zip(one, other, strict=True):
        np.testing.assert_array_equal(a, b)
    wrong = np.where(measured, pattern, 1e4)
    assert np.all(residual(truth, wrong, measured) < 1e-20)
    assert np.all(residual(truth, wrong) > 0.1)
    masks = np.broadcast_to(measured, pattern.shape)
    again = reconstruct(pattern, guess, SHORT, measured=masks, support=support)
    once = reconstruct(pattern, guess, SHORT, measured=measured, support=support)
    np.testing.assert_array_equal(again.wave, once.wave)


def test_a_far_field_without_phase_stays_zero() -> None:
    pattern = np.ones((1, 6, 5), np.float32)
    assert not modulus_projection(pattern)(np.zeros((1, 6, 5), np.complex64)).any()
    assert residual(np.zeros((1, 6, 5)), 0 * pattern) == 0


# Steps


@grids
@steps
def test_the_object_is_a_fixed_point(shape: Shape, step: Any) -> None:
    truth, support = objects(shape)
    project = modulus_projection(amplitude(truth))
    for beta in (0.3, 0.9, 1.0):
        np.testing.assert_allclose(step(truth, project, support, beta), truth, atol=1e-9)
    off = support & ~embed(triangle((shape[0] - 4, shape[1] - 4)), support.shape)
    assert np.all(distance(step(truth, project, off, 0.9), truth) > 0.1)  # a support that is too small


@grids
@steps
def test_a_twin_a_shift_and_a_constant_do_as_well(shape: Shape, step: Any) -> None:
    truth, support = objects(shape)
    project = modulus_projection(amplitude(truth))

    def twin(array: Any) -> Any:
        return np.roll(np.flip(array, (-2, -1)), (3, 1), (-2, -1))

    other = twin(truth).conj() * np.exp(0.7j)
    np.testing.assert_allclose(step(other, project, twin(support), 0.9), other, atol=1e-9)


@grids
@pytest.mark.parametrize("beta", [0.4, 0.9, 1.0])
def test_steps_are_their_formulas_in_reflections(shape: Shape, beta: float) -> None:
    """RAAR: beta/2 (R_S R_M + 1) + (1 - beta) P_M. HIO: P_S ((1 + beta) P_M - 1) + 1 - beta P_M. At beta = 1 equal."""
    truth, support = objects(shape)
    project = modulus_projection(amplitude(truth))
    guess = random_start(amplitude(truth))
    onto = project(guess)

    def reflected(wave: Any) -> Any:
        return 2 * support_projection(wave, support) - wave

    relaxed = beta / 2 * (reflected(2 * onto - guess) + guess) + (1 - beta) * onto
    np.testing.assert_allclose(raar(guess, project, support, beta), relaxed, atol=1e-12)
    difference = support_projection((1 + beta) * onto - guess, support) + guess - beta * onto
    np.testing.assert_allclose(hybrid_input_output(guess, project, support, beta), difference, atol=1e-12)
    if beta == 1.0:
        np.testing.assert_allclose(relaxed, difference, atol=1e-12)


@grids
@pytest.mark.parametrize("hidden", [False, True])
@pytest.mark.parametrize("dose", ["exact", "noisy"])
def test_the_misfit_of_error_reduction_never_rises(shape: Shape, hidden: bool, dose: str) -> None:
    truth, support = objects(shape)
    pattern = noisy(amplitude(truth)) if dose == "noisy" else amplitude(truth)
    measured = np.random.default_rng(5).random(whole(shape)) > 0.1 if hidden else None
    project, guess, misfits = modulus_projection(pattern, measured), random_start(pattern), []
    for _ in range(60):
        guess = error_reduction(guess, project, support)
        misfits.append(residual(guess, pattern, measured))
    assert all(np.all(b <= a * (1 + 1e-12)) for a, b in pairwise(misfits))
    assert np.all(misfits[-1] < 0.9 * misfits[0])


def test_the_misfit_of_the_feedback_may_rise() -> None:
    """Else the law above would be one of the random start."""
    truth, support = objects(GRIDS[0])
    project, guess, misfits = modulus_projection(amplitude(truth)), random_start(amplitude(truth)), []
    for _ in range(60):
        guess = hybrid_input_output(guess, project, support)
        misfits.append(residual(guess, amplitude(truth)))
    assert any(np.any(b > a) for a, b in pairwise(misfits))


# Supports


@grids
def test_shrink_wrap_finds_a_binary_object(shape: Shape) -> None:
    """Half the maximum of a blurred edge lies on the edge; lower thresholds reach beyond, higher ones stay within."""
    _, support = objects(shape)
    waves = support * np.exp(1j * np.random.default_rng(0).uniform(-3, 3, (2, *support.shape))) * [[[1.0]], [[5.0]]]
    found = shrink_wrap(waves, 0.5, 0.5)
    assert found.shape == waves.shape
    assert np.mean(found != support) < 0.02
    low, high = shrink_wrap(waves, 1.0, 0.1), shrink_wrap(waves, 1.0, 0.9)
    assert np.all(found[high])
    assert np.all(low[np.broadcast_to(support, low.shape)])
    assert np.array_equal(found[0], found[1])  # relative to its own maximum
    np.testing.assert_array_equal(shrink_wrap(waves, 0.0, 0.5), np.broadcast_to(support, waves.shape))


@grids
def test_the_autocorrelation_reaches_as_far_as_the_object_does(shape: Shape) -> None:
    """Of a flat box of n pixels: 2 n - 1 pixels wide about N//2, a triangle along each axis."""
    size, frame = (shape[0] // 4, shape[1] // 3), whole(shape)
    box = embed(np.ones((1, *size)), frame)
    support = autocorrelation_support(amplitude(box), 1e-6)[0]
    expected = embed(np.ones((2 * size[0] - 1, 2 * size[1] - 1), bool), frame)
    np.testing.assert_array_equal(support, expected)
    half = autocorrelation_support(amplitude(box), 0.499)[0]
    assert half[frame[0] // 2].sum() == 2 * (size[1] // 2) + 1


def test_a_start_has_the_measured_amplitude() -> None:
    pattern = amplitude(objects((9, 12))[0])
    turns = np.random.default_rng(0).random(pattern.shape)
    np.testing.assert_allclose(far_field(start_with(pattern, turns)), pattern * np.exp(2j * np.pi * turns), atol=1e-9)


# Reconstructions


def test_the_published_schedule_has_620_iterations_and_averages_20() -> None:
    assert PUBLISHED.iterations == 620
    assert PUBLISHED.average == 20
    runs = list(PUBLISHED.runs())
    assert sum(count for _, count, _ in runs) == 600
    assert {feedback for feedback, _, _ in runs} == {True, False}
    widths = [sigma for _, _, sigma in runs if sigma is not None]
    assert len(widths) == 600 // PUBLISHED.every
    assert (widths[0], widths[-1]) == PUBLISHED.sigma
    np.testing.assert_allclose(np.diff(widths), widths[1] - widths[0])


def test_a_schedule_shrinks_amid_a_run_and_across_two() -> None:
    schedule = Schedule(cycles=2, feedback=3, reduction=2, average=1, every=4, sigma=(3.0, 1.0))
    expected = [(True, 3, None), (False, 1, 3.0), (False, 1, None), (True, 3, 1.0), (False, 2, None)]
    assert list(schedule.runs()) == expected
    never = Schedule(cycles=1, feedback=2, reduction=1, every=0)
    assert list(never.runs()) == [(True, 2, None), (False, 1, None)]


@pytest.mark.parametrize("wrong", [{"average": 0}, {"cycles": -1}, {"every": -2}])
def test_a_schedule_that_cannot_be_run_is_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="give counts >= 0 and average >= 1"):
        Schedule(**wrong)  # type: ignore[arg-type]


def test_a_start_on_another_grid_is_refused() -> None:
    pattern = np.ones((2, 8, 8))
    with pytest.raises(ValueError, match=r"start of \(2, 4, 4\) for amplitudes of \(2, 8, 8\): embed it"):
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
    schedule = Schedule(cycles=1, feedback=600, reduction=0, every=0, beta=beta)
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
    wave, least = best_of(np.stack([t.wave for t in tries]), np.stack([t.residual for t in tries]))
    assert least < 1e-2
    likeness = []
    for candidate in (wave, np.flip(wave, (1, 2)).conj()):
        overlap = near_field(far_field(truth) * far_field(candidate).conj())
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
    best = scaled(truth, pattern)
    np.testing.assert_allclose(scaled(3j * truth, pattern), 1j * best, atol=1e-12)
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


# Bits and modules


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
    pattern, schedule = amplitude(truth), Schedule(cycles=1, feedback=3, reduction=2, average=3, every=4)
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
