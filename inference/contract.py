"""What inference asks of a task's file in `inference/tasks/`, how it finds it, and what networks and methods become."""

import math
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Literal, Protocol, cast, get_args

import numpy as np

from schemas import slices
from schemas.predictions import Tuning, Weights
from schemas.runtime import plugins
from schemas.runtime.errors import UserError, meant
from schemas.scores import SCORES, scores_of
from schemas.target_kinds import Score, rank
from schemas.task import SAMPLE, Task, find_task, misread

if TYPE_CHECKING:
    from inference.invert.source import Source
    from inference.report.evaluation import Result, Summary
    from inference.stitching.store import Scans

type Arrays = Mapping[str, np.ndarray]
type Value = float | str
type Ranges = Sequence[tuple[float, float]]  # of each value that a sample has
type Settings = Mapping[str, Value]
type Scope = Literal["slice", "sample", "group"]


@dataclass(frozen=True)
class Setting:
    """A number or a word that a classical method is given."""

    about: str
    unit: str
    values: tuple[Value, ...]  # tried in tuning, in rising order; words: all there are
    least: float = -math.inf  # that it may be
    most: float = math.inf
    whole: bool = False  # a count, at most a million


@dataclass(frozen=True)
class Method:
    """A classical method.

    solve(fields, **settings): fields with a leading sample axis, and constants without -> the targets, in the dataset's
    units and multiplied by the task's window. prepare(fields): the fields as solve takes them; what no setting changes,
    done once when settings are tuned. A sample must not depend on its block, unless the unit is a group.
    """

    about: str  # formula and source
    needs: tuple[str, ...]  # fields of the dataset
    solve: Callable[..., dict[str, np.ndarray]]
    prepare: Callable[[Arrays], Arrays] = lambda fields: fields
    settings: Mapping[str, Setting] = field(default_factory=dict)
    version: int = 1  # raised when the same settings give other values
    uses: tuple[str, ...] = ()  # fields that it reads where the dataset has them
    scope: Scope = (
        "sample"  # that a block holds any number of; of groups, it is one, whole: its samples belong together
    )
    group: str = ""  # the integer parameter that numbers the groups; without one, a split is one group

    def ready(self, fields: Arrays) -> Arrays:
        """The fields that it reads, prepared."""
        read = {name: fields[name] for name in self.reads(fields)}
        with plugins.calling(*plugins.origin(self.prepare), tuple(read)):
            return self.prepare(read)

    def reads(self, present: Container[str]) -> tuple[str, ...]:
        """The fields that it reads, of a dataset that has these."""
        return self.needs + tuple(name for name in self.uses if name in present)

    def invert(self, task: Task, settings: Settings, ready: Arrays) -> dict[str, np.ndarray]:
        """What it solves, checked: all targets, of their shapes. ready: fields that were prepared."""
        # what is no number is told of by who counts it
        with (
            np.errstate(divide="ignore", invalid="ignore", over="ignore"),
            plugins.calling(*plugins.origin(self.solve), tuple(ready)),
        ):
            solved = self.solve(ready, **settings)
        sizes = {dim: n for name in self.needs for dim, n in zip(task[name].dims, ready[name].shape, strict=True)}
        module, name = plugins.origin(self.solve)
        where = f"{plugins.path(module)}: {name}"
        for target in task.of("target"):
            array = solved.get(target.name) if isinstance(solved, dict) else None
            if not isinstance(array, np.ndarray):
                raise UserError(f"{where} must return a dict of arrays, with {target.name}")
            shape = tuple(sizes.get(dim, n) for dim, n in zip(target.dims, array.shape, strict=False))
            if array.shape != shape or array.ndim != len(target.dims) or array.dtype.kind not in "biuf":
                wanted = f"{target.dims} = {shape} and real"
                raise UserError(f"{where} returned {target.name} {array.shape} {array.dtype}, must be {wanted}")
            if target.classes and (array.min(initial=0) < 0 or array.max(initial=0) >= len(target.classes)):
                raise UserError(f"{where} returned {target.name} with labels beyond 0 to {len(target.classes) - 1}")
        return {target.name: solved[target.name] for target in task.of("target")}

    def inverter(self, task: Task, fields: Arrays) -> Callable[[Settings], dict[str, np.ndarray]]:
        """Return what maps settings to the targets of a block of samples; a method of slices is given these instead."""
        if self.scope != "slice" or not task.slices:
            ready = self.ready(fields)
            return lambda settings: self.invert(task, settings, ready)
        known = slices.lengths(task, fields)
        samples = next(len(values) for name, values in fields.items() if task[name].per_sample)
        ready = self.ready(slices.fold(task, {name: fields[name] for name in self.reads(fields)}, samples))
        return lambda settings: slices.unfold(task, self.invert(task.sliced, settings, ready), known)


