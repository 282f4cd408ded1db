"""Methods that invert groups: each whole and alone, tuned on whole groups, resumed without those that are done."""

import shutil
from dataclasses import replace
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
import zarr

from generators.cli import main
from inference.contract import Method, Setting
from inference.invert.split_reader import open_source
from inference.methods import tuning
from inference.tasks.stem4d import METHODS

from .conftest import Command, done, refused

SCANS = ("--set", "scan.rows=2", "scan.columns=3", "scan.scans=2", "pattern=16", "probe.semi_angle=0.05")
FIELDS = ("amplitude", "mask", "scan")
INFER = ("--method", "shared", "--data", "stem4d.zarr", "--out", "p.zarr")


def shared(fields: dict[str, np.ndarray], factor: float = 1.0) -> dict[str, np.ndarray]:
    """A phase that depends on all samples that are given."""
    values = factor * fields["amplitude"].mean(dtype=float) * fields["mask"]
    return {"phase": np.repeat(values[None].astype(np.float32), len(fields["amplitude"]), axis=0)}


@pytest.fixture
def solve(monkeypatch: pytest.MonkeyPatch) -> Mock:
    """What the method `shared` of groups is called with."""
    spy = Mock(wraps=shared, __name__="shared")
    monkeypatch.setitem(METHODS, "shared", Method("a test", FIELDS, spy, scope="group", group="scan"))
    return spy


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two groups of six samples, in objects of four and of six."""
    folder = tmp_path_factory.mktemp("groups")
    for shard in (4, 6):
        counts = ("--n", 0, "--validation", 0, "--test", 12, "--shard-samples", shard, "--scheduler", "synchronous")
        done(main, "--task", "stem4d", "--recipe", "hbn_scan", *counts, *SCANS, "--out", folder / f"{shard}.zarr")
    return folder


@pytest.fixture(params=[4, 6])
def shard(request: pytest.FixtureRequest, made: Path) -> int:
    """Samples in an object of stem4d.zarr."""
    shutil.copytree(made / f"{request.param}.zarr", "stem4d.zarr")
    return int(request.param)


def phases() -> np.ndarray:
    return np.asarray(zarr.open_array("p.zarr/phase", mode="r")[...])


@pytest.mark.usefixtures("shard", "solve")
def test_a_group_has_no_batch_size(infer: Command) -> None:
    refused(infer(*INFER, "--batch-size", 2), "--batch-size 2: is for networks", "shared inverts whole groups")


@pytest.mark.usefixtures("shard")
@pytest.mark.parametrize("number", [[0] * 6 + [1] * 6, [0, 1] * 6, [7] * 5 + [2] * 6 + [7]])
def test_a_group_is_inverted_whole_and_alone(number: list[int], solve: Mock, infer: Command) -> None:
    """Whatever objects its samples are in, and whatever samples of other groups are between them."""
    zarr.open_array("stem4d.zarr/test/scan", mode="r+")[...] = np.array(number)
    assert "12 made now" in infer(*INFER)[1]
    fields, found = open_source(Path("stem4d.zarr"), "test").read(FIELDS, 0, 12), phases()
    assert [len(call.args[0]["amplitude"]) for call in solve.call_args_list] == [6, 6]
    for one in set(number):
        rows = np.array(number) == one
        alone = {"amplitude": fields["amplitude"][rows], "mask": fields["mask"]}
        np.testing.assert_array_equal(found[rows], shared(alone)["phase"])
    assert len(np.unique(found.max(axis=(1, 2)))) == 2


@pytest.mark.usefixtures("shard")
def test_without_a_number_a_split_is_one_group(solve: Mock, infer: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(METHODS, "shared", replace(METHODS["shared"], group=""))
    infer(*INFER)
    assert [len(call.args[0]["amplitude"]) for call in solve.call_args_list] == [12]


def test_a_run_that_was_stopped_between_groups_does_the_groups_that_are_missing(
    shard: int, solve: Mock, infer: Command
) -> None:
    """And those that share an object with one of them."""
    solve.side_effect = [shared(_first()), KeyboardInterrupt]
    assert infer(*INFER)[0] == 75
    solve.side_effect = None
    solve.reset_mock()
    assert f"{12 - 6 // shard * shard:,} made now" in infer(*INFER)[1]
    assert solve.call_count == (1 if shard == 6 else 2)
    whole = phases()
    infer(*INFER[:-1], "q.zarr")
    np.testing.assert_array_equal(whole, zarr.open_array("q.zarr/phase", mode="r")[...])


def _first() -> dict[str, np.ndarray]:
    return open_source(Path("stem4d.zarr"), "test").read(FIELDS, 0, 6)


@pytest.mark.usefixtures("shard")
@pytest.mark.parametrize(("budget", "groups"), [(1, 1), (6, 1), (11, 1), (12, 2), (10**6, 2)])
def test_tuning_takes_the_whole_groups_that_fit(
    budget: int, groups: int, solve: Mock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Budgets in samples. The first group is taken, however large; none is cut."""
    source = open_source(Path("stem4d.zarr"), "test")
    read = [source.task[name] for name in (*FIELDS, "phase")]
    sample = sum(field.nbytes(source.manifest.sizes) for field in read if field.per_sample)
    monkeypatch.setattr(tuning, "MAX_GROUP_BYTES", budget * sample)
    monkeypatch.setattr(tuning, "_tuning_split", lambda source: "test")  # recipes make scans of no other
    factor = Setting("", "1", (0.01, 0.02, 0.04))
    found = tuning.tune(replace(METHODS["shared"], settings={"factor": factor}), source, {})[1]
    assert [len(call.args[0]["amplitude"]) for call in solve.call_args_list] == [6] * 3 * groups
    assert found is not None
    assert found.samples == 6 * groups
