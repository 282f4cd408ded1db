"""Check that the losses of a recipe suit the targets of a dataset."""

from collections.abc import Iterator

from schemas.runtime.errors import nearest
from training import losses
from training.class_losses import CLASS_TERMS
from training.contract import find_learn
from training.features import Features
from training.recipe import Recipe


def loss_problems(features: Features, recipe: Recipe) -> Iterator[str]:
    """Yield messages about losses, and about the choice of the best network, that do not suit the targets.

    Args:
        features: conversion of fields.
        recipe: recipe of the run.
    """
    own, terms = features.learn.losses, [losses.terms(features, field) for field in features.targets]
    every = {*own, *(name for part in terms for name in part)}
    general = [*losses.VALUE_TERMS, *CLASS_TERMS, *find_learn(features.task.name).losses]
    for field in features.targets:
        known = {*losses.terms(features, field), *features.learn.losses}
        wrong = [name for name in general if recipe.loss.weights.get(name) and name not in every]
        if wrong or not any(recipe.loss.weights.get(name) for name in known):
            kind, listed = "has classes" if field.classes else "holds values", ", ".join(sorted(known))
            term = f"loss.{wrong[0]} cannot compare" if wrong else "none of the losses compares"
            others = [other.name for other in features.targets if other != field]
            remedy = f"; set one of them, or leave {field.name} out: --target {','.join(others)}" if others else ""
            yield f"target {field.name} {kind}, which {term}; there are: {listed}{remedy}"
        known_weights = recipe.loss.class_weights
        if field.classes and len(known_weights) not in (0, len(field.classes)):
            yield f"loss.classes has {len(known_weights)} weights, {field.name} {len(field.classes)} classes"
        elif field.classes and known_weights and not any(known_weights[i] for i in field.counted):
            yield "loss.classes: the weight of at least one class that is not ignored must be above 0"
    with_classes = [field.name for field in features.targets if field.classes]
    if recipe.loss.classes == "balanced" and len(with_classes) != 1:
        shown = ", ".join(with_classes) or "none"
        yield f"loss.classes = balanced: needs one target with classes, here {shown}; choose one by --target"
    yield from _against_problems(features, recipe.loss.against)
    scores = ["loss", *losses.score_names(features)]
    if recipe.best not in scores:
        yield f"best = {recipe.best}: must be one of {', '.join(scores)}{nearest(recipe.best, scores)}"


def _against_problems(features: Features, against: str) -> Iterator[str]:
    """Yield messages if an input cannot stand in for the target."""
    if not against:
        return
    target, inputs = features.targets[0], [field for field in features.task.of("input") if field.name in features.reads]
    known = [field.name for field in inputs if field.dims == target.dims and field.units == target.units]
    if len(features.targets) > 1 or against not in known or target.classes:
        shown = ", ".join(known if len(features.targets) == 1 and not target.classes else []) or "none"
        names = ", ".join(field.name for field in features.targets)
        yield (
            f"loss.against = {against}: must be an input that the network sees, with the axes and the unit of the only "
            f"target (here {names}); there are: {shown}"
        )
