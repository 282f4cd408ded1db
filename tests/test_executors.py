"""Where jobs run makes no difference, and little is under way at once."""

from collections.abc import Iterator

import pytest
from distributed import Client

from generators import executors


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    with Client(processes=False, n_workers=1, threads_per_worker=2, dashboard_address=None) as made:
        yield made


def test_few_jobs_are_taken_before_their_results_are_used(client: Client) -> None:
    """So that client and scheduler stay small with 10^7 samples: the plan is never listed."""
    taken = 0

    def jobs() -> Iterator[int]:
        nonlocal taken
        while True:
            taken += 1
            yield taken

    results = executors._distributed(client, lambda job: job, jobs())
    seen = {next(results) for _ in range(20)}
    assert len(seen) == 20
    assert taken <= 20 + 2 * executors.AHEAD


def test_an_error_reaches_the_client(client: Client) -> None:
    def work(job: int) -> int:
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        list(executors._distributed(client, work, [1, 2, 3]))
