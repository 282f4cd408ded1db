"""Kinds of target and their scores: images (`schemas.scores`), classes, and numbers without a grid."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

import numpy as np

from schemas.task import SAMPLE, Field, Task

type Kind = Literal["images", "classes", "numbers"]
type Real = np.ndarray[tuple[int, ...], np.dtype[np.float64]]


@dataclass(frozen=True)
class Score:
    """The meaning of a metric. unit: "field" stands for the unit of the scored field."""

    unit: str
    about: str
    better: Literal["lower", "higher"]


OF_CLASSES: Mapping[str, Score] = MappingProxyType(
    {
        "jaccard_distance": Score("1", "1 - iou", "lower"),
        "iou": Score("1", "intersection over union, the mean over the classes that are there or predicted", "higher"),
        "dice": Score("1", "twice the intersection over the sum of both areas, the same mean", "higher"),
        "accuracy": Score("1", "share of the values whose class is right", "higher"),
    }
)
OF_NUMBERS: Mapping[str, Score] = MappingProxyType(
    {
        "absolute_error": Score("field", "|truth - prediction|, the mean over the values of a sample", "lower"),
        "squared_error": Score("field^2", "(truth - prediction)^2, the mean over the values of a sample", "lower"),
    }
)
RANKS: Mapping[Kind, str] = MappingProxyType(
    {"images": "nrms_aligned", "classes": "jaccard_distance", "numbers": "absolute_error"}
)


def kind(task: Task, field: Field) -> Kind:
    """Return what a target is: classes by their names, images if it lies on a grid, otherwise numbers."""
    if field.classes:
        return "classes"
    return "images" if task.spatial(field) else "numbers"


def rank(task: Task) -> str:
    """The score, the lower the better, by which methods are ranked: of the first target, without ambiguities."""
    return RANKS[kind(task, task.of("target")[0])]


def score_key(task: Task, name: str, metric: str) -> str:
    """The key of a score of a target: bare for the first one."""
    return metric if name == task.of("target")[0].name else f"{name}.{metric}"


def ranked(task: Task, field: Field) -> str:
    """The key of the score by which samples are ranked in one target."""
    return score_key(task, field.name, RANKS[kind(task, field)])


def probability(field: Field) -> Field:
    """Return the field that holds the probability of each class of a target."""
    dims = (SAMPLE, f"{field.name}_class", *field.dims[1:])
    return Field(f"{field.name}_probability", dims, "float32", "1", "auxiliary", f"of {', '.join(field.classes)}")


def of_classes(field: Field, prediction: np.ndarray, truth: np.ndarray) -> dict[str, Real]:
    """Score labels (sample, ...) by all `OF_CLASSES`, (sample,) each. Where the truth is ignored, nothing counts."""
    rows = [_of_classes(field, *pair) for pair in zip(prediction, truth, strict=True)]
    return {name: np.array([row[name] for row in rows], float) for name in OF_CLASSES}


def confusion(field: Field, prediction: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Return how many values (exact class, predicted class + 1) of each class are taken for which.

    The last column is that of labels beyond the classes. Rows of exact classes that are ignored are 0.
    """
    n = len(field.classes)
    places = np.minimum(truth, n - 1).astype(int) * (n + 1) + np.minimum(prediction, n).astype(int)
    counted = np.isin(truth, field.counted)
    return np.bincount(places[counted], minlength=n * (n + 1)).reshape(n, n + 1)


def areas(field: Field, counts: np.ndarray) -> list[tuple[float, float, float]]:
    """Return how many values are taken for each class that counts, how many are of it, and how many are both."""
    found = ((counts[:, i].sum(), counts[i].sum(), counts[i, i]) for i in field.counted)
    return [(float(taken), float(there), float(both)) for taken, there, both in found]


def _of_classes(field: Field, prediction: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    counts = confusion(field, prediction, truth)
    there = [(a, b, both) for a, b, both in areas(field, counts) if a + b]
    if not there:
        return dict.fromkeys(OF_CLASSES, np.nan)
    iou = float(np.mean([both / (a + b - both) for a, b, both in there]))
    dice = float(np.mean([2 * both / (a + b) for a, b, both in there]))
    accuracy = float(sum(both for *_, both in there) / counts.sum())
    return {"jaccard_distance": 1 - iou, "iou": iou, "dice": dice, "accuracy": accuracy}


def of_numbers(field: Field, prediction: np.ndarray, truth: np.ndarray) -> dict[str, Real]:
    """Score values (sample, ...) by all `OF_NUMBERS`, (sample,) each; with a period, by the least difference."""
    away = np.asarray(prediction, float) - truth
    if field.period is not None:
        away = away - field.period * np.round(away / field.period)
    rows = away.reshape(len(away), -1)
    return {"absolute_error": abs(rows).mean(axis=1), "squared_error": (rows**2).mean(axis=1)}


SCORERS: Mapping[Kind, Callable[[Field, np.ndarray, np.ndarray], dict[str, Real]]] = MappingProxyType(
    {"classes": of_classes, "numbers": of_numbers}
)
