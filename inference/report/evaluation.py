"""Score predictions of one or several splits against the truth: one score per sample, metric and method.

Samples are read and scored block by block.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from inference.contract import Found, Report, find_inference
from inference.invert.split_reader import Arrays, Rows, Source, open_source
from inference.report.classes import SECTION
from schemas.ambiguities import align
from schemas.predictions import Predictions, read_predictions
from schemas.runtime.errors import UserError
from schemas.runtime.progress import pace, progress
from schemas.scores import nrms_aligned, score_and_correlation, summarise
from schemas.store import shard_ranges
from schemas.task import SAMPLE, Task

BLOCK = 64  # samples scored at once: float64 copies of them stay small
CURVES = 1024  # maximum number of samples over which the ring correlation is averaged
OF_SPLIT = {"split", "split_digest", "samples"}  # keys in which predictions of one method may differ

type Real = np.ndarray
type Summary = dict[str, dict[str, float | int | str | None]]


@dataclass(frozen=True)
class ScoredPredictions:
    """Store of predictions with its metadata."""

    path: Path
    predictions: Predictions

    @property
    def name(self) -> str:
        """Name of the method in tables and plots."""
        return self.predictions.name


@dataclass(frozen=True)
class Result:
    """All scores of one split. Keys of `scores` and `correlation` are names of runs."""

    source: Rows
    report: Report
    runs: tuple[ScoredPredictions, ...]
    # All methods, also those that only other splits have, so that each keeps its colour throughout a report.
    methods: tuple[ScoredPredictions, ...]
    scores: dict[str, dict[str, Real]]  # scores (sample,) by run and metric
    frequency: Real  # (ring,) [1/pixel]
    correlation: dict[str, Real]  # ring correlation (ring,) of the first target, mean over the first samples, by run
    zero: float  # mean nrms_aligned of a prediction of 0 everywhere; NaN if the task has its own scores
    sections: Mapping[str, Found]  # sections of the task, by title

    @property
    def task(self) -> Task:
        """Task of the dataset."""
        return self.source.task

    @cached_property
    def summaries(self) -> dict[str, Summary]:
        """Mean, standard deviation, number and unit of the scores, by run and metric."""
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
        return self.report.ranks(self.task)

    @property
    def published(self) -> str | None:
        """Key of the same score before alignment; None if alignment changes nothing or the task has its own scores."""
        return "nrms" if self.rank == "nrms_aligned" and self.task.ambiguities.free else None

    def broken(self, run: ScoredPredictions) -> int:
        """Return the number of predictions that contain NaN or infinite values, and so have no score."""
        scores = self.scores[run.name]
        errors = next((scores[name] for name in ("rms", "absolute_error") if name in scores), np.zeros(0))
        return int(np.isnan(errors).sum())

    @property
    def reference(self) -> ScoredPredictions | None:
        """Classical method with the lowest mean error, which a network has to surpass; None if there is none."""
        return min((run for run in self.runs if run.predictions.kind == "classical"), key=self._error, default=None)

    @property
    def best(self) -> ScoredPredictions:
        """Network with the lowest mean error; without networks, the method with the lowest mean error."""
        networks = [run for run in self.runs if run.predictions.kind == "network"]
        return min(networks or self.runs, key=self._error)

    def _error(self, run: ScoredPredictions) -> float:
        mean = self.summaries[run.name][self.rank]["mean"]
        return np.inf if mean is None else float(mean)

    def sample(self, index: int) -> tuple[Arrays, dict[str, Arrays]]:
        """Read one sample.

        Args:
            index: number of the sample.

        Returns:
            The inputs of the report and the targets; and the predictions of each run, aligned with the truth.
        """
        fields = self.task.of("target")
        names = {field.name for field in fields} | {shown.field for shown in self.report.inputs}
        values = self.source.read(sorted(names - set(self.source.lacks(names))), index, index + 1)
        truth, window = {field.name: values[field.name] for field in fields}, self.source.window()
        found = {run.name: self.source.predicted(run.path, run.predictions, index, index + 1) for run in self.runs}
        return values, {name: align(self.task, one, truth, window) for name, one in found.items()}


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


def evaluate(data: Path, stores: Sequence[tuple[str | None, Path]], splits: Sequence[str] | None) -> Evaluation:
    """Score stores of predictions against their splits of a dataset.

    Args:
        data: the dataset.
        stores: the stores, each with the name to use for it; None: its stored name.
        splits: the splits to score; None: the split of the first store.

    Raises:
        UserError: predictions are incomplete, damaged, or made for another dataset or split; two have the same name; a
            split has no predictions; or the dataset has no targets.
    """
    runs = [ScoredPredictions(path, _named(read_predictions(path), label)) for label, path in stores]
    opened = [open_source(data, split) for split in splits or [runs[0].predictions.split]]
    sources = [Rows(one.path, one.manifest, one.split, _target(one, runs)) for one in opened]
    for run in runs:
        _refuse_other(run, sources)
    parts = [_of_split(runs, source) for source in sources]
    _refuse_namesakes(runs)
    if not sources[0].task.of("target"):
        raise UserError(f"{data}: holds measurements without targets; scores need a dataset with targets")
    return Evaluation(
        tuple(_result(source, part, _once(runs, part)) for source, part in zip(sources, parts, strict=True))
    )


def _target(source: Source, runs: Sequence[ScoredPredictions]) -> str:
    """Return the parameter that is predicted in place of the targets, or an empty string if targets are predicted.

    Raises:
        UserError: the runs predict different targets.
    """
    roles = {field.name: field.role for field in source.task.fields}
    found = {run.path: [field.name for field in run.predictions.targets] for run in runs}
    first = next(iter(found.values()))
    if other := next((path for path, names in found.items() if names != first), None):
        raise UserError(
            f"{other}: holds {', '.join(found[other])}, but the first store holds {', '.join(first)}; "
            "give only predictions of the same target"
        )
    return first[0] if roles.get(first[0]) == "parameter" else ""


def _result(source: Rows, runs: Sequence[ScoredPredictions], methods: Sequence[ScoredPredictions]) -> Result:
    report = find_inference(source.task.name).REPORT
    report = report.without_targets if source.target else report
    scores, frequency, correlation, zero = _score(source, runs, report)
    stores = {run.name: run.path for run in runs}
    sections = {one.title: found for one in (*report.sections, SECTION) if (found := one.of(source.whole, stores))}
    return Result(source, report, tuple(runs), tuple(methods), scores, frequency, correlation, zero, sections)


def _of_split(runs: Sequence[ScoredPredictions], source: Source) -> list[ScoredPredictions]:
    """Return the predictions of one split. Raise UserError if there are none, or if two have the same name."""
    found = [run for run in runs if run.predictions.split == source.split]
    if not found:
        raise UserError(
            f"--split {source.split}: there are no predictions of this split; make some with: "
            f"infer --data {source.path} --split {source.split} ..."
        )
    _refuse_twins(found)
    return found


def _once(runs: Sequence[ScoredPredictions], preferred: Sequence[ScoredPredictions]) -> list[ScoredPredictions]:
    """Return one run for each name, in the order of `runs`. Of duplicate names, the run in `preferred` is returned."""
    found = {run.name: run for run in runs} | {run.name: run for run in preferred}
    return list(found.values())


def _named(predictions: Predictions, label: str | None) -> Predictions:
    return predictions.model_copy(update={"name": label}) if label else predictions


def _refuse_other(run: ScoredPredictions, sources: Sequence[Source]) -> None:
    found, source = run.predictions, sources[0]
    if found.dataset_digest != source.manifest.root_digest:
        raise UserError(
            f"{run.path}: holds predictions of another dataset (digest {found.dataset_digest[:16]}; {source.path} has "
            f"{str(source.manifest.root_digest)[:16]}); run `infer` on {source.path}"
        )
    splits = [one.split for one in sources]
    if found.split not in splits:
        raise UserError(
            f"{run.path}: holds predictions of split {found.split}, not {' or '.join(splits)}; leave them out, or give "
            f"--split {','.join([*splits, found.split])}"
        )


def _refuse_namesakes(runs: Sequence[ScoredPredictions]) -> None:
    """Raise UserError if one name stands for different methods in several splits: their errors are compared."""
    for run in runs:
        first = next(other for other in runs if other.name == run.name)
        one, two = (found.predictions.fingerprint for found in (first, run))
        if differing := [key for key in one if key not in OF_SPLIT and one[key] != two[key]]:
            raise UserError(
                f"{first.path}, {run.path}: both are named {run.name}, but they differ in {', '.join(differing)}; "
                "give them different names: --predictions LABEL=STORE ..."
            )


def _refuse_twins(runs: Sequence[ScoredPredictions]) -> None:
    names = [run.name for run in runs]
    for run in runs:
        if names.count(run.name) > 1:
            paths = ", ".join(str(other.path) for other in runs if other.name == run.name)
            raise UserError(f"{paths}: all are named {run.name}; rename them with --predictions LABEL=STORE ...")


def _score(
    source: Rows, runs: Sequence[ScoredPredictions], report: Report
) -> tuple[dict[str, dict[str, Real]], Real, dict[str, Real], float]:
    """Return scores by run, frequencies and mean ring correlations, and the mean error of predicting 0 everywhere."""
    scores: dict[str, list[dict[str, Real]]] = {run.name: [] for run in runs}
    curves: dict[str, list[Real]] = {run.name: [] for run in runs}
    window, begin = source.window(), time.monotonic()
    targets = [field.name for field in source.task.of("target")]
    frequency: Real = np.empty(0)
    zero: list[Real] = []
    with progress(source.samples) as show:
        for start, stop in shard_ranges(source.samples, BLOCK):
            fields = source.read([*targets, *(name for name in report.needs if not source.lacks([name]))], start, stop)
            truth = {name: fields[name] for name in targets}
            if not report.measures and report.ranks(source.task) == "nrms_aligned":
                zero.append(nrms_aligned(source.task, {name: 0 * truth[name] for name in targets}, truth, window))
            for run in runs:
                predicted = source.predicted(run.path, run.predictions, start, stop)
                found, frequency, rows = score_and_correlation(source.task, predicted, truth, window)
                measured = report.measures.of(fields, predicted) if report.measures else {}
                scores[run.name].append({**measured, **found})
                if start < CURVES:
                    curves[run.name].append(rows)
            show(stop, pace(source.samples - stop, stop, time.monotonic() - begin))
    joined = {
        name: {metric: np.concatenate([part[metric] for part in parts]) for metric in parts[0]}
        for name, parts in scores.items()
    }
    curve = {name: _mean(np.concatenate(parts)) for name, parts in curves.items()}
    return joined, frequency, curve, float(_mean(np.concatenate([*zero, [np.nan]])[:, None])[0])


def _mean(rows: Real) -> Real:
    """Return the mean of each ring over the samples that have a value in it."""
    defined = np.isfinite(rows)
    total = np.where(defined, rows, 0).sum(axis=0)
    return np.divide(total, defined.sum(axis=0), where=defined.any(axis=0), out=np.full(total.shape, np.nan))  # type: ignore[no-any-return]
