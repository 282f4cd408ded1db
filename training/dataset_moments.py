"""Mean and standard deviation for normalisation, over the training samples of a dataset.

The moments of a whole field are those of the dataset's manifest. The moments of each channel, and of computed channels,
are taken over the first MAX_SAMPLES training samples.
"""

from collections.abc import Iterable, Iterator
from math import prod
from pathlib import Path
from typing import Any

import jax
import numpy as np

from schemas import slices
from schemas.layout import MAX_BLOCK_SAMPLES
from schemas.manifest import Manifest
from schemas.runtime.errors import UserError
from schemas.runtime.publish import reading
from schemas.store import open_split, shard_ranges
from schemas.task import Field, Task
from training.batches import Split
from training.contract import Derived, Like
from training.features import Features
from training.moments import IDENTITY, MIN_RELATIVE_STD, Each, Moments, Normalised, Own

MAX_SAMPLES = 64


def moments_of(data: Path, manifest: Manifest, features: Features, *, unnormalised: bool) -> dict[str, Normalised]:
    """Return the moments of the fields and computed channels that a task normalises.

    Args:
        data: the dataset.
        manifest: its metadata.
        features: conversion of fields; its own moments are not used.
        unnormalised: whether nothing is normalised.

    Returns:
        Moments by the name of the field or of the computed channels.

    Raises:
        UserError: a field is missing.
    """
    if unnormalised:
        return dict.fromkeys((*features.normalised, *features.derived), IDENTITY)
    found = {name: _field_moments(data, manifest, features, name) for name in features.normalised}
    return found | {name: _derived_moments(data, manifest, features, part) for name, part in features.derived.items()}


def _field_moments(data: Path, manifest: Manifest, features: Features, name: str) -> Normalised:
    """Return the moments of one field, in the way that the task asks for."""
    how = features.learn.normalise
    by = how.get(name, "field")
    if isinstance(by, Like):
        name, by = by.field, how.get(by.field, "field")
    task = manifest.task.sliced  # with all of its targets: an input may be normalised like one that is not learned
    if name not in {field.name for field in task.fields}:
        raise UserError(f"{data}: cannot be used for training: field {name} is missing")
    if by == "none":
        return IDENTITY
    if by == "sample":
        return Own(of=name)
    if by == "channel":
        found = read_samples(data, manifest, (name,))
        return _row_moments((_channels_last(task, task[name], row[name]) for row in found), each=True)
    if known := manifest.statistics.get(name):
        return Moments(mean=known.mean, std=_nonzero_deviation(known.mean, known.std))
    values = read_column(data, name)
    return Moments(mean=float(values.mean()), std=_nonzero_deviation(float(values.mean()), float(values.std())))


def _derived_moments(data: Path, manifest: Manifest, features: Features, part: Derived) -> Normalised:
    make = jax.jit(lambda fields: features.compute_channels(part, fields))
    made = (np.asarray(make(row)) for row in read_samples(data, manifest, part.fields))
    return _row_moments((values.reshape(-1, values.shape[-1]) for values in made), each=part.by == "channel")


def read_column(data: Path, name: str) -> np.ndarray:
    """Return all training values of a field as float64.

    Args:
        data: the dataset.
        name: name of the field.
    """
    with reading(f"{data}/train/{name}", f"see: dataset verify {data}"):
        group = open_split(data, "train")
        parts = shard_ranges(group[name].shape[0], MAX_BLOCK_SAMPLES)  # one by one: promised samples take no memory
        return np.concatenate([group.read(name, slice(*part)).astype(np.float64) for part in parts])


def read_samples(data: Path, manifest: Manifest, names: tuple[str, ...]) -> Iterator[dict[str, np.ndarray]]:
    """Yield fields of the first training samples, one sample at a time, because one may be large.

    Args:
        data: the dataset.
        manifest: its metadata.
        names: names of the fields.
    """
    task, count = manifest.task, slices.slices_per_sample(manifest.task, manifest.sizes)
    per_sample = tuple(name for name in names if task[name].per_sample)
    split = Split(data, "train", per_sample, tuple(set(names) - set(per_sample)), task, count)
    constants = split.read_constants()
    for sample in range(min(MAX_SAMPLES, manifest.samples["train"])):
        yield constants | split.read(slice(sample * count, (sample + 1) * count))


def _channels_last(task: Task, field: Field, values: np.ndarray) -> np.ndarray:
    """Return an array (value, channel). Channels are all axes except spatial ones and samples."""
    axes = [field.dims.index(dim) for dim in task.channels(field)]
    return np.moveaxis(values, axes, range(-len(axes), 0)).reshape(-1, prod(values.shape[axis] for axis in axes))


def _row_moments(rows: Iterable[np.ndarray], *, each: bool) -> Normalised:
    """Return the moments of arrays (value, channel), for all channels together or for each.

    Sums are float64 and taken about the mean of the first array.
    """
    sums: Any = []
    middle: Any = None
    for row in rows:
        values = row.astype(np.float64) if each else row.astype(np.float64).reshape(-1, 1)
        middle = values.mean(0) if middle is None else middle
        sums.append(((values - middle).mean(0), ((values - middle) ** 2).mean(0)))  # all rows have the same length
    shift, square = np.mean(sums, axis=0)
    mean, std = middle + shift, np.sqrt(np.maximum(square - shift**2, 0))
    found = [Moments(mean=a, std=_nonzero_deviation(a, b)) for a, b in zip(mean.tolist(), std.tolist(), strict=True)]
    return Each(channels=tuple(found)) if each else found[0]


def _nonzero_deviation(mean: float, std: float) -> float:
    """Return the deviation to divide by. If values are constant up to rounding, it is their modulus, or 1.

    Otherwise a different value in other data would become huge after the division.
    """
    return std if std > MIN_RELATIVE_STD * abs(mean) else abs(mean) or 1.0
