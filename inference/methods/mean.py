"""The mean of the training targets: what is known without looking at a measurement, for every task.

A network or method that does not beat it has learned nothing from the measurements.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from inference.contract import Arrays, Method
from schemas.runtime.errors import UserError
from schemas.task import Field

if TYPE_CHECKING:
    from inference.invert.split_reader import Source

NAME = "mean"
BLOCK_SAMPLES = 64  # samples read at once


def _unknown(fields: Arrays) -> dict[str, np.ndarray]:
    raise AssertionError(f"{NAME} is found from a dataset: mean_targets")


METHOD = Method(
    about="mean of the training targets, whatever was measured; of classes, the most frequent one",
    needs=(),
    solve=_unknown,
)


def mean_predictor(source: "Source") -> tuple[tuple[str, ...], Callable[[Arrays], Arrays]]:
    """Return the field that must be read to count samples, and the function that predicts the mean for each of them.

    Args:
        source: any split of the dataset.

    Raises:
        UserError: the dataset has no training samples, or no targets.
    """
    means = mean_targets(source)
    counted = next(field.name for field in source.task.fields if field.per_sample)
    return (counted,), lambda fields: {
        name: np.broadcast_to(value, (len(fields[counted]), *value.shape)) for name, value in means.items()
    }


def mean_targets(source: "Source") -> dict[str, np.ndarray]:
    """Return the mean of each target over the training samples; of classes, the most frequent one.

    Args:
        source: any split of the dataset.

    Raises:
        UserError: the dataset has no training samples, or no targets.
    """
    targets = source.task.of("target")
    if not source.manifest.samples.get("train") or not targets:
        raise UserError(f"--method {NAME}: {source.path} has no training samples with targets")
    train = replace(source, split="train")
    counted = {field.name: np.zeros(_counts(field, source), np.float64) for field in targets}
    for start in range(0, train.samples, BLOCK_SAMPLES):
        for name, values in train.read(list(counted), start, min(start + BLOCK_SAMPLES, train.samples)).items():
            classes = len(source.task[name].classes)
            counted[name] += (
                np.stack([(values == number).sum(axis=0) for number in range(classes)])
                if classes
                else values.sum(axis=0, dtype=np.float64)
            )
    return {
        field.name: (
            np.argmax(counted[field.name], axis=0) if field.classes else counted[field.name] / train.samples
        ).astype(field.dtype)
        for field in targets
    }


def _counts(field: Field, source: "Source") -> tuple[int, ...]:
    """Return the shape of the sums of a target: of classes, one for each class."""
    shape = field.shape(source.manifest.sizes)
    return (len(field.classes), *shape) if field.classes else shape
