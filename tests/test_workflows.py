"""Every workflow's claim, in its smallest size: made from nothing by its own script, in another folder.

Here one workflow of each task runs, and of all scripts in all sizes the commands are checked. All workflows, as a user
runs them, in some ten minutes: `pytest -m long tests/test_workflows.py`.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests import scripts
from tests.conftest import launch

FOLDER = Path(__file__).parent.parent / "workflows"
WORKFLOWS = sorted(path.parent.name for path in FOLDER.glob("*/run.sh"))
OF_EACH_TASK = ("cdi_inversion", "phase_ret_dl", "stem4d_phase_imaging")
BY_USER = "stem4d_phase_imaging"


def expected(name: str) -> dict[str, object]:
    found: dict[str, object] = json.loads((FOLDER / name / "expected.json").read_text())
    return found


@pytest.mark.parametrize("name", WORKFLOWS)
def test_a_workflow_is_complete(name: str) -> None:
    assert (FOLDER / name / "README.md").exists()
    assert {"tiny", "full"} <= expected(name).keys()
    assert all(expected(name).values())


@pytest.mark.parametrize(("name", "size"), [(name, size) for name in WORKFLOWS for size in expected(name)])
def test_its_commands_are_those_of_this_version(name: str, size: str) -> None:
    rehearsal = scripts.Rehearsal()
    scripts.run(rehearsal, FOLDER / name / "run.sh", size, "out")
    assert rehearsal.commands > 5


@pytest.mark.slow(70)
@pytest.mark.usefixtures("brief_report")
@pytest.mark.parametrize("name", OF_EACH_TASK)
def test_the_claim_holds_when_tiny(name: str) -> None:
    """Its commands share what this process has loaded and compiled; the first of each kind is a process of its own."""
    carry_out = scripts.AsAUserFirst() if name == BY_USER else scripts.carry_out
    scripts.run(carry_out, FOLDER / name / "run.sh", "tiny", "out")
    _reported()


@pytest.mark.long
@pytest.mark.parametrize("name", WORKFLOWS)
def test_a_user_finds_that_it_holds(name: str) -> None:
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    process = launch([FOLDER / name / "run.sh", "tiny", "out"], {"PATH": path})
    said, _ = process.communicate()
    assert process.returncode == 0, said[-4000:]
    _reported()


def _reported() -> None:
    assert json.loads(Path("out", "metrics.json").read_text())["methods"]
    assert Path("out", "report.html").exists()


@pytest.mark.parametrize("name", WORKFLOWS)
def test_nonsense_is_refused(name: str) -> None:
    done = subprocess.run([FOLDER / name / "run.sh", "huge"], capture_output=True, text=True)
    assert done.returncode == 2
    assert "tiny" in done.stderr
