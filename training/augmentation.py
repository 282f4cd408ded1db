"""The symmetries of a task, drawn anew for every sample and step, on the device.

flip_<dimension> reverses an axis; transpose exchanges the last two spatial axes (square grids only). Each is applied
to a sample with probability one half, to all its fields that have the axis, or one that stands for it. A task with a
window, or with patterns of diffraction, lies about the pixel n // 2 of each axis: there an axis is reversed about that
pixel, cyclic, which for even n leaves index 0 in place.
"""

import jax
import jax.numpy as jnp

from schemas.core import SAMPLE
from training.batches import Batch, per_row
from training.contract import Array
from training.features import Features


def augment(features: Features, batch: Batch, key: Array) -> Batch:
    """The batch with each sample under symmetries of its own. Constants keep their place: they must be symmetric."""
    for number, symmetry in enumerate(symmetries(features)):
        count = len(batch["weight"])
        chosen = jax.random.bernoulli(jax.random.fold_in(key, number), shape=(count,))
        for name, values in batch.items():
            axes = _axes(features, name, symmetry)
            if axes:
                moved = _reverse(features, values, axes[0]) if len(axes) == 1 else jnp.swapaxes(values, *axes)
                batch = {**batch, name: jnp.where(per_row(chosen, values), moved, values)}
    return batch


def _reverse(features: Features, values: Array, axis: int) -> Array:
    even = values.shape[axis] % 2 == 0
    flipped = jnp.flip(values, axis)
    about_pixel = features.task.window or features.task.along
    return jnp.roll(flipped, 1, axis) if about_pixel and even else flipped


def symmetries(features: Features) -> tuple[str, ...]:
    """Those that this dataset's sizes allow."""
    square = len({features.sizes[name] for name in features.learn.spatial[-2:]}) == 1
    return tuple(name for name in features.learn.symmetries if square or name != "transpose")


def _axes(features: Features, name: str, symmetry: str) -> list[int]:
    """The axes of a field that a symmetry acts on; none if it lacks one."""
    dims = next((features.placed(field) for field in features.task.fields if field.name == name), ())
    wanted = features.learn.spatial[-2:] if symmetry == "transpose" else (symmetry.removeprefix("flip_"),)
    return [dims.index(dim) for dim in wanted] if dims[:1] == (SAMPLE,) and set(wanted) <= set(dims) else []
