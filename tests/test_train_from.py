"""`train --from RUN`: a network goes on learning, on other data and by another recipe, and says so."""

import shutil
from pathlib import Path
from typing import Any, get_args

import pytest

from generators.cli import main as generate_main
from tests.conftest import TOY_TASK, Command, digest, refused
from tests.runs import SMALL, card, dies_at, lines, weights
from training.cli import main as train_main
from training.nan_watch import Watch
from training.recipe import Optimizers

AGAIN = ("--from", "first", "--epochs", "2", "--batch-size", "16", "--set", "log_every=1", "save_every=2")
TOLD = ("--set", "scalars=height", "model.scalar_initialisation=0.1")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A first run on a first dataset, and another dataset."""
    folder = tmp_path_factory.mktemp("first")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for name, settings in (
            ("toy.zarr", ["--seed", "0"]),
            ("other.zarr", ["--seed", "1", "--set", "height=0.5:1.5"]),
        ):
            sizes = ["--n", "40", "--validation", "10", "--test", "0"]
            assert generate_main([*TOY_TASK, *sizes, *settings, "--out", name]) == 0
        assert train_main(["--data", "toy.zarr", *SMALL, *TOLD, "--out", "first"]) == 0
    return folder


@pytest.fixture
def other(made: Path) -> Path:
    """The other dataset, beside the first run."""
    shutil.copytree(made, Path(), dirs_exist_ok=True)
    return Path("other.zarr")


def same(one: str, other: str) -> bool:
    """Whether the weights of two runs are the same bits."""
    return weights(one) == weights(other)


# Without those that set parameters anew in each step, and schedule_free, whose mean of equal numbers is rounded.
RULES = sorted({*get_args(Optimizers.__value__)} - {"adagrad_da", "ftrl", "schedule_free"})


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("rule", RULES)
def test_with_learning_rate_0_it_is_the_network_that_it_started_from(rule: str, other: Path, train: Command) -> None:
    still = ("--optimizer", rule, "--learning-rate", 0, "--set", "schedule.name=constant")
    assert train("--data", other, *AGAIN, *still, "--out", "second")[0] == 0
    assert same("second", "first")


def test_it_starts_where_the_first_run_ended(other: Path, train: Command) -> None:
    """On its own data, the loss is at first what the first run's was at last; and then it falls."""
    slow = ("--learning-rate", "1e-9", "--out", "slow")
    assert train("--data", "toy.zarr", *AGAIN, *slow)[0] == 0
    reached = card("first")["scores"]["validation/loss"]
    assert card("slow")["scores"]["validation/loss"] == pytest.approx(reached, rel=1e-5)
    assert train("--data", "toy.zarr", *AGAIN, "--epochs", 20, "--out", "on")[0] == 0
    assert card("on")["scores"]["validation/loss"] < 0.95 * reached


def test_the_network_and_its_moments_stay_and_the_rest_is_new(other: Path, train: Command) -> None:
    assert train("--data", other, *AGAIN, "--set", "loss.l1=1", "--samples", "3:30", "--out", "second")[0] == 0
    first, second = card("first"), card("second")
    for setting in ("model", "input", "scalars", "normalisation"):
        assert second["recipe"][setting] == first["recipe"][setting]
    assert second["moments"] == first["moments"]
    assert second["recipe"]["loss"]["l1"] == 1
    assert second["samples"] == 27
    assert not same("second", "first")


