"""Write the files of an evaluation, and print a table of its scores."""

import json
import math
from collections import ChainMap
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from inference.report.errors_by_parameter import regions
from inference.report.evaluation import Evaluation, Result, ScoredPredictions
from inference.report.intervals import ratio_of_means
from schemas.runtime.csv_files import csv_table
from schemas.runtime.errors import Interrupted, UserError
from schemas.runtime.hashes import sha256
from schemas.runtime.publish import exists, publish, read
from schemas.runtime.terminal import say, say_rows

ARROWS = {"lower": "↓", "higher": "↑"}  # the direction that is better
LATER_FILES = ("metrics.csv", "report.html")  # files written after metrics.json


def write(found: Evaluation, page: str, folder: Path) -> None:
    """Write `metrics.json`, `metrics.csv` and `report.html` to a folder, each either completely or not at all.

    `metrics.json` holds the sha256 of the others, so that files of different evaluations are told apart.

    Args:
        found: the evaluation.
        page: the content of `report.html`.
        folder: the place of the files.

    Raises:
        Interrupted: another `evaluate` has written there meanwhile.
    """
    write_files(metrics(found), csv_rows(found), page, folder)


def write_files(scores: Mapping[str, Any], rows: Iterable[Sequence[object]], page: str, folder: Path) -> None:
    """Write the three files of a report to a folder.

    Args:
        scores: the content of `metrics.json`.
        rows: the rows of `metrics.csv`.
        page: the content of `report.html`.
        folder: the place of the files.

    Raises:
        Interrupted: as for `write`.
    """
    others = dict(zip(LATER_FILES, (csv_table(rows), page.encode()), strict=True))
    numbers = {**scores} | {"sha256": {name: sha256(data) for name, data in others.items()}}
    files = {"metrics.json": (json.dumps(numbers, indent=2, sort_keys=True) + "\n").encode(), **others}
    for name, data in files.items():
        publish(folder / name, data)
    if any(read(folder / name) != data for name, data in files.items()):
        raise Interrupted(f"{folder}: changed by another `evaluate` meanwhile; run the same command again")


def refuse_loss(evaluation: Evaluation, folder: Path, *, overwrite: bool) -> None:
    """Refuse a folder whose content would be lost.

    Args:
        evaluation: the evaluation that is to be written.
        folder: the place of its files.
        overwrite: True allows reports of other data or methods to be lost.

    Raises:
        UserError: the folder holds files that `evaluate` did not write; or, unless `overwrite`, scores of other data or
            of a method that is not in this evaluation.
    """
    ours = {(result.source.split, store.name) for result in evaluation.results for store in result.stores}
    refuse_other_report(folder, str(evaluation.main.source.manifest.root_digest), ours, overwrite=overwrite)


def refuse_other_report(
    folder: Path, digest: str, ours: Set[tuple[str, str]], *, overwrite: bool, halves: bool = False
) -> None:
    """Refuse a folder whose content would be lost.

    Args:
        folder: the place of the files.
        digest: root digest of the dataset.
        ours: split and name of all predictions that are scored.
        overwrite: as for `refuse_loss`.
        halves: True if these are scores without truth; a report of the other sort would be lost.

    Raises:
        UserError: as for `refuse_loss`.
    """
    data = read(folder / "metrics.json")  # this file is written first
    if data is None:
        if other := next((name for name in LATER_FILES if exists(folder / name)), None):
            raise UserError(f"{folder}/{other}: `evaluate` did not write this file; move it away or give another --out")
        return
    try:
        stored = json.loads(data)
        scored = {(stored["split"], name) for name in stored["methods"]}
        scored |= {(split, name) for split, part in stored.get("splits", {}).items() for name in part["methods"]}
        same = stored["dataset_digest"] == digest and ("dose_share" in stored) == halves
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise UserError(
            f"{folder}/metrics.json: `evaluate` did not write this file; move it away or give another --out"
        ) from None
    kept = ours if same else set()
    if (lost := scored - kept) and not overwrite:
        elsewhere = {split for split, _ in lost} - {split for split, _ in kept}
        raise UserError(
            f"{folder}: holds the report of {', '.join(sorted({str(name) for _, name in lost}))}"
            f"{' on other samples' if elsewhere else ''}; give another --out, or add --overwrite"
        )


def metrics(evaluation: Evaluation) -> dict[str, Any]:
    """Return the content of `metrics.json`: the main split, and below `splits` the others if there are any."""
    main = evaluation.main
    content = {
        "task": main.task.name,
        "split": main.source.split,
        "dataset_digest": main.source.manifest.root_digest,
        **_split_entry(main),
        "regions": [asdict(region) for region in regions(main)],
    }
    others = {
        result.source.split: _split_entry(result) | {"ratios": _ratios(main, result)} for result in evaluation.others
    }
    return content | ({"splits": others} if others else {})


def _split_entry(result: Result) -> dict[str, Any]:
    methods = {store.name: _method_entry(result, store) for store in result.stores}
    stated = {} if result.data_range is None else {"data_range": result.data_range}
    return {"samples": result.source.samples, **stated, "methods": methods}


def _ratios(main: Result, other: Result) -> dict[str, Any]:
    """Return the mean error of each method in the main split relative to that in another, with its standard error."""
    found = {store.name: ratio_of_splits(main, other, store.name, main.rank) for store in main.stores}
    return {name: {main.rank: pair[0], "standard_error": pair[1]} for name, pair in found.items() if pair}


