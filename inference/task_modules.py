"""The files of tasks in `inference/tasks/`: finding them, and checking what they hold when they are first used."""

from collections.abc import Iterator, Mapping
from types import ModuleType
from typing import Any, cast, get_args

import numpy as np

from inference.contract import Finish, Inference, Method, Report, Scope, Section, Setting, Shown, Stitch
from inference.methods import mean
from schemas.runtime import plugins
from schemas.runtime.errors import UserError, suggestion
from schemas.scores import score_names
from schemas.task import SAMPLE, Task, find_task, wrong_references


def inference_names() -> list[str]:
    """Return the names of the tasks that have classical methods and a report."""
    return plugins.module_names("inference.tasks")


def find_inference(name: str) -> Inference:
    """Return the module with the methods and the report of a task.

    Raises:
        UserError: there is no such module, or it is mistaken.
    """
    return cast(Inference, _find_module(name))


def _find_module(name: str) -> ModuleType:
    unknown = f"task {name}: no methods for it (inference/tasks/{name}.py)"
    return plugins.find_module("inference.tasks", name, _task_mistakes, unknown)


def _task_mistakes(module: ModuleType) -> Iterator[str]:
    """Yield the mistakes in the file of a task."""
    yield from plugins.missing_objects(module, {"METHODS": Mapping, "REPORT": Report})
    task = find_task(plugins.last_name(module))
    for name, method in module.METHODS.items():
        yield from _method_mistakes(task, f"METHODS[{name!r}]", method)
    yield from plugins.mistyped_objects(module, {"FINISH": Finish, "STITCH": Stitch})
    if after := plugins.optional_object(module, "FINISH", Finish):
        yield from _finish_mistakes(task, after)
    if images := plugins.optional_object(module, "STITCH", Stitch):
        yield from _stitch_mistakes(task, images)
    for shown in module.REPORT.inputs:
        if not isinstance(shown, Shown):
            yield f"REPORT.inputs: {shown!r} must be a Shown(field, index)"
        yield from wrong_references(task, "REPORT.inputs", (shown.field,), "input", "auxiliary")
        free = set(task[shown.field].dims) - {dim for target in task.of("target") for dim in target.dims}
        if len(shown.index) > len(free):
            yield f"REPORT.inputs: {shown.field} has the index {shown.index}; it must be an index along {sorted(free)}"
    yield from wrong_references(task, "REPORT.parameters", module.REPORT.parameters, "parameter")
    if found := module.REPORT.measures:
        yield from wrong_references(task, "REPORT.measures.needs", found.needs, "input", "parameter", "auxiliary")
        general = score_names(task)
        if (found.rank and found.rank not in found.scores) or set(found.scores) & general:
            yield f"REPORT.measures: rank = {found.rank!r} must be one of scores; none may be {', '.join(general)}"
    for section in module.REPORT.sections:
        if not isinstance(section, Section):
            yield f"REPORT.sections: {section!r} must be a Section(title, compute)"
        where = f"REPORT.sections: {section.title!r}: compute"
        yield from plugins.call_mistakes(where, section.compute, "source", "stores")


def _stitch_mistakes(task: Task, images: Stitch) -> Iterator[str]:
    """Yield the references in STITCH that do not fit the task."""
    yield from wrong_references(task, "STITCH.target", (images.target,), "target")
    yield from wrong_references(task, "STITCH.needs", images.needs, "input", "parameter", "auxiliary")
    yield from wrong_references(task, "STITCH.truth", (images.truth,), "auxiliary")
    if images.free not in ("constant", ""):
        yield f"STITCH.free = {images.free!r}: must be 'constant' or ''"
    for scale in images.scales:
        yield from wrong_references(
            task, f"STITCH.scales: {scale.name}", scale.needs, "input", "parameter", "auxiliary"
        )


def _finish_mistakes(task: Task, after: Finish) -> Iterator[str]:
    for name in ("needs", "uses"):
        yield from wrong_references(task, f"FINISH.{name}", getattr(after, name), "input", "parameter", "auxiliary")
    yield from plugins.call_mistakes("FINISH.apply", after.apply, "fields", "predicted", **after.settings)


def _method_mistakes(task: Task, where: str, method: Any) -> Iterator[str]:
    """Yield the mistakes in one of METHODS."""
    if not isinstance(method, Method):
        yield f"{where}: must be a Method(...)"
    for name in ("needs", "uses"):
        yield from wrong_references(task, f"{where}.{name}", getattr(method, name), "input", "parameter", "auxiliary")
    if method.scope not in get_args(Scope.__value__) or (method.group and method.scope != "group"):
        yield f"{where}.scope = {method.scope!r}: must be slice, sample or group; group if the method has a group"
    yield from wrong_references(task, f"{where}.group", (method.group,) if method.group else (), "parameter")
    if method.group and (task[method.group].dims, np.dtype(task[method.group].dtype).kind) != ((SAMPLE,), "i"):
        yield f"{where}.group: {method.group} must be a parameter with one integer per sample"
    for key, setting in method.settings.items():
        if not isinstance(setting, Setting) or not isinstance(setting.values, tuple) or not setting.values:
            yield f"{where}.settings[{key!r}]: must be a Setting(about, unit, (value, ...))"
    learned = {"fitted": None} if method.fit else {}
    yield from plugins.call_mistakes(f"{where}.solve", method.solve, "fields", **method.settings, **learned)
    if method.fit:
        yield from plugins.call_mistakes(f"{where}.fit", method.fit, "fields", **method.settings)


def find_finish(task: str) -> Finish | None:
    """Return the finishing step for networks of a task, if it has one."""
    return plugins.optional_object(_find_module(task), "FINISH", Finish)


def find_stitch(task: str) -> Stitch | None:
    """Return the rule by which targets of a task are stitched to larger images, if there is one."""
    return plugins.optional_object(_find_module(task), "STITCH", Stitch)


def find_methods(task: str) -> Mapping[str, Method]:
    """Return the classical methods of a task by name: its own, and those of every task.

    Raises:
        UserError: there is no such task, or its file is mistaken.
    """
    return {**find_inference(task).METHODS, mean.NAME: mean.METHOD}


def find_method(task: str, name: str) -> Method:
    """Return a classical method of a task.

    Raises:
        UserError: the task has no such method; the message lists those that it has.
    """
    methods = find_methods(task)
    if name not in methods:
        raise UserError(f"--method {name}: no such method for task {task}{suggestion(name, methods)}")
    return methods[name]
