"""Style of the figures of a report: one colour per method throughout, full lines for networks, dashed for others."""

import io
from contextlib import AbstractContextManager
from typing import Any, Literal

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from inference.report.evaluation import Result, ScoredPredictions
from schemas.preview import plain

# Okabe and Ito, Color Universal Design (2008): colour-blind readers can distinguish these colours.
NETWORK_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7")
CLASSICAL_COLOURS = ("#555555", "#E69F00", "#56B4E9", "#A08C5B", "#000000", "#B8A900")
DPI = 144

RC: dict[Any, Any] = {
    "axes.axisbelow": True,
    "axes.edgecolor": "#444444",
    "axes.grid": True,
    "axes.labelsize": 9,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlesize": 9,
    "figure.dpi": DPI,
    "font.size": 9,
    "grid.color": "#e6e6e6",
    "grid.linewidth": 0.6,
    "legend.fontsize": 8,
    "legend.frameon": False,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
}


def unit(text: str) -> str:
    """Return a unit for a label, such as ` [rad]`; nothing for pure numbers."""
    return "" if text == "1" else f" [{plain(text)}]"


def three_digits(value: float) -> str:
    """Return a number with three significant digits and without an exponent, such as 12300 in place of 1.23e+04."""
    return f"{float(f'{value:.3g}'):g}"


def colour(result: Result, store: ScoredPredictions) -> str:
    """Return the colour of a method, which is the same in all figures.

    Args:
        result: the scores of any split of the evaluation.
        store: predictions of the method.
    """
    kin = [other.name for other in result.methods if other.metadata.kind == store.metadata.kind]
    palette = NETWORK_COLOURS if store.metadata.kind == "network" else CLASSICAL_COLOURS
    return palette[kin.index(store.name) % len(palette)]


def line(result: Result, store: ScoredPredictions) -> dict[str, Any]:
    """Return colour, dashes and label of a method as keywords for `Axes.plot`.

    Args:
        result: the scores of any split of the evaluation.
        store: predictions of the method.
    """
    dashes = "-" if store.metadata.kind == "network" else "--"
    return {"color": colour(result, store), "linestyle": dashes, "linewidth": 1.6, "label": label(store)}


def label(store: ScoredPredictions) -> str:
    """Return the name of a method for a legend.

    Matplotlib leaves out names that start with an underscore; such names are given an invisible first letter.
    """
    return plain(store.name) if not store.name.startswith("_") else f"\u200b{plain(store.name)}"


def figure(width: float, height: float, layout: Literal["constrained", "compressed"] = "constrained") -> Figure:
    """Return an empty figure.

    Args:
        width: [inch].
        height: [inch].
        layout: Matplotlib's layout engine; "compressed" suits grids of images.
    """
    return Figure(figsize=(width, height), layout=layout)


def legend_above(drawn: Figure, axis: Axes, columns: int) -> None:
    """Add the legend of one panel above all panels.

    Args:
        drawn: the figure.
        axis: the panel whose lines the legend explains.
        columns: number of columns of the legend.
    """
    drawn.legend(*axis.get_legend_handles_labels(), loc="outside upper center", ncols=columns)


def colour_bar(drawn: Figure, axes: np.ndarray, name: str) -> None:
    """Add a colour bar below panels that share the scale of the first.

    Args:
        drawn: the figure.
        axes: the panels (row, column), each with an image.
        name: label of the bar.
    """
    columns = axes.shape[1]
    bar = drawn.colorbar(axes[0, 0].images[0], ax=list(axes.ravel()), location="bottom", aspect=10 * columns)
    bar.set_label(name, fontsize=8)
    bar.ax.tick_params(labelsize=7)


def decimal(axis: Axis) -> None:
    """Label a logarithmic axis with numbers such as 0.02, 0.05, 0.1 instead of powers of ten."""
    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


def png(drawn: Figure) -> bytes:
    """Return a figure as a PNG file without date and version, so that equal figures give equal bytes."""
    buffer = io.BytesIO()
    drawn.savefig(buffer, format="png", dpi=DPI, metadata={"Software": None})
    return buffer.getvalue()


def styled() -> AbstractContextManager[None]:
    """Return a context in which figures are drawn in this style."""
    return matplotlib.rc_context(RC)
