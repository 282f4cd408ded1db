"""What a dataset IS: named fields with dimensions, units and roles, and what no measurement can reveal.

A task is declared once, in `schemas/tasks/<name>.py`, as `TASK`. Everything else finds it by name.
"""

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from types import ModuleType
from typing import Annotated, Any, Literal, Self

import numpy as np
from pydantic import ConfigDict, StringConstraints, model_validator
from pydantic import Field as Limits
from pydantic.dataclasses import dataclass

from schemas.grids import Ambiguities, Grid, Relation, related
from schemas.runtime import plugins
from schemas.runtime.errors import meant

SAMPLE = "sample"
IGNORE = "ignore"  # the class that counts nowhere
SPLITS = ("train", "validation", "test")

type Role = Literal["input", "target", "parameter", "auxiliary", "digest"]
type DType = Literal["bool", "uint8", "uint16", "uint32", "int32", "int64", "float32", "float64", "complex64"]

_STRICT = ConfigDict(extra="forbid")


@dataclass(frozen=True, config=_STRICT)
class Field:
    """One array of a dataset.

    A field whose first dimension is `sample` has a value per sample; without it, one value for the whole
    dataset (a coordinate, a window). A field of role `parameter` is drawn before the simulation.
    """

    name: str
    dims: tuple[str, ...]
    dtype: DType
    units: str
    role: Role
    about: str
    optional: bool = False  # stored only when the recipe asks for it
    classes: tuple[str, ...] = ()  # names of the values 0, 1 ...; that called `ignore` counts in no loss and no score
    period: Annotated[float, Limits(gt=0, allow_inf_nan=False)] | None = None  # values that differ by it are one

    @model_validator(mode="before")
    @classmethod
    def _of_today(cls, data: Any) -> Any:
        return _without(data, "usual")

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not self.name.isidentifier():
            raise ValueError(f"field name {self.name!r} must be an identifier")
        if SAMPLE in self.dims[1:]:
            raise ValueError(f"field {self.name}: `sample` must be the first dimension")
        if self.classes and (self.dtype != "uint8" or not 2 <= len(set(self.classes)) == len(self.classes) <= 256):
            raise ValueError(f"field {self.name}: classes must be 2 to 256 names, each once, of a field of uint8")
        if self.period is not None and not self.dtype.startswith("float"):
            raise ValueError(f"field {self.name}: period: must be a field of floats")
        return self

    @property
    def per_sample(self) -> bool:
        """Whether the field has a value for each sample."""
        return self.dims[:1] == (SAMPLE,)

    @property
    def identity(self) -> list[Any]:
        """What a change of which changes the data: not its explanation."""
        known = [self.name, list(self.dims), self.dtype, self.units, self.role]
        return [*known, list(self.classes)] if self.classes else known

    @property
    def counted(self) -> tuple[int, ...]:
        """The classes that losses and scores count."""
        return tuple(i for i, name in enumerate(self.classes) if name != IGNORE)

    def shape(self, sizes: Mapping[str, int]) -> tuple[int, ...]:
        """The shape of one sample (or of the whole array, if it is not per sample)."""
        return tuple(sizes[dim] for dim in self.dims if dim != SAMPLE)

    def nbytes(self, sizes: Mapping[str, int]) -> int:
        """Bytes of one sample (or of the whole array), uncompressed."""
        return int(np.prod(self.shape(sizes), dtype=np.int64)) * np.dtype(self.dtype).itemsize


