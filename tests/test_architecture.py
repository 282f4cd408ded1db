"""Which room may import which, read from the source; and what a command may load."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ROOMS = {
    "physics": set(),
    "schemas": {"physics"},
    "generators": {"schemas", "physics"},
    "benchmarks": {"generators", "schemas", "physics"},
}
HEAVY = {"jax", "flax", "optax"}


def modules(room: str) -> list[Path]:
    return sorted((ROOT / room).rglob("*.py"))


def imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: imports are absolute"
            yield node.module or ""


@pytest.mark.parametrize("room", ROOMS)
def test_arrows(room: str) -> None:
    """physics knows nobody; schemas know physics; generators know both; nobody knows generators."""
    assert modules(room)
    ours = set(ROOMS) | {"training", "inference", "workflows", "tests"}
    for path in modules(room):
        used = {name.split(".")[0] for name in imported(path)} & ours - {room}
        assert used <= ROOMS[room], f"{path.relative_to(ROOT)} imports {used - ROOMS[room]}"


@pytest.mark.parametrize("room", ["physics", "schemas", "generators"])
def test_simulation_needs_no_jax(room: str) -> None:
    for path in modules(room):
        assert not {name.split(".")[0] for name in imported(path)} & HEAVY, path


def test_the_engine_knows_no_task() -> None:
    for path in (ROOT / "generators").glob("*.py"):
        assert not [name for name in imported(path) if name.startswith("generators.tasks.")], path


@pytest.mark.parametrize("task", [path.stem for path in modules("generators/tasks") if path.stem != "__init__"])
def test_tasks_can_be_forked(task: str) -> None:
    """Workers are forked from a process that has imported the task: it must have no threads."""
    code = f"import sys, threading, generators.tasks.{task}\n"
    code += "assert not {'zarr', 'jax', 'distributed'} & set(sys.modules); assert threading.active_count() == 1"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_generate_loads_no_jax() -> None:
    code = (
        "import sys; from generators.cli import main\n"
        "assert main(['--task', 'tie', '--n', '2', '--out', 'a.zarr', '--scheduler', 'synchronous']) == 0\n"
        "assert not {'jax', 'distributed'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("room", ["generators", "schemas"])
def test_help_is_quick_because_it_loads_nothing(room: str) -> None:
    code = f"import sys; from {room}.cli import main\ntry: main(['--help'])\nexcept SystemExit: pass\n"
    code += "loaded = {'numpy', 'numba', 'zarr', 'pydantic', 'dask', 'matplotlib'} & set(sys.modules)\n"
    code += "assert not loaded, loaded"
    subprocess.run([sys.executable, "-c", code], check=True)
