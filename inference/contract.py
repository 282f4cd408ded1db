"""What inference asks of a task's file in `inference/tasks/`, of a trained network, and how it finds them."""

import importlib
import pkgutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, cast

import numpy as np

import inference.tasks
from schemas.core import Task
from schemas.errors import UserError
from schemas.predictions import Tuning, Weights

type Arrays = Mapping[str, np.ndarray]
type Value = float | str
type Settings = Mapping[str, Value]


@dataclass(frozen=True)
class Setting:
    """A number or a word that a classical method is given."""

    about: str
    unit: str
    values: tuple[Value, ...]  # tried in tuning, in rising order; words: all there are


@dataclass(frozen=True)
class Method:
    """A classical method.

    solve(fields, **settings): fields with a leading sample axis, and constants without -> the targets, in the dataset's
    units and multiplied by the task's window. A sample must not depend on its block.
    """

    about: str  # formula and source
    needs: tuple[str, ...]  # fields of the dataset
    solve: Callable[..., dict[str, np.ndarray]]
    settings: Mapping[str, Setting] = field(default_factory=dict)


@dataclass(frozen=True)
class Shown:
    """An image of an input field for the report: its index along the axes that no target has."""

    field: str
    index: tuple[int, ...] = ()


@dataclass(frozen=True)
class Report:
    """What is particular to a task in the report of `evaluate`."""

    inputs: tuple[Shown, ...]
    parameters: tuple[str, ...] = ()  # errors are plotted against them; of several values a sample, the largest modulus


class Inference(Protocol):
    """A task's file."""

    METHODS: Mapping[str, Method]
    REPORT: Report


class Card(Protocol):
    """What a trained network says of itself."""

    @property
    def recipe(self) -> Mapping[str, Any]: ...  # noqa: D102
    @property
    def task(self) -> Task: ...  # noqa: D102
    @property
    def sizes(self) -> Mapping[str, int]: ...  # noqa: D102
    @property
    def history(self) -> Sequence[Mapping[str, Any]]: ...  # noqa: D102
    @property
    def dataset_digest(self) -> str: ...  # noqa: D102
    @property
    def parameters(self) -> int: ...  # noqa: D102
    @property
    def samples(self) -> int: ...  # noqa: D102
    @property
    def ranges(self) -> Mapping[str, tuple[float, float]]: ...  # noqa: D102


class Trained(Protocol):
    """A trained network, as `training.export.load_model` gives it."""

    @property
    def card(self) -> Card:
        """What it says of itself."""

    @property
    def inputs(self) -> tuple[str, ...]:
        """The fields that it reads, constants included."""

    def predict(self, fields: Arrays) -> Arrays:
        """All targets of a block, float32, in the dataset's units, multiplied by the window."""

    @property
    def identity(self) -> str:
        """Of all that its predictions depend on."""

    @property
    def whole(self) -> bool:
        """Whether images must not be cut into tiles."""

    def accepts(self, task: Task, sizes: Mapping[str, int]) -> list[str]:
        """What keeps it from reading such a dataset; empty if nothing does."""


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
    settings: Settings = field(default_factory=dict)
    tuning: Tuning | None = None
    weights: Weights | None = None
    history: Sequence[Mapping[str, Any]] = ()
    sizes: Mapping[str, int] | None = None  # of the training images
    ranges: Mapping[str, tuple[float, float]] = field(default_factory=dict)  # of parameters over the training data
    whole: bool = False  # images must not be cut into tiles
    accepts: Callable[[Task, Mapping[str, int]], list[str]] = lambda task, sizes: []


def inference_names() -> list[str]:
    """The tasks that have classical methods and a report."""
    return sorted(module.name for module in pkgutil.iter_modules(inference.tasks.__path__))


def find_inference(name: str) -> Inference:
    """The methods and the report of a task; UserError if there are none."""
    if name not in inference_names():
        raise UserError(f"task {name}: no methods for it (inference/tasks/{name}.py); there are: {inference_names()}")
    return cast(Inference, importlib.import_module(f"inference.tasks.{name}"))


def find_method(task: str, name: str) -> Method:
    """A classical method of a task; UserError lists those there are."""
    methods = find_inference(task).METHODS
    if name not in methods:
        raise UserError(f"--method {name}: no such method for task {task}; there are: {', '.join(methods)}")
    return methods[name]
