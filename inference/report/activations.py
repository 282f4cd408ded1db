"""Draw the outputs of layers of a network, averaged over channels, for the first samples of a split.

This follows Fig. 6 of Cherukara et al. 2018.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from inference.invert.split_reader import Source
from inference.report.sample_images import picture
from inference.report.style import figure, styled
from schemas.runtime.errors import UserError, suggestion
from training.activations import activations
from training.export.store import load_model

MAX_SAMPLES = 4
MAX_LAYERS = 12  # number of layers drawn unless some are asked for by name


def draw_activations(model: Path, source: Source, names: Sequence[str] | None, out: Path) -> Iterator[str]:
    """Draw the outputs of layers of a network to a PNG file, and yield a line about it.

    Args:
        model: folder of the trained network.
        source: the split whose first samples are drawn.
        names: the layers; None chooses some from first to last.
        out: the file to write.

    Raises:
        UserError: there is no such layer, the network has no layers that give images, the model cannot read the
            dataset, or the file cannot be written.
    """
    trained = load_model(model).adapt(source.manifest.sizes)
    if lacking := source.lacks(trained.inputs):
        raise UserError(f"{source.path}: lacks {', '.join(lacking)}, which model {model} needs; give another --data")
    if reasons := trained.reasons_to_refuse(source.task, source.manifest.sizes):
        raise UserError(f"{model}: cannot read {source.path}: {'; '.join(reasons)}")
    known = activations(trained, source.read(trained.inputs, 0, min(MAX_SAMPLES, source.samples)))
    chosen = _choose_layers(known, names)
    if not known:
        raise UserError(f"--activations {out}: model {model} is all dense and has no layers that give images")
    _draw_layers({name: known[name] for name in chosen}, out)
    yield f"{out}: {len(chosen)} of {len(known)} layers; all layers: {', '.join(known)}"


def _choose_layers(known: dict[str, np.ndarray], names: Sequence[str] | None) -> list[str]:
    """Return the names of the layers to draw. Raise UserError if there is no such layer."""
    if names is None:
        places = np.unique(np.linspace(0, len(known) - 1, min(MAX_LAYERS, len(known))).round().astype(int))
        return [list(known)[position] for position in places]
    for name in names:
        if name not in known:
            raise UserError(f"--layers {name}: no such layer{suggestion(name, known)}")
    return list(dict.fromkeys(names))


def _draw_layers(layers: dict[str, np.ndarray], out: Path) -> None:
    """Draw a row for each sample and a column for each layer, each picture in the range of its own values."""
    rows = len(next(iter(layers.values())))
    with styled():
        drawn = figure(1.3 * len(layers) + 0.3, 1.35 * rows + 0.5, "compressed")
        axes = drawn.subplots(rows, len(layers), squeeze=False)
        for cells, (name, values) in zip(axes.T, layers.items(), strict=True):
            cells[0].set_title(f"{name}\n{' x '.join(map(str, values.shape[1:]))}", fontsize=6)
            for cell, value in zip(cells, values, strict=True):
                cell.imshow(np.atleast_2d(picture(value)), cmap="viridis", interpolation="nearest")
                cell.set(xticks=[], yticks=[])
                cell.grid(False)
        try:
            out.parent.mkdir(parents=True, exist_ok=True)
            drawn.savefig(out, dpi=150)
        except (OSError, ValueError) as error:
            raise UserError(f"--activations {out}: {error}; choose a .png that can be written") from None
