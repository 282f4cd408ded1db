"""Optimizers and learning rates, from optax."""

import optax

from training.recipe import Optimizer, Recipe, Schedule


def build(recipe: Recipe, steps: int) -> optax.GradientTransformation:
    """The rule of a run of that many steps."""
    rate = schedule(recipe.schedule, recipe.optimizer.learning_rate, steps)
    rule = _rule(recipe.optimizer, rate)
    clip = recipe.optimizer.clip
    return rule if clip is None else optax.chain(optax.clip_by_global_norm(clip), rule)


def schedule(knobs: Schedule, highest: float, steps: int) -> optax.Schedule:
    """Step to learning rate; `plateau` is constant here, the loop multiplies it."""
    warmup = min(knobs.warmup, steps // 10)
    rest = optax.schedules.constant_schedule(highest)
    if knobs.name == "cosine":
        rest = optax.schedules.cosine_decay_schedule(highest, max(steps - warmup, 1), knobs.floor)
    if not warmup:
        return rest
    rise = optax.schedules.linear_schedule(highest / warmup, highest, warmup)
    return optax.schedules.join_schedules([rise, rest], [warmup])


def _rule(knobs: Optimizer, rate: optax.Schedule) -> optax.GradientTransformation:
    if knobs.name == "adamw":
        return optax.adamw(rate, weight_decay=knobs.weight_decay)
    if knobs.name == "sgd":
        return optax.sgd(rate, momentum=knobs.momentum or None, nesterov=knobs.nesterov)
    return optax.adam(rate)
