"""Classical methods for shape and phase from a far field, the finishing step of networks, and the report of the task.

The methods are iterative projections from random starts.
"""

from collections.abc import Mapping
from functools import cache, partial

import numpy as np

from inference.contract import Arrays, Finish, Measures, Method, Report, Setting, Shown, View
from physics import phase_retrieval
from physics.arrays import cyclic_middle
from physics.diffraction import amplitude, crop_middle, embed
from physics.phase_retrieval import Reconstruction, Schedule
from physics.projections import ALGORITHMS
from physics.wave_ambiguities import align_wave, canonical_form
from schemas.fields.object_phases import MIN_MODULUS
from schemas.target_kinds import Score
from schemas.tasks.cdi import TASK

SEED = 1  # seed of the random starts; they are the same for every sample, so results do not depend on the block
PUBLISHED_SCHEDULE = phase_retrieval.PUBLISHED_SCHEDULE
OBJECT_SCORES = ("wave_error", "phase_error", "iou", "wraps")  # scores that are computed object by object


def retrieve(
    fields: Arrays, *, algorithm: str, cycles: float, starts: float, beta: float, threshold: float
) -> dict[str, np.ndarray]:
    """Retrieve shape and phase (sample, y, x), in canonical form, from the finest pattern of each sample.

    Of several random starts, the result whose far field is nearest to the measured one is returned.

    Args:
        fields: fields of a block of samples.
        algorithm: key of `ALGORITHMS`.
        cycles: cycles of feedback and error reduction.
        starts: number of random starts.
        beta: strength of the feedback.
        threshold: modulus relative to its maximum at which the support ends.
    """
    pattern, known_pixels = finest_pattern(fields)
    schedule = Schedule(cycles=int(cycles), beta=beta, threshold=threshold)
    solve = partial(
        phase_retrieval.reconstruct,
        schedule=schedule,
        measured=known_pixels,
        algorithm=ALGORITHMS[algorithm],
    )
    solutions = [solve(pattern, _random_start(pattern, number)) for number in range(int(starts))]
    waves, residuals = (np.stack([getattr(solution, name) for solution in solutions]) for name in ("wave", "residual"))
    best, _ = phase_retrieval.best_of(waves, residuals)
    targets = _wave_targets(_centre_waves(best), fields["amplitude"].shape[-2:])
    return dict(zip(("shape", "phase"), canonical_form(targets["shape"], targets["phase"]), strict=True))


def finest_pattern(fields: Arrays) -> tuple[np.ndarray, np.ndarray | None]:
    """Return the oversampled pattern if there is one, else `amplitude`; and its measured pixels (None: all)."""
    name = "_oversampled" if "amplitude_oversampled" in fields else ""
    seen = fields.get(f"seen{name}")
    return np.asarray(fields[f"amplitude{name}"]), None if seen is None else seen != 0


def _random_start(pattern: np.ndarray, number: int) -> np.ndarray:
    started: np.ndarray = phase_retrieval.initial_guess(pattern, _random_turns(pattern.shape[-2:], number))
    return started


@cache
def _random_turns(shape: tuple[int, int], number: int) -> np.ndarray:
    return np.random.Generator(np.random.Philox([SEED, number])).random(shape, np.float32)


def _centre_waves(waves: np.ndarray) -> np.ndarray:
    """Shift waves cyclically until the circular mean of |wave|^2 along each axis is nearest to pixel N//2."""
    return np.stack([np.roll(wave, [_shift(abs(wave) ** 2, axis) for axis in (0, 1)], (0, 1)) for wave in waves])


