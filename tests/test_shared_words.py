"""Shared code serves all tasks: it holds no name of one, and no field that only one of them has."""

import ast
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from schemas.task import find_task, task_names
from tests.conftest import ROOT

ROOMS = ("schemas", "generators", "training", "inference")
GENERAL = {"edge", "image", "item", "mask", "object", "position", "scale", "scan", "seen", "shape", "step", "window"}
GENERAL |= {"factor", "high", "low"}  # also ends of ranges
GENERAL |= {"angle", "field_of_view", "measured", "rotation"}  # also names of NeXus
OF_TASKS = {"tasks", "specimens", "fields"}  # folders
REAL = [name for name in task_names() if not name.startswith("toy")]


def groups() -> set[Path]:
    """Files that tasks read but nothing shared does: what several of them have in common, or one has to itself."""
    shared = {path for room in ROOMS for path in (ROOT / room).rglob("*.py") if not OF_TASKS & set(path.parts)}
    known, before = set(shared), None
    while known != before:
        before = set(known)
        read = {name for path in known for name in imported(path)}
        entry = {
            path for path in shared if path.name in ("cli.py", "__main__.py", "command.py") or "models" in path.parts
        }
        known = {path for path in known if path in entry or module(path) in read or path.name == "__init__.py"}
    return shared - known


def module(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts)


def imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def words(path: Path) -> Iterator[tuple[str, int]]:
    """Names and whole strings, with their lines."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value, node.lineno
        elif isinstance(node, ast.Name | ast.Attribute):
            yield node.id if isinstance(node, ast.Name) else node.attr, node.lineno
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from ((part, node.lineno) for part in node.module.split("."))


@cache
def own() -> set[str]:
    """Names of tasks, and of inputs, targets and constants that one task alone has."""
    found = Counter(
        name
        for task in REAL
        for name in {f.name for f in find_task(task).of("input", "target", "auxiliary", "parameter")}
    )
    return {*REAL, *(name for name, count in found.items() if count == 1)} - GENERAL


SHARED = sorted(
    {path for room in ROOMS for path in (ROOT / room).rglob("*.py") if not OF_TASKS & set(path.parts)} - groups()
)


@pytest.mark.parametrize("path", SHARED, ids=lambda path: module(path))
def test_shared_code_names_no_task(path: Path) -> None:
    named = own()
    assert [(word, line) for word, line in words(path) if word in named] == []


PARTS = sorted(path for folder in ("instruments", "specimens") for path in (ROOT / "generators" / folder).rglob("*.py"))


@pytest.mark.parametrize("path", PARTS, ids=lambda path: module(path))
def test_specimens_and_instruments_name_no_task(path: Path) -> None:
    """They serve several tasks, or may do so: a task passes on what is its own."""
    assert [(word, line) for word, line in words(path) if word in REAL] == []


def test_the_words_of_tasks_would_be_seen() -> None:
    assert {"tie", "cdi", "stem4d", "probe", "phase_patch"} <= own()
    assert ROOT / "schemas" / "task.py" in SHARED
    assert ROOT / "training" / "losses.py" in SHARED
