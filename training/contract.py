"""What the loop asks of a task's file in `training/tasks/` and a model's in `training/models/`; found by name."""

import importlib
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any, Protocol, cast

import jax
from flax import nnx

import training.models
import training.tasks
from schemas.errors import UserError
from schemas.knobs import Knobs

type Array = jax.Array
type Arrays = Mapping[str, Array]
type Shape = tuple[int, ...]  # of one sample: the spatial axes, then channels


@dataclass(frozen=True)
class Derived:
    """Channels that are computed from fields, on the device."""

    fields: tuple[str, ...]  # what it reads
    channels: Callable[[Arrays], Array]  # (sample, ...) each, constants without -> (sample, *spatial, channel)
    like: str  # the field whose mean and standard deviation normalise the channels
    about: str


type Channels = str | Derived  # the name of a field stands for its values: axes that are not spatial become channels


@dataclass(frozen=True)
class Learn:
    """How a task is learned."""

    spatial: tuple[str, ...]  # dimensions along which networks convolve; every target has them
    inputs: Mapping[str, tuple[Channels, ...]]  # what a network may see, by name; the first is the default
    scalars: tuple[str, ...] = ()  # parameters that a network may be told, each a constant channel
    symmetries: tuple[str, ...] = ()  # of the physics: flip_<dimension>, transpose; drawn anew for every sample
    recipes: Mapping[str, Mapping[str, Any]] = field(default_factory=lambda: {"default": {}})  # knobs by name

    def __post_init__(self) -> None:
        known = {"transpose", *(f"flip_{dim}" for dim in self.spatial)}
        if unknown := set(self.symmetries) - known:
            raise ValueError(f"symmetries {sorted(unknown)}: must be some of {', '.join(sorted(known))}")


class Model(Protocol):
    """A model's file."""

    Config: type[Knobs]  # its knobs

    def build(self, config: Any, inputs: Shape, outputs: Shape, rngs: nnx.Rngs, dtype: Any) -> nnx.Module:
        """A module that maps (sample, *inputs) to (sample, *outputs), float32 parameters, computing in `dtype`.

        It is called as `module(x, key)`: key is for dropout, None in inference. ValueError if the shapes do not suit.
        """


def model_names() -> list[str]:
    """All models found."""
    return sorted(module.name for module in pkgutil.iter_modules(training.models.__path__))


def find_model(name: str) -> Model:
    """The model of that name; UserError lists those that exist."""
    if name not in model_names():
        raise UserError(f"--model {name}: no such model; there are: {', '.join(model_names())}")
    return cast(Model, importlib.import_module(f"training.models.{name}"))


def find_learn(task: str) -> Learn:
    """How the task of that name is learned; UserError if nobody said."""
    try:
        module: ModuleType = importlib.import_module(f"training.tasks.{task}")
    except ModuleNotFoundError as error:
        if error.name != f"training.tasks.{task}":
            raise
        known = ", ".join(sorted(module.name for module in pkgutil.iter_modules(training.tasks.__path__)))
        raise UserError(
            f"task {task}: nothing says how to learn it (training/tasks/{task}.py); known: {known}"
        ) from None
    return cast(Learn, module.LEARN)
