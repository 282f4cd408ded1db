"""Figures of whole scans: ring correlations, stitched images, and errors against the quantities of scans."""

from textwrap import wrap

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from inference.contract import Scale
from inference.report.evaluation import Result, ScoredPredictions
from inference.report.style import colour, colour_bar, decimal, figure, label, legend_above, line, unit
from inference.stitching.comparison import WholeScans
from physics.ring_correlation import RESOLUTION_THRESHOLD
from schemas.preview import plain

IMAGE_WIDTH = 1.9  # width of an image [inch]
PANEL_WIDTH = 3.4  # width of one of several plots in a row [inch]
THRESHOLD_GREY = "0.25"  # grey level of thresholds
UNKNOWN_GREY = "0.85"  # grey level of unknown pixels
MAX_LETTERS = 20  # letters that fit above an image
NO_BRACKETS = str.maketrans("", "", "[]")


def with_images(result: Result, scans: WholeScans) -> list[ScoredPredictions]:
    """Return the predictions that have stitched images."""
    return [store for store in result.stores if store.name in scans.outcomes]


def scale_text(scans: WholeScans, scale: Scale, row: int) -> str:
    """Return a quantity of a scan with its unit, such as `dose 1e+05 electron/nm^2`.

    Args:
        scans: all scans of a split.
        scale: the quantity.
        row: row of the scan.
    """
    return f"{plain(scale.name)} {scans.scales[scale.name][row]:.3g}{unit(scale.units).translate(NO_BRACKETS)}"


def scan_title(scans: WholeScans, row: int) -> str:
    """Return the number of a scan, and its values of the quantities in which scans differ."""
    return ", ".join([f"scan {scans.numbers[row]}", *(scale_text(scans, scale, row) for scale in scans.varying)])


def correlations(result: Result, scans: WholeScans) -> Figure | None:
    """Draw ring correlations of all methods with both thresholds, one panel for each scan that is shown.

    Args:
        result: the scores of the split, for names and colours.
        scans: all scans of the split.

    Returns:
        The figure; None if no image could be compared with its object.
    """
    stores = with_images(result, scans)
    rows = [row for row in scans.shown if any(scans.outcomes[store.name][row].resolution.frequency for store in stores)]
    if not rows:
        return None
    drawn = figure(max(6.4, PANEL_WIDTH * len(rows)), 3.4)
    axes = drawn.subplots(1, len(rows), squeeze=False, sharey=True)[0]
    for axis, row in zip(axes, rows, strict=True):
        _draw_correlation(axis, result, scans, row)
        axis.set(xlabel="spatial frequency [1/nm]", title="\n".join(wrap(scan_title(scans, row), 2 * MAX_LETTERS)))
    axes[0].set(ylabel="ring correlation with the object", ylim=(_lower_limit(axes), 1.05))
    handles = {name: handle for axis in axes for handle, name in zip(*axis.get_legend_handles_labels(), strict=True)}
    drawn.legend(list(handles.values()), list(handles), loc="outside upper center", ncols=6)
    return drawn


def _draw_correlation(axis: Axes, result: Result, scans: WholeScans, row: int) -> None:
    """Draw one panel. Markers show the rings that are used for the resolution."""
    resolutions = [(store, scans.outcomes[store.name][row].resolution) for store in with_images(result, scans)]
    compared = [(store, worth) for store, worth in resolutions if worth.frequency]
    for store, worth in compared:
        points = np.flatnonzero(worth.counts).tolist()
        style = line(result, store) | {"marker": "o", "markersize": 2.5, "markevery": points}
        axis.plot(worth.frequency, worth.correlation, **style)
    first = compared[0][1]
    axis.plot(
        first.frequency,
        first.threshold,
        color=THRESHOLD_GREY,
        linewidth=0.9,
        linestyle="-.",
        label="half-bit threshold",
    )
    axis.axhline(
        RESOLUTION_THRESHOLD,
        color=THRESHOLD_GREY,
        linewidth=0.9,
        linestyle=":",
        label="threshold 1/2 (equivalent to 1/7 between two half data sets)",
    )
    axis.set_xlim(0, 1.02 * first.frequency[-1])


def _lower_limit(axes: np.ndarray) -> float:
    """Return the lower limit of the axes, for which all curves and 0 are visible."""
    return min(0.0, *(float(np.min(curve.get_ydata())) - 0.05 for axis in axes for curve in axis.lines))


def pictures(result: Result, scans: WholeScans) -> Figure | None:
    """Draw the middle of each scan that is shown: object and methods, all in one grey scale.

    Args:
        result: the scores of the split, for names and colours.
        scans: all scans of the split.

    Returns:
        The figure; None if no pixels are known.
    """
    rows, stores = [row for row in scans.shown if scans.objects.get(row, np.empty(0)).size], with_images(result, scans)
    if not rows:
        return None
    drawn = figure(IMAGE_WIDTH * (len(stores) + 1) + 0.4, IMAGE_WIDTH * len(rows) + 1.0, "compressed")
    axes = drawn.subplots(len(rows), len(stores) + 1, squeeze=False)
    low, high = np.percentile(np.concatenate([scans.objects[row].ravel() for row in rows]), [0.1, 99.9])
    for cells, row in zip(axes, rows, strict=True):
        columns = [scans.objects[row], *(scans.pictures[store.name][row] for store in stores)]
        for cell, values in zip(cells, columns, strict=True):
            cell.imshow(values, cmap="gray", vmin=low, vmax=high, interpolation="nearest")
            cell.set(xticks=[], yticks=[], facecolor=UNKNOWN_GREY)
            cell.grid(False)
        cells[0].set_ylabel("\n".join(wrap(scan_title(scans, row), MAX_LETTERS)), fontsize=7.5)
    axes[0, 0].set_title("object", fontsize=8)
    for cell, store in zip(axes[0, 1:], stores, strict=True):
        cell.set_title("\n".join(wrap(label(store), MAX_LETTERS)), fontsize=8, color=colour(result, store))
    colour_bar(drawn, axes, f"{plain(scans.how.target)}{unit(scans.units)}")
    return drawn


def against_scales(result: Result, scans: WholeScans) -> Figure | None:
    """Draw each score against each quantity in which scans differ; None if they differ in none.

    Args:
        result: the scores of the split, for names and colours.
        scans: all scans of the split.
    """
    if not (varying := scans.varying) or not scans.outcomes:
        return None
    keys = list(scans.summary(next(iter(scans.outcomes))))
    drawn = figure(max(6.4, 3.4 * len(keys)), 2.7 * len(varying) + 0.4)
    axes = drawn.subplots(len(varying), len(keys), squeeze=False)
    for cells, scale in zip(axes, varying, strict=True):
        order = np.argsort(scans.scales[scale.name], kind="stable")
        for axis, key in zip(cells, keys, strict=True):
            for store in with_images(result, scans):
                how = line(result, store) | ({"linestyle": ""} if len(varying) > 1 else {})
                values = scans.values(store.name, key)
                axis.plot(scans.scales[scale.name][order], values[order], marker="o", markersize=4, **how)
            axis.set(xlabel=f"{plain(scale.name)}{unit(scale.units)}", ylabel=f"{key}{unit(scans.meaning(key).unit)}")
            axis.set_ylim(0, 1.08 * axis.dataLim.ymax if axis.dataLim.ymax > 0 else None)
            if scale.logarithm:
                axis.set_xscale("log")
                decimal(axis.xaxis)
    legend_above(drawn, axes[0, 0], columns=6)
    return drawn
