"""Every workflow's claim, in its smallest size: made from nothing by its own script, in another folder."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
WORKFLOWS = sorted(path.parent.name for path in (ROOT / "workflows").glob("*/run.sh"))


@pytest.mark.parametrize("name", WORKFLOWS)
def test_a_workflow_is_complete(name: str) -> None:
    folder = ROOT / "workflows" / name
    assert (folder / "README.md").exists()
    expected = json.loads((folder / "expected.json").read_text())
    assert {"tiny", "full"} <= expected.keys()
    assert all(expected.values())


@pytest.mark.slow
@pytest.mark.parametrize("name", WORKFLOWS)
def test_the_claim_holds_when_tiny(name: str) -> None:
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    script = ROOT / "workflows" / name / "run.sh"
    done = subprocess.run([script, "tiny", "out"], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert json.loads(Path("out", "metrics.json").read_text())["methods"]
    assert Path("out", "report.html").exists()


@pytest.mark.parametrize("name", WORKFLOWS)
def test_nonsense_is_refused(name: str) -> None:
    done = subprocess.run([ROOT / "workflows" / name / "run.sh", "huge"], capture_output=True, text=True)
    assert done.returncode == 2
    assert "tiny" in done.stderr
