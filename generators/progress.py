"""Progress of a run: a bar on a terminal, elsewhere a plain line every few seconds."""

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from generators.unit import Outcome

SECONDS = 5.0  # between plain lines

type Show = Callable[[int, str], None]


def follow(outcomes: Iterable[Outcome], total: int) -> Iterator[Outcome]:
    """Pass outcomes on, showing samples done, samples made per second and the time left."""
    with _bar(total) if sys.stdout.isatty() else _lines(total) as show:
        first = time.monotonic()  # outcome, so that starting workers does not count
        done = made = 0
        for outcome in outcomes:
            yield outcome
            if outcome.kind == "samples":
                done += outcome.samples
                if outcome.made and not made:
                    first = time.monotonic()
                show(done, _pace(total - done, made, time.monotonic() - first))
                made += outcome.samples * outcome.made


def _pace(left: int, made: int, seconds: float) -> str:
    if not made or not seconds:
        return ""
    rate = made / seconds
    return f"{rate:,.0f} per second, {left / rate:,.0f} s left"


@contextmanager
def _bar(total: int) -> Iterator[Show]:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    columns = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[pace]}"))
    with Progress(*columns) as progress:
        task = progress.add_task("samples", total=total, pace="")
        yield lambda done, pace: progress.update(task, completed=done, pace=pace)


@contextmanager
def _lines(total: int) -> Iterator[Show]:
    said = time.monotonic()

    def show(done: int, pace: str) -> None:
        nonlocal said
        if time.monotonic() - said > SECONDS:
            said = time.monotonic()
            print(f"{done:,} of {total:,} samples, {pace}", flush=True)

    yield show
