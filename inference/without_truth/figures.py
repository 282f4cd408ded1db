"""Pictures of both halves of the counts, and of what each method made of the first."""

import numpy as np
from matplotlib.figure import Figure

from inference.report.sample_images import choose_samples, picture
from inference.report.style import figure, label
from inference.without_truth.scoring import Scores, read_estimates
from schemas.preview import relative_width

PLACES = (0.0, 0.5, 1.0)  # places of the slices that are drawn in the ranking by the error of the best method
WIDTH = 1.5  # width of a picture [inch]


def examples(found: Scores) -> Figure:
    """Draw a row of pictures for some slices: both halves, and the estimate of each method from the first half."""
    chosen = choose_samples(found.errors[found.best].slices, PLACES)
    rows = [[picture(image) for image in read_estimates(found, index)] for index in chosen]
    titles = ["half a", "half b", *(f"{label(pair.first)} of a" for pair in found.pairs)]
    width = relative_width(*rows[0][0].shape) if rows[0][0].ndim == 2 else 1.0
    drawn = figure(WIDTH * width * len(titles) + 0.4, WIDTH * len(rows) + 0.5, "compressed")
    axes = drawn.subplots(len(rows), len(titles), squeeze=False)
    for cells, images, index in zip(axes, rows, chosen, strict=True):
        limits = _limits(images)
        cells[0].set_ylabel(found.rows.row_text(index), fontsize=7.5)
        for cell, image in zip(cells, images, strict=True):
            cell.set(xticks=[], yticks=[])
            cell.grid(False)
            if image.ndim == 2:
                cell.imshow(image, cmap="gray", vmin=limits[0], vmax=limits[1], interpolation="nearest")
            else:
                cell.plot(image, linewidth=1)
                cell.set_ylim(*limits)
    for cell, title in zip(axes[0], titles, strict=True):
        cell.set_title(title, fontsize=8)
    return drawn


def _limits(images: list[np.ndarray]) -> tuple[float, float]:
    """Return the range of the estimates of a row; that of the halves without methods."""
    values = np.concatenate([image.ravel() for image in images[2:] or images])
    values = values[np.isfinite(values)]
    low, high = (float(values.min()), float(values.max())) if len(values) else (0.0, 1.0)
    return (low, high) if high > low else (low - 0.5, high + 0.5)
