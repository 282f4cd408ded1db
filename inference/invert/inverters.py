"""Open networks and classical methods as an `Inverter`, their common interface."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from inference.contract import Arrays, Inverter, Method, Settings
from inference.invert.split_reader import Rows, Source
from inference.methods import fitting, mean, tuning
from inference.task_modules import find_finish, find_method, inference_names
from schemas.exchange.given_parameters import settable
from schemas.predictions import Weights
from schemas.runtime import plugins
from schemas.runtime.errors import UserError
from schemas.runtime.machine import cores, processor
from schemas.runtime.terminal import count_text
from schemas.task import Task, find_import, find_task

PART_SAMPLES = 8  # minimum number of samples that a core inverts by a classical method


def classical(
    source: Source,
    name: str,
    texts: Sequence[str],
    label: str | None,
    places: Iterable[Path] = (),
    tune_on: Source | Path | None = None,
    tune_by: str | None = None,
) -> Inverter:
    """Return a classical method with its settings, which are given or tuned.

    Args:
        source: the split to invert.
        name: the method, one of the dataset's task.
        texts: settings as `key=value`; all others are tuned.
        label: name of the predictions; None: the name of the method.
        places: stores of earlier predictions, from which the result of the same tuning may be taken.
        tune_on: a split of another dataset on which the method is tuned, or predictions whose settings are taken; None:
            it is tuned on the same dataset.
        tune_by: key of the score by which it is tuned; None: that by which methods are ranked.

    Raises:
        UserError: there is no such method or setting, the dataset lacks fields, or has no samples to tune on.
    """
    method = find_method(source.task.name, name)
    given = tuning.parse(f"method {name}", method.settings, texts)
    _refuse_lacking(source, f"method {name}", method.needs)
    learned = _Learned(name, method, source, tune_on)
    if isinstance(tune_on, Path):
        settings, tuned = tuning.adopt(tune_on, name, method, source, given)
    else:
        if tune_on:
            _refuse_other_task(source, tune_on)
            _refuse_lacking(tune_on, f"method {name}", method.needs)
        known = tuning.recall(places, name, method, source, given, tune_on, tune_by)
        settings, tuned = known or tuning.tune(method, source, given, tune_on, tune_by, learned.fields)
    present = frozenset(field.name for field in source.task.fields)
    task = source.task if source.task.of("target") else find_task(source.task.name).select(present)
    if name == mean.NAME:
        inputs, predict = mean.mean_predictor(source)
    else:
        arguments = method.arguments(settings, learned.fields)
        inputs, predict = method.reads(present), _predictor(method, task, arguments)
    return Inverter(
        kind="classical",
        name=label or name,
        method=name,
        version=method.version,
        about=method.about,
        task=task,
        inputs=inputs,
        predict=predict,
        hardware=processor(),
        settings=settings,
        tuning=tuned,
        weights=learned.identity(settings),
        needs_whole_images=method.scope == "group" or name == mean.NAME,
        scope=method.scope,
        group=method.group,
    )


@dataclass(frozen=True)
class _Learned:
    """Training samples that a classical method learns from, of its dataset or of the one that it is tuned on."""

    name: str
    method: Method
    source: Source
    tune_on: Source | Path | None

    @cached_property
    def _train(self) -> Source:
        return fitting.training_split(
            self.name, self.source, self.tune_on if isinstance(self.tune_on, Source) else None
        )

    @cached_property
    def _read(self) -> tuple[Arrays, int]:
        return fitting.training_fields(self.method, self._train)

    @property
    def fields(self) -> Arrays | None:
        """Fields of training samples; None if the method does not learn."""
        return self._read[0] if self.method.fit else None

    def identity(self, settings: Settings) -> Weights | None:
        """Return what identifies the method with these settings; None if it does not learn."""
        if not self.method.fit:
            return None
        return fitting.identity(self.name, self.method, settings, self._train, self._read[1])


def _predictor(method: Method, task: Task, arguments: Mapping[str, Any]) -> Callable[[Arrays], Arrays]:
    """Return the function that inverts a block of samples: parts of it on all cores, unless it is a group."""

    def invert(fields: Arrays) -> Arrays:
        return method.inverter(task, fields)(arguments)

    def invert_parts(fields: Arrays) -> Arrays:
        lengths = {len(values) for name, values in fields.items() if task[name].per_sample}
        parts = min(cores(), max(lengths) // PART_SAMPLES)
        if parts < 2:
            return invert(fields)
        edges = np.linspace(0, max(lengths), parts + 1).astype(int)
        cut = [
            {name: values[a:b] if task[name].per_sample else values for name, values in fields.items()}
            for a, b in pairwise(edges)
        ]
        with ThreadPoolExecutor(parts) as pool:
            inverted = list(pool.map(invert, cut))
        return {name: np.concatenate([part[name] for part in inverted]) for name in inverted[0]}

    return invert if method.scope == "group" else invert_parts


def _refuse_other_task(source: Source, other: Source) -> None:
    if other.task.name != source.task.name:
        raise UserError(f"--tune-on {other.path}: is a dataset of {other.task.name}, must be one of {source.task.name}")


def network(
    source: Source, path: Path, texts: Sequence[str], label: str | None, checkpoint: int | None = None
) -> Inverter:
    """Return a trained network with its finishing step.

    Args:
        source: the split to invert.
        path: folder of the run or of its best model.
        texts: settings of the finishing step as `key=value`.
        label: name of the predictions; None: the name of the run.
        checkpoint: number of training steps after which the network is used; None: the best network.

    Raises:
        UserError: there is no network; it is damaged, made by a newer version, or of another task; or the dataset lacks
            fields that it needs.
    """
    from training.export.store import load_checkpoint, load_model

    loaded = load_model(path) if checkpoint is None else load_checkpoint(path, checkpoint)
    trained = loaded.adapt(source.manifest.sizes)
    card = trained.card
    if card.task.name != source.task.name:
        raise UserError(
            f"--model {path}: was trained for task {card.task.name}, but {source.path} is of task {source.task.name}"
        )
    _refuse_lacking(source, f"model {path}", trained.inputs)
    follows = trained.task == card.task  # the finishing step is for the task's own targets, not for parameters
    given = _finish_settings(source, trained.task, texts, follows=follows)
    finished = _finishing_step(source, f"model {path}", given) if follows else _FinishingStep()
    model = str(card.recipe.get("model", {}).get("name", "network"))
    return Inverter(
        kind="network",
        name=label or _run_name(path) + (f"@{checkpoint}" if checkpoint is not None else ""),
        method=model,
        about=f"{model}, {count_text(card.parameters, 'parameter')}, trained with {count_text(card.samples, 'sample')}",
        task=trained.task,
        inputs=tuple(dict.fromkeys([*trained.inputs, *finished.reads])),
        predict=lambda fields: finished.apply(fields, trained.predict(fields)),
        settings=finished.settings,
        hardware=_device_name(),
        weights=Weights(
            sha256=trained.identity,
            parameters=card.parameters,
            trained_on=card.dataset_digest,
            family=card.dataset_family,
            samples=card.samples,
            before=[known for model in card.ancestors for known in (model.dataset_digest, model.dataset_family)],
        ),
        history=[{key: _json_value(value) for key, value in row.items()} for row in card.history],
        sizes=trained.features.sizes,
        ranges=card.ranges,
        needs_whole_images=trained.needs_whole_images,
        reasons_to_refuse=trained.reasons_to_refuse,
    )


@dataclass(frozen=True)
class _FinishingStep:
    """Finishing step of a network with all its settings; by default, one that changes nothing."""

    reads: tuple[str, ...] = ()
    settings: Settings = field(default_factory=dict)
    apply: Callable[[Arrays, Arrays], Arrays] = lambda fields, predicted: predicted


def _finish_settings(source: Source, task: Task, texts: Sequence[str], *, follows: bool) -> Settings:
    """Return the settings given for the finishing step. UserError if there are some, but no such step."""
    after = find_finish(source.task.name) if follows else None
    if texts and after is None:
        option = texts[0].replace("refine=", "--refine ") if texts[0].startswith("refine=") else f"--set {texts[0]}"
        whose = f"networks of task {task.name}" if follows else f"networks of {task.of('target')[0].name}"
        known = ", ".join(name for name in inference_names() if find_finish(name)) or "none"
        raise UserError(f"{option}: {whose} have no finishing step; leave it out (tasks with such a step: {known})")
    return tuning.parse("the finishing step of networks", after.settings if after else {}, texts)


def _finishing_step(source: Source, what: str, given: Settings) -> _FinishingStep:
    """Return the finishing step of the task with all its settings, given ones or defaults."""
    after = find_finish(source.task.name)
    if after is None:
        return _FinishingStep()
    settings = {key: given.get(key, setting.values[0]) for key, setting in after.settings.items()}
    _refuse_lacking(source, what, after.needs)
    reads = (*after.needs, *(name for name in after.uses if not source.lacks([name])))

    def apply(fields: Arrays, predicted: Arrays) -> Arrays:
        with plugins.reporting_errors(*plugins.function_origin(after.apply), tuple(fields)):
            return after.apply(fields, predicted, **settings)

    return _FinishingStep(reads, settings, apply)


def outside_warnings(source: Source, inverter: Inverter) -> list[str]:
    """Return a warning for each parameter of these samples that lies outside of the training data of a network.

    Args:
        source: the split to invert.
        inverter: the network, with the ranges of its training data.
    """
    names = [name for name in inverter.ranges if not source.lacks([name])]
    return [line for name in names if (line := _outside_warning(source, name, np.array(inverter.ranges[name])))]


def _outside_warning(source: Source, name: str, known: np.ndarray) -> str:
    """Return the warning for one parameter, or an empty string.

    known: (value, 2), minimum and maximum in the training data, for each value that a sample has.
    """
    rows = Rows(source.path, source.manifest, source.split, half=source.half)
    values = rows.read([name], 0, rows.samples)[name].reshape(rows.samples, -1)
    if values.shape[1] != len(known):
        values_here = count_text(values.shape[1], "value")
        return f"warning: {name} has {values_here} per sample, but had {len(known)} in training"
    low, high = known.T
    margin = 0.05 * (high - low) + 1e-5 * np.maximum(abs(low), abs(high))  # drawn samples do not reach the ends
    outside = (values < low - margin) | (values > high + margin)
    if not outside.any():
        return ""
    worst = int(outside.mean(axis=0).argmax())
    share, column = f"{max(outside.any(axis=1).mean(), 0.01):.0%}", values[:, worst]
    given, trained = _range_text(column.min(), column.max()), _range_text(low[worst], high[worst])
    return f"warning: {share} of the samples lie outside of the training data: {name} {given}, trained with {trained}"


def _range_text(low: float, high: float) -> str:
    return f"{low:g}" if low == high else f"{low:g}:{high:g}"


def _json_value(value: object) -> float | int | str | None:
    """Return a value that JSON can hold: None for NaN and infinite numbers."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if isinstance(value, float | int | str) else None


