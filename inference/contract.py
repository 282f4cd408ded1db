"""Types that a task's file in `inference/tasks/` is written in, and `Inverter`.

`inference/task_modules.py` finds and checks these files. Networks and classical methods are both turned into an
`Inverter`.
"""

import math
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np

from schemas import slices
from schemas.predictions import Tuning, Weights
from schemas.runtime import plugins
from schemas.runtime.errors import UserError
from schemas.scores import SCORES
from schemas.target_kinds import Score, ranking_score
from schemas.task import Task

if TYPE_CHECKING:
    from inference.invert.split_reader import Source
    from inference.report.evaluation import Result, Summary
    from inference.stitching.store import Scans

type Arrays = Mapping[str, np.ndarray]
type Value = float | str
type Ranges = Sequence[tuple[float, float]]  # minimum and maximum, for each value that a sample has
type Settings = Mapping[str, Value]
type Scope = Literal["slice", "sample", "group"]


@dataclass(frozen=True)
class Setting:
    """Number or word that controls a classical method; it is given by the user or found by tuning."""

    about: str
    unit: str
    values: tuple[Value, ...]  # the values tried in tuning, in rising order; for words, all that are allowed
    minimum: float = -math.inf  # smallest value allowed
    maximum: float = math.inf  # largest value allowed
    whole: bool = False  # True: a whole number, at most a million


@dataclass(frozen=True)
class Method:
    """Classical method that computes the targets of a task from its measured fields.

    `solve(fields, **settings)` receives fields with a leading sample axis, and constants without one. It returns the
    targets in the units of the dataset, multiplied by the window of the task. `prepare(fields)` returns the fields as
    `solve` takes them: it does the work that no setting changes, so that tuning does it only once. The result for a
    sample must not depend on the other samples of its block, unless the scope is a group.

    A method that learns from training samples has `fit(fields, **settings)`, which receives the same fields of training
    samples, and their targets. `solve` receives what it returns as a further argument, `fitted`.
    """

    about: str  # formula and source
    needs: tuple[str, ...]  # fields of the dataset
    solve: Callable[..., dict[str, np.ndarray]]
    prepare: Callable[[Arrays], Arrays] = lambda fields: fields
    fit: Callable[..., Any] | None = None
    settings: Mapping[str, Setting] = field(default_factory=dict)
    version: int = 1  # raised when the same settings give other values
    uses: tuple[str, ...] = ()  # further fields, which it reads if the dataset has them
    # A block holds any number of slices or samples, but exactly one group, whose samples are inverted together.
    scope: Scope = "sample"
    group: str = ""  # the integer parameter that numbers the groups; without one, a split is one group

    def prepare_fields(self, fields: Arrays) -> Arrays:
        """Return the fields that this method reads, after `prepare`."""
        read = {name: fields[name] for name in self.reads(fields)}
        with plugins.reporting_errors(*plugins.function_origin(self.prepare), tuple(read)):
            return self.prepare(read)

    def reads(self, present: Container[str]) -> tuple[str, ...]:
        """Return the names of the fields that this method reads from a dataset with the fields `present`."""
        return self.needs + tuple(name for name in self.uses if name in present)

    def arguments(self, settings: Settings, training: Arrays | None) -> Mapping[str, Any]:
        """Return the arguments of `solve`: the settings, and what a method that learns has learned with them.

        Args:
            settings: a value for each setting of the method.
            training: fields of training samples, prepared, and their targets; None: the method does not learn.

        Raises:
            UserError: `fit` fails.
        """
        if self.fit is None or training is None:
            return settings
        with plugins.reporting_errors(*plugins.function_origin(self.fit), tuple(training)):
            return {**settings, "fitted": self.fit(training, **settings)}

    def invert(self, task: Task, arguments: Mapping[str, Any], prepared: Arrays) -> dict[str, np.ndarray]:
        """Return all targets of a block of samples, after checking their shapes, dtypes and labels.

        Args:
            task: the task whose targets are computed.
            arguments: a value for each setting of the method, and what it has learned.
            prepared: fields as `prepare_fields` returns them.

        Raises:
            UserError: `solve` fails, or returns something that does not fit the targets.
        """
        # NumPy need not warn of values that are not finite: `inference.invert.inversion.Clock` counts and reports them.
        with (
            np.errstate(divide="ignore", invalid="ignore", over="ignore"),
            plugins.reporting_errors(*plugins.function_origin(self.solve), tuple(prepared)),
        ):
            solved = self.solve(prepared, **arguments)
        sizes = {dim: n for name in self.needs for dim, n in zip(task[name].dims, prepared[name].shape, strict=True)}
        module, name = plugins.function_origin(self.solve)
        where = f"{plugins.module_path(module)}: {name}"
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

    def inverter(self, task: Task, fields: Arrays) -> Callable[[Mapping[str, Any]], dict[str, np.ndarray]]:
        """Return a function from the arguments of `solve` to the targets of one block of samples.

        A method whose scope is a slice is called with all slices of the samples, as if each were a sample.

        Args:
            task: the task whose targets are computed.
            fields: fields of the block, as the dataset stores them.
        """
        if self.scope != "slice" or not task.slices:
            prepared = self.prepare_fields(fields)
            return lambda arguments: self.invert(task, arguments, prepared)
        known = slices.slice_lengths(task, fields)
        samples = next(len(values) for name, values in fields.items() if task[name].per_sample)
        prepared = self.prepare_fields(slices.fold(task, {name: fields[name] for name in self.reads(fields)}, samples))
        return lambda arguments: slices.unfold(task, self.invert(task.sliced, arguments, prepared), known)


