"""Networks and classical methods behind one interface."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from inference.contract import Arrays, Inverter, Settings, find_finish, find_method, inference_names
from inference.invert.source import Rows, Source
from inference.methods import tuning
from schemas.exchange.given_parameters import settable
from schemas.predictions import Weights
from schemas.runtime import plugins
from schemas.runtime.errors import UserError
from schemas.runtime.machine import processor
from schemas.task import Task, find_import, find_task


def classical(
    source: Source, name: str, texts: Sequence[str], label: str | None, places: Iterable[Path] = ()
) -> Inverter:
    """A method of the dataset's task, with the settings given (`key=value`), and those tuned.

    places: stores of predictions that may say what tuning found, so that the same command does not do it again.
    UserError: unknown method or setting, fields that the dataset lacks, nothing to tune on.
    """
    method = find_method(source.task.name, name)
    given = tuning.parse(f"method {name}", method.settings, texts)
    _refuse_lacking(source, f"method {name}", method.needs)
    settings, tuned = tuning.recall(places, name, method, source, given) or tuning.tune(method, source, given)
    present = frozenset(field.name for field in source.task.fields)
    task = source.task if source.task.of("target") else find_task(source.task.name).select(present)
    return Inverter(
        kind="classical",
        name=label or name,
        method=name,
        version=method.version,
        about=method.about,
        task=task,
        inputs=method.reads(present),
        predict=lambda fields: method.inverter(task, fields)(settings),
        hardware=processor(),
        settings=settings,
        tuning=tuned,
        whole=method.scope == "group",
        scope=method.scope,
        group=method.group,
    )


def network(
    source: Source, path: Path, texts: Sequence[str], label: str | None, checkpoint: int | None = None
) -> Inverter:
    """A trained network, at its best or as it was at a checkpoint, with the settings given of what follows it.

    UserError: none, damaged, newer, of another task, or the dataset lacks fields that it needs.
    """
    from training.export.store import load_checkpoint, load_model

    loaded = load_model(path) if checkpoint is None else load_checkpoint(path, checkpoint)
    trained = loaded.fitted(source.manifest.sizes)
    card = trained.card
    if card.task.name != source.task.name:
        raise UserError(
            f"--model {path}: was trained for task {card.task.name}, {source.path} is of task {source.task.name}"
        )
    _refuse_lacking(source, f"model {path}", trained.inputs)
    follows = trained.task == card.task  # what follows a network is for the task's own targets
    given = _told(source, trained.task, texts, follows=follows)
    finished = _finished(source, f"model {path}", given) if follows else _Finished()
    model = str(card.recipe.get("model", {}).get("name", "network"))
    return Inverter(
        kind="network",
        name=label or _run_name(path) + (f"@{checkpoint}" if checkpoint is not None else ""),
        method=model,
        about=f"{model}, {card.parameters:,} parameters, trained with {card.samples:,} samples",
        task=trained.task,
        inputs=tuple(dict.fromkeys([*trained.inputs, *finished.reads])),
        predict=lambda fields: finished.apply(fields, trained.predict(fields)),
        settings=finished.settings,
        hardware=_device(),
        weights=Weights(
            sha256=trained.identity,
            parameters=card.parameters,
            trained_on=card.dataset_digest,
            family=card.dataset_family,
            samples=card.samples,
            before=[known for model in card.ancestors for known in (model.dataset_digest, model.dataset_family)],
        ),
        history=[{key: _plain(value) for key, value in row.items()} for row in card.history],
        sizes=trained.features.sizes,
        ranges=card.ranges,
        whole=trained.whole,
        accepts=trained.accepts,
    )


@dataclass(frozen=True)
class _Finished:
    """What follows a network, settled."""

    reads: tuple[str, ...] = ()
    settings: Settings = field(default_factory=dict)
    apply: Callable[[Arrays, Arrays], Arrays] = lambda fields, predicted: predicted


def _told(source: Source, task: Task, texts: Sequence[str], *, follows: bool) -> Settings:
    """Return the settings given for what follows a network. UserError if nothing does."""
    after = find_finish(source.task.name) if follows else None
    if texts and after is None:
        option = texts[0].replace("refine=", "--refine ") if texts[0].startswith("refine=") else f"--set {texts[0]}"
        whose = f"networks of task {task.name}" if follows else f"networks of {task.of('target')[0].name}"
        known = ", ".join(name for name in inference_names() if find_finish(name)) or "none"
        raise UserError(f"{option}: nothing follows {whose}; leave it out (tasks whose networks are followed: {known})")
    return tuning.parse("what follows a network", after.settings if after else {}, texts)


def _finished(source: Source, what: str, given: Settings) -> _Finished:
    after = find_finish(source.task.name)
    if after is None:
        return _Finished()
    settings = {key: given.get(key, setting.values[0]) for key, setting in after.settings.items()}
    _refuse_lacking(source, what, after.needs)
    reads = (*after.needs, *(name for name in after.uses if not source.lacks([name])))

    def apply(fields: Arrays, predicted: Arrays) -> Arrays:
        with plugins.calling(*plugins.origin(after.apply), tuple(fields)):
            return after.apply(fields, predicted, **settings)

    return _Finished(reads, settings, apply)


def beyond(source: Source, inverter: Inverter) -> list[str]:
    """What a network never saw: parameters of these samples that lie outside of its training data, a line each."""
    names = [name for name in inverter.ranges if not source.lacks([name])]
    return [line for name in names if (line := _beyond(source, name, np.array(inverter.ranges[name])))]


def _beyond(source: Source, name: str, known: np.ndarray) -> str:
    """known: (value, 2), least and greatest of each value that a sample has."""
    rows = Rows(source.path, source.manifest, source.split)
    values = rows.read([name], 0, rows.samples)[name].reshape(rows.samples, -1)
    if values.shape[1] != len(known):
        return f"{name} has {values.shape[1]} values a sample, in training {len(known)}: beware"
    low, high = known.T
    margin = 0.05 * (high - low) + 1e-5 * np.maximum(abs(low), abs(high))  # samples drawn do not reach a range's ends
    outside = (values < low - margin) | (values > high + margin)
    if not outside.any():
        return ""
    worst = int(outside.mean(axis=0).argmax())
    share, column = f"{max(outside.any(axis=1).mean(), 0.01):.0%}", values[:, worst]
    found, trained = _span(column.min(), column.max()), _span(low[worst], high[worst])
    return f"{share} of the samples lie outside of the training data: {name} {found}, trained with {trained}: beware"


def _span(low: float, high: float) -> str:
    return f"{low:g}" if low == high else f"{low:g}:{high:g}"


def _plain(value: object) -> float | int | str | None:
    """For JSON, which knows no NaN."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if isinstance(value, float | int | str) else None