def _run_name(path: Path) -> str:
    """Return the name of the run's folder, also if the path is its folder `best/`."""
    path = path.absolute()
    return path.parent.name if path.name == "best" else path.name


def _refuse_lacking(source: Source, what: str, names: Sequence[str]) -> None:
    if lacking := source.lacks(names):
        measured = source.manifest.origin == "measured"
        remedy = f"import it with {_import_options(source.task.name, lacking)}" if measured else "give another --data"
        raise UserError(f"{source.path}: lacks {', '.join(lacking)}, which {what} needs; {remedy}")


def _import_options(name: str, lacking: Sequence[str]) -> str:
    """Return the options of `dataset import` that supply the fields a measurement lacks."""
    task, follows = find_task(name), find_import(name).follows
    given = dict.fromkeys(follows.get(field, field) for field in lacking)
    inputs = [f"--from {field}=FILE" for field in given if task[field].role == "input"]
    numbers = [f"{field}=..." for field in given if field in settable(task)]
    files = [f"{field}=FILE" for field in given if f"{field}=..." not in numbers and task[field].role != "input"]
    return " ".join([*inputs, *(["--set", *numbers] if numbers else []), *(["--with", *files] if files else [])])


def _device_name() -> str:
    import jax

    device = jax.devices()[0]
    devices = count_text(jax.device_count(), "device")
    return processor() if device.platform == "cpu" else f"{device.device_kind}, {devices}"
