"""The Python door does what the command lines do, with their defaults and errors, and shows its results."""

import inspect
import json
import os
import re
import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import drybeam
import generators.cli
import generators.command
import inference.cli
import inference.command
import training.cli
import training.command
from drybeam.arguments import option_name
from drybeam.messages import FUNCTIONS, translate
from generators.engine import executors
from tests.conftest import Command

SCRIPT = """
import sys
import drybeam

assert not {"jax", "zarr", "numpy", "dask"} & set(sys.modules)
data = drybeam.generate("tie", 24, validation=8, test=8, out="tie.zarr", image_size=32, supersampling=1, workers=2)
run = drybeam.train(data, model={"name": "unet", "width": 4}, epochs=1, batch_size=8, out="run")
network = drybeam.infer(data, model=run, out="network.zarr")
classical = drybeam.infer(data, method="tie", out="classical.zarr", cutoff=0.01, floor=0.001, offset="none")
report = drybeam.evaluate(data, network, ("TIE", classical), out="report")

test = drybeam.open(data)["test"].load()
phase = run.model(test)["phase"]
figure = drybeam.preview(data, split="test", samples=2)
axes = figure.axes[0]
axes.imshow(phase[0])
figure.savefig("figure.png")
print(sorted(report.metrics), report.metrics["TIE"]["nrms_aligned"]["n"])
"""


