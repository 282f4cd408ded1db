"""Print the classical methods and their settings (`infer --describe`)."""

import json
from collections.abc import Mapping
from typing import Any

from inference.contract import Method, Value
from inference.task_modules import find_method, find_methods, inference_names
from schemas.runtime.errors import UserError
from schemas.runtime.terminal import say, say_table, unit_of

MAX_LISTED = 10  # maximum number of values of a setting that are listed; of more values, only the ends are shown

type Methods = Mapping[str, Mapping[str, Method]]  # methods by task and name


def choose_methods(task: str | None, name: str | None) -> Methods:
    """Return classical methods by task and name.

    Args:
        task: the task; None for all tasks.
        name: the method; None for all methods.

    Raises:
        UserError: there is no such method.
    """
    if task is not None:
        return {task: {name: find_method(task, name)} if name else find_methods(task)}
    everything = {known: find_methods(known) for known in inference_names()}
    if name is None:
        return everything
    if matching := {known: {name: methods[name]} for known, methods in everything.items() if name in methods}:
        return matching
    there = "; ".join(f"{known}: {', '.join(methods)}" for known, methods in everything.items())
    raise UserError(f"--method {name}: no task has such a method; the methods by task are {there}")


def methods_data(methods: Methods) -> dict[str, dict[str, Any]]:
    """Return methods as plain data for JSON: about, needs, uses, version, settings (about, unit, values tried)."""
    return {task: {name: _method_data(method) for name, method in found.items()} for task, found in methods.items()}


def _method_data(method: Method) -> dict[str, Any]:
    settings = {
        key: {"about": setting.about, "unit": setting.unit, "tried": list(setting.values)}
        for key, setting in method.settings.items()
    }
    return {
        "about": method.about,
        "needs": list(method.needs),
        "uses": list(method.uses),
        "scope": method.scope,
        "version": method.version,
        "settings": settings,
    }


def show(methods: Methods, as_json: bool) -> None:
    """Print methods and their settings.

    Args:
        methods: as `choose_methods` returns them.
        as_json: print JSON instead of tables.
    """
    if as_json:
        say(json.dumps(methods_data(methods), indent=2))
        return
    for task, of_task in methods.items():
        for name, method in of_task.items():
            _show_method(f"{name} (task {task})", method)
    say("(settings that --set does not fix are tuned: all combinations of values are compared on validation samples)")


def _show_method(title: str, method: Method) -> None:
    from rich.table import Table

    say(f"{title}: {method.about}")
    uses = f"; also uses, if present: {', '.join(method.uses)}" if method.uses else ""
    whole = "; inverts whole groups of samples" + (f", numbered by {method.group}" if method.group else "")
    needs = ", ".join(method.needs) or "targets of training samples"
    say(f"needs: {needs}{uses}{whole if method.scope == 'group' else ''}")
    table = Table("setting", "tried", "unit", "meaning", box=None, pad_edge=False)
    for key, setting in method.settings.items():
        table.add_row(key, values_text(setting.values), unit_of(setting.values, setting.unit), setting.about)
    say_table(table) if method.settings else say("no settings")
    say("")


def values_text(values: tuple[Value, ...]) -> str:
    """Return values in words, such as `1, 3, 10`; for a long list, its ends and its length.

    >>> values_text(tuple(range(12)))
    '0, 1, ..., 11 (12 values)'
    """
    if len(values) <= MAX_LISTED:
        return ", ".join(map(_value_text, values))
    first, second, *_, last = map(_value_text, values)
    return f"{first}, {second}, ..., {last} ({len(values)} values)"


def _value_text(value: Value) -> str:
    return value if isinstance(value, str) else f"{value:g}"
