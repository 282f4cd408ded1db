"""Progress of a run: a bar on a terminal, elsewhere a plain line every few seconds."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from schemas.progress import progress
from training.journal import Row

type Progress = Callable[[int, Row], None]


@contextmanager
def follow(total: int, batch: int) -> Iterator[Progress]:
    """Enter it for a function (steps done, the last line of the journal)."""
    with progress(total * batch) as show:

        def say(step: int, row: Row) -> None:
            left = (total - step) * batch / row["samples_per_second"]
            loss = f"epoch {row['epoch']:.1f}, loss {row['train/loss']:.4g}"
            show(step * batch, f"{loss}, {row['samples_per_second']:,.0f} per second, {left:,.0f} s left")

        yield say
