"""Repetition of a step of an iteration, in Python or in a compiled loop.

A function that iterates takes an argument `repeat`, so that its caller chooses the loop.
"""

from collections.abc import Callable
from typing import Any

type Repeat = Callable[[Callable[[Any], Any], Any, int], Any]


def python_loop(step: Callable[[Any], Any], state: Any, count: int) -> Any:
    """Apply `step` to the state `count` times, in a Python loop, and return the last state."""
    for _ in range(count):
        state = step(state)
    return state
