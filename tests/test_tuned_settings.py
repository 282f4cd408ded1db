"""The settings of the 4D-STEM workflow's classical methods: chosen scan by scan, by tuning scans alone."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parent.parent / "workflows" / "stem4d_phase_imaging" / "tuned.py"


def told(*argv: object) -> list[str]:
    done = subprocess.run([sys.executable, SCRIPT, *map(str, argv)], capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


def tried(folder: Path, settings: str, means: list[float], rms: list[float]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    scans = [{"mean": mean, "rms": one} for mean, one in zip(means, rms, strict=True)]
    (folder / f"{settings}-image-resolution.json").write_text(json.dumps({"scans": scans}))


@pytest.fixture
def series(tmp_path: Path) -> Path:
    for settings, means in {"alpha=1": [0.9, 0.5, 0.2], "alpha=2": [0.8, 0.6, 0.3], "alpha=3": [0.7, 0.4, 0.1]}.items():
        tried(tmp_path / "epie", settings, means, [0.1] * 3)
    return tmp_path


def test_each_scan_has_the_settings_of_the_best_image_in_its_place(series: Path) -> None:
    assert told("runs", "epie", series) == ["epie alpha=1\talpha=1", "epie alpha=2\talpha=2"]


def test_a_single_scan_has_the_best_correlation_and_the_least_error(tmp_path: Path) -> None:
    tried(tmp_path / "epie", "alpha=1", [0.9], [0.2])
    tried(tmp_path / "epie", "alpha=2", [0.8], [0.1])
    assert sorted(told("runs", "epie", tmp_path)) == ["epie\talpha=1", "epie_rms\talpha=2"]
    tried(tmp_path / "epie", "alpha=2", [0.95], [0.1])
    assert told("runs", "epie", tmp_path) == ["epie\talpha=2"]


def test_the_table_holds_what_was_chosen_even_where_other_settings_are_better(series: Path) -> None:
    scores = {"network": [0.6, 0.6, 0.6], "epie alpha=1": [0.7, 0.71, 0.72], "epie alpha=2": [0.8, 0.81, 0.82]}
    methods = {
        name: {
            "method": name.split()[0],
            "scans": [{"fluence": 1e6 * 10**i, "overlap": 0.74, "frc_mean": one} for i, one in enumerate(values)],
        }
        for name, values in scores.items()
    }
    metrics = series / "metrics.json"
    metrics.write_text(json.dumps({"methods": methods}))
    assert told("table", metrics, series, "epie") == [
        "fluence 1e+06, overlap 0.74: network: 0.600; epie alpha=1: 0.700",
        "fluence 1e+07, overlap 0.74: network: 0.600; epie alpha=2: 0.810",
        "fluence 1e+08, overlap 0.74: network: 0.600; epie alpha=2: 0.820",
    ]
