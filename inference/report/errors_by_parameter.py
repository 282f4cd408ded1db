"""Mean errors in thirds of the range of each parameter, which show where each method is best."""

from dataclasses import dataclass

import numpy as np

from inference.report.evaluation import Result
from schemas.task import Field

type Real = np.ndarray


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
