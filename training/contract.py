"""The interface between the training loop and the files of tasks and models.

A task says how it is learned in `training/tasks/<name>.py`, and a model is defined in `training/models/<name>.py`. The
functions at the end find these files by name and check them.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from math import prod
from types import ModuleType
from typing import Any, Literal, Protocol, cast

import jax
from flax import nnx

from schemas.runtime import plugins
from schemas.runtime.settings import Settings, undescribed_settings
from schemas.task import Role, Task, find_task, wrong_references

type Array = jax.Array
type Arrays = Mapping[str, Array]
type Shape = tuple[int, ...]  # shape of one sample: the spatial axes, then channels
type Sizes = Mapping[str, int]  # lengths of dimensions
type Fit = Literal["kept", "enlarged", "resized", "any", "operator"]
type By = Literal["field", "channel", "sample", "none"]

FITS = ("kept", "enlarged", "resized", "any", "operator")
MOMENT_SCOPES = ("field", "channel", "sample", "none")


@dataclass(frozen=True)
class Operator:
    """The linear physics between image and measurement, for networks that apply it.

    Its parameters, such as angles, are read from fields.

    The operator must not have negative weights: networks divide by the sums of its rows and columns, so `train` refuses
    an operator that has some.
    """

    fields: tuple[str, ...]  # the fields that it reads, the measurement included
    measured: str  # the field that holds the measurement, one of `fields`
    forward: Callable[[Array, Arrays, Sizes], Array]  # images (sample, *spatial of the targets) -> measurements
    adjoint: Callable[[Array, Arrays, Sizes], Array]  # the transpose: measurements -> images
    about: str
    version: str = "1.0"  # networks trained with another first number are refused
    # A linear approximation of the inverse, such as filtered back projection: measurements -> images. Its weights may
    # be negative.
    inverse: Callable[[Array, Arrays, Sizes], Array] | None = None


@dataclass(frozen=True)
class SizedOperator:
    """An operator with the sizes of the arrays filled in."""

    measured: str
    axes: int  # number of axes of a measurement, besides that of samples
    forward: Callable[[Array, Arrays], Array]
    adjoint: Callable[[Array, Arrays], Array]
    inverse: Callable[[Array, Arrays], Array] | None = None


@dataclass(frozen=True)
class Inputs:
    """The input of a network for one sample, (*spatial, channels)."""

    spatial: Shape  # spatial shape of the training data
    channels: int  # number of channels: those of images, then those of scalars
    scalars: int = 0  # number of scalars; each is a channel with the same value at every pixel
    operator: SizedOperator | None = None  # the task's operator, for models that are called with fields
    moments: tuple[float, float] = (0.0, 1.0)  # mean and deviation by which the first target is normalised
    on_targets: bool = False  # the images lie on the grid of the targets
    parts: Shape = ()  # number of channels of each part of the images, in the order in which `Learn.inputs` names them

    @property
    def shape(self) -> Shape:
        """Shape of the input of one sample, (*spatial, channels)."""
        return (*self.spatial, self.channels)

    @property
    def images(self) -> int:
        """Number of the channels that vary over the image. They come first."""
        return self.channels - self.scalars

    @property
    def numbers(self) -> int:
        """Number of values that a dense layer takes: those of the images, then each scalar once."""
        return prod(self.spatial) * self.images + self.scalars

    def split_scalars(self, x: Array) -> tuple[Array, Array]:
        """Separate the images from the scalars, for dense layers, which take each scalar once.

        Args:
            x: network input, (sample, *shape).

        Returns:
            Images (sample, *spatial, images) and scalars (sample, scalars).

        Raises:
            ValueError: x has another shape than the network was built for.
        """
        if x.shape[1:] != self.shape:
            raise ValueError(f"a dense network for inputs of shape {self.shape} cannot take {x.shape[1:]}")
        pixel = (slice(None), *(0 for _ in self.spatial), slice(self.images, None))
        return x[..., : self.images], x[pixel]


@dataclass(frozen=True)
class Derived:
    """Channels that are computed from fields on the device."""

    fields: tuple[str, ...]  # the fields that it reads
    channels: Callable[..., Array]  # fields (sample, ...), constants without sample axis -> (sample, *spatial, channel)
    like: str  # the field whose mean and standard deviation normalise the channels; empty: see `by`
    about: str
    local: bool = False  # a part of the channels depends only on the same part of the fields, so images may be cut
    sized: bool = False  # `channels` takes the lengths of all dimensions as a second argument
    # Without `like`: normalise by the moments of all channels together ("field") or of each ("channel"). "none": the
    # channels are normalised already.
    by: By = "none"


@dataclass(frozen=True)
class Head:
    """The meaning of a network's output channels, if they are not simply the normalised targets one after another."""

    about: str
    channels: int  # number of output channels
    targets: Callable[[Array], Arrays]  # (sample, *spatial, channels) -> each target (sample, ...) in its own units


