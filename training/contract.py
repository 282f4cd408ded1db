"""What the loop asks of a task's file in `training/tasks/` and a model's in `training/models/`; found by name."""

import pkgutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any, Protocol, cast

import jax
from flax import nnx

import training.models
import training.tasks
from schemas import files
from schemas.core import SAMPLE, Task, find_task, misread
from schemas.errors import UserError
from schemas.knobs import Knobs, untold

type Array = jax.Array
type Arrays = Mapping[str, Array]
type Shape = tuple[int, ...]  # of one sample: the spatial axes, then channels


@dataclass(frozen=True)
class Inputs:
    """Of one sample of a network's input, (*spatial, channels)."""

    spatial: Shape  # of the training data
    channels: int  # of images, then of scalars
    scalars: int = 0  # the last channels, each the same number at every pixel

    @property
    def shape(self) -> Shape:
        """(*spatial, channels)."""
        return (*self.spatial, self.channels)

    @property
    def images(self) -> int:
        """The first channels, that vary over the image."""
        return self.channels - self.scalars

    def parted(self, x: Array) -> tuple[Array, Array]:
        """(sample, *shape) -> (sample, *spatial, images), and each scalar once, (sample, scalars).

        ValueError if x is not of this very shape.
        """
        if x.shape[1:] != self.shape:
            raise ValueError(f"a dense network for {self.shape} cannot take {x.shape[1:]}")
        pixel = (slice(None), *(0 for _ in self.spatial), slice(self.images, None))
        return x[..., : self.images], x[pixel]


@dataclass(frozen=True)
class Derived:
    """Channels that are computed from fields, on the device."""

    fields: tuple[str, ...]  # what it reads
    channels: Callable[[Arrays], Array]  # (sample, ...) each, constants without -> (sample, *spatial, channel)
    like: str  # the field whose mean and standard deviation normalise the channels; empty: they come normalised
    about: str


@dataclass(frozen=True)
class Head:
    """What the channels of a network's output are, where they are not the normalised targets, one after another."""

    about: str
    channels: int  # along the last axis of the output
    targets: Callable[[Array], Arrays]  # (sample, *spatial, channels) -> each target (sample, *spatial), its own units


type Channels = str | Derived  # the name of a field stands for its values: axes that are not spatial become channels


@dataclass(frozen=True)
class Learn:
    """How a task is learned."""

    spatial: tuple[str, ...]  # dimensions along which networks convolve; every target has them
    inputs: Mapping[str, tuple[Channels, ...]]  # what a network may see, by name; the first is the default
    heads: Mapping[str, Head] = field(default_factory=dict)  # by name; the first is the default
    scalars: tuple[str, ...] = ()  # parameters that a network may be told, each a constant channel
    symmetries: tuple[str, ...] = ()  # of the physics: flip_<dimension>, transpose; drawn anew for every sample
    recipes: Mapping[str, Mapping[str, Any]] = field(default_factory=lambda: {"default": {}})  # knobs by name


class Model(Protocol):
    """A model's file."""

    Config: type[Knobs]  # its knobs

    def build(self, config: Any, inputs: Inputs, outputs: Shape, rngs: nnx.Rngs, dtype: Any) -> nnx.Module:
        """A module that maps (sample, *inputs.shape) to (sample, *outputs), float32 parameters, computing in `dtype`.

        It is called as `module(x, key)`: key is for dropout, None in inference. ValueError if the shapes do not suit.
        A module with statistics over the batch takes `weight` too, (sample,): 0 marks samples that only fill it up.
        Scalars come as constant images: convolutions take them as any channel, dense layers may take each once.
        """


def model_names() -> list[str]:
    """All models found."""
    return sorted(module.name for module in pkgutil.iter_modules(training.models.__path__))


def find_model(name: str) -> Model:
    """The model of that name; UserError lists those that exist."""
    if name not in model_names():
        raise UserError(f"--model {name}: no such model; there are: {', '.join(model_names())}")
    return cast(Model, files.find("training.models", name, _model_mistakes))


