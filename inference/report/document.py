"""Make `report.html`, a single file for a browser or a phone that contains all figures and loads nothing else."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial

import numpy as np
from matplotlib.figure import Figure

from inference.contract import View
from inference.report import figures, provenance, sample_images
from inference.report.errors_by_parameter import bin_numbers, parameter_title, regions, varying_parameters
from inference.report.evaluation import MAX_CURVES, Evaluation, Result, ScoredPredictions
from inference.report.html import Cell, Table, mark_lowest, number, render
from inference.report.style import styled, three_digits, unit
from inference.report.tables import arrow, mean_and_deviation, ratio, ratio_of_splits, unit_of
from schemas.runtime.terminal import count_text
from schemas.target_kinds import ranking_key
from schemas.task import Field

EXAMPLE_PLACES = {"best 5 %": 0.05, "best quarter": 0.25, "median": 0.5, "worst quarter": 0.75, "worst 5 %": 0.95}
MAX_WORST = 8
MAX_EXTREMES = 5  # number of best samples that are drawn, and number of worst samples
MAX_HALF_WIDTH = 8.0  # figures that are wider [inch] fill the whole width of the page
USELESS_SHARE = 0.95  # share of the error of predicting 0 everywhere; methods with larger errors are no better


def page(found: Evaluation) -> str:
    """Return the report as HTML, whose order and prose are in `templates/report.html`."""
    functions = (by_region, by_split, comparison, curves, doubts, examples, extremes, meanings, parameters, ranking)
    named = {function.__name__: function for function in (*functions, scores, worst)}
    with styled():
        return render("report.html", found=found, details=provenance, figures=figures, wide=MAX_HALF_WIDTH, **named)


def by_split(evaluation: Evaluation) -> Table:
    """Return a table of the mean errors of each method in each split, and of their ratios."""
    main = evaluation.main
    shown = {main.rank, main.published}
    keys = [key for key in main.summaries[main.stores[0].name] if key.rpartition(".")[2] in shown]
    splits = [result.source.split for result in evaluation.results]
    shares = [f"{main.source.split} / {other.source.split}" for other in evaluation.others]
    header = [text for key in keys for text in (*(f"{key}, {split}" for split in splits), *shares)]
    cells = {
        store.name: [cell for key in keys for cell in _split_cells(evaluation, store, key)] for store in main.methods
    }
    return ["method", *map(number, header)], [[name, *map(number, row)] for name, row in cells.items()]


def _split_cells(found: Evaluation, store: ScoredPredictions, key: str) -> Iterator[str]:
    for result in found.results:
        values = result.summaries.get(store.name, {}).get(key)
        yield mean_and_deviation(values) if values else ""
    for other in found.others:
        pair = ratio_of_splits(found.main, other, store.name, key)
        yield f"{pair[0]:.3g} ± {pair[1]:.1g}" if pair else ""


def doubts(result: Result) -> Iterator[str]:
    """Yield the reasons to doubt the scores of a split, as warnings for the reader of the report."""
    if warnings := "; ".join(store.metadata.seen for store in result.stores if store.metadata.seen):
        yield f"{warnings}; these scores are not an independent test"
    if result.data_range is not None:
        yield f"psnr and ssim are those of a range of values of {result.data_range:g}, as it was given"
    for store in result.stores:
        if count := result.count_not_finite(store):
            yield f"{store.name}: scores leave out {count_text(count, 'prediction')} with NaN or infinite values"
    means = [summary[result.rank]["mean"] for summary in result.summaries.values()]
    if not result.report.ranks and all(mean is None or float(mean) > USELESS_SHARE * result.zero for mean in means):
        yield "no method does better than a prediction of 0 everywhere"


def comparison(result: Result, key: str | None) -> str:
    """Return in words the mean error of the best method relative to those of the other classical methods.

    Args:
        result: the scores of one split.
        key: the score that is compared; None: an empty text is returned.
    """
    others = [store for store in result.stores if store.metadata.kind == "classical" and store is not result.best]
    shares = {store.name: ratio(result, result.best, store, key) for store in others} if key else {}
    return ", ".join(f"{one[0]:.3g} ± {one[1]:.1g} times that of {name}" for name, one in shares.items() if one)


def scores(result: Result) -> Table:
    """Return a table of all scores of all methods, with the best in bold."""
    summaries, reference = result.summaries, result.reference
    keys = list(summaries[result.best.name])
    numbers = [f"{key}{unit_of(summaries[result.best.name][key])} {arrow(result, key)}" for key in keys]
    numbers += [f"{result.rank} / {reference.name}"] if reference else []
    columns = [_score_column(result, key) for key in keys]
    if reference:
        shares = [ratio(result, store, reference, result.rank) for store in result.stores]
        columns.append([number(f"{share[0]:.3g}" if share else "undefined") for share in shares])
    return ["method", *map(number, numbers)], zip([store.name for store in result.stores], *columns, strict=True)


def _score_column(result: Result, key: str) -> list[Cell]:
    """Return one column of the table of scores."""
    sign = 1 if result.report.meaning(key).better == "lower" else -1
    values = [result.summaries[store.name][key] for store in result.stores]
    means = [None if one["mean"] is None else sign * float(one["mean"]) for one in values]
    return mark_lowest([mean_and_deviation(one) for one in values], means)


def meanings(result: Result) -> list[tuple[str, str]]:
    """Return the scores of a report, each with its meaning."""
    keys = [key for key in result.summaries[result.best.name] if "." not in key]
    return [(key, result.report.meaning(key).about) for key in keys]


def by_region(result: Result) -> list[Sequence[Cell]]:
    """Return header and rows of the table of errors by range of parameters; empty if no parameter varies.

    The lowest error of each row is bold.
    """
    shown, names = regions(result), [store.name for store in result.stores]
    rows: list[Sequence[Cell]] = []
    for region in shown:
        ends = [number(three_digits(value)) for value in (region.low, region.high)]
        means = [region.means[name] for name in names]
        cells = mark_lowest(["undefined" if mean is None else f"{mean:.4g}" for mean in means], means)
        name = f"{parameter_title(result.task[region.parameter])}{unit(region.unit)}"
        rows.append([name, *ends, number(str(region.samples)), *cells])
    return [["parameter", *map(number, ("from", "to", "samples", *names))], *rows] if rows else []


def parameters(result: Result) -> list[tuple[str, str]]:
    """Return the parameters in the table of errors by range, each with its meaning."""
    names = dict.fromkeys(one.parameter for one in regions(result))
    return [(name, result.task[name].about) for name in names]


def examples(result: Result, field: Field) -> Figure:
    """Draw samples from some places, such as the median, in the ranking by the error of the best method.

    Args:
        result: the scores of one split.
        field: the target that is drawn.
    """
    chosen = sample_images.choose_samples(_best_errors(result, field), list(EXAMPLE_PLACES.values()))
    return _draw_samples(result, field, chosen, list(EXAMPLE_PLACES))


def extremes(result: Result, view: View) -> Figure:
    """Draw a view for the samples with the lowest and the highest error of the best method.

    Args:
        result: the scores of one split.
        view: the image computed from the targets that is drawn.
    """
    order = sample_images.rank_samples(result.scores[result.best.name][result.rank])
    best, worst = order[:MAX_EXTREMES], order[::-1][:MAX_EXTREMES]
    return _draw_samples(result, view, [*best, *worst], ["best"] * len(best) + ["worst"] * len(worst))


def worst(result: Result, field: Field) -> Figure:
    """Draw the samples with the largest errors of the best method.

    Args:
        result: the scores of one split.
        field: the target that is drawn.
    """
    return _draw_samples(result, field, sample_images.rank_samples(-_best_errors(result, field))[:MAX_WORST])


def _draw_samples(result: Result, target: Field | View, chosen: Sequence[int], places: Sequence[str] = ()) -> Figure:
    names = [result.source.row_text(index) for index in chosen]
    names = [f"{place}\n{name}" for place, name in zip(places, names, strict=False)] or names
    return sample_images.draw_samples(result, target, chosen, names)


def _best_errors(result: Result, field: Field) -> np.ndarray:
    """Return the errors (sample,) of the best method, by which samples are ranked."""
    return result.scores[result.best.name][ranking(result, field)]


def ranking(result: Result, field: Field) -> str:
    """Return the key of the score by which samples are ranked.

    Args:
        result: the scores of one split.
        field: the target whose score is used, unless the task has its own scores.
    """
    return result.rank if result.report.ranks else ranking_key(result.task, field)


def curves(result: Result, whole: bool) -> Iterator[tuple[Figure, str]]:
    """Yield the plots of errors that can be drawn, each with its caption.

    Args:
        result: the scores of one split.
        whole: False leaves out the learning curves, which the section of the main split shows.
    """
    averaged = count_text(min(MAX_CURVES, result.source.samples), "sample")
    captions: dict[Callable[[Result], Figure | None], str] = {
        figures.histogram: "Histogram of the errors of all samples.",
        **{
            partial(figures.histogram, key=key): f"Histogram of {key} of all samples."
            for key in result.report.histograms
        },
        **{
            partial(figures.along_parameter, name=name, values=values): _curve_caption(result, name, values)
            for name, values in varying_parameters(result).items()
        },
        figures.ring_correlation: (
            f"Fourier ring correlation with the exact image, mean over {averaged}. In brackets: the resolution, "
            "1 / mean frequency where the correlation of a sample falls below 1/2, with its 95 % interval. "
            "A filter, such as a blur, leaves the correlation unchanged."
        ),
        figures.cost: "Error against time per sample. The hardware is listed below, under Methods.",
        **({figures.learning_curves: "Learning curves: loss after each epoch."} if whole else {}),
    }
    return ((drawn, caption) for draw, caption in captions.items() if (drawn := draw(result)) is not None)


def _curve_caption(result: Result, name: str, values: np.ndarray) -> str:
    counts = np.unique(bin_numbers(values), return_counts=True)[1]
    samples = f"{counts.min()} to {counts.max()}" if np.ptp(counts) else str(counts[0])
    return (
        f"Mean scores against {name} ({result.task[name].about}). Each point is the mean over {samples} samples with "
        "equal or similar values, with its 95 % interval. All methods share these samples, so the differences between "
        "methods are more certain than the intervals."
    )
