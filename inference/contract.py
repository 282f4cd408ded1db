"""What inference asks of a task's file in `inference/tasks/`, how it finds it, and what networks and methods become."""

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
    units and multiplied by the task's window. prepare(fields): the fields as solve takes them; what no setting changes,
    done once when settings are tuned. A sample must not depend on its block.
    """

    about: str  # formula and source
    needs: tuple[str, ...]  # fields of the dataset
    solve: Callable[..., dict[str, np.ndarray]]
    prepare: Callable[[Arrays], Arrays] = lambda fields: fields
    settings: Mapping[str, Setting] = field(default_factory=dict)

    def __call__(self, fields: Arrays, settings: Settings) -> dict[str, np.ndarray]:
        """The targets, from the dataset's fields."""
        return self.solve(self.prepare(fields), **settings)


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
