"""Shape and phase from a far field without a network: projections, from random starts; what follows a network."""

from collections.abc import Mapping
from functools import cache, partial

import numpy as np

from inference.contract import Arrays, Finish, Measures, Method, Report, Setting, Shown, View
from physics import phase_retrieval
from physics.arrays import cyclic_middle
from physics.diffraction import amplitude, embed, middle
from physics.phase_retrieval import ALGORITHMS, Reconstruction, Schedule
from schemas.fields.displacements import SUPPORT
from schemas.target_kinds import Score
from schemas.tasks.cdi import TASK
from schemas.wave_ambiguities import align_wave, canonical

SEED = 1  # of the random starts: the same for every sample, so that none depends on its block
PUBLISHED = phase_retrieval.PUBLISHED
OF_OBJECT = ("wave_error", "phase_error", "iou", "wraps")  # scores of each object by itself


def retrieve(
    fields: Arrays, *, algorithm: str, cycles: float, starts: float, beta: float, threshold: float
) -> dict[str, np.ndarray]:
    """Shape and phase (sample, y, x) in canonical form, from the finest pattern that there is.

    Of several random starts, the one whose far field is nearest to the measured one.
    """
    pattern, seen = finest(fields)
    schedule = Schedule(cycles=int(cycles), beta=beta, threshold=threshold)
    solve = partial(
        phase_retrieval.reconstruct,
        schedule=schedule,
        measured=seen,
        algorithm=ALGORITHMS[algorithm],
    )
    found = [solve(pattern, _start(pattern, number)) for number in range(int(starts))]
    waves, residuals = (np.stack([getattr(one, name) for one in found]) for name in ("wave", "residual"))
    best, _ = phase_retrieval.best_of(waves, residuals)
    there = _targets(_centred(best), fields["amplitude"].shape[-2:])
    return dict(zip(("shape", "phase"), canonical(there["shape"], there["phase"]), strict=True))


def finest(fields: Arrays) -> tuple[np.ndarray, np.ndarray | None]:
    """The pattern with the most frequencies, and where it was measured."""
    name = "_oversampled" if "amplitude_oversampled" in fields else ""
    seen = fields.get(f"seen{name}")
    return np.asarray(fields[f"amplitude{name}"]), None if seen is None else seen != 0


def _start(pattern: np.ndarray, number: int) -> np.ndarray:
    started: np.ndarray = phase_retrieval.start_with(pattern, _turns(pattern.shape[-2:], number))
    return started


@cache
def _turns(shape: tuple[int, int], number: int) -> np.ndarray:
    return np.random.Generator(np.random.Philox([SEED, number])).random(shape, np.float32)


def _centred(waves: np.ndarray) -> np.ndarray:
    """Moved, cyclic, until the middle of |wave|^2 on the circle of each axis is nearest to pixel N//2."""
    return np.stack([np.roll(wave, [_to_middle(abs(wave) ** 2, axis) for axis in (0, 1)], (0, 1)) for wave in waves])


