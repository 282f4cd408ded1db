"""Section of the report on whole tilt series: volumes by SIRT, their R factor, and the atoms that are found in them."""

import math
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from inference.atoms.reconstruction import EXACT, RAW, REACH, Reconstruction, reconstruct_all
from inference.contract import Section, SectionContent
from inference.invert.split_reader import Source
from schemas.predictions import read_predictions
from schemas.runtime.progress import pace, progress
from schemas.scores import summarise
from schemas.slices import slices_per_sample
from schemas.target_kinds import Score
from schemas.task import Task

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from inference.report.evaluation import Result, Summary

MIN_TILTS = 12  # fewer images reveal no atoms
MAX_SERIES = 2  # series that are reconstructed, because each takes minutes
SCORES = {
    "r_factor": Score(
        "1",
        "sum |projections of the volume - exact images| / sum |exact images|; without exact images, the images from "
        "which the volume was reconstructed",
        "lower",
    ),
    "atoms_found": Score(
        "1", "share of the known atoms that are found, when as many are traced as are known", "higher"
    ),
    "atom_error": Score(
        "nm", "root mean square distance of traced atoms from known ones, after their mean shift is taken off", "lower"
    ),
}

type Outcomes = Mapping[str, list[Reconstruction]]  # by name of images, one for each series


def scores_of(one: Reconstruction) -> dict[str, float]:
    """Return the scores of a reconstruction by key. Those of atoms are missing where none are known."""
    found = {"r_factor": one.r}
    if one.atoms is None:
        return found
    return found | {"atoms_found": one.atoms.found, "atom_error": one.atoms.error}


def _section_content(source: Source, stores: Mapping[str, Path]) -> SectionContent | None:
    """Return the content of the section for one split; None if it holds no whole tilt series."""
    if slices_per_sample(source.manifest.task, source.manifest.sizes) < MIN_TILTS:
        return None
    stores = {
        name: path
        for name, path in stores.items()
        if any(field.name == "clean" for field in read_predictions(path).targets)
    }
    outcomes: dict[str, list[Reconstruction]] = {}
    total, begin = min(source.samples, MAX_SERIES), time.monotonic()
    with progress(total) as show:
        for number in range(total):
            for name, one in reconstruct_all(source, stores, number):
                outcomes.setdefault(name, []).append(one)
            show(number + 1, pace(total - number - 1, number + 1, time.monotonic() - begin))
    return SectionContent(
        scores={name: _summary(source.task, outcomes[name]) for name in stores},
        data={name: {"series": [_row(one) for one in outcomes[name]]} for name in stores},
        html=partial(_render_html, outcomes=outcomes),
        lines=tuple(
            f"{name}, volumes of {total} series: {_text(source.task, found)}" for name, found in outcomes.items()
        ),
    )


SECTION = Section("Volumes and atoms", _section_content)


def _summary(task: Task, found: list[Reconstruction]) -> "Summary":
    """Return mean and standard deviation of each score over the series."""
    values = {key: np.array([scores_of(one)[key] for one in found]) for key in scores_of(found[0])}
    return summarise(task, values, SCORES.__getitem__)


def _row(one: Reconstruction) -> dict[str, Any]:
    """Return the entry of one series in `metrics.json`."""
    finite = {key: value if math.isfinite(value) else None for key, value in scores_of(one).items()}
    return {"iterations": one.iterations, "width": one.width if math.isfinite(one.width) else None, **finite}


def _text(task: Task, found: list[Reconstruction]) -> str:
    """Return the mean scores in words."""
    parts = []
    for key, values in _summary(task, found).items():
        unit = "" if values["unit"] == "1" else f" {values['unit']}"
        parts.append(f"{key} {'undefined' if values['mean'] is None else f'{values["mean"]:.4g}{unit}'}")
    return ", ".join(parts)


def _render_html(result: "Result", outcomes: Outcomes) -> str:
    from inference.report.html import number, render  # imported here, because they load Matplotlib
    from inference.report.tables import ARROWS

    keys = list(scores_of(next(iter(outcomes.values()))[0]))
    titles = [number(f"{key}{_unit(key)} {ARROWS[SCORES[key].better]}") for key in keys]
    rows = [
        [
            name,
            *(number(_mean_text(_summary(result.task, found)[key])) for key in keys),
            number(", ".join(str(one.iterations) for one in found)),
        ]
        for name, found in outcomes.items()
    ]
    return render(
        "atoms.html",
        table=(["images", *titles, number("iterations")], rows),
        meanings={key: SCORES[key].about for key in keys},
        series=len(outcomes[RAW]),
        known=outcomes[RAW][0].atoms,
        reach=REACH,
        planes=_planes(outcomes),
    )


def _mean_text(values: dict[str, Any]) -> str:
    """Return the mean of a score in words; of several series, with its standard deviation."""
    from inference.report.tables import mean_and_deviation

    return mean_and_deviation(values) if values["n"] != 1 else f"{values['mean']:.4g}"


def _unit(key: str) -> str:
    return "" if SCORES[key].unit == "1" else f" [{SCORES[key].unit}]"


def _planes(outcomes: Outcomes) -> "Figure":
    """Draw the middle plane (z, x) of the volumes of the first series, in the grey scale of the best known one."""
    from inference.report.style import figure

    drawn = figure(2.2 * len(outcomes) + 0.3, 2.6, "compressed")
    axes = drawn.subplots(1, len(outcomes), squeeze=False)[0]
    reference = outcomes.get(EXACT, outcomes[RAW])[0].plane
    high = float(np.percentile(reference, 99.9))
    for axis, (name, found) in zip(axes, outcomes.items(), strict=True):
        axis.imshow(found[0].plane, cmap="gray", vmin=0, vmax=high, interpolation="nearest")
        axis.set(xticks=[], yticks=[], xlabel="x", ylabel="z")
        axis.set_title(name, fontsize=8)
        axis.grid(False)
    return drawn
