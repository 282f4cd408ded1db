"""Open predictions that were made from both halves of the counts, and refuse what cannot be scored without truth."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from inference.invert.split_reader import Source, open_source
from inference.report.evaluation import ScoredPredictions
from schemas.counting.counts import Counts
from schemas.predictions import read_predictions, verify
from schemas.runtime.errors import UserError

MEASUREMENT = "measurement"  # name of the half itself as an estimate of the other


@dataclass(frozen=True)
class Pair:
    """Predictions of one method from both halves of the counts of a split."""

    first: ScoredPredictions  # from half 0
    second: ScoredPredictions  # from half 1
    estimate: tuple[str, ...]  # predicted targets whose sum estimates the input

    @property
    def name(self) -> str:
        """Name of the method in tables and plots."""
        return self.first.name


def open_pairs(
    data: Path, given: Sequence[tuple[str | None, Path]], splits: Sequence[str] | None
) -> tuple[Source, tuple[Pair, ...]]:
    """Open a split of a dataset, and the predictions of each method from both halves of its counts.

    Args:
        data: the dataset.
        given: the stores, each with the name to use for it; None: its stored name.
        splits: the split; None: that of the first store.

    Raises:
        UserError: the dataset has no counts; or predictions are incomplete, damaged, made from all counts, or for
            another dataset or split; or two of them are not the halves of one.
    """
    stores = [_open_store(path, label) for label, path in given]
    if splits and len(splits) > 1:
        raise UserError(f"--split {','.join(splits)}: --no-truth scores one split; give only one")
    source = open_source(data, splits[0] if splits else stores[0].metadata.split)
    for store in stores:
        _refuse_other_samples(store, source)
    names = dict.fromkeys(store.name for store in stores)
    pairs = tuple(_pair([store for store in stores if store.name == name], source) for name in names)
    for store in stores:
        verify(store.path, store.metadata)
    return source, pairs


def _open_store(path: Path, label: str | None) -> ScoredPredictions:
    metadata = read_predictions(path)
    if metadata.half is None:
        raise UserError(
            f"{path}: was predicted from all counts, so that none are left to score it; "
            "predict from halves of the counts: infer --halves ..."
        )
    if (label or metadata.name) == MEASUREMENT:
        raise UserError(f"{path}: {MEASUREMENT} names the half itself in the table; give --predictions LABEL=STORE")
    return ScoredPredictions(path, metadata.model_copy(update={"name": label}) if label else metadata)


def _refuse_other_samples(store: ScoredPredictions, source: Source) -> None:
    metadata = store.metadata
    if metadata.dataset_digest != source.manifest.root_digest:
        raise UserError(
            f"{store.path}: holds predictions of another dataset (digest {metadata.dataset_digest[:16]}; "
            f"{source.path} has {str(source.manifest.root_digest)[:16]}); run `infer` on {source.path}"
        )
    if metadata.split != source.split:
        raise UserError(f"{store.path}: holds predictions of split {metadata.split}, not {source.split}; leave it out")


def _pair(stores: Sequence[ScoredPredictions], source: Source) -> Pair:
    """Return the pair that stores of one name make."""
    paths, name = ", ".join(str(store.path) for store in stores), stores[0].name
    halves = [store.metadata.half for store in stores]
    if len(stores) == 1:
        raise UserError(f"{paths}: holds half {halves[0]} of {name}; give half {1 - (halves[0] or 0)} of it, too")
    if sorted(half or 0 for half in halves) != [0, 1]:
        raise UserError(
            f"{paths}: are halves {', '.join(map(str, halves))} of {name}, must be 0 and 1; give each once, and other "
            "methods other names: --predictions LABEL=STORE ..."
        )
    first, second = sorted(stores, key=lambda store: store.metadata.half or 0)
    known, other = (store.metadata.fingerprint for store in (first, second))
    if differing := [key for key in known if key != "half" and known[key] != other[key]]:
        raise UserError(
            f"{paths}: are not halves of the same predictions, because they differ in {', '.join(differing)}; "
            "make both with one command: infer --halves ..."
        )
    return Pair(first, second, _estimate(first, source, source.counts))


def _estimate(store: ScoredPredictions, source: Source, rule: Counts) -> tuple[str, ...]:
    """Return the predicted targets whose sum estimates the input: at least those that the dataset holds."""
    predicted = [field.name for field in store.metadata.targets if field.name in rule.expectation]
    held = [field.name for field in source.manifest.task.of("target") if field.name in rule.expectation]
    if missing := sorted(set(held or rule.expectation[:1]) - set(predicted)):
        whole = " + ".join(held or rule.expectation[:1])
        raise UserError(
            f"{store.path}: lacks predictions of {', '.join(missing)}, but {rule.input} counts {whole}; "
            "give predictions of all of these"
        )
    return tuple(predicted)
