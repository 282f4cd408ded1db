"""`infer`: tuned methods and networks, written whole or not at all; killed and resumed; refused in one line."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
import types
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import xarray as xr

from generators.cli import main as generate_main
from inference.invert import inversion, inverters
from inference.invert.inversion import Clock
from inference.invert.split_reader import open_source
from inference.task_modules import find_inference, inference_names
from schemas.predictions import read_predictions
from schemas.runtime.errors import UserError
from schemas.task import Task, find_task

from .conftest import TOY_TASK, Command, files, refused, start, values

SMALL_TIE = ("--set", "image_size=32", "supersampling=1", "--scheduler", "synchronous")
METHODS = [(task, method) for task in inference_names() for method in find_inference(task).METHODS]
FIXED = ("--method", "tie", "--set", "cutoff=0.004", "floor=0.1", "offset=annulus")


@pytest.fixture
def toy(generate: Command) -> Path:
    """40 test samples in units of 16."""
    assert generate(*TOY_TASK, "--n", 40, "--test", 40, "--shard-samples", 16)[0] == 0
    return Path("toy.zarr")


def edit(store: str, old: str, new: str) -> None:
    root = Path(store) / "zarr.json"
    assert old in root.read_text()
    root.write_text(root.read_text().replace(old, new, 1))


class Network:
    """A network as `training.export.store` gives it: it doubles its input, and is slow once."""

    inputs = ("blurred", "position")

    def __init__(self, task: Task, size: int, sha: str = "ab") -> None:
        self.calls: list[tuple[int, ...]] = []
        self.now = 0.0  # seconds
        self.needs_whole_images = False
        self.identity = sha * 32
        self.task = task
        self.features = SimpleNamespace(sizes={"x": size, "edge": 2})
        self.card = SimpleNamespace(
            recipe={"model": {"name": "unet", "width": 32}},
            task=task,
            history=[{"epoch": 1, "train/loss": 0.5, "validation/loss": float("nan")}],
            dataset_digest="0" * 64,
            dataset_family="1" * 64,
            ancestors=[],
            parameters=1234,
            samples=40,
            ranges={},
        )

    def adapt(self, sizes: Mapping[str, int]) -> "Network":
        return self

    def reasons_to_refuse(self, task: Task, sizes: Mapping[str, int]) -> list[str]:
        return ["it wants more edges"] if sizes["edge"] != 2 else []

    def predict(self, fields: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        self.now += 1.0 if self.calls else 500.0
        self.calls.append(fields["blurred"].shape)
        assert fields["position"].shape == fields["blurred"].shape[1:]
        return {"line": 2 * fields["blurred"]}


@pytest.fixture
def network(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Let there be a trained network, whatever its folder."""

    def install(found: Network) -> Network:
        module = types.ModuleType("training.export.store")
        module.load_model = lambda path: found  # type: ignore[attr-defined]
        module.load_checkpoint = lambda path, step: found  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "training.export.store", module)
        return found

    return install


def test_the_first_batch_of_each_length_is_not_timed() -> None:
    clock = Clock([(9.0, 32), (1.0, 32), (3.0, 32), (7.0, 8)])
    assert clock.seconds == 4 / 64
    assert not Clock([(9.0, 32), (7.0, 8)]).timed_batches
    assert Clock([(9.0, 32), (1.0, 8)], groups=True).seconds == 10 / 40


def test_predictions_say_when_their_samples_were_seen(toy: Path, infer: Command) -> None:
    assert "warning: wiener was" not in infer("--method", "wiener", "--data", toy, "--out", "a.zarr")[1]
    assert (
        "warning: wiener was tuned on samples of validation"
        in infer("--method", "wiener", "--data", toy, "--split", "validation", "--out", "b.zarr")[1]
    )


def test_few_samples_to_tune_on_are_said(toy: Path, infer: Command) -> None:
    assert "warning: tuned on only 4 samples" in infer("--method", "wiener", "--data", toy, "--out", "a.zarr")[1]


