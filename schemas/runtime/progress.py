"""Progress of a command: a bar on a terminal, a plain line every few seconds elsewhere."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

from schemas.runtime.terminal import say

LINE_INTERVAL = 5.0  # minimum time between two plain lines [s]

type Show = Callable[[int, str], None]


def progress(total: int) -> AbstractContextManager[Show]:
    """Return a context manager that shows progress.

    Args:
        total: number of samples.

    Returns:
        A context manager. It gives a function that takes the number of finished samples and a text on the pace.
    """
    return _show_bar(total) if sys.stdout and sys.stdout.isatty() else _print_lines(total)


def pace(left: int, made: int, seconds: float) -> str:
    """Return a text with the samples per second and the time left.

    Args:
        left: samples still to be made.
        made: samples made so far.
        seconds: time they took.
    """
    if not made or not seconds:
        return ""
    rate = made / seconds
    return f"{rate:,.{0 if rate >= 10 else 2}f} per second, {left / rate:,.0f} s left"


@contextmanager
def _show_bar(total: int) -> Iterator[Show]:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    columns = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[pace]}"))
    with Progress(*columns) as bar:  # its texts are numbers
        task = bar.add_task("samples", total=total, pace="")
        yield lambda done, pace: bar.update(task, completed=done, pace=pace)


@contextmanager
def _print_lines(total: int) -> Iterator[Show]:
    """Print a plain line every few seconds."""
    last_time = time.monotonic()

    def show(done: int, pace: str) -> None:
        nonlocal last_time
        if time.monotonic() - last_time > LINE_INTERVAL:
            last_time = time.monotonic()
            say(f"{done:,} of {total:,} samples" + (f", {pace}" if pace else ""))

    yield show
