"""The symmetries of a task, drawn anew for every sample and step, on the device.

flip_<dimension> reverses an axis; transpose exchanges the last two spatial axes (square grids only); a `Symmetry` maps
all fields by a function of the task's own. Each is applied to a sample with probability one half, to all its fields:
those that have the axis, or one that stands for it on a grid that relates to that of the targets. A task with a window,
or with patterns of diffraction, lies about the pixel n // 2 of each axis: there an axis is reversed about that pixel,
cyclic, which for even n leaves index 0 in place.
"""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np

from schemas.runtime.errors import UserError
from training.batches import WEIGHT, Batch, per_row
from training.contract import Array, Symmetry
from training.features import Features


def augment(features: Features, batch: Batch, key: Array) -> Batch:
    """The batch with each sample under symmetries of its own. Constants keep their place: they must be symmetric."""
    for number, symmetry in enumerate(symmetries(features)):
        count = len(batch["weight"])
        chosen = jax.random.bernoulli(jax.random.fold_in(key, number), shape=(count,))
        for name, moved in _moved(features, batch, symmetry).items():
            if features.task[name].per_sample:
                batch = {**batch, name: jnp.where(per_row(chosen, moved), moved, batch[name])}
    return batch


def refuse_changed(features: Features, constants: Mapping[str, np.ndarray]) -> None:
    """Raise UserError if a symmetry would change a constant, which all samples share."""
    for symmetry in symmetries(features):
        for name, moved in _moved(features, {k: jnp.asarray(v) for k, v in constants.items()}, symmetry).items():
            if not np.array_equal(moved, constants[name]):
                word = symmetry.name if isinstance(symmetry, Symmetry) else symmetry
                raise UserError(f"augment: {word} would change {name}, which all samples share; give augment=false")


def _moved(features: Features, batch: Batch, symmetry: str | Symmetry) -> Batch:
    """The fields that a symmetry changes, as it leaves them."""
    fields = {name: values for name, values in batch.items() if name != WEIGHT}
    if isinstance(symmetry, Symmetry):
        known = set(symmetry.fields)
        return symmetry.apply({name: fields[name] for name in known}) if known <= fields.keys() else {}
    placed = {name: axes for name in fields if (axes := _axes(features, name, symmetry))}
    return {
        name: _reverse(features, fields[name], axes[0]) if len(axes) == 1 else jnp.swapaxes(fields[name], *axes)
        for name, axes in placed.items()
    }


def _reverse(features: Features, values: Array, axis: int) -> Array:
    even = values.shape[axis] % 2 == 0
    flipped = jnp.flip(values, axis)
    relations = {grid.how for grid in features.task.grids if grid.of}
    about_pixel = (features.task.window or "reciprocal" in relations) and "coarser" not in relations
    return jnp.roll(flipped, 1, axis) if about_pixel and even else flipped


def symmetries(features: Features) -> tuple[str | Symmetry, ...]:
    """Those that this dataset's sizes allow."""
    roots = features.task.related("same", "coarser", "reciprocal")
    last = [[d for d in roots if roots[d] == roots[dim] and d in features.sizes] for dim in features.out[-2:]]
    square = len(last) == 2 and all(features.sizes[a] == features.sizes[b] for a, b in zip(*last, strict=False))
    return tuple(one for one in features.learn.symmetries if square or one != "transpose")


def _axes(features: Features, name: str, symmetry: str) -> list[int]:
    """The axes of a field that a symmetry acts on; none if it lacks one."""
    task = features.task
    if name not in {field.name for field in task.fields}:
        return []
    roots = task.related("same", "coarser", "reciprocal")
    dims = [roots.get(dim, dim) for dim in task[name].dims]
    wanted = features.out[-2:] if symmetry == "transpose" else (symmetry.removeprefix("flip_"),)
    places = [roots.get(dim, dim) for dim in wanted]
    return [dims.index(dim) for dim in places] if set(places) <= set(dims) else []
