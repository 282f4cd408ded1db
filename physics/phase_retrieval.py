"""Phase retrieval by iterated projections: a wave from the amplitude of its far field.

Lengths are in pixels, phases in rad. The amplitude A (sample, qy, qx), the guess g and the support S are those of
`physics.projections`.

The amplitude |F psi| does not determine the phase of psi (a constant) or its position, and does not distinguish psi(r)
from its twin conj psi(-r). A result is any one of these, and a support found from the amplitude does not choose between
them. Compare waves after alignment.

Marchesini et al., Phys. Rev. B 68 (2003) 140101 (shrink-wrap); Cherukara et al., Sci. Rep. 8 (2018) 16520 (620
iterations).

NumPy or JAX. NumPy's bits do not depend on the batch. All random numbers are drawn by the caller.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from math import pi, prod
from typing import NamedTuple

import numpy as np

from physics.arrays import MIN_DIVISOR, Array, module, pixel_sum
from physics.diffraction import AXES, inverse_far_field
from physics.fourier import blurred
from physics.inpainting import inpaint
from physics.iteration import Repeat, python_loop
from physics.optics import phasor
from physics.projections import (
    Projection,
    Step,
    error_reduction,
    hybrid_input_output,
    modulus_projection,
    residual,
    scale_to_amplitude,
)

SLAB_PIXELS = 2**15  # pixels of one slab of patterns: measured; all arrays of an iteration then fit into the cache


def shrink_wrap(guess: Array, sigma: float, threshold: float) -> Array:
    """Return a support: the pixels where the blurred modulus of the guess is at least `threshold` of its maximum.

    Args:
        guess: g (sample, y, x).
        sigma: standard deviation of the Gaussian [pixel]. A wide one makes the support reach beyond the object, and
            lets it grow.
        threshold: [1], relative to the maximum.

    Returns:
        The support (sample, y, x), bool.
    """
    smooth = blurred(abs(guess), sigma)
    return smooth >= threshold * smooth.max(axis=AXES, keepdims=True)


def autocorrelation_support(
    amplitude: Array, threshold: float = 0.04, *, measured: Array = None, repeat: Repeat = python_loop
) -> Array:
    """Return a first support: the pixels where the autocorrelation is at least `threshold` of its maximum.

        F^-1 A^2 = sum_x psi(x) conj psi(x - r)

    The modulus of the autocorrelation is used. The autocorrelation is twice as wide as the wave and centred on pixel
    N//2, so the support contains the wave if that lies in the middle of the grid.

    Args:
        amplitude: A (sample, qy, qx).
        threshold: [1]; 4 % is from Marchesini.
        measured: bool, where the detector has measured, or None for everywhere. Hidden pixels are filled in
            (`physics.inpainting`), because holes in a pattern make its autocorrelation ripple everywhere.
        repeat: runs the iteration that fills in.

    Returns:
        The support (sample, y, x), bool.
    """
    intensity = amplitude**2 if measured is None else inpaint(amplitude**2, measured, repeat)
    modulus = abs(inverse_far_field(intensity))
    return modulus >= threshold * modulus.max(axis=AXES, keepdims=True)


def initial_guess(amplitude: Array, turns: Array) -> Array:
    """Return a first guess F^-1 [ A exp(2 pi i u) ].

    Args:
        amplitude: A (sample, qy, qx).
        turns: u (sample, qy, qx), uniform in [0, 1) for a random start.

    Returns:
        g (sample, y, x), complex.
    """
    return inverse_far_field(amplitude * phasor(2 * pi * turns))


@dataclass(frozen=True)
class Schedule:
    """Order of the iterations: cycles of feedback and error reduction, then error reduction with averaged guesses."""

    cycles: int = 6
    feedback: int = 80  # iterations of hybrid input-output or RAAR at the start of a cycle
    reduction: int = 20  # iterations of error reduction at its end
    average: int = 20  # iterations of error reduction after all cycles, at least 1; their guesses are averaged
    beta: float = 0.9  # strength of the feedback; RAAR needs 0.97
    shrink_every: int = 20  # the support shrinks after so many iterations of the cycles; 0 keeps the first support
    sigma: tuple[float, float] = (2.0, 0.5)  # first and last width of the blur [pixel], linear between them
    threshold: float = 0.1  # the support is where the blurred modulus is at least this part of its maximum

    def __post_init__(self) -> None:
        counts = (self.cycles, self.feedback, self.reduction, self.shrink_every)
        if min(counts) < 0 or self.average < 1:
            raise ValueError(f"{self} has a count below 0, or no average: give counts >= 0 and average >= 1")

    @property
    def iterations(self) -> int:
        """Number of iterations of all cycles and the average."""
        return self.cycles * (self.reduction + self.feedback) + self.average

    def stages(self) -> Iterator[tuple[bool, int, float | None]]:
        """Yield stages of equal iterations: (feedback, number, width of the blur if the support then shrinks)."""
        kinds = ([True] * self.feedback + [False] * self.reduction) * self.cycles
        every = self.shrink_every or len(kinds) + 1
        shrinks, done = len(kinds) // every, 0
        for (_, feedback), steps in groupby(enumerate(kinds), key=lambda step: (step[0] // every, step[1])):
            count = len(list(steps))
            done += count
            yield feedback, count, None if done % every else self._width(done // every, shrinks)

    def _width(self, shrink: int, shrinks: int) -> float:
        """Return the width of the blur at the given shrinking of the support, counted from 1."""
        first, last = self.sigma
        return first + (last - first) * (shrink - 1) / max(shrinks - 1, 1)


# The publication has 620 iterations of error reduction and hybrid input-output in turn, shrink-wrap, and the mean of
# the last 20. beta and the 20 of error reduction are from the authors' code; the other numbers are ours. That code also
# keeps phases within pi/2 of 0. This is left out, because objects here have phases of up to 2 pi.
PUBLISHED_SCHEDULE = Schedule()


class Reconstruction(NamedTuple):
    """Result of `reconstruct`."""

    wave: Array  # (sample, y, x), complex
    support: Array  # (sample, y, x), bool, the last one
    residual: Array  # (sample,)


def reconstruct(
    amplitude: Array,
    start: Array,
    schedule: Schedule = PUBLISHED_SCHEDULE,
    *,
    support: Array = None,
    measured: Array = None,
    algorithm: Step = hybrid_input_output,
    repeat: Repeat = python_loop,
) -> Reconstruction:
    """Reconstruct the waves of a block of patterns, from one start each.

    NumPy blocks of any length are processed in slabs that fit into the cache.

    Args:
        amplitude: A (sample, qy, qx), floats.
        start: g (sample, y, x), see `initial_guess`.
        schedule: the order of the iterations.
        support: the first support, bool (sample, y, x) or (y, x); None takes that of the autocorrelation.
        measured: bool (sample, qy, qx) or (qy, qx), see `projections.modulus_projection`.
        algorithm: the step of the feedback.
        repeat: the loop that runs the steps. Under jit, `lambda step, state, n: jax.lax.fori_loop(0, n, lambda _, s:
            step(s), state)` keeps the compiled program small.

    Returns:
        The waves, complex in the precision of A, with their supports and residuals.

    Raises:
        ValueError: if `start` and `amplitude` have different shapes.
    """
    if start.shape != amplitude.shape:
        raise ValueError(f"a start of {start.shape} for amplitudes of {amplitude.shape}: embed it in their grid")
    xp = module(amplitude)
    start = start.astype(xp.result_type(amplitude.dtype, np.complex64))
    if measured is not None:
        amplitude = xp.where(measured, amplitude, 0)
    solve = partial(_run_schedule, schedule=schedule, algorithm=algorithm, repeat=repeat)
    arrays = (amplitude, start, support, measured)
    return _solve_in_slabs(solve, *arrays) if xp is np else solve(*arrays)


def _solve_in_slabs(solve: Callable[..., Reconstruction], *arrays: Array) -> Reconstruction:
    """Run `solve` on a few samples at a time; all arrays are broadcast to the shape of the first."""
    shape = arrays[0].shape
    broadcast = [array if array is None else np.broadcast_to(array, shape) for array in arrays]
    size = max(1, SLAB_PIXELS // prod(shape[1:]))
    firsts = range(0, max(shape[0], 1), size)
    parts = [solve(*[array if array is None else array[i : i + size] for array in broadcast]) for i in firsts]
    return Reconstruction(*[np.concatenate(part) for part in zip(*parts, strict=True)])


def _run_schedule(
    amplitude: Array,
    guess: Array,
    support: Array,
    measured: Array,
    schedule: Schedule,
    algorithm: Step,
    repeat: Repeat,
) -> Reconstruction:
    """Run the stages of a schedule from a first guess; the result is the mean of the last waves."""
    project = modulus_projection(amplitude, measured)
    if support is None:
        support = autocorrelation_support(amplitude, measured=measured, repeat=repeat)
    for feedback, count, sigma in schedule.stages():
        step = _bind_step(algorithm if feedback else error_reduction, project, support, schedule.beta)
        guess = repeat(step, guess, count)
        support = support if sigma is None else shrink_wrap(guess, sigma, schedule.threshold)
    wave = _mean_guess(_bind_step(error_reduction, project, support, 1.0), guess, schedule.average, repeat)
    support = module(wave).broadcast_to(support, wave.shape)
    return Reconstruction(wave, support, residual(wave, amplitude, measured))


def _bind_step(step: Step, project: Projection, support: Array, beta: float) -> Projection:
    """Return the step as a function of the guess alone."""
    return lambda guess: step(guess, project, support, beta)


def _mean_guess(step: Projection, guess: Array, count: int, repeat: Repeat) -> Array:
    """Return the mean of the next `count` guesses, each brought into the constant phase of the sum before it."""

    def add(state: tuple[Array, Array]) -> tuple[Array, Array]:
        guess, total = step(state[0]), state[1]
        return guess, total + align_phase(guess, total)

    first = step(guess)
    return repeat(add, (first, first), count - 1)[1] / count


def align_phase(wave: Array, reference: Array) -> Array:
    """Multiply the wave by the constant exp(i c), per sample, that brings it nearest to the reference.

    Args:
        wave: (sample, y, x), complex.
        reference: (sample, y, x), complex.
    """
    overlap = pixel_sum(wave.conj() * reference)
    return wave * (overlap / module(wave).maximum(abs(overlap), MIN_DIVISOR))


def refine(
    amplitude: Array,
    guess: Array,
    iterations: int,
    *,
    support: Array = None,
    measured: Array = None,
    sigma: float = 1.0,
    threshold: float = 0.1,
    repeat: Repeat = python_loop,
) -> Reconstruction:
    """Improve a good guess, for instance that of a network, by a few iterations.

    Three fifths of the iterations are hybrid input-output, the rest is error reduction and averaged. The support does
    not change.

    Args:
        amplitude: A (sample, qy, qx).
        guess: g (sample, y, x), among zeros on the grid of A. Its scale does not matter.
        iterations: number of iterations in all.
        support: as for `reconstruct`; None takes the `shrink_wrap` of the guess, which is about a pixel wider.
        measured: as for `reconstruct`, like `repeat`.
        sigma: as for `shrink_wrap`, like `threshold`.
    """
    feedback = 3 * iterations // 5
    schedule = Schedule(cycles=1, feedback=feedback, reduction=0, average=iterations - feedback, shrink_every=0)
    support = shrink_wrap(guess, sigma, threshold) if support is None else support
    guess = scale_to_amplitude(guess, amplitude, measured)
    return reconstruct(amplitude, guess, schedule, support=support, measured=measured, repeat=repeat)


def best_of(candidates: Array, residuals: Array) -> tuple[Array, Array]:
    """Choose for each sample the start with the smallest residual; the first one if several are equal.

    Args:
        candidates: (start, sample, ...).
        residuals: (start, sample).

    Returns:
        The chosen candidates (sample, ...) and their residuals (sample,).
    """
    xp = module(candidates)
    best = residuals.argmin(axis=0)[None]
    chosen = xp.take_along_axis(candidates, best.reshape(best.shape + (1,) * (candidates.ndim - 2)), axis=0)
    return chosen[0], xp.take_along_axis(residuals, best, axis=0)[0]
