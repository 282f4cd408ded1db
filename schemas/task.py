"""Declaration of a kind of dataset (a task): its named fields with dimensions, units and roles, and its geometry.

Each task is declared once, as `TASK` in `schemas/tasks/<name>.py`. All other code finds it there by its name.
"""

import dataclasses
import math
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import replace
from types import ModuleType
from typing import Annotated, Any, Literal, Self

import numpy as np
from pydantic import ConfigDict, StringConstraints, model_validator
from pydantic import Field as Limits
from pydantic.dataclasses import dataclass

from schemas.exchange.raw_data import Preparation, Raster, RotationSeries
from schemas.grids import Ambiguities, Grid, Relation, group_dimensions
from schemas.runtime import plugins
from schemas.runtime.errors import suggestion

SAMPLE = "sample"
IGNORE = "ignore"  # name of the class that losses and scores leave out
SPLITS = ("train", "validation", "test")

type Role = Literal["input", "target", "parameter", "auxiliary", "digest"]
type DType = Literal["bool", "uint8", "uint16", "uint32", "int32", "int64", "float32", "float64", "complex64"]

_STRICT = ConfigDict(extra="forbid")


@dataclass(frozen=True, config=_STRICT)
class Field:
    """One array of a dataset.

    A field whose first dimension is `sample` has one value (a number or an array) per sample. A field without this
    dimension has one value for the whole dataset, such as a coordinate or a window. Fields of the role `parameter` are
    drawn before the simulation.
    """

    name: str
    dims: tuple[str, ...]
    dtype: DType
    units: str
    role: Role
    about: str
    optional: bool = False  # stored only when the recipe asks for it
    classes: tuple[str, ...] = ()  # names of the values 0, 1 ...; losses and scores leave out the class `ignore`
    period: Annotated[float, Limits(gt=0, allow_inf_nan=False)] | None = None  # values that differ by it are equal

    @model_validator(mode="before")
    @classmethod
    def _from_older_format(cls, data: Any) -> Any:
        return _drop_keys(data, "usual")

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not self.name.isidentifier():
            raise ValueError(f"field name {self.name!r} must be an identifier")
        if SAMPLE in self.dims[1:]:
            raise ValueError(f"field {self.name}: `sample` must be the first dimension")
        if self.classes and (self.dtype != "uint8" or not 2 <= len(set(self.classes)) == len(self.classes) <= 256):
            raise ValueError(f"field {self.name}: classes must be 2 to 256 different names, of a field of dtype uint8")
        if self.period is not None and not self.dtype.startswith("float"):
            raise ValueError(f"field {self.name}: only a field of floats can have a period, not {self.dtype}")
        return self

    @property
    def per_sample(self) -> bool:
        """Return True if the field has a value for each sample."""
        return self.dims[:1] == (SAMPLE,)

    @property
    def identity(self) -> list[Any]:
        """Everything about the field that the stored data depend on. The explanation `about` is not part of it."""
        known = [self.name, list(self.dims), self.dtype, self.units, self.role]
        return [*known, list(self.classes)] if self.classes else known

    @property
    def counted(self) -> tuple[int, ...]:
        """Indices of the classes that losses and scores use: all but `ignore`."""
        return tuple(i for i, name in enumerate(self.classes) if name != IGNORE)

    def shape(self, sizes: Mapping[str, int]) -> tuple[int, ...]:
        """Return the shape of one sample, or of the whole array if the field is not per sample.

        Args:
            sizes: length of each dimension.
        """
        return tuple(sizes[dim] for dim in self.dims if dim != SAMPLE)

    def nbytes(self, sizes: Mapping[str, int]) -> int:
        """Return the uncompressed size in bytes of one sample, or of the whole array if the field is not per sample.

        Args:
            sizes: length of each dimension.
        """
        return math.prod(self.shape(sizes)) * np.dtype(self.dtype).itemsize


