"""Which samples make which batch: a pure function of (seed, step), whatever the store, the mode or the machines.

What is ordered are the rows that samples have: samples, their slices, or parts of them.
Samples lie in logical blocks of a fixed length. An epoch is a permutation of the blocks, then of the samples within
each window of blocks; so a reader needs to hold a window of blocks, never the whole. The last batch of an epoch is
filled up with its own first sample at weight 0: whole epochs, exact sums, one shape. (Not with zeros: physics may
divide by them, and 0 times NaN is NaN in a gradient.)
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

BLOCK_BYTES = 4 << 20
WINDOW = 64  # blocks, of samples that are not larger than BLOCK_BYTES


@dataclass(frozen=True)
class Order:
    """The order of n samples, from `first` on, in batches. seed: None keeps them as they are stored."""

    n: int
    batch: int
    seed: int | None
    block: int
    first: int = 0
    nbytes: int = 0  # of a sample
    parts: int = 1  # rows of a sample: slices, or parts of these

    @property
    def steps(self) -> int:
        """Batches of an epoch."""
        return -(-self.n // self.batch)

    @property
    def window(self) -> int:
        """Blocks that are shuffled together: they hold about WINDOW * BLOCK_BYTES, however large a sample is."""
        return max(1, min(WINDOW, WINDOW * BLOCK_BYTES // max(self.nbytes, 1)))

    @property
    def everything(self) -> range:
        """All blocks."""
        return range(self.first // self.block, -(-(self.first + self.n) // self.block))

    def ids(self, step: int) -> tuple[np.ndarray, np.ndarray]:
        """Samples and weights (0 or 1) of a batch, (batch,) int64 and float32."""
        epoch, start = step // self.steps, step % self.steps * self.batch
        found = self.epoch(epoch)[start : start + self.batch]
        filled = np.full(self.batch, found[0])
        filled[: len(found)] = found
        return filled, (np.arange(self.batch) < len(found)).astype(np.float32)

    def epoch(self, epoch: int) -> np.ndarray:
        """All samples in the order of an epoch, (n,) int64."""
        return _epoch(self, epoch)

    def blocks(self, epoch: int) -> list[int]:
        """The blocks in the order in which an epoch first needs them."""
        owners = self.epoch(epoch) // self.block
        _, first = np.unique(owners, return_index=True)
        return [int(owners[place]) for place in np.sort(first)]

    def rows(self, block: int) -> slice:
        """The samples of a block."""
        start, end = block * self.block, (block + 1) * self.block
        return slice(max(start, self.first), min(end, self.first + self.n))


@lru_cache(maxsize=4)
def _epoch(order: Order, epoch: int) -> np.ndarray:
    if order.seed is None:
        return np.arange(order.first, order.first + order.n)
    rng = np.random.Generator(np.random.Philox(key=order.seed, counter=[0, 0, 0, epoch]))
    blocks = rng.permutation(order.everything)
    return np.concatenate(list(_windows(order, blocks, rng)))


def _windows(order: Order, blocks: np.ndarray, rng: np.random.Generator) -> Iterator[np.ndarray]:
    for start in range(0, len(blocks), order.window):
        rows = [np.r_[order.rows(block)] for block in blocks[start : start + order.window]]
        yield rng.permutation(np.concatenate(rows))


def block_length(nbytes: int) -> int:
    """Samples of a logical block: about BLOCK_BYTES of `nbytes` each."""
    return max(1, BLOCK_BYTES // max(nbytes, 1))