@dataclass(frozen=True, config=_STRICT)
class Task:
    """A kind of dataset: its fields, how they lie in space, and what of the targets the inputs cannot reveal."""

    name: str
    version: Annotated[str, StringConstraints(pattern=r"^[0-9]{1,9}(\.[0-9]{1,9})*$")]
    about: str
    formula: str
    fields: tuple[Field, ...]
    ambiguities: Ambiguities = Ambiguities()
    grids: tuple[Grid, ...] = ()
    slices: tuple[str, ...] = ()  # dimensions whose every index is a sample of its own to networks and scores
    window: str | None = None  # the constant field that multiplies the targets: scores look where it is not 0

    @model_validator(mode="before")
    @classmethod
    def _of_today(cls, data: Any) -> Any:
        if not isinstance(data, dict) or "gauge" not in data:
            return data
        if "grids" in data:
            return _without(data, "gauge") | {"ambiguities": data["gauge"]}
        data = _without(data, "measured", "beam", "distinct", "roots", "alike", "wave", "gauge")
        known = find_task(data["name"]) if data.get("name") in task_names() else None
        return data | ({"ambiguities": known.ambiguities, "grids": known.grids} if known else {})

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not self.name.isidentifier():  # it becomes the name of a module
            raise ValueError(f"task name {self.name!r} must be an identifier")
        names = [field.name for field in self.fields]
        if "leaf_digest" in names:
            raise ValueError(f"task {self.name}: leaf_digest is the store's own field")
        if repeated := {name for name in names if names.count(name) > 1}:
            raise ValueError(f"task {self.name}: fields declared twice: {sorted(repeated)}")
        if self.window is not None and (self.window not in names or self[self.window].per_sample):
            raise ValueError(f"task {self.name}: window {self.window} must be a field without samples")
        return self

    def __getitem__(self, name: str) -> Field:
        """The field of that name; KeyError if there is none."""
        return {field.name: field for field in self.fields}[name]

    def of(self, *roles: Role) -> tuple[Field, ...]:
        """The fields of these roles, in order."""
        return tuple(field for field in self.fields if field.role in roles)

    @property
    def dims(self) -> frozenset[str]:
        """Return all spatial dimensions."""
        return frozenset(dim for grid in self.grids for dim in grid.dims)

    def spatial(self, field: Field) -> tuple[str, ...]:
        """The spatial dimensions of a field, in its order."""
        return tuple(dim for dim in field.dims if dim in self.dims)

    def channels(self, field: Field) -> tuple[str, ...]:
        """The other dimensions of a field, without samples."""
        return tuple(dim for dim in field.dims if dim not in self.dims and dim != SAMPLE)

    def related(self, *relations: Relation) -> dict[str, str]:
        """By spatial dimension, the one that stands for all that relate to it in these ways."""
        return related(self.grids, relations)

    @property
    def sliced(self) -> "Task":
        """The task whose samples are the slices of this one's samples."""
        return replace(self, fields=tuple(map(self._sliced, self.fields)), slices=())

    def _sliced(self, field: Field) -> Field:
        if not set(self.slices) & set(field.dims):
            return field
        return replace(field, dims=(SAMPLE, *(dim for dim in field.dims if dim not in (SAMPLE, *self.slices))))

    def select(self, optional: frozenset[str]) -> "Task":
        """The task with those of its optional fields that are named; without a window if that is not among them."""
        return self.holding(tuple(field for field in self.fields if not field.optional or field.name in optional))

    def holding(self, fields: tuple[Field, ...]) -> "Task":
        """The task with some of its fields alone."""
        window = self.window if self.window in {field.name for field in fields} else None
        return replace(self, fields=fields, window=window)

    def targeting(self, name: str) -> "Task":
        """The task whose only target is one of its parameters; without window and ambiguities.

        KeyError if it has no such field.
        """
        if self[name].role == "target":
            return self
        kept = (field for field in self.fields if field.role != "target")
        fields = tuple(replace(field, role="target") if field.name == name else field for field in kept)
        return replace(self, fields=fields, window=None, ambiguities=Ambiguities())

    def identity(self) -> list[Any]:
        """What a change of which changes the data: version and fields, not their explanations."""
        return [self.name, self.version, *(field.identity for field in self.fields)]


def _without(data: Any, *names: str) -> Any:
    """Return what was stored less the keys of older programs, which a task's `IMPORT` holds now."""
    return {key: value for key, value in data.items() if key not in names} if isinstance(data, dict) else data


