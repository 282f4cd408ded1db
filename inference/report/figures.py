"""Plots of a report: histograms of errors, errors against parameters, frequency and time, and learning curves."""

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from inference.report.errors_by_parameter import parameter_title, varying_parameters
from inference.report.evaluation import Result, ScoredPredictions
from inference.report.style import colour, decimal, figure, label, legend_above, line, unit
from physics.ring_correlation import RESOLUTION_THRESHOLD
from schemas.preview import plain
from schemas.task import Field

MAX_BINS = 8  # maximum number of equally filled bins of a parameter
MAX_POINTS = 4096  # maximum number of predicted values that are drawn against the exact values
MIN_BIN_SAMPLES = 4  # minimum number of samples in a bin


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


def against_parameters(result: Result) -> Figure | None:
    """Draw medians and quartiles of positive errors in equally filled bins of each parameter; None if none varies."""
    varying = varying_parameters(result)
    if not varying or not any(len(_positive_values(result.scores[store.name][result.rank])) for store in result.stores):
        return None
    drawn = figure(max(6.4, 3.4 * len(varying) + 0.6), 3.2)
    axes = drawn.subplots(1, len(varying), squeeze=False, sharey=True)[0]
    for axis, (name, values) in zip(axes, varying.items(), strict=True):
        for store in result.stores:
            _draw_binned(axis, values, result.scores[store.name][result.rank], line(result, store))
        axis.set(xlabel=f"{plain(parameter_title(result.task[name]))}{unit(result.task[name].units)}", yscale="log")
        decimal(axis.yaxis)
    axes[0].set_ylabel(f"{result.rank}: median, quartiles")
    legend_above(drawn, axes[0], columns=max(4, 2 * len(varying)))
    return drawn


def against_exact(result: Result, field: Field) -> Figure:
    """Draw predicted against exact values of a target that is a number for each sample.

    Args:
        result: the scores of one split.
        field: the target.
    """
    drawn, rows = figure(4.2, 4.0), min(result.source.samples, MAX_POINTS)
    axis = drawn.subplots()
    exact = result.source.read([field.name], 0, rows)[field.name].ravel()
    axis.axline((float(exact[0]), float(exact[0])), slope=1, color="0.6", linewidth=0.8)
    for store in result.stores:
        predicted = result.source.read_predicted(store.path, store.metadata, 0, rows)[field.name].ravel()
        axis.plot(exact, predicted, ".", color=colour(result, store), markersize=4, label=label(store))
    name = f"{plain(field.name)}{unit(field.units)}"
    axis.set(xlabel=f"exact {name}", ylabel=f"predicted {name}")
    legend_above(drawn, axis, columns=4)
    return drawn


def _draw_binned(axis: Axes, values: np.ndarray, errors: np.ndarray, how: dict[str, Any]) -> None:
    """Draw the median of the errors, and the area between their quartiles, in equally filled bins of values."""
    known = np.flatnonzero(np.isfinite(errors) & (errors > 0))
    order = known[np.argsort(values[known], kind="stable")]
    parts = [part for part in np.array_split(order, min(MAX_BINS, max(len(order) // MIN_BIN_SAMPLES, 1))) if len(part)]
    middle = [float(np.median(values[part])) for part in parts]
    quartiles = np.array([np.percentile(errors[part], [25, 50, 75]) for part in parts]).reshape(-1, 3)
    axis.fill_between(middle, quartiles[:, 0], quartiles[:, 2], color=how["color"], alpha=0.15, linewidth=0)
    axis.plot(middle, quartiles[:, 1], marker="o", markersize=3, **how)


def ring_correlation(result: Result) -> Figure | None:
    """Draw the mean Fourier ring correlation of the first target, with its threshold; None if it is not an image."""
    if not len(result.frequency):
        return None
    drawn = figure(6.4, 3.2)
    axis = drawn.subplots()
    for store in result.stores:
        axis.plot(result.frequency, result.correlation[store.name], **line(result, store))
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


def _add_lengths(axis: Axes, result: Result) -> None:
    """Add an axis at the top with the frequency in 1/nm, if all samples have the same sampling."""
    sampling = result.parameters.get("sampling", np.zeros(0))
    if sampling.ndim != 1 or not len(sampling) or not 0 < sampling.min() == sampling.max():
        return
    axis.spines["top"].set_visible(True)
    width = float(sampling[0]) / result.report.finer
    top = axis.secondary_xaxis("top", functions=(partial(_multiply, 1 / width), partial(_multiply, width)))
    top.set_xlabel(f"[1/{plain(result.task['sampling'].units)}]", fontsize=8)


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
