"""Phase retrieval, step by step: what each keeps, that the misfit falls; the supports."""

from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from physics.diffraction import amplitude, embed, far_field
from physics.phase_retrieval import (
    Schedule,
    align_phase,
    autocorrelation_support,
    initial_guess,
    reconstruct,
    shrink_wrap,
)
from physics.projections import (
    ALGORITHMS,
    error_reduction,
    hybrid_input_output,
    modulus_projection,
    raar,
    residual,
    support_projection,
)

type Shape = tuple[int, int]

GRIDS = [(32, 24), (17, 26), (21, 15)]  # of the object; the pattern is twice as large, or that and one more
SHORT = Schedule(cycles=2, feedback=7, reduction=4, average=3, shrink_every=5)

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
    return initial_guess(pattern, np.random.default_rng(seed).random(pattern.shape).astype(pattern.dtype))


def noisy(pattern: Any) -> Any:
    counts = np.random.default_rng(3).poisson(pattern**2 * 100 / np.max(pattern**2))
    return np.sqrt(counts).astype(pattern.dtype)


def distance(found: Any, truth: Any) -> Any:
    """Relative, per sample, at the best constant phase."""
    off = align_phase(found, truth) - truth
    return np.sqrt(np.sum(np.abs(off) ** 2, axis=(1, 2)) / np.sum(np.abs(truth) ** 2, axis=(1, 2)))


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


@grids
def test_a_beamstop_and_gaps_hardly_change_the_autocorrelation(shape: Shape) -> None:
    """As dark pixels they would: the ripples of the holes reach over all of the frame."""
    pattern = amplitude(embed(triangle((shape[0] // 3, shape[1] // 3))[None] * 1.0, whole(shape)))
    y, x = (np.arange(n) - n // 2 for n in whole(shape))
    measured = (np.hypot(y[:, None], x) > 2.1) & (x % 11 != 5)
    exact, found = autocorrelation_support(pattern), autocorrelation_support(pattern, measured=measured)
    dark = autocorrelation_support(np.where(measured, pattern, 0))
    assert np.mean(found != exact) < 0.05
    assert np.mean(dark != exact) > 4 * np.mean(found != exact)


def test_a_start_has_the_measured_amplitude() -> None:
    pattern = amplitude(objects((9, 12))[0])
    turns = np.random.default_rng(0).random(pattern.shape)
    np.testing.assert_allclose(
        far_field(initial_guess(pattern, turns)), pattern * np.exp(2j * np.pi * turns), atol=1e-9
    )
