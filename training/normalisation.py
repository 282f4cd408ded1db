"""Mean and standard deviation of what is normalised, over the training samples of a dataset.

Of a whole field, they are those of the dataset's manifest. Of each channel, and of channels that are computed, they are
those of the first SAMPLES training samples.
"""

from collections.abc import Iterable, Iterator
from math import prod
from pathlib import Path
from typing import Any

import jax
import numpy as np

from schemas import slices
from schemas.manifest import Manifest
from schemas.runtime.errors import UserError
from schemas.store import open_split
from schemas.task import Field, Task
from training.batches import Split
from training.contract import Derived, Like
from training.features import Features
from training.moments import AS_IT_IS, CONSTANT, Each, Moments, Normalised, Own

SAMPLES = 64


def moments_of(data: Path, manifest: Manifest, features: Features, *, as_it_is: bool) -> dict[str, Normalised]:
    """The moments that a task asks for, by field, and those of the channels that it computes.

    as_it_is: nothing is normalised.
    """
    if as_it_is:
        return dict.fromkeys((*features.normalised, *features.derived), AS_IT_IS)
    found = {name: _of_field(data, manifest, features, name) for name in features.normalised}
    return found | {name: _of_derived(data, manifest, features, part) for name, part in features.derived.items()}


def _of_field(data: Path, manifest: Manifest, features: Features, name: str) -> Normalised:
    how = features.learn.normalise
    by = how.get(name, "field")
    if isinstance(by, Like):
        name, by = by.field, how.get(by.field, "field")
    if name not in {field.name for field in features.task.fields}:
        raise UserError(f"{data}: cannot be learned from: field {name} is missing")
    if by == "none":
        return AS_IT_IS
    if by == "sample":
        return Own(of=name)
    if by == "channel":
        field, found = features.task[name], rows(data, manifest, (name,))
        return _of_rows((_channels_last(features.task, field, row[name]) for row in found), each=True)
    if known := manifest.statistics.get(name):
        return Moments(mean=known.mean, std=_deviation(known.mean, known.std))
    values = column(data, name)
    return Moments(mean=float(values.mean()), std=_deviation(float(values.mean()), float(values.std())))


def _of_derived(data: Path, manifest: Manifest, features: Features, part: Derived) -> Normalised:
    make = jax.jit(lambda fields: features.made(part, fields))
    made = (np.asarray(make(row)) for row in rows(data, manifest, part.fields))
    return _of_rows((values.reshape(-1, values.shape[-1]) for values in made), each=part.by == "channel")


def column(data: Path, name: str) -> np.ndarray:
    """All training values of a field, float64."""
    return np.asarray(open_split(data, "train")[name][...], np.float64)  # type: ignore[index]


def rows(data: Path, manifest: Manifest, names: tuple[str, ...]) -> Iterator[dict[str, np.ndarray]]:
    """The fields of the first training samples, sample by sample, for one may be large."""
    task, count = manifest.task, slices.count(manifest.task, manifest.sizes)
    per_sample = tuple(name for name in names if task[name].per_sample)
    split = Split(data, "train", per_sample, tuple(set(names) - set(per_sample)), task, count)
    constants = split.read_constants()
    for sample in range(min(SAMPLES, manifest.samples["train"])):
        yield constants | split.read(slice(sample * count, (sample + 1) * count))


def _channels_last(task: Task, field: Field, values: np.ndarray) -> np.ndarray:
    """(value, channel): what lies along spatial axes and samples, and all other axes."""
    axes = [field.dims.index(dim) for dim in task.channels(field)]
    return np.moveaxis(values, axes, range(-len(axes), 0)).reshape(-1, prod(values.shape[axis] for axis in axes))


def _of_rows(rows: Iterable[np.ndarray], *, each: bool) -> Normalised:
    """Moments of arrays (value, channel), together or of each channel: sums of float64 about the first row's mean."""
    sums: Any = []
    middle: Any = None
    for row in rows:
        values = row.astype(np.float64) if each else row.astype(np.float64).reshape(-1, 1)
        middle = values.mean(0) if middle is None else middle
        sums.append(((values - middle).mean(0), ((values - middle) ** 2).mean(0)))  # rows are alike in length
    shift, square = np.mean(sums, axis=0)
    mean, std = middle + shift, np.sqrt(np.maximum(square - shift**2, 0))
    found = [Moments(mean=a, std=_deviation(a, b)) for a, b in zip(mean.tolist(), std.tolist(), strict=True)]
    return Each(channels=tuple(found)) if each else found[0]


def _deviation(mean: float, std: float) -> float:
    """What is constant, but for rounding, is measured by itself: another value elsewhere does not grow out of scale."""
    return std if std > CONSTANT * abs(mean) else abs(mean) or 1.0
