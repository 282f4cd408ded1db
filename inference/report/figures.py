"""Plots of a report: histograms of errors, errors against parameters, frequency and time, and learning curves."""

import math
from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullFormatter

from inference.report.errors_by_parameter import (
    MAX_BINS,
    bin_numbers,
    curve,
    is_logarithmic,
    parameter_title,
    shown_scores,
)
from inference.report.evaluation import Result, ScoredPredictions
from inference.report.intervals import mean_interval
from inference.report.style import colour, decimal, figure, label, legend_above, line, three_digits, unit
from inference.report.tables import ARROWS, arrow
from physics.ring_correlation import RESOLUTION_THRESHOLD
from schemas.preview import plain
from schemas.task import SAMPLE, Field

MAX_COLUMNS = 4  # number of panels in a row
MAX_POINTS = 4096  # maximum number of predicted values that are drawn against the exact values
LARGE_UNITS = {"mm": 1e6, "\N{MICRO SIGN}m": 1e3}  # [nm]
NYQUIST = 0.5  # [cycles/pixel]
PANEL_WIDTH = 3.6  # width of a panel beside others [inch]
MIN_LOG_RATIO = 10  # errors are drawn on a logarithmic axis if the largest mean exceeds the lowest by this factor
MAX_DECIMAL_RATIO = 200  # a logarithmic axis over a larger range has powers of ten as labels


def histogram(result: Result, key: str = "") -> Figure | None:
    """Draw the histogram of a score over all samples, with medians; None if no value is positive.

    Args:
        result: the scores of one split.
        key: the score; empty for the one by which methods are ranked.
    """
    key = key or result.rank
    positive = [(store, _positive_values(result.scores[store.name][key])) for store in result.stores]
    everything = np.concatenate([values for _, values in positive])
    if not len(everything):
        return None
    drawn = figure(6.4, 3.2)
    axis = drawn.subplots()
    edges = np.geomspace(everything.min() / 1.02, everything.max() * 1.02, 49)
    for store, values in positive:
        ink = colour(result, store)
        axis.hist(values, bins=list(edges), color=ink, alpha=0.25)
        axis.hist(values, bins=list(edges), color=ink, histtype="step", linewidth=1.2, label=label(store))
        if len(values):
            axis.axvline(float(np.median(values)), color=ink, linestyle=":", linewidth=1.4)
    axis.set(xscale="log", xlabel=f"{key} of a sample (dotted: median)", ylabel="samples")
    decimal(axis.xaxis)
    legend_above(drawn, axis, columns=4)
    return drawn


def along_parameter(result: Result, name: str, values: np.ndarray) -> Figure | None:
    """Draw mean scores with their 95 % intervals against a parameter; None if its samples fill only one bin.

    Args:
        result: the scores of one split.
        name: the parameter.
        values: its values (sample,).
    """
    keys = [key for key in shown_scores(result) if any(np.isfinite(s[key]).any() for s in result.scores.values())]
    if not keys or not bin_numbers(values).any():
        return None
    drawn = figure(max(6.4, PANEL_WIDTH * len(keys)), 3.2)
    axes = drawn.subplots(1, len(keys), squeeze=False)[0]
    for axis, key in zip(axes, keys, strict=True):
        curves = {store.name: curve(values, result.scores[store.name][key]) for store in result.stores}
        for store in result.stores:
            _draw_curve(axis, *curves[store.name], line(result, store))
        score_unit = unit(str(result.summaries[result.stores[0].name][key]["unit"]))
        axis.set(xlabel=f"{plain(parameter_title(result.task[name]))}{unit(result.task[name].units)}")
        axis.set(ylabel=f"{plain(key)}{score_unit} {arrow(result, key)}")
        _scale_errors(axis, np.concatenate([points[:, 0] for _, points in curves.values()]), arrow(result, key))
        _scale_parameter(axis, values)
    legend_above(drawn, axes[0], columns=max(4, 2 * len(keys)))
    return drawn


