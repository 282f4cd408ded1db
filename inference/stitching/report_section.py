"""Write the section of a report on whole scans: tables and figures of the quality of stitched images."""

from collections.abc import Sequence

from markupsafe import Markup

from inference.report.evaluation import Result
from inference.report.html import Cell, Table, number, render
from inference.report.style import unit
from inference.report.tables import ARROWS, mean_and_deviation
from inference.stitching import figures
from inference.stitching.comparison import MAX_SIDE, SCAN_SCORES, StitchedScan, WholeScans

MAX_ROWS = 60  # maximum number of rows of a table; metrics.json holds all


def html(result: Result, scans: WholeScans) -> Markup:
    """Return the section as HTML, whose order and prose are in `templates/scans.html`.

    Args:
        result: the scores of the split.
        scans: all scans of the split.
    """
    return render(
        "scans.html",
        scans=scans,
        means=_mean_table(scans),
        same=_constant_scales(scans),
        scored=list(SCAN_SCORES),
        stored=[f"{name} ({store.name})" for name, store in scans.stored.items() if store],
        anew=[name for name, store in scans.stored.items() if not store],
        pictures=figures.pictures(result, scans),
        correlations=figures.correlations(result, scans),
        along=figures.against_scales(result, scans),
        each=_scan_table(scans),
        side=MAX_SIDE,
        listed=MAX_ROWS,
    )


def _mean_table(scans: WholeScans) -> Table:
    """Return a table of mean scores, one row per method."""
    rows = [[name, *(number(_mean_text(scans, name, key)) for key in SCAN_SCORES)] for name in scans.outcomes]
    return ["method", *_score_titles(scans)], rows


def _score_titles(scans: WholeScans) -> list[Cell]:
    meanings = {key: scans.meaning(key) for key in SCAN_SCORES}
    return [number(f"{key}{unit(one.unit)} {ARROWS[one.better]}") for key, one in meanings.items()]


def _mean_text(scans: WholeScans, name: str, key: str) -> str:
    """Return the mean of a score over scans in words; for a frequency, also the resolution."""
    values = scans.summary(name)[key]
    said = mean_and_deviation(values) if values["n"] != 1 else f"{values['mean']:.4g}"
    mean = float(values["mean"] or 0)
    return f"{said} ({1 / mean:.3g} nm)" if values["unit"] == "1/nm" and mean > 0 else said


def _constant_scales(scans: WholeScans) -> list[str]:
    """Return in words the quantities in which scans do not differ."""
    known = [scale for scale in scans.how.scales if scale.name in scans.scales and scale not in scans.varying]
    return [f"{figures.scale_text(scans, scale, 0)} ({scale.about})" for scale in known]


def _scan_table(scans: WholeScans) -> tuple[Sequence[Cell], list[Sequence[Cell]]]:
    """Return a table of scores, one row per scan and method."""
    header = ["scan", *(number(f"{scale.name}{unit(scale.units)}") for scale in scans.varying), "method"]
    rows: list[Sequence[Cell]] = []
    for row, scan in enumerate(scans.numbers):
        about = [str(scan), *(number(f"{scans.scales[scale.name][row]:.3g}") for scale in scans.varying)]
        rows += [[*about, name, *_scan_cells(outcomes[row])] for name, outcomes in scans.outcomes.items()]
    return [*header, number("patches"), *_score_titles(scans)], rows


def _scan_cells(one: StitchedScan) -> list[Cell]:
    lost = f" ({one.stitched.left_out:,} left out)" if one.stitched.left_out else ""
    values = ["undefined" if value is None else f"{value:.4g}" for value in one.scores.values()]
    return [number(text) for text in (f"{one.stitched.patches:,}{lost}", *values)]
