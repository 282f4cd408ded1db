"""Figures of whole scans: ring correlations, stitched images, and errors against the quantities of scans."""

from textwrap import wrap

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from inference.contract import Scale
from inference.report.evaluation import Result, ScoredPredictions
from inference.report.style import colour, colour_bar, decimal, figure, label, legend_above, line, unit
from inference.stitching.comparison import WholeScans
from schemas.preview import plain
from schemas.scores import RESOLVED

CELL = 1.9  # width of an image [inch]
PANEL = 3.4  # width of one of several plots in a row [inch]
LIMIT = "0.25"  # grey level of thresholds
DIM = "0.85"  # grey level of unknown pixels
LETTERS = 20  # letters that fit above an image
BARE = str.maketrans("", "", "[]")


def stitched(result: Result, scans: WholeScans) -> list[ScoredPredictions]:
    """Return the runs that have stitched images."""
    return [run for run in result.runs if run.name in scans.outcomes]


def value(scans: WholeScans, scale: Scale, row: int) -> str:
    """Return a quantity of a scan with its unit, such as `dose 1e+05 electron/nm^2`.

    Args:
        scans: all scans of a split.
        scale: the quantity.
        row: row of the scan.
    """
    return f"{plain(scale.name)} {scans.scales[scale.name][row]:.3g}{unit(scale.units).translate(BARE)}"


def title(scans: WholeScans, row: int) -> str:
    """Return the number of a scan, and its values of the quantities in which scans differ."""
    return ", ".join([f"scan {scans.numbers[row]}", *(value(scans, scale, row) for scale in scans.varying)])


def correlations(result: Result, scans: WholeScans) -> Figure | None:
    """Draw ring correlations of all methods with both thresholds, one panel for each scan that is shown.

    Args:
        result: the scores of the split, for names and colours.
        scans: all scans of the split.

    Returns:
        The figure; None if no image could be compared with its object.
    """
    runs = stitched(result, scans)
    rows = [row for row in scans.shown if any(scans.outcomes[run.name][row].resolution.frequency for run in runs)]
    if not rows:
        return None
    drawn = figure(max(6.4, PANEL * len(rows)), 3.4)
    axes = drawn.subplots(1, len(rows), squeeze=False, sharey=True)[0]
    for axis, row in zip(axes, rows, strict=True):
        _correlation(axis, result, scans, row)
        axis.set(xlabel="spatial frequency [1/nm]", title="\n".join(wrap(title(scans, row), 2 * LETTERS)))
    axes[0].set(ylabel="ring correlation with the object", ylim=(_least(axes), 1.05))
    handles = {name: handle for axis in axes for handle, name in zip(*axis.get_legend_handles_labels(), strict=True)}
    drawn.legend(list(handles.values()), list(handles), loc="outside upper center", ncols=6)
    return drawn


def _correlation(axis: Axes, result: Result, scans: WholeScans, row: int) -> None:
    """Draw one panel. Markers show the rings that are used for the resolution."""
    found = [(run, scans.outcomes[run.name][row].resolution) for run in stitched(result, scans)]
    compared = [(run, worth) for run, worth in found if worth.frequency]
    for run, worth in compared:
        points = np.flatnonzero(worth.counts).tolist()
        axis.plot(worth.frequency, worth.correlation, marker="o", markersize=2.5, markevery=points, **line(result, run))
    first = compared[0][1]
    axis.plot(first.frequency, first.threshold, color=LIMIT, linewidth=0.9, linestyle="-.", label="half-bit threshold")
    axis.axhline(
        RESOLVED,
        color=LIMIT,
        linewidth=0.9,
        linestyle=":",
        label="threshold 1/2 (equivalent to 1/7 between two half data sets)",
    )
    axis.set_xlim(0, 1.02 * first.frequency[-1])


def _least(axes: np.ndarray) -> float:
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
    rows, runs = [row for row in scans.shown if scans.objects.get(row, np.empty(0)).size], stitched(result, scans)
    if not rows:
        return None
    drawn = figure(CELL * (len(runs) + 1) + 0.4, CELL * len(rows) + 1.0, "compressed")
    axes = drawn.subplots(len(rows), len(runs) + 1, squeeze=False)
    low, high = np.percentile(np.concatenate([scans.objects[row].ravel() for row in rows]), [0.1, 99.9])
    for cells, row in zip(axes, rows, strict=True):
        columns = [scans.objects[row], *(scans.pictures[run.name][row] for run in runs)]
        for cell, values in zip(cells, columns, strict=True):
            cell.imshow(values, cmap="gray", vmin=low, vmax=high, interpolation="nearest")
            cell.set(xticks=[], yticks=[], facecolor=DIM)
            cell.grid(False)
        cells[0].set_ylabel("\n".join(wrap(title(scans, row), LETTERS)), fontsize=7.5)
    axes[0, 0].set_title("object", fontsize=8)
    for cell, run in zip(axes[0, 1:], runs, strict=True):
        cell.set_title("\n".join(wrap(label(run), LETTERS)), fontsize=8, color=colour(result, run))
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
            for run in stitched(result, scans):
                how = line(result, run) | ({"linestyle": ""} if len(varying) > 1 else {})
                values = scans.values(run.name, key)
                axis.plot(scans.scales[scale.name][order], values[order], marker="o", markersize=4, **how)
            axis.set(xlabel=f"{plain(scale.name)}{unit(scale.units)}", ylabel=f"{key}{unit(scans.meaning(key).unit)}")
            axis.set_ylim(0, 1.08 * axis.dataLim.ymax if axis.dataLim.ymax > 0 else None)
            if scale.logarithm:
                axis.set_xscale("log")
                decimal(axis.xaxis)
    legend_above(drawn, axes[0, 0], columns=6)
    return drawn
