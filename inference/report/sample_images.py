"""Draw samples side by side: input, exact target, and prediction and error of each method.

Errors are multiplied by five.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from textwrap import wrap

import numpy as np
from matplotlib import patheffects
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from inference.contract import Arrays, Shown, View
from inference.report.evaluation import Result, ScoredPredictions
from inference.report.style import colour, colour_bar, figure, label, unit
from schemas.preview import plain, relative_width
from schemas.target_kinds import ranking_key
from schemas.task import Field

ERROR_FACTOR = 5  # factor by which errors are multiplied
MIN_LOG_SHARE = 1e-3  # lowest value on a logarithmic scale, relative to the highest
PICTURE_WIDTH = 1.35  # width of a picture [inch]
MAX_TITLE_LETTERS = 17  # number of letters that fit above a picture
HALO = [patheffects.withStroke(linewidth=2, foreground="black")]
INPUT_SCALE, ERROR_SCALE = "input ", "error x"  # names of scales; their spaces keep them apart from names of fields


@dataclass(frozen=True)
class Column:
    """Column of pictures, one per sample, all in one scale."""

    title: str
    scale: str  # columns with the same scale share colours and a colour bar
    bar: str  # label of the colour bar
    images: list[np.ndarray]
    notes: list[str]  # text inside each picture
    ink: str = "#222222"
    behind: list[np.ndarray] | None = None  # exact lines, drawn behind the predicted lines; None for images


def draw_samples(result: Result, target: Field | View, indices: Sequence[int], names: Sequence[str]) -> Figure:
    """Draw one row per sample. Predictions are shown after alignment with the truth.

    Args:
        result: the scores of one split.
        target: the target, or a view computed from the targets.
        indices: numbers of the samples.
        names: labels of the rows.
    """
    columns = _make_columns(result, target, indices)
    widths = [_relative_width(column.images[0]) for column in columns]
    height = PICTURE_WIDTH * len(indices) * (1 if columns[-1].images[0].ndim == 2 else 0.8) + 0.9
    drawn = figure(PICTURE_WIDTH * sum(widths) + 0.4, height, "compressed")
    axes = drawn.subplots(len(indices), len(columns), squeeze=False, width_ratios=widths)
    for row, name in zip(axes, names, strict=True):
        row[0].set_ylabel(name, fontsize=7.5)
    for scale, limits in _scale_limits(columns, target).items():
        chosen = [i for i, column in enumerate(columns) if column.scale == scale]
        _draw_columns(drawn, axes[:, chosen], [columns[i] for i in chosen], limits)
    return drawn


def _relative_width(image: np.ndarray) -> float:
    """Return the width of a column relative to the height of a row: 1 for lines."""
    return relative_width(*image.shape) if image.ndim == 2 else 1.0


def _make_columns(result: Result, target: Field | View, indices: Sequence[int]) -> list[Column]:
    """Return the columns of inputs, exact target, and prediction and error of each method."""
    rows = [result.sample(index) for index in indices]
    truth = [_target_picture(target, values) for values, _ in rows]
    inputs = [_input_column(result, shown, [values for values, _ in rows]) for shown in result.report.inputs]
    exact = Column("exact", target.name, _bar_label(target), truth, [""] * len(rows))
    predictions, errors = [], []
    for store in result.stores:
        predicted = [_target_picture(target, values[store.name]) for _, values in rows]
        notes = [_score_note(result, store, target, index) for index in indices]
        title, ink = "\n".join(wrap(label(store), MAX_TITLE_LETTERS)), colour(result, store)
        predictions.append(Column(title, target.name, exact.bar, predicted, notes, ink, truth))
        errors.append(_errors(title, ink, target, predicted, truth))
    return [*(column for column in inputs if column), exact, *predictions, *errors]


def _bar_label(target: Field | View) -> str:
    """Return the label of the colour bar of a target; for classes, their numbers and names."""
    if isinstance(target, Field) and target.classes:
        return f"{target.name}: " + ", ".join(f"{i} {name}" for i, name in enumerate(target.classes))
    return f"{target.name}{unit(target.units)}"


def _errors(title: str, ink: str, target: Field | View, predicted: list[np.ndarray], truth: list[np.ndarray]) -> Column:
    """Return the column of multiplied errors; for classes, of wrong pixels, without those whose class is ignored."""
    pairs, notes = list(zip(predicted, truth, strict=True)), [""] * len(truth)
    if isinstance(target, Field) and target.classes:
        wrong = [np.isin(t, target.counted) * (p != t) * 1.0 for p, t in pairs]
        return Column(f"{title}\nwrong", ERROR_SCALE, "1 where the class is wrong", wrong, notes, ink)
    bar = f"{ERROR_FACTOR} × error{unit(target.units)}"
    images = [ERROR_FACTOR * (p - t) for p, t in pairs]
    return Column(f"{title}\nerror × {ERROR_FACTOR}", ERROR_SCALE, bar, images, notes, ink)


def _input_column(result: Result, shown: Shown, rows: Sequence[dict[str, np.ndarray]]) -> Column | None:
    """Return the column of an input; None if the dataset does not have this field."""
    if shown.field not in rows[0]:
        return None
    field = result.task[shown.field]
    count = field.shape(result.source.manifest.sizes)
    places = zip(field.dims[1:], shown.index, count, strict=False)
    index = ", ".join(f"{dim} {i % n}" for dim, i, n in places)
    images, notes = [picture(values[field.name][0][shown.index]) for values in rows], [""] * len(rows)
    bar = f"{field.name}{unit(field.units)}"
    if shown.logarithm:
        images, bar = [_log_image(image) for image in images], f"log10 {bar}"
    return Column(f"{plain(field.name)}\n{plain(index)}".strip(), INPUT_SCALE + field.name, bar, images, notes)


def _log_image(image: np.ndarray) -> np.ndarray:
    """Return log10 of an image, cut off at DIM times its highest value."""
    faintest = max(MIN_LOG_SHARE * float(np.nanmax(image, initial=0)), float(np.finfo(np.float32).tiny))
    shown: np.ndarray = np.log10(np.maximum(image, faintest))
    return shown


def picture(values: np.ndarray) -> np.ndarray:
    """Return a line or an image that can be drawn: the modulus of complex values, the middle image of a stack."""
    real = abs(values) if values.dtype.kind == "c" else values.astype(float)
    while real.ndim > 2:
        real = real[len(real) // 2]
    return real.reshape(1) if real.ndim == 0 else real


def _target_picture(target: Field | View, values: Arrays) -> np.ndarray:
    """Return the picture of one sample: that of a target, or of a view."""
    if not isinstance(target, View):
        return picture(values[target.name][0])
    image = picture(target.compute(values)[0])
    return _log_image(image) if target.logarithm else image


def _score_note(result: Result, store: ScoredPredictions, target: Field | View, index: int) -> str:
    if isinstance(target, View):
        return f"{result.scores[store.name][result.rank][index]:.2g}"
    return f"{result.scores[store.name][ranking_key(result.task, target)][index]:.2g}"


def _scale_limits(columns: Sequence[Column], target: Field | View) -> dict[str, tuple[float, float]]:
    """Return the range of each scale.

    Exact images determine the range of all methods. Multiplied errors have a range of twice this width about 0.
    """
    exact = next(column for column in columns if column.scale == target.name)
    low, high = _value_range(exact.images)
    inputs = {column.scale: [i for c in columns if c.scale == column.scale for i in c.images] for column in columns}
    return {scale: _value_range(images) for scale, images in inputs.items()} | {
        target.name: (low, high),
        ERROR_SCALE: (-1.0, 1.0) if isinstance(target, Field) and target.classes else (low - high, high - low),
    }


def _value_range(images: Sequence[np.ndarray]) -> tuple[float, float]:
    values = np.concatenate([image.ravel() for image in images])
    values = values[np.isfinite(values)]
    if not len(values):
        return 0.0, 1.0
    low, high = map(float, np.percentile(values, [0.1, 99.9]))
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def _draw_columns(drawn: Figure, axes: np.ndarray, columns: Sequence[Column], limits: tuple[float, float]) -> None:
    """Draw the columns of one scale, with one colour bar."""
    for cells, column in zip(axes.T, columns, strict=True):
        cells[0].set_title(column.title, fontsize=8, color=column.ink)
        for i, cell in enumerate(cells):
            cell.set(xticks=[], yticks=[])
            cell.grid(False)
            (_draw_image if column.images[i].ndim == 2 else _draw_line)(cell, column, i, limits)
    if axes[0, 0].images:
        colour_bar(drawn, axes, columns[0].bar)
    else:
        axes[-1, 0].set_xlabel(columns[0].bar, fontsize=8)
        for cell in axes[:, 0]:
            cell.yaxis.set_major_locator(MaxNLocator(3))
            cell.tick_params(labelsize=6)


def _draw_image(cell: Axes, column: Column, row: int, limits: tuple[float, float]) -> None:
    colours = "RdBu_r" if column.scale == ERROR_SCALE else "gray" if column.scale.startswith(INPUT_SCALE) else "viridis"
    cell.imshow(column.images[row], cmap=colours, vmin=limits[0], vmax=limits[1], interpolation="nearest")
    cell.spines[:].set_visible(False)
    cell.text(0.04, 0.05, column.notes[row], transform=cell.transAxes, fontsize=7, color="w", path_effects=HALO)


def _draw_line(cell: Axes, column: Column, row: int, limits: tuple[float, float]) -> None:
    room = 0.15 * (limits[1] - limits[0])
    cell.set_ylim(limits[0] - room, limits[1] + room)
    if column.behind:
        cell.plot(column.behind[row], color="0.75", linewidth=2.5)
    cell.plot(column.images[row], color=column.ink, linewidth=1)
    cell.text(0.98, 0.98, column.notes[row], transform=cell.transAxes, fontsize=7, ha="right", va="top")


def choose_samples(values: np.ndarray, shares: Sequence[float]) -> list[int]:
    """Return the samples at some places of the ranking by error, each at most once.

    Args:
        values: errors (sample,).
        shares: places in the ranking, from 0 for the lowest error to 1 for the highest.
    """
    order = rank_samples(values)
    return list(dict.fromkeys(order[round(share * (len(order) - 1))] for share in shares))


def rank_samples(values: np.ndarray) -> list[int]:
    """Return the samples from lowest to highest error, those without a score last."""
    keys = np.where(np.isnan(values), np.inf, values)
    return [int(index) for index in np.argsort(keys, kind="stable")]
