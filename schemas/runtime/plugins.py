"""The files that authors add, found by name. What one lacks is told in one line: file, what it holds, rule."""

import importlib
import inspect
import traceback
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from types import ModuleType
from typing import Any

from pydantic import ValidationError

from schemas.runtime.errors import UserError

type Check = Callable[[ModuleType], Iterator[str]]  # what is wrong with a file; only the first is asked for


def find(package: str, name: str, check: Check) -> ModuleType:
    """The file of that name in a package, checked once. ModuleNotFoundError if there is none.

    UserError: what the check says, or the line that gives a class what it does not take.
    """
    file = f"{package}.{name}".replace(".", "/") + ".py"
    try:
        module = importlib.import_module(f"{package}.{name}")
    except (TypeError, ValueError) as error:
        lines = [at.lineno for at in traceback.extract_tb(error.__traceback__) if at.filename.endswith(file)]
        if not lines:
            raise
        raise UserError(f"{file}, line {lines[-1]}: {_said(error)}") from None
    _check(module, file, check)
    return module


@cache
def _check(module: ModuleType, file: str, check: Check) -> None:
    if mistake := next(check(module), None):
        raise UserError(f"{file}: {mistake}")


def _said(error: Exception) -> str:
    if not isinstance(error, ValidationError):
        return str(error)
    first = error.errors()[0]
    name = ".".join(part for part in first["loc"] if isinstance(part, str))
    value = f"{first['input']!r}" if isinstance(first["input"], str | int | float) else ""
    return ": ".join(filter(None, [name, value, first["msg"].removeprefix("Value error, ")]))


def task_of(module: ModuleType) -> str:
    """The name of the task, or model, that a file is for."""
    return module.__name__.rpartition(".")[2]


def lacking(module: ModuleType, kinds: Mapping[str, type]) -> Iterator[str]:
    """What a file must hold, and does not."""
    for name, kind in kinds.items():
        if not isinstance(getattr(module, name, None), kind):
            yield f"must hold {name} ({kind.__name__})"


def optional[T](module: ModuleType, name: str, kind: type[T]) -> T | None:
    """Return what a file may hold under a name, or None."""
    found = vars(module).get(name)
    return found if isinstance(found, kind) else None


def misplaced(module: ModuleType, kinds: Mapping[str, type]) -> Iterator[str]:
    """Yield what a file may hold, but holds as something else."""
    for name, kind in kinds.items():
        if not isinstance(vars(module).get(name), kind | None):
            yield f"{name}: must be {kind.__name__}(...)"


def unlike(name: str, function: Any, *arguments: str, **settings: Any) -> Iterator[str]:
    """Why something cannot be called with these arguments."""
    call = f"{name}({', '.join([*arguments, *settings])})"
    if not callable(function):
        yield f"must hold {call}, a function"
    try:
        inspect.signature(function).bind(*arguments, **settings)
    except TypeError as error:
        yield f"{name} is called as {call}: {error}"
