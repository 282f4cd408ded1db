"""Score predictions without truth: the unbiased squared error of f(a) against b, for halves a and b of the counts.

Both directions are averaged: f(a) against b, and f(b) against a. All of it is at half the dose, which the report says.
"""

import math
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from inference.invert.split_reader import Rows, Source
from inference.report.intervals import bootstrap_interval, bootstrap_means
from inference.without_truth.pairs import MEASUREMENT, Pair, open_pairs
from physics.unbiased_error import squared_error_of_counts
from schemas.predictions import read_target
from schemas.runtime.progress import pace, progress
from schemas.slices import fold, slices_per_sample
from schemas.store import shard_ranges

BLOCK_SLICES = 64  # slices scored at once
BLOCKS = 64  # blocks of pixels in a slice, by which its interval is found
MIN_UNITS = 8  # units below which no interval is given, because resampling them says little
OUTLIERS = 0.1  # percentage of the pixels at either end that the default range leaves out

type Real = np.ndarray


@dataclass(frozen=True)
class Errors:
    """Squared errors of one estimate. Slices with a prediction that is not finite are NaN."""

    sums: Real  # (slice, block), sums over the pixels of each block
    sizes: Real  # (block,), numbers of pixels
    true: Real | None  # (slice,), mean squared errors against the stored truth; None without truth

    @property
    def slices(self) -> Real:
        """Mean of each slice (slice,)."""
        return np.asarray(self.sums.sum(axis=1) / self.sizes.sum())

    @property
    def mean(self) -> float:
        """Mean over all slices."""
        return _finite_mean(self.slices)

    @property
    def true_mean(self) -> float | None:
        """Mean squared error against the truth over the same slices; None without truth."""
        return None if self.true is None else _finite_mean(np.where(np.isfinite(self.slices), self.true, np.nan))

    @cached_property
    def slice_intervals(self) -> tuple[Real, Real]:
        """Ends of the 95 % interval of each slice (slice,), from resampled blocks of pixels."""
        if len(self.sizes) < MIN_UNITS:
            return (np.full(len(self.sums), np.nan),) * 2
        return bootstrap_interval(bootstrap_means(self.sums.T, self.sizes[:, None], _generator()))


@dataclass(frozen=True)
class Scores:
    """Scores without truth of one split."""

    source: Source
    pairs: tuple[Pair, ...]
    errors: Mapping[str, Errors]  # by name of the method; the last is MEASUREMENT
    data_range: float  # R of upsnr, in the unit of the input

    @property
    def rows(self) -> Rows:
        """The same split with slices as rows."""
        return Rows(self.source.path, self.source.manifest, self.source.split)

    @property
    def best(self) -> str:
        """Name of the method with the lowest error."""
        means = {pair.name: self.errors[pair.name].mean for pair in self.pairs}
        return min(means, key=lambda name: math.inf if math.isnan(means[name]) else means[name])

    @cached_property
    def _means(self) -> dict[str, Real]:
        """Resampled means (repeat,) by name: over blocks of pixels, or over slices if there are many of them."""
        sums = np.stack([errors.sums for errors in self.errors.values()], axis=-1)
        sizes = np.where(np.isfinite(sums), next(iter(self.errors.values())).sizes[:, None], 0.0)
        sums = np.where(np.isfinite(sums), sums, 0.0)
        if len(sums) < BLOCKS:
            sums, sizes = (values.reshape(-1, values.shape[-1]) for values in (sums, sizes))
        else:
            sums, sizes = sums.sum(axis=1), sizes.sum(axis=1)
        if len(sums) < MIN_UNITS:
            return {name: np.full(1, np.nan) for name in self.errors}
        return dict(zip(self.errors, bootstrap_means(sums, sizes, _generator()).T, strict=True))

    def interval(self, name: str, other: str | None = None) -> tuple[float, float]:
        """Return the ends of the 95 % interval of a mean error, or of its difference from that of another method.

        Args:
            name: the method.
            other: the method whose error is subtracted; None: nothing is.
        """
        means = self._means[name] - (0.0 if other is None else self._means[other])
        low, high = bootstrap_interval(means[:, None])
        return float(low[0]), float(high[0])