@pytest.mark.parametrize("deadly", [2, 5])
def test_a_run_that_dies_and_resumes_ends_with_the_same_bits(
    deadly: int, other: Path, train: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert train("--data", other, *AGAIN, "--out", "whole")[0] == 0
    with monkeypatch.context() as patch:
        patch.setattr(Watch, "follow", dies_at(deadly, Watch.follow))
        with pytest.raises(RuntimeError, match="killed"):
            train("--data", other, *AGAIN, "--out", "broken")
    assert train("--data", other, *AGAIN, "--out", "broken")[0] == 0
    assert same("broken", "whole")
    assert losses("broken") == losses("whole")


def losses(run: str) -> list[Any]:
    return [row["train/loss"] for row in lines(run) if "train/loss" in row]


def test_another_start_is_another_run(other: Path, train: Command) -> None:
    assert train("--data", other, *AGAIN, "--out", "second")[0] == 0
    before = weights("second")
    refused(
        train("--data", other, "--model", "mlp", *AGAIN[2:], *TOLD, "--out", "second"),
        "another run",
        "from {",
        "now null",
    )
    assert train("--data", "toy.zarr", *SMALL, *TOLD, "--seed", 1, "--out", "first", "--overwrite")[0] == 0
    refused(train("--data", other, *AGAIN, "--out", "second"), "another run", "from.weights_sha256")
    shutil.rmtree("first")
    refused(train("--data", other, *AGAIN, "--out", "second"), "--from first: no model here")
    assert weights("second") == before


BAD: dict[str, tuple[tuple[object, ...], tuple[str, ...]]] = {
    "model": (("--model", "unet"), ("--from first: model = unet", "this model has mlp", "leave model out")),
    "other model's recipe": (("--recipe", "unet.json"), ("model = unet",)),
    "setting of it": (("--set", "model.hidden=7,8"), ("model.hidden = 7,8: this model has None",)),
    "unknown setting of it": (("--set", "model.hiden=7"), ("model.hiden", "did you mean model.hidden")),
    "scalars": (("--set", "scalars="), ("scalars = : this model has height",)),
    "normalisation": (("--set", "normalisation=none"), ("normalisation = none: this model has standard",)),
    "input": (("--input", "picture"), ("input = picture: this model has line",)),
    "forgetful": (("--optimizer", "adagrad_da"), ("adagrad_da: its first step ignores the start",)),
    "no such run": (("--from", "second"), ("--from second: no model here",)),
    "itself": (("--out", "first"), ("--from first: lies in first", "another --out")),
    "still": (("--optimizer", "ftrl", "--learning-rate", 0), ("learning_rate = 0: must be more than 0 for ftrl",)),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_what_would_make_it_another_network_is_refused(case: str, other: Path, train: Command) -> None:
    Path("unet.json").write_text('{"model": {"name": "unet"}}')
    args, parts = BAD[case]
    refused(train("--data", other, *AGAIN, "--out", "r", *args), *parts)
    assert not Path("r").exists()


def test_what_the_model_has_may_be_said_again(other: Path, train: Command) -> None:
    assert train("--data", other, *AGAIN, "--model", "mlp", "--input", "line", *TOLD, "--out", "said")[0] == 0
    assert train("--data", other, *AGAIN, "--out", "unsaid")[0] == 0
    assert same("said", "unsaid")


def test_another_task_or_size_is_refused(other: Path, generate: Command, train: Command) -> None:
    settings = ("image_size=16", "field_of_view=40", "supersampling=1")
    sizes = ("--n", 2, "--validation", 0, "--test", 0, "--scheduler", "synchronous")
    assert generate("--task", "tie", *sizes, "--set", *settings, "--out", "tie.zarr")[0] == 0
    refused(train("--data", "tie.zarr", *AGAIN, "--out", "r"), "trained for the task toy, but the dataset is of tie")


def test_the_card_says_what_it_was_started_from(other: Path, train: Command, infer: Command) -> None:
    assert train("--data", other, *AGAIN, "--out", "second")[0] == 0
    assert train("--data", other, "--from", "second/best", *AGAIN[2:], "--out", "third")[0] == 0
    first, second, third = card("first"), card("second"), card("third")
    assert [model["name"] for model in third["ancestors"]] == ["first", "second"]
    assert third["ancestors"][:1] == second["ancestors"]
    assert second["ancestors"][0]["weights_sha256"] == first["weights_sha256"]
    assert second["ancestors"][0]["dataset_digest"] == digest("toy.zarr")
    text = Path("third", "best", "README.md").read_text()
    assert f"started from | first, step {first['step']}" in text
    assert digest("toy.zarr") in text
    for split in ("train", "validation"):
        told = infer("--model", "third", "--data", "toy.zarr", "--split", split, "--out", f"{split}.zarr")[1]
        assert "warning: third was" in told, "its first network has seen them"
