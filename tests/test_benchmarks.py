"""Benchmarks, in their smallest size: what they print is what they timed."""

import numpy as np
import pytest

from benchmarks import project, retrieve
from physics.phase_retrieval import Schedule


def test_retrieval_is_timed_both_ways(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a clock that says how long each call takes: transforms, then all three in a block, then one by one."""
    monkeypatch.setattr(retrieve, "_seconds", _Clock((8, 12, 0.004, 2, 24, 0.04, 6)))
    schedule = Schedule(cycles=0, average=3)
    report = retrieve.measure(2, rounds=2, schedule=schedule, network=["model.filters=2"])
    milliseconds = report["ms_per_pattern"]
    assert milliseconds["floor"] == pytest.approx(4000)
    assert milliseconds["network block"] == pytest.approx(2)
    assert milliseconds["refined one by one"] == pytest.approx(3000)
    assert report["ratios"] == pytest.approx(
        {
            "block_to_floor": 1.5,
            "one_by_one_to_block": 2,
            "iterations_to_network_block": 3000,
            "iterations_to_network_one_by_one": 600,
            "iterations_to_refined_block": 6,
            "iterations_to_refined_one_by_one": 4,
        }
    )
    lines = retrieve.text(report).splitlines()
    assert lines[0].startswith("2 patterns, 3 iterations")
    assert ["network", "2.00", "20.00"] in [line.split() for line in lines]
    assert lines[-1].split() == ["iterations", "to", "refined", "one", "by", "one", "4.00"]


def test_projections_are_compared_within_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """The ratio is the median of ratios, whatever happens to the times; the growth is the exponent of N."""
    monkeypatch.setattr(project, "_seconds", _Clock((0.064,)))
    made = project.time_calls(16, 2)
    assert made["project"].tolist() == [0.002, 0.002]
    assert made["one fbp"].tolist() == [0.064, 0.064]
    rounds = np.array([1.0, 2.0, 9.0])
    times = {n: {"fbp": (n / 16) ** 3 * rounds, "gridding": (n / 16) ** 2 * rounds} for n in (16, 32)}
    report = project.summary(times)
    assert report["ratios"] == {16: {"fbp / gridding": 1}, 32: {"fbp / gridding": 2}}
    assert report["growth"] == {"16-32": {"fbp": 3, "gridding": 2}}
    lines = [line.split() for line in project.text({"hardware": "", "processes": 1, **report}).splitlines()]
    assert ["gridding", "2e+03", "8e+03"] in lines
    assert ["fbp", "/", "gridding", "1", "2"] in lines
    assert ["million", "multiply-adds", "0.0113", "0.0901"] in lines


class _Clock:
    """Does each work, and says the next time of a list."""

    def __init__(self, times: tuple[float, ...]) -> None:
        self.times = times
        self.calls = 0

    def __call__(self, call: object) -> float:
        assert callable(call)
        call()
        self.calls += 1
        return self.times[(self.calls - 1) % len(self.times)]
