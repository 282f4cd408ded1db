"""Scores of predictions against the truth: one number per sample and metric, in float64.

The window of a task multiplies its stored targets. Pixels where it is 0 are left out; all others have equal weight.

Structural similarity: Wang et al., IEEE Trans. Image Process. 13 (2004) 600.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType

import numpy as np

from physics.arrays import Real
from physics.ring_correlation import apodisation, crossing_frequency, nan_if_zero, ring_correlation
from schemas.ambiguities import align_for_scores, predicted_targets
from schemas.grids import Ambiguities
from schemas.target_kinds import CLASS_SCORES, NUMBER_SCORES, SCORERS, Kind, Score, score_key, target_kind
from schemas.task import Field, Task

type Rows = tuple[dict[str, Real], tuple[Real, Real]]  # scores by metric; frequency and ring correlation

SSIM_SETTINGS = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "full": True}  # pixels
SSIM_RADIUS = 5  # radius [pixel] of the kernel, which has 11 pixels along each axis


IMAGE_SCORES: Mapping[str, Score] = MappingProxyType(
    {
        "nrms_aligned": Score(
            "1",
            "sqrt(sum (truth - prediction)^2 / sum truth^2) after alignment in the task's ambiguities",
            "lower",
        ),
        "nrms": Score("1", "nrms as published by phase-ret-dl: without alignment, the offset stays in", "lower"),
        "rms": Score("field", "sqrt(mean (truth - prediction)^2) after alignment", "lower"),
        "psnr": Score(
            "dB",
            "10 log10(R^2 / rms^2) after alignment, R = max truth - min truth of the sample unless it is given",
            "higher",
        ),
        "ssim": Score("1", "structural similarity after alignment, Gaussian of sigma 1.5, R as in psnr", "higher"),
        "frc": Score(
            "1/pixel",
            "frequency where the ring correlation, in the window with a soft edge, first falls below 1/2; 0.5 if never",
            "higher",
        ),
    }
)
SCORES_BY_KIND: Mapping[Kind, Mapping[str, Score]] = MappingProxyType(
    {"images": IMAGE_SCORES, "classes": CLASS_SCORES, "numbers": NUMBER_SCORES}
)
SCORES: Mapping[str, Score] = MappingProxyType({**IMAGE_SCORES, **CLASS_SCORES, **NUMBER_SCORES})


def score_names(task: Task) -> set[str]:
    """Return the names of all scores that the targets of a task get."""
    return {name for field in task.of("target") for name in SCORES_BY_KIND[target_kind(task, field)]}


def score(
    task: Task, prediction: Mapping[str, np.ndarray], truth: Mapping[str, np.ndarray], window: np.ndarray | None = None
) -> dict[str, Real]:
    """Score all predicted targets by all metrics of their kind.

    Channels enter sums like pixels; ssim and the curve of frc are means over the channels. The results do not depend on
    the batch, to the last bit.

    A score is NaN where it is undefined: all scores of a sample with a value that is not finite inside the window (in
    any target); nrms of a truth that is 0; psnr, ssim and frc of a constant truth; ssim of a grid below 11 pixels along
    some axis, or of a window that leaves no pixel more than 5 pixels from the edges. The psnr of an exact prediction is
    infinite.

    Args:
        task: the task.
        prediction: by target, values (sample, *dims of the field) with 0 to 3 spatial dimensions; classes as labels.
        truth: the same for the exact values.
        window: (*spatial); None stands for 1.

    Returns:
        By key, scores (sample,). Keys of the task's first target are `<metric>`, those of others `<field>.<metric>`.
    """
    return score_and_correlation(task, prediction, truth, window)[0]


def score_and_correlation(
    task: Task,
    prediction: Mapping[str, np.ndarray],
    truth: Mapping[str, np.ndarray],
    window: np.ndarray | None = None,
    data_range: float | None = None,
) -> tuple[dict[str, Real], Real, Real]:
    """Score all predicted targets, and return the ring correlation of the first one from which its `frc` is read.

    Args:
        task: as for `score`.
        prediction: as for `score`.
        truth: as for `score`.
        window: as for `score`.
        data_range: range of values of images in psnr and ssim; None: that of each true image.

    Returns:
        The scores of `score`; the frequencies (ring,) and correlations (sample, ring) of `ring_correlation` after
            alignment. Both are empty if the first target is not an image.
    """
    fields = predicted_targets(task, prediction, truth, window)
    if any(target_kind(task, field) != "images" for field in fields):
        return _score_mixed_kinds(task, fields, prediction, truth, window)
    inside = {f.name: np.broadcast_to(True if window is None else window != 0, truth[f.name].shape[1:]) for f in fields}
    bare, known = ({n: np.where(inside[n], np.asarray(v[n], float), 0) for n in inside} for v in (prediction, truth))
    bare |= {f.name: _remove_whole_periods(bare[f.name], known[f.name], f.period) for f in fields if f.period}
    finite = np.all([_finite_samples(v) for v in [*bare.values(), *known.values()]], axis=0)
    scores: dict[str, Real] = {}
    curves: dict[str, tuple[Real, Real]] = {}
    with np.errstate(all="ignore"):  # squares of values beyond 1e154 overflow: the error is then infinite
        aligned, exact = align_for_scores(task, bare, known, window)
        for field in fields:
            name = field.name
            images = tuple(with_one_channel_axis(task, field, values[name]) for values in (bare, known, aligned, exact))
            rows, curves[name] = _score_images(
                images, with_one_channel_axis(task, field, inside[name][None])[0], window, data_range
            )
            scores |= {
                score_key(task, name, metric): np.where(finite, values, np.nan) for metric, values in rows.items()
            }
    frequency, correlation = curves[fields[0].name]
    return scores, frequency, np.where(finite[:, None], correlation, np.nan)


def _remove_whole_periods(values: Real, truth: Real, period: float) -> Real:
    """Move values by whole periods to where they are nearest to the truth."""
    nearest: Real = values - period * np.round((values - truth) / period)
    return nearest


def _score_mixed_kinds(
    task: Task,
    fields: list[Field],
    prediction: Mapping[str, np.ndarray],
    truth: Mapping[str, np.ndarray],
    window: np.ndarray | None,
) -> tuple[dict[str, Real], Real, Real]:
    """Score targets if not all of them are images. Images among them are scored one by one, without ambiguities."""
    scores: dict[str, Real] = {}
    curves: dict[str, tuple[Real, Real]] = {}
    for field in fields:
        name, rest = field.name, tuple(f for f in task.fields if f.role != "target" or f == field)
        if scorer := SCORERS.get(target_kind(task, field)):
            rows = scorer(field, prediction[name], truth[name])
        else:
            single = replace(task, fields=rest, ambiguities=Ambiguities())
            pair = {name: prediction[name]}, {name: truth[name]}
            rows, frequency, correlation = score_and_correlation(single, *pair, window)
            curves[name] = frequency, correlation
        scores |= {score_key(task, name, metric): values for metric, values in rows.items()}
    first = fields[0].name
    return scores, *curves.get(first, (np.empty(0), np.empty((len(truth[first]), 0))))


def with_one_channel_axis(task: Task, field: Field, values: np.ndarray) -> np.ndarray:
    """Rearrange values (sample, *dims) of a field as (sample, channel, *spatial).

    Args:
        task: the task.
        field: the field.
        values: (sample, *dims); all channel dimensions become one.
    """
    dims = field.dims[1:]
    order = (*task.channels(field), *task.spatial(field))
    moved = values.transpose(0, *(1 + dims.index(dim) for dim in order))
    channel_axes = len(task.channels(field))
    return moved.reshape(len(values), math.prod(moved.shape[1 : 1 + channel_axes]), *moved.shape[1 + channel_axes :])


def nrms(prediction: np.ndarray, truth: np.ndarray, window: np.ndarray | None) -> Real:
    """Return `nrms` (sample,) of one field without alignment.

    It is infinite where a prediction is not finite inside the window.

    Args:
        prediction: (sample, ...).
        truth: (sample, ...).
        window: of the shape of one sample; None stands for 1.
    """
    inside = np.True_ if window is None else window != 0
    axes = tuple(range(1, truth.ndim))
    difference, known = (np.where(inside, values, 0.0) for values in (prediction.astype(float) - truth, truth))
    power = (known**2).sum(axes)
    with np.errstate(all="ignore"):
        errors = np.sqrt((difference**2).sum(axes) / np.where(power > 0, power, np.nan))
    return np.where(np.isfinite(difference).all(axes), errors, np.inf)


def nrms_aligned(
    task: Task, prediction: Mapping[str, np.ndarray], truth: Mapping[str, np.ndarray], window: np.ndarray | None
) -> Real:
    """Return `nrms_aligned` (sample,) of the task's first predicted target.

    It is infinite where a prediction is not finite inside the window.

    Args:
        task: the task.
        prediction: by target, values (sample, ...).
        truth: the same for the exact values.
        window: of the shape of one sample; None stands for 1.
    """
    predicted = {name: np.asarray(values, float) for name, values in prediction.items()}
    aligned, exact = align_for_scores(
        task, predicted, {name: np.asarray(truth[name], float) for name in predicted}, window
    )
    first = next(field.name for field in task.of("target") if field.name in predicted)
    return nrms(aligned[first], exact[first], window)


def summarise(
    task: Task, values: Mapping[str, np.ndarray], meaning: Callable[[str], Score] | None = None
) -> dict[str, dict[str, float | int | str | None]]:
    """Summarise scores over all samples, ready for JSON.

    Only finite values are used. Sums are exact (`math.fsum`), so the result does not depend on the order or the batches
    of the samples.

    Args:
        task: the task.
        values: by key of `score`, scores (sample,).
        meaning: returns the meaning of a key; None stands for `SCORES`.

    Returns:
        By key: "mean", "std" (with ddof 0), "n" and "unit". Mean and std are None where no value is finite.
    """
    known = meaning or (lambda key: SCORES[key.rpartition(".")[2]])
    return {
        key: {**_mean_and_deviation(array), "unit": _score_unit(task, key, known(key))} for key, array in values.items()
    }


def _finite_samples(array: Real) -> np.ndarray:
    """Return, per sample (sample,), if all of its values are finite."""
    return np.isfinite(array).all(axis=tuple(range(1, array.ndim)))


def _score_images(
    images: tuple[Real, ...], inside: np.ndarray, window: np.ndarray | None, data_range: float | None
) -> Rows:
    """Score one field sample by sample. A sum over a whole block could depend on the block in its last bits.

    Args:
        images: four arrays (sample, channel, *spatial): prediction and truth as they are, then both after alignment.
        inside: (channel, *spatial), True where the window is not 0.
        window: (*spatial), or None.
        data_range: as for `score_and_correlation`.
    """
    bare, known, aligned, exact = images
    aligned = np.where(inside, aligned, 0)  # the alignment may have shifted parts out of the window
    rows = [_score_one_sample(*row, inside, data_range) for row in zip(bare, known, aligned, exact, strict=True)]
    scores = {metric: np.array([row[metric] for row in rows], float) for metric in IMAGE_SCORES if metric != "frc"}
    first, second = (values.reshape(math.prod(values.shape[:2]), *values.shape[2:]) for values in (aligned, exact))
    soft = np.ones(exact.shape[2:]) if window is None else apodisation(window)
    frequency, correlations = ring_correlation(first * soft, second * soft, soft if window is None else window * soft)
    correlation = correlations.reshape(*exact.shape[:2], len(frequency)).mean(axis=1)
    crossings = np.array([crossing_frequency(frequency, row) for row in correlation], float)
    return {**scores, "frc": crossings}, (frequency, correlation)


def _score_one_sample(
    bare: Real, known: Real, aligned: Real, exact: Real, inside: np.ndarray, data_range: float | None
) -> dict[str, float]:
    """Return all scores of one image except frc. Images are 0 outside the window."""
    before, after = ((truth - image)[inside] ** 2 for image, truth in ((bare, known), (aligned, exact)))
    square = after.sum() / nan_if_zero(inside.sum())
    own_range = nan_if_zero(np.ptp(exact[inside])) if inside.any() else math.nan
    peak = float(own_range) if data_range is None else data_range
    return {
        "nrms": np.sqrt(before.sum() / nan_if_zero((known**2).sum())),
        "nrms_aligned": np.sqrt(after.sum() / nan_if_zero((exact**2).sum())),
        "rms": np.sqrt(square),
        "psnr": 10 * np.log10(peak**2 / square),
        "ssim": _structural_similarity(aligned, exact, peak, inside),
    }


def _structural_similarity(prediction: Real, truth: Real, data_range: float, inside: np.ndarray) -> float:
    """Return the mean structural similarity inside the window, without a margin at the edges of the image.

    The margin is the kernel's radius; Wang et al. and skimage leave it out, too. The covariance is that of a
    population. Without a window, the value equals skimage's own.
    """
    from skimage.metrics import structural_similarity  # slow to import

    middle = (slice(SSIM_RADIUS, -SSIM_RADIUS),) * (truth.ndim - 1)
    if min(truth.shape[1:]) <= 2 * SSIM_RADIUS or not inside[:, *middle].any() or not math.isfinite(data_range):
        return math.nan
    means = []
    for p, t, within in zip(prediction, truth, inside, strict=True):
        _, similarity_map = structural_similarity(t, p, data_range=data_range, **SSIM_SETTINGS)  # type: ignore[no-untyped-call]
        means.append(similarity_map[middle][within[middle]].mean())
    return float(np.mean(means))


def _mean_and_deviation(values: np.ndarray) -> dict[str, float | int | str | None]:
    finite = [float(value) for value in values if math.isfinite(value)]
    if not (n := len(finite)):
        return {"mean": None, "std": None, "n": 0}
    mean = math.fsum(finite) / n
    return {"mean": mean, "std": math.sqrt(math.fsum((value - mean) ** 2 for value in finite) / n), "n": n}


def _score_unit(task: Task, key: str, meaning: Score) -> str:
    name = key.rpartition(".")[0]
    field = task[name] if name else task.of("target")[0]
    if field.units == "1" and "field" in meaning.unit:
        return "1"
    units = field.units if meaning.unit == "field" or field.units.isalpha() else f"({field.units})"
    return meaning.unit.replace("field", units)