def _draw_curve(axis: Axes, places: np.ndarray, points: np.ndarray, how: dict[str, Any]) -> None:
    """Draw means with their intervals: points (bin, 3) holds the mean and both ends."""
    mean, low, high = points.T
    axis.errorbar(places, mean, (mean - low, high - mean), marker="o", markersize=3, capsize=2, elinewidth=0.8, **how)


def _scale_errors(axis: Axes, means: np.ndarray, better: str) -> None:
    """Draw errors on a logarithmic axis if their means differ much, otherwise from 0 on."""
    known = means[np.isfinite(means)]
    if better == ARROWS["lower"] and known.min() >= 0:
        if 0 < MIN_LOG_RATIO * known.min() < known.max():
            axis.set_yscale("log", nonpositive="mask")
            decimal(axis.yaxis)
        else:
            axis.set_ylim(bottom=0)


def _scale_parameter(axis: Axes, values: np.ndarray) -> None:
    """Choose scale and ticks of the axis of a parameter. A few distinct values are written one by one."""
    distinct = np.unique(values)
    if is_logarithmic(values):
        axis.set_xscale("log")
        if distinct[-1] < MAX_DECIMAL_RATIO * distinct[0]:
            decimal(axis.xaxis)
    if len(distinct) <= MAX_BINS:
        axis.set_xticks(distinct, [f"{value:g}" for value in distinct])
        axis.xaxis.set_minor_formatter(NullFormatter())


def against_exact(result: Result, field: Field) -> Figure:
    """Draw predicted against exact values of a target that is a number for each sample, in a panel for each method.

    Args:
        result: the scores of one split.
        field: the target.
    """
    rows = min(result.source.samples, MAX_POINTS)
    exact = result.source.read([field.name], 0, rows)[field.name].ravel()
    columns = min(len(result.stores), MAX_COLUMNS)
    height = math.ceil(len(result.stores) / columns)
    drawn = figure(2.8 * columns + 0.6, 2.9 * height + 0.3)
    axes = drawn.subplots(height, columns, squeeze=False, sharex=True, sharey=True)
    for axis, store in zip(axes.flat, result.stores, strict=False):
        predicted = result.source.read_predicted(store.path, store.metadata, 0, rows)[field.name].ravel()
        axis.axline((float(exact[0]), float(exact[0])), slope=1, color="0.6", linewidth=0.8)
        if field.dims == (SAMPLE,) and field.period is None:
            axis.axhline(float(exact.mean()), color="0.6", linewidth=0.8, linestyle=":")
        axis.plot(exact, predicted, ".", color=colour(result, store), markersize=4, alpha=0.6)
        axis.set_title(label(store), color=colour(result, store))
    for axis in axes.flat[len(result.stores) :]:
        axis.set_visible(False)
    name = f"{plain(field.name)}{unit(field.units)}"
    drawn.supxlabel(f"exact {name}", fontsize=9)
    drawn.supylabel(f"predicted {name}", fontsize=9)
    return drawn


def ring_correlation(result: Result) -> Figure | None:
    """Draw the mean Fourier ring correlation of the first target, with its threshold; None if it is not an image.

    Args:
        result: the scores of one split.
    """
    if not len(result.frequency):
        return None
    drawn = figure(6.4, 3.2)
    axis = drawn.subplots()
    for store in result.stores:
        how = line(result, store) | {"label": f"{label(store)} ({_resolution_text(result, store)})"}
        axis.plot(result.frequency, result.correlation[store.name], **how)
    axis.axhline(RESOLUTION_THRESHOLD, color="0.4", linewidth=0.8)
    axis.annotate(
        f"{RESOLUTION_THRESHOLD:g}",
        (0.0, RESOLUTION_THRESHOLD),
        xytext=(3, 3),
        textcoords="offset points",
        fontsize=8,
        color="0.3",
    )
    axis.set(xlim=(0, 0.5), xlabel="spatial frequency [1/pixel]", ylabel="mean ring correlation")
    axis.set_ylim(min(0.0, axis.get_ylim()[0]), 1.02)
    _add_lengths(axis, result)
    axis.legend(loc="lower left" if axis.get_ylim()[0] > -0.05 else "best")
    return drawn