@dataclass(frozen=True)
class Loss:
    """A loss that a task defines itself. The setting `loss.<name>` is its weight, 0 unless a recipe says otherwise."""

    about: str
    compute: Callable[[Arrays, Arrays], Array]  # predicted targets, exact targets -> (sample,)


@dataclass(frozen=True)
class Symmetry:
    """A map of all fields of a sample together, besides the reversals of axes that are known by name."""

    name: str
    fields: tuple[str, ...]  # the fields that `apply` changes; without one of them, the symmetry is not used
    apply: Callable[[dict[str, Array]], dict[str, Array]]  # these fields, (sample, ...) each -> the same, changed
    # The map of every field on the grid of the targets, (..., *grid) -> the same, moved; None: they stay.
    on_grid: Callable[[Array], Array] | None = None


@dataclass(frozen=True)
class Like:
    """Normalise a target by the moments of an input, also if these are computed for each sample."""

    field: str


type Channels = str | Derived  # a field's name stands for its values; its axes that are not spatial become channels


@dataclass(frozen=True)
class Learn:
    """All that training needs to know about a task."""

    inputs: Mapping[str, tuple[Channels, ...]]  # possible inputs of a network by name; the first is the default
    # Spatial dimensions of those inputs that do not lie on the grid of the targets.
    grids: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    heads: Mapping[str, Head] = field(default_factory=dict)  # possible heads by name; the first is the default
    scalars: tuple[str, ...] = ()  # parameters that a network may receive, each as a constant channel
    # Further scalars by name, computed from fields: (sample, value), such as the logarithm of a dose.
    derived_scalars: Mapping[str, Derived] = field(default_factory=dict)
    symmetries: tuple[str | Symmetry, ...] = ()  # symmetries of the physics: flip_<dimension>, transpose, or a function
    losses: Mapping[str, Loss] = field(default_factory=dict)  # by name; they replace general losses of that name
    operator: Operator | None = None
    # The moments that normalise each field, by its name: those of all values ("field", the default), of each "channel",
    # of each "sample" (only inputs), "none", or those of an input (only targets).
    normalise: Mapping[str, By | Like] = field(default_factory=dict)
    crop: int | None = None  # side of the parts that networks learn from if samples are larger and may be cut
    recipes: Mapping[str, Mapping[str, Any]] = field(default_factory=lambda: {"default": {}})  # settings by name
    version: str = "1.0"  # raise the first number when an input or a head changes its meaning under the same name

    @property
    def scalar_parts(self) -> dict[str, Channels]:
        """All scalars that a network may receive, by name."""
        return {**{name: name for name in self.scalars}, **self.derived_scalars}


