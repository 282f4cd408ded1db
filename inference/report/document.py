"""`report.html`: one file with all in it, for a browser or a phone; nothing is fetched from anywhere."""

import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from inference.contract import View
from inference.report import curves, details, sample_images, where
from inference.report.evaluation import CURVES, Evaluation, Result, Run
from inference.report.html import CSS, PAGE, Cell, image, paragraph, table, text
from inference.report.style import styled
from inference.report.tables import arrow, between, mean_and_deviation, ratio, ratio_error, unit_of
from schemas.publish import publish
from schemas.target_kinds import ranked
from schemas.task import Field

EXAMPLES = {"best 5 %": 0.05, "best quarter": 0.25, "median": 0.5, "worst quarter": 0.75, "worst 5 %": 0.95}
WORST = 8
EXTREME = 5  # best, and as many worst, of what follows from the targets
WIDE = 8.0  # inches: a figure that takes the whole width of the page
USELESS = 0.95  # of the error of a prediction of 0 everywhere


def write(found: Evaluation, folder: Path) -> None:
    """The report, whole or not at all."""
    publish(folder / "report.html", page(found).encode())


def page(found: Evaluation) -> str:
    """The report as HTML."""
    with styled():
        body = "\n".join(_sections(found))
    title = text(f"{found.main.task.name}: {', '.join(run.name for run in found.main.methods)}")
    return PAGE.format(title=title, css=CSS, body=body)


def _sections(found: Evaluation) -> Iterator[str]:
    main = found.main
    yield _head(found)
    if found.others:
        yield "<h2>Errors by split</h2>" + _by_split(found)
    for result in (main, *found.others):
        yield from _split(result, f", split {result.source.split}" if found.others else "", whole=result is main)
    yield "<h2>Methods</h2>" + details.methods(main)
    yield "<h2>Recipe of the dataset</h2>" + details.recipe(main)
    yield "<h2>Provenance</h2>" + details.provenance(found)


def _split(result: Result, of: str, *, whole: bool) -> Iterator[str]:
    """of: what tells its headings from those of other splits. whole: also what is no news of samples learned from."""
    yield f"<h2>Scores{of}</h2>" + _scores(result)
    for title, found in result.sections.items():
        yield f"<h2>{text(title)}{of}</h2>" + found.html(result)
    if whole and (best := where.section(result)):
        yield f"<h2>Where which method is best{of}</h2>" + best
    images = [field for field in result.task.of("target") if result.task.spatial(field)]
    for field in (field for field in result.task.of("target") if field not in images):
        drawn = image(curves.against_exact(result, field), "predicted against exact")
        yield f"<h2>Values{of}: {text(field.name)}</h2>" + drawn
    for field in images:
        yield f"<h2>Samples{of}: {text(field.name)}</h2>" + _examples(result, field)
    for view in result.report.views:
        yield f"<h2>Samples{of}: {text(view.name)}</h2>" + _viewed(result, view)
    yield f"<h2>Errors{of}</h2><div class=pair>" + "".join(_curves(result, whole=whole)) + "</div>"
    for field in images:
        yield f"<h2>The worst{of}: {text(field.name)}</h2>" + _worst(result, field)


def _head(found: Evaluation) -> str:
    result = found.main
    task, source = result.task, result.source
    said = f"{source.samples:,} samples of {source.path.name}, split {source.split}"
    beside = "".join(f"; beside it {one.source.split}, {one.source.samples:,} samples" for one in found.others)
    lines = [f"<h1>{text(task.about)}</h1>", paragraph(f"{task.name} {task.version}: {said}{beside}.", "quiet")]
    classical = [run for run in result.runs if run.predictions.kind == "classical" and run is not result.best]
    if words := [line for run in classical if (line := _compared(result, run))]:
        lines.append(paragraph(f"The mean error ({result.rank}) of {result.best.name} is {', '.join(words)}."))
        lines += [paragraph(said, "quiet")] if (said := _as_published(result, classical)) else []
    return "".join(lines)


