"""Which samples make which batch: laws of a permutation that a reader with little memory can follow."""

from collections.abc import Iterator

import numpy as np
import pytest

from training import sample_order
from training.sample_order import Order, block_length

RECORDED = (sample_order.WINDOW_BLOCKS, sample_order.BLOCK_BYTES)
CASES = [(1, 1, 1), (5, 8, 3), (8, 8, 3), (41, 8, 5), (100, 7, 4), (1000, 64, 1)]  # n, batch, block


@pytest.fixture(autouse=True)
def _narrow(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(sample_order, "WINDOW_BLOCKS", 3)
    sample_order._epoch_rows.cache_clear()
    yield
    sample_order._epoch_rows.cache_clear()


def seen(plan: Order, epoch: int) -> np.ndarray:
    """The samples of an epoch, as the batches serve them."""
    steps = range(epoch * plan.steps, (epoch + 1) * plan.steps)
    return np.concatenate([ids[weight > 0] for ids, weight in map(plan.ids, steps)])


@pytest.mark.parametrize(("n", "batch", "block"), CASES)
@pytest.mark.parametrize("seed", [None, 0, 7])
def test_each_epoch_serves_each_sample_once(n: int, batch: int, block: int, seed: int | None) -> None:
    plan = Order(n, batch, seed, block)
    for epoch in (0, 1, 5):
        assert sorted(seen(plan, epoch)) == list(range(n))


@pytest.mark.parametrize(("n", "batch", "block"), CASES)
def test_only_the_end_of_an_epoch_is_filled_up(n: int, batch: int, block: int) -> None:
    plan = Order(n, batch, 3, block)
    for step in range(2 * plan.steps):
        ids, weight = plan.ids(step)
        real = batch if (step + 1) % plan.steps else n - (plan.steps - 1) * batch
        assert (str(ids.dtype), str(weight.dtype)) == ("int64", "float32")
        assert ids.shape == weight.shape == (batch,)
        np.testing.assert_array_equal(weight, [1] * real + [0] * (batch - real))
        assert set(ids[real:]) <= {ids[0]}


def test_epochs_and_seeds_differ() -> None:
    orders = [tuple(seen(Order(100, 10, seed, 4), epoch)) for seed in (0, 1, 2**31) for epoch in (0, 1, 2)]
    assert len(set(orders)) == len(orders)


def test_seed_and_step_alone_decide() -> None:
    """Not what was asked before: neither the order of questions nor what is remembered."""
    plan, steps = Order(100, 7, 5, 4), [0, 44, 3, 200, 3]
    first = [plan.ids(step)[0] for step in steps]
    sample_order._epoch_rows.cache_clear()
    for step, ids in reversed(list(zip(steps, first, strict=True))):
        np.testing.assert_array_equal(Order(100, 7, 5, 4).ids(step)[0], ids)


def test_the_batch_size_does_not_change_the_order() -> None:
    np.testing.assert_array_equal(seen(Order(100, 7, 5, 4), 2), seen(Order(100, 32, 5, 4), 2))


@pytest.mark.parametrize("seed", [0, 1])
def test_a_window_holds_few_blocks_and_they_come_one_after_the_other(seed: int) -> None:
    n, block = 103, 4
    served, windows, start = Order(n, 10, seed, block).epoch(1), [], 0
    while start < n:
        lengths = np.cumsum(
            [min(block, n - b * block) for b in dict.fromkeys(served[start:] // block)][: sample_order.WINDOW_BLOCKS]
        )
        stop = start + int(lengths[-1])
        windows.append(set(served[start:stop] // block))
        start = stop
    assert all(len(window) <= sample_order.WINDOW_BLOCKS for window in windows)
    assert sum(map(len, windows)) == len(set.union(*windows)) == -(-n // block)


def test_samples_are_mixed_within_a_window_and_windows_over_the_whole() -> None:
    """Else a batch would hold neighbours, and the first batches the first samples."""
    served = Order(4000, 10, 0, 10).epoch(0)
    assert np.mean(np.diff(served) == 1) < 0.1
    assert len(set(served[:30] // 10)) == 3
    assert abs(np.corrcoef(np.arange(4000), served)[0, 1]) < 0.1


@pytest.mark.parametrize("seed", [None, 4])
def test_blocks_come_in_the_order_in_which_they_are_needed(seed: int | None) -> None:
    plan = Order(101, 10, seed, 4)
    for epoch in (0, 3):
        assert plan.blocks(epoch) == list(dict.fromkeys(plan.epoch(epoch) // 4))


def test_without_a_seed_samples_come_as_they_are_stored() -> None:
    plan = Order(5, 2, None, 2)
    for step, ids in enumerate([[0, 1], [2, 3], [4, 4], [0, 1]]):
        np.testing.assert_array_equal(plan.ids(step)[0], ids)


def test_this_order_stays_for_ever() -> None:
    """Recorded: another order would break the resuming of runs that exist. If it must change, raise run.VERSION."""
    plan = Order(11, 4, 3, 2)
    found = [plan.ids(step)[0].tolist() for step in range(2 * plan.steps)]
    assert found == GOLDEN
    assert plan.blocks(1) == GOLDEN_BLOCKS
    assert RECORDED == (64, 4 << 20)


GOLDEN = [
    [8, 1, 0, 9],
    [10, 4, 2, 6],
    [7, 3, 5, 7],
    [6, 8, 7, 9],
    [5, 4, 3, 1],
    [0, 2, 10, 0],
]  # with windows of three blocks
GOLDEN_BLOCKS = [3, 4, 2, 1, 0, 5]


@pytest.mark.parametrize(("nbytes", "length"), [(0, 4 << 20), (1 << 20, 4), (3 << 20, 1), (1 << 30, 1)])
def test_a_block_holds_about_four_megabytes(nbytes: int, length: int) -> None:
    assert block_length(nbytes) == length


@pytest.mark.parametrize(
    ("nbytes", "window"), [(1000, 64), (4 << 20, 64), ((4 << 20) + 1, 63), (64 << 20, 4), (1 << 40, 1)]
)
def test_windows_hold_so_many_bytes(nbytes: int, window: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Up to 4 MB a sample the order is what it always was; read-ahead of larger samples takes no more memory."""
    monkeypatch.setattr(sample_order, "WINDOW_BLOCKS", RECORDED[0])
    monkeypatch.setattr(sample_order, "BLOCK_BYTES", RECORDED[1])
    plan = Order(200, 7, 5, block_length(nbytes), 0, nbytes)
    assert plan.window == window
    if nbytes <= 4 << 20:
        np.testing.assert_array_equal(plan.epoch(1), Order(200, 7, 5, block_length(nbytes)).epoch(1))
    assert sorted(plan.epoch(1)) == list(range(200))
