"""Where which method is best, for a report: in words, as a table, as maps of two parameters."""

from collections.abc import Iterator, Sequence
from itertools import groupby

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from inference.evaluation import Result
from inference.html import Cell, image, paragraph, table
from inference.regions import CONFIDENCE, LEAST, Region, Span, regions, title
from inference.style import colour, figure, plain, unit

CLEAR, UNCLEAR = 0.55, 0.15  # opacity of a cell
LETTERS = 15  # that fit into a cell


def section(result: Result) -> str:
    """All of it; empty if no parameter varies, or no method has enough scores."""
    found = regions(result)
    alone = [region for region in found if len(region.spans) == 1]
    pairs = [region for region in found if len(region.spans) == 2 and region.best]
    if not any(region.best for region in alone):
        return ""
    parts = [list(part) for _, part in groupby(alone, lambda region: [*region.spans])]
    words = [paragraph(sentence(result, part)) for part in parts] if len(result.runs) > 1 else []
    return "".join([*words, _table(result, alone), _note(result, alone), _mapped(result, pairs) if pairs else ""])


def sentence(result: Result, part: Sequence[Region]) -> str:
    """The winners along one parameter: `By noise, least mean error: unet at low and middle values (...); ...`."""
    name = next(iter(part[0].spans))
    runs = [(winner, [r.spans[name] for r in found]) for winner, found in groupby(part, _winner)]
    if len(runs) == 1:
        return f"By {title(result.task[name])}, least mean error: {runs[0][0]} throughout."
    said = [f"{winner} at {_between(result, name, spans)}" for winner, spans in runs]
    return f"By {title(result.task[name])}, least mean error: {'; '.join(said)}."


def _winner(region: Region) -> str:
    lead = region.lead
    if not region.best:
        return "too few scores"
    return region.best if lead is None or lead.clear else f"no clear winner ({region.best} or {lead.second})"


def _between(result: Result, name: str, spans: Sequence[Span]) -> str:
    return f"{' and '.join(span.name for span in spans)} values ({_range(result, name, spans)})"


def _range(result: Result, name: str, spans: Sequence[Span]) -> str:
    """As `0.001 to 0.07 nm`."""
    units = result.task[name].units
    return _ends(spans[0].low, spans[-1].high) + ("" if units == "1" else f" {units}")


def _ends(low: float, high: float, separator: str = " to ") -> str:
    first, last = _digits(low), _digits(high)
    return first if first == last else f"{first}{separator}{last}"


def _digits(value: float) -> str:
    """Three, and no power of ten up to 999,000.

    >>> _digits(12345.6)
    '12300'
    """
    return f"{float(f'{value:.3g}'):g}"


def _table(result: Result, alone: Sequence[Region]) -> str:
    names = [run.name for run in result.runs]
    numbers = ("from", "to", "samples", *names)
    header: list[Cell] = ["parameter", "values", *((name, "number") for name in numbers)]
    return table([*header, "lead"] if len(names) > 1 else header, _rows(result, alone, names))


def _rows(result: Result, alone: Sequence[Region], names: Sequence[str]) -> Iterator[list[Cell]]:
    """The parameter stands in the first row of its own."""
    last = ""
    for region in alone:
        ((name, span),) = region.spans.items()
        means = [(_means(region, method), _class(region, method)) for method in names]
        ends: list[Cell] = [(_digits(value), "number") for value in (span.low, span.high)]
        where: list[Cell] = [
            "" if name == last else _axis(result, name),
            span.name,
            *ends,
            (str(region.samples), "number"),
        ]
        yield [*where, *means, *([_ahead(region)] if len(names) > 1 else [])]
        last = name


def _means(region: Region, name: str) -> str:
    """As `0.116 (0.398)`: after alignment, and in brackets as published."""
    if name not in region.means:
        return "undefined"
    beside = f" ({region.published[name]:.4g})" if name in region.published else ""
    return f"{region.means[name]:.4g}{beside}"


def _axis(result: Result, name: str) -> str:
    """A parameter and its unit."""
    return f"{title(result.task[name])}{unit(result.task[name].units)}"


def _class(region: Region, name: str) -> str:
    return "number best" if name == region.best and len(region.means) > 1 else "number"


def _ahead(region: Region) -> str:
    lead = region.lead
    if lead is None:
        return ""
    doubt = "" if lead.clear else ": no clear difference"
    return f"{lead.mean:.2g} ± {lead.error:.1g} ({lead.second}){doubt}"


def _note(result: Result, alone: Sequence[Region]) -> str:
    about = "; ".join(f"{name}: {result.task[name].about}" for name in dict.fromkeys(n for r in alone for n in r.spans))
    beside = f", in brackets {result.published}, as published," if result.published else ""
    return paragraph(
        f"Mean {result.rank}{beside} of the samples in thirds of each parameter. Ahead: mean difference to the second, "
        f"sample by sample, ± its standard error; clear if Student's test for pairs says so with {CONFIDENCE:.0%} in "
        f"this one region (of many, a few will by chance). Fewer than {LEAST} scores have no mean. {about}.",
        "quiet",
    )


def _mapped(result: Result, pairs: Sequence[Region]) -> str:
    caption = (
        f"The best method and its mean {result.rank}; pale: no clear difference to the second; empty: no method has "
        f"{LEAST} scores there."
    )
    return image(_maps(result, pairs), "the best method by two parameters", wide=True) + paragraph(caption, "quiet")


def _maps(result: Result, pairs: Sequence[Region]) -> Figure:
    """A map for each pair of parameters."""
    found = {names: list(cells) for names, cells in groupby(pairs, lambda region: tuple(region.spans))}
    drawn = figure(3.6 * max(len(found), 2), 3.2)
    axes = drawn.subplots(1, max(len(found), 2), squeeze=False)[0]
    for axis in axes[len(found) :]:
        axis.set_axis_off()
    for axis, (names, cells) in zip(axes, found.items(), strict=False):
        _map(axis, result, names, cells)
    return drawn


def _map(axis: Axes, result: Result, names: tuple[str, ...], cells: Sequence[Region]) -> None:
    """Low values at the lower left."""
    across, along = ([*dict.fromkeys(cell.spans[name] for cell in cells)] for name in names)
    across, along = (sorted(spans, key=lambda span: span.low) for spans in (across, along))
    for cell in cells:
        _cell(axis, result, cell, across.index(cell.spans[names[0]]), along.index(cell.spans[names[1]]))
    for side, spans, name in (("x", across, names[0]), ("y", along, names[1])):
        labels = [f"{span.name}:\n{_ends(span.low, span.high, ' to\n')}" for span in spans]
        ends = {f"{side}lim": (-0.5, len(spans) - 0.5), f"{side}ticks": range(len(spans)), f"{side}ticklabels": labels}
        axis.set(**ends, **{f"{side}label": _axis(result, name)})
    axis.tick_params(length=0, labelsize=7)
    axis.grid(False)


def _cell(axis: Axes, result: Result, region: Region, x: int, y: int) -> None:
    run = next(run for run in result.runs if run.name == region.best)
    opacity = CLEAR if region.lead and region.lead.clear else UNCLEAR
    axis.add_patch(Rectangle((x - 0.5, y - 0.5), 1, 1, facecolor=colour(result, run), alpha=opacity, edgecolor="w"))
    name = run.name if len(run.name) <= LETTERS else run.name[: LETTERS - 1] + "…"
    axis.text(x, y, f"{plain(name)}\n{region.means[region.best]:.3g}", ha="center", va="center", fontsize=7.5)