def _resolution_text(result: Result, store: ScoredPredictions) -> str:
    """Return the resolution of a method and its 95 % interval in words, such as `2.4 pixel, 2.3 to 2.5`."""
    mean, low, high = mean_interval(result.scores[store.name]["frc"])
    if not np.isfinite(mean):
        return "undefined"
    width, length = _pixel_width(result) or (1.0, "pixel")
    if low == high >= NYQUIST:
        return f"at most {three_digits(width / mean)} {plain(length)}"
    ends = f", {three_digits(width / high)} to {three_digits(width / low)}" if low > 0 else ""
    return f"{three_digits(width / mean)} {plain(length)}{ends}"


def _pixel_width(result: Result) -> tuple[float, str] | None:
    """Return the width of a pixel of the targets and its unit; None if it is unknown or differs between samples."""
    sampling = result.parameters.get("sampling", np.zeros(0))
    if sampling.ndim != 1 or not len(sampling) or not 0 < sampling.min() == sampling.max():
        return None
    width = float(sampling[0]) / result.report.finer
    return next(((width / nm, name) for name, nm in LARGE_UNITS.items() if width >= nm), (width, "nm"))


def _add_lengths(axis: Axes, result: Result) -> None:
    """Add an axis at the top with the frequency per unit of length, if all samples have the same sampling."""
    if (known := _pixel_width(result)) is None:
        return
    width, length = known
    axis.spines["top"].set_visible(True)
    top = axis.secondary_xaxis("top", functions=(partial(_multiply, 1 / width), partial(_multiply, width)))
    top.set_xlabel(f"[1/{plain(length)}]", fontsize=8)


def _multiply(factor: float, values: Any) -> Any:
    return values * factor


def cost(result: Result) -> Figure | None:
    """Draw the median error, with quartiles, against the seconds per sample; None if no error is positive."""
    drawn = figure(6.4, 3.2)
    axis = drawn.subplots()
    points = list(_cost_points(result))
    if not points:
        return None
    for store, seconds, median, low, high in points:
        marker = "o" if store.metadata.kind == "network" else "s"
        ink = colour(result, store)
        axis.errorbar(seconds, median, [[median - low], [high - median]], fmt=marker, color=ink, capsize=3)
        axis.plot([], [], marker, color=ink, label=label(store))
    times, errors = [point[1] for point in points], [value for point in points for value in point[2:]]
    axis.set(xscale="log", yscale="log", xlim=(min(times) / 3, max(times) * 3))
    legend_above(drawn, axis, columns=4)
    axis.set_ylim(min(errors) / 1.3, max(errors) * 1.3)
    axis.set(xlabel="inversion [s per sample]", ylabel=f"{result.rank}: median, quartiles")
    decimal(axis.xaxis)
    decimal(axis.yaxis)
    return drawn


def _cost_points(result: Result) -> Iterator[tuple[ScoredPredictions, float, float, float, float]]:
    for store in result.stores:
        errors, seconds = _positive_values(result.scores[store.name][result.rank]), store.metadata.seconds_per_sample
        if len(errors) and seconds:
            low, median, high = map(float, np.percentile(errors, [25, 50, 75]))
            yield store, seconds, median, low, high


def learning_curves(result: Result) -> Figure | None:
    """Draw the losses of training and validation against the epoch; None without networks."""
    drawn = figure(6.4, 3.2)
    axis = drawn.subplots()
    for store in result.stores:
        for key, style in (("train/loss", ":"), ("validation/loss", "-")):
            points = [(row.get("epoch"), row.get(key)) for row in store.metadata.history]
            known = [(x, y) for x, y in points if isinstance(x, int | float) and isinstance(y, int | float) and y > 0]
            if known:
                name = f"{label(store)}, {key.partition('/')[0]}"
                marker = "o" if len(known) == 1 else None
                axis.plot(
                    *zip(*known, strict=True), color=colour(result, store), linestyle=style, marker=marker, label=name
                )
    if not axis.lines:
        return None
    axis.set(yscale="log", xlabel="epoch", ylabel="loss")
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    axis.legend()
    return drawn


def _positive_values(values: np.ndarray) -> np.ndarray:
    return values[np.isfinite(values) & (values > 0)]