@dataclass(frozen=True)
class Shown:
    """An image of an input field for the report: its index along the axes that no target has."""

    field: str
    index: tuple[int, ...] = ()
    logarithm: bool = False  # shown as log10, three decades down


@dataclass(frozen=True)
class Finish:
    """What is done with the targets that a network gives, before they are stored.

    apply(fields, targets, **settings) -> targets. A sample must not depend on its block.
    """

    about: str
    needs: tuple[str, ...]  # fields of the dataset
    apply: Callable[..., dict[str, np.ndarray]]
    settings: Mapping[str, Setting]  # the first value of each is what it is unless it is set
    uses: tuple[str, ...] = ()  # fields that it reads where the dataset has them


@dataclass(frozen=True)
class Scale:
    """A quantity of a whole scan, against which its image's errors are drawn where scans differ in it."""

    name: str
    units: str
    about: str  # formula
    needs: tuple[str, ...]  # fields of the dataset; without them it is not known
    of: Callable[[Arrays], float]  # those of the samples of one scan
    logarithm: bool = False  # drawn on a logarithmic axis


@dataclass(frozen=True)
class Stitch:
    """How a target is a patch of a larger image, one for each scan.

    Pixel 0 of the images, at y = x = `Scans.zero`, begins where pixel 0 of the truth does.
    """

    target: str  # field: the patches
    needs: tuple[str, ...]  # fields of the dataset; without them it holds no scans
    scans: "Callable[[Arrays], Scans]"  # those of all samples -> where their patches lie
    truth: str  # field without samples: the objects of the scans, (scan, y, x), from pixel 0 on
    pixels: int  # of an image to one of the truth, along each side
    free: Literal["constant", ""]  # in each patch: a constant of its own (a phase), or nothing (a mask, an image)
    scales: tuple[Scale, ...] = ()


@dataclass(frozen=True)
class View:
    """Something to look at that follows from the targets, exact ones and predicted ones: their far field."""

    name: str
    units: str
    of: Callable[[Arrays], np.ndarray]  # (sample, ...) targets -> (sample, y, x)
    logarithm: bool = False  # shown as log10, three decades down


@dataclass(frozen=True)
class Measures:
    """Scores that only this task has, beside those of all (`schemas.scores`)."""

    scores: Mapping[str, Score]  # what they mean
    rank: str  # the one, the lower the better, by which methods are tuned, ranked and compared
    needs: tuple[str, ...]  # fields that they are computed from, beside targets and predictions
    histograms: tuple[str, ...]  # scores that are drawn as such, beside the one of rank
    of: Callable[[Arrays, Arrays], Mapping[str, np.ndarray]]  # (fields, predictions) -> (sample,) of each score


@dataclass(frozen=True)
class Found:
    """The content of a section for one split. Keys: name of the run; a run may be missing."""

    scores: "Mapping[str, Summary]"  # beside the means of all samples in `metrics.json`; `--expect` may bound them
    data: Mapping[str, dict[str, Any]]  # further entries of a run in `metrics.json`
    html: "Callable[[Result], str]"  # for report.html: Markup is taken as it is, plain text is escaped
    lines: tuple[str, ...]  # for the terminal