def _by_split(found: Evaluation) -> str:
    """Errors of each method in each split beside one another, and their ratios."""
    main = found.main
    shown = {main.rank, main.published}
    keys = [key for key in main.summaries[main.runs[0].name] if key.rpartition(".")[2] in shown]
    names = [result.source.split for result in found.results]
    header: list[Cell] = ["method"]
    for key in keys:
        header += [(f"{key}, {name}", "number") for name in names]
        header += [(f"{main.source.split} / {other.source.split}", "number") for other in found.others]
    rows = [[run.name, *(cell for key in keys for cell in _errors_by_split(found, run, key))] for run in main.methods]
    return table(header, rows) + paragraph(
        "Mean ± standard deviation over samples; ratio of means ± standard error. Of a network, what the ratio of test "
        "to train lies above 1 is overfitted, as far as it does not for methods without training: they tell whether "
        "the samples of one split are harder.",
        "quiet",
    )


def _errors_by_split(found: Evaluation, run: Run, key: str) -> Iterator[Cell]:
    for result in found.results:
        values = result.summaries.get(run.name, {}).get(key)
        yield (mean_and_deviation(values) if values else "", "number")
    for other in found.others:
        pair = between(found.main, other, run.name, key)
        yield (f"{pair[0]:.3g} ± {pair[1]:.1g}" if pair else "", "number")


def _doubts(result: Result) -> Iterator[str]:
    if seen := "; ".join(run.predictions.seen for run in result.runs if run.predictions.seen):
        yield f"{seen}: these scores are no test"
    for run in result.runs:
        if count := result.broken(run):
            yield f"{count} predictions of {run.name} are not finite, and left out of its scores"
    means = [summary[result.rank]["mean"] for summary in result.summaries.values()]
    if not result.report.measures and all(mean is None or float(mean) > USELESS * result.zero for mean in means):
        yield "no method here does better than a prediction of 0 everywhere"


def _compared(result: Result, run: Run) -> str:
    share, error = ratio(result, result.best, run), ratio_error(result, result.best, run)
    doubt = f" ± {error:.1g}" if math.isfinite(error) else ""
    return f"{share:.3g}{doubt} of that of {run.name}" if share else ""


def _as_published(result: Result, classical: Sequence[Run]) -> str:
    """The same ratios before alignment; empty where they are the same."""
    key, name, hidden = result.published, result.best.name, ", ".join(result.task.gauge.free)
    shares = {run.name: ratio(result, result.best, run, key) for run in classical} if key else {}
    words = ", ".join(f"{share:.3g} of that of {other}" for other, share in shares.items() if share)
    aligned = f"Errors are compared after alignment, without what no measurement reveals ({hidden})"
    return f"{aligned}. As published, before alignment, the mean error ({key}) of {name} is {words}." if words else ""


def _scores(result: Result) -> str:
    keys = list(result.summaries[result.runs[0].name])
    first = result.summaries[result.runs[0].name]
    reference = result.reference
    extra = [f"{result.rank} / {reference.name}"] if reference else []
    numbers = [*(f"{key}{unit_of(first[key])} {arrow(result, key)}" for key in keys), *extra]
    header: list[Cell] = ["method", *((name, "number") for name in numbers)]
    best = {key: _best(result, key) for key in keys}
    rows = [_score_row(result, run, best) for run in result.runs]
    meanings = [f"{key}: {result.report.meaning(key).about}" for key in keys if "." not in key]
    note = "Mean ± standard deviation over samples; ↓ less is better, ↑ more is better. " + "; ".join(meanings) + "."
    beside = f", nrms_aligned {result.zero:.3g}" if result.published else ""
    note += f" A prediction of 0 everywhere has nrms 1{beside}." if "nrms" in keys else ""
    beware = "".join(paragraph(f"Beware: {line}.") for line in _doubts(result))
    return table(header, rows) + beware + paragraph(note, "quiet")


