"""Asked to stop: a run saves at the next line of its journal, and exits."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from training.devices import everybody


@contextmanager
def requested_stop() -> Iterator[Callable[[], bool]]:
    """Whether SIGTERM, SIGINT or SIGUSR1 came to any process since; a second one stops at once."""
    asked = False

    def ask(number: int, _: object) -> None:
        nonlocal asked
        if asked:
            raise KeyboardInterrupt
        asked = True

    numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)
    before = {number: signal.signal(number, ask) for number in numbers}
    try:
        yield lambda: not everybody(not asked)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