@dataclass(frozen=True)
class Section:
    """A section of the report that a task adds. Scores of single samples are `Measures`; these are of something else.

    of(source, stores) computes it from a split and its stores of predictions, by name of the run; None leaves the
    section out, because the dataset does not have what it needs.
    """

    title: str
    of: "Callable[[Source, Mapping[str, Path]], Found | None]"


@dataclass(frozen=True)
class Report:
    """What is particular to a task in the report of `evaluate`."""

    inputs: tuple[Shown, ...]
    parameters: tuple[str, ...] = ()  # errors are plotted against them; of several values a sample, the largest modulus
    measures: Measures | None = None
    views: tuple[View, ...] = ()
    sections: tuple[Section, ...] = ()
    finer: int = 1  # pixels of a target to one as wide as `sampling`, along each side

    def ranks(self, task: Task) -> str:
        """The score by which methods are tuned, ranked and compared: without what no measurement reveals."""
        return self.measures.rank if self.measures else rank(task)

    @property
    def without_targets(self) -> "Report":
        """Return what remains where a parameter is predicted in place of the task's targets."""
        return replace(self, measures=None, views=(), sections=())

    @property
    def needs(self) -> tuple[str, ...]:
        """Fields that scores are computed from, beside the targets."""
        return self.measures.needs if self.measures else ()

    @property
    def histograms(self) -> tuple[str, ...]:
        """Scores that are drawn as histograms, beside the one of rank."""
        return self.measures.histograms if self.measures else ()

    def told(self, keys: Iterable[str]) -> list[str]:
        """The scores that a terminal has room for: the task's own, or all where it has none."""
        return [key for key in keys if not self.measures or key in self.measures.scores]

    def meaning(self, key: str) -> Score:
        """Of a score's key (`nrms`, `phase.nrms`, `chi2`)."""
        known = dict(SCORES) | dict(self.measures.scores if self.measures else {})
        return known[key.rpartition(".")[2]]


class Inference(Protocol):
    """A task's file: METHODS and REPORT; it may also hold FINISH (a Finish) and STITCH (a Stitch)."""

    METHODS: Mapping[str, Method]
    REPORT: Report


@dataclass(frozen=True)
class Inverter:
    """A network or a classical method, ready to be used: fields of a block -> targets."""

    kind: Literal["network", "classical"]
    name: str
    method: str
    about: str
    task: Task
    inputs: tuple[str, ...]
    predict: Callable[[Arrays], Arrays]
    hardware: str
    version: int = 1
    settings: Settings = field(default_factory=dict)
    tuning: Tuning | None = None
    weights: Weights | None = None
    history: Sequence[Mapping[str, Any]] = ()
    sizes: Mapping[str, int] | None = None  # of the training images
    ranges: Mapping[str, Ranges] = field(default_factory=dict)  # of parameters over the training data
    whole: bool = False  # images must not be cut into tiles
    scope: Scope = "sample"  # as in Method
    group: str = ""
    accepts: Callable[[Task, Mapping[str, int]], list[str]] = lambda task, sizes: []


def inference_names() -> list[str]:
    """The tasks that have classical methods and a report."""
    return plugins.names("inference.tasks")


def find_inference(name: str) -> Inference:
    """The methods and the report of a task; UserError if there are none."""
    return cast(Inference, _file(name))


def _file(name: str) -> ModuleType:
    unknown = f"task {name}: no methods for it (inference/tasks/{name}.py)"
    return plugins.find("inference.tasks", name, _mistakes, unknown)