@dataclass(frozen=True)
class Shown:
    """Image of an input field that the report shows."""

    field: str
    index: tuple[int, ...] = ()  # index along the axes that no target has
    logarithm: bool = False  # shown as log10, from the maximum down by three decades


@dataclass(frozen=True)
class Finish:
    """Finishing step that changes the targets predicted by a network before they are stored.

    `apply(fields, targets, **settings)` returns the new targets. The result for a sample must not depend on the other
    samples of its block.
    """

    about: str
    needs: tuple[str, ...]  # fields of the dataset
    apply: Callable[..., dict[str, np.ndarray]]
    settings: Mapping[str, Setting]  # the first value of each is its default
    uses: tuple[str, ...] = ()  # further fields, which it reads if the dataset has them


@dataclass(frozen=True)
class Scale:
    """Quantity of a whole scan, such as its fluence; errors of images are plotted against it if scans differ in it."""

    name: str
    units: str
    about: str  # formula
    needs: tuple[str, ...]  # fields of the dataset; without them the quantity is unknown
    compute: Callable[[Arrays], float]  # function of the needed fields of all samples of one scan
    logarithm: bool = False  # drawn on a logarithmic axis


@dataclass(frozen=True)
class Stitch:
    """Rule by which the patches that a target holds are stitched to larger images, one for each scan.

    Pixel 0 of the images, at y = x = `Scans.zero`, begins where pixel 0 of the truth begins.
    """

    target: str  # field that holds the patches
    needs: tuple[str, ...]  # fields of the dataset; without them it holds no scans
    scans: "Callable[[Arrays], Scans]"  # function from the needed fields of all samples to the places of their patches
    truth: str  # field without a sample axis: the objects of the scans (scan, y, x), from pixel 0 on
    pixels: int  # pixels of an image per pixel of the truth, along each side
    free: Literal["constant", ""]  # unknown of each patch: a constant (for a phase), or nothing (for a mask, an image)
    scales: tuple[Scale, ...] = ()


@dataclass(frozen=True)
class View:
    """Image computed from the targets that the report also shows, for example their far field."""

    name: str
    units: str
    compute: Callable[[Arrays], np.ndarray]  # function from targets (sample, ...) to images (sample, y, x)
    logarithm: bool = False  # shown as log10, from the maximum down by three decades


@dataclass(frozen=True)
class Measures:
    """Scores that only this task has, in addition to those of all tasks (`schemas.scores`)."""

    scores: Mapping[str, Score]  # their meanings
    # (fields, predictions) -> scores (sample,). For a task with slices, each slice is a sample.
    compute: Callable[[Arrays, Arrays], Mapping[str, np.ndarray]]
    needs: tuple[str, ...] = ()  # fields that the scores are computed from, besides targets and predictions
    targets: tuple[str, ...] = ()  # targets that the scores are computed from; empty: all
    # The score by which methods are tuned, ranked and compared, in place of the general one; lower is better.
    rank: str = ""
    histograms: tuple[str, ...] = ()  # further scores, besides that of rank, whose histograms the report shows