@dataclass(frozen=True, config=_STRICT)
class Task:
    """A kind of dataset: its fields, their grids, and the ambiguities of its targets."""

    name: str
    version: Annotated[str, StringConstraints(pattern=r"^[0-9]{1,9}(\.[0-9]{1,9})*$")]
    about: str
    formula: str
    fields: tuple[Field, ...]
    ambiguities: Ambiguities = Ambiguities()
    grids: tuple[Grid, ...] = ()
    slices: tuple[str, ...] = ()  # dimensions along which networks and scores handle each index as a separate sample
    window: str | None = None  # the constant field that multiplies the targets; scores use pixels where it is not 0

    @model_validator(mode="before")
    @classmethod
    def _from_older_format(cls, data: Any) -> Any:
        if not isinstance(data, dict) or "gauge" not in data:
            return data
        if "grids" in data:
            return _drop_keys(data, "gauge") | {"ambiguities": data["gauge"]}
        data = _drop_keys(data, "measured", "beam", "distinct", "roots", "alike", "wave", "gauge")
        known = find_task(data["name"]) if data.get("name") in task_names() else None
        return data | ({"ambiguities": known.ambiguities, "grids": known.grids} if known else {})

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not self.name.isidentifier():  # it becomes the name of a module
            raise ValueError(f"task name {self.name!r} must be an identifier")
        names = [field.name for field in self.fields]
        if "leaf_digest" in names:
            raise ValueError(f"task {self.name}: the name leaf_digest is reserved for the store; rename the field")
        if repeated := {name for name in names if names.count(name) > 1}:
            raise ValueError(f"task {self.name}: fields declared twice: {sorted(repeated)}")
        if self.window is not None and (self.window not in names or self[self.window].per_sample):
            raise ValueError(f"task {self.name}: window {self.window} must be a field without the dimension `sample`")
        return self

    def __getitem__(self, name: str) -> Field:
        """Return the field of this name.

        Raises:
            KeyError: the task has no such field.
        """
        return {field.name: field for field in self.fields}[name]

    def of(self, *roles: Role) -> tuple[Field, ...]:
        """Return the fields that have one of these roles, in the order of the task."""
        return tuple(field for field in self.fields if field.role in roles)

    @property
    def dims(self) -> frozenset[str]:
        """Return all spatial dimensions."""
        return frozenset(dim for grid in self.grids for dim in grid.dims)

    def spatial(self, field: Field) -> tuple[str, ...]:
        """Return the spatial dimensions of a field, in the field's order."""
        return tuple(dim for dim in field.dims if dim in self.dims)

    def channels(self, field: Field) -> tuple[str, ...]:
        """Return the dimensions of a field that are neither spatial nor `sample`."""
        return tuple(dim for dim in field.dims if dim not in self.dims and dim != SAMPLE)

    def related(self, *relations: Relation) -> dict[str, str]:
        """Group the spatial dimensions that are linked by certain relations.

        Args:
            relations: the relations that link two grids.

        Returns:
            By spatial dimension, the name of the dimension that represents its group.
        """
        return group_dimensions(self.grids, relations)

    @property
    def sliced(self) -> "Task":
        """The task in which each slice of a sample is a separate sample."""
        return replace(self, fields=tuple(map(self._sliced, self.fields)), slices=())

    def _sliced(self, field: Field) -> Field:
        if not set(self.slices) & set(field.dims):
            return field
        return replace(field, dims=(SAMPLE, *(dim for dim in field.dims if dim not in (SAMPLE, *self.slices))))

    def select(self, optional: frozenset[str]) -> "Task":
        """Return the task with its required fields and some of its optional ones.

        The task keeps its window only if the window is among these fields.

        Args:
            optional: names of the optional fields to keep.
        """
        return self.holding(tuple(field for field in self.fields if not field.optional or field.name in optional))

    def holding(self, fields: tuple[Field, ...]) -> "Task":
        """Return the task with only these of its fields. It keeps its window only if the window is among them."""
        window = self.window if self.window in {field.name for field in fields} else None
        return replace(self, fields=fields, window=window)

    def targeting(self, names: Collection[str]) -> "Task":
        """Return the task whose targets are some of its targets or some of its parameters.

        If the names are those of its targets, the task is returned unchanged. With parameters as targets, it has
        neither window nor ambiguities.

        Args:
            names: names of the targets or of the parameters.

        Raises:
            KeyError: the task has no such field.
        """
        if {field.name for field in self.of("target")} == set(names):
            return self
        own = all(self[name].role == "target" for name in names)
        kept = (field for field in self.fields if field.role != "target" or field.name in names)
        fields = tuple(replace(field, role="target") if field.name in names else field for field in kept)
        ambiguities = self.ambiguities.within(names) if own else Ambiguities()
        return replace(self, fields=fields, window=self.window if own else None, ambiguities=ambiguities)

    def identity(self) -> list[Any]:
        """Return everything about the task that the stored data depend on: version and fields, without explanations."""
        return [self.name, self.version, *(field.identity for field in self.fields)]


