"""Classical methods that learn from training samples: what they see, what is recorded, and what is refused."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from inference.contract import Method
from inference.invert.split_reader import open_source
from inference.methods import fitting
from inference.task_modules import find_method
from schemas.predictions import read_predictions
from schemas.runtime.errors import UserError
from schemas.scores import score

from .conftest import Command, refused, values

LEVELS = ("--method", "levels", "--data", "toy_labels.zarr", "--out")


def make(generate: Command, *args: object) -> None:
    command = ("--task", "toy_labels", "--n", 5, "--validation", 3, "--test", 4, "--scheduler", "synchronous")
    assert generate(*command, *args)[0] == 0


def levels() -> Method:
    return find_method("toy_labels", "levels")


def test_a_method_learns_from_training_samples_alone(generate: Command) -> None:
    make(generate)
    source = open_source(Path("toy_labels.zarr"), "test")
    training, count = fitting.training_fields(levels(), fitting.training_split("levels", source, None))
    exact = replace(source, split="train").read(("image", "mask"), 0, 5)
    assert count == 5
    assert all(np.array_equal(training[name], exact[name]) for name in exact)
    assert training.keys() == exact.keys()


def test_settings_are_tuned_on_validation_with_what_was_learned_for_each(generate: Command, infer: Command) -> None:
    make(generate)
    assert infer(*LEVELS, "p.zarr")[0] == 0
    source, method = open_source(Path("toy_labels.zarr"), "validation"), levels()
    training, _ = fitting.training_fields(method, fitting.training_split("levels", source, None))
    block, errors = source.read(("image", "mask"), 0, 3), {}
    for power in (0.25, 1.0):
        predicted = method.solve(block, power=power, fitted=method.fit(training, power=power))["mask"]  # type: ignore[misc]
        errors[power] = score(source.task, {"mask": predicted}, block)["jaccard_distance"].mean()
    assert errors[0.25] != errors[1.0]
    found = read_predictions(Path("p.zarr"))
    assert found.settings == {"power": min(errors, key=lambda power: errors[power])}
    assert found.tuning is not None
    assert found.tuning.nrms == pytest.approx(min(errors.values()))


def test_what_was_learned_from_is_recorded_and_other_data_are_not_taken_for_it(
    generate: Command, infer: Command, evaluate: Command
) -> None:
    make(generate)
    make(generate, "--seed", 1, "--out", "other.zarr")
    infer(*LEVELS, "p.zarr", "--set", "power=1")
    found, digest = read_predictions(Path("p.zarr")), open_source(Path("toy_labels.zarr"), "test").manifest.root_digest
    assert found.weights is not None
    assert (found.weights.trained_on, found.weights.samples, found.weights.parameters) == (digest, 5, 0)
    assert found.tuning is None
    assert ", 0 made now" in infer(*LEVELS, "p.zarr", "--set", "power=1")[1]
    infer(*LEVELS, "q.zarr", "--set", "power=1", "--tune-on", "other.zarr")
    other = read_predictions(Path("q.zarr"))
    assert other.weights is not None
    assert other.weights.trained_on == open_source(Path("other.zarr"), "test").manifest.root_digest
    assert other.fingerprint != found.fingerprint
    assert values("p.zarr") != values("q.zarr")
    refused(infer(*LEVELS, "p.zarr", "--set", "power=1", "--tune-on", "other.zarr"), "p.zarr")
    assert infer(*LEVELS, "t.zarr", "--set", "power=1", "--split", "train")[0] == 0
    command = ("--data", "toy_labels.zarr", "--predictions", "t.zarr", "--out", "report")
    assert evaluate(*command)[0] == 0
    report = Path("report/report.html").read_text()
    assert "levels was trained with these samples" in report
    assert "trained on 5 samples of this dataset" in report


def test_without_training_samples_it_is_refused(generate: Command, infer: Command) -> None:
    make(generate, "--n", 0, "--out", "none.zarr")
    make(generate)
    command = ("--method", "levels", "--data", "none.zarr", "--set", "power=1")
    refused(infer(*command), "learns from training samples, and none.zarr has none; name a dataset that has some by")
    assert infer(*command, "--tune-on", "toy_labels.zarr", "--out", "p.zarr")[0] == 0
    refused(infer(*command, "--tune-on", "p.zarr", "--out", "q.zarr"), "learns from training samples")


def test_only_the_first_samples_are_read(generate: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    make(generate)
    train = fitting.training_split("levels", open_source(Path("toy_labels.zarr"), "test"), None)
    size = 12 * 13 * (4 + 1)
    for limit, expected in ((2 * size, 2), (2 * size - 1, 1), (1, 1)):
        monkeypatch.setattr(fitting, "MAX_BYTES", limit)
        training, count = fitting.training_fields(levels(), train)
        assert (count, len(training["image"])) == (expected, expected)
    monkeypatch.setattr(fitting, "MAX_BYTES", 2**28)
    monkeypatch.setattr(fitting, "MAX_SAMPLES", 4)
    assert fitting.training_fields(levels(), train)[1] == 4


def test_a_mistake_in_fit_is_reported_in_one_line() -> None:
    def fit(fields: dict[str, np.ndarray], power: float) -> np.ndarray:
        return fields["shade"]

    with pytest.raises(UserError, match="shade"):
        replace(levels(), fit=fit).arguments({"power": 1.0}, {"image": np.zeros(1)})