def _run_name(path: Path) -> str:
    """The name of a run: its folder, also if `best/` in it is given."""
    path = path.absolute()
    return path.parent.name if path.name == "best" else path.name


def _refuse_lacking(source: Source, what: str, names: Sequence[str]) -> None:
    if lacking := source.lacks(names):
        measured = source.manifest.origin == "measured"
        remedy = f"import it with {_options(source.task.name, lacking)}" if measured else "give another --data"
        raise UserError(f"{source.path}: lacks {', '.join(lacking)}, which {what} needs; {remedy}")


def _options(name: str, lacking: Sequence[str]) -> str:
    """Of `dataset import`, for what a measurement lacks."""
    task, follows = find_task(name), find_import(name).follows
    given = dict.fromkeys(follows.get(field, field) for field in lacking)
    inputs = [f"--from {field}=FILE" for field in given if task[field].role == "input"]
    numbers = [f"{field}=..." for field in given if field in settable(task)]
    files = [f"{field}=FILE" for field in given if f"{field}=..." not in numbers and task[field].role != "input"]
    return " ".join([*inputs, *(["--set", *numbers] if numbers else []), *(["--with", *files] if files else [])])


def _device() -> str:
    import jax

    device = jax.devices()[0]
    return processor() if device.platform == "cpu" else f"{device.device_kind}, {jax.device_count()} devices"
