"""Choose the settings of a classical method: those given by the user, and others by tuning, never on test samples."""

import math
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from inference.contract import Arrays, Method, Report, Setting, Settings, Value
from inference.invert.split_reader import Source
from inference.task_modules import find_inference
from schemas import slices
from schemas.predictions import Predictions, Tuning, read_predictions
from schemas.runtime.errors import UserError, rule_of_choice, suggestion
from schemas.runtime.machine import cores
from schemas.scores import SCORES_BY_KIND, nrms, nrms_aligned, score
from schemas.store import shard_ranges
from schemas.target_kinds import score_key, target_kind
from schemas.task import find_task

MAX_SAMPLES = 256  # maximum number of samples used for tuning
MAX_GROUP_BYTES = 2**29  # maximum size of all groups used for tuning; the first group is used even if it is larger
BLOCK_SAMPLES = 64  # samples inverted at once
MAX_THREADS = 8  # combinations tried at once; each needs memory for a block
MAX_COUNT = 10**6  # maximum of whole-number settings; larger numbers are taken for typing errors
EQUAL_TOLERANCE = 1e-6  # relative difference below which means are equal up to rounding

type Errors = Mapping[tuple[Value, ...], float]  # mean error for each combination of values of the settings
type Grid = Mapping[str, tuple[Value, ...]]


def parse(name: str, known: Mapping[str, Setting], texts: Sequence[str]) -> dict[str, Value]:
    """Return settings from texts `key=value`.

    Args:
        name: the method or step that has the settings, for messages.
        known: the settings that it has.
        texts: as given by the user.

    Raises:
        UserError: there is no such setting, or the value is not allowed.
    """
    given: dict[str, Value] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if key not in known:
            raise UserError(f"--set {key}: {name} has no such setting{suggestion(key, known)}")
        if not equals:
            raise UserError(f"--set {text}: has no value; write key=value without spaces, for example {key}=...")
        given[key] = _parse_value(key, known[key], value)
    return given


def _parse_value(key: str, setting: Setting, text: str) -> Value:
    """Return the value of a setting from its text. Raise UserError if it is not allowed."""
    if any(isinstance(value, str) for value in setting.values):
        words = [str(value) for value in setting.values]
        if text not in words:
            raise UserError(f"--set {key}={text}: {rule_of_choice(text, words)}")
        return text
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise UserError(f"--set {key}={text}: must be a finite number [{setting.unit}]")
    maximum = min(setting.maximum, MAX_COUNT) if setting.whole else setting.maximum
    if not setting.minimum <= number <= maximum or (setting.whole and number != round(number)):
        rule = f"a {'whole ' if setting.whole else ''}number [{setting.unit}] from {setting.minimum:g} to {maximum:g}"
        raise UserError(f"--set {key}={text}: must be {rule}")
    return int(number) if setting.whole else number


def tune(
    method: Method,
    source: Source,
    given: Settings,
    other: Source | None = None,
    by: str | None = None,
    training: Arrays | None = None,
) -> tuple[dict[str, Value], Tuning | None]:
    """Return all settings: those given, and for the others the combination with the best mean score.

    Unless another one is named, it is the score by which methods are ranked (`Report.ranking_score`). Some
    combinations may be equal in it, because they differ only in the ambiguities of the task. Of these, the one with the
    lowest error before alignment is chosen.

    The first 256 validation samples are used, or training samples if there are none, but never test samples. For
    methods that invert groups, whole groups are used, up to a size of MAX_GROUP_BYTES and at least one.

    Args:
        method: the method.
        source: any split of the dataset.
        given: settings that are fixed.
        other: any split of another dataset, whose samples are used instead.
        by: key of the score, such as `mask.mcc`; None: that by which methods are ranked.
        training: fields of training samples from which the method learns; None: it does not learn.

    Returns:
        The settings, and a record of the tuning; None if all settings were fixed.

    Raises:
        UserError: there are no samples to tune on, or no combination gives a finite error.
    """
    grid = _grid(method, given)
    if all(len(values) == 1 for values in grid.values()):
        return {key: values[0] for key, values in grid.items()}, None
    dataset = other.manifest.root_digest if other else None
    source = other or source
    split = _tuning_split(source)
    if split is None:
        missing = " ".join(f"{key}=..." for key, values in grid.items() if len(values) > 1)
        remedy = (
            f"give --set {missing}" if other else f"name a dataset that has some by --tune-on, or give --set {missing}"
        )
        raise UserError(f"{source.path}: has no validation or training samples with targets to tune on; {remedy}")
    rank = _check_score(source, by) if by else find_inference(source.task.name).REPORT.ranking_score(source.task)
    best, errors, samples = _search(method, replace(source, split=split), grid, by, training)
    return best, Tuning(
        split=split,
        samples=samples,
        combinations=math.prod(len(values) for values in grid.values()),
        metric=rank,
        nrms=errors[tuple(best.values())],
        fixed=sorted(given),
        edges=[key for key in best if _is_at_edge(key, method.settings[key], best, grid, errors)],
        dataset=dataset,
    )


