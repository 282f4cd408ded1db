"""Augmentation: symmetries of the task, drawn for every sample and step, on the device.

`flip_<dimension>` reverses an axis. `transpose` exchanges the last two spatial axes (square grids only). A `Symmetry`
maps fields by functions of the task. Each symmetry is applied to a sample with probability one half, to all fields
that have the axis, or that have a corresponding axis on a grid related to that of the targets. If a task has a window
or diffraction patterns, its fields are centred on pixel n // 2 of each axis. An axis is then reversed about that pixel,
cyclically, which leaves index 0 in place for even n.
"""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np

from schemas.runtime.errors import UserError
from training.batches import WEIGHT, Batch, expand_to_batch
from training.contract import Array, Symmetry
from training.features import Features


def augment(features: Features, batch: Batch, key: Array) -> Batch:
    """Return the batch after symmetries that are drawn for each sample.

    Constants, which all samples share, are not changed; `refuse_asymmetric_constants` checks that they are symmetric.

    Args:
        features: conversion of fields.
        batch: fields (sample, ...) by name.
        key: key of the random numbers.
    """
    for number, symmetry in enumerate(symmetries(features)):
        count = len(batch["weight"])
        chosen = jax.random.bernoulli(jax.random.fold_in(key, number), shape=(count,))
        for name, moved in _change(features, batch, symmetry).items():
            if features.task[name].per_sample:
                batch = {**batch, name: jnp.where(expand_to_batch(chosen, moved), moved, batch[name])}
    return batch


def refuse_asymmetric_constants(features: Features, constants: Mapping[str, np.ndarray]) -> None:
    """Refuse a symmetry that would change a constant, which all samples share.

    Args:
        features: conversion of fields.
        constants: fields without a sample axis.

    Raises:
        UserError: a symmetry would change one of them.
    """
    for symmetry in symmetries(features):
        for name, moved in _change(features, {k: jnp.asarray(v) for k, v in constants.items()}, symmetry).items():
            if not np.array_equal(moved, constants[name]):
                word = symmetry.name if isinstance(symmetry, Symmetry) else symmetry
                raise UserError(f"augment: {word} would change {name}, which all samples share; set augment=false")


def _change(features: Features, batch: Batch, symmetry: str | Symmetry) -> Batch:
    """Return the fields that a symmetry changes, after the change."""
    fields = {name: values for name, values in batch.items() if name != WEIGHT}
    if isinstance(symmetry, Symmetry):
        moved = _move_on_grid(features, fields, symmetry)
        known = {name: values for name, values in {**fields, **moved}.items() if name in symmetry.fields}
        return {**moved, **(symmetry.apply(known) if len(known) == len(symmetry.fields) else {})}
    placed = {name: axes for name in fields if (axes := _symmetry_axes(features, name, symmetry))}
    return {
        name: _reverse_axis(features, fields[name], axes[0]) if len(axes) == 1 else jnp.swapaxes(fields[name], *axes)
        for name, axes in placed.items()
    }


def _move_on_grid(features: Features, fields: Batch, symmetry: Symmetry) -> Batch:
    """Return the fields on the grid of the targets after a symmetry of the task."""
    if symmetry.on_grid is None:
        return {}
    placed = {name: axes for name in fields if (axes := _grid_axes(features, name, features.target_grid))}
    last = range(-len(features.target_grid), 0)
    return {
        name: jnp.moveaxis(symmetry.on_grid(jnp.moveaxis(fields[name], axes, last)), last, axes)
        for name, axes in placed.items()
    }


def _reverse_axis(features: Features, values: Array, axis: int) -> Array:
    even = values.shape[axis] % 2 == 0
    flipped = jnp.flip(values, axis)
    relations = {grid.how for grid in features.task.grids if grid.of}
    about_pixel = (features.task.window or "reciprocal" in relations) and "coarser" not in relations
    return jnp.roll(flipped, 1, axis) if about_pixel and even else flipped


def symmetries(features: Features) -> tuple[str | Symmetry, ...]:
    """Return the symmetries that the sizes of this dataset allow."""
    roots = features.task.related("same", "coarser", "reciprocal")
    last = [[d for d in roots if roots[d] == roots[dim] and d in features.sizes] for dim in features.target_grid[-2:]]
    square = len(last) == 2 and all(features.sizes[a] == features.sizes[b] for a, b in zip(*last, strict=False))
    present = {field.name for field in features.task.fields}
    return tuple(
        one
        for one in features.learn.symmetries
        if (present.issuperset(one.fields) if isinstance(one, Symmetry) else square or one != "transpose")
    )


def _symmetry_axes(features: Features, name: str, symmetry: str) -> list[int]:
    """Return the axes of a field that a symmetry acts on; none if the field lacks one of them."""
    transposed = symmetry == "transpose"
    return _grid_axes(features, name, features.target_grid[-2:] if transposed else (symmetry.removeprefix("flip_"),))


def _grid_axes(features: Features, name: str, wanted: tuple[str, ...]) -> list[int]:
    """Return the axes of a field along these dimensions, or those related to them; none if it lacks one of them."""
    task = features.task
    if name not in {field.name for field in task.fields}:
        return []
    roots = task.related("same", "coarser", "reciprocal")
    dims = [roots.get(dim, dim) for dim in task[name].dims]
    places = [roots.get(dim, dim) for dim in wanted]
    return [dims.index(dim) for dim in places] if set(places) <= set(dims) else []
