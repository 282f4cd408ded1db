"""Score predictions of one or several splits against the truth: one score per sample, metric and method.

Samples are read and scored block by block.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from inference.contract import Report, SectionContent
from inference.invert.split_reader import Arrays, Rows, Source, open_source
from inference.report import classes, numbers
from inference.task_modules import find_inference
from schemas.ambiguities import align
from schemas.predictions import Predictions, read_predictions, verify
from schemas.runtime.errors import UserError
from schemas.runtime.progress import pace, progress
from schemas.scores import nrms_aligned, score_and_correlation, summarise
from schemas.store import shard_ranges
from schemas.task import SAMPLE, Task

BLOCK_SAMPLES = 64  # samples scored at once: float64 copies of them stay small
MAX_CURVES = 1024  # maximum number of samples over which the ring correlation is averaged
SPLIT_KEYS = {"split", "split_digest", "samples"}  # keys in which predictions of one method may differ

type Real = np.ndarray
type Stores = Sequence["ScoredPredictions"]
type Summary = dict[str, dict[str, float | int | str | None]]


@dataclass(frozen=True)
class ScoredPredictions:
    """Store of predictions with its metadata."""

    path: Path
    metadata: Predictions

    @property
    def name(self) -> str:
        """Name of the method in tables and plots."""
        return self.metadata.name


@dataclass(frozen=True)
class Result:
    """All scores of one split. Keys of `scores` and `correlation` are names of predictions."""

    source: Rows
    report: Report
    stores: tuple[ScoredPredictions, ...]
    # All methods, also those that only other splits have, so that each keeps its colour throughout a report.
    methods: tuple[ScoredPredictions, ...]
    scores: dict[str, dict[str, Real]]  # scores (sample,) by name and metric
    frequency: Real  # (ring,) [1/pixel]
    correlation: dict[str, Real]  # ring correlation (ring,) of the first target, mean over the first samples, by name
    zero: float  # mean nrms_aligned of a prediction of 0 everywhere; NaN if the task has its own scores
    sections: Mapping[str, SectionContent]  # sections of the task, by title
    data_range: float | None = None  # range of values in psnr and ssim; None: that of each true image

    @property
    def task(self) -> Task:
        """Task of the dataset."""
        return self.source.task

    @cached_property
    def summaries(self) -> dict[str, Summary]:
        """Mean, standard deviation, number and unit of the scores, by name and metric."""
        return {name: summarise(self.task, scores, self.report.meaning) for name, scores in self.scores.items()}

    @cached_property
    def parameters(self) -> Arrays:
        """Parameters by name: all with one value per sample, (sample,), and those that the report plots against."""
        names = {f.name for f in self.task.of("parameter") if f.dims == (SAMPLE,)} | set(self.report.parameters)
        present = [name for name in names if not self.source.lacks([name])]
        return self.source.read(present, 0, self.source.samples)

    @property
    def rank(self) -> str:
        """Key of the score by which methods are ranked and compared."""
        return self.report.ranking_score(self.task)

    @property
    def published(self) -> str | None:
        """Key of the same score before alignment; None if alignment changes nothing or the task has its own scores."""
        return "nrms" if self.rank == "nrms_aligned" and self.task.ambiguities.free else None

    def count_not_finite(self, store: ScoredPredictions) -> int:
        """Return the number of predictions that contain NaN or infinite values, and so have no score."""
        scores = self.scores[store.name]
        errors = next((scores[name] for name in ("rms", "absolute_error") if name in scores), np.zeros(0))
        return int(np.isnan(errors).sum())

    @property
    def reference(self) -> ScoredPredictions | None:
        """Classical method with the lowest mean error, which a network has to surpass; None if there is none."""
        classical = (store for store in self.stores if store.metadata.kind == "classical")
        return min(classical, key=self._error, default=None)

    @property
    def best(self) -> ScoredPredictions:
        """Network with the lowest mean error; without networks, the method with the lowest mean error."""
        networks = [store for store in self.stores if store.metadata.kind == "network"]
        return min(networks or self.stores, key=self._error)

    def _error(self, store: ScoredPredictions) -> float:
        mean = self.summaries[store.name][self.rank]["mean"]
        return np.inf if mean is None else float(mean)

    def sample(self, index: int) -> tuple[Arrays, dict[str, Arrays]]:
        """Read one sample.

        Args:
            index: number of the sample.

        Returns:
            The inputs of the report and the targets; and the predictions of each method, aligned with the truth.
        """
        fields = self.task.of("target")
        names = {field.name for field in fields} | {shown.field for shown in self.report.inputs}
        values = self.source.read(sorted(names - set(self.source.lacks(names))), index, index + 1)
        truth, window = {field.name: values[field.name] for field in fields}, self.source.window()
        aligned = {}
        for store in self.stores:
            predicted = self.source.read_predicted(store.path, store.metadata, index, index + 1)
            aligned[store.name] = align(self.task, predicted, truth, window)
        return values, aligned


@dataclass(frozen=True)
class Evaluation:
    """Results of one or several splits of a dataset, in the order asked for."""

    results: tuple[Result, ...]

    @property
    def main(self) -> Result:
        """Main result of the report: that of the test samples, or the last if there are none."""
        return next((result for result in self.results if result.source.split == "test"), self.results[-1])

    @property
    def others(self) -> tuple[Result, ...]:
        """Results that are shown for comparison with the main one."""
        return tuple(result for result in self.results if result is not self.main)


def evaluate(
    data: Path,
    given: Sequence[tuple[str | None, Path]],
    splits: Sequence[str] | None,
    data_range: float | None = None,
) -> Evaluation:
    """Score stores of predictions against their splits of a dataset.

    Args:
        data: the dataset.
        given: the stores, each with the name to use for it; None: its stored name.
        splits: the splits to score; None: the split of the first store.
        data_range: range of values in psnr and ssim; None: that of each true image.

    Raises:
        UserError: predictions are incomplete, damaged, or made for another dataset or split; two have the same name; a
            split has no predictions; or the dataset has no targets.
    """
    stores = [ScoredPredictions(path, _rename(read_predictions(path), label)) for label, path in given]
    opened = [open_source(data, split) for split in splits or [stores[0].metadata.split]]
    sources = [Rows(one.path, one.manifest, one.split, _scored_targets(one, stores)) for one in opened]
    for store in stores:
        _refuse_other_dataset(store, sources)
    parts = [_predictions_of_split(stores, source) for source in sources]
    _refuse_different_methods(stores)
    if not sources[0].task.of("target"):
        raise UserError(f"{data}: holds measurements without targets; scores need a dataset with targets")
    for store in stores:
        verify(store.path, store.metadata)
    pairs = zip(sources, parts, strict=True)
    return Evaluation(
        tuple(_score_split(source, part, _unique_by_name(stores, part), data_range) for source, part in pairs)
    )


def _scored_targets(source: Source, stores: Stores) -> tuple[str, ...]:
    """Return the fields that all stores predict and the dataset has; empty if these are all targets of the task.

    Raises:
        UserError: there are none.
    """
    present = {field.name for field in source.task.fields}
    predicted = [[field.name for field in store.metadata.targets] for store in stores]
    common = tuple(name for name in predicted[0] if all(name in names for names in predicted) and name in present)
    own = [field.name for field in source.task.of("target")]
    if not common and own:
        held = (f"{store.path} holds {', '.join(names)}" for store, names in zip(stores, predicted, strict=True))
        raise UserError(
            f"{'; '.join(held)}; {source.path} holds {', '.join(own)}: none of these is in all of them; "
            "give only predictions of the same target"
        )
    return () if set(common) == set(own) else common


def _score_split(source: Rows, stores: Stores, methods: Stores, data_range: float | None) -> Result:
    report = find_inference(source.task.name).REPORT
    report = report.of_targets(source.targets) if source.targets else report
    scores, frequency, correlation, zero = _score_samples(source, stores, report, data_range)
    paths = {store.name: store.path for store in stores}
    samples, known = source.samples_source, (*report.sections, classes.SECTION, numbers.SECTION)
    sections = {section.title: content for section in known if (content := section.compute(samples, paths))}
    return Result(
        source, report, tuple(stores), tuple(methods), scores, frequency, correlation, zero, sections, data_range
    )


def _predictions_of_split(stores: Stores, source: Source) -> list[ScoredPredictions]:
    """Return the predictions of one split. Raise UserError if there are none, or if two have the same name."""
    matching = [store for store in stores if store.metadata.split == source.split]
    if not matching:
        raise UserError(
            f"--split {source.split}: there are no predictions of this split; make some with: "
            f"infer --data {source.path} --split {source.split} ..."
        )
    _refuse_duplicate_names(matching)
    return matching


def _unique_by_name(stores: Stores, preferred: Stores) -> list[ScoredPredictions]:
    """Return one store for each name, in the order of `stores`. Of duplicates, the one in `preferred` is returned."""
    found = {store.name: store for store in stores} | {store.name: store for store in preferred}
    return list(found.values())


def _rename(predictions: Predictions, label: str | None) -> Predictions:
    return predictions.model_copy(update={"name": label}) if label else predictions


def _refuse_other_dataset(store: ScoredPredictions, sources: Sequence[Source]) -> None:
    metadata, source = store.metadata, sources[0]
    if metadata.half is not None:
        raise UserError(
            f"{store.path}: holds predictions from half of the counts; score both halves with --no-truth, or omit it"
        )
    if metadata.dataset_digest != source.manifest.root_digest:
        raise UserError(
            f"{store.path}: holds predictions of another dataset (digest {metadata.dataset_digest[:16]}; "
            f"{source.path} has {str(source.manifest.root_digest)[:16]}); run `infer` on {source.path}"
        )
    splits = [opened.split for opened in sources]
    if metadata.split not in splits:
        raise UserError(
            f"{store.path}: holds predictions of split {metadata.split}, not {' or '.join(splits)}; leave them out, "
            f"or give --split {','.join([*splits, metadata.split])}"
        )


def _refuse_different_methods(stores: Stores) -> None:
    """Raise UserError if one name stands for different methods in several splits: their errors are compared."""
    for store in stores:
        first = next(other for other in stores if other.name == store.name)
        known, other = (compared.metadata.fingerprint for compared in (first, store))
        if differing := [key for key in known if key not in SPLIT_KEYS and known[key] != other[key]]:
            raise UserError(
                f"{first.path}, {store.path}: both are named {store.name}, but they differ in {', '.join(differing)}; "
                "give them different names: --predictions LABEL=STORE ..."
            )


def _refuse_duplicate_names(stores: Stores) -> None:
    names = [store.name for store in stores]
    for store in stores:
        if names.count(store.name) > 1:
            paths = ", ".join(str(other.path) for other in stores if other.name == store.name)
            raise UserError(f"{paths}: all are named {store.name}; rename them with --predictions LABEL=STORE ...")


def _score_samples(
    source: Rows, stores: Stores, report: Report, data_range: float | None
) -> tuple[dict[str, dict[str, Real]], Real, dict[str, Real], float]:
    """Return scores by name, frequencies and mean ring correlations, and the mean error of predicting 0 everywhere."""
    scores: dict[str, list[dict[str, Real]]] = {store.name: [] for store in stores}
    curves: dict[str, list[Real]] = {store.name: [] for store in stores}
    window, begin = source.window(), time.monotonic()
    targets = [field.name for field in source.task.of("target")]
    frequency: Real = np.empty(0)
    zero: list[Real] = []
    with progress(source.samples) as show:
        for start, stop in shard_ranges(source.samples, BLOCK_SAMPLES):
            fields = source.read([*targets, *(name for name in report.needs if not source.lacks([name]))], start, stop)
            truth = {name: fields[name] for name in targets}
            if not report.ranks and report.ranking_score(source.task) == "nrms_aligned":
                zero.append(nrms_aligned(source.task, {name: 0 * truth[name] for name in targets}, truth, window))
            for store in stores:
                predicted = source.read_predicted(store.path, store.metadata, start, stop)
                values, frequency, rows = score_and_correlation(source.task, predicted, truth, window, data_range)
                scores[store.name].append({**report.measure(source.task, fields, predicted), **values})
                if start < MAX_CURVES:
                    curves[store.name].append(rows)
            show(stop, pace(source.samples - stop, stop, time.monotonic() - begin))
    joined = {
        name: {metric: np.concatenate([part[metric] for part in parts]) for metric in parts[0]}
        for name, parts in scores.items()
    }
    curve = {name: _mean_curve(np.concatenate(parts)) for name, parts in curves.items()}
    return joined, frequency, curve, float(_mean_curve(np.concatenate([*zero, [np.nan]])[:, None])[0])


def _mean_curve(rows: Real) -> Real:
    """Return the mean of each ring over the samples that have a value in it."""
    defined = np.isfinite(rows)
    total = np.where(defined, rows, 0).sum(axis=0)
    return np.divide(total, defined.sum(axis=0), where=defined.any(axis=0), out=np.full(total.shape, np.nan))  # type: ignore[no-any-return]
