"""A wave from the amplitude of its far field alone, by projections. Lengths in pixels, phases in rad.

    A     the measured amplitude (sample, qy, qx), q = 0 at N//2, of a wave amid zeros: sampled twice or finer
    g     the guess of the wave psi, complex (sample, y, x), on the grid of A; G = F g its far field
    S     the support: where the wave may be other than 0, (sample, y, x) or (y, x) of bool
    P_M   g -> F^-1 [ A G / |G| ]      the nearest wave with the measured amplitude, where G is not dark
    P_S   g -> g within S, 0 outside   the nearest wave within the support

    error reduction        g' = P_S P_M g
    hybrid input-output    g' = P_M g within S,   g - beta P_M g                   outside
    RAAR                   g' = P_M g within S,   beta g + (1 - 2 beta) P_M g      outside

RAAR is beta/2 (R_S R_M + 1) + (1 - beta) P_M with the reflections R = 2 P - 1. With beta = 1, RAAR and hybrid
input-output are both the averaged alternating reflections (R_S R_M + 1) / 2. A wave with this amplitude and support
stays what it is in all three. A shift of g turns only the phase of G: so A alone is brought into the order of the
transform, once.

|F psi| does not tell the phase of psi (a constant), where it lies, nor psi(r) from its twin conj psi(-r): a result is
one of them, and a support found from the amplitude does not choose. Compare after alignment.

Fienup, Appl. Opt. 21 (1982) 2758 (error reduction, hybrid input-output); Luke, Inverse Problems 21 (2005) 37 (RAAR);
Marchesini et al., Phys. Rev. B 68 (2003) 140101 (shrink-wrap); Cherukara et al., Sci. Rep. 8 (2018) 16520 (620
iterations).

NumPy or JAX. NumPy's bits do not depend on the batch. What is random, the caller draws.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from math import pi, prod
from typing import NamedTuple

import numpy as np

from physics.arrays import Array, module, pixel_sum
from physics.diffraction import AXES, near_field
from physics.fourier import blurred, fft2, ifft2
from physics.inpainting import filled
from physics.iteration import Repeat, in_turn
from physics.moduli import ratio
from physics.optics import phasor

TINY = 1e-20  # keeps a quotient finite
IN_CACHE = 2**15  # pixels of one slab of patterns: measured, all the arrays of an iteration fit

type Projection = Callable[[Array], Array]
type Step = Callable[[Array, Projection, Array, float], Array]


def modulus_projection(amplitude: Array, measured: Array = None) -> Projection:
    """P_M. amplitude: A. measured: bool, where the detector has measured, or None for everywhere.

    Pixels that are not measured keep the far field of the guess, whatever A says there. Pixels at which it is below
    1e-6 of its greatest modulus are not brightened, since rounding decides its phase there (`physics.moduli`).
    """
    xp = module(amplitude)
    target = xp.fft.ifftshift(amplitude, AXES)
    seen = None if measured is None else xp.fft.ifftshift(xp.broadcast_to(measured, amplitude.shape), AXES)

    def project(guess: Array) -> Array:
        spectrum = fft2(guess)
        scale = ratio(target, abs(spectrum))
        return ifft2(spectrum * (scale if seen is None else xp.where(seen, scale, 1)))

    return project


def support_projection(guess: Array, support: Array) -> Array:
    """P_S."""
    return module(guess).where(support, guess, 0)


def error_reduction(guess: Array, project: Projection, support: Array, beta: float = 1.0) -> Array:
    """One step P_S P_M g. project: P_M. support: S. beta is not used.

    The misfit sum (|G| - A)^2 over the measured pixels never rises, noise or not (Fienup); its minimum may be local.
    """
    return support_projection(project(guess), support)


def hybrid_input_output(guess: Array, project: Projection, support: Array, beta: float = 0.9) -> Array:
    """One step: P_M g within the support, g - beta P_M g outside. Leaves local minima; the misfit may rise."""
    inside = project(guess)
    return module(guess).where(support, inside, guess - beta * inside)


def raar(guess: Array, project: Projection, support: Array, beta: float = 0.97) -> Array:
    """One step: P_M g within the support, beta g + (1 - 2 beta) P_M g outside.

    The nearer beta is to 1, the seldomer it stays in a local minimum: with exact data and support, 22 of 36 random
    objects were found at 0.9 after 1,500 steps, all of them at 0.97 after 600.
    """
    inside = project(guess)
    return module(guess).where(support, inside, beta * guess + (1 - 2 * beta) * inside)


ALGORITHMS: dict[str, Step] = {"er": error_reduction, "hio": hybrid_input_output, "raar": raar}


def residual(guess: Array, amplitude: Array, measured: Array = None) -> Array:
    """sum (|G| - A)^2 / sum A^2 over the measured pixels, (sample,). 0 where nothing was counted, nor is expected."""
    found, target = _seen(guess, amplitude, measured)
    return (pixel_sum((found - target) ** 2) / module(found).maximum(pixel_sum(target**2), TINY))[:, 0, 0]


def scaled(guess: Array, amplitude: Array, measured: Array = None) -> Array:
    """The guess times the number c >= 0, per sample, that makes `residual` least: c = sum A |G| / sum |G|^2."""
    found, target = _seen(guess, amplitude, measured)
    return guess * (pixel_sum(found * target) / module(found).maximum(pixel_sum(found**2), TINY))


def _seen(guess: Array, amplitude: Array, measured: Array) -> tuple[Array, Array]:
    """|G| and A in the order of the transform, 0 where nothing was measured."""
    xp = module(amplitude)
    found, target = abs(fft2(guess)), xp.fft.ifftshift(amplitude, AXES)
    if measured is None:
        return found, target
    seen = xp.fft.ifftshift(xp.broadcast_to(measured, amplitude.shape), AXES)
    return xp.where(seen, found, 0), xp.where(seen, target, 0)


def shrink_wrap(guess: Array, sigma: float, threshold: float) -> Array:
    """A support (sample, y, x): where the blurred modulus of the guess is `threshold` [1] of its maximum, or more.

    sigma: standard deviation of the Gaussian [pixel]. Wide, the support reaches beyond the object; it may grow, too.
    """
    smooth = blurred(abs(guess), sigma)
    return smooth >= threshold * smooth.max(axis=AXES, keepdims=True)


def autocorrelation_support(
    amplitude: Array, threshold: float = 0.04, *, measured: Array = None, repeat: Repeat = in_turn
) -> Array:
    """A first support (sample, y, x): where the modulus of the autocorrelation is `threshold` [1] of its maximum.

        F^-1 A^2 = sum_x psi(x) conj psi(x - r)

    is twice as wide as the wave about the same pixel N//2, so it holds the wave if that lies amid the grid.
    4 %: Marchesini. measured: bool, where the detector has measured, or None for everywhere: what is hidden is filled
    in (`physics.inpainting`), for a pattern with holes has an autocorrelation with ripples that reach everywhere.
    """
    intensity = amplitude**2 if measured is None else filled(amplitude**2, measured, repeat)
    size = abs(near_field(intensity))
    return size >= threshold * size.max(axis=AXES, keepdims=True)


def start_with(amplitude: Array, turns: Array) -> Array:
    """A start (sample, y, x): F^-1 [ A exp(2 pi i u) ]. turns: u (sample, qy, qx), uniform in [0, 1) when random."""
    return near_field(amplitude * phasor(2 * pi * turns))


@dataclass(frozen=True)
class Schedule:
    """Cycles of a feedback step and error reduction, then error reduction alone, whose guesses are averaged.

    every: the support shrinks after so many iterations of the cycles; 0 keeps the first one.
    """

    cycles: int = 6
    feedback: int = 80  # iterations of hybrid input-output or RAAR that begin a cycle
    reduction: int = 20  # iterations of error reduction that end it
    average: int = 20  # iterations of error reduction at the end of all, at least 1
    beta: float = 0.9  # of the feedback; RAAR wants 0.97
    every: int = 20
    sigma: tuple[float, float] = (2.0, 0.5)  # of the blur [pixel], first and last: linear between
    threshold: float = 0.1  # of the blurred modulus, relative to its maximum

    def __post_init__(self) -> None:
        counts = (self.cycles, self.feedback, self.reduction, self.every)
        if min(counts) < 0 or self.average < 1:
            raise ValueError(f"{self} counts below 0, or averages none: give counts >= 0 and average >= 1")

    @property
    def iterations(self) -> int:
        """Of all cycles and the average."""
        return self.cycles * (self.reduction + self.feedback) + self.average

    def runs(self) -> Iterator[tuple[bool, int, float | None]]:
        """Is it feedback, how many iterations, and the width of the blur when the support shrinks after them."""
        kinds = ([True] * self.feedback + [False] * self.reduction) * self.cycles
        every = self.every or len(kinds) + 1
        shrinks, done = len(kinds) // every, 0
        for (_, feedback), steps in groupby(enumerate(kinds), key=lambda step: (step[0] // every, step[1])):
            count = len(list(steps))
            done += count
            yield feedback, count, None if done % every else self._width(done // every, shrinks)

    def _width(self, shrink: int, shrinks: int) -> float:
        first, last = self.sigma
        return first + (last - first) * (shrink - 1) / max(shrinks - 1, 1)


# Published are 620 iterations, error reduction and hybrid input-output in turn, shrink-wrap, and the mean of the last
# 20; beta and the 20 of error reduction are those of the authors' code, the rest is ours. That code also keeps phases
# within pi/2 of 0, which an object with a phase of up to 2 pi does not obey: left out.
PUBLISHED = Schedule()


class Reconstruction(NamedTuple):
    """wave: complex (sample, y, x). support: bool (sample, y, x), the last one. residual: (sample,)."""

    wave: Array
    support: Array
    residual: Array


def reconstruct(
    amplitude: Array,
    start: Array,
    schedule: Schedule = PUBLISHED,
    *,
    support: Array = None,
    measured: Array = None,
    algorithm: Step = hybrid_input_output,
    repeat: Repeat = in_turn,
) -> Reconstruction:
    """Waves of a whole block of patterns, from one start each.

    amplitude: A (sample, qy, qx), floats. start: g (sample, y, x), see `start_with`. support: the first one, bool
    (sample, y, x) or (y, x); None takes that of the autocorrelation. measured: bool (sample, qy, qx) or (qy, qx), see
    `modulus_projection`. algorithm: the step of the feedback. repeat: how a step is repeated; under jit
    `lambda step, state, n: jax.lax.fori_loop(0, n, lambda _, s: step(s), state)` keeps what is compiled small.

    Complex in the precision of A. NumPy blocks of any length are worked on in slabs that fit into the cache.
    """
    if start.shape != amplitude.shape:
        raise ValueError(f"a start of {start.shape} for amplitudes of {amplitude.shape}: embed it on their grid")
    xp = module(amplitude)
    start = start.astype(xp.result_type(amplitude.dtype, np.complex64))
    if measured is not None:
        amplitude = xp.where(measured, amplitude, 0)
    solve = partial(_solve, schedule=schedule, algorithm=algorithm, repeat=repeat)
    arrays = (amplitude, start, support, measured)
    return _in_slabs(solve, *arrays) if xp is np else solve(*arrays)


def _in_slabs(solve: Callable[..., Reconstruction], *arrays: Array) -> Reconstruction:
    """What `solve` returns, a few samples after the other. arrays: the others broadcast to the shape of the first."""
    shape = arrays[0].shape
    whole = [array if array is None else np.broadcast_to(array, shape) for array in arrays]
    size = max(1, IN_CACHE // prod(shape[1:]))
    firsts = range(0, max(shape[0], 1), size)
    parts = [solve(*[array if array is None else array[i : i + size] for array in whole]) for i in firsts]
    return Reconstruction(*[np.concatenate(part) for part in zip(*parts, strict=True)])


def _solve(
    amplitude: Array,
    guess: Array,
    support: Array,
    measured: Array,
    schedule: Schedule,
    algorithm: Step,
    repeat: Repeat,
) -> Reconstruction:
    project = modulus_projection(amplitude, measured)
    if support is None:
        support = autocorrelation_support(amplitude, measured=measured, repeat=repeat)
    for feedback, count, sigma in schedule.runs():
        step = _closed(algorithm if feedback else error_reduction, project, support, schedule.beta)
        guess = repeat(step, guess, count)
        support = support if sigma is None else shrink_wrap(guess, sigma, schedule.threshold)
    wave = _mean(_closed(error_reduction, project, support, 1.0), guess, schedule.average, repeat)
    support = module(wave).broadcast_to(support, wave.shape)
    return Reconstruction(wave, support, residual(wave, amplitude, measured))


def _closed(step: Step, project: Projection, support: Array, beta: float) -> Projection:
    return lambda guess: step(guess, project, support, beta)


def _mean(step: Projection, guess: Array, count: int, repeat: Repeat) -> Array:
    """The mean of the next `count` guesses, each in the phase (the constant) of the mean before it."""

    def add(state: tuple[Array, Array]) -> tuple[Array, Array]:
        guess, total = step(state[0]), state[1]
        return guess, total + in_phase(guess, total)

    first = step(guess)
    return repeat(add, (first, first), count - 1)[1] / count


def in_phase(wave: Array, reference: Array) -> Array:
    """The wave times that constant exp(i c), per sample, which brings it nearest to the reference."""
    overlap = pixel_sum(wave.conj() * reference)
    return wave * (overlap / module(wave).maximum(abs(overlap), TINY))


def refine(
    amplitude: Array,
    guess: Array,
    iterations: int,
    *,
    support: Array = None,
    measured: Array = None,
    sigma: float = 1.0,
    threshold: float = 0.1,
    repeat: Repeat = in_turn,
) -> Reconstruction:
    """Iterations from a good guess on, for instance a network's: g (sample, y, x), amid zeros on the grid of A.

    Three fifths are hybrid input-output, the rest error reduction, averaged. The support stays: if none is given, it is
    the `shrink_wrap` of the guess, about a pixel wider. The scale of the guess does not matter. The other arguments
    are those of `reconstruct`.
    """
    feedback = 3 * iterations // 5
    schedule = Schedule(cycles=1, feedback=feedback, reduction=0, average=iterations - feedback, every=0)
    support = shrink_wrap(guess, sigma, threshold) if support is None else support
    guess = scaled(guess, amplitude, measured)
    return reconstruct(amplitude, guess, schedule, support=support, measured=measured, repeat=repeat)


def best_of(candidates: Array, residuals: Array) -> tuple[Array, Array]:
    """Of many starts, per sample the one with the least residual: the first of equals.

    candidates: (start, sample, ...). residuals: (start, sample). Returns (sample, ...) and (sample,).
    """
    xp = module(candidates)
    best = residuals.argmin(axis=0)[None]
    chosen = xp.take_along_axis(candidates, best.reshape(best.shape + (1,) * (candidates.ndim - 2)), axis=0)
    return chosen[0], xp.take_along_axis(residuals, best, axis=0)[0]