def recall(
    places: Iterable[Path],
    name: str,
    method: Method,
    source: Source,
    given: Settings,
    other: Source | None = None,
    by: str | None = None,
) -> tuple[dict[str, Value], Tuning | None] | None:
    """Return the result of `tune` from earlier predictions that used the same method, dataset and fixed settings.

    Args:
        places: stores of predictions; they may be missing or incomplete, because stores are begun after tuning.
        name: name of the method.
        method: the method.
        source: any split of the dataset.
        given: settings that are fixed.
        other: any split of another dataset that is used for tuning.
        by: as for `tune`.

    Returns:
        As `tune`; None if no store holds such a result.
    """
    grid = _grid(method, given)
    tried = math.prod(len(values) for values in grid.values())
    rank = by or find_inference(source.task.name).REPORT.ranking_score(find_task(source.task.name))
    digests = source.manifest.root_digest, other.manifest.root_digest if other else None
    asked = (name, method.version, *digests, sorted(given), tried, rank)
    for stored in filter(None, map(_stored_predictions, places)):
        if (how := stored.tuning) is None:
            continue
        digests = stored.dataset_digest, how.dataset
        recorded = (stored.method, stored.version, *digests, how.fixed, how.combinations, how.metric)
        known = {key: [value for value in values if value == stored.settings.get(key)] for key, values in grid.items()}
        if recorded == asked and all(known.values()):
            return {key: values[0] for key, values in known.items()}, how
    return None


def adopt(
    path: Path, name: str, method: Method, source: Source, given: Settings
) -> tuple[dict[str, Value], Tuning | None]:
    """Return settings that were tuned for other predictions, and the record of that tuning.

    Args:
        path: the other predictions.
        name: name of the method.
        method: the method.
        source: any split of the dataset that is to be inverted.
        given: settings that the user fixed.

    Raises:
        UserError: the predictions come from another method, or have other values of the settings that were fixed.
    """
    stored, task = read_predictions(path), source.task
    known = {("classical", task.name, name, method.version): method.settings.keys()}
    if known.get((stored.kind, stored.task.name, stored.method, stored.version)) != stored.settings.keys():
        found = f"{stored.method} {stored.version} of task {stored.task.name}"
        raise UserError(
            f"--tune-on {path}: holds predictions of {found}, must hold those of {name} {method.version} of {task.name}"
        )
    settings = parse(f"method {name}", method.settings, [f"{key}={value}" for key, value in stored.settings.items()])
    for key, value in given.items():
        if settings[key] != value:
            raise UserError(f"--set {key}={value}: {path} has {key}={settings[key]}; leave out --set or --tune-on")
    if (how := stored.tuning) is None:
        return settings, None
    tuned_on = how.dataset or stored.dataset_digest
    return settings, how.model_copy(update={"dataset": tuned_on if tuned_on != source.manifest.root_digest else None})


def _stored_predictions(place: Path) -> Predictions | None:
    """Return the predictions at a place, or None. Damage is reported later, by the code that writes there."""
    try:
        return read_predictions(place, incomplete=True)
    except UserError:
        return None


def _grid(method: Method, given: Settings) -> Grid:
    return {key: (given[key],) if key in given else setting.values for key, setting in method.settings.items()}


def _tuning_split(source: Source) -> str | None:
    """Return validation if it has samples, otherwise train, never test; None if no samples with targets remain."""
    if not source.task.of("target"):
        return None
    return next((split for split in ("validation", "train") if source.manifest.samples.get(split)), None)


def _tuning_blocks(method: Method, source: Source, names: Iterable[str]) -> list[np.ndarray]:
    """Return the samples used for tuning, in blocks that the method can take. names: the fields that are read."""
    if method.scope != "group":
        return [np.arange(*ends) for ends in shard_ranges(min(source.samples, MAX_SAMPLES), BLOCK_SAMPLES)]
    groups, fields = source.groups(method.group), [source.task[name] for name in names]
    sample = sum(field.nbytes(source.manifest.sizes) for field in fields if field.per_sample)
    ends = np.cumsum([len(rows) for rows in groups]) * sample
    return groups[: max(1, int(np.searchsorted(ends, MAX_GROUP_BYTES, side="right")))]