def _mistakes(module: ModuleType) -> Iterator[str]:
    yield from plugins.lacking(module, {"METHODS": Mapping, "REPORT": Report})
    task = find_task(plugins.task_of(module))
    for name, method in module.METHODS.items():
        yield from _method_mistakes(task, f"METHODS[{name!r}]", method)
    yield from plugins.misplaced(module, {"FINISH": Finish, "STITCH": Stitch})
    if after := plugins.optional(module, "FINISH", Finish):
        yield from _finish_mistakes(task, after)
    if images := plugins.optional(module, "STITCH", Stitch):
        yield from _stitch_mistakes(task, images)
    for shown in module.REPORT.inputs:
        if not isinstance(shown, Shown):
            yield f"REPORT.inputs: {shown!r} must be a Shown(field, index)"
        yield from misread(task, "REPORT.inputs", (shown.field,), "input", "auxiliary")
        free = set(task[shown.field].dims) - {dim for target in task.of("target") for dim in target.dims}
        if len(shown.index) > len(free):
            yield f"REPORT.inputs: {shown.field} has the index {shown.index}, must have one for {sorted(free)}"
    yield from misread(task, "REPORT.parameters", module.REPORT.parameters, "parameter")
    if found := module.REPORT.measures:
        yield from misread(task, "REPORT.measures.needs", found.needs, "input", "parameter", "auxiliary")
        general = scores_of(task)
        if found.rank not in found.scores or set(found.scores) & general:
            yield f"REPORT.measures: rank = {found.rank!r} must be one of scores, and none of {', '.join(general)}"
    for section in module.REPORT.sections:
        if not isinstance(section, Section):
            yield f"REPORT.sections: {section!r} must be a Section(title, of)"
        yield from plugins.unlike(f"REPORT.sections: {section.title!r}: of", section.of, "source", "stores")


def _stitch_mistakes(task: Task, images: Stitch) -> Iterator[str]:
    yield from misread(task, "STITCH.target", (images.target,), "target")
    yield from misread(task, "STITCH.needs", images.needs, "input", "parameter", "auxiliary")
    yield from misread(task, "STITCH.truth", (images.truth,), "auxiliary")
    if images.free not in ("constant", ""):
        yield f"STITCH.free = {images.free!r}: must be 'constant' or ''"
    for scale in images.scales:
        yield from misread(task, f"STITCH.scales: {scale.name}", scale.needs, "input", "parameter", "auxiliary")


def _finish_mistakes(task: Task, after: Finish) -> Iterator[str]:
    for name in ("needs", "uses"):
        yield from misread(task, f"FINISH.{name}", getattr(after, name), "input", "parameter", "auxiliary")
    yield from plugins.unlike("FINISH.apply", after.apply, "fields", "predicted", **after.settings)


def _method_mistakes(task: Task, where: str, method: Any) -> Iterator[str]:
    if not isinstance(method, Method):
        yield f"{where}: must be a Method(...)"
    for name in ("needs", "uses"):
        yield from misread(task, f"{where}.{name}", getattr(method, name), "input", "parameter", "auxiliary")
    if method.scope not in get_args(Scope.__value__) or (method.group and method.scope != "group"):
        yield f"{where}.scope = {method.scope!r}: must be slice, sample or group, and group for what has a group"
    yield from misread(task, f"{where}.group", (method.group,) if method.group else (), "parameter")
    if method.group and (task[method.group].dims, np.dtype(task[method.group].dtype).kind) != ((SAMPLE,), "i"):
        yield f"{where}.group: {method.group} must be one integer of each sample"
    for key, setting in method.settings.items():
        if not isinstance(setting, Setting) or not isinstance(setting.values, tuple) or not setting.values:
            yield f"{where}.settings[{key!r}]: must be a Setting(about, unit, (value, ...))"
    yield from plugins.unlike(f"{where}.solve", method.solve, "fields", **method.settings)


def find_finish(task: str) -> Finish | None:
    """What follows the networks of a task, if something does."""
    return plugins.optional(_file(task), "FINISH", Finish)


def find_stitch(task: str) -> Stitch | None:
    """How targets of a task are patches of larger images, if they are."""
    return plugins.optional(_file(task), "STITCH", Stitch)


def find_method(task: str, name: str) -> Method:
    """A classical method of a task; UserError lists those there are."""
    methods = find_inference(task).METHODS
    if name not in methods:
        raise UserError(f"--method {name}: no such method for task {task}{meant(name, methods)}")
    return methods[name]
