"""Let signals stop a run: it saves at the next line of its journal and exits."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from training.devices import all_processes_agree


@contextmanager
def requested_stop() -> Iterator[Callable[[], bool]]:
    """Catch SIGTERM, SIGINT and SIGUSR1 while the context is entered. A second signal stops at once.

    Yields:
        A function that returns whether a signal came to any process.
    """
    asked = False

    def ask(number: int, _: object) -> None:
        nonlocal asked
        if asked:
            raise KeyboardInterrupt
        asked = True

    numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)
    here = threading.current_thread() is threading.main_thread()  # other threads cannot catch signals
    before = {number: signal.signal(number, ask) for number in numbers} if here else {}
    try:
        yield lambda: not all_processes_agree(not asked)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