def _score_row(result: Result, run: Run, best: dict[str, str]) -> list[Cell]:
    row: list[Cell] = [run.name]
    for key, values in result.summaries[run.name].items():
        row.append((mean_and_deviation(values), "number best" if best[key] == run.name else "number"))
    if result.reference:
        share = ratio(result, run, result.reference)
        row.append((f"{share:.3g}" if share is not None else "undefined", "number"))
    return row


def _best(result: Result, key: str) -> str:
    """The run with the best mean."""
    sign = 1 if result.report.meaning(key).better == "lower" else -1
    means = {name: summary[key]["mean"] for name, summary in result.summaries.items()}
    defined = {name: sign * float(mean) for name, mean in means.items() if mean is not None}
    return min(defined, key=lambda name: defined[name]) if defined and len(means) > 1 else ""


def _examples(result: Result, field: Field) -> str:
    errors = _errors(result, field)
    indices = sample_images.choices(errors, list(EXAMPLES.values()))
    names = [f"{name}\n{result.source.named(i)}" for name, i in zip(EXAMPLES, indices, strict=False)]
    drawn = image(sample_images.samples(result, field, indices, names), "input, exact, methods, errors", wide=True)
    note = (
        f"Samples at five places of the ranking by {result.best.name}. Predictions are shown in the gauge of the "
        f"exact image (what no measurement can reveal is taken from it), with their {_ranking(result, field)}."
    )
    return drawn + paragraph(note, "quiet")


def _viewed(result: Result, view: View) -> str:
    """The best and the worst of what follows from the targets."""
    order = sample_images.ranking(result.scores[result.best.name][result.rank])
    best, worst = order[:EXTREME], order[::-1][:EXTREME]
    names = [f"{place}\n{result.source.named(i)}" for place, part in (("best", best), ("worst", worst)) for i in part]
    drawn = image(sample_images.samples(result, view, [*best, *worst], names), view.name, wide=True)
    note = f"The {len(best)} best and worst by {result.rank} of {result.best.name}, which stands in each picture."
    return drawn + paragraph(note, "quiet")


def _worst(result: Result, field: Field) -> str:
    errors = _errors(result, field)
    indices = sample_images.ranking(-errors)[:WORST]
    drawn = image(
        sample_images.samples(result, field, indices, [result.source.named(i) for i in indices]), "worst", wide=True
    )
    return drawn + paragraph(f"The largest {_ranking(result, field)} of {result.best.name}.", "quiet")


def _errors(result: Result, field: Field) -> np.ndarray:
    """Of the best method, by which samples are ranked."""
    return result.scores[result.best.name][_ranking(result, field)]


def _ranking(result: Result, field: Field) -> str:
    """The score by which samples are ranked: the task's own, or that of the field."""
    if result.report.measures:
        return result.rank
    return ranked(result.task, field)


def _curves(result: Result, *, whole: bool) -> Iterator[str]:
    correlated = (
        f"Fourier ring correlation with the exact image, mean of {min(CURVES, result.source.samples):,} samples."
    )
    captions: dict[Callable[[Result], Figure | None], str] = {
        curves.histogram: "Errors of all samples.",
        **{partial(curves.histogram, key=key): f"{key} of all samples." for key in result.report.histograms},
        curves.against_parameters: "Error against parameters of the samples, in equally filled bins.",
        curves.ring_correlation: correlated,
        curves.cost: "Time against error. Inversion alone, in batches, without the first; hardware: see below.",
        **({curves.learning: "Learning curves."} if whole else {}),
    }
    for draw, caption in captions.items():
        if (drawn := draw(result)) is not None:
            wide = " class=whole" if drawn.get_figwidth() > WIDE else ""
            yield f"<div{wide}>{image(drawn, caption)}{paragraph(caption, 'quiet')}</div>"