class Model(Protocol):
    """The interface of a model's file."""

    Config: type[Settings]  # settings of the network
    # Relation of the output grid to the input grid. "kept": the same grid. "enlarged": the same grid, or one finer by a
    # whole factor. "resized": any factor along each axis. "any": any grid. "operator": the network applies the task's
    # operator and is called with `fields`.
    FIT: Fit
    VERSION: str  # raise the first number when old weights no longer suit
    # Optional: further losses that the module returns, by name: a description, or a description and the default weight,
    # which otherwise is 1.
    LOSSES: Mapping[str, str | tuple[str, float]]

    def build(self, config: Any, inputs: Inputs, outputs: Shape, rngs: nnx.Rngs, dtype: Any) -> nnx.Module:
        """Return a module with float32 parameters that maps (sample, *inputs.shape) to (sample, *outputs).

        The module is called as `module(x, key)`. `key` is for dropout; it is None in inference. A module with
        statistics over the batch also takes `weight` (sample,), which is 0 for samples that only fill up the batch. A
        module with physics inside also takes `fields`: those that its input and `inputs.operator` read, in their own
        units. A module may return (output, {name: (sample,)}) with further losses of the names in LOSSES. Scalars come
        as constant images: convolutions treat them as any other channel, dense layers may take each of them once.

        Args:
            config: settings of the network.
            inputs: shape of the input, and the task's operator.
            outputs: shape of the output of one sample, (*spatial, channels).
            rngs: random numbers for the initialisation.
            dtype: dtype of the computation; parameters are float32.

        Raises:
            ValueError: the network cannot be built for these shapes.
        """


def model_names() -> list[str]:
    """Return the names of all models found."""
    return plugins.module_names("training.models")


def find_model(name: str) -> Model:
    """Return the model of a name.

    Args:
        name: name of a file in `training/models/`, without its ending.

    Raises:
        UserError: there is no such model (the message lists all), or its file breaks the interface.
    """
    return cast(Model, plugins.find_module("training.models", name, _model_mistakes, f"--model {name}: no such model"))


def find_learn(task: str) -> Learn:
    """Return how a task is learned.

    Args:
        task: name of the task.

    Raises:
        UserError: there is no file for the task in `training/tasks/`, or the file breaks the interface.
    """
    unknown = f"task {task}: cannot be learned; a file training/tasks/{task}.py with LEARN is missing"
    return cast(Learn, plugins.find_module("training.tasks", task, _learn_mistakes, unknown).LEARN)


def fields_read(parts: Iterable[Channels]) -> list[str]:
    """Return the names of the fields that some channels are made from."""
    return [name for part in parts for name in ((part,) if isinstance(part, str) else part.fields)]


def versions(task: str, model: str) -> dict[str, str]:
    """Return the versions of all that a network is made with.

    Args:
        task: name of the task.
        model: name of the network.

    Returns:
        Versions of the task's inputs and heads (`learn`), of the model, and of the operator if the network applies one.
    """
    learn, network = find_learn(task), find_model(model)
    inside = learn.operator if network.FIT == "operator" else None
    known = {"learn": learn.version, "model": network.VERSION}
    return known | ({"operator": inside.version} if inside else {})


def _model_mistakes(module: ModuleType) -> Iterator[str]:
    """Yield the mistakes in the file of a model."""
    yield from plugins.missing_objects(module, {"Config": type, "FIT": str, "VERSION": str})
    if not issubclass(module.Config, Settings) or "name" in module.Config.model_fields:
        yield "Config: must be a schemas.runtime.settings.Settings, without a setting called name (reserved)"
    if module.FIT not in FITS:
        yield f"FIT = {module.FIT!r}: must be one of {', '.join(FITS)}"
    yield from undescribed_settings(module.Config)
    yield from plugins.mistyped_objects(module, {"LOSSES": Mapping})
    yield from plugins.call_mistakes(
        "build", getattr(module, "build", None), "config", "inputs", "outputs", "rngs", "dtype"
    )