def _shift(power: np.ndarray, axis: int) -> int:
    return int(power.shape[axis] // 2 - round(cyclic_middle(power.sum(axis=1 - axis, dtype=float))))


def _wave_targets(waves: np.ndarray, shape: tuple[int, int]) -> dict[str, np.ndarray]:
    """Return modulus and phase of the middle of waves."""
    inner = crop_middle(waves, shape)
    return {"shape": abs(inner), "phase": np.where(inner == 0, 0, np.angle(inner)).astype(np.float32)}


def finish(fields: Arrays, predicted: Arrays, *, threshold: float, refine: float) -> dict[str, np.ndarray]:
    """Set shape and phase to 0 where the predicted shape is below the threshold, then refine them by iterations.

    Args:
        fields: fields of a block of samples.
        predicted: shape and phase (sample, y, x) from a network.
        threshold: minimum shape inside the object.
        refine: number of iterations; 0: only the threshold is applied.
    """
    shape, phase = predicted["shape"], predicted["phase"]
    bounded = np.where(shape >= threshold, shape, 0), np.where(shape >= threshold, phase, 0)
    if not refine:
        return dict(zip(("shape", "phase"), bounded, strict=True))
    return _refine(fields, bounded[0] * np.exp(1j * bounded[1]), int(refine))


def _refine(fields: Arrays, guess: np.ndarray, iterations: int) -> dict[str, np.ndarray]:
    pattern, measured = finest_pattern(fields)
    start = embed(guess, pattern.shape[-2:])
    found: Reconstruction = phase_retrieval.refine(pattern, start, iterations, measured=measured)
    return _wave_targets(found.wave, guess.shape[-2:])


def measures(fields: Arrays, predicted: Arrays) -> dict[str, np.ndarray]:
    """Return the scores of `SCORES`, (sample,) each.

    Args:
        fields: the targets, and the measured patterns (`amplitude` and so on).
        predicted: the predicted targets.
    """
    shape, phase = (predicted[name].astype(float) for name in ("shape", "phase"))
    exact, exact_phase = (fields[name].astype(float) for name in ("shape", "phase"))
    with np.errstate(all="ignore"):
        aligned = align_wave(shape, phase, exact, exact_phase, TASK.ambiguities.free)
        rows = zip(aligned.modulus, aligned.phase, aligned.raw_phase, exact, exact_phase, strict=True)
        objects = [_object_scores(*row) for row in rows]
        chi2 = _pattern_misfit(fields, shape * np.exp(1j * phase))
    scores = {name: np.array([scored[name] for scored in objects]) for name in OBJECT_SCORES}
    twin = np.where(np.isfinite(scores["wave_error"]), aligned.twin, np.nan)
    return scores | {"chi2": chi2, "twin": twin}


def _object_scores(
    shape: np.ndarray, phase: np.ndarray, beside: np.ndarray, exact: np.ndarray, exact_phase: np.ndarray
) -> dict[str, float]:
    """Return the scores `OBJECT_SCORES` of one aligned prediction; NaN if it is not finite or the object is empty."""
    inside, predicted = exact >= MIN_MODULUS, shape >= MIN_MODULUS
    broken = not (np.isfinite(shape).all() and np.isfinite(phase).all())
    if broken or not inside.any():
        return dict.fromkeys(OBJECT_SCORES, np.nan)
    error = abs(shape * np.exp(1j * phase) - exact * np.exp(1j * exact_phase)) ** 2
    both = inside & predicted
    away, turns = (values[both] for values in (phase - exact_phase, (beside - exact_phase) / (2 * np.pi)))
    return {
        "wave_error": float(np.sqrt(error.sum() / (exact**2).sum())),
        "phase_error": float(np.sqrt((np.angle(np.exp(1j * away)) ** 2).mean())) if both.any() else np.pi,
        "iou": float(both.sum() / (inside | predicted).sum()),
        "wraps": _wrapped_share(np.rint(turns)) if both.any() else 1.0,
    }


def _wrapped_share(turns: np.ndarray) -> float:
    """Return the share of pixels whose number of turns is not the most frequent one.

    The most frequent number itself is no error, because the constant of the phase is known only up to whole turns.
    """
    values, counts = np.unique(turns, return_counts=True)
    return float((turns != values[counts.argmax()]).mean())


def _pattern_misfit(fields: Arrays, waves: np.ndarray) -> np.ndarray:
    """Return sum (sqrt I_t - sqrt I_p)^2 / sum I_t over the measured pixels of the finest pattern, (sample,)."""
    measured, known_pixels = finest_pattern(fields)
    known_pixels = np.ones(measured.shape[1:], bool) if known_pixels is None else known_pixels
    rows = zip(measured.astype(float), amplitude(embed(waves, measured.shape[1:])), strict=True)
    return np.array([(known_pixels * (t - p) ** 2).sum() / (known_pixels * t**2).sum() for t, p in rows])


def diffraction(targets: Arrays) -> np.ndarray:
    """Return the amplitude of the far field of targets (sample, y, x)."""
    found: np.ndarray = amplitude(targets["shape"] * np.exp(1j * targets["phase"]))
    return found


SETTINGS = {
    "cycles": Setting(
        f"cycles of {PUBLISHED_SCHEDULE.feedback} iterations and {PUBLISHED_SCHEDULE.reduction} of error reduction",
        "1",
        (PUBLISHED_SCHEDULE.cycles,),
        minimum=1,
        whole=True,
    ),
    "starts": Setting("random starts; the result nearest to the pattern is kept", "1", (1,), minimum=1, whole=True),
    "threshold": Setting("the support ends at this share of the maximum modulus", "1", (0.05, 0.1, 0.2), 0, 1),
}


def _projections(algorithm: str, about: str, beta: float = PUBLISHED_SCHEDULE.beta) -> Method:
    """Return an iterative method with its settings."""
    return Method(
        about=f"{about}, with shrink-wrap; {PUBLISHED_SCHEDULE.iterations} iterations by default, "
        "the last ones averaged",
        needs=("amplitude",),
        uses=("amplitude_oversampled", "seen", "seen_oversampled"),
        solve=partial(retrieve, algorithm=algorithm),
        version=3,  # 1 began with the frame where pixels were hidden; 2 brightened pixels that rounding had left
        settings={**SETTINGS, "beta": Setting("strength of the feedback", "1", (beta,), minimum=0, maximum=2)},
    )


METHODS: Mapping[str, Method] = {
    "hio": _projections(
        "hio", "hybrid input-output alternating with error reduction (Fienup 1982; Cherukara et al. 2018)"
    ),
    "raar": _projections(
        "raar", "relaxed averaged alternating reflections, alternating with error reduction (Luke 2005)", 0.97
    ),
    "er": _projections("er", "error reduction (Gerchberg and Saxton; Fienup 1982)"),
}

FINISH = Finish(
    about="the phase is 0 where the shape is; then iterations from this prediction",
    needs=("amplitude",),
    uses=("amplitude_oversampled", "seen", "seen_oversampled"),
    apply=finish,
    settings={
        "threshold": Setting("there is no object where the shape is below", "1", (MIN_MODULUS,), minimum=0, maximum=1),
        "refine": Setting("iterations that start from the prediction of the network", "1", (0,), minimum=0, whole=True),
    },
)

SCORES: Mapping[str, Score] = {
    "wave_error": Score(
        "1", "sqrt(sum |p - t|^2 / sum |t|^2) of the aligned waves shape exp(i phase), predicted p and exact t", "lower"
    ),
    "phase_error": Score(
        "rad",
        "root mean square of arg(p conj t) over the pixels where both shapes are at least 0.1, after alignment (iou "
        "judges the other pixels); pi, the worst value, if there is no such pixel",
        "lower",
    ),
    "iou": Score("1", "intersection over union of the pixels with a shape of at least 0.1, after alignment", "higher"),
    "chi2": Score(
        "1", "sum (sqrt I_t - sqrt I_p)^2 / sum I_t of the finest pattern, measured t and predicted p", "lower"
    ),
    "twin": Score("1", "share of the predictions that are nearer to the twin than to the object", "lower"),
    "wraps": Score(
        "1",
        "share of the pixels of phase_error that differ from most of them by whole turns; 1 if there is no such pixel",
        "lower",
    ),
}

REPORT = Report(
    inputs=(Shown("amplitude", logarithm=True),),
    parameters=("noise", "displacement_span", "edge"),
    measures=Measures(
        scores=SCORES,
        rank="wave_error",
        needs=("amplitude", "amplitude_oversampled", "seen", "seen_oversampled"),
        compute=measures,
        histograms=("chi2", "phase_error"),
    ),
    views=(View("diffraction", "1", diffraction, logarithm=True),),
)