def _drop_keys(data: Any, *names: str) -> Any:
    """Return a stored document without keys of older versions. Today a task's `IMPORT` holds their content."""
    return {key: value for key, value in data.items() if key not in names} if isinstance(data, dict) else data


def drawn_parameters(prefix: str, *rows: tuple[str, tuple[str, ...], DType, str, str]) -> tuple[Field, ...]:
    """Return the optional parameters that describe a drawn object, as fields of a task.

    Args:
        prefix: first part of the names of the fields, which are `<prefix>_<name>`.
        rows: name, dimensions other than `sample`, dtype, units and meaning of each parameter.
    """
    return tuple(
        Field(f"{prefix}_{name}", (SAMPLE, *dims), dtype, units, "parameter", about, optional=True)
        for name, dims, dtype, units, about in rows
    )


@dataclass(frozen=True, config=ConfigDict(arbitrary_types_allowed=True))
class Import:
    """Rules for importing measurements of a task: `IMPORT` in `schemas/tasks/<task>.py`."""

    needs: tuple[str, ...] = ()  # parameters that every measurement must have
    targets: tuple[str, ...] = ()  # targets that files may hold beside those of the inputs, written name=FILE
    beam: str | None = None  # the input that is stored relative to the incident beam
    roots: tuple[str, ...] = ()  # inputs that are square roots of counts
    masks: Mapping[str, str] = dataclasses.field(default_factory=dict)  # input: field with 1 where it was measured
    distinct: tuple[str, ...] = ()  # parameters that must differ between the images of a sample
    shared: tuple[str, ...] = ()  # parameters of which a single given value holds for all images
    # Usual range of the maximum absolute value of each parameter, by name; the import warns outside of it.
    usual: Mapping[str, tuple[float, float]] = dataclasses.field(default_factory=dict)
    raster: Raster | None = None  # given if a file may hold a whole raster of patterns
    # A function that computes missing arrays. It gets all arrays by field and the metadata of the files given with
    # `--with`, and raises UserError if the arrays do not fit together.
    complete: Callable[[dict[str, np.ndarray], Mapping[str, Any]], dict[str, np.ndarray]] | None = None
    rotation: RotationSeries | None = None  # given if an input holds projections of a turning object
    preparation: Preparation | None = None  # given if the files may hold raw data
    follows: Mapping[str, str] = dataclasses.field(default_factory=dict)  # field made by `complete`: field it needs


@dataclass(frozen=True, config=_STRICT)
class Formula:
    """The formula of a task as a function, by which tests verify data and symmetries: `FORMULA` beside `TASK`."""

    inputs: Callable[[Mapping[str, np.ndarray]], dict[str, np.ndarray]]  # other stored fields -> inputs without noise
    exact: tuple[str, ...] = ()  # settings of `generate` for which the stored inputs are exactly these


def task_names() -> list[str]:
    """Return the names of all tasks."""
    return plugins.module_names("schemas.tasks")


def find_task(name: str) -> Task:
    """Return the task of this name.

    Raises:
        UserError: there is no such task. The message suggests a similar name, or lists the existing ones.
    """
    task: Task = _task_module(name).TASK
    return task


def _task_module(name: str) -> ModuleType:
    return plugins.find_module("schemas.tasks", name, _task_mistakes, f"--task {name}: no such task")


def find_import(task: str) -> Import:
    """Return the rules for importing measurements of a task; the default rules if this version has no such task.

    Args:
        task: name of the task.
    """
    if task not in task_names():
        return Import()
    return plugins.optional_object(_task_module(task), "IMPORT", Import) or Import()


def find_formula(task: str) -> Formula | None:
    """Return the formula of a task as a function, or None if the task states it only as a text."""
    return plugins.optional_object(_task_module(task), "FORMULA", Formula)