def find_learn(task: str) -> Learn:
    """How the task of that name is learned; UserError if nobody said."""
    try:
        module = files.find("training.tasks", task, _mistakes)
    except ModuleNotFoundError as error:
        if error.name != f"training.tasks.{task}":
            raise
        known = ", ".join(sorted(module.name for module in pkgutil.iter_modules(training.tasks.__path__)))
        raise UserError(
            f"task {task}: nothing says how to learn it (training/tasks/{task}.py); known: {known}"
        ) from None
    return cast(Learn, module.LEARN)


def _model_mistakes(module: ModuleType) -> Iterator[str]:
    yield from files.lacking(module, {"Config": type})
    if not issubclass(module.Config, Knobs) or "name" in module.Config.model_fields:
        yield "Config: must be a schemas.knobs.Knobs, without a knob of its own called name"
    yield from untold(module.Config)
    yield from files.unlike("build", getattr(module, "build", None), "config", "inputs", "outputs", "rngs", "dtype")


def _mistakes(module: ModuleType) -> Iterator[str]:
    yield from files.lacking(module, {"LEARN": Learn})
    learn: Learn = module.LEARN
    task = find_task(files.task_of(module))
    axes = [dim for dim in task.of("target")[0].dims if all(dim in field.dims for field in task.of("target"))]
    symmetries = (*(f"flip_{dim}" for dim in learn.spatial), *(["transpose"] if len(learn.spatial) > 1 else []))
    for name, words, known in (
        ("spatial", learn.spatial, [dim for dim in axes if dim != SAMPLE]),
        ("symmetries", learn.symmetries, symmetries),
    ):
        if not isinstance(words, tuple) or not set(words) <= set(known):
            yield f"LEARN.{name} = {words!r}: must be a tuple of some of: {', '.join(known) or 'nothing'}"
    if not learn.inputs:
        yield "LEARN.inputs: must name at least one"
    for name, parts in learn.inputs.items():
        where = f"LEARN.inputs[{name!r}]"
        if not isinstance(parts, tuple) or not parts:
            yield f"{where} = {parts!r}: must be a tuple of fields and Derived"
        for part in parts:
            read = part.fields if isinstance(part, Derived) else (part,)
            yield from misread(task, where, read, "input", "parameter")
            if isinstance(part, str):
                yield from _off_grid(task, where, part, learn.spatial)
            if isinstance(part, Derived):
                like = (part.like,) if part.like else ()
                yield from misread(task, f"{where}, like", like, "input", "parameter", "target", "auxiliary")
    for name, head in learn.heads.items():
        if not isinstance(head, Head):
            yield f"LEARN.heads[{name!r}]: must be a Head(about, channels, targets)"
        if any(set(field.dims) != {SAMPLE, *learn.spatial} for field in task.of("target")):
            yield f"LEARN.heads: every target must have the dimensions {SAMPLE}, {', '.join(learn.spatial)} alone"
    yield from misread(task, "LEARN.scalars", learn.scalars, "parameter")
    for name in learn.scalars:
        if along := [dim for dim in learn.spatial if dim in task[name].dims]:
            yield f"LEARN.scalars: {name} varies along {', '.join(along)}: such a field belongs to LEARN.inputs"
    if "default" not in learn.recipes:
        yield "LEARN.recipes: one must be named default"


def _off_grid(task: Task, where: str, name: str, spatial: tuple[str, ...]) -> Iterator[str]:
    """Yield what is wrong with a measured field that does not lie on the grid of the network."""
    field = next((field for field in task.of("input") if field.name == name), None)
    if field is None:
        return
    placed = [task.along.get(dim, dim) for dim in field.dims]
    if lacking := [dim for dim in spatial if dim not in placed]:
        yield (
            f"{where}: {name} ({', '.join(field.dims)}) does not have the dimension {', '.join(lacking)} of the "
            "targets: give a Derived that maps it onto their grid, or say in TASK.alike which dimensions are as long"
        )
