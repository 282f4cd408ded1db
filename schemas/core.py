"""What a dataset IS: named fields with dimensions, units and roles, and what no measurement can reveal.

A task is declared once, in `schemas/tasks/<name>.py`, as `TASK`. Everything else finds it by name.
"""

import importlib
import json
import pkgutil
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal, Self

import numpy as np
from pydantic import ConfigDict, TypeAdapter, model_validator
from pydantic.dataclasses import dataclass

import schemas.tasks
from schemas.errors import UserError

SAMPLE = "sample"
SPLITS = ("train", "validation", "test")

type Role = Literal["input", "target", "parameter", "auxiliary", "digest"]
type DType = Literal["bool", "uint8", "uint16", "uint32", "int32", "int64", "float32", "float64", "complex64"]
type Gauge = Literal["constant", "ramp", "shift", "twin"]

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
    version: str
    about: str
    formula: str
    gauge: tuple[Gauge, ...]
    fields: tuple[Field, ...]
    window: str | None = None  # the constant field that multiplies the targets: scores look where it is not 0

    @model_validator(mode="after")
    def _check(self) -> Self:
        names = [field.name for field in self.fields]
        if "leaf_digest" in names:
            raise ValueError(f"task {self.name}: leaf_digest is the store's own field")
        if repeated := {name for name in names if names.count(name) > 1}:
            raise ValueError(f"task {self.name}: fields declared twice: {sorted(repeated)}")
        if self.window is not None and (self.window not in names or self[self.window].per_sample):
            raise ValueError(f"task {self.name}: window {self.window} must be a field without samples")
        return self

    def __getitem__(self, name: str) -> Field:
        """The field of that name."""
        return next(field for field in self.fields if field.name == name)

    def of(self, *roles: Role) -> tuple[Field, ...]:
        """The fields of these roles, in order."""
        return tuple(field for field in self.fields if field.role in roles)

    def select(self, optional: frozenset[str]) -> "Task":
        """The task with those of its optional fields that are named."""
        fields = tuple(field for field in self.fields if not field.optional or field.name in optional)
        return replace(self, fields=fields)

    def identity(self) -> list[Any]:
        """What a change of which changes the data: version and fields, not their explanations."""
        return [self.name, self.version, *([f.name, list(f.dims), f.dtype, f.units, f.role] for f in self.fields)]

    def to_json(self) -> dict[str, Any]:
        """As JSON."""
        return TypeAdapter(Task).dump_python(self, mode="json")  # type: ignore[no-any-return]

    @classmethod
    def from_json(cls, data: object) -> "Task":
        """From JSON; pydantic.ValidationError if it is no task."""
        return TypeAdapter(Task).validate_json(json.dumps(data))


def task_names() -> list[str]:
    """All tasks found."""
    return sorted(module.name for module in pkgutil.iter_modules(schemas.tasks.__path__))


def find_task(name: str) -> Task:
    """The task of that name; UserError lists the tasks that exist."""
    if name not in task_names():
        raise UserError(f"--task {name}: no such task; there are: {', '.join(task_names())}")
    task: Task = importlib.import_module(f"schemas.tasks.{name}").TASK
    return task


def problems(
    task: Task, sizes: Mapping[str, int], arrays: Mapping[str, np.ndarray], *, samples: bool = True
) -> list[str]:
    """What is wrong with a block of samples (leading axis = sample): names, shapes, dtypes, infinite values."""
    found = []
    if missing := {f.name for f in task.fields if f.per_sample and samples} - arrays.keys():
        found.append(f"missing fields: {', '.join(sorted(missing))}")
    if unknown := arrays.keys() - {f.name for f in task.fields}:
        found.append(f"unknown fields: {', '.join(sorted(unknown))}")
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
