"""What the loop asks of a task's file in `training/tasks/` and a model's in `training/models/`; found by name."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any, Literal, Protocol, cast

import jax
from flax import nnx

from schemas.runtime import plugins
from schemas.runtime.settings import Settings, untold
from schemas.task import Role, Task, find_task, misread

type Array = jax.Array
type Arrays = Mapping[str, Array]
type Shape = tuple[int, ...]  # of one sample: the spatial axes, then channels
type Sizes = Mapping[str, int]  # lengths of dimensions
type Fit = Literal["kept", "enlarged", "any", "operator"]
type By = Literal["field", "channel", "sample", "none"]

FITS = ("kept", "enlarged", "any", "operator")
BYS = ("field", "channel", "sample", "none")


@dataclass(frozen=True)
class Operator:
    """The linear physics between image and measurement, for networks that apply it: angles and the like are fields.

    It has no negative weights: `train` refuses one that has, for networks divide by sums of its rows and columns.
    """

    fields: tuple[str, ...]  # what it reads, and the measurement
    measured: str  # the measurement, one of these
    forward: Callable[[Array, Arrays, Sizes], Array]  # images (sample, *spatial of the targets) -> measurements
    adjoint: Callable[[Array, Arrays, Sizes], Array]  # the transpose: measurements -> images
    about: str
    version: str = "1.0"  # another first number: networks that were trained with the other one do not suit


@dataclass(frozen=True)
class Applied:
    """An operator for arrays of known sizes."""

    measured: str
    forward: Callable[[Array, Arrays], Array]
    adjoint: Callable[[Array, Arrays], Array]


@dataclass(frozen=True)
class Inputs:
    """Of one sample of a network's input, (*spatial, channels)."""

    spatial: Shape  # of the training data
    channels: int  # of images, then of scalars
    scalars: int = 0  # the last channels, each the same number at every pixel
    operator: Applied | None = None  # of the task, for models that are called with fields
    moments: tuple[float, float] = (0.0, 1.0)  # mean and deviation of the first target: outputs are in units of these

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
    channels: Callable[..., Array]  # (sample, ...) each, constants without -> (sample, *spatial, channel)
    like: str  # the field whose mean and standard deviation normalise the channels; empty: see `by`
    about: str
    local: bool = False  # a part of the channels follows from the same part of the fields: images may be cut into tiles
    sized: bool = False  # `channels` takes the lengths of all dimensions as a second argument
    by: By = "none"  # without `like`: by moments of their own, of all channels together or of each; none: they come
    # normalised


@dataclass(frozen=True)
class Head:
    """What the channels of a network's output are, where they are not the normalised targets, one after another."""

    about: str
    channels: int  # along the last axis of the output
    targets: Callable[[Array], Arrays]  # (sample, *spatial, channels) -> each target (sample, ...), its own units


@dataclass(frozen=True)
class Loss:
    """A loss of a task's own: a setting `loss.<name>` weighs it, 0 unless a recipe says otherwise."""

    about: str
    of: Callable[[Arrays, Arrays], Array]  # predicted targets, exact ones -> (sample,)


@dataclass(frozen=True)
class Symmetry:
    """A map of all fields of a sample together, beside the reversals of axes that are known by name."""

    name: str
    fields: tuple[str, ...]  # what it changes
    apply: Callable[[dict[str, Array]], dict[str, Array]]  # these, (sample, ...) each -> the same, changed


@dataclass(frozen=True)
class Like:
    """A target is normalised by the moments of an input, also where these are those of each sample."""

    field: str


type Channels = str | Derived  # the name of a field stands for its values: axes that are not spatial become channels


