"""The section of a report on volumes that are reconstructed from whole tilt series, and the atoms in them."""

import json
from pathlib import Path
from typing import Any

import pytest

from .conftest import Command

SERIES = ("--set", "tilts.number=36", "tilts.first=-88", "tilts.last=87", "tilts.random=false", "image_size=48")
PARTICLE = ("cluster.diameter=1.0", "sampling=0.04", "noise=0", "scan.shift=0", "scan.drift=0", "scan.jitter=0")
pytestmark = pytest.mark.usefixtures("brief_report")


def metrics() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((Path("report") / "metrics.json").read_text())
    return found


def test_atoms_of_a_particle_are_found_in_its_volume(generate: Command, infer: Command, evaluate: Command) -> None:
    """Without noise and errors of the scan, volumes from exact images show nearly all atoms where they are."""
    few = ("--n", 0, "--validation", 1, "--test", 1, "--scheduler", "synchronous")
    assert generate("--task", "aet", *few, *SERIES, *PARTICLE)[0] == 0
    infer("--data", "aet.zarr", "--method", "constant", "--out", "p.zarr")
    code, out, err = evaluate("--data", "aet.zarr", "--predictions", "p.zarr")
    assert (code, err) == (0, "")
    rows = {line.split(",")[0]: line for line in out.splitlines() if "volumes of 1 series" in line}
    assert list(rows) == ["noisy images", "constant", "exact images"]
    found = dict(part.rsplit(" ", 1) for part in rows["exact images"].removesuffix(" nm").split(": ")[1].split(", "))
    assert float(found["atoms_found"]) > 0.9
    assert float(found["atom_error"].removesuffix(" nm")) < 0.03
    scored = metrics()["methods"]["constant"]
    assert scored["metrics"]["r_factor"]["n"] == 1
    (row,) = scored["series"]
    assert row["iterations"] in (10, 30, 100)
    assert 0 < row["r_factor"] < 1
    assert "Volumes and atoms" in (Path("report") / "report.html").read_text()


def test_single_images_have_no_volume(generate: Command, infer: Command, evaluate: Command) -> None:
    few = ("--n", 0, "--validation", 1, "--test", 2, "--scheduler", "synchronous")
    generate("--task", "aet", *few, "--set", "image_size=48", *PARTICLE)
    infer("--data", "aet.zarr", "--method", "constant", "--out", "p.zarr")
    assert evaluate("--data", "aet.zarr", "--predictions", "p.zarr")[::2] == (0, "")
    assert "r_factor" not in metrics()["methods"]["constant"]["metrics"]
