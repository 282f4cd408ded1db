"""Show the progress of a run: a bar on a terminal, elsewhere a plain line every few seconds."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from schemas.runtime.progress import progress
from training.metrics_log import Row
from training.sample_order import Order

type Progress = Callable[[int, Row], None]


@contextmanager
def show_progress(total: int, order: Order) -> Iterator[Progress]:
    """Show progress while the context is entered.

    Args:
        total: number of steps of the run.
        order: order of the training samples.

    Yields:
        A function that takes the number of steps done and the last line of the journal.
    """
    with progress(_samples_done(order, total)) as show:

        def say(step: int, row: Row) -> None:
            left = (total - step) * order.batch / row["samples_per_second"]
            loss = f"epoch {row['epoch']:.1f}, loss {row['train/loss']:.4g}"
            show(_samples_done(order, step), f"{loss}, {row['samples_per_second']:,.0f} samples/s, {left:,.0f} s left")

        yield say


def _samples_done(order: Order, step: int) -> int:
    """Return how many samples were learned from after `step` steps. The last batch of an epoch may be partly empty."""
    epochs, within = divmod(step, order.steps)
    return epochs * order.n + min(within * order.batch, order.n)
