"""A contact sheet of a dataset: inputs, targets and their histograms, to look at before training on it."""

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from schemas.core import Field
from schemas.errors import UserError
from schemas.manifest import read_manifest
from schemas.store import open_split, read_rows

type Panel = tuple[Field, str, np.ndarray]  # field, title, values (sample, y, x)

PLANES = 5  # images of one field shown at most


def contact_sheet(path: Path, split: str, out: Path, count: int) -> int:
    """Draw the first samples of a split into a PNG; returns how many."""
    manifest = read_manifest(path, incomplete=True)
    count = min(count, manifest.samples.get(split, 0))
    if count < 1:
        raise UserError(f"{path}: no samples to show in {split}; choose another --split, or --samples of at least 1")
    shown = manifest.task.of("input", "target")
    values = read_rows(open_split(path, split), shown, slice(0, count))
    panels = [panel for field in shown for panel in _panels(field, values[field.name])]
    figure = Figure(figsize=(1.7 * len(panels), 1.7 * (count + 1.3)), layout="compressed")
    axes = figure.subplots(count + 1, len(panels), squeeze=False)
    for column, panel in zip(axes.T, panels, strict=True):
        _column(figure, column, panel)
    figure.suptitle(f"{path.name} / {split}: {manifest.task.name} {manifest.task.version}")
    figure.savefig(out, dpi=110)
    return count


def _panels(field: Field, values: np.ndarray) -> list[Panel]:
    """One panel per image of a sample; values of other ranks are shown as one image, row by row."""
    magnitude = abs(values) if values.dtype.kind == "c" else values
    if magnitude.ndim == 2:
        magnitude = magnitude[:, None, :]
    if magnitude.ndim == 3:
        return [(field, field.name, magnitude)]
    flat = magnitude.reshape(len(magnitude), -1, *magnitude.shape[-2:])
    picks = np.unique(np.linspace(0, flat.shape[1] - 1, min(PLANES, flat.shape[1])).astype(int))
    return [(field, f"{field.name} {i}", flat[:, i]) for i in picks]


def _column(figure: Figure, axes: np.ndarray, panel: Panel) -> None:
    field, title, values = panel
    low, high = np.percentile(values, [0.1, 99.9])
    for axis, image in zip(axes, values, strict=False):
        picture = axis.imshow(image, cmap="gray" if field.role == "input" else "viridis", vmin=low, vmax=high)
        axis.set(xticks=[], yticks=[])
    axes[0].set_title(f"{title} [{field.units}]", fontsize=8)
    figure.colorbar(picture, ax=list(axes[:-1]), location="bottom", shrink=0.9, pad=0.02).ax.tick_params(labelsize=6)
    _histogram(axes[-1], values)


def _histogram(axis: Axes, values: np.ndarray) -> None:
    axis.hist(values.ravel(), bins=64, color="0.3")
    axis.set_yscale("log")
    axis.tick_params(labelsize=6)
    axis.set_yticks([])