@dataclass(frozen=True)
class Learn:
    """How a task is learned."""

    inputs: Mapping[str, tuple[Channels, ...]]  # what a network may see, by name; the first is the default
    grids: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # dimensions of inputs that do not lie on the
    # grid of the targets
    heads: Mapping[str, Head] = field(default_factory=dict)  # by name; the first is the default
    scalars: tuple[str, ...] = ()  # parameters that a network may be told, each a constant channel
    symmetries: tuple[str | Symmetry, ...] = ()  # of the physics: flip_<dimension>, transpose; drawn anew every time
    losses: Mapping[str, Loss] = field(default_factory=dict)  # by name; one named as a general loss takes its place
    operator: Operator | None = None
    normalise: Mapping[str, By | Like] = field(default_factory=dict)  # fields by moments of all values ("field", if
    # nothing is said), of each channel, of each sample (inputs alone), or not at all; a target like an input
    crop: int | None = None  # where samples are longer, and may be cut, networks learn from parts of this length
    recipes: Mapping[str, Mapping[str, Any]] = field(default_factory=lambda: {"default": {}})  # settings by name
    version: str = "1.0"  # another first number: inputs or heads of that name mean something else


class Model(Protocol):
    """A model's file."""

    Config: type[Settings]  # its settings
    FIT: Fit  # it keeps the grid of its input, may enlarge it by a whole factor, or maps any grid to any other; with
    # the operator of the task inside, it takes `fields`
    VERSION: str  # another first number: weights of the other one do not suit
    LOSSES: Mapping[str, str]  # optional: further losses of the module's own, by name, and what they are

    def build(self, config: Any, inputs: Inputs, outputs: Shape, rngs: nnx.Rngs, dtype: Any) -> nnx.Module:
        """A module that maps (sample, *inputs.shape) to (sample, *outputs), float32 parameters, computing in `dtype`.

        It is called as `module(x, key)`: key is for dropout, None in inference. ValueError if the shapes do not suit.
        A module with statistics over the batch takes `weight` too, (sample,): 0 marks samples that only fill it up. One
        with physics inside takes `fields` too, those that its input and `inputs.operator` read, in their own units.
        It may return (output, {name: (sample,)}), further losses of the names in LOSSES.
        Scalars come as constant images: convolutions take them as any channel, dense layers may take each once.
        """


def model_names() -> list[str]:
    """All models found."""
    return plugins.names("training.models")


def find_model(name: str) -> Model:
    """The model of that name; UserError lists those that exist."""
    return cast(Model, plugins.find("training.models", name, _model_mistakes, f"--model {name}: no such model"))


def find_learn(task: str) -> Learn:
    """How the task of that name is learned; UserError if nobody said."""
    unknown = f"task {task}: nothing says how to learn it (training/tasks/{task}.py)"
    return cast(Learn, plugins.find("training.tasks", task, _mistakes, unknown).LEARN)


def versions(task: str, model: str) -> dict[str, str]:
    """The versions of what a network of a task is made with."""
    learn, network = find_learn(task), find_model(model)
    inside = learn.operator if network.FIT == "operator" else None
    known = {"learn": learn.version, "model": network.VERSION}
    return known | ({"operator": inside.version} if inside else {})


def _model_mistakes(module: ModuleType) -> Iterator[str]:
    yield from plugins.lacking(module, {"Config": type, "FIT": str, "VERSION": str})
    if not issubclass(module.Config, Settings) or "name" in module.Config.model_fields:
        yield "Config: must be a schemas.runtime.settings.Settings, without a setting of its own called name"
    if module.FIT not in FITS:
        yield f"FIT = {module.FIT!r}: must be one of {', '.join(FITS)}"
    yield from untold(module.Config)
    yield from plugins.misplaced(module, {"LOSSES": Mapping})
    yield from plugins.unlike("build", getattr(module, "build", None), "config", "inputs", "outputs", "rngs", "dtype")


