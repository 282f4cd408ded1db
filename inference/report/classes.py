"""Section of the report on targets with classes: scores of each class, and the confusion matrix."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from inference.contract import Section, SectionContent
from inference.invert.split_reader import Source
from schemas.predictions import read_predictions, read_rows
from schemas.store import shard_ranges
from schemas.target_kinds import class_areas, confusion_matrix, matthews_correlation, score_key
from schemas.task import Field, Task

if TYPE_CHECKING:
    from inference.report.evaluation import Result, Summary

type Counts = Mapping[str, Mapping[str, np.ndarray]]  # array (exact class, predicted class) by field and method


def _section_content(source: Source, stores: Mapping[str, Path]) -> SectionContent | None:
    """Return the content of the section for one split; None if no target has classes."""
    fields = [field for field in source.task.of("target") if field.classes]
    counts = {f.name: {name: _count_classes(source, f, path) for name, path in stores.items()} for f in fields}
    if not fields:
        return None
    tables = {f.name: {name: class_scores(f, matrix) for name, matrix in counts[f.name].items()} for f in fields}
    data = {name: {"classes": {f.name: _metrics_entry(f, counts[f.name][name]) for f in fields}} for name in stores}
    scores: dict[str, Summary] = {name: {} for name in stores}
    for field in fields:
        for name, matrix in counts[field.name].items():
            scores[name] |= _summary(source.task, field, matrix)
    lines = (_line(field, name, matrix) for field in fields for name, matrix in counts[field.name].items())
    return SectionContent(scores, data, partial(_render_html, counts=counts, tables=tables), tuple(lines))


SECTION = Section("Classes", _section_content)


def _count_classes(source: Source, field: Field, path: Path) -> np.ndarray:
    """Count the values of all samples by exact and predicted class, shard by shard."""
    predictions, total = read_predictions(path), np.zeros((len(field.classes), len(field.classes) + 1), np.int64)
    for start, stop in shard_ranges(source.samples, source.shard):
        exact = source.read([field.name], start, stop)[field.name]
        total += confusion_matrix(field, read_rows(path, predictions, slice(start, stop))[field.name], exact)
    return total


def class_scores(field: Field, counts: np.ndarray) -> dict[str, dict[str, float | None]]:
    """Return the scores of each class that is not ignored, over the values of all samples together.

    With tp values of a class found, fn values missed, and fp values of other classes predicted as this class:
    iou = tp / (tp + fp + fn), dice = 2 tp / (2 tp + fp + fn), precision = tp / (tp + fp), recall = tp / (tp + fn).

    Args:
        field: the target.
        counts: (exact class, predicted class), as `confusion_matrix` returns them.

    Returns:
        Scores by name of the class and of the score; None for an undefined score.
    """
    found = {}
    for i, (predicted, exact, both) in zip(field.counted, class_areas(field, counts), strict=True):
        pairs = {"iou": (both, predicted + exact - both), "dice": (2 * both, predicted + exact)}
        pairs |= {"precision": (both, predicted), "recall": (both, exact)}
        found[field.classes[i]] = {name: float(a / b) if b else None for name, (a, b) in pairs.items()}
    return found


def pooled_scores(counts: np.ndarray) -> dict[str, float | None]:
    """Return accuracy and Matthews correlation over the values of all samples together; None if there are no values.

    Args:
        counts: (exact class, predicted class), as `confusion_matrix` returns them.
    """
    size = float(counts.sum())
    if not size:
        return {"accuracy": None, "mcc": None}
    return {"accuracy": float(np.trace(counts)) / size, "mcc": matthews_correlation(counts)}


def most_frequent(field: Field, counts: np.ndarray) -> tuple[str, float | None]:
    """Return the most frequent exact class and its share, the accuracy of predicting it everywhere.

    Args:
        field: the target.
        counts: (exact class, predicted class), as `confusion_matrix` returns them.
    """
    exact = counts.sum(axis=1)
    return field.classes[int(exact.argmax())], float(exact.max() / exact.sum()) if exact.any() else None


def _summary(task: Task, field: Field, counts: np.ndarray) -> "Summary":
    """Return the scores over all values together for `metrics.json`: `<class>.<score>` and `pooled.<score>`."""
    rows = class_scores(field, counts) | {"pooled": pooled_scores(counts)}
    return {
        score_key(task, field.name, f"{label}.{score}"): {
            "mean": value,
            "std": None,
            "n": int(counts.sum()),
            "unit": "1",
        }
        for label, scores in rows.items()
        for score, value in scores.items()
    }


def _line(field: Field, name: str, counts: np.ndarray) -> str:
    """Return the line about one target and method for the terminal."""
    iou = ", ".join(f"{label} {_score_text(row['iou'])}" for label, row in class_scores(field, counts).items())
    pooled, (label, share) = pooled_scores(counts), most_frequent(field, counts)
    accuracy = f"accuracy {_score_text(pooled['accuracy'])} (always {label}: {_score_text(share)})"
    return f"{name}, {field.name}: iou {iou}; {accuracy}, mcc {_score_text(pooled['mcc'])}"


def _metrics_entry(field: Field, counts: np.ndarray) -> dict[str, Any]:
    """Return the entry of a target in `metrics.json`."""
    return {
        "names": list(field.classes),
        "confusion": counts[:, : len(field.classes)].tolist(),
        "scores": class_scores(field, counts),
        "most_frequent": dict(zip(("class", "share"), most_frequent(field, counts), strict=True)),
    }


def _render_html(result: "Result", counts: Counts, tables: Mapping[str, Any]) -> str:
    from inference.report.html import render  # imported here, because it loads Matplotlib

    fields = [result.task[name] for name in counts]
    functions = {"pooled": pooled_scores, "most_frequent": most_frequent, "written": _score_text}
    return render("classes.html", fields=fields, counts=counts, tables=tables, **functions)


def _score_text(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.4g}"
