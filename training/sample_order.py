"""The order of samples in batches: a pure function of (seed, step), independent of store, mode and machines.

The order is one of rows: samples, their slices, or parts of these. Rows lie in logical blocks of a fixed length. An
epoch is a permutation of the blocks, and then of the rows within each window of blocks, so a reader holds a window of
blocks and never the whole dataset. The last batch of an epoch is filled up with its own first row at weight 0. Thus
epochs are whole, sums are exact, and all batches have one shape. (Zeros would not do: physics may divide by them, and 0
times NaN is NaN in a gradient.)
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

BLOCK_BYTES = 4 << 20
WINDOW_BLOCKS = 64  # blocks per window, if a sample is not larger than BLOCK_BYTES


@dataclass(frozen=True)
class Order:
    """The order of n rows, from `first` on, in batches."""

    n: int
    batch: int  # rows per batch
    seed: int | None  # seed of the order; None: the stored order
    block: int  # rows per block
    first: int = 0
    nbytes: int = 0  # bytes per sample
    parts: int = 1  # rows per sample: slices, or parts of these

    @property
    def steps(self) -> int:
        """Number of batches in an epoch."""
        return -(-self.n // self.batch)

    @property
    def window(self) -> int:
        """Number of blocks that are shuffled together.

        They hold about WINDOW_BLOCKS * BLOCK_BYTES, also if a sample is large.
        """
        return max(1, min(WINDOW_BLOCKS, WINDOW_BLOCKS * BLOCK_BYTES // max(self.nbytes, 1)))

    @property
    def all_blocks(self) -> range:
        """Indices of all blocks."""
        return range(self.first // self.block, -(-(self.first + self.n) // self.block))

    def ids(self, step: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the rows of a batch.

        Args:
            step: step of the run.

        Returns:
            Rows (batch,) int64, and their weights (batch,) float32, 0 for rows that only fill up the batch.
        """
        epoch, start = step // self.steps, step % self.steps * self.batch
        found = self.epoch(epoch)[start : start + self.batch]
        filled = np.full(self.batch, found[0])
        filled[: len(found)] = found
        return filled, (np.arange(self.batch) < len(found)).astype(np.float32)

    def epoch(self, epoch: int) -> np.ndarray:
        """Return all rows in the order of an epoch, (n,) int64."""
        return _epoch_rows(self, epoch)

    def blocks(self, epoch: int) -> list[int]:
        """Return the blocks in the order in which an epoch first needs them."""
        owners = self.epoch(epoch) // self.block
        _, first = np.unique(owners, return_index=True)
        return [int(owners[place]) for place in np.sort(first)]

    def rows(self, block: int) -> slice:
        """Return the rows of a block."""
        start, end = block * self.block, (block + 1) * self.block
        return slice(max(start, self.first), min(end, self.first + self.n))


@lru_cache(maxsize=4)
def _epoch_rows(order: Order, epoch: int) -> np.ndarray:
    if order.seed is None:
        return np.arange(order.first, order.first + order.n)
    rng = np.random.Generator(np.random.Philox(key=order.seed, counter=[0, 0, 0, epoch]))
    blocks = rng.permutation(order.all_blocks)
    return np.concatenate(list(_shuffle_windows(order, blocks, rng)))


def _shuffle_windows(order: Order, blocks: np.ndarray, rng: np.random.Generator) -> Iterator[np.ndarray]:
    for start in range(0, len(blocks), order.window):
        rows = [np.r_[order.rows(block)] for block in blocks[start : start + order.window]]
        yield rng.permutation(np.concatenate(rows))


def block_length(nbytes: int) -> int:
    """Return how many samples form a logical block: about BLOCK_BYTES.

    Args:
        nbytes: bytes of a sample.
    """
    return max(1, BLOCK_BYTES // max(nbytes, 1))