def _to_middle(power: np.ndarray, axis: int) -> int:
    return int(power.shape[axis] // 2 - round(cyclic_middle(power.sum(axis=1 - axis, dtype=float))))


def _targets(waves: np.ndarray, shape: tuple[int, int]) -> dict[str, np.ndarray]:
    """Modulus and phase of the middle of waves."""
    inner = middle(waves, shape)
    return {"shape": abs(inner), "phase": np.where(inner == 0, 0, np.angle(inner)).astype(np.float32)}


def finish(fields: Arrays, predicted: Arrays, *, threshold: float, refine: float) -> dict[str, np.ndarray]:
    """What a network gives, bounded: 0 where its shape lies below the threshold; then iterations from there on."""
    shape, phase = predicted["shape"], predicted["phase"]
    bounded = np.where(shape >= threshold, shape, 0), np.where(shape >= threshold, phase, 0)
    if not refine:
        return dict(zip(("shape", "phase"), bounded, strict=True))
    return _refined(fields, bounded[0] * np.exp(1j * bounded[1]), int(refine))


def _refined(fields: Arrays, guess: np.ndarray, iterations: int) -> dict[str, np.ndarray]:
    pattern, seen = finest(fields)
    found: Reconstruction = phase_retrieval.refine(pattern, embed(guess, pattern.shape[-2:]), iterations, measured=seen)
    return _targets(found.wave, guess.shape[-2:])


def measures(fields: Arrays, predicted: Arrays) -> dict[str, np.ndarray]:
    """The scores of `SCORES`, (sample,) each. fields: the targets and the amplitude."""
    shape, phase = (predicted[name].astype(float) for name in ("shape", "phase"))
    exact, exact_phase = (fields[name].astype(float) for name in ("shape", "phase"))
    with np.errstate(all="ignore"):
        found = align_wave(shape, phase, exact, exact_phase, TASK.ambiguities.free)
        rows = zip(found.modulus, found.phase, found.beside, exact, exact_phase, strict=True)
        objects = [_of_object(*row) for row in rows]
        chi2 = _misfit(fields, shape * np.exp(1j * phase))
    scores = {name: np.array([one[name] for one in objects]) for name in OF_OBJECT}
    twin = np.where(np.isfinite(scores["wave_error"]), found.twin, np.nan)
    return scores | {"chi2": chi2, "twin": twin}


def _of_object(
    shape: np.ndarray, phase: np.ndarray, beside: np.ndarray, exact: np.ndarray, exact_phase: np.ndarray
) -> dict[str, float]:
    inside, predicted = exact >= SUPPORT, shape >= SUPPORT
    broken = not (np.isfinite(shape).all() and np.isfinite(phase).all())
    if broken or not inside.any():
        return dict.fromkeys(OF_OBJECT, np.nan)
    error = abs(shape * np.exp(1j * phase) - exact * np.exp(1j * exact_phase)) ** 2
    both = inside & predicted
    away, turns = (values[both] for values in (phase - exact_phase, (beside - exact_phase) / (2 * np.pi)))
    return {
        "wave_error": float(np.sqrt(error.sum() / (exact**2).sum())),
        "phase_error": float(np.sqrt((np.angle(np.exp(1j * away)) ** 2).mean())) if both.any() else np.pi,
        "iou": float(both.sum() / (inside | predicted).sum()),
        "wraps": _wrapped(np.rint(turns)) if both.any() else 1.0,
    }


def _wrapped(turns: np.ndarray) -> float:
    """The share of pixels with other turns than most have: the constant itself is known to a turn."""
    values, counts = np.unique(turns, return_counts=True)
    return float((turns != values[counts.argmax()]).mean())


def _misfit(fields: Arrays, waves: np.ndarray) -> np.ndarray:
    """(sample,): sum (sqrt I_t - sqrt I_p)^2 / sum I_t where the detector measures, of the finest pattern."""
    measured, seen = finest(fields)
    seen = np.ones(measured.shape[1:], bool) if seen is None else seen
    rows = zip(measured.astype(float), amplitude(embed(waves, measured.shape[1:])), strict=True)
    return np.array([(seen * (t - p) ** 2).sum() / (seen * t**2).sum() for t, p in rows])


def diffraction(targets: Arrays) -> np.ndarray:
    """The amplitude of the far field of (sample, y, x) targets."""
    found: np.ndarray = amplitude(targets["shape"] * np.exp(1j * targets["phase"]))
    return found


SETTINGS = {
    "cycles": Setting(
        f"of {PUBLISHED.feedback} and {PUBLISHED.reduction} iterations", "1", (PUBLISHED.cycles,), least=1, whole=True
    ),
    "starts": Setting("random ones, of which the nearest to the pattern is kept", "1", (1,), least=1, whole=True),
    "threshold": Setting("where the support ends, to the greatest modulus", "1", (0.05, 0.1, 0.2), least=0, most=1),
}


def _method(algorithm: str, about: str, beta: float = PUBLISHED.beta) -> Method:
    return Method(
        about=f"{about}, shrink-wrap, {PUBLISHED.iterations} iterations of which the last are averaged",
        needs=("amplitude",),
        uses=("amplitude_oversampled", "seen", "seen_oversampled"),
        solve=partial(retrieve, algorithm=algorithm),
        version=3,  # 1 began with the frame where pixels were hidden; 2 brightened pixels that rounding had left
        settings={**SETTINGS, "beta": Setting("of the feedback", "1", (beta,), least=0, most=2)},
    )


METHODS: Mapping[str, Method] = {
    "hio": _method("hio", "hybrid input-output and error reduction in turn (Fienup 1982; Cherukara et al. 2018)"),
    "raar": _method("raar", "relaxed averaged alternating reflections and error reduction in turn (Luke 2005)", 0.97),
    "er": _method("er", "error reduction (Gerchberg and Saxton; Fienup 1982)"),
}

FINISH = Finish(
    about="the phase ends where the shape does; then iterations from there on",
    needs=("amplitude",),
    uses=("amplitude_oversampled", "seen", "seen_oversampled"),
    apply=finish,
    settings={
        "threshold": Setting("shape below which there is no object", "1", (SUPPORT,), least=0, most=1),
        "refine": Setting("iterations started from the network", "1", (0,), least=0, whole=True),
    },
)

SCORES: Mapping[str, Score] = {
    "wave_error": Score("1", "sqrt(sum |p - t|^2 / sum |t|^2) of the waves shape exp(i phase), aligned", "lower"),
    "phase_error": Score(
        "rad",
        "root mean square of arg(p conj t) where both shapes are >= 0.1, aligned (iou tells of the rest); pi, the "
        "worst, if they are so nowhere",
        "lower",
    ),
    "iou": Score("1", "intersection over union of the pixels with shape >= 0.1, aligned", "higher"),
    "chi2": Score("1", "sum (sqrt I_t - sqrt I_p)^2 / sum I_t of measured and predicted pattern, the finest", "lower"),
    "twin": Score("1", "share of predictions that are nearer to the twin", "lower"),
    "wraps": Score(
        "1",
        "share of the pixels of phase_error that are off by whole turns from most others; 1 if there are none",
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
        of=measures,
        histograms=("chi2", "phase_error"),
    ),
    views=(View("diffraction", "1", diffraction, logarithm=True),),
)