def evaluate(
    data: Path, given: Sequence[tuple[str | None, Path]], splits: Sequence[str] | None, data_range: float | None
) -> Scores:
    """Score predictions of both halves of the counts.

    Args:
        data: the dataset.
        given: the stores, each with the name to use for it; None: its stored name.
        splits: the split; None: that of the first store.
        data_range: R of upsnr; None: that of the inputs, mean over the slices, without outliers.

    Raises:
        UserError: as for `open_pairs`, or the dataset is damaged.
    """
    source, pairs = open_pairs(data, given, splits)
    opened = (replace(source, half=0), replace(source, half=1))
    slices = slices_per_sample(source.manifest.task, source.manifest.sizes)
    scored: dict[str, list[tuple[Real, Real | None]]] = {name: [] for name in (*(p.name for p in pairs), MEASUREMENT)}
    ranges, begin = [], time.monotonic()
    with progress(source.samples) as show:
        for start, stop in shard_ranges(source.samples, max(1, BLOCK_SLICES // slices)):
            block = _read_block(opened, start, stop)
            ranges.append(_ranges(block))
            for name, estimates in _estimates(block, pairs):
                scored[name].append((_block_sums(block, estimates), _true_errors(block, estimates)))
            show(stop, pace(source.samples - stop, stop, time.monotonic() - begin))
    sizes = _block_sizes(source)
    errors = {name: _join(parts, sizes) for name, parts in scored.items()}
    return Scores(source, pairs, errors, data_range or float(np.concatenate(ranges).mean()))


def read_estimates(found: Scores, row: int) -> list[Real]:
    """Return images of one slice: half 0, half 1, and the estimate of each method from half 0.

    Args:
        found: the scores.
        row: number of the slice.
    """
    opened = (replace(found.source, half=0), replace(found.source, half=1))
    sample, part = divmod(row, found.rows.slices)
    block = _read_block(opened, sample, sample + 1)
    estimates = [first for name, (first, _) in _estimates(block, found.pairs) if name != MEASUREMENT]
    return [block.fold(values)[part] for values in (*block.halves, *estimates)]


@dataclass(frozen=True)
class _Block:
    """Some samples with both halves of their counts, in float64 and in the order of dimensions of the input."""

    source: Source
    start: int
    stop: int
    halves: tuple[Real, Real]  # (sample, ...), in the unit of the input
    scales: tuple[Real, Real]  # counts of the value 1, which broadcast over the halves
    levels: Mapping[str, Real]  # known parts of the expectation, which broadcast over the halves
    truth: Real | None  # (sample, ...), the expectation of the input; None if the dataset does not hold it

    def add_levels(self, values: Real, held: Collection[str]) -> Real:
        """Return a sum of some targets, with the known parts of the expectation that are not among them."""
        rule, task = self.source.counts, self.source.task
        return sum((self.levels[name] for name in rule.known_levels(task, held)), values)

    def fold(self, values: Real) -> Real:
        """Return values of samples as values of slices (slice, ...)."""
        name, manifest = self.source.counts.input, self.source.manifest
        return fold(manifest.task, {name: values}, self.stop - self.start, manifest.sizes)[name]


def _read_block(opened: tuple[Source, Source], start: int, stop: int) -> _Block:
    """Read both halves of some samples, and their truth if there is one."""
    source, rule = replace(opened[0], half=None), opened[0].counts
    first, second = (half.read([rule.input, rule.scale], start, stop) for half in opened)
    scales = tuple(rule.along_input(source.task, rule.scale, half[rule.scale]) for half in (first, second))
    held = [name for name in rule.expectation if not source.lacks([name])]
    truth = _sum(source.read(held, start, stop)) if held else None
    values = first[rule.input].astype(float), second[rule.input].astype(float)
    given = source.read(rule.known_levels(source.task, ()), start, stop)
    levels = {name: rule.along_input(source.task, name, level) for name, level in given.items()}
    block = _Block(source, start, stop, values, (scales[0], scales[1]), levels, None)
    return block if truth is None else replace(block, truth=block.add_levels(truth, held))


def _sum(values: Mapping[str, np.ndarray]) -> Real:
    return np.asarray(sum(array.astype(float) for array in values.values()))


def _estimates(block: _Block, pairs: Sequence[Pair]) -> Iterator[tuple[str, tuple[Real, Real]]]:
    """Yield the estimates of each method from either half, and the halves themselves."""
    rows = slice(block.start, block.stop)
    for pair in pairs:
        first, second = (
            _sum({name: read_target(one.path, one.metadata, one.metadata.task[name], rows) for name in pair.estimate})
            for one in (pair.first, pair.second)
        )
        yield pair.name, (block.add_levels(first, pair.estimate), block.add_levels(second, pair.estimate))
    yield MEASUREMENT, block.halves


def _block_sums(block: _Block, estimates: tuple[Real, Real]) -> Real:
    """Return the unbiased squared errors (slice, block), summed over blocks of pixels, mean of both directions."""
    against = zip(estimates, block.halves[::-1], block.scales[::-1], strict=True)
    with np.errstate(over="ignore", invalid="ignore"):
        values = block.fold(np.asarray(sum(squared_error_of_counts(*one) for one in against)) / 2)
        for axis, edges in _edges(block.source):
            values = np.add.reduceat(values, edges, axis=axis)
        sums = values.reshape(len(values), -1)
    finite = np.isfinite(sums).all(axis=1, keepdims=True)
    return np.where(finite, sums, np.nan)


def _true_errors(block: _Block, estimates: tuple[Real, Real]) -> Real | None:
    """Return the mean squared error of each slice (slice,) against the truth, mean of both estimates."""
    if block.truth is None:
        return None
    squares = block.fold(sum(((one - block.truth) ** 2 for one in estimates), np.zeros(())) / 2)
    return np.asarray(squares.reshape(len(squares), -1).mean(axis=1))


def _edges(source: Source) -> list[tuple[int, np.ndarray]]:
    """Return the spatial axes of a slice, each with the first pixels of its blocks. Channels are summed as a whole."""
    task = source.manifest.task.sliced
    field = task[source.counts.input]
    spatial, axes = task.spatial(field), []
    parts = round(BLOCKS ** (1 / max(len(spatial), 1)))
    for axis, (dim, n) in enumerate(zip(field.dims[1:], field.shape(source.manifest.sizes), strict=True), 1):
        count = min(parts, n) if dim in spatial else 1
        axes.append((axis, np.arange(count) * n // count))
    return axes


def _block_sizes(source: Source) -> Real:
    """Return the number of pixels of each block (block,)."""
    values = np.ones(source.manifest.task.sliced[source.counts.input].shape(source.manifest.sizes))[None]
    for axis, edges in _edges(source):
        values = np.add.reduceat(values, edges, axis=axis)
    return values.ravel()


def _join(parts: Sequence[tuple[Real, Real | None]], sizes: Real) -> Errors:
    """Return the errors of all slices from those of blocks of samples."""
    true = [part for _, part in parts if part is not None]
    return Errors(np.concatenate([sums for sums, _ in parts]), sizes, np.concatenate(true) if true else None)


def _ranges(block: _Block) -> Real:
    """Return the range of the undivided input in each slice (slice,), without outliers."""
    whole = block.fold((block.halves[0] + block.halves[1]) / 2)
    low, high = np.percentile(whole.reshape(len(whole), -1), [OUTLIERS, 100 - OUTLIERS], axis=1)
    return np.asarray(high - low)


def _finite_mean(values: Real) -> float:
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else math.nan


def _generator() -> np.random.Generator:
    """Return the random numbers by which units are resampled: the same in every run."""
    return np.random.Generator(np.random.Philox(key=0))