def _mistakes(module: ModuleType) -> Iterator[str]:
    yield from plugins.lacking(module, {"LEARN": Learn})
    learn: Learn = module.LEARN
    task = find_task(plugins.task_of(module))
    grid = task.spatial(task.of("target")[0])
    known = (*(f"flip_{dim}" for dim in grid), *(["transpose"] if len(grid) > 1 else []))
    words = learn.symmetries
    if not isinstance(words, tuple) or not {word for word in words if not isinstance(word, Symmetry)} <= set(known):
        yield f"LEARN.symmetries = {words!r}: must be a tuple of Symmetry and some of: {', '.join(known) or 'nothing'}"
    if not learn.inputs:
        yield "LEARN.inputs: must name at least one"
    for name in learn.grids:
        if name not in learn.inputs or not set(learn.grids[name]) <= task.dims:
            yield f"LEARN.grids[{name!r}]: must be spatial dimensions of the schema, for one of LEARN.inputs"
    for name, parts in learn.inputs.items():
        where = f"LEARN.inputs[{name!r}]"
        if not isinstance(parts, tuple) or not parts:
            yield f"{where} = {parts!r}: must be a tuple of fields and Derived"
        for part in parts:
            read = part.fields if isinstance(part, Derived) else (part,)
            yield from misread(task, where, read, "input", "parameter")
            if isinstance(part, str):
                yield from _off_grid(task, where, part, learn.grids.get(name, grid))
            if isinstance(part, Derived):
                like = (part.like,) if part.like else ()
                yield from misread(task, f"{where}, like", like, "input", "parameter", "target", "auxiliary")
    for name, head in learn.heads.items():
        if not isinstance(head, Head):
            yield f"LEARN.heads[{name!r}]: must be a Head(about, channels, targets)"
    for name, loss in learn.losses.items():
        if not isinstance(loss, Loss):
            yield f"LEARN.losses[{name!r}]: must be a Loss(about, of)"
    yield from _normalise_mistakes(task, learn)
    if learn.operator:
        yield from misread(task, "LEARN.operator.fields", learn.operator.fields, "input", "parameter", "auxiliary")
    if learn.crop is not None and not (isinstance(learn.crop, int) and learn.crop > 0):
        yield f"LEARN.crop = {learn.crop!r}: must be a number of pixels, or None"
    yield from misread(task, "LEARN.scalars", learn.scalars, "parameter")
    for name in learn.scalars:
        if along := task.spatial(task[name]):
            yield f"LEARN.scalars: {name} varies along {', '.join(along)}: such a field belongs to LEARN.inputs"
    if "default" not in learn.recipes:
        yield "LEARN.recipes: one must be named default"


def _normalise_mistakes(task: Task, learn: Learn) -> Iterator[str]:
    for name, by in learn.normalise.items():
        where = f"LEARN.normalise[{name!r}]"
        roles: tuple[Role, ...] = ("input",) if by == "sample" else ("input", "parameter", "target")
        yield from misread(task, where, (name,), *(("target",) if isinstance(by, Like) else roles))
        if isinstance(by, Like):
            yield from misread(task, where, (by.field,), "input")
        elif by not in BYS:
            yield f"{where} = {by!r}: must be one of {', '.join(BYS)}, or Like(input)"
        elif by != "none" and (task[name].classes or task[name].period):
            yield f"{where}: {name} holds classes or angles, which are not normalised"
    for part in (part for parts in learn.inputs.values() for part in parts if isinstance(part, Derived)):
        if part.by not in ("field", "channel", "none") or (part.like and part.by != "none"):
            yield f"LEARN.inputs, {part.about}: by = {part.by!r}: must be field, channel or none; none beside `like`"


def _off_grid(task: Task, where: str, name: str, grid: tuple[str, ...]) -> Iterator[str]:
    """Yield what is wrong with a measured field that does not lie on the grid of the network."""
    field = next((field for field in task.of("input") if field.name == name), None)
    if field is None:
        return
    roots = task.related("same", "reciprocal")
    placed = [roots.get(dim, dim) for dim in field.dims]
    if lacking := [dim for dim in grid if roots.get(dim, dim) not in placed]:
        yield (
            f"{where}: {name} ({', '.join(field.dims)}) does not have the dimension {', '.join(lacking)}: give a "
            "Derived that maps it onto this grid, name another grid in LEARN.grids, or relate the two in TASK.grids"
        )
