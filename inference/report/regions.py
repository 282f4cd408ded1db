"""Mean errors of the samples in thirds of each parameter: which method is best where."""

from dataclasses import dataclass

import numpy as np

from inference.report.evaluation import Result
from schemas.task import Field

type Real = np.ndarray


@dataclass(frozen=True)
class Region:
    """Samples that are alike in a parameter; as `metrics.json` has them."""

    parameter: str
    unit: str
    low: float  # least and greatest value of these samples
    high: float
    samples: int
    means: dict[str, float | None]  # error by method, of the samples that have one


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
    """Return the equally filled thirds of each parameter that varies, low values first; equal values are in one."""
    found = []
    for name, values in varying(result).items():
        third = np.searchsorted(np.quantile(values, [1 / 3, 2 / 3]), values)
        for here in (third == one for one in np.unique(third)):
            means = {run.name: _mean(result.scores[run.name][result.rank][here]) for run in result.runs}
            ends = float(values[here].min()), float(values[here].max())
            found.append(Region(name, result.task[name].units, *ends, int(here.sum()), means))
    return found


def _mean(errors: Real) -> float | None:
    known = errors[np.isfinite(errors)]
    return float(known.mean()) if len(known) else None
