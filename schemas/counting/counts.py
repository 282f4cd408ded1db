"""Counts of a detector: how a task states that one of its inputs holds some.

Counts can be divided into independent halves (`schemas.counting.thinning`), one of which scores what was predicted from
the other, without truth. This needs targets whose sum is the expectation of the input. Today only tasks that remove
noise have them. The inputs of the others are counted, too, but what they expect there follows from the targets by a
model with further unknowns (`tie`: the amplitude; `tomo`: a logarithm and a projection; `cdi`, `stem4d`: the roots of
the counts), so their predictions cannot be compared with counts pixel by pixel.
"""

import dataclasses
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from types import ModuleType

import numpy as np
from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

from schemas.runtime import plugins
from schemas.runtime.errors import UserError
from schemas.task import Task, find_task, task_names, wrong_references


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Counts:
    """Rule by which counts follow from an input, counts = input * scale: `COUNTS` in `schemas/tasks/<task>.py`."""

    input: str
    scale: str  # parameter: the number of counts that the value 1 stands for; 0: the input was not counted
    expectation: tuple[str, ...]  # targets whose sum is the expectation of the input; optional ones may be missing
    doses: tuple[str, ...] = ()  # further parameters that are proportional to the counts
    # By target of the expectation: the parameter that holds it where it is known, and the same for all pixels.
    levels: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def along_input(self, task: Task, name: str, values: np.ndarray) -> np.ndarray:
        """Return a parameter with axes of length 1 where only the input has a dimension, in float64.

        Args:
            task: the task of the fields, or `Task.sliced`.
            name: the parameter, such as `scale`.
            values: values (*dims of the parameter).
        """
        lengths = dict(zip(task[name].dims, values.shape, strict=True))
        return values.astype(float).reshape([lengths.get(dim, 1) for dim in task[self.input].dims])

    def known_levels(self, task: Task, without: Collection[str]) -> tuple[str, ...]:
        """Return the parameters of a dataset that stand for targets of the expectation.

        Args:
            task: the task, with the fields that the dataset has.
            without: targets that are known in another way.
        """
        held = {field.name for field in task.fields}
        return tuple(level for name, level in self.levels.items() if level in held and name not in without)


def find_counts(task: str) -> Counts | None:
    """Return the rule by which counts follow from an input of a task; None if it has no such input.

    Args:
        task: name of the task.

    Raises:
        UserError: the rule does not fit the task.
    """
    if task not in task_names():
        return None
    find_task(task)  # its own mistakes first
    module = plugins.find_module("schemas.tasks", task, _counts_mistakes, f"--task {task}: no such task")
    return plugins.optional_object(module, "COUNTS", Counts)


def require_counts(task: Task, path: Path, asked: str) -> Counts:
    """Return the rule by which counts follow from an input of a dataset.

    Args:
        task: task of the dataset, with the fields that it has.
        path: the dataset, for messages.
        asked: the option or command that needs counts, for messages.

    Raises:
        UserError: the task has no such rule, or the dataset lacks its fields.
    """
    rule = find_counts(task.name)
    if rule is None:
        known = ", ".join(name for name in task_names() if find_counts(name))
        raise UserError(
            f"{asked}: no input of task {task.name} is counts that its targets add up to, so they cannot be divided "
            f"into independent measurements; leave it out (tasks with such an input: {known})"
        )
    held = {field.name for field in task.fields}
    if lacking := [name for name in (rule.input, rule.scale) if name not in held]:
        raise UserError(f"{path}: lacks {', '.join(lacking)}, from which the counts follow; give another dataset")
    return rule


def _counts_mistakes(module: ModuleType) -> Iterator[str]:
    """Yield the mistakes in the rule of a task."""
    yield from plugins.mistyped_objects(module, {"COUNTS": Counts})
    rule, task = plugins.optional_object(module, "COUNTS", Counts), module.TASK
    if rule is None:
        return
    yield from wrong_references(task, "COUNTS.input", (rule.input,), "input")
    yield from wrong_references(task, "COUNTS.scale", (rule.scale,), "parameter")
    yield from wrong_references(task, "COUNTS.doses", rule.doses, "parameter")
    yield from wrong_references(task, "COUNTS.expectation", rule.expectation, "target")
    yield from wrong_references(task, "COUNTS.levels", tuple(rule.levels.values()), "parameter")
    if unknown := set(rule.levels) - set(rule.expectation[1:]):
        yield f"COUNTS.levels: {', '.join(sorted(unknown))} must be one of the expectation, after its first"
    dims = task[rule.input].dims
    for what, name in (("scale", rule.scale), *(("levels", name) for name in rule.levels.values())):
        if task[name].dims != tuple(dim for dim in dims if dim in task[name].dims):
            yield f"COUNTS.{what}: {name} has the dimensions {task[name].dims}, must be some of {dims}, in order"
    if not rule.expectation or any(task[name].dims != dims or task[name].classes for name in rule.expectation):
        yield f"COUNTS.expectation = {rule.expectation}: must be targets with the dimensions {dims} and without classes"
    if task.window:
        yield f"COUNTS: targets times the window {task.window} are no expectation of an input; leave out one of them"
