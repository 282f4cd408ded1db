"""Loading of the files that users add (tasks, models, methods). They are found by name.

A fault in such a file is reported in one line: file, line, error, remedy.
"""

import importlib
import inspect
import pkgutil
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache, partial
from types import ModuleType
from typing import Any

from pydantic import ValidationError

from schemas.runtime.errors import TRACEBACK_VARIABLE, Interrupted, UserError, broken_rule, suggestion

type Check = Callable[[ModuleType], Iterator[str]]  # yields mistakes in a file; only the first is used


def module_names(package: str) -> list[str]:
    """Return the names of all modules in a package."""
    return sorted(module.name for module in pkgutil.iter_modules(importlib.import_module(package).__path__))


def find_module(package: str, name: str, check: Check, unknown: str) -> ModuleType:
    """Return the module of this name from a package, checked once.

    Args:
        package: name of the package.
        name: name of the module in it.
        check: yields the mistakes in the module.
        unknown: start of the message if there is no such module.

    Raises:
        UserError: there is no such module; or it cannot be imported; or the check finds a mistake.
    """
    module = f"{package}.{name}"
    if module not in sys.modules and name not in (known := module_names(package)):
        raise UserError(f"{unknown}{suggestion(name, known)}")
    with reporting_errors(module):
        loaded = importlib.import_module(module)
    _check_module(loaded, check)
    return loaded


@cache
def _check_module(module: ModuleType, check: Check) -> None:
    with reporting_errors(module.__name__):
        mistake = next(check(module), None)
    if mistake:
        raise UserError(f"{module_path(module.__name__)}: {mistake}")


@contextmanager
def reporting_errors(module: str, function: str = "", given_fields: Sequence[str] | None = None) -> Iterator[None]:
    """Report errors raised in a user's file in one line, with the file, its line and the function.

    Args:
        module: name of the module, such as `generators.tasks.tie`.
        function: name of the function that is called; empty while the file is imported.
        given_fields: fields that the function receives, if these depend on its author's declarations.

    Raises:
        UserError: in place of the error, which is its cause. The message says what to do.
    """
    try:
        yield
    except (UserError, Interrupted, OSError, MemoryError):
        raise
    except Exception as error:
        mistake, remedy = _describe_error(error), "correct the file"
        if given_fields is not None and isinstance(error, KeyError) and error.args[0] not in given_fields:
            remedy = f"it receives {', '.join(given_fields)}: name further fields in `needs` or `fields`"
        elif function and isinstance(error, ValueError | ArithmeticError):
            remedy = "choose other settings (see --describe), or correct the file"
        where = ", ".join(filter(None, [module_path(module), _find_line(module, error), function and f"in {function}"]))
        raise UserError(f"{where}: {mistake}; {remedy} ({TRACEBACK_VARIABLE}=1 shows all calls)") from error


def function_origin(function: Callable[..., Any]) -> tuple[str, str]:
    """Return the module and the name of a function, also for a `functools.partial` of it."""
    while isinstance(function, partial):
        function = function.func
    return function.__module__, getattr(function, "__name__", type(function).__name__)


def module_path(module: str) -> str:
    """Return the path of a module from the root of the project."""
    return module.replace(".", "/") + ".py"


def _find_line(module: str, error: Exception) -> str:
    """Return the line of a module from which an error comes; empty if it comes from elsewhere."""
    calls = traceback.walk_tb(error.__traceback__)
    lines = [line for frame, line in calls if frame.f_globals.get("__name__") == module]
    if not lines and isinstance(error, SyntaxError) and error.lineno:
        lines = [error.lineno]
    return f"line {lines[-1]}" if lines else ""


def _describe_error(error: Exception) -> str:
    if not isinstance(error, ValidationError):
        return f"{type(error).__name__}: {error}"
    first = error.errors()[0]
    name = ".".join(part for part in first["loc"] if isinstance(part, str))
    value = f"{first['input']!r}" if isinstance(first["input"], str | int | float) else ""
    return ": ".join(filter(None, [name, value, broken_rule(first)]))


def last_name(module: ModuleType) -> str:
    """Return the name of the task, or model, that a file is for."""
    return module.__name__.rpartition(".")[2]


def missing_objects(module: ModuleType, kinds: Mapping[str, type]) -> Iterator[str]:
    """Yield a message for each object that a module must hold and does not.

    Args:
        module: the module.
        kinds: by name of the object, its type.
    """
    for name, kind in kinds.items():
        if not isinstance(getattr(module, name, None), kind):
            yield f"must hold {name} ({kind.__name__})"


def optional_object[T](module: ModuleType, name: str, kind: type[T]) -> T | None:
    """Return an optional object of a module; None if it is missing or of another type.

    Args:
        module: the module.
        name: name of the object.
        kind: its type.
    """
    value = vars(module).get(name)
    return value if isinstance(value, kind) else None


def mistyped_objects(module: ModuleType, kinds: Mapping[str, type]) -> Iterator[str]:
    """Yield a message for each optional object of a module that has a wrong type.

    Args:
        module: the module.
        kinds: by name of the object, its type.
    """
    for name, kind in kinds.items():
        if not isinstance(vars(module).get(name), kind | None):
            yield f"{name}: must be {kind.__name__}(...)"


def call_mistakes(name: str, function: Any, *arguments: str, **settings: Any) -> Iterator[str]:
    """Yield the reasons why a function cannot be called with these arguments.

    Args:
        name: name of the function, for the message.
        function: the function.
        arguments: names of its positional arguments.
        settings: its keyword arguments.
    """
    call = f"{name}({', '.join([*arguments, *settings])})"
    if not callable(function):
        yield f"must hold {call}, a function"
    try:
        inspect.signature(function).bind(*arguments, **settings)
    except TypeError as error:
        yield f"{name} is called as {call}: {error}"
