"""The kinds of target and their scores: images (scored in `schemas.scores`), classes, and numbers without a grid."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

import numpy as np

from physics.arrays import Real
from schemas.task import SAMPLE, Field, Task

type Kind = Literal["images", "classes", "numbers"]


@dataclass(frozen=True)
class Score:
    """The meaning of a metric."""

    unit: str  # "field" stands for the unit of the scored field
    about: str
    better: Literal["lower", "higher"]


CLASS_SCORES: Mapping[str, Score] = MappingProxyType(
    {
        "jaccard_distance": Score("1", "1 - iou", "lower"),
        "iou": Score("1", "intersection over union, mean over the classes that are present or predicted", "higher"),
        "dice": Score("1", "2 * intersection / (sum of both areas), mean over the same classes", "higher"),
        "mcc": Score(
            "1",
            "Matthews correlation of truth and prediction (Gorodkin 2004); 0 if one of them has a single class, and "
            "undefined for a single value",
            "higher",
        ),
        "accuracy": Score("1", "share of the values whose class is predicted correctly", "higher"),
    }
)
NUMBER_SCORES: Mapping[str, Score] = MappingProxyType(
    {
        "absolute_error": Score("field", "|truth - prediction|, mean over the values of a sample", "lower"),
        "squared_error": Score("field^2", "(truth - prediction)^2, mean over the values of a sample", "lower"),
    }
)
RANKING_SCORES: Mapping[Kind, str] = MappingProxyType(
    {"images": "nrms_aligned", "classes": "jaccard_distance", "numbers": "absolute_error"}
)


def target_kind(task: Task, field: Field) -> Kind:
    """Return the kind of a target: "classes" if it has classes, "images" if it lies on a grid, else "numbers"."""
    if field.classes:
        return "classes"
    return "images" if task.spatial(field) else "numbers"


def ranking_score(task: Task) -> str:
    """Return the name of the score by which methods are ranked: that of the first target. The lower, the better."""
    return RANKING_SCORES[target_kind(task, task.of("target")[0])]


def score_key(task: Task, name: str, metric: str) -> str:
    """Return the key under which a score of a target is stored: `metric` for the first target, else `name.metric`.

    Args:
        task: the task.
        name: name of the target.
        metric: name of the score.
    """
    return metric if name == task.of("target")[0].name else f"{name}.{metric}"


def ranking_key(task: Task, field: Field) -> str:
    """Return the key of the score of one target by which samples are ranked."""
    return score_key(task, field.name, RANKING_SCORES[target_kind(task, field)])


def probability_field(field: Field) -> Field:
    """Return the field that holds the probability of each class of a target."""
    dims = (SAMPLE, f"{field.name}_class", *field.dims[1:])
    return Field(f"{field.name}_probability", dims, "float32", "1", "auxiliary", f"of {', '.join(field.classes)}")


def score_classes(field: Field, prediction: np.ndarray, truth: np.ndarray) -> dict[str, Real]:
    """Score predicted labels by all `CLASS_SCORES`. Values whose true class is `ignore` are left out.

    Args:
        field: the target.
        prediction: labels (sample, ...).
        truth: labels (sample, ...).

    Returns:
        By score, its values (sample,).
    """
    rows = [_score_one_sample(field, *pair) for pair in zip(prediction, truth, strict=True)]
    return {name: np.array([row[name] for row in rows], float) for name in CLASS_SCORES}


def confusion_matrix(field: Field, prediction: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Count how many values of each true class were predicted as each class.

    Args:
        field: the target.
        prediction: labels of any shape.
        truth: labels of the same shape.

    Returns:
        Counts (class, class + 1), indexed by true and predicted class. The last column counts predictions that are not
            one of the classes. Rows of ignored true classes are 0.
    """
    n = len(field.classes)
    cells = np.minimum(truth, n - 1).astype(int) * (n + 1) + np.minimum(prediction, n).astype(int)
    counted = np.isin(truth, field.counted)
    return np.bincount(cells[counted], minlength=n * (n + 1)).reshape(n, n + 1)


def class_areas(field: Field, counts: np.ndarray) -> list[tuple[float, float, float]]:
    """Return, for each class that is not ignored, how many values were predicted as it, belong to it, and do both.

    Args:
        field: the target.
        counts: the confusion matrix of `confusion_matrix`.
    """
    areas = ((counts[:, i].sum(), counts[i].sum(), counts[i, i]) for i in field.counted)
    return [(float(predicted), float(true), float(both)) for predicted, true, both in areas]


def _score_one_sample(field: Field, prediction: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    """Return the scores of one sample; NaN if no class is present or predicted."""
    counts = confusion_matrix(field, prediction, truth)
    classes = [(a, b, both) for a, b, both in class_areas(field, counts) if a + b]
    if not classes:
        return dict.fromkeys(CLASS_SCORES, np.nan)
    iou = float(np.mean([both / (a + b - both) for a, b, both in classes]))
    dice = float(np.mean([2 * both / (a + b) for a, b, both in classes]))
    accuracy = float(sum(both for *_, both in classes) / counts.sum())
    scores = {"jaccard_distance": 1 - iou, "iou": iou, "dice": dice, "accuracy": accuracy}
    return scores | {"mcc": matthews_correlation(counts) if counts.sum() > 1 else math.nan}


def matthews_correlation(counts: np.ndarray) -> float:
    """Return the Matthews correlation of a confusion matrix, for any number of classes.

        (c s - sum p_k t_k) / sqrt((s^2 - sum p_k^2) (s^2 - sum t_k^2))

    s values, of which c are predicted rightly; t_k belong to class k and p_k are predicted as it. Gorodkin, Comput.
    Biol. Chem. 28 (2004) 367.

    Args:
        counts: the confusion matrix of `confusion_matrix`.

    Returns:
        From -1 to 1; 0 if all values belong to one class, or are predicted as one class.
    """
    cells = counts.astype(float)
    size, right = cells.sum(), np.trace(cells)
    predicted, true = cells.sum(0), np.append(cells.sum(1), 0)
    spread = (size**2 - (predicted**2).sum()) * (size**2 - (true**2).sum())
    return float((right * size - (predicted * true).sum()) / math.sqrt(spread)) if spread > 0 else 0.0


def score_numbers(field: Field, prediction: np.ndarray, truth: np.ndarray) -> dict[str, Real]:
    """Score predicted numbers by all `NUMBER_SCORES`. If the field has a period, the smallest difference is used.

    Args:
        field: the target.
        prediction: numbers (sample, ...).
        truth: numbers (sample, ...).

    Returns:
        By score, its values (sample,).
    """
    rows = difference(field, prediction, truth).reshape(len(truth), -1)
    return {"absolute_error": abs(rows).mean(axis=1), "squared_error": (rows**2).mean(axis=1)}


def difference(field: Field, prediction: np.ndarray, truth: np.ndarray) -> Real:
    """Return prediction - truth; if the field has a period, the smallest of the differences by whole periods.

    Args:
        field: the target.
        prediction: numbers that broadcast with the truth.
        truth: numbers (sample, ...).
    """
    found: Real = np.asarray(prediction, float) - truth
    return found if field.period is None else found - field.period * np.round(found / field.period)


SCORERS: Mapping[Kind, Callable[[Field, np.ndarray, np.ndarray], dict[str, Real]]] = MappingProxyType(
    {"classes": score_classes, "numbers": score_numbers}
)