@pytest.mark.parametrize(("batch", "told"), [(32, False), (1, True)])
def test_the_first_batch_is_left_out_only_where_others_follow(
    toy: Path, infer: Command, batch: int, told: bool
) -> None:
    said = infer("--method", "identity", "--data", toy, "--split", "validation", "--batch-size", batch)[1]
    assert ("s per sample without the first batch (" in said) == told
    assert "s per sample" in said


def test_time_hardware_and_versions_belong_together(toy: Path, infer: Command) -> None:
    """After a resume elsewhere they are those of where the time was measured."""
    command = ("--method", "identity", "--data", toy, "--out", "p.zarr")
    assert infer(*command)[0] == 0
    made = read_predictions(Path("p.zarr"))
    edit("p.zarr", f'"hardware": {json.dumps(made.hardware)}', '"hardware": "an older one"')
    Path("p.zarr/line/c/0/0").unlink()
    assert infer(*command)[0] == 0
    assert read_predictions(Path("p.zarr")).hardware == made.hardware


UNSEEN = [("2000:3000", "defocus -2"), ("8000:12000", ""), ("13000", "13000, trained")]


@pytest.mark.parametrize(("planes", "said"), UNSEEN)
def test_parameters_that_a_network_never_saw_are_named_value_by_value(
    generate: Command, planes: str, said: str
) -> None:
    generate("--task", "tie", "--n", 1, "--validation", 0, "--test", 6, "--set", f"defocus={planes}", "image_size=16")
    source = open_source(Path("tie.zarr"), "test")
    known = {"defocus": [(-12e3, -8e3), (0.0, 0.0), (8e3, 12e3)]}
    found = inverters.outside_warnings(source, SimpleNamespace(ranges=known))  # type: ignore[arg-type]
    assert len(found) == bool(said)
    assert said in "".join(found)


