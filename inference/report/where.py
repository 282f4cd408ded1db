"""The table of a report that says which method is best where."""

from inference.report.evaluation import Result
from inference.report.html import Cell, paragraph, table
from inference.report.regions import CONFIDENCE, LEAST, Region, regions, title
from inference.report.style import unit


def section(result: Result) -> str:
    """The table and its note; empty if no parameter varies, or no method has enough scores."""
    found, names = regions(result), [run.name for run in result.runs]
    if not any(region.best for region in found):
        return ""
    numbers: list[Cell] = [(name, "number") for name in ("from", "to", "samples", *names)]
    header = ["parameter", *numbers, *(["least mean error"] if len(names) > 1 else [])]
    about = "; ".join(f"{name}: {result.task[name].about}" for name in dict.fromkeys(one.parameter for one in found))
    return table(header, (_row(result, region, names) for region in found)) + paragraph(
        f"Mean {result.rank} of the samples in thirds of each parameter. A method is named as the best where Student's "
        f"test for pairs says so with {CONFIDENCE:.0%} in this one region (of many, a few will by chance). Fewer than "
        f"{LEAST} scores have no mean. {about}.",
        "quiet",
    )


def _row(result: Result, region: Region, names: list[str]) -> list[Cell]:
    numbers = [f"{float(f'{value:.3g}'):g}" for value in (region.low, region.high)]  # 12300, not 1.23e+04
    means = [f"{region.means[name]:.4g}" if name in region.means else "undefined" for name in names]
    cells: list[Cell] = [(number, "number") for number in (*numbers, str(region.samples), *means)]
    best = [_best(region)] if len(names) > 1 else []
    return [f"{title(result.task[region.parameter])}{unit(region.unit)}", *cells, *best]


def _best(region: Region) -> str:
    if region.best is None:
        return "too few scores"
    return region.best if region.clear or len(region.means) == 1 else "no clear difference"
