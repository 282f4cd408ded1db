"""Which method is best where: mean errors of the samples in thirds of each parameter of the report."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtrit

from inference.report.evaluation import Result
from schemas.task import Field

LEAST = 5  # samples of a region that a mean is taken of
CONFIDENCE = 0.95

type Real = np.ndarray


@dataclass(frozen=True)
class Region:
    """Samples that are alike in a parameter; as `metrics.json` has them."""

    parameter: str
    unit: str
    low: float  # least and greatest value of these samples
    high: float
    samples: int
    means: dict[str, float]  # error by method; only methods with LEAST scores here
    best: str | None  # the method with the least mean
    clear: bool  # it differs from the second by Student's test for pairs


def varying(result: Result) -> dict[str, Real]:
    """Parameters of the report that differ between samples, (sample,) each."""
    present = [name for name in result.report.parameters if name in result.parameters]
    columns = {name: largest(result.parameters[name]) for name in present}
    return {name: values for name, values in columns.items() if np.ptp(values) > 0}


def largest(values: Real) -> Real:
    """(sample,): of several values a sample, the largest modulus."""
    return values if values.ndim == 1 else abs(values).reshape(len(values), -1).max(axis=1)


def title(field: Field) -> str:
    """The name of a parameter in tables and plots."""
    return field.name if len(field.dims) == 1 else f"largest |{field.name}|"


def regions(result: Result) -> list[Region]:
    """Return the regions of each parameter, low values first."""
    return [
        Region(name, result.task[name].units, *_span(values[here]), *_means(result, here))
        for name, values in varying(result).items()
        for here in _thirds(values.astype(float))
    ]


def _span(values: Real) -> tuple[float, float, int]:
    """Least, greatest, and how many."""
    return float(values.min()), float(values.max()), len(values)


def _thirds(values: Real) -> Iterator[Real]:
    """Equally filled, but equal values in one: of two values, there are two."""
    place = np.searchsorted(np.quantile(values, [1 / 3, 2 / 3]), values)
    if not np.ptp(place):  # most have the greatest value, and both cuts are there
        place = (values == values.max()).astype(int)
    return (place == third for third in np.unique(place))


def _means(result: Result, inside: Real) -> tuple[dict[str, float], str | None, bool]:
    """Compare methods on the samples that all with LEAST scores have one of: the best, and whether it is clearly so."""
    scores = {run.name: result.scores[run.name][result.rank][inside] for run in result.runs}
    scored = {name: values for name, values in scores.items() if np.isfinite(values).sum() >= LEAST}
    common = np.isfinite(np.array(list(scored.values()))).all(axis=0) if scored else np.zeros(0, bool)
    if common.sum() < LEAST:
        return {}, None, False
    means = {name: float(values[common].mean()) for name, values in scored.items()}
    best, second, *_ = [*sorted(means, key=lambda name: means[name]), *means]
    ahead = scored[second][common] - scored[best][common]
    limit = stdtrit(len(ahead) - 1, 0.5 + CONFIDENCE / 2) / np.sqrt(len(ahead))
    return means, best, bool(ahead.mean() > limit * ahead.std(ddof=1))
