"""Optimizers that optax lacks. They act on the parameters themselves, with the penalties l1 and l2.

Symbols: gradient g, parameter w, learning rate a, step t from 1 on, G the sum of g^2, which starts at INITIAL_SQUARES.
Each optimizer returns w_new - w. Their names are those of TensorFlow 1.

The soft threshold, which is the minimum of (w - v)^2 / 2 + l1 |w| + l2 w^2 / 2, is

    S(v, l1, l2) = sign(v) max(|v| - l1, 0) / (1 + l2)
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from training.contract import Array

INITIAL_SQUARES = 0.1

type Leaf = dict[str, Array]
# A function of g, memory, w, a, t that returns w_new and the new memory.
type Step = Callable[[Array, Leaf, Array, Array, Array], tuple[Array, Leaf]]


def proximal_sgd(rate: optax.Schedule, l1: float, l2: float) -> optax.GradientTransformation:
    """Gradient descent w_new = S(w - a g, a l1, a l2). Duchi and Singer, J. Mach. Learn. Res. 10 (2009) 2899."""

    def step(g: Array, memory: Leaf, w: Array, a: Array, t: Array) -> tuple[Array, Leaf]:
        return _soft_threshold(w - a * g, a * l1, a * l2), memory

    return _extend(rate, step)


def proximal_adagrad(rate: optax.Schedule, l1: float, l2: float) -> optax.GradientTransformation:
    """Gradient descent as `proximal_sgd` with the rate a / sqrt(G) for each parameter.

    Duchi, Hazan and Singer, J. Mach. Learn. Res. 12 (2011) 2121.
    """

    def step(g: Array, memory: Leaf, w: Array, a: Array, t: Array) -> tuple[Array, Leaf]:
        total = memory["square"] + g**2
        own = a / jnp.sqrt(total)
        return _soft_threshold(w - own * g, own * l1, own * l2), {"square": total}

    return _extend(rate, step, square=_fill(INITIAL_SQUARES))


def adagrad_da(rate: optax.Schedule, l1: float, l2: float) -> optax.GradientTransformation:
    """Dual averaging: w_new = - a S'(sum g, t l1) / (sqrt(G) + a t l2), where S' is S without l2.

    The rule does not depend on the start: after the first step, w depends only on the gradients and has the length a.
    Duchi, Hazan and Singer (2011).
    """

    def step(g: Array, memory: Leaf, w: Array, a: Array, t: Array) -> tuple[Array, Leaf]:
        total, square = memory["total"] + g, memory["square"] + g**2
        new = -a * _soft_threshold(total, t * l1, 0.0) / (jnp.sqrt(square) + a * t * l2)
        return new, {"total": total, "square": square}

    return _extend(rate, step, total=_fill(0.0), square=_fill(INITIAL_SQUARES))


def ftrl(rate: optax.Schedule, l1: float, l2: float) -> optax.GradientTransformation:
    """Follow the regularised leader: w_new = - S'(z, l1) / (p + 2 l2), with p = sqrt(G) / a and S' = S without l2.

        z += g - w (p - p before),   z = - w p at the start, so that the initial w is used

    McMahan et al., Proc. KDD (2013) 1222, where w starts at 0. Without l1 and l2 it is Adagrad.
    """

    def step(g: Array, memory: Leaf, w: Array, a: Array, t: Array) -> tuple[Array, Leaf]:
        square = memory["square"] + g**2
        pull = jnp.sqrt(square) / a
        z = memory["z"] + g - w * (pull - memory["pull"])
        return -_soft_threshold(z, l1, 0.0) / (pull + 2 * l2), {"z": z, "square": square, "pull": pull}

    pull = INITIAL_SQUARES**0.5 / rate(0)
    return _extend(rate, step, z=lambda w: -w * pull, square=_fill(INITIAL_SQUARES), pull=_fill(pull))


def _soft_threshold(v: Array, l1: Array | float, l2: Array | float) -> Array:
    return jnp.sign(v) * jnp.maximum(jnp.abs(v) - l1, 0) / (1 + l2)


def _fill(value: Any) -> Callable[[Array], Array]:
    return lambda w: jnp.full_like(w, value)


def _extend(rate: optax.Schedule, step: Step, **initial: Callable[[Array], Array]) -> optax.GradientTransformation:
    """Extend a step of single arrays to all parameters. initial: the first memory of each array, by name."""

    def init(parameters: Any) -> Any:
        memory = {name: jax.tree.map(first, parameters) for name, first in initial.items()}
        return {"count": jnp.zeros((), jnp.int32), "memory": memory}

    def update(gradient: Any, state: Any, parameters: Any = None) -> tuple[Any, Any]:
        a, t = rate(state["count"]), state["count"] + 1
        leaves, shape = jax.tree.flatten(gradient)
        columns = {name: jax.tree.leaves(tree) for name, tree in state["memory"].items()}
        memories = [{name: column[i] for name, column in columns.items()} for i in range(len(leaves))]
        weights = jax.tree.leaves(parameters)
        made = [step(g, memory, w, a, t) for g, memory, w in zip(leaves, memories, weights, strict=True)]
        change = [new - w for (new, _), w in zip(made, weights, strict=True)]
        memory = {name: jax.tree.unflatten(shape, [kept[name] for _, kept in made]) for name in initial}
        return jax.tree.unflatten(shape, change), {"count": t, "memory": memory}

    return optax.GradientTransformation(init, update)
