"""What a dataset IS: named fields with dimensions, units and roles, and what no measurement can reveal.

A task is declared once, in `schemas/tasks/<name>.py`, as `TASK`. Everything else finds it by name.
"""

import dataclasses
import json
import pkgutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from types import ModuleType
from typing import Annotated, Any, Literal, Self

import numpy as np
from pydantic import ConfigDict, StringConstraints, TypeAdapter, model_validator
from pydantic.dataclasses import dataclass

import schemas.tasks
from schemas import files
from schemas.errors import UserError, meant

SAMPLE = "sample"
SPLITS = ("train", "validation", "test")

type Role = Literal["input", "target", "parameter", "auxiliary", "digest"]
type DType = Literal["bool", "uint8", "uint16", "uint32", "int32", "int64", "float32", "float64", "complex64"]
type Gauge = Literal["constant", "ramp", "shift", "twin"]

_STRICT = ConfigDict(extra="forbid")
_SIDES: tuple[Role, Role] = ("input", "target")


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
        return self

    @property
    def per_sample(self) -> bool:
        """Whether the field has a value for each sample."""
        return self.dims[:1] == (SAMPLE,)

    @property
    def identity(self) -> list[Any]:
        """What a change of which changes the data: not its explanation."""
        return [self.name, list(self.dims), self.dtype, self.units, self.role]

    def shape(self, sizes: Mapping[str, int]) -> tuple[int, ...]:
        """The shape of one sample (or of the whole array, if it is not per sample)."""
        return tuple(sizes[dim] for dim in self.dims if dim != SAMPLE)

    def nbytes(self, sizes: Mapping[str, int]) -> int:
        """Bytes of one sample (or of the whole array), uncompressed."""
        return int(np.prod(self.shape(sizes), dtype=np.int64)) * np.dtype(self.dtype).itemsize


@dataclass(frozen=True, config=_STRICT)
class Task:
    """A kind of dataset: its fields, and the joint transformations of the targets that the inputs cannot reveal."""

    name: str
    version: Annotated[str, StringConstraints(pattern=r"^[0-9]{1,9}(\.[0-9]{1,9})*$")]
    about: str
    formula: str
    gauge: tuple[Gauge, ...]
    fields: tuple[Field, ...]
    window: str | None = None  # the constant field that multiplies the targets: scores look where it is not 0
    alike: tuple[tuple[str, str], ...] = ()  # dimensions as long as another: of a measurement, the other is known
    wave: tuple[str, str] | None = None  # targets that are modulus and phase of one wave: the gauge acts on that

    @model_validator(mode="before")
    @classmethod
    def _of_today(cls, data: Any) -> Any:
        return _without(data, "measured", "beam", "distinct", "roots")

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
        if self.wave and (self.window or "ramp" in self.gauge):
            raise ValueError(f"task {self.name}: wave {self.wave} goes without a window, and without a ramp in gauge")
        return self

    def __getitem__(self, name: str) -> Field:
        """The field of that name; KeyError if there is none."""
        return {field.name: field for field in self.fields}[name]

    def of(self, *roles: Role) -> tuple[Field, ...]:
        """The fields of these roles, in order."""
        return tuple(field for field in self.fields if field.role in roles)

    @property
    def along(self) -> dict[str, str]:
        """Dimensions of inputs that are as long as one of the targets, and that one: of patterns, {"qy": "y"}."""
        seen, grid = ({dim for field in self.of(role) for dim in field.dims} for role in _SIDES)
        return {other: dim for dim, other in self.alike if dim in grid and other in seen}

    def select(self, optional: frozenset[str]) -> "Task":
        """The task with those of its optional fields that are named; without a window if that is not among them."""
        return self.holding(tuple(field for field in self.fields if not field.optional or field.name in optional))

    def holding(self, fields: tuple[Field, ...]) -> "Task":
        """The task with some of its fields alone."""
        window = self.window if self.window in {field.name for field in fields} else None
        return replace(self, fields=fields, window=window)

    def identity(self) -> list[Any]:
        """What a change of which changes the data: version and fields, not their explanations."""
        return [self.name, self.version, *(field.identity for field in self.fields)]

    def to_json(self) -> dict[str, Any]:
        """As JSON."""
        return TypeAdapter(Task).dump_python(self, mode="json")  # type: ignore[no-any-return]

    @classmethod
    def from_json(cls, data: object) -> "Task":
        """From JSON; pydantic.ValidationError if it is no task."""
        return TypeAdapter(Task).validate_json(json.dumps(data))


def _without(data: Any, *names: str) -> Any:
    """Return what was stored less the keys of older programs, which a task's `IMPORT` holds now."""
    return {key: value for key, value in data.items() if key not in names} if isinstance(data, dict) else data


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
    return sorted(module.name for module in pkgutil.iter_modules(schemas.tasks.__path__))


def find_task(name: str) -> Task:
    """The task of that name; UserError lists the tasks that exist."""
    if name not in task_names():
        raise UserError(f"--task {name}: no such task; there are: {', '.join(task_names())}")
    task: Task = files.find("schemas.tasks", name, _mistakes).TASK
    return task


def find_import(task: str) -> Import:
    """Return how measurements of a task are imported; the plain way for one that this program does not know."""
    if task not in task_names():
        return Import()
    return files.optional(files.find("schemas.tasks", task, _mistakes), "IMPORT", Import) or Import()


def _mistakes(module: ModuleType) -> Iterator[str]:
    yield from files.lacking(module, {"TASK": Task})
    yield from files.misplaced(module, {"IMPORT": Import})
    task: Task = module.TASK
    if task.name != files.task_of(module):
        yield f"TASK.name = {task.name!r}: must be that of the file, {files.task_of(module)!r}"
    for role in ("input", "target"):
        if not task.of(role):
            yield f"TASK.fields: one must have the role {role}"
    for field in task.of("input", "target", "parameter"):
        if not field.per_sample:
            yield f"field {field.name}: with the role {field.role}, must have `sample` as its first dimension"
    dims = {dim for field in task.fields for dim in field.dims}
    if unknown := {dim for pair in task.alike for dim in pair} - dims:
        yield f"TASK.alike = {task.alike}: no field has the dimension {', '.join(sorted(unknown))}"
    yield from misread(task, "TASK.wave", task.wave or (), "target")
    yield from _import_mistakes(task, files.optional(module, "IMPORT", Import) or Import())
    grids = {field.dims[1:] for field in task.of("target")} | ({task[task.window].dims} if task.window else set())
    if len(grids) > 1 and (task.gauge or task.window):
        yield f"TASK.gauge, TASK.window: targets and window must have the same dimensions, not {sorted(grids)}"


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
    if array.dtype.kind in "fc" and not np.isfinite(array).all():
        found.append(f"{field.name}: not all values are finite")
    return found