def _check_score(source: Source, key: str) -> str:
    """Return the key of a score that the targets of a dataset get. Raise UserError if they do not get it."""
    report, task = find_inference(source.task.name).REPORT, source.task
    own = list(report.measures.scores) if report.measures else []
    general = [
        score_key(task, field.name, metric)
        for field in task.of("target")
        for metric in SCORES_BY_KIND[target_kind(task, field)]
    ]
    known = own if report.ranks else [*general, *own]
    if key not in known:
        raise UserError(f"--tune-by {key}: {rule_of_choice(key, known)}")
    return key


def _search(
    method: Method, source: Source, grid: Grid, by: str | None = None, training: Arrays | None = None
) -> tuple[dict[str, Value], Errors, int]:
    """Return the best combination, the mean errors of all, and the number of samples.

    Each block is read once and inverted by all combinations, some at a time, so memory does not grow with their number.
    """
    combinations = [dict(zip(grid, values, strict=True)) for values in product(*grid.values())]
    targets = [field.name for field in source.task.of("target")]
    report = find_inference(source.task.name).REPORT
    scored = [name for name in report.needs if not source.lacks([name])]
    names = dict.fromkeys([*method.reads({field.name for field in source.task.fields}), *scored, *targets])
    parts = []
    with ThreadPoolExecutor(1 if method.scope == "group" else min(cores(), MAX_THREADS)) as pool:
        arguments = list(pool.map(lambda one: method.arguments(one, training), combinations))
        for rows in _tuning_blocks(method, source, names):
            block = source.take(names, rows)
            parts.append(_block_errors(pool, method, source, report, block, arguments, by))
    errors, published = np.concatenate([np.array(part) for part in parts], axis=2).swapaxes(0, 1)
    means = [_mean_error(row) for row in errors]
    equal = np.flatnonzero(np.array(means) <= min(means) + EQUAL_TOLERANCE * abs(min(means)))
    best = int(min(equal, key=lambda row: _mean_error(published[row])))
    if not math.isfinite(means[best]):
        raise UserError(f"{source.path}: no settings give a finite error on {source.split}; give all with --set")
    sign = _sign(report, by)
    of_all = {tuple(one.values()): sign * mean for one, mean in zip(combinations, means, strict=True)}
    return combinations[best], of_all, errors.shape[1]


def _block_errors(
    pool: Executor,
    method: Method,
    source: Source,
    report: Report,
    block: Arrays,
    arguments: Sequence[Mapping[str, Any]],
    by: str | None,
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return the errors of one block with each combination."""
    invert = method.inverter(source.task, block)
    return list(pool.map(lambda one: _errors(report, source, block, invert(one), by), arguments))


def _sign(report: Report, by: str | None) -> int:
    """Return -1 if a higher score is better, else 1."""
    return -1 if by and report.meaning(by).better == "higher" else 1


def _errors(
    report: Report, source: Source, block: Arrays, predicted: Arrays, by: str | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Return the errors of each sample: by the score that ranks methods, and before alignment. Lower is better."""
    chosen = by or report.ranking_score(source.task)
    if report.measures and chosen in report.measures.scores:
        error = _sign(report, by) * report.measure(source.task, block, predicted)[chosen]
        error = np.where(np.isnan(error), np.inf, error)
        return error, error
    task, window, samples = source.task, source.window(), len(next(iter(predicted.values())))
    truth = slices.fold(task, {name: block[name] for name in predicted}, samples)
    predicted = slices.fold(task, predicted, samples)
    if chosen != "nrms_aligned":
        found = score(task.sliced, predicted, truth, window)
        error = _sign(report, by) * found[chosen]
        return error, error
    target = next(iter(predicted))
    return nrms_aligned(task.sliced, predicted, truth, window), nrms(
        predicted[target], truth[target].astype(float), window
    )


def _mean_error(errors: np.ndarray) -> float:
    """Return the mean over samples whose truth is not 0; infinite if a prediction is not finite."""
    defined = errors[~np.isnan(errors)]
    return float(defined.mean()) if len(defined) else math.inf


def _is_at_edge(key: str, setting: Setting, best: Settings, grid: Grid, errors: Errors) -> bool:
    """Return True if a number is the first or last value tried, no limit of the setting, and the error falls there."""
    values = grid[key]
    if len(values) < 3 or isinstance(best[key], str) or best[key] not in (values[0], values[-1]):
        return False
    if best[key] in (setting.minimum, setting.maximum):
        return False
    within = values[1] if best[key] == values[0] else values[-2]
    here, inside = (errors[tuple({**best, key: value}.values())] for value in (best[key], within))
    return inside > (1 + EQUAL_TOLERANCE) * here
