"""Asked to stop: a run saves at the next line of its journal, and exits."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import jax
import numpy as np
from jax.experimental import multihost_utils


@contextmanager
def requested_stop() -> Iterator[Callable[[], bool]]:
    """Whether SIGTERM, SIGINT or SIGUSR1 came to any process since; a second one stops at once."""
    asked = False

    def ask(number: int, _: object) -> None:
        nonlocal asked
        if asked:
            raise KeyboardInterrupt
        asked = True

    def any_asked() -> bool:
        if jax.process_count() == 1:
            return asked
        return bool(np.any(multihost_utils.process_allgather(np.asarray(asked))))

    numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)
    before = {number: signal.signal(number, ask) for number in numbers}
    try:
        yield any_asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
