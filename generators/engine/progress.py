"""Show the progress of a run: samples done, samples made per second, and the time left."""

import time
from collections.abc import Iterable, Iterator

from generators.engine.shards import Outcome
from schemas.runtime.progress import pace, progress


def follow(outcomes: Iterable[Outcome], total: int) -> Iterator[Outcome]:
    """Pass outcomes on, showing samples done, samples made per second and the time left.

    Args:
        outcomes: what became of each job
        total: number of samples of the plan
    """
    with progress(total) as show:
        first = time.monotonic()  # set again at the first outcome, so that the time to start workers is left out
        done = made = 0
        for outcome in outcomes:
            yield outcome
            if outcome.kind == "samples":
                done += outcome.samples
                if outcome.made and not made:
                    first = time.monotonic()
                show(done, pace(total - done, made, time.monotonic() - first))
                made += outcome.samples * outcome.made
