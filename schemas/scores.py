"""Scores of predictions against the truth: one number per sample and metric, in float64.

The window of a task multiplies its stored targets. Pixels where it is 0 are left out; all others have equal weight.

Fourier ring correlation: van Heel and Schatz, J. Struct. Biol. 151 (2005) 250; with an exact image: Rosenthal and
Henderson, J. Mol. Biol. 333 (2003) 721. Structural similarity: Wang et al., IEEE Trans. Image Process. 13 (2004) 600.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType

import numpy as np
import scipy.fft

from schemas.ambiguities import compared, targets
from schemas.grids import Ambiguities
from schemas.target_kinds import OF_CLASSES, OF_NUMBERS, SCORERS, Kind, Score, kind, score_key
from schemas.task import Field, Task

type Real = np.ndarray[tuple[int, ...], np.dtype[np.float64]]
type Rows = tuple[dict[str, Real], tuple[Real, Real]]  # scores by metric; frequency and ring correlation

WANG = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "full": True}  # pixels
SSIM_RADIUS = 5  # radius [pixel] of the kernel, which has 11 pixels along each axis
RESOLVED = 1 / 2  # threshold of the correlation with an exact image; equivalent to 1/7 between two half data sets
NEGLECTED = 1e-3  # share of the sum over offsets that `independent_counts` leaves out
ROUNDING = 1e-24  # part of an image's power that rounding in float64 leaves in empty rings


OF_IMAGES: Mapping[str, Score] = MappingProxyType(
    {
        "nrms_aligned": Score(
            "1",
            "sqrt(sum (truth - prediction)^2 / sum truth^2) after alignment in the task's ambiguities",
            "lower",
        ),
        "nrms": Score("1", "nrms as published by phase-ret-dl: without alignment, the offset stays in", "lower"),
        "rms": Score("field", "sqrt(mean (truth - prediction)^2) after alignment", "lower"),
        "psnr": Score("dB", "10 log10((max truth - min truth)^2 / rms^2) after alignment, range per sample", "higher"),
        "ssim": Score("1", "structural similarity after alignment, Gaussian of sigma 1.5, range as in psnr", "higher"),
        "frc": Score("1/pixel", "frequency where the ring correlation first falls below 1/2, 0.5 if never", "higher"),
    }
)
BY_KIND: Mapping[Kind, Mapping[str, Score]] = MappingProxyType(
    {"images": OF_IMAGES, "classes": OF_CLASSES, "numbers": OF_NUMBERS}
)
SCORES: Mapping[str, Score] = MappingProxyType({**OF_IMAGES, **OF_CLASSES, **OF_NUMBERS})


def scores_of(task: Task) -> set[str]:
    """Return the names of all scores that the targets of a task get."""
    return {name for field in task.of("target") for name in BY_KIND[kind(task, field)]}


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
    task: Task, prediction: Mapping[str, np.ndarray], truth: Mapping[str, np.ndarray], window: np.ndarray | None = None
) -> tuple[dict[str, Real], Real, Real]:
    """Score all predicted targets, and return the ring correlation of the first one from which its `frc` is read.

    Args:
        task: as for `score`.
        prediction: as for `score`.
        truth: as for `score`.
        window: as for `score`.

    Returns:
        The scores of `score`; the frequencies (ring,) and correlations (sample, ring) of `ring_correlation` after
            alignment. Both are empty if a target is not an image.
    """
    fields = targets(task, prediction, truth, window)
    if any(kind(task, field) != "images" for field in fields):
        return _of_other_kinds(task, fields, prediction, truth), np.empty(0), np.empty((len(truth[fields[0].name]), 0))
    inside = {f.name: np.broadcast_to(True if window is None else window != 0, truth[f.name].shape[1:]) for f in fields}
    bare, known = ({n: np.where(inside[n], np.asarray(v[n], float), 0) for n in inside} for v in (prediction, truth))
    bare |= {f.name: _nearest(bare[f.name], known[f.name], f.period) for f in fields if f.period}
    finite = np.all([_finite(v) for v in [*bare.values(), *known.values()]], axis=0)
    found: dict[str, Real] = {}
    curves: dict[str, tuple[Real, Real]] = {}
    with np.errstate(all="ignore"):  # squares of values beyond 1e154 overflow: the error is then infinite
        aligned, exact = compared(task, bare, known, window)
        for field in fields:
            name = field.name
            images = tuple(planes(task, field, values[name]) for values in (bare, known, aligned, exact))
            rows, curves[name] = _rows(images, planes(task, field, inside[name][None])[0], window)
            found |= {
                score_key(task, name, metric): np.where(finite, values, np.nan) for metric, values in rows.items()
            }
    frequency, correlation = curves[fields[0].name]
    return found, frequency, np.where(finite[:, None], correlation, np.nan)


def _nearest(values: Real, truth: Real, period: float) -> Real:
    """Move values by whole periods to where they are nearest to the truth."""
    found: Real = values - period * np.round((values - truth) / period)
    return found


def _of_other_kinds(
    task: Task, fields: list[Field], prediction: Mapping[str, np.ndarray], truth: Mapping[str, np.ndarray]
) -> dict[str, Real]:
    """Score targets if not all of them are images. Images among them are scored one by one, without ambiguities."""
    found: dict[str, Real] = {}
    for field in fields:
        name = field.name
        if scorer := SCORERS.get(kind(task, field)):
            rows = scorer(field, prediction[name], truth[name])
            found |= {score_key(task, name, metric): values for metric, values in rows.items()}
        else:
            one = ({name: prediction[name]}, {name: truth[name]})
            alone = replace(
                task,
                fields=tuple(f for f in task.fields if f.role != "target" or f == field),
                ambiguities=Ambiguities(),
            )
            found |= {score_key(task, name, metric): values for metric, values in score(alone, *one).items()}
    return found


def planes(task: Task, field: Field, values: np.ndarray) -> np.ndarray:
    """Rearrange values (sample, *dims) of a field as (sample, channel, *spatial).

    Args:
        task: the task.
        field: the field.
        values: (sample, *dims); all channel dimensions become one.
    """
    dims = field.dims[1:]
    order = (*task.channels(field), *task.spatial(field))
    moved = values.transpose(0, *(1 + dims.index(dim) for dim in order))
    several = len(task.channels(field))
    return moved.reshape(len(values), math.prod(moved.shape[1 : 1 + several]), *moved.shape[1 + several :])


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
        found = np.sqrt((difference**2).sum(axes) / np.where(power > 0, power, np.nan))
    return np.where(np.isfinite(difference).all(axes), found, np.inf)


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
    bare = {name: np.asarray(values, float) for name, values in prediction.items()}
    moved, exact = compared(task, bare, {name: np.asarray(truth[name], float) for name in bare}, window)
    first = next(field.name for field in task.of("target") if field.name in bare)
    return nrms(moved[first], exact[first], window)


def summary(
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
    return {key: {**_moments(array), "unit": _unit(task, key, known(key))} for key, array in values.items()}


def ring_correlation(prediction: np.ndarray, truth: np.ndarray, window: np.ndarray | None = None) -> tuple[Real, Real]:
    """Fourier ring correlation of pairs of images (in 1D: line correlation, in 3D: shell correlation).

        FRC(f) = Re sum P T* / sqrt(sum |P|^2 sum |T|^2),   sums over the ring of radius f

    Frequencies |f| are in cycles per pixel: 1/n, 2/n ... up to 0.5, where n is the length of the smallest axis longer
    than 1. Each ring is 1/n wide. The corners beyond the last ring are left out. Rings are round in cycles per pixel
    whatever the shape of the grid.

    The mean inside the window is subtracted first: m w with m = sum w x / sum w^2. A constant therefore leaves no step
    at the window's edge that would correlate. No further apodisation is applied, because fields are periodic or carry
    the dataset's own window, and another window would correlate neighbouring frequencies. A hard window does correlate
    them, and raises the correlation.

    Args:
        prediction: (sample, *spatial).
        truth: (sample, *spatial).
        window: (*spatial); None stands for 1.

    Returns:
        Frequencies (ring,) and correlations (sample, ring). A correlation is 0 in a ring without power, and NaN where
            the truth has no power at all.
    """
    ring, frequency = _rings(truth.shape[1:])
    with np.errstate(all="ignore"):
        first, second = (_without_mean(np.asarray(x, float), window) for x in (prediction, truth))
        rows = [_correlate(*pair, ring, len(frequency)) for pair in zip(first, second, strict=True)]
    return frequency, np.array(rows).reshape(len(truth), len(frequency))


def ring_counts(shape: tuple[int, ...]) -> Real:
    """Return the number (ring,) of pixels of the spectrum in each ring of `ring_correlation`.

    Args:
        shape: shape of the image.
    """
    ring, frequency = _rings(shape)
    return np.bincount(ring.ravel(), minlength=len(frequency) + 1)[1 : len(frequency) + 1].astype(float)


def independent_counts(window: np.ndarray) -> Real:
    """Number (ring,) of independent pixels in each ring of `ring_correlation` under a window.

    The spectrum of a real image repeats each pixel f at -f as the conjugate. Both are counted here: the n pixels of a
    ring hold n independent real numbers, and white noise correlates with an exact image by 1 / sqrt(n) (rms). A window
    w correlates neighbouring pixels. With W = F w^2, noise w e correlates with an object w t by

        1 / sqrt(n_eff),   n_eff = n^2 W(0)^2 / sum_{f, g} |W(f - g)|^2,   sum over all pairs of pixels of the ring

    because the numerator sum P T* has the variance sum_{f, g} <P(f) P*(g)> <T*(f) T(g)>, both correlations are
    proportional to W(f - g), and sum |P|^2 and sum |T|^2 are n W(0) each. In a ring much wider than W this is n (sum
    w^2)^2 / (N sum w^4) for an image of N pixels; rings one pixel wide lose less. The formula holds for objects whose
    spectrum varies little over the width of W. It does not hold in rings that W reaches from 0, where the mean is
    subtracted.

    Args:
        window: (*spatial). The sum runs over the offsets f - g that hold all but `NEGLECTED` of sum |W|^2.
    """
    ring, frequency = _rings(window.shape)
    spread = abs(scipy.fft.fftn(np.asarray(window, float) ** 2)) ** 2
    falling = np.argsort(-spread, axis=None)
    held = np.cumsum(spread.ravel()[falling])
    largest = falling[: np.searchsorted(held, (1 - NEGLECTED) * held[-1]) + 1]
    pairs = np.zeros(len(frequency) + 1)
    for offset in zip(*np.unravel_index(largest, window.shape), strict=True):
        both = ring[ring == np.roll(ring, offset, tuple(range(window.ndim)))]
        pairs += spread[offset] * np.bincount(both, minlength=len(pairs))[: len(pairs)]
    found: Real = ring_counts(window.shape) ** 2 * spread.flat[0] / pairs[1:]
    return found


def half_bit(counts: Real) -> Real:
    """Correlation (ring,) with the exact image at which an image carries half a bit per pixel.

    Van Heel and Schatz (2005) state it for two halves of the data, each with the ratio S of signal to noise:

        F = (S + (2 sqrt(S) + 1) / sqrt(n)) / (S + 1 + 2 sqrt(S) / sqrt(n)),   log2(1 + 2 S) = 1/2
          = (0.2071 + 1.9102 / sqrt(n)) / (1.2071 + 0.9102 / sqrt(n))

    Halves that correlate by F = S' / (S' + 1) have a mean with the ratio 2 S' = 2 F / (1 - F). Its correlation with the
    exact image is sqrt(2 S' / (2 S' + 1)) = sqrt(2 F / (1 + F)) (Rosenthal and Henderson 2003). This value is returned:
    1 for a single pixel; 0.856, 0.804, 0.755 for n = 8, 16, 32; 0.541 in large rings.

    Args:
        counts: n (ring,) from `independent_counts`. Van Heel and Schatz count the voxels of a shell, and replace n by a
            smaller effective number where symmetry, or an object smaller than its box, makes voxels dependent. Here
            windows make pixels dependent.
    """
    signal, root = (2**0.5 - 1) / 2, np.sqrt(counts)
    noise = 2 * signal**0.5 / root
    halves = (signal + noise + 1 / root) / (signal + 1 + noise)
    found: Real = np.sqrt(2 * halves / (1 + halves))
    return found


def crossing(frequency: Real, correlation: Real, threshold: Real | float = RESOLVED) -> float:
    """Frequency [cycles/pixel] where a ring correlation first falls below a threshold; 0.5 (Nyquist) if it never does.

    The curve is the polygon through (0, 1) and the rings. The threshold is a polygon, too, and level before the first
    ring. The result is NaN if a correlation is NaN.

    Args:
        frequency: (ring,), from `ring_correlation`.
        correlation: (ring,), of one image.
        threshold: (ring,), or one number for all rings.
    """
    f, c = np.r_[0, frequency], np.r_[1, correlation]
    if np.isnan(c).any() or len(c) == 1:
        return math.nan
    t = np.broadcast_to(threshold, np.shape(correlation))
    t = np.r_[t[0], t]
    if not (c < t).any():
        return 0.5
    i = int(np.argmax(c < t))
    return float(f[i - 1] + (f[i] - f[i - 1]) * (c[i - 1] - t[i - 1]) / (c[i - 1] - c[i] - (t[i - 1] - t[i])))


def _finite(array: Real) -> np.ndarray:
    """Return, per sample (sample,), if all of its values are finite."""
    return np.isfinite(array).all(axis=tuple(range(1, array.ndim)))


def _rows(images: tuple[Real, ...], inside: np.ndarray, window: np.ndarray | None) -> Rows:
    """Score one field sample by sample. A sum over a whole block could depend on the block in its last bits.

    Args:
        images: four arrays (sample, channel, *spatial): prediction and truth as they are, then both after alignment.
        inside: (channel, *spatial), True where the window is not 0.
        window: (*spatial), or None.
    """
    bare, known, aligned, exact = images
    aligned = np.where(inside, aligned, 0)  # the alignment may have shifted parts out of the window
    rows = [_pixelwise(*row, inside) for row in zip(bare, known, aligned, exact, strict=True)]
    found = {metric: np.array([row[metric] for row in rows], float) for metric in OF_IMAGES if metric != "frc"}
    first, second = (values.reshape(math.prod(values.shape[:2]), *values.shape[2:]) for values in (aligned, exact))
    frequency, each = ring_correlation(first, second, window)
    correlation = each.reshape(*exact.shape[:2], len(frequency)).mean(axis=1)
    crossings = np.array([crossing(frequency, row) for row in correlation], float)
    return {**found, "frc": crossings}, (frequency, correlation)


def _pixelwise(bare: Real, known: Real, aligned: Real, exact: Real, inside: np.ndarray) -> dict[str, float]:
    """Return all scores of one image except frc. Images are 0 outside the window."""
    before, after = ((truth - image)[inside] ** 2 for image, truth in ((bare, known), (aligned, exact)))
    square = after.sum() / _positive(inside.sum())
    data_range = _positive(np.ptp(exact[inside])) if inside.any() else math.nan
    return {
        "nrms": np.sqrt(before.sum() / _positive((known**2).sum())),
        "nrms_aligned": np.sqrt(after.sum() / _positive((exact**2).sum())),
        "rms": np.sqrt(square),
        "psnr": 10 * np.log10(data_range**2 / square),
        "ssim": _similarity(aligned, exact, data_range, inside),
    }


def _similarity(prediction: Real, truth: Real, data_range: float, inside: np.ndarray) -> float:
    """Return the mean structural similarity inside the window, without a margin at the edges of the image.

    The margin is the kernel's radius; Wang et al. and skimage leave it out, too. The covariance is that of a
    population. Without a window, the value equals skimage's own.
    """
    from skimage.metrics import structural_similarity  # slow to import

    middle = (slice(SSIM_RADIUS, -SSIM_RADIUS),) * (truth.ndim - 1)
    if min(truth.shape[1:]) <= 2 * SSIM_RADIUS or not inside[:, *middle].any() or not math.isfinite(data_range):
        return math.nan
    found = []
    for p, t, within in zip(prediction, truth, inside, strict=True):
        _, full = structural_similarity(t, p, data_range=data_range, **WANG)  # type: ignore[no-untyped-call]
        found.append(full[middle][within[middle]].mean())
    return float(np.mean(found))


def _without_mean(images: Real, window: np.ndarray | None) -> Real:
    """Subtract the mean m w inside the window; the result is 0 outside, and 0 everywhere if an image is constant."""
    w = np.ones(images.shape[1:]) if window is None else np.asarray(window, float)
    images = np.where(w == 0, 0, images)
    rest = [x - (x * w).sum() / _positive(float((w**2).sum())) * w for x in images]
    rows = [0 * r if (r**2).sum() <= ROUNDING * (x**2).sum() else r for r, x in zip(rest, images, strict=True)]
    return np.array(rows).reshape(images.shape)


def _rings(shape: tuple[int, ...]) -> tuple[np.ndarray, Real]:
    """Return the ring (*spatial) of each frequency and the frequencies of rings 1, 2 ...; ring 0 is half as wide."""
    n = min((size for size in shape if size > 1), default=1)
    grid = np.meshgrid(*map(np.fft.fftfreq, shape), indexing="ij", sparse=True)
    radius = np.sqrt(sum((f**2 for f in grid), start=np.zeros(shape)))
    return np.floor(n * radius + 0.5).astype(int), np.arange(1, n // 2 + 1) / n


def _correlate(prediction: Real, truth: Real, ring: np.ndarray, rings: int) -> Real:
    """Return the correlation (ring,) of one pair of images without their means; NaN if they are not finite."""
    p, t = (scipy.fft.fftn(image, workers=1) for image in (prediction, truth))
    products = ((p * t.conj()).real, abs(p) ** 2, abs(t) ** 2)
    cross, power, true = (np.bincount(ring.ravel(), x.ravel(), rings + 1)[1 : rings + 1] for x in products)
    held = (power > ROUNDING * products[1].sum()) & (true > ROUNDING * products[2].sum())
    return np.where(held, cross / np.sqrt(power * true), 0 * products[1].sum() / _positive(float(products[2].sum())))


def _positive(value: float) -> float:
    """Return NaN for 0, so that a quotient with this denominator is undefined."""
    return value if value > 0 else math.nan


def _moments(values: np.ndarray) -> dict[str, float | int | str | None]:
    finite = [float(value) for value in values if math.isfinite(value)]
    if not (n := len(finite)):
        return {"mean": None, "std": None, "n": 0}
    mean = math.fsum(finite) / n
    return {"mean": mean, "std": math.sqrt(math.fsum((value - mean) ** 2 for value in finite) / n), "n": n}


def _unit(task: Task, key: str, meaning: Score) -> str:
    name = key.rpartition(".")[0]
    field = task[name] if name else task.of("target")[0]
    return meaning.unit.replace("field", field.units)