def _learn_mistakes(module: ModuleType) -> Iterator[str]:
    """Yield the mistakes in the file of a task."""
    yield from plugins.missing_objects(module, {"LEARN": Learn})
    learn: Learn = module.LEARN
    task = find_task(plugins.last_name(module))
    grid = task.spatial(task.of("target")[0])
    known = (*(f"flip_{dim}" for dim in grid), *(["transpose"] if len(grid) > 1 else []))
    words = learn.symmetries
    if not isinstance(words, tuple) or not {word for word in words if not isinstance(word, Symmetry)} <= set(known):
        yield f"LEARN.symmetries = {words!r}: must be a tuple of Symmetry and of these: {', '.join(known) or 'none'}"
    else:
        yield from _symmetry_mistakes(task, [one for one in words if isinstance(one, Symmetry)])
    if not learn.inputs:
        yield "LEARN.inputs: must name at least one input"
    for name in learn.grids:
        if name not in learn.inputs or not set(learn.grids[name]) <= task.dims:
            yield f"LEARN.grids[{name!r}]: must name one of LEARN.inputs and spatial dimensions of the schema"
    for name, parts in learn.inputs.items():
        where = f"LEARN.inputs[{name!r}]"
        if not isinstance(parts, tuple) or not parts:
            yield f"{where} = {parts!r}: must be a tuple of fields and Derived"
        for part in parts:
            read = part.fields if isinstance(part, Derived) else (part,)
            yield from wrong_references(task, where, read, "input", "parameter")
            if isinstance(part, str):
                yield from _grid_mistakes(task, where, part, learn.grids.get(name, grid))
            if isinstance(part, Derived):
                yield from _derived_mistakes(task, where, part)
    for name, head in learn.heads.items():
        if not isinstance(head, Head):
            yield f"LEARN.heads[{name!r}]: must be a Head(about, channels, targets)"
    for name, loss in learn.losses.items():
        if not isinstance(loss, Loss):
            yield f"LEARN.losses[{name!r}]: must be a Loss(about, compute)"
    yield from _normalise_mistakes(task, learn)
    if learn.operator:
        yield from wrong_references(
            task, "LEARN.operator.fields", learn.operator.fields, "input", "parameter", "auxiliary"
        )
    if learn.crop is not None and not (isinstance(learn.crop, int) and learn.crop > 0):
        yield f"LEARN.crop = {learn.crop!r}: must be a number of pixels, or None"
    yield from wrong_references(task, "LEARN.scalars", learn.scalars, "parameter")
    for name in learn.scalars:
        if along := task.spatial(task[name]):
            yield f"LEARN.scalars: {name} varies along {', '.join(along)}; put it into LEARN.inputs instead"
    for name, part in learn.derived_scalars.items():
        where = f"LEARN.derived_scalars[{name!r}]"
        if name in {field.name for field in task.fields}:
            yield f"{where}: is the name of a field; give it another"
        yield from wrong_references(task, where, part.fields, "input", "parameter")
        yield from _derived_mistakes(task, where, part)
    if "default" not in learn.recipes:
        yield "LEARN.recipes: one must be named default"


def _symmetry_mistakes(task: Task, found: Iterable[Symmetry]) -> Iterator[str]:
    """Yield the references that do not fit the task, and symmetries that would tear targets of one sample apart."""
    targets = {field.name for field in task.of("target")}
    for one in found:
        where = f"LEARN.symmetries, {one.name}"
        yield from wrong_references(task, where, one.fields, "input", "parameter", "target", "auxiliary")
        if (left := targets - set(one.fields)) and left != targets:
            yield f"{where}: changes a target, but not {', '.join(sorted(left))}; move all of them by on_grid"


def _derived_mistakes(task: Task, where: str, part: Derived) -> Iterator[str]:
    """Yield the mistakes in the normalisation of computed channels."""
    like = (part.like,) if part.like else ()
    yield from wrong_references(task, f"{where}, like", like, "input", "parameter", "target", "auxiliary")
    if part.by not in ("field", "channel", "none") or (part.like and part.by != "none"):
        yield f"{where}, {part.about}: by = {part.by!r}: must be field, channel or none; with `like`, none"


def _normalise_mistakes(task: Task, learn: Learn) -> Iterator[str]:
    """Yield the mistakes in `normalise`."""
    for name, by in learn.normalise.items():
        where = f"LEARN.normalise[{name!r}]"
        roles: tuple[Role, ...] = ("input",) if by == "sample" else ("input", "parameter", "target")
        yield from wrong_references(task, where, (name,), *(("target",) if isinstance(by, Like) else roles))
        if isinstance(by, Like):
            yield from wrong_references(task, where, (by.field,), "input")
        elif by not in MOMENT_SCOPES:
            yield f"{where} = {by!r}: must be one of {', '.join(MOMENT_SCOPES)}, or Like(input)"
        elif by != "none" and (task[name].classes or task[name].period):
            yield f"{where}: {name} holds classes or angles, which are not normalised"


def _grid_mistakes(task: Task, where: str, name: str, grid: tuple[str, ...]) -> Iterator[str]:
    """Yield a message if a measured field does not lie on the grid of the network."""
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
