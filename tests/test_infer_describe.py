"""`infer --describe`: every method with its formula, every setting with unit, meaning and what is tried."""

import json

import pytest

from inference.methods.describe import MAX_LISTED, values_text
from inference.task_modules import find_methods, inference_names

from .conftest import TOY_TASK, Command, refused


def test_every_method_and_setting_of_every_task_is_described(infer: Command) -> None:
    code, out, err = infer("--describe", "--json")
    assert (code, err) == (0, "")
    found = json.loads(out)
    assert list(found) == inference_names()
    for task in found:
        methods = find_methods(task)
        assert list(found[task]) == list(methods)
        for name, method in methods.items():
            told = found[task][name]
            assert (told["about"], told["needs"], told["version"]) == (method.about, [*method.needs], method.version)
            assert told["settings"] == {
                key: {"about": known.about, "unit": known.unit, "tried": [*known.values]}
                for key, known in method.settings.items()
            }


def test_one_method_is_described_in_words(infer: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    code, out, err = infer("--method", "wiener", "--describe")
    assert (code, err) == (0, "")
    for said in (
        "wiener (task toy): Wiener's filter",
        "needs: blurred",
        "0.001, 0.01, 0.03, 0.1, 0.3",
        "power of noise",
    ):
        assert said in out, said
    assert "identity" not in out
    assert "no settings" in infer("--method", "identity", "--task", "toy", "--describe")[1]


def test_the_task_is_that_of_the_dataset(generate: Command, infer: Command) -> None:
    generate(*TOY_TASK, "--n", 1, "--validation", 0, "--test", 0)
    _, out, _ = infer("--data", "toy.zarr", "--describe", "--json")
    assert list(json.loads(out)) == ["toy"]
    refused(infer("--data", "toy.zarr", "--method", "tie", "--describe"), "there are: wiener, identity, mean")
    refused(infer("--task", "tei", "--describe"), "task tei: no methods")
    refused(infer("--method", "tei", "--describe"), "no task has such a method", "toy: wiener, identity, mean")


def test_long_lists_are_shown_by_their_ends() -> None:
    assert values_text(tuple(range(MAX_LISTED))) == ", ".join(map(str, range(MAX_LISTED)))
    assert values_text((*range(MAX_LISTED), 10.5)) == "0, 1, ..., 10.5 (11 values)"
    assert values_text(("none", "annulus")) == "none, annulus"
