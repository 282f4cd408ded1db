"""Build the features and the network of a recipe, before a run begins and again when its model is loaded."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import jax.numpy as jnp
from flax import nnx

from schemas.runtime.errors import UserError
from schemas.task import Task
from training.contract import Fit, Like, Shape, find_learn, find_model, model_names
from training.features import Features
from training.layers import scaled_lengths
from training.moments import Normalised
from training.network import Network
from training.recipe import Recipe


def features_of(task: Task, recipe: Recipe, moments: Mapping[str, Normalised], sizes: Mapping[str, int]) -> Features:
    """Return the conversion of fields that a recipe asks for.

    Args:
        task: task of the dataset.
        recipe: recipe of the run.
        moments: moments of the fields; may be empty if nothing is encoded or decoded.
        sizes: lengths of the dimensions.
    """
    learn = find_learn(task.name)
    if recipe.targets:
        grid = task.spatial(task.of("target")[0])  # the grid of inputs that name no other
        grids = {**dict.fromkeys(learn.inputs, grid), **learn.grids}
        task, learn = task.targeting(recipe.targets), replace(learn, grids=grids, heads={}, losses={})
        if not task.spatial(task.of("target")[0]):
            learn = replace(learn, symmetries=())
    if recipe.loss.against:
        normalise = {**learn.normalise, **{field.name: Like(recipe.loss.against) for field in task.of("target")}}
        learn = replace(learn, normalise=normalise)
    input_name, head = recipe.input or next(iter(learn.inputs)), recipe.head or next(iter(learn.heads), "")
    operator = learn.operator if find_model(recipe.network).FIT == "operator" else None
    return Features(task.sliced, learn, input_name, recipe.scalars, moments, sizes, head, operator)


def build_network(recipe: Recipe, features: Features) -> Network:
    """Return the network of a recipe.

    Args:
        recipe: recipe of the run.
        features: conversion of fields.

    Raises:
        UserError: the network does not suit the sizes of the input or of the targets.
    """
    settings: Any = recipe.model  # type: ignore[attr-defined]
    dtype = jnp.bfloat16 if recipe.precision == "bfloat16" else jnp.float32
    features.refuse_misfit()
    model, sizes = find_model(settings.name), (features.inputs, features.output_shape)
    if reason := features.misfit(model.FIT):
        raise UserError(f"--model {settings.name}: {reason}; {_alternatives(features)}")
    try:
        return Network(lambda: model.build(settings, *sizes, nnx.Rngs(recipe.seed), dtype), _grid(features, model.FIT))
    except ValueError as error:
        raise UserError(f"--model {settings.name}: {error}") from None


def _grid(features: Features, fit: Fit) -> Callable[[Shape], Shape]:
    """Return a function from the spatial shape of an input to that of the output."""
    lengths, target_lengths = features.inputs.spatial, features.output_shape[:-1]
    if fit in ("any", "operator"):
        return lambda spatial: target_lengths
    return lambda spatial: scaled_lengths(spatial, lengths, target_lengths)


def _alternatives(features: Features) -> str:
    """Return the models and inputs that would fit, for a message."""
    models = [name for name in model_names() if not features.misfit(find_model(name).FIT)]
    stored = {field.name for field in features.task.fields}
    inputs = [replace(features, input=name) for name in features.learn.inputs]
    others = [one.input for one in inputs if {*one.reads} <= stored and not one.misfit("kept")]
    hint = f"; inputs on the grid of the targets: {', '.join(others)}" if others else ""
    return f"models that can: {', '.join(models) or 'none'}{hint}"
