"""Optimizers and learning-rate schedules, most of them from optax."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import optax
from optax.contrib import MuonDimensionNumbers, muon, schedule_free

from training import proximal
from training.network import Named
from training.recipe import Optimizer, Recipe, Schedule

SCHEDULE_FREE_WEIGHT = 0.9  # weight b of the average; the parameters of the base optimizer have the weight 1 - b


def build_optimizer(recipe: Recipe, steps: int) -> optax.GradientTransformation:
    """Return the optimizer of a run.

    Args:
        recipe: recipe of the run.
        steps: number of steps of the run.
    """
    rate = schedule(recipe.schedule, recipe.optimizer.learning_rate, steps)
    rule = _base_rule(recipe.optimizer, rate)
    clip = recipe.optimizer.clip
    return rule if clip is None else optax.chain(optax.clip_by_global_norm(clip), rule)


def schedule(settings: Schedule, highest: float, steps: int) -> optax.Schedule:
    """Return the learning rate as a function of the step.

    `plateau` is constant here: the loop multiplies the rate.

    Args:
        settings: settings of the schedule.
        highest: highest learning rate.
        steps: number of steps of the run.
    """
    warmup = min(settings.warmup, steps // 10)
    rest = optax.schedules.constant_schedule(highest)
    if settings.name == "cosine":
        rest = optax.schedules.cosine_decay_schedule(highest, max(steps - warmup, 1), settings.floor)
    elif settings.name == "step":
        falls = [max(round(share * steps) - warmup, 0) for share in settings.drops]
        rest = optax.schedules.piecewise_constant_schedule(
            highest * settings.factor ** falls.count(0), {fall: settings.factor for fall in falls if fall}
        )
    if not warmup:
        return rest
    rise = optax.schedules.linear_schedule(highest / warmup, highest, warmup - 1)
    return optax.schedules.join_schedules([rise, rest], [warmup])


def keeps_average(settings: Optimizer) -> bool:
    """Return whether the optimizer itself keeps an average of the parameters that is to be evaluated."""
    return settings.name == "schedule_free"


def average(parameters: Named, optimizer: Any) -> Named:
    """Average x = (y - (1 - b) z) / b of schedule-free learning.

    Args:
        parameters: y, the parameters at which gradients are taken.
        optimizer: state of the optimizer, which holds z, the parameters of the base optimizer.
    """
    z = optax.tree.get(optimizer, "z")
    return {name: (y - (1 - SCHEDULE_FREE_WEIGHT) * z[name]) / SCHEDULE_FREE_WEIGHT for name, y in parameters.items()}


def _base_rule(settings: Optimizer, rate: optax.Schedule) -> optax.GradientTransformation:
    momentum, l1, l2 = settings.momentum or None, settings.l1, settings.l2
    base = optax.adam(rate, b1=0)
    rules: Mapping[str, Callable[[], optax.GradientTransformation]] = {
        "adam": lambda: optax.adam(rate),
        "adamw": lambda: optax.adamw(rate, weight_decay=settings.weight_decay),
        "sgd": lambda: optax.sgd(rate, momentum=momentum, nesterov=settings.nesterov),
        "rmsprop": lambda: optax.rmsprop(rate, settings.decay, momentum=momentum, nesterov=settings.nesterov),
        "adagrad": lambda: optax.adagrad(rate),
        "adadelta": lambda: optax.adadelta(rate, settings.decay),
        "proximal_sgd": lambda: proximal.proximal_sgd(rate, l1, l2),
        "proximal_adagrad": lambda: proximal.proximal_adagrad(rate, l1, l2),
        "adagrad_da": lambda: proximal.adagrad_da(rate, l1, l2),
        "ftrl": lambda: proximal.ftrl(rate, l1, l2),
        "muon": lambda: muon(rate, weight_decay=settings.weight_decay, muon_weight_dimension_numbers=_muon_dimensions),
        "schedule_free": lambda: schedule_free(base, rate, b1=SCHEDULE_FREE_WEIGHT),  # Defazio et al., arXiv:2405.15682
    }
    return rules[settings.name]()


def _muon_dimensions(parameters: Named) -> Any:
    """Treat kernels (*, inputs, outputs) as matrices of outputs, and leave vectors to Adam (Jordan, 2024)."""
    return jax.tree.map(
        lambda w: MuonDimensionNumbers(tuple(range(w.ndim - 1)), w.ndim - 1) if w.ndim > 1 else None, parameters
    )
