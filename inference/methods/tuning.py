"""The settings of a classical method: given, or those with the least error on samples that are not the test's."""

import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import product
from pathlib import Path

import numpy as np

from inference.contract import Arrays, Method, Report, Setting, Settings, Value, find_inference
from inference.invert.source import Source
from schemas import slices
from schemas.predictions import Predictions, Tuning, read_predictions
from schemas.runtime.errors import UserError, meant
from schemas.scores import nrms, nrms_aligned, score
from schemas.store import shard_ranges
from schemas.task import find_task

SAMPLES = 256  # tuned on, at most
BYTES = 2**29  # of fields of whole groups that are tuned on, at most; the first group is taken, however large
BLOCK = 64  # samples inverted at once
COUNT = 10**6  # iterations, starts: more are a slip
GAIN = 0.01  # relative: less is no reason to look beyond a grid
EQUAL = 1e-6  # relative: means that differ by less are equal to rounding

type Errors = Mapping[tuple[Value, ...], float]  # by the values of a combination
type Grid = Mapping[str, tuple[Value, ...]]


def parse(name: str, known: Mapping[str, Setting], texts: Sequence[str]) -> dict[str, Value]:
    """Settings from `key=value`; UserError for one that `name` does not have, or a value that it cannot take."""
    given: dict[str, Value] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if key not in known:
            raise UserError(f"--set {key}: {name} has no such setting{meant(key, known)}")
        if not equals:
            raise UserError(f"--set {text}: write key=value without spaces, for example {key}=...")
        given[key] = _value(key, known[key], value)
    return given


def _value(key: str, setting: Setting, text: str) -> Value:
    if any(isinstance(value, str) for value in setting.values):
        if text not in setting.values:
            raise UserError(f"--set {key}={text}: must be one of: {', '.join(map(str, setting.values))}")
        return text
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise UserError(f"--set {key}={text}: must be a finite number [{setting.unit}]")
    most = min(setting.most, COUNT) if setting.whole else setting.most
    if not setting.least <= number <= most or (setting.whole and number != round(number)):
        rule = f"a {'whole ' if setting.whole else ''}number [{setting.unit}] from {setting.least:g} to {most:g}"
        raise UserError(f"--set {key}={text}: must be {rule}")
    return int(number) if setting.whole else number


def tune(method: Method, source: Source, given: Settings) -> tuple[dict[str, Value], Tuning | None]:
    """All settings: those given, and of the others the combination with the least mean error (`Report.ranks`).

    Among combinations that are equal in it, because they differ in nothing that a measurement reveals, the one with the
    least error as published is taken.

    On the first 256 validation samples, or training samples if there are none; never on test. Of methods that take
    groups, on as many whole groups as hold BYTES, at least one. No Tuning if nothing was left to choose. UserError if
    something was, and there are no samples.
    """
    grid = _grid(method, given)
    if all(len(values) == 1 for values in grid.values()):
        return {key: values[0] for key, values in grid.items()}, None
    split = _split(source)
    if split is None:
        missing = " ".join(f"{key}=..." for key, values in grid.items() if len(values) > 1)
        raise UserError(
            f"{source.path}: no validation or training samples with targets to tune on; give --set {missing}"
        )
    best, errors, samples = _search(method, Source(source.path, source.manifest, split), grid)
    return best, Tuning(
        split=split,
        samples=samples,
        combinations=math.prod(len(values) for values in grid.values()),
        metric=find_inference(source.task.name).REPORT.ranks(source.task),
        nrms=errors[tuple(best.values())],
        fixed=sorted(given),
        edges=[key for key in best if _at_edge(key, best, grid, errors)],
    )


def recall(
    places: Iterable[Path], name: str, method: Method, source: Source, given: Settings
) -> tuple[dict[str, Value], Tuning | None] | None:
    """What `tune` would find, where predictions of this method, for this dataset, say it already; None if none do.

    places: stores of predictions, or none; complete or not, for both are begun when tuning has ended.
    """
    grid = _grid(method, given)
    tried = math.prod(len(values) for values in grid.values())
    rank = find_inference(source.task.name).REPORT.ranks(find_task(source.task.name))
    asked = (name, method.version, source.manifest.root_digest, sorted(given), tried, rank)
    for stored in filter(None, map(_stored, places)):
        if (how := stored.tuning) is None:
            continue
        said = (stored.method, stored.version, stored.dataset_digest, how.fixed, how.combinations, how.metric)
        known = {key: [one for one in values if one == stored.settings.get(key)] for key, values in grid.items()}
        if said == asked and all(known.values()):
            return {key: values[0] for key, values in known.items()}, how
    return None