def columns(prefix: str, *rows: tuple[str, tuple[str, ...], DType, str, str]) -> tuple[Field, ...]:
    """Return the optional parameters that describe something drawn, as its tasks store them.

    Args:
        prefix: of their names, which are `<prefix>_<name>`.
        rows: name, dimensions beside `sample`, dtype, units and meaning of each.
    """
    return tuple(
        Field(f"{prefix}_{name}", (SAMPLE, *dims), dtype, units, "parameter", about, optional=True)
        for name, dims, dtype, units, about in rows
    )


@dataclass(frozen=True)
class Raster:
    """Parameters that follow from the place of a pattern in a raster (row, column, qy, qx)."""

    position: str  # (sample, 2), y and x [nm], if the file states the step
    scan: str  # (sample,), the number of the file


@dataclass(frozen=True, config=ConfigDict(arbitrary_types_allowed=True))
class Import:
    """Rules for importing measurements of a task: `IMPORT` in `schemas/tasks/<task>.py`."""

    needs: tuple[str, ...] = ()  # parameters without which a measurement is useless
    beam: str | None = None  # the input that is relative to the incident beam
    roots: tuple[str, ...] = ()  # inputs that are square roots of counts
    distinct: tuple[str, ...] = ()  # parameters that must differ between the images of a sample
    usual: Mapping[str, tuple[float, float]] = dataclasses.field(default_factory=dict)  # of the largest modulus
    raster: Raster | None = None  # files may hold whole rasters of patterns
    # From all arrays, and what the files of those given by name state, to the arrays that they lack. UserError if
    # arrays do not go together.
    complete: Callable[[dict[str, np.ndarray], Mapping[str, Any]], dict[str, np.ndarray]] | None = None
    follows: Mapping[str, str] = dataclasses.field(default_factory=dict)  # what `complete` makes, and of which field


def task_names() -> list[str]:
    """All tasks found."""
    return plugins.names("schemas.tasks")


def find_task(name: str) -> Task:
    """The task of that name; UserError names the task that was perhaps meant, or those that exist."""
    task: Task = _file(name).TASK
    return task


def _file(name: str) -> ModuleType:
    return plugins.find("schemas.tasks", name, _mistakes, f"--task {name}: no such task")


def find_import(task: str) -> Import:
    """Return how measurements of a task are imported; the plain way for one that this program does not know."""
    if task not in task_names():
        return Import()
    return plugins.optional(_file(task), "IMPORT", Import) or Import()


def _mistakes(module: ModuleType) -> Iterator[str]:
    yield from plugins.lacking(module, {"TASK": Task})
    yield from plugins.misplaced(module, {"IMPORT": Import})
    task: Task = module.TASK
    if task.name != plugins.task_of(module):
        yield f"TASK.name = {task.name!r}: must be that of the file, {plugins.task_of(module)!r}"
    for role in ("input", "target"):
        if not task.of(role):
            yield f"TASK.fields: one must have the role {role}"
    for field in task.of("input", "target", "parameter"):
        if not field.per_sample:
            yield f"field {field.name}: with the role {field.role}, must have `sample` as its first dimension"
    yield from misread(task, "TASK.ambiguities.phases", task.ambiguities.phases, "target")
    yield from misread(
        task, "TASK.ambiguities.modulus", (task.ambiguities.modulus,) if task.ambiguities.modulus else (), "target"
    )
    yield from _import_mistakes(task, plugins.optional(module, "IMPORT", Import) or Import())
    yield from _grid_mistakes(task)
    grids = {field.dims[1:] for field in task.of("target")} | ({task[task.window].dims} if task.window else set())
    if len(grids) > 1 and (task.ambiguities.free or task.window):
        yield f"TASK.ambiguities, TASK.window: targets and window must have the same dimensions, not {sorted(grids)}"


