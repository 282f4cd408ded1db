"""Whole scans in a report: what the stitched images of each method are worth, in tables and figures."""

from collections.abc import Iterator

from inference.report.evaluation import Result
from inference.report.html import Cell, image, paragraph, table
from inference.report.style import unit
from inference.report.tables import mean_and_deviation
from inference.stitching import figures
from inference.stitching.compare import SCANNED, SIDE, Outcome, WholeScans

LISTED = 60  # rows of a table, at most; metrics.json has all
ARROWS = {"lower": "↓", "higher": "↑"}


def html(result: Result, scans: WholeScans) -> str:
    """All of it."""
    return "".join(_parts(result, scans))


def _parts(result: Result, scans: WholeScans) -> Iterator[str]:
    yield _means(scans) + _note(scans) + _origin(scans)
    for name, reason in scans.failed.items():
        yield paragraph(f"Beware: no images of {name}: {reason}.")
    if (drawn := figures.pictures(result, scans)) is not None:
        mean = ", with the object's mean" if scans.how.free else ""
        about = (
            f"The middle of the images, {SIDE} pixels of the object at most along each side{mean}; "
            "grey levels are those of the object."
        )
        yield image(drawn, "object and stitched images", wide=True) + paragraph(about, "quiet")
    if (drawn := figures.correlations(result, scans)) is not None:
        about = (
            "Fourier ring correlation of image and object, with the thresholds. Points: rings in which a correlation "
            "may end; in others the object has no power, or the window lets its mean in."
        )
        yield image(drawn, "ring correlations of whole scans", wide=True) + paragraph(about, "quiet")
    if (drawn := figures.against_scales(result, scans)) is not None:
        about = "; ".join(f"{scale.name}: {scale.about}" for scale in scans.varying)
        yield image(drawn, "scores of whole scans", wide=True) + paragraph(f"A point is a scan. {about}.", "quiet")
    if len(scans.numbers) > 1:
        yield _each(scans)


def _means(scans: WholeScans) -> str:
    """A row per method."""
    header: list[Cell] = ["method", *((_title(scans, key), "number") for key in SCANNED)]
    return table(header, ([name, *((_mean(scans, name, key), "number") for key in SCANNED)] for name in scans.outcomes))


def _mean(scans: WholeScans, name: str, key: str) -> str:
    values = scans.summary(name)[key]
    said = mean_and_deviation(values) if values["n"] != 1 else f"{values['mean']:.4g}"
    return said + _lengths(scans, name, key)


def _title(scans: WholeScans, key: str) -> str:
    meaning = scans.meaning(key)
    return f"{key}{unit(meaning.unit)} {ARROWS[meaning.better]}"


def _lengths(scans: WholeScans, name: str, key: str) -> str:
    """Of a mean frequency, the resolution."""
    mean = float(scans.summary(name)[key]["mean"] or 0)
    return f" ({1 / mean:.3g} nm)" if scans.meaning(key).unit == "1/nm" and mean > 0 else ""


def _note(scans: WholeScans) -> str:
    count = len(scans.numbers)
    known = {scale.name: scale for scale in scans.how.scales if scale.name in scans.scales}
    same = [
        f"{name} {scans.scales[name][0]:.3g}{unit(scale.units).replace('[', '').replace(']', '')} ({scale.about})"
        for name, scale in known.items()
        if scale not in scans.varying
    ]
    said = f"{count:,} scan{'s' if count > 1 else ''}{': ' if same else ''}{', '.join(same)}. "
    spread = "Mean ± standard deviation over scans; in brackets 1 / mean frequency. " if count > 1 else ""
    meanings = "; ".join(f"{key}: {scans.meaning(key).about}" for key in SCANNED)
    how = "stitched by least squares" if scans.how.free else "averaged"
    compared = f"Patches are {how} and compared in a rectangle that the image fills, under Hann's window."
    return paragraph(f"{said}{spread}{meanings}. {compared}", "quiet")


def _origin(scans: WholeScans) -> str:
    """Say whether `infer --stitch` stored the images, or they were stitched for this report."""
    stored = [f"{name} ({store.name})" for name, store in scans.stored.items() if store]
    anew = [name for name, store in scans.stored.items() if not store]
    said = [f"Images of {', '.join(stored)} are those that infer --stitch has stored."] if stored else []
    said += [f"Images of {', '.join(anew)} were stitched for this report."] if anew else []
    return paragraph(" ".join(said), "quiet")


def _each(scans: WholeScans) -> str:
    """A row per scan and method."""
    varying = [(f"{scale.name}{unit(scale.units)}", "number") for scale in scans.varying]
    numbers = [(name, "number") for name in ("patches", *(_title(scans, key) for key in SCANNED))]
    rows = [
        [*_about(scans, row), name, *_numbers(outcomes[row])]
        for row in range(len(scans.numbers))
        for name, outcomes in scans.outcomes.items()
    ]
    more = paragraph(f"{len(rows) - LISTED} more rows are in metrics.json.", "quiet") if len(rows) > LISTED else ""
    return table(["scan", *varying, "method", *numbers], rows[:LISTED]) + more


def _about(scans: WholeScans, row: int) -> list[Cell]:
    values = [scans.scales[scale.name][row] for scale in scans.varying]
    return [str(scans.numbers[row]), *((f"{value:.3g}", "number") for value in values)]


def _numbers(one: Outcome) -> Iterator[Cell]:
    lost = f" ({one.stitched.left_out:,} left out)" if one.stitched.left_out else ""
    yield f"{one.stitched.patches:,}{lost}", "number"
    for value in one.scores.values():
        yield ("undefined" if value is None else f"{value:.4g}"), "number"