def _stored(place: Path) -> Predictions | None:
    """Predictions at a place; whatever is wrong with it, is told by who writes there."""
    try:
        return read_predictions(place, incomplete=True)
    except UserError:
        return None


def _grid(method: Method, given: Settings) -> Grid:
    return {key: (given[key],) if key in given else setting.values for key, setting in method.settings.items()}


def _split(source: Source) -> str | None:
    """Validation if it has samples, otherwise train, never test; None where there is nothing to learn from."""
    if not source.task.of("target"):
        return None
    return next((split for split in ("validation", "train") if source.manifest.samples.get(split)), None)


def _blocks(method: Method, source: Source, names: Iterable[str]) -> list[np.ndarray]:
    """The samples that are tuned on, in blocks that the method can take. names: of fields that are read."""
    if method.scope != "group":
        return [np.arange(*ends) for ends in shard_ranges(min(source.samples, SAMPLES), BLOCK)]
    groups, fields = source.groups(method.group), [source.task[name] for name in names]
    sample = sum(field.nbytes(source.manifest.sizes) for field in fields if field.per_sample)
    ends = np.cumsum([len(rows) for rows in groups]) * sample
    return groups[: max(1, int(np.searchsorted(ends, BYTES, side="right")))]


def _search(method: Method, source: Source, grid: Grid) -> tuple[dict[str, Value], Errors, int]:
    """The best combination, the mean error of each, and the number of samples.

    Block by block, so that each is read once and memory does not grow with the number of combinations.
    """
    combinations = [dict(zip(grid, values, strict=True)) for values in product(*grid.values())]
    targets = [field.name for field in source.task.of("target")]
    report = find_inference(source.task.name).REPORT
    scored = [name for name in report.needs if not source.lacks([name])]
    names = dict.fromkeys([*method.reads({field.name for field in source.task.fields}), *scored, *targets])
    parts = []
    for rows in _blocks(method, source, names):
        block = source.take(names, rows)
        inverted = map(method.inverter(source.task, block), combinations)
        parts.append([_errors(report, source, block, found) for found in inverted])
    errors, published = np.concatenate([np.array(part) for part in parts], axis=2).swapaxes(0, 1)
    means = [_mean(row) for row in errors]
    equal = np.flatnonzero(np.array(means) <= (1 + EQUAL) * min(means))
    best = int(min(equal, key=lambda row: _mean(published[row])))
    if not math.isfinite(means[best]):
        raise UserError(f"{source.path}: no setting gives a finite error on {source.split}; give all with --set")
    of_all = {tuple(one.values()): mean for one, mean in zip(combinations, means, strict=True)}
    return combinations[best], of_all, errors.shape[1]


def _errors(report: Report, source: Source, block: Arrays, found: Arrays) -> tuple[np.ndarray, np.ndarray]:
    """Errors of each sample, by the score that methods are compared by, and as published."""
    if report.measures:
        error = report.measures.of(block, found)[report.measures.rank]
        error = np.where(np.isnan(error), np.inf, error)
        return error, error
    task, window, samples = source.task, source.window(), len(next(iter(found.values())))
    truth = slices.fold(task, {name: block[name] for name in found}, samples)
    found = slices.fold(task, found, samples)
    if report.ranks(task) != "nrms_aligned":
        error = score(task.sliced, found, truth)[report.ranks(task)]
        return error, error
    target = next(iter(found))
    return nrms_aligned(task.sliced, found, truth, window), nrms(found[target], truth[target].astype(float), window)


def _mean(errors: np.ndarray) -> float:
    """Over samples whose truth is not 0; infinite if one of the predictions is not finite."""
    defined = errors[~np.isnan(errors)]
    return float(defined.mean()) if len(defined) else math.inf


def _at_edge(key: str, best: Settings, grid: Grid, errors: Errors) -> bool:
    """Whether a number lies at an end of its grid, and the error still falls towards it by more than GAIN."""
    values = grid[key]
    if len(values) < 3 or isinstance(best[key], str) or best[key] not in (values[0], values[-1]):
        return False
    within = values[1] if best[key] == values[0] else values[-2]
    here, inside = (errors[tuple({**best, key: value}.values())] for value in (best[key], within))
    return inside > (1 + GAIN) * here