def _grid_mistakes(task: Task) -> Iterator[str]:
    dims = {dim for field in task.fields for dim in field.dims} - {SAMPLE}
    placed = [dim for grid in task.grids for dim in grid.dims]
    for grid in task.grids:
        yield from misread(task, f"TASK.grids {grid.dims}: sampling", grid.sampling, "parameter", "auxiliary")
        if lost := [dim for dim in (*grid.dims, *grid.of) if dim not in dims]:
            yield f"TASK.grids: no field has the dimension {', '.join(lost)}"
        if lost := [dim for dim in grid.of if dim not in placed]:
            yield f"TASK.grids {grid.dims}: of {grid.of}: {', '.join(lost)} must be a dimension of another grid"
    if twice := {dim for dim in placed if placed.count(dim) > 1}:
        yield f"TASK.grids: {', '.join(sorted(twice))} must be of one grid alone"
    if wrong := [dim for dim in task.slices if dim in placed or dim not in dims]:
        yield f"TASK.slices: {', '.join(wrong)} must be a dimension of a field, and of no grid"
    for field in task.of("target"):
        if task.slices and not set(task.slices) <= set(field.dims):
            yield f"TASK.slices: target {field.name} must have the dimensions {', '.join(task.slices)}"
    if len({task.spatial(field) for field in task.of("target")}) > 1:
        yield f"TASK.grids: all targets must lie on one grid, not {[task.spatial(f) for f in task.of('target')]}"


def _import_mistakes(task: Task, found: Import) -> Iterator[str]:
    raster = (found.raster.position, found.raster.scan) if found.raster else ()
    named: Mapping[tuple[str, Role], tuple[str, ...]] = {
        ("needs", "parameter"): found.needs,
        ("distinct", "parameter"): found.distinct,
        ("usual", "parameter"): tuple(found.usual),
        ("raster", "parameter"): raster,
        ("beam", "input"): (found.beam,) if found.beam else (),
        ("roots", "input"): found.roots,
    }
    for (name, role), fields in named.items():
        yield from misread(task, f"IMPORT.{name}", fields, role)
    for name in (*found.follows, *found.follows.values()):
        yield from misread(task, "IMPORT.follows", (name,), "input", "parameter", "auxiliary")


def misread(task: Task, where: str, names: tuple[str, ...], *roles: Role) -> Iterator[str]:
    """Which of these names, given by the author of a task, are no fields of one of these roles."""
    if not isinstance(names, tuple):
        yield f"{where} = {names!r}: must be a tuple of fields, as ({task.fields[0].name!r},)"
    known = {field.name: field for field in task.fields}
    for name in names:
        if name not in known:
            yield f"{where}: the schema has no field {name!r}{meant(str(name), known)}"
        elif known[name].role not in roles:
            yield f"{where}: field {name} has the role {known[name].role}, must be {' or '.join(roles)}"


def problems(
    task: Task, sizes: Mapping[str, int], arrays: Mapping[str, np.ndarray], *, samples: bool = True
) -> list[str]:
    """What is found with a block of samples (leading axis = sample): names, shapes, dtypes, infinite values."""
    found = []
    if missing := {f.name for f in task.fields if f.per_sample and samples} - arrays.keys():
        found.append(f"missing fields: {', '.join(sorted(missing))}")
    if unknown := arrays.keys() - {f.name for f in task.fields}:
        found.append(f"unknown fields: {', '.join(sorted(unknown))}")
    counts = {f.name: arrays[f.name].shape[:1] for f in task.fields if f.per_sample and f.name in arrays}
    if len(set(counts.values())) > 1:
        found.append(f"fields of unlike numbers of samples: {', '.join(f'{k} {n}' for k, n in counts.items())}")
    for field in task.fields:
        if field.name in arrays:
            found += _array_problems(field, sizes, arrays[field.name])
    return found


def _array_problems(field: Field, sizes: Mapping[str, int], array: np.ndarray) -> list[str]:
    found = []
    shape = array.shape[1:] if field.per_sample else array.shape
    if shape != field.shape(sizes):
        found.append(f"{field.name}: shape {shape} per sample, must be {field.shape(sizes)}")
    if array.dtype != np.dtype(field.dtype):
        found.append(f"{field.name}: dtype {array.dtype}, must be {field.dtype}")
    if field.classes and array.size and array.dtype.kind in "iu" and int(array.max()) >= len(field.classes):
        found.append(f"{field.name}: has the label {int(array.max())}, the classes are 0 to {len(field.classes) - 1}")
    if array.dtype.kind in "fc" and not np.isfinite(array).all():
        found.append(f"{field.name}: not all values are finite")
    return found
