"""`report.html`: one file with all in it, for a browser or a phone; nothing is fetched from anywhere."""

import math
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from inference import details, figures, pictures
from inference.evaluation import CURVES, Result, Run
from inference.html import CSS, PAGE, Cell, image, paragraph, table, text
from inference.style import styled
from inference.tables import arrow, mean_and_deviation, metric_of, ratio, ratio_error, unit_of
from schemas.core import Field
from schemas.objects import publish

EXAMPLES = {"best 5 %": 0.05, "best quarter": 0.25, "median": 0.5, "worst quarter": 0.75, "worst 5 %": 0.95}
WORST = 8


def write(result: Result, folder: Path) -> None:
    """The report, whole or not at all."""
    publish(folder / "report.html", page(result).encode())


def page(result: Result) -> str:
    """The report as HTML."""
    with styled():
        body = "\n".join(_sections(result))
    title = text(f"{result.task.name}: {', '.join(run.name for run in result.runs)}")
    return PAGE.format(title=title, css=CSS, body=body)


def _sections(result: Result) -> Iterator[str]:
    yield _head(result)
    yield "<h2>Scores</h2>" + _scores(result)
    for field in result.task.of("target"):
        yield f"<h2>Samples: {text(field.name)}</h2>" + _examples(result, field)
    yield "<h2>Errors</h2><div class=pair>" + "".join(_curves(result)) + "</div>"
    for field in result.task.of("target"):
        yield f"<h2>The worst: {text(field.name)}</h2>" + _worst(result, field)
    yield "<h2>Methods</h2>" + details.methods(result)
    yield "<h2>Recipe of the dataset</h2>" + details.recipe(result)
    yield "<h2>Provenance</h2>" + details.provenance(result)


def _head(result: Result) -> str:
    task, source = result.task, result.source
    said = f"{source.samples:,} samples of {source.path.name}, split {source.split}"
    lines = [f"<h1>{text(task.about)}</h1>", paragraph(f"{task.name} {task.version}: {said}.", "quiet")]
    classical = [run for run in result.runs if run.predictions.kind == "classical" and run is not result.best]
    words = [line for run in classical if (line := _compared(result, run))]
    if words:
        lines.append(paragraph(f"The mean error (nrms) of {result.best.name} is {', '.join(words)}."))
    return "".join(lines)


def _doubts(result: Result, run: Run) -> Iterator[str]:
    if run.predictions.seen:
        yield f"{run.predictions.seen}: these scores are no test"
    if count := result.broken(run):
        yield f"{count} predictions of {run.name} are not finite, and left out of its scores"


def _compared(result: Result, run: Run) -> str:
    share, error = ratio(result, result.best, run), ratio_error(result, result.best, run)
    doubt = f" ± {error:.1g}" if math.isfinite(error) else ""
    return f"{share:.3g}{doubt} of that of {run.name}" if share else ""


def _scores(result: Result) -> str:
    keys = list(result.summaries[result.runs[0].name])
    first = result.summaries[result.runs[0].name]
    reference = result.reference
    extra = [f"nrms / {reference.name}"] if reference else []
    numbers = [*(f"{key}{unit_of(first[key])} {arrow(key)}" for key in keys), *extra]
    header: list[Cell] = ["method", *((name, "number") for name in numbers)]
    best = {key: _best(result, key) for key in keys}
    rows = [_score_row(result, run, best) for run in result.runs]
    meanings = [f"{key}: {metric_of(key).about}" for key in keys if "." not in key]
    note = "Mean ± standard deviation over samples; ↓ less is better, ↑ more is better. " + "; ".join(meanings) + "."
    beware = "".join(paragraph(f"Beware: {line}.") for run in result.runs for line in _doubts(result, run))
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
    sign = 1 if metric_of(key).better == "lower" else -1
    means = {name: summary[key]["mean"] for name, summary in result.summaries.items()}
    defined = {name: sign * float(mean) for name, mean in means.items() if mean is not None}
    return min(defined, key=lambda name: defined[name]) if defined and len(means) > 1 else ""


def _examples(result: Result, field: Field) -> str:
    errors = _errors(result, field)
    indices = pictures.choices(errors, list(EXAMPLES.values()))
    names = [f"{name}\nsample {i}" for name, i in zip(EXAMPLES, indices, strict=False)]
    drawn = image(pictures.samples(result, field, indices, names), "input, exact, methods, errors", wide=True)
    note = (
        f"Samples at five places of the ranking by {result.best.name}. Predictions are shown in the gauge of the "
        "exact image (what no measurement can reveal is taken from it), with their nrms_aligned."
    )
    return drawn + paragraph(note, "quiet")


def _worst(result: Result, field: Field) -> str:
    errors = _errors(result, field)
    indices = pictures.ranking(-errors)[:WORST]
    drawn = image(pictures.samples(result, field, indices, [f"sample {i}" for i in indices]), "worst", wide=True)
    return drawn + paragraph(f"The largest nrms_aligned of {result.best.name}.", "quiet")


def _errors(result: Result, field: Field) -> np.ndarray:
    """Of the best method, by which samples are ranked."""
    first = field.name == result.task.of("target")[0].name
    return result.scores[result.best.name]["nrms_aligned" if first else f"{field.name}.nrms_aligned"]


def _curves(result: Result) -> Iterator[str]:
    correlated = (
        f"Fourier ring correlation with the exact image, mean of {min(CURVES, result.source.samples):,} samples."
    )
    captions: dict[Callable[[Result], Figure | None], str] = {
        figures.histogram: "Errors of all samples.",
        figures.against_parameters: "Error against parameters of the samples, in equally filled bins.",
        figures.ring_correlation: correlated,
        figures.cost: "Time against error. Inversion alone, in batches, without the first; hardware: see below.",
        figures.learning: "Learning curves.",
    }
    for draw, caption in captions.items():
        if (drawn := draw(result)) is not None:
            yield f"<div>{image(drawn, caption)}{paragraph(caption, 'quiet')}</div>"
