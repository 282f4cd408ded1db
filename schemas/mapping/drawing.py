"""A map of samples as a picture, as a table, and as a page on which points tell what they are."""

import html
import io
from collections.abc import Iterator
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from schemas.mapping.embedding import NEIGHBOUR, Map
from schemas.preview import plain
from schemas.runtime.csv_files import csv_table
from schemas.runtime.errors import UserError, suggestion
from schemas.runtime.terminal import printable

COLOURS = "tab10"
SCALE = "viridis"
WIDTH, HEIGHT = 900, 640  # of the page's map [pixel]
MARGIN = 0.04  # of the map, relative to its extent
MIXED = "#888888"  # colour of samples without the parameter


def colours(found: Map, parameter: str | None) -> tuple[list[str], str]:
    """Return the colour of each sample, and what colours stand for.

    Args:
        found: the map.
        parameter: the parameter that is shown; None: each store has a colour.

    Raises:
        UserError: no store has this parameter as one number per sample.
    """
    if parameter is None:
        palette = colormaps[COLOURS]
        return [to_hex(palette(int(number) % palette.N)) for number in found.store], "store"
    known = {name for part in found.parts for name in part.parameters}
    if parameter not in known:
        raise UserError(
            f"--colour {parameter}: no such parameter with one number per sample{suggestion(parameter, known)}"
        )
    values = np.concatenate(
        [part.parameters.get(parameter, np.full(len(part.images), np.nan)).astype(float) for part in found.parts]
    )
    finite = values[np.isfinite(values)]
    low, high = (finite.min(), finite.max()) if len(finite) else (0.0, 1.0)
    shares = (values - low) / (high - low if high > low else 1)
    chosen = [to_hex(colormaps[SCALE](share)) if np.isfinite(share) else MIXED for share in shares]
    return chosen, f"{parameter} from {low:.4g} (dark) to {high:.4g} (bright)"


def picture(found: Map, parameter: str | None) -> bytes:
    """Return the map as a PNG file.

    Args:
        found: the map.
        parameter: the parameter that colours show; None: the stores.
    """
    chosen, meaning = colours(found, parameter)
    solid = found.places.shape[1] > 2
    drawn = Figure(figsize=(7.0, 5.6), layout="constrained")
    axis: Any = drawn.add_subplot(projection="3d") if solid else drawn.add_subplot()
    for number, part in enumerate(found.parts):
        rows = np.flatnonzero(found.store == number)
        label = f"{plain(part.path.name)}/{part.split} ({len(rows):,})"
        axis.scatter(*found.places[rows, :3].T, c=[chosen[row] for row in rows], s=9, alpha=0.8, label=label)
    axis.set(xticks=[], yticks=[], **({"zticks": []} if solid else {}))
    axis.set_title(plain(meaning) if parameter else "", fontsize=9)
    if parameter is None:
        drawn.legend(loc="outside upper center", ncols=3, fontsize=8, markerscale=2)
    file = io.BytesIO()
    drawn.savefig(file, dpi=120, format="png", metadata={"Software": None})
    return file.getvalue()


def table(found: Map) -> bytes:
    """Return a CSV table with a row for each sample, the farthest outliers first."""
    axes = [f"axis_{number + 1}" for number in range(found.places.shape[1])]
    header = ["store", "split", "sample", *axes, f"distance to neighbour {NEIGHBOUR}, relative to the median"]
    rows = [
        [*place, *found.places[row].tolist(), float(found.distance[row])] for row, place in enumerate(_named(found))
    ]
    return csv_table([header, *sorted(rows, key=lambda row: -float(row[-1]))])


def _named(found: Map) -> Iterator[tuple[str, str, int]]:
    """Yield store, split and number of each sample."""
    for part in found.parts:
        for number in part.sampled.tolist():
            yield str(part.path), part.split, number


def page(found: Map, parameter: str | None) -> bytes:
    """Return a self-contained HTML page. A point says what it is, and a click on a store hides its points.

    Args:
        found: the map; a third axis is left out.
        parameter: the parameter that colours show; None: the stores.
    """
    chosen, meaning = colours(found, parameter)
    low, extent = found.places[:, :2].min(axis=0), np.ptp(found.places[:, :2], axis=0)
    shares = MARGIN + (1 - 2 * MARGIN) * (found.places[:, :2] - low) / np.where(extent > 0, extent, 1)
    points = []
    for row, (store, split, sample) in enumerate(_named(found)):
        about = html.escape(printable(f"{store}/{split} {sample}, outlier {found.distance[row]:.2f}"))
        x, y = shares[row, 0] * WIDTH, (1 - shares[row, 1]) * HEIGHT
        points.append(
            f'<circle class="s{found.store[row]}" cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{chosen[row]}">'
            f"<title>{about}</title></circle>"
        )
    buttons = [
        f'<label><input type="checkbox" checked data-store="s{number}"> '
        f"{html.escape(printable(f'{part.path.name}/{part.split}'))}</label>"
        for number, part in enumerate(found.parts)
    ]
    legend = html.escape(printable(f"Colours: {meaning}."))
    return _PAGE.format(
        width=WIDTH, height=HEIGHT, points="\n".join(points), buttons=" ".join(buttons), legend=legend
    ).encode()


def outliers(found: Map, count: int) -> list[str]:
    """Return the farthest samples in words.

    Args:
        found: the map.
        count: number of samples.
    """
    names = list(_named(found))
    order = np.argsort(-found.distance, kind="stable")[:count]
    return [f"{names[row][0]}/{names[row][1]} sample {names[row][2]}: {found.distance[row]:.2f}" for row in order]


_PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>Map of samples</title>
<style>body{{font-family:sans-serif;margin:1.5em;max-width:{width}px}}svg{{width:100%;border:1px solid #ccc}}
circle{{fill-opacity:.75}}circle:hover{{stroke:#000;fill-opacity:1}}label{{margin-right:1em}}</style>
<h1>Map of samples</h1><p>{buttons}</p><p>{legend} Point at a sample to see its number. Its outlier score is its
distance to the tenth nearest sample, relative to the median of all.</p>
<svg viewBox="0 0 {width} {height}">
{points}
</svg>
<script>document.querySelectorAll("input").forEach(box => box.onchange = () =>
document.querySelectorAll("circle." + box.dataset.store).forEach(point => point.style.display =
box.checked ? "" : "none"));</script></html>
"""
