"""Refuse a network that the memory cannot hold, before anything is compiled or allocated.

Counted are the parameters, the state of the optimizer and one gradient, on each device. Features are not: they depend
on the batch, and the network may be made to need less of them by a smaller one.
"""

from dataclasses import replace
from typing import Any

import jax.numpy as jnp
from flax import nnx

from schemas.runtime.errors import UserError
from training.contract import Shape, find_model
from training.devices import memory_per_device
from training.features import Features
from training.network import Network
from training.recipe import Recipe
from training.steps import state_bytes


def refuse_too_large(network: Network, recipe: Recipe, features: Features) -> None:
    """Raise UserError if the state of a run does not fit into the memory. The message states the size that fits.

    Args:
        network: the network.
        recipe: recipe of the run.
        features: conversion of fields.
    """
    needed, limit = state_bytes(network, recipe), memory_per_device()
    if needed <= limit:
        return
    raise UserError(
        f"--model {recipe.network}: {network.parameters:,} parameters, with gradient and optimizer, take "
        f"{needed / 1e9:.3g} GB, and there are {limit / 1e9:.3g} GB; {_remedy(recipe, features, limit)}"
    )


def _remedy(recipe: Recipe, features: Features, limit: int) -> str:
    """Return the largest size of the target for which the network fits, found by bisection, for a message."""
    longest = max(features.output_shape[:-1], default=1)
    fits, too_large = 0, longest
    while too_large - fits > 1:
        side = (fits + too_large) // 2
        if _bytes_at(recipe, features, side / longest) <= limit:
            fits = side
        else:
            too_large = side
    if not fits or not _bytes_at(recipe, features, fits / longest):
        return "take a smaller network, such as a lower model.width"
    size = " x ".join(str(n) for n in scale_shape(features.output_shape[:-1], fits / longest))
    return f"{size} pixels fit, or take a network with fewer units"


def scale_shape(spatial: Shape, share: float) -> Shape:
    """Return a spatial shape with each length multiplied by a share, rounded, and at least 1.

    Args:
        spatial: the shape.
        share: the factor.
    """
    return tuple(max(1, round(n * share)) for n in spatial)


def _bytes_at(recipe: Recipe, features: Features, share: float) -> int:
    """Return the bytes of the state for inputs and targets of a smaller size; 0 if the network refuses that size."""
    settings: Any = recipe.model  # type: ignore[attr-defined]
    inputs, (*spatial, channels) = features.inputs, features.output_shape
    inputs = replace(inputs, spatial=scale_shape(inputs.spatial, share))
    outputs = (*scale_shape(tuple(spatial), share), channels)
    build = find_model(recipe.network).build
    try:
        network = Network(lambda: build(settings, inputs, outputs, nnx.Rngs(0), jnp.float32))
    except ValueError:
        return 0
    return state_bytes(network, recipe)
