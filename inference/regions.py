"""Where which method is best: errors in terciles of each parameter of the report, and of two parameters at a time."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from scipy.special import stdtrit

from inference.evaluation import Result
from schemas.core import Field

LEAST = 5  # samples of a region that a mean is taken of
CONFIDENCE = 0.95
NAMES = {2: ("low", "high"), 3: ("low", "middle", "high")}

type Real = np.ndarray


@dataclass(frozen=True)
class Span:
    """Low, middle or high values of a parameter: the least and the greatest of the samples that have them."""

    name: str
    low: float
    high: float


@dataclass(frozen=True)
class Lead:
    """How far the best method is ahead of the second: mean difference of errors, sample by sample."""

    second: str
    mean: float
    error: float  # standard error of the mean
    clear: bool  # it differs from 0 by Student's test for pairs


@dataclass(frozen=True)
class Region:
    """Samples that are alike in one or two parameters."""

    spans: Mapping[str, Span]  # by parameter
    samples: int
    means: Mapping[str, float]  # error by method, the best first; only methods with LEAST scores here
    published: Mapping[str, float]  # of the same samples and methods, before alignment; empty where that is the same
    lead: Lead | None  # None if fewer than two methods have a mean

    @property
    def best(self) -> str:
        """The method with the least mean; empty if none has one."""
        return next(iter(self.means), "")


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
    """Those of each parameter, then those of each pair where there are LEAST samples to a region."""
    parts = {name: found for name, values in varying(result).items() if (found := _terciles(values))}
    alone = [_region(result, {name: span}, inside) for name, found in parts.items() for span, inside in found]
    return alone + [
        _region(result, {first: here, second: there}, inside & within)
        for first, second in combinations(parts, 2)
        if result.source.samples >= LEAST * len(parts[first]) * len(parts[second])
        for here, inside in parts[first]
        for there, within in parts[second]
    ]


def _terciles(values: Real) -> list[tuple[Span, Real]]:
    """Equally filled, but equal values in one: of two values, there are two. Empty if that leaves one alone."""
    known = values.astype(float)
    cuts = np.quantile(known, [1 / 3, 2 / 3])
    place = np.searchsorted(cuts, known)
    if len(np.unique(place)) == 1:  # most have the greatest value, and both cuts are there
        place = (known == known.max()).astype(int)
    names = NAMES.get(len(np.unique(place)), ())
    masks = [place == i for i in np.unique(place)]
    return [(Span(n, float(known[m].min()), float(known[m].max())), m) for n, m in zip(names, masks, strict=False)]


def _region(result: Result, spans: Mapping[str, Span], inside: Real) -> Region:
    scores = {run.name: result.scores[run.name][result.rank][inside] for run in result.runs}
    scored = {name: values for name, values in scores.items() if np.isfinite(values).sum() >= LEAST}
    common = np.isfinite(np.array(list(scored.values()))).all(axis=0) if scored else np.zeros(0, bool)
    means = {name: float(values[common].mean()) for name, values in scored.items() if common.sum() >= LEAST}
    order = sorted(means, key=lambda name: means[name])
    lead = _lead(order[1], (scores[order[1]] - scores[order[0]])[common]) if len(order) > 1 else None
    beside = {name: result.scores[name][result.published][inside] for name in order} if result.published else {}
    published = {name: float(values[common].mean()) for name, values in beside.items()}
    return Region(spans, int(inside.sum()), {name: means[name] for name in order}, published, lead)


def _lead(second: str, known: Real) -> Lead:
    """Clear if mean / error exceeds Student's t of CONFIDENCE, both sides."""
    mean, error = float(known.mean()), float(known.std(ddof=1) / np.sqrt(len(known)))
    return Lead(second, mean, error, bool(mean > error * stdtrit(len(known) - 1, (1 + CONFIDENCE) / 2)))


def as_data(result: Result) -> list[dict[str, Any]]:
    """For `metrics.json`."""
    return [_datum(result, region) for region in regions(result)]


def _datum(result: Result, region: Region) -> dict[str, Any]:
    lead = region.lead
    return {
        "where": {
            name: {"region": span.name, "low": span.low, "high": span.high, "unit": result.task[name].units}
            for name, span in region.spans.items()
        },
        "samples": region.samples,
        result.rank: dict(region.means),
        **({result.published: dict(region.published)} if result.published else {}),
        "best": region.best or None,
        "second": lead and lead.second,
        "lead": lead and lead.mean,
        "standard_error": lead and lead.error,
        "clear": lead and lead.clear,
    }