def test_the_same_command_keeps_what_is_whole(toy: Path, infer: Command) -> None:
    command = ("--method", "wiener", "--data", toy, "--out", "p.zarr")
    assert "40 made now" in infer(*command)[1]
    before = files("p.zarr")
    assert "0 made now" in infer(*command)[1]
    assert files("p.zarr") == before
    damaged = Path("p.zarr/line/c/1/0")
    data = bytearray(damaged.read_bytes())
    data[len(data) // 2] ^= 1
    damaged.write_bytes(data)
    assert "16 made now" in infer(*command)[1]
    Path("p.zarr/line/c/2/0").unlink()
    Path("p.zarr/line/zarr.json").unlink()
    assert "8 made now" in infer(*command)[1]
    assert values("p.zarr") == {key: data for key, data in before.items() if key != "zarr.json"}
    assert "0 made now" in infer(*command, "--name", "a new name")[1]
    assert read_predictions(Path("p.zarr")).name == "a new name"


def test_other_predictions_in_the_same_place_are_refused(toy: Path, infer: Command) -> None:
    infer("--method", "wiener", "--data", toy, "--out", "p.zarr")
    other = ("--method", "wiener", "--data", toy, "--out", "p.zarr", "--set", "noise=0.2")
    refused(infer(*other), "holds other predictions: settings", "--overwrite")
    refused(infer("--method", "identity", "--data", toy, "--out", "p.zarr"), "method is wiener, asked identity")
    refused(infer("--method", "wiener", "--data", toy, "--out", "p.zarr", "--split", "train"), "split is test")
    refused(infer("--method", "wiener", "--data", toy, "--out", "p.zarr", "--tile", 20), "tiles is {}")
    assert infer(*other, "--overwrite")[0] == 0
    assert read_predictions(Path("p.zarr")).settings == {"noise": 0.2}
    assert not list(Path().glob("*.removed*"))


def test_what_is_not_ours_is_never_removed(toy: Path, infer: Command) -> None:
    command = ("--method", "identity", "--data", toy, "--overwrite")
    Path("thesis").mkdir()
    Path("thesis/text").write_text("mine")
    refused(infer(*command, "--out", "thesis"), "holds files that are not predictions")
    shutil.copytree(toy, "copy.zarr")
    refused(infer(*command, "--out", "copy.zarr"), "no predictions here")
    refused(infer(*command, "--out", "thesis/text"), "is a file")
    refused(infer(*command, "--out", toy / "p.zarr"), "lies inside the store")
    assert files("copy.zarr") == files(toy)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset for those who only read."""
    path = tmp_path_factory.mktemp("shared") / "toy.zarr"
    assert generate_main([*TOY_TASK, "--n", "40", "--validation", "0", "--out", str(path)]) == 0
    return path


REFUSALS = [
    (("--data", "toy.zarr"), "give either --model RUN"),
    (("--data", "toy.zarr", "--model", "m", "--method", "wiener"), "give either --model RUN"),
    (("--data", "toy.zarr", "--method", "tie"), "there are: wiener, identity"),
    (("--data", "none.zarr", "--method", "wiener"), "no dataset here"),
    (("--data", "toy.zarr", "--method", "wiener", "--split", "tset"), "samples are in: train (40), test (4)"),
    (("--data", "toy.zarr", "--method", "wiener", "--set", "nosie=1"), "did you mean noise?"),
    (("--data", "toy.zarr", "--method", "wiener", "--set", "noise"), "write key=value"),
    (("--data", "toy.zarr", "--method", "wiener", "--set", "noise=nan"), "must be a finite number"),
    (("--data", "toy.zarr", "--method", "identity", "--set", "noise=1"), "there are: none"),
    (("--data", "toy.zarr", "--method", "identity", "--batch-size", "0"), "at least 1"),
    (("--data", "toy.zarr", "--method", "identity", "--tile", "some"), "must be a whole number"),
    (("--data", "toy.zarr", "--method", "identity", "--overlap", "1"), "0 to 0.9"),
    (("--data", "toy.zarr", "--method", "identity", "--name", "a\x1bb"), "must be printable"),
    (("--data", "toy.zarr", "--method", "wiener", "--split", "tets"), "did you mean test?"),
    (("--data", "toy.zarr", "--model", "none"), "no model here"),
    (("--data", "toy.zarr", "--method", "wiener", "--refine", "5"), "--refine 5: is for --model"),
    (("--data", "toy.zarr", "--method", "wiener", "--layers", "a"), "--layers a: is for --activations"),
    (("--data", "toy.zarr", "--method", "wiener", "--task", "toy"), "--task toy: is for --describe"),
    (("--data", "toy.zarr", "--method", "wiener", "--stitch-set", "a=1"), "--stitch-set a=1: is for --stitch"),
    (("--data", "toy.zarr", "--method", "wiener", "--overlap", "0.25"), "--overlap 0.25: is for tiles"),
    (("--data", "toy.zarr", "--method", "wiener", "--tile", "99", "--overlap", "0.25"), "--overlap 0.25: is for tiles"),
    (("--data", "toy.zarr", "--method", "wiener", "--probabilities"), "--probabilities: wiener predicts no classes"),
    (("--data", "toy.zarr", "--describe"), "--out p.zarr: has no effect with --describe"),
    (
        ("--data", "toy.zarr", "--model", "m", "--activations", "a.png"),
        "--out p.zarr: has no effect with",
    ),
    (("--method", "identity"), "--data"),
]


@pytest.mark.parametrize(("arguments", "said"), REFUSALS)
def test_mistakes_are_one_line(shared: Path, infer: Command, arguments: tuple[str, ...], said: str) -> None:
    Path("toy.zarr").symlink_to(shared)
    refused(infer(*arguments, "--out", "p.zarr"), said)
    assert not Path("p.zarr").exists()


def test_damage_in_the_dataset_is_one_line(toy: Path, infer: Command) -> None:
    (toy / "test/blurred/c/1/0").unlink()
    refused(infer("--method", "identity", "--data", toy), "test/blurred: cannot be read", "generate")
    shutil.rmtree(toy / "validation/line")
    refused(infer("--method", "wiener", "--data", toy), "validation/line: cannot be read")


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('"status": "complete"', '"status": "incomplete"', "incomplete; run the same `infer`"),
        ('"format": 2', '"format": 3', "format 3, this program reads up to 2"),
        ('"samples": 40', '"samples": -40', "damaged: samples"),
        ('"split": "test"', '"split": "../x"', "damaged"),
        ('"drybeam_predictions": {', '"other": {', "no predictions here"),
    ],
)
def test_metadata_are_checked(toy: Path, infer: Command, old: str, new: str, said: str) -> None:
    infer("--method", "identity", "--data", toy, "--out", "p.zarr")
    edit("p.zarr", old, new)
    with pytest.raises(UserError, match=said):
        read_predictions(Path("p.zarr"))


def test_a_network_is_used_like_a_method(
    toy: Path, infer: Command, network: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = network(Network(find_task("toy").select(frozenset()), 33))
    monkeypatch.setattr(inversion, "time", SimpleNamespace(perf_counter=lambda: model.now, monotonic=time.monotonic))
    code, _, err = infer("--model", "runs/my-net/best", "--data", toy)
    assert (code, err) == (0, "")
    found = read_predictions(Path("predictions-toy-my-net.zarr"))
    assert (found.name, found.kind, found.method) == ("my-net", "network", "unet")
    assert found.weights is not None
    assert (found.weights.parameters, found.weights.samples) == (1234, 40)
    assert found.history == [{"epoch": 1, "train/loss": 0.5, "validation/loss": None}]
    assert found.seconds_per_sample == 1 / 16, "the first batch compiles, and does not count"
    line = xr.open_zarr("predictions-toy-my-net.zarr").line.values
    assert np.array_equal(line, 2 * xr.open_zarr("toy.zarr/test").blurred.values)
    assert {length for length, _ in model.calls} == {16, 8}
    network(Network(model.card.task, 33, sha="cd"))
    refused(infer("--model", "runs/my-net/best", "--data", toy), "weights is abab")
    said = "--refine 5: networks of task toy have no finishing step", "leave it out (tasks with such a step: cdi"
    refused(infer("--model", "runs/my-net/best", "--data", toy, "--refine", 5), *said)


def test_images_larger_than_in_training_are_cut(toy: Path, infer: Command, network: Any) -> None:
    model = network(Network(find_task("toy").select(frozenset()), 20))
    assert infer("--model", "net", "--data", toy, "--out", "a.zarr")[0] == 0
    assert read_predictions(Path("a.zarr")).tiles == {"x": 20}
    assert {width for _, width in model.calls} == {20}
    model.calls.clear()
    infer("--model", "net", "--data", toy, "--out", "b.zarr", "--tile", "none")
    infer("--model", "net", "--data", toy, "--out", "c.zarr", "--tile", "12", "--overlap", "0.25")
    assert {width for _, width in model.calls} == {33, 12}
    whole, *others = (xr.open_zarr(f"{name}.zarr").line.values for name in "bac")
    for other in others:
        np.testing.assert_allclose(other, whole, rtol=3e-7, atol=1e-7)
    model.needs_whole_images = True
    refused(infer("--model", "net", "--data", toy, "--out", "d.zarr"), "needs whole images", "--tile none")
    assert infer("--model", "net", "--data", toy, "--out", "d.zarr", "--tile", "none")[0] == 0


def test_networks_that_do_not_fit_are_refused(toy: Path, generate: Command, infer: Command, network: Any) -> None:
    task = find_task("toy").select(frozenset())
    network(Network(task, 48))
    refused(infer("--model", "net", "--data", toy), "smaller than those of training (x 33 < 48)", "--tile none")
    assert infer("--model", "net", "--data", toy, "--tile", "none", "--out", "p.zarr")[0] == 0
    lacking = network(Network(task, 33))
    lacking.inputs = ("blurred", "expected")
    refused(infer("--model", "net", "--data", toy), "toy.zarr: lacks expected, which model net needs")
    wrong = network(Network(task, 33))
    wrong.reasons_to_refuse = lambda task, sizes: ["schema 9.0 is newer than this program's"]
    refused(infer("--model", "net", "--data", toy), "cannot read toy.zarr: schema 9.0 is newer")
    network(Network(find_task("tie"), 33))
    refused(infer("--model", "net", "--data", toy), "was trained for task tie", "but toy.zarr is of task toy")


@pytest.fixture
def many(generate: Command) -> Path:
    """A dataset of 200 shards."""
    generate("--task", "tie", "--n", 1, "--test", 800, *SMALL_TIE, "--shard-samples", 4)
    return Path("tie.zarr").absolute()


def wait_for_units(out: Path, process: subprocess.Popen[str], more: int) -> None:
    for _ in range(60000):
        if len(list(out.glob("phase/c/*/0/0"))) > more:
            return
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.005)
    raise AssertionError("nothing was written in five minutes")


@pytest.mark.slow(15)
def test_killed_and_resumed_it_is_the_same(many: Path, infer: Command, chance: random.Random) -> None:
    """kill -9 at random moments; finished shards stay, the rest comes out the same. SIGTERM says how to go on."""
    infer(*FIXED, "--data", many, "--out", "whole.zarr")
    out = Path("cut.zarr").absolute()
    kept: dict[str, int] = {}
    now: dict[str, int] = {}
    for sent in (signal.SIGKILL, signal.SIGKILL, signal.SIGTERM):
        process = start("infer", *FIXED, "--data", many, "--out", out, room="inference")
        wait_for_units(out, process, len(now))
        time.sleep(chance.uniform(0, 0.1))
        os.killpg(process.pid, sent)
        said, _ = process.communicate(timeout=300)
        assert process.returncode == (75 if sent == signal.SIGTERM else -9), said
        now = {path.parts[-3]: path.stat().st_mtime_ns for path in out.glob("phase/c/*/0/0")}
        assert len(now) < 200, "all done before the kill: nothing was tested"
        assert now | kept == now, "a finished shard was made again"
        recorded = read_predictions(out, incomplete=True)
        kept = {index: now[index] for start in recorded.digests or {} if (index := str(int(start) // recorded.shard))}
        assert len(kept) > 0
        with pytest.raises(UserError, match="incomplete"):
            read_predictions(out)
    assert said.splitlines()[-1] == "interrupted; the same command resumes"
    assert infer(*FIXED, "--data", many, "--out", out)[0] == 0
    assert values(out) == values("whole.zarr")
    stored, whole = (json.loads(files(store)["zarr.json"]) for store in (out, "whole.zarr"))
    for root in (stored, whole):
        root["attributes"]["drybeam_predictions"].pop("seconds_per_sample")
    assert stored == whole


@pytest.mark.parametrize("command", ["infer", "evaluate"])
def test_help_is_quick_because_it_loads_nothing(command: str) -> None:
    code = f"import sys; from inference.cli import {command}\ntry: {command}(['--help'])\nexcept SystemExit: pass\n"
    code += "loaded = {'numpy', 'jax', 'zarr', 'pydantic', 'matplotlib'} & set(sys.modules)\nassert not loaded, loaded"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_classical_methods_and_scores_load_neither_jax_nor_dask(generate: Command) -> None:
    generate("--task", "tie", "--n", 2, "--test", 2, *SMALL_TIE)
    code = (
        "import sys; from inference.cli import infer, evaluate\n"
        "assert infer(['--method', 'absorption', '--data', 'tie.zarr', '--out', 'p.zarr']) == 0\n"
        "assert evaluate(['--data', 'tie.zarr', '--predictions', 'p.zarr', '--out', 'report']) == 0\n"
        "loaded = {'jax', 'dask', 'distributed', 'training'} & set(sys.modules)\nassert not loaded, loaded"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_predictions_that_are_no_numbers_are_counted(generate: Command, infer: Command) -> None:
    """Here of a method told of a ratio beyond float32."""
    assert generate("--task", "tie", "--n", 2, "--test", 3, "--set", "image_size=16", "defocus=100", "noise=0")[0] == 0
    code, out, err = infer("--method", "absorption", "--data", "tie.zarr", "--set", "ratio=1e39")
    assert (code, err) == (0, "")
    assert "warning: 3 predictions with NaN or infinite values" in out
