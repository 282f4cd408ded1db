"""A step of an iteration, repeated: in Python, or in a loop that is compiled."""

from collections.abc import Callable
from typing import Any

type Repeat = Callable[[Callable[[Any], Any], Any, int], Any]


def in_turn(step: Callable[[Any], Any], state: Any, count: int) -> Any:
    """The step, `count` times, in Python."""
    for _ in range(count):
        state = step(state)
    return state
