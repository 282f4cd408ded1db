"""Mean scores against the parameters of the samples, which show where each method is best."""

import math
from dataclasses import dataclass

import numpy as np

from inference.report.evaluation import Result
from inference.report.intervals import mean_interval
from schemas.target_kinds import score_key, target_kind
from schemas.task import Field

type Real = np.ndarray

MAX_BINS = 8  # maximum number of bins of a parameter, and of distinct values that are shown one by one
MIN_BIN_SAMPLES = 8  # minimum number of samples in a bin of similar values
MIN_DECADES = 1.0  # parameters with a smaller range are drawn on a linear axis
# Scores that are drawn against parameters, by the kind of target, in addition to that by which methods are ranked.
SHOWN_SCORES = {"images": ("psnr", "ssim"), "classes": ("mcc",), "numbers": ()}


@dataclass(frozen=True)
class Region:
    """Samples with similar values of a parameter, as `metrics.json` holds them."""

    parameter: str
    unit: str
    low: float  # lowest value of these samples
    high: float  # highest value
    samples: int
    means: dict[str, float | None]  # mean error by method, over the samples that have one


def varying_parameters(result: Result) -> dict[str, Real]:
    """Return the parameters of the report that differ between samples, (sample,) each."""
    present = [name for name in result.report.parameters if name in result.parameters]
    columns = {name: largest_modulus(result.parameters[name]) for name in present}
    return {name: values for name, values in columns.items() if np.ptp(values) > 0}


def largest_modulus(values: Real) -> Real:
    """Return one value per sample, (sample,): of several values, the largest modulus."""
    return values if values.ndim == 1 else abs(values).reshape(len(values), -1).max(axis=1)


def parameter_title(field: Field) -> str:
    """Return the name of a parameter in tables and plots."""
    return field.name if len(field.dims) == 1 else f"largest |{field.name}|"


def shown_scores(result: Result) -> list[str]:
    """Return the keys of the scores that are drawn against parameters, the one by which methods are ranked first."""
    own = result.report.histograms
    if result.report.ranks:
        return [result.rank, *own]
    fields = result.task.of("target")
    more = [score_key(result.task, f.name, name) for f in fields for name in SHOWN_SCORES[target_kind(result.task, f)]]
    present = next(iter(result.scores.values()))
    return list(dict.fromkeys([result.rank, *(key for key in (*more, *own) if key in present)]))


def bin_numbers(values: Real) -> Real:
    """Number the samples (sample,) by bins of a parameter, low values first.

    A few distinct values, each of several samples, have a bin each. Otherwise bins are equally filled, as far as equal
    values can be in one bin.

    Args:
        values: the parameter (sample,).
    """
    distinct, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    if len(distinct) <= MAX_BINS and counts.min() > 1:
        return place
    least = max(MIN_BIN_SAMPLES, math.ceil(len(values) / MAX_BINS))
    numbers, number, filled = np.zeros(len(distinct), int), 0, 0
    for i, count in enumerate(counts):
        numbers[i], filled = number, filled + count
        if filled >= least:
            number, filled = number + 1, 0
    if filled:  # the last bin would hold too few samples
        numbers[numbers == number] = max(number - 1, 0)
    return numbers[place]


def curve(values: Real, scores: Real) -> tuple[Real, Real]:
    """Return the mean score in each bin of a parameter, and its 95 % interval.

    Args:
        values: the parameter (sample,).
        scores: (sample,).

    Returns:
        The median of the parameter in each bin (bin,); mean, and ends of its interval (bin, 3).
    """
    numbers = bin_numbers(values)
    bins = [numbers == number for number in np.unique(numbers)]
    points = np.array([mean_interval(scores[here]) for here in bins])
    return np.array([float(np.median(values[here])) for here in bins]), points


def is_logarithmic(values: Real) -> bool:
    """Return True if a parameter is spread over decades: its median lies nearer to the middle of a logarithmic axis.

    Args:
        values: the parameter (sample,).
    """
    low, middle, high = (float(value) for value in np.quantile(values, [0, 0.5, 1]))
    if not low > 0 or high < 10**MIN_DECADES * low:
        return False
    return abs(math.log(middle**2 / (low * high)) / math.log(high / low)) < abs(
        (2 * middle - low - high) / (high - low)
    )


def regions(result: Result) -> list[Region]:
    """Divide the samples into equally filled thirds of each parameter that varies, low values first.

    Equal values fall into the same third.
    """
    regions_found = []
    for name, values in varying_parameters(result).items():
        third = np.searchsorted(np.quantile(values, [1 / 3, 2 / 3]), values)
        for here in (third == number for number in np.unique(third)):
            means = {store.name: _mean_error(result.scores[store.name][result.rank][here]) for store in result.stores}
            ends = float(values[here].min()), float(values[here].max())
            regions_found.append(Region(name, result.task[name].units, *ends, int(here.sum()), means))
    return regions_found


def _mean_error(errors: Real) -> float | None:
    known = errors[np.isfinite(errors)]
    return float(known.mean()) if len(known) else None
