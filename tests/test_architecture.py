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
    "training": {"schemas", "physics"},
    "inference": {"training", "schemas", "physics"},
    "drybeam": {"generators", "training", "inference", "schemas", "physics"},
    "benchmarks": {"generators", "training", "inference", "schemas", "physics"},
}
OPEN = {f"training.{name}" for name in ("activations", "checkpoints", "export", "features", "models", "tasks")}
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
    """physics knows nobody; schemas know physics; generators and training know both, and not one another."""
    assert modules(room)
    ours = set(ROOMS) | {"workflows", "tests"}
    for path in modules(room):
        used = {name.split(".")[0] for name in imported(path)} & ours - {room}
        assert used <= ROOMS[room], f"{path.relative_to(ROOT)} imports {used - ROOMS[room]}"


def test_inference_sees_of_training_what_a_model_is() -> None:
    for path in modules("inference"):
        used = {name for name in imported(path) if name.split(".")[0] == "training"}
        assert not [name for name in used if not any(name == o or name.startswith(f"{o}.") for o in OPEN)], path


@pytest.mark.parametrize("room", ["physics", "schemas", "generators"])
def test_simulation_needs_no_jax(room: str) -> None:
    for path in modules(room):
        assert not {name.split(".")[0] for name in imported(path)} & HEAVY, path


def test_the_engine_knows_no_task() -> None:
    for room in ("generators", "training", "inference"):
        for path in [path for path in modules(room) if path.parent.name != "tasks"]:
            assert not [name for name in imported(path) if name.startswith(f"{room}.tasks.")], path


def test_the_loop_knows_no_model() -> None:
    for path in (ROOT / "training").glob("*.py"):
        assert not [name for name in imported(path) if name.startswith("training.models.")], path


def test_training_loads_neither_dask_nor_a_generator() -> None:
    code = "import sys, training.loop, training.cli, training.export.store\n"
    code += "assert not {'dask', 'distributed', 'numba', 'generators', 'torch', 'tensorflow'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


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


@pytest.mark.parametrize("room", ["generators", "schemas", "training"])
def test_help_is_quick_because_it_loads_nothing(room: str) -> None:
    code = f"import sys; from {room}.cli import main\ntry: main(['--help'])\nexcept SystemExit: pass\n"
    code += "loaded = {'numpy', 'numba', 'zarr', 'pydantic', 'dask', 'matplotlib', 'jax'} & set(sys.modules)\n"
    code += "assert not loaded, loaded"
    subprocess.run([sys.executable, "-c", code], check=True)


DISK = {"exists", "is_dir", "is_file", "iterdir", "mkdir", "read_bytes", "read_text", "rename", "rmtree", "unlink",
        "write_bytes", "write_text"}  # fmt: skip
# `publish` and `locks` do it for all; `metrics_log` appends to files. The others read files of the user or the machine.
APART = {"publish", "locks", "metrics_log", "settings", "machine", "preview", "expectations"}
APART |= {"activations", "hashes", "reading"}


def test_stores_are_read_and_written_by_one_module() -> None:
    """So that another kind of storage than a disk can be put behind it."""
    paths = [path for room in ("schemas", "generators", "training", "inference") for path in modules(room)]
    for path in paths:
        used = {node.attr for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Attribute)} & DISK
        assert not used or path.stem in APART or "specimens" in path.parts, f"{path}: {sorted(used)}"


def test_folders_hold_one_subject() -> None:
    """A dozen files beside one another, or somewhat more; physics and training are flat on purpose."""
    for room in ("schemas", "generators", "inference", "drybeam"):
        for folder in {path.parent for path in modules(room)}:
            files = [path for path in folder.glob("*.py") if not path.stem.startswith("__")]
            assert len(files) <= 15, f"{folder.relative_to(ROOT)}: {len(files)} files"


def at_import(path: Path) -> Iterator[str]:
    """Modules of ours that a module needs as soon as it is imported."""

    def names(body: list[ast.stmt]) -> Iterator[str]:
        for node in body:
            if isinstance(node, ast.ImportFrom) and node.module:
                yield from (f"{node.module}.{alias.name}" for alias in node.names)
                yield node.module
            elif isinstance(node, ast.Import):
                yield from (alias.name for alias in node.names)

    yield from names(ast.parse(path.read_text()).body)


def test_no_module_needs_one_that_needs_it() -> None:
    paths = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts): path
        for room in ROOMS
        for path in modules(room)
        if path.stem != "__init__"
    }
    needs = {name: sorted({other for other in at_import(path) if other in paths}) for name, path in paths.items()}
    done: set[str] = set()

    def visit(name: str, above: tuple[str, ...]) -> None:
        assert name not in above, " -> ".join([*above[above.index(name) :], name])
        if name not in done:
            for other in needs[name]:
                visit(other, (*above, name))
            done.add(name)

    for name in needs:
        visit(name, ())