def _method_entry(result: Result, store: ScoredPredictions) -> dict[str, Any]:
    """Return the entry of one method in `metrics.json`."""
    metadata, sections = store.metadata, result.sections.values()
    return {
        "kind": metadata.kind,
        "method": metadata.method,
        "settings": metadata.settings,
        "samples": metadata.samples,
        "not_finite": result.count_not_finite(store),
        "seconds_per_sample": metadata.seconds_per_sample,
        "hardware": metadata.hardware,
        "parameters": metadata.weights.parameters if metadata.weights else None,
        "metrics": dict(
            ChainMap(*(section.scores.get(store.name, {}) for section in sections), result.summaries[store.name])
        ),
        **ChainMap(*(section.data.get(store.name, {}) for section in sections)),
    }


def csv_rows(evaluation: Evaluation) -> Iterator[Sequence[object]]:
    """Yield the rows of `metrics.csv`: names, then one row per sample: index, parameters and scores `<name>.<metric>`.

    Values have all their digits. With several splits, the first column is `split`, and cells without a value in a split
    are empty. A parameter with several values takes several columns: defocus.0, defocus.1, ...
    """
    several = len(evaluation.results) > 1
    parts = [_csv_columns(result, several=several) for result in evaluation.results]
    header = list(dict.fromkeys(name for part in parts for name in part))
    yield header
    for part, result in zip(parts, evaluation.results, strict=True):
        empty = [""] * result.source.samples
        yield from zip(*(map(str, part.get(name, empty)) for name in header), strict=True)


def _csv_columns(result: Result, *, several: bool) -> dict[str, Sequence[Any] | np.ndarray]:
    """Return the columns of `metrics.csv` for one split."""
    count = result.source.samples
    columns: dict[str, Sequence[Any] | np.ndarray] = {"split": [result.source.split] * count} if several else {}
    slices = result.source.slices
    columns["sample"] = [row // slices for row in range(count)]
    columns |= {"slice": [row % slices for row in range(count)]} if slices > 1 else {}
    for name, values in sorted(result.parameters.items()):
        flat = values.reshape(len(values), -1)
        columns |= {name: values} if values.ndim == 1 else {f"{name}.{i}": part for i, part in enumerate(flat.T)}
    return columns | {
        f"{name}.{metric}": values for name, scores in result.scores.items() for metric, values in scores.items()
    }


def arrow(result: Result, key: str) -> str:
    """Return an arrow up if higher values of a score are better, otherwise down."""
    return ARROWS[result.report.meaning(key).better]


def mean_and_deviation(values: dict[str, Any]) -> str:
    """Return mean and standard deviation in words, such as `0.312 ± 0.101`."""
    if values["mean"] is None:
        return "undefined"
    return f"{values['mean']:.4g} ± {values['std']:.2g}"


def unit_of(values: dict[str, Any]) -> str:
    """Return the unit of a score with a space before it, such as ` [rad]`; nothing for pure numbers."""
    return "" if values["unit"] == "1" else f" [{values['unit']}]"


def ratio(
    result: Result, store: ScoredPredictions, reference: ScoredPredictions, key: str
) -> tuple[float, float] | None:
    """Return the ratio of the mean scores of two predictions over the samples that both have, and its standard error.

    Args:
        result: the scores of one split.
        store: the predictions above the fraction line.
        reference: the predictions below it.
        key: the score.

    Returns:
        Ratio and standard error; None if no sample has both scores, or mean(b) is 0.
    """
    a, b = (result.scores[compared.name][key] for compared in (store, reference))
    known = np.isfinite(a) & np.isfinite(b)
    return ratio_of_means(a[known], b[known])


def ratio_of_splits(main: Result, other: Result, name: str, key: str) -> tuple[float, float] | None:
    """Return the ratio of the mean scores of one method in two splits, and its standard error.

    The samples of two splits are independent, so the relative errors of the two means add in squares.

    Args:
        main: the split above the fraction line.
        other: the split below it.
        name: the method.
        key: the score.

    Returns:
        Ratio and standard error; None if a split has no such score, or its mean is 0.
    """
    ours, theirs = (_mean_and_error(result, name, key) for result in (main, other))
    if ours is None or theirs is None:
        return None
    share = ours[0] / theirs[0]
    return share, share * math.hypot(ours[1], theirs[1])


def _mean_and_error(result: Result, name: str, key: str) -> tuple[float, float] | None:
    """Return a mean and its relative standard error; None if no sample has the score, or the mean is 0."""
    values = result.summaries.get(name, {}).get(key, {})
    mean, deviation, count = (float(values.get(part) or 0) for part in ("mean", "std", "n"))
    return (mean, deviation / mean / math.sqrt(count)) if mean else None


def show(evaluation: Evaluation) -> None:
    """Print a table of the means and standard deviations of the scores, and the lines of all sections."""
    several = len(evaluation.results) > 1
    known = evaluation.main.summaries[evaluation.main.stores[0].name]
    keys = evaluation.main.report.printed_scores(known)
    names = [f"{key}{unit_of(known[key])} {arrow(evaluation.main, key)}" for key in keys]
    rows = [["method", *(["split"] if several else []), *names]]
    for result, store in by_method(evaluation):
        cells = [mean_and_deviation(result.summaries[store.name][key]) for key in keys]
        rows.append([store.name, *([result.source.split] if several else []), *cells])
    say_rows(rows)
    scored = [field.name for field in evaluation.main.task.of("target")]
    predicted = {field.name for _, store in by_method(evaluation) for field in store.metadata.targets}
    if left := sorted(predicted - set(scored)):
        say(f"scored: {', '.join(scored)}, which all predictions and the dataset hold; not {', '.join(left)}")
    for line in (
        line for result in evaluation.results for section in result.sections.values() for line in section.lines
    ):
        say(line)


def by_method(found: Evaluation) -> Iterator[tuple[Result, ScoredPredictions]]:
    """Yield all predictions method by method, so that the splits of one method follow one another."""
    for method in found.main.methods:
        yield from ((result, store) for result in found.results for store in result.stores if store.name == method.name)