@dataclass(frozen=True)
class SectionContent:
    """Content of a section of the report for one split. Keys are names of predictions, some of which may be missing."""

    scores: "Mapping[str, Summary]"  # written to `metrics.json` beside the means over samples; for `--expect`, too
    data: Mapping[str, dict[str, Any]]  # further entries of these predictions in `metrics.json`
    html: "Callable[[Result], str]"  # content of `report.html`: Markup is inserted unchanged, plain text is escaped
    lines: tuple[str, ...]  # lines printed on the terminal


@dataclass(frozen=True)
class Section:
    """Section of the report about something else than single samples, whose scores are `Measures`.

    `compute(source, stores)` returns its content from a split and its stores of predictions by name. It returns None
    if the dataset lacks the fields that the section needs; the section is then left out.
    """

    title: str
    compute: "Callable[[Source, Mapping[str, Path]], SectionContent | None]"


@dataclass(frozen=True)
class Report:
    """Parts of the report of `evaluate` that depend on the task."""

    inputs: tuple[Shown, ...]
    parameters: tuple[str, ...] = ()  # errors are plotted against these, or the largest modulus of several values
    measures: Measures | None = None
    views: tuple[View, ...] = ()
    sections: tuple[Section, ...] = ()
    finer: int = 1  # pixels of a target per pixel of width `sampling`, along each side

    def ranking_score(self, task: Task) -> str:
        """Return the score by which methods are tuned, ranked and compared; it ignores the ambiguities of the task."""
        return self.measures.rank if self.measures and self.measures.rank else ranking_score(task)

    @property
    def ranks(self) -> bool:
        """Return whether methods are ranked by a score that only this task has."""
        return bool(self.measures and self.measures.rank)

    def measure(self, task: Task, fields: Arrays, predicted: Arrays) -> Mapping[str, np.ndarray]:
        """Return the scores that only this task has, one row for each slice of the samples.

        Args:
            task: the task.
            fields: the targets and the fields of `needs`, of a block of samples.
            predicted: the predicted targets.
        """
        if not self.measures:
            return {}
        samples = len(next(iter(predicted.values())))
        return self.measures.compute(slices.fold(task, fields, samples), slices.fold(task, predicted, samples))

    def of_targets(self, names: Sequence[str]) -> "Report":
        """Return the report for predictions of other fields than all targets of the task.

        Args:
            names: the predicted fields.
        """
        read = self.measures.targets if self.measures else ()
        kept = self.measures if read and set(read) <= set(names) else None
        return replace(self, measures=kept, views=(), sections=())

    @property
    def needs(self) -> tuple[str, ...]:
        """Return the fields that scores are computed from, besides the targets."""
        return self.measures.needs if self.measures else ()

    @property
    def histograms(self) -> tuple[str, ...]:
        """Return the further scores, besides that of rank, that are drawn as histograms."""
        return self.measures.histograms if self.measures else ()

    def printed_scores(self, keys: Iterable[str]) -> list[str]:
        """Return the scores that are printed on the terminal: all, or the task's own if one of them ranks methods."""
        return [key for key in keys if not self.measures or not self.ranks or key in self.measures.scores]

    def meaning(self, key: str) -> Score:
        """Return the meaning of a score by its key, such as `nrms`, `phase.nrms` or `chi2`."""
        known = dict(SCORES) | dict(self.measures.scores if self.measures else {})
        return known[key.rpartition(".")[2]]


class Inference(Protocol):
    """Module of a task: METHODS and REPORT; it may also hold a finishing step and a rule for stitching."""

    METHODS: Mapping[str, Method]
    REPORT: Report


@dataclass(frozen=True)
class Inverter:
    """Network or classical method, ready to be used: `predict` maps the fields of a block to the targets."""

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
    sizes: Mapping[str, int] | None = None  # sizes of the training images
    ranges: Mapping[str, Ranges] = field(default_factory=dict)  # ranges of parameters in the training data
    needs_whole_images: bool = False  # True: images must not be cut into tiles
    scope: Scope = "sample"  # the same as in Method
    group: str = ""
    reasons_to_refuse: Callable[[Task, Mapping[str, int]], list[str]] = lambda task, sizes: []
