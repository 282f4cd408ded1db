"""Counts of a detector: how a task states that one of its inputs holds some.

Counts can be divided into independent halves (`schemas.counting.thinning`), one of which scores what was predicted from
the other, without truth. This needs targets whose sum is the expectation of the input. Today only tasks that remove
noise have them. The inputs of the others are counted, too, but what they expect there follows from the targets by a
model with further unknowns (`tie`: the amplitude; `tomo`: a logarithm and a projection; `cdi`, `stem4d`: the roots of
the counts), so their predictions cannot be compared with counts pixel by pixel.
"""

from collections.abc import Iterator
from types import ModuleType

import numpy as np
from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

from schemas.runtime import plugins
from schemas.task import Task, find_task, task_names, wrong_references


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Counts:
    """Rule by which counts follow from an input, counts = input * scale: `COUNTS` in `schemas/tasks/<task>.py`."""

    input: str
    scale: str  # parameter: the number of counts that the value 1 stands for; 0: the input was not counted
    expectation: tuple[str, ...]  # targets whose sum is the expectation of the input; optional ones may be missing
    doses: tuple[str, ...] = ()  # further parameters that are proportional to the counts

    def scale_of(self, task: Task, scale: np.ndarray) -> np.ndarray:
        """Return the scale with axes of length 1 where only the input has a dimension, in float64.

        Args:
            task: the task of the fields, or `Task.sliced`.
            scale: values (*dims of the parameter).
        """
        lengths = dict(zip(task[self.scale].dims, scale.shape, strict=True))
        return scale.astype(float).reshape([lengths.get(dim, 1) for dim in task[self.input].dims])


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
    dims = task[rule.input].dims
    if task[rule.scale].dims != tuple(dim for dim in dims if dim in task[rule.scale].dims):
        yield f"COUNTS.scale: {rule.scale} has the dimensions {task[rule.scale].dims}, must be some of {dims}, in order"
    if not rule.expectation or any(task[name].dims != dims or task[name].classes for name in rule.expectation):
        yield f"COUNTS.expectation = {rule.expectation}: must be targets with the dimensions {dims} and without classes"
    if task.window:
        yield f"COUNTS: targets times the window {task.window} are no expectation of an input; leave out one of them"
