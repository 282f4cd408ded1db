"""Contact sheet of a dataset: inputs, targets and their histograms, to be looked at before training."""

from io import BytesIO
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullLocator

from schemas.grids import as_images
from schemas.manifest import read_manifest
from schemas.runtime.errors import UserError
from schemas.runtime.publish import publish_alone, reading
from schemas.runtime.terminal import printable
from schemas.store import open_split, read_rows
from schemas.task import Field, Task

type Values = dict[str, np.ndarray]

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
MAX_LETTERS = 32  # maximum number of letters of a name that are shown
MIN_WIDTH, MAX_WIDTH = 0.7, 4.0  # of a column, relative to the height of a row
MAX_IMAGES = 5  # maximum number of images shown per field and sample


def plain(text: str) -> str:
    """Return text from files as Matplotlib may draw it: printable, short, and not read as a formula."""
    shown = printable(text).replace("\n", " ")
    return (shown if len(shown) <= MAX_LETTERS else shown[: MAX_LETTERS - 1] + "…").replace("$", r"\$")


def write_contact_sheet(path: Path, split: str, out: Path, count: int) -> int:
    """Draw the first samples of a split into a PNG file.

    Args:
        path: the dataset.
        split: name of the split.
        out: the file; it must end in .png.
        count: maximum number of samples to draw.

    Returns:
        The number of samples drawn.

    Raises:
        UserError: the split has no samples, or they cannot be read, or `out` is not a place for a PNG file.
    """
    _check_destination(out)
    figure, count_shown = draw_contact_sheet(path, split, count)
    picture = BytesIO()
    figure.savefig(picture, dpi=110, format="png")
    publish_alone(out, picture.getvalue())
    return count_shown


def draw_contact_sheet(path: Path, split: str, count: int) -> tuple[Figure, int]:
    """Draw the first samples of a split.

    Args:
        path: a dataset, also an incomplete one.
        split: one of its splits.
        count: maximum number of rows.

    Returns:
        The figure, and the number of samples in it.

    Raises:
        UserError: there is no such split or sample, or samples cannot be read.
    """
    manifest = read_manifest(path, incomplete=True)
    count = min(count, manifest.samples.get(split, 0))
    if count < 1:
        raise UserError(f"{path}: no samples to show in {split}; choose another --split, or --samples of at least 1")
    values = _read_samples(path, split, manifest.task, count)
    columns = [
        (field, index) for field in manifest.task.of("input", "target") for index in _shown_indices(values[field.name])
    ]
    widths = [relative_width(*_as_image_stack(values[field.name]).shape[-2:]) for field, _ in columns]
    figure = Figure(figsize=(1.7 * sum(widths), 1.7 * (count + 1.3)), layout="compressed")
    axes = figure.subplots(count + 1, len(columns), squeeze=False, width_ratios=widths)
    for column, (field, index) in zip(axes.T, columns, strict=True):
        _draw_column(figure, column, field, index, manifest.task, values)
    for row, axis in enumerate(axes[:-1, 0]):
        axis.set_ylabel(f"{split} {row}", fontsize=7)
    axes[-1, 0].set_ylabel("pixels, log", fontsize=7)
    figure.suptitle(f"{plain(path.name)}: {manifest.task.name} {manifest.task.version}, {manifest.status}", fontsize=9)
    return figure, count


def _check_destination(out: Path) -> None:
    """Raise UserError unless the name ends in .png and the place is free or holds a PNG file."""
    if out.suffix != ".png":
        raise UserError(f"--out {out}: the name must end in .png; choose another name")
    if out.exists() and not _is_picture(out):
        raise UserError(f"--out {out}: already exists and is not a PNG file; choose another name")


def _is_picture(path: Path) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(len(PNG_SIGNATURE)) == PNG_SIGNATURE


def _read_samples(path: Path, split: str, task: Task, count: int) -> Values:
    remedy = "complete or repair the dataset: run its `generate` command again"
    with reading(f"{path}: the first {count} samples of {split}", remedy):
        rows = read_rows(open_split(path, split), task.of("input", "target", "parameter"), slice(0, count))
        return {name: as_images(task.grids, task[name].dims, values) for name, values in rows.items()}