def _task_mistakes(module: ModuleType) -> Iterator[str]:
    """Yield the mistakes in the file of a task."""
    yield from plugins.missing_objects(module, {"TASK": Task})
    yield from plugins.mistyped_objects(module, {"IMPORT": Import, "FORMULA": Formula})
    task: Task = module.TASK
    if task.name != plugins.last_name(module):
        yield f"TASK.name = {task.name!r}: must be the name of the file, {plugins.last_name(module)!r}"
    for role in ("input", "target"):
        if not task.of(role):
            yield f"TASK.fields: at least one field must have the role {role}"
    for field in task.of("input", "target", "parameter"):
        if not field.per_sample:
            yield f"field {field.name}: a field of role {field.role} must have `sample` as its first dimension"
    yield from wrong_references(task, "TASK.ambiguities.phases", task.ambiguities.phases, "target")
    yield from wrong_references(
        task, "TASK.ambiguities.modulus", (task.ambiguities.modulus,) if task.ambiguities.modulus else (), "target"
    )
    yield from _import_mistakes(task, plugins.optional_object(module, "IMPORT", Import) or Import())
    yield from _grid_mistakes(task)
    grids = {field.dims[1:] for field in task.of("target")} | ({task[task.window].dims} if task.window else set())
    if len(grids) > 1 and (task.ambiguities.free or task.window):
        yield f"TASK.ambiguities, TASK.window: targets and window must have the same dimensions, not {sorted(grids)}"


def _grid_mistakes(task: Task) -> Iterator[str]:
    """Yield the mistakes in `grids` and `slices` of a task."""
    dims = {dim for field in task.fields for dim in field.dims} - {SAMPLE}
    grid_dims = [dim for grid in task.grids for dim in grid.dims]
    for grid in task.grids:
        yield from wrong_references(task, f"TASK.grids {grid.dims}: sampling", grid.sampling, "parameter", "auxiliary")
        if missing := [dim for dim in (*grid.dims, *grid.of) if dim not in dims]:
            yield f"TASK.grids: no field has the dimension {', '.join(missing)}"
        if missing := [dim for dim in grid.of if dim not in grid_dims]:
            yield f"TASK.grids {grid.dims}: of={grid.of}: {', '.join(missing)} must be a dimension of another grid"
    if repeated := {dim for dim in grid_dims if grid_dims.count(dim) > 1}:
        yield f"TASK.grids: {', '.join(sorted(repeated))} must belong to one grid only"
    if wrong := [dim for dim in task.slices if dim in grid_dims or dim not in dims]:
        yield f"TASK.slices: {', '.join(wrong)} must be a dimension of a field and must not belong to a grid"
    for field in task.of("target"):
        if task.slices and not set(task.slices) <= set(field.dims):
            yield f"TASK.slices: target {field.name} must have the dimensions {', '.join(task.slices)}"
    if len({task.spatial(field) for field in task.of("target")}) > 1:
        yield f"TASK.grids: all targets must lie on one grid, not {[task.spatial(f) for f in task.of('target')]}"


def _import_mistakes(task: Task, rules: Import) -> Iterator[str]:
    """Yield the references in IMPORT that do not fit the task."""
    raster = (rules.raster.position, rules.raster.scan) if rules.raster else ()
    references: Mapping[tuple[str, Role], tuple[str, ...]] = {
        ("needs", "parameter"): rules.needs,
        ("distinct", "parameter"): rules.distinct,
        ("shared", "parameter"): rules.shared,
        ("usual", "parameter"): tuple(rules.usual),
        ("raster", "parameter"): raster,
        ("targets", "target"): rules.targets,
        ("beam", "input"): (rules.beam,) if rules.beam else (),
        ("roots", "input"): rules.roots,
        ("rotation", "input"): (rules.rotation.projections,) if rules.rotation else (),
        ("preparation.input", "input"): (rules.preparation.input,) if rules.preparation else (),
        ("preparation.targets", "target"): rules.preparation.targets if rules.preparation else (),
        ("masks", "input"): tuple(rules.masks),
        ("masks", "auxiliary"): tuple(rules.masks.values()),
    }
    for (name, role), fields in references.items():
        yield from wrong_references(task, f"IMPORT.{name}", fields, role)
    for name in (*rules.follows, *rules.follows.values()):
        yield from wrong_references(task, "IMPORT.follows", (name,), "input", "parameter", "auxiliary")


def wrong_references(task: Task, where: str, names: tuple[str, ...], *roles: Role) -> Iterator[str]:
    """Yield a message for each name that is not a field of an allowed role.

    Args:
        task: the task whose author wrote the names.
        where: the place of the names in the author's file, for the message.
        names: names of fields.
        roles: the allowed roles.
    """
    if not isinstance(names, tuple):
        yield f"{where} = {names!r}: must be a tuple of names of fields, for example ({task.fields[0].name!r},)"
    known = {field.name: field for field in task.fields}
    for name in names:
        if name not in known:
            yield f"{where}: the schema has no field {name!r}{suggestion(str(name), known)}"
        elif known[name].role not in roles:
            yield f"{where}: field {name} has the role {known[name].role}, must be {' or '.join(roles)}"
