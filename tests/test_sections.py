"""Sections that a task adds to the report of `evaluate`: in all three outputs, and left out where there is nothing."""

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from markupsafe import Markup

from inference.contract import Section, SectionContent
from inference.invert.split_reader import Source
from inference.report.evaluation import Result, Summary
from inference.task_modules import find_inference

from .conftest import TOY_TASK, Command


def _counted(source: Source, stores: Mapping[str, Path]) -> SectionContent:
    """Samples and stores, of all runs but one."""

    def html(result: Result) -> str:
        return Markup("<p>{} runs of {} samples</p>").format(len(result.stores), source.samples)

    score: Summary = {"count": {"mean": 3.0, "std": 0.0, "n": 1, "unit": "1"}}
    named = {name: {"store": str(path)} for name, path in stores.items() if name != "identity"}
    return SectionContent({"wiener": score}, named, html, (f"{len(stores)} stores were counted",))


@pytest.mark.usefixtures("brief_report")
def test_a_section_of_a_task_is_in_all_outputs(
    generate: Command, infer: Command, evaluate: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    toy = find_inference("toy")
    sections = (Section("Counts <of> stores", _counted), Section("Nothing", lambda source, stores: None))
    monkeypatch.setattr(toy, "REPORT", replace(toy.REPORT, sections=sections))
    generate(*TOY_TASK, "--n", 4, "--test", 6)
    infer("--method", "wiener", "--data", "toy.zarr", "--out", "wiener.zarr", "--set", "noise=0.1")
    infer("--method", "identity", "--data", "toy.zarr", "--out", "identity.zarr")
    Path("e.json").write_text(json.dumps([{"method": "wiener", "metric": "count", "at_most": 2}]))
    command = ("--data", "toy.zarr", "--predictions", "wiener.zarr", "identity.zarr", "--expect", "e.json")
    code, out, err = evaluate(*command)
    assert (code, err) == (1, "")
    assert "2 stores were counted" in out
    assert "wiener: count is 3" in out
    methods = json.loads(Path("report/metrics.json").read_text())["methods"]
    assert methods["wiener"]["metrics"]["count"]["mean"] == 3
    assert methods["wiener"]["store"] == "wiener.zarr"
    assert not {"store", "count"} & (methods["identity"].keys() | methods["identity"]["metrics"].keys())
    page = re.sub(r'src="[^"]*"', "", Path("report/report.html").read_text())
    assert "<h2>Counts &lt;of&gt; stores</h2><p>2 runs of 6 samples</p>" in page
    assert "Nothing" not in page