def _as_image_stack(values: np.ndarray) -> np.ndarray:
    """Return values as (sample, image, y, x). Values of a lower rank become one image, with a row per index."""
    magnitude = abs(values) if values.dtype.kind == "c" else values
    while magnitude.ndim < 4:
        magnitude = magnitude[:, None]
    return magnitude.reshape(len(magnitude), -1, *magnitude.shape[-2:])


def _shown_indices(values: np.ndarray) -> list[int]:
    """Return the indices of the images that are shown: first, last, and some between, symmetric about the middle."""
    n = _as_image_stack(values).shape[1]
    steps = np.linspace(0, 1, min(MAX_IMAGES, n)) * (n - 1)
    first_half = [int(np.floor(step)) for step in steps if step <= (n - 1) / 2]
    return sorted({*first_half, *(n - 1 - index for index in first_half)})


def relative_width(rows: int, columns: int) -> float:
    """Return the width of the place for an image of this size, relative to its height, within limits."""
    return min(max(columns / max(rows, 1), MIN_WIDTH), MAX_WIDTH)


def _draw_column(figure: Figure, axes: np.ndarray, field: Field, index: int, task: Task, values: Values) -> None:
    """Draw one image of a field for all samples, with a colour bar and a histogram below."""
    images = _as_image_stack(values[field.name])
    shown = images[:, index]  # each channel has its own grey scale, since channels may hold different quantities
    low, high = (-0.5, len(field.classes) - 0.5) if field.classes else np.percentile(shown, [0.1, 99.9])
    color = matplotlib.colormaps["gray" if field.role == "input" else "viridis"]
    color = color.resampled(len(field.classes)) if field.classes else color
    for row, axis in enumerate(axes[:-1]):
        picture = axis.imshow(shown[row], cmap=color, vmin=low, vmax=high)
        axis.set(xticks=[], yticks=[])
        axis.set_title(_image_title(field, index, row, task, values), fontsize=6, pad=2)
    name = f"{field.name} {index}" if images.shape[1] > 1 else field.name
    unit = "" if field.units == "1" else f" [{plain(field.units)}]"
    axes[0].set_title(f"{plain(name)}{unit}\n{axes[0].get_title()}", fontsize=7, pad=2)
    bar = figure.colorbar(picture, ax=list(axes[:-1]), location="bottom", shrink=0.9, pad=0.02)
    if field.classes:
        bar.set_ticks(range(len(field.classes)), labels=list(map(plain, field.classes)), rotation=90)
    else:
        _format_axis(bar.ax.xaxis)
    bar.ax.tick_params(labelsize=6)
    _draw_histogram(axes[-1], shown)
    axes[-1].set_xlabel(f"{name}{unit}", fontsize=7)


def _image_title(field: Field, index: int, row: int, task: Task, values: Values) -> str:
    """Return a text with the first parameter that has one value per image, such as the defocus of a plane."""
    for parameter in task.of("parameter"):
        if len(field.dims) > 3 and parameter.dims == field.dims[:2]:
            unit = "" if parameter.units == "1" else f" {plain(parameter.units)}"
            return f"{plain(parameter.name)} {_number_text(values[parameter.name][row, index])}{unit}"
    return ""


def _number_text(value: float, _: object = None) -> str:
    """Return a number with four digits, without an exponent if it has up to seven places."""
    if value and not 1e-4 <= abs(value) < 1e7:
        return f"{value:.4g}"
    return np.format_float_positional(value, precision=4, unique=False, fractional=False, trim="-")


def _format_axis(axis: Axis) -> None:
    """Let an axis show a few numbers, in the same form as the titles."""
    axis.set_major_locator(MaxNLocator(4))
    axis.set_major_formatter(FuncFormatter(_number_text))


def _draw_histogram(axis: Axes, values: np.ndarray) -> None:
    axis.hist(values.ravel(), bins=64, color="0.3", log=True)
    axis.set_ylim(bottom=0.5)
    axis.tick_params(labelsize=6)
    _format_axis(axis.xaxis)
    axis.yaxis.set_major_locator(NullLocator())
    axis.yaxis.set_minor_locator(NullLocator())