def test_a_script_of_twenty_lines_goes_from_generate_to_a_figure() -> None:
    """A plain script without a guard for its main module, run by a Python of its own in an empty folder."""
    Path("script.py").write_text(SCRIPT)
    done = subprocess.run([sys.executable, "script.py"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "['TIE', 'run'] 8"
    assert done.stdout.count("samples complete") == 3, "a worker ran the script, too"
    assert Path("figure.png").read_bytes().startswith(b"\x89PNG")
    assert len(SCRIPT.strip().splitlines()) <= 20


OPTIONS = {
    "generate": (generators.command.Options, {"set"}),
    "train": (training.command.Options, {"set", "coordinator", "processes", "process"}),  # several processes: by shell
    "infer": (inference.command.InferOptions, {"set", "stitch_set", "halves"}),
    "evaluate": (inference.command.EvaluateOptions, {"expect", "no_truth", "data_range"}),
}


@pytest.mark.parametrize("name", OPTIONS)
def test_functions_have_the_options_of_the_commands_and_their_defaults(name: str) -> None:
    kind, left_out = OPTIONS[name]
    known = {field.name: field for field in fields(kind)}
    arguments = inspect.signature(getattr(drybeam, name)).parameters
    assert known.keys() - left_out <= arguments.keys()
    for argument in arguments.keys() & known.keys() - {"data", "predictions"}:
        default = known[argument].default
        assert arguments[argument].default in (default, str(default), "test" if argument == "split" else default)
        assert f"\n    {argument}: " in str(inspect.getdoc(getattr(drybeam, name))), argument


@pytest.fixture
def toy() -> drybeam.Dataset:
    return drybeam.generate("toy", 40, out="toy.zarr", scheduler="synchronous")


def test_the_same_dataset_as_by_the_command_line(toy: drybeam.Dataset, generate: Command) -> None:
    generate("--task", "toy", "--n", 40, "--out", "again.zarr", "--scheduler", "synchronous")
    assert toy.digest == drybeam.Dataset(Path("again.zarr")).digest
    assert toy.open()["train"].sizes["sample"] == 40
    assert drybeam.open("toy.zarr")["validation"].line.attrs["role"] == "target"
    assert toy._repr_png_().startswith(b"\x89PNG")


def test_settings_as_python_values(generate: Command) -> None:
    drybeam.generate("toy", 4, out="a.zarr", scheduler="synchronous", height=(1.0, 1.5), noise=0.2)
    generate(
        "--task", "toy", "--n", 4, "--out", "b.zarr", "--scheduler", "synchronous", "--set", "height=1:1.5", "noise=0.2"
    )
    assert drybeam.Dataset(Path("a.zarr")).digest == drybeam.Dataset(Path("b.zarr")).digest


def test_a_run_a_model_predictions_and_a_report(toy: drybeam.Dataset) -> None:
    run = drybeam.train(toy, model={"name": "mlp", "hidden": "8"}, epochs=1, batch_size=8, out="run")
    assert run.history[-1]["step"] == 5
    assert run._repr_png_().startswith(b"\x89PNG")
    test = toy.open()["test"].to_dataset().load()
    found = drybeam.infer(toy, model=run, out="found.zarr")
    alone, whole = run.model(test), run.model({name: test[name].values for name in run.model.inputs})
    stored = found.open().to_dataset()
    for name, values in alone.items():
        np.testing.assert_array_equal(values, whole[name])
        np.testing.assert_allclose(values, stored[name].values, atol=1e-5)
    assert "mlp" in run.model._repr_html_()
    report = drybeam.evaluate(toy, found)
    assert report.metrics["run"] == json.loads(Path("report/metrics.json").read_text())["methods"]["run"]["metrics"]
    assert "<iframe" in report._repr_html_()
    assert Path(str(report), "report.html").exists()


MISTAKES: list[tuple[Any, str]] = [
    (lambda: drybeam.generate(), 'task is missing: .* drybeam.generate(..., task="tie")'),
    (lambda: drybeam.generate("toy"), "n is missing: .* drybeam.generate(..., n=5000)"),
    (lambda: drybeam.generate("toyy", 4), 'task="toyy": no such task'),
    (lambda: drybeam.generate("toy", 4, nosie=1), "nosie: no such setting; did you mean noise?"),
    (lambda: drybeam.generate("toy", 0), "n=0: no sample is asked for; give n, validation or test"),
    (
        lambda: drybeam.generate(source="x", out="y"),
        "x: no dataset here (no zarr.json); make it with: drybeam.generate(",
    ),
    (lambda: drybeam.open("nowhere.zarr"), 'make it with: drybeam.generate(task=..., out="nowhere.zarr", ...)'),
    (lambda: drybeam.Dataset(Path("nowhere.zarr")).digest, "make it with: drybeam.generate(task=..., out="),
    (lambda: drybeam.preview("nowhere.zarr"), 'make it with: drybeam.generate(task=..., out="nowhere.zarr", ...)'),
    (lambda: drybeam.train("nowhere.zarr"), 'make it with: drybeam.generate(task=..., out="nowhere.zarr", ...)'),
    (lambda: drybeam.train("x", mode="strem"), 'mode="strem": must be one of .*; see help(drybeam.train)'),  # type: ignore[arg-type]
    (lambda: drybeam.train("x", keep_every=0), "keep_every=0: must be a whole number, at least 1"),
    (lambda: drybeam.infer("nowhere.zarr", method="tie"), "make it with: drybeam.generate(task=..., out="),
    (lambda: drybeam.infer("x"), "give either model=RUN (a trained network) or method=NAME"),
    (lambda: drybeam.infer("x", method="tie", checkpoint=3), "checkpoint=3: is for model; give model as well"),
    (lambda: drybeam.infer("x", model="y", stitch_settings={"a": 1}), 'stitch_settings="a=1": is for stitch'),
    (lambda: drybeam.evaluate("nowhere.zarr"), "predictions are missing: drybeam.evaluate(data, predictions)"),
    (lambda: drybeam.evaluate("x", "y", split=","), 'split=",": must be splits'),
    (lambda: drybeam.load_model("nowhere"), "no model here"),
]


@pytest.mark.parametrize(("call", "said"), MISTAKES, ids=[said for _, said in MISTAKES])
def test_mistakes_name_the_arguments_of_python(call: Any, said: str) -> None:
    with pytest.raises(drybeam.UserError, match=re.escape(said).replace(r"\.\*", ".*")) as caught:
        call()
    assert "--" not in str(caught.value).replace("--describe` (in a shell)", "")


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_option_of_a_command_is_told_as_its_argument(name: str) -> None:
    """Whatever the place of the option in a message."""
    parser = {"generate": generators.cli._parser, "train": training.cli._parser, "infer": inference.cli._infer_parser}
    parser |= {"evaluate": inference.cli._evaluate_parser}
    arguments = inspect.signature(getattr(drybeam, name, drybeam.open)).parameters
    options = (
        {option for action in parser[name]()._actions for option in action.option_strings} if name in parser else set()
    )
    for argument in arguments.values():
        option = f"--{option_name(argument.name)}"
        assert not options or option in options or argument.name == "input"
        flag = argument.default is False
        plain = f"{argument.name}=True" if flag else argument.name
        assert translate(f"{option} is missing: give it", name).startswith(f"{plain} is missing")
        assert translate(f"choose another {option}, or wait", name) == f"choose another {plain}, or wait"
        if not flag and argument.kind is not argument.VAR_POSITIONAL:
            assert translate(f"{option} a b: must be c", name) in (
                f'{argument.name}="a b": must be c',
                "a b: must be c",
            )
            assert translate(f"give {option} N", name) in (f"give {argument.name}=N", "give N")


def test_commands_and_calls_that_resume_are_told_as_calls() -> None:
    told = translate("run the same `generate` command again; or: infer --data a.zarr --split test ...", "open")
    assert told == 'run the same call of drybeam.generate again; or: drybeam.infer(data="a.zarr", split="test", ...)'
    assert translate("the same command resumes; see --describe", "train").endswith(
        "see `train --describe` (in a shell)"
    )
    named = translate("give them different names: --predictions LABEL=STORE ...", "evaluate")
    assert named == "give them different names: (LABEL, STORE) ..."


def test_a_model_says_what_it_cannot_read(toy: drybeam.Dataset) -> None:
    model = drybeam.train(toy, model={"name": "mlp", "hidden": "8"}, epochs=1, batch_size=8, out="run").model
    arrays = {name: toy.open()["test"].to_dataset()[name].values for name in model.inputs}
    first, *_ = model.inputs
    with pytest.raises(drybeam.UserError, match=f"also needs {first}"):
        model({name: values for name, values in arrays.items() if name != first})
    with pytest.raises(drybeam.UserError, match="it must be"):
        model(arrays | {first: arrays[first][..., None]})


def test_a_model_heeds_the_names_of_dimensions(toy: drybeam.Dataset) -> None:
    model = drybeam.train(toy, model={"name": "mlp", "hidden": "8"}, epochs=1, batch_size=8, out="run").model
    test = toy.open()["test"].to_dataset().load()
    for name, values in model(test.transpose(..., "sample")).items():
        np.testing.assert_array_equal(values, model(test)[name])
    with pytest.raises(drybeam.UserError, match="has the dimensions"):
        model(test.rename({"x": "u"}))


VALUES: list[tuple[Any, str]] = [
    ({"n": True}, "^n: needs a value"),
    ({"n": "x"}, '^n="x": must be a whole number'),
    ({"workers": -1}, "^workers=-1: must be a whole number"),
    ({"shard_samples": 0}, "^shard_samples=0: must be a whole number"),
    ({"overwrite": "no"}, '^overwrite="no": takes no value'),
    ({"out": "s3://bucket/toy.zarr"}, '^out="s3://bucket/toy.zarr": addresses are not supported'),
]


@pytest.mark.parametrize(("options", "said"), VALUES, ids=[said for _, said in VALUES])
def test_values_are_checked_as_on_the_command_line(options: dict[str, Any], said: str) -> None:
    with pytest.raises(drybeam.UserError, match=said):
        drybeam.generate("toy", **({"n": 4} | options))


def test_numpy_values_and_mappings_are_settings(toy: drybeam.Dataset) -> None:
    small: dict[str, Any] = {
        "epochs": np.int64(1),
        "batch_size": 8,
        "model": {"name": "mlp", "hidden": [8]},
        "samples": (0, 20),
    }
    rate: Any = np.float32(1e-3)
    first = drybeam.train(toy, **small, optimizer={"name": "sgd"}, learning_rate=rate, out="run")
    again = drybeam.train(toy, **small, optimizer="sgd", learning_rate=0.001, out="run")
    assert first.history == again.history


def test_results_stay_where_they_are_and_the_process_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before, main = dict(os.environ), sys.modules["__main__"]
    first, second = (drybeam.generate("toy", 20, out=f"{name}.zarr", scheduler="synchronous") for name in "ab")
    assert (dict(os.environ), sys.modules["__main__"]) == (before, main)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert first.digest == second.digest


def test_the_main_module_comes_back_after_the_last_thread() -> None:
    main = sys.modules["__main__"]
    first, second = executors._without_main(), executors._without_main()
    with first:
        second.__enter__()
        assert sys.modules["__main__"] is not main
    assert sys.modules["__main__"] is not main
    second.__exit__(None, None, None)
    assert sys.modules["__main__"] is main
