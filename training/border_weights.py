"""Weights of the pixels between objects that nearly touch, computed from labels.

    weight = w0 exp(- (d1 + d2)^2 / (2 s^2)) in the first class, else 0

d1 and d2 are the distances to the nearest and to the second nearest object. An object is a connected set of pixels of
one class other than the first; pixels that share a side are connected. Beyond REACH s, distances are taken as infinite:
the weight is then less than w0 / 2900. An object that the border of a part divides counts as two. Ronneberger et al.,
arXiv:1505.04597 (there w0 = 10, s = 5 pixels, and the sum of this and the class weight multiplies the cross entropy).
"""

import math

import jax
import jax.numpy as jnp
import numpy as np

from training.contract import Array

REACH = 4  # distance beyond which objects do not matter, in units of s

type Nearest = tuple[Array, Array, Array, Array]  # squared distance and number of the nearest object, then the second


def border_weights(labels: Array, counted: tuple[int, ...], height: float, width: float) -> Array:
    """Return the border weight of each pixel.

    Args:
        labels: classes (sample, *spatial). The first class is the ground on which the objects lie.
        counted: classes that are not ignored; ignored pixels belong to no object.
        height: w0, the weight in an infinitely narrow gap.
        width: s [pixel].

    Returns:
        Weights (sample, *spatial), float32.
    """
    objects = number_objects(jnp.where(jnp.isin(labels, jnp.array(counted)), labels, 0).astype(jnp.int32))
    first, second = nearest_two(objects, math.ceil(REACH * width))
    return jnp.where(labels == 0, height * jnp.exp(-((first + second) ** 2) / (2 * width**2)), 0.0)


def number_objects(labels: Array) -> Array:
    """Number connected pixels of one class alike, each object of a sample differently; 0 in the class 0.

    Args:
        labels: classes (sample, *spatial), integers.

    Returns:
        Numbers (sample, *spatial), int32: the largest index of a pixel in the object, counted from 1.
    """
    indices = 1 + jnp.arange(labels[0].size, dtype=jnp.int32).reshape(labels.shape[1:])
    numbers = jnp.where(labels > 0, indices, 0)

    def spread(state: tuple[Array, Array]) -> tuple[Array, Array]:
        numbers = before = state[0]
        for axis in range(1, labels.ndim):
            for step in (-1, 1):
                same = _shift(labels, axis, step) == labels
                numbers = jnp.where(same, jnp.maximum(numbers, _shift(numbers, axis, step)), numbers)
        return numbers, jnp.any(numbers != before)

    numbers, _ = jax.lax.while_loop(lambda state: state[1], spread, (numbers, jnp.array(True)))
    return numbers


def nearest_two(objects: Array, reach: int) -> tuple[Array, Array]:
    """Return the distances [pixel] to the nearest and to the second nearest object; infinite if beyond `reach`.

    The two nearest of each line are found first, then, axis by axis, the two nearest of these: an object with two
    nearer ones in its own line cannot be among the two nearest of all.

    Args:
        objects: numbers (sample, *spatial); 0 where there is no object.
        reach: largest distance along each axis [pixel].
    """
    far = jnp.full(objects.shape, jnp.inf, jnp.float32)
    found = (jnp.where(objects > 0, 0.0, far), objects, far, jnp.zeros_like(objects))
    for axis in range(1, objects.ndim):
        found = _nearest_along(found, axis, reach)
    return jnp.sqrt(found[0]), jnp.sqrt(found[2])


def _nearest_along(given: Nearest, axis: int, reach: int) -> Nearest:
    """Return the two nearest of the objects that the neighbours along an axis know."""
    wide = [(reach, reach) if k == axis else (0, 0) for k in range(given[0].ndim)]
    padded = [jnp.pad(x, wide, constant_values=np.inf if k % 2 == 0 else 0) for k, x in enumerate(given)]
    length = given[0].shape[axis]

    def merge(step: Array, best: Nearest) -> Nearest:
        seen = [jax.lax.dynamic_slice_in_dim(x, step, length, axis) for x in padded]
        away = (step - reach).astype(jnp.float32) ** 2
        return _nearer(_nearer(best, seen[0] + away, seen[1]), seen[2] + away, seen[3])

    merged: Nearest = jax.lax.fori_loop(0, 2 * reach + 1, merge, given)
    return merged


def _nearer(best: Nearest, distance: Array, number: Array) -> Nearest:
    """Return the two nearest of three objects, which may be the same one twice."""
    d1, n1, d2, n2 = best
    leads, known = distance < d1, number == n1
    follows = ~leads & ~known & (distance < d2)
    pushed = leads & ~known
    d2, n2 = jnp.where(follows, distance, d2), jnp.where(follows, number, n2)
    d2, n2 = jnp.where(pushed, d1, d2), jnp.where(pushed, n1, n2)
    return jnp.where(leads, distance, d1), jnp.where(leads, number, n1), d2, n2


def _shift(values: Array, axis: int, step: int) -> Array:
    """Return the values of the neighbours along an axis; -1 beyond the borders."""
    wide = [(1, 1) if k == axis else (0, 0) for k in range(values.ndim)]
    padded = jnp.pad(values, wide, constant_values=-1)
    return jax.lax.slice_in_dim(padded, 1 + step, 1 + step + values.shape[axis], axis=axis)
