"""Section of the report on targets that are numbers: R^2 with its interval, beside a prediction of the mean."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from inference.contract import Section, SectionContent
from inference.invert.split_reader import Rows, Source
from inference.report.intervals import NORMAL, ratio_of_means
from schemas.predictions import read_predictions
from schemas.target_kinds import difference, score_key, target_kind
from schemas.task import Field

if TYPE_CHECKING:
    from inference.report.evaluation import Result

type Fits = Mapping[str, Fit]  # by method; empty: a prediction of the mean
type Real = np.ndarray

MEAN = ""  # name of the prediction of the mean


@dataclass(frozen=True)
class Fit:
    """Agreement of predicted and exact numbers, over all samples that have a finite prediction."""

    samples: int
    r2: float  # NaN if it is undefined
    low: float  # ends of the 95 % interval of r2
    high: float
    absolute_error: float
    rms: float


def _section_content(source: Source, stores: Mapping[str, Path]) -> SectionContent | None:
    """Return the content of the section for one split; None if no target is a number."""
    task = source.task.sliced
    fields = [field for field in task.of("target") if target_kind(task, field) == "numbers"]
    if not fields:
        return None
    fits = {field.name: _fits(source, field, stores) for field in fields}
    keys = {field.name: score_key(task, field.name, "r2") for field in fields}
    scores = {method: {keys[name]: _summary(rows[method]) for name, rows in fits.items()} for method in stores}
    lines = (f"{method}, {name}: R² {_r2_text(rows[method])}" for name, rows in fits.items() for method in stores)
    return SectionContent(scores, {}, partial(_render_html, fits=fits), tuple(lines))


SECTION = Section("Predicted values", _section_content)


def _fits(source: Source, field: Field, stores: Mapping[str, Path]) -> dict[str, Fit]:
    """Return the agreement of each method, and of a prediction of the mean."""
    rows = Rows(source.path, source.manifest, source.split, source.targets)
    exact = rows.read([field.name], 0, rows.samples)[field.name]
    predicted = {
        name: rows.read_predicted(path, read_predictions(path), 0, rows.samples)[field.name]
        for name, path in stores.items()
    }
    mean = fit(field, np.broadcast_to(mean_of(field, exact), exact.shape), exact)
    fits = {name: fit(field, values, exact) for name, values in predicted.items()}
    return fits | {MEAN: replace(mean, low=math.nan, high=math.nan)}  # its R^2 is 0 in any sample


def fit(field: Field, prediction: Real, truth: Real) -> Fit:
    """Return the agreement of predicted and exact numbers.

        R^2 = 1 - sum (truth - prediction)^2 / sum (truth - mean)^2

    The mean is that of the same exact values, so a prediction of the mean for all samples has R^2 = 0. The interval is
    R^2 -+ 1.96 standard errors of the ratio of the two sums. If the field has a period, all differences are the
    smallest, and the mean is that of directions.

    Args:
        field: the target.
        prediction: numbers (sample, ...).
        truth: numbers (sample, ...).
    """
    known = np.isfinite(prediction.reshape(len(truth), -1)).all(axis=1)
    if not known.any():
        return Fit(0, *[math.nan] * 5)
    prediction, truth = prediction[known], truth[known]
    errors, spread = (
        difference(field, values, truth).reshape(len(truth), -1) for values in (prediction, mean_of(field, truth))
    )
    share, deviation = ratio_of_means((errors**2).mean(axis=1), (spread**2).mean(axis=1)) or (math.nan, math.nan)
    low, high = 1 - share - NORMAL * deviation, min(1 - share + NORMAL * deviation, 1.0)
    return Fit(len(truth), 1 - share, low, high, float(abs(errors).mean()), math.sqrt((errors**2).mean()))


def mean_of(field: Field, values: Real) -> Real:
    """Return the mean of numbers over the samples; if the field has a period, the mean direction.

    Args:
        field: the target.
        values: numbers (sample, ...).
    """
    if field.period is None:
        return np.asarray(values.mean(axis=0, dtype=float))
    scale = 2 * np.pi / field.period
    return np.asarray(np.angle(np.exp(1j * scale * values).mean(axis=0)) / scale)


def _summary(found: Fit) -> dict[str, float | int | str | None]:
    """Return the entry of R^2 in `metrics.json`."""
    values = {"mean": found.r2, "low": found.low, "high": found.high}
    finite = {key: value if math.isfinite(value) else None for key, value in values.items()}
    return {**finite, "std": None, "n": found.samples, "unit": "1"}


def _r2_text(found: Fit) -> str:
    """Return R^2 with its interval in words."""
    if not math.isfinite(found.r2):
        return "undefined"
    value, low, high = (f"{round(number, 4) + 0:g}" for number in (found.r2, found.low, found.high))  # + 0: not -0
    return f"{value} ({low} to {high})" if math.isfinite(found.low) else value


def _render_html(result: "Result", fits: Mapping[str, Fits]) -> str:
    from inference.report import figures  # imported here, because they load Matplotlib
    from inference.report.html import render

    fields = [result.task[name] for name in fits]
    return render("numbers.html", result=result, fields=fields, table=partial(_table, fits), figures=figures)


def _table(fits: Mapping[str, Fits], field: Field) -> tuple[list[str], Iterator[list[str]]]:
    unit = "" if field.units == "1" else f" [{field.units}]"
    rows = (
        [name or "the mean of the exact values", _r2_text(one), f"{one.absolute_error:.4g}", f"{one.rms:.4g}"]
        for name, one in fits[field.name].items()
    )
    return ["method", "R² ↑ (95 % interval)", f"absolute error{unit} ↓", f"rms error{unit} ↓"], rows
