"""`train` in this process: what it leaves behind, what it refuses, and that a run is a function of recipe and data."""

import fcntl
import json
import shutil
import struct
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import zarr
from safetensors.numpy import load
from tensorboardX import SummaryWriter
from tensorboardX.proto.event_pb2 import Event

from schemas.task import find_task
from tests.conftest import TOY_TASK, Command, done, refused
from tests.runs import SMALL, card, dies_at, lines, weights
from training import batch_sources, devices, loop, metrics_log, model_building, run, steps
from training.cli import _list_choices
from training.cli import main as train_main
from training.contract import fields_read, find_learn
from training.nan_watch import Watch


@pytest.fixture
def data(generate: Command) -> Path:
    assert generate(*TOY_TASK, "--n", 40, "--validation", 10, "--test", 0, "--out", "toy.zarr")[0] == 0
    return Path("toy.zarr")


def losses(run: str) -> list[tuple[int, float]]:
    return [(row["step"], value) for row in lines(run) for name, value in row.items() if name.endswith("/loss")]


def test_a_run_learns_and_leaves_a_model_and_a_report(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    done(train_main, "--data", data, *SMALL, "--epochs", 20, "--out", "r")
    out, err = capsys.readouterr()
    assert err == ""
    assert "the best network is from step" in out
    assert Path("r", "curves.png").read_bytes()[:4] == b"\x89PNG"
    scores = [row["validation/loss"] for row in lines("r") if "validation/loss" in row]
    assert len(scores) == 20
    assert min(scores) < scores[0]
    learned = [row["train/loss"] for row in lines("r") if "train/loss" in row]
    assert learned[-1] < 0.75 * learned[0]
    assert {path.name for path in Path("r", "best").iterdir()} == {"model.safetensors", "model.json", "README.md"}
    for name in ("metrics.csv", "tensorboard", "run.json"):
        assert Path("r", name).exists()
    best = card("r")
    assert best["scores"]["validation/loss"] == min(scores)
    assert [row["step"] for row in best["history"]] == [3 * epoch for epoch in range(1, 21)]


def test_the_last_batch_counts_and_is_not_recompiled(data: Path, train: Command) -> None:
    """40 samples in batches of 16: three steps an epoch, each sample seen once."""
    assert train("--data", data, *SMALL, "--out", "r", "--set", "log_every=1")[0] == 0
    assert [row["step"] for row in lines("r") if "train/loss" in row] == list(range(1, 10))


def test_the_same_command_again_changes_nothing(data: Path, train: Command) -> None:
    command = ("--data", data, *SMALL, "--epochs", 1, "--out", "r", "--set", "log_every=1")
    assert train(*command)[0] == 0
    before, told = weights("r"), lines("r")
    assert train(*command)[0] == 0
    assert (weights("r"), lines("r")) == (before, told)


RULES = {
    "adam": (),
    "adamw": ("optimizer.name=adamw", "optimizer.weight_decay=0.1"),
    "momentum": ("optimizer.name=sgd", "optimizer.nesterov=true"),
    "descent": ("optimizer.name=sgd", "optimizer.momentum=0", "optimizer.clip=none", "schedule.name=constant"),
    "average": ("ema=0.9",),
    "plateau": ("schedule.name=plateau", "schedule.patience=1", "optimizer.learning_rate=0.5"),
    "half": ("precision=bfloat16",),
    "leader": ("optimizer.name=ftrl", "optimizer.l1=1e-5"),
    "free": ("optimizer.name=schedule_free", "schedule.name=constant"),
    "patience": ("patience=1", "optimizer.learning_rate=0.5"),
    "short epochs": ("steps_per_epoch=2", "validation_steps=1", "loss.relative=0", "loss.rmse=1"),
    "long epochs": ("steps_per_epoch=5",),
    "aligned": ("loss.aligned=true", "loss.relative=0", "loss.l1=1", "loss.huber=1"),
}
DEATHS = {"adam": (5, 9), "short epochs": (6,)}  # steps at which the run dies; the others: in the third epoch
STATISTICS = ("--model", "dledi", "--set", "model.filters=3,4", "model.dropout=0.3")  # of the batch; and dropout


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("rule", RULES)
def test_a_run_that_dies_and_resumes_ends_with_the_same_bits(
    rule: str, data: Path, train: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    often = ("log_every=1", "save_every=2")
    command = ("--data", data, *SMALL, "--epochs", 4, "--set", *often, *RULES[rule])
    _dies_and_resumes(train, monkeypatch, *command, deaths=DEATHS.get(rule, (9,)))


@pytest.mark.usefixtures("quick")
def test_running_averages_and_dropout_resume_with_the_same_bits(
    data: Path, train: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    often = ("log_every=1", "save_every=2")
    _dies_and_resumes(train, monkeypatch, "--data", data, *SMALL, "--epochs", 4, *STATISTICS, *often)
    state = load(weights("whole"))
    averages = [name for name in state if name.startswith("rest/") and name.endswith(".variance")]
    assert averages
    assert all(np.all(state[name] != 1) for name in averages)


def _dies_and_resumes(
    train: Command, monkeypatch: pytest.MonkeyPatch, *command: object, deaths: tuple[int, ...] = (9,)
) -> None:
    assert train(*command, "--out", "whole")[0] == 0
    for deadly in deaths:
        with monkeypatch.context() as patch:
            patch.setattr(Watch, "follow", dies_at(deadly, Watch.follow))
            with pytest.raises(RuntimeError, match="killed"):
                train(*command, "--out", "broken")
        assert max(row["step"] for row in lines("broken")) < deadly
    assert train(*command, "--out", "broken")[0] == 0
    assert weights("broken") == weights("whole")
    assert losses("broken") == losses("whole")
    whole, broken = card("whole"), card("broken")
    assert [row["validation/loss"] for row in broken["history"]] == [row["validation/loss"] for row in whole["history"]]


@pytest.mark.usefixtures("quick")
def test_settings_change_the_result(data: Path, train: Command) -> None:
    """Each rule of the table above does something."""
    found = set()
    for number, rule in enumerate(RULES.values()):
        assert train("--data", data, *SMALL, "--out", f"r{number}", "--set", "log_every=1", *rule)[0] == 0
        found.add(weights(f"r{number}"))
    assert len(found) == len(RULES)
    assert train("--data", data, *SMALL, "--out", "s1", "--set", "log_every=1", "--seed", 1)[0] == 0
    assert weights("s1") != weights("r0")


def test_early_stopping_stops_and_stays_so(data: Path, train: Command) -> None:
    still = ("optimizer.name=sgd", "optimizer.learning_rate=1e-12", "optimizer.momentum=0", "patience=2")
    for _ in range(2):
        assert train("--data", data, *SMALL, "--epochs", 60, "--out", "r", "--set", *still)[0] == 0
        assert len(card("r")["history"]) < 60


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("length", [2, 5])
def test_an_epoch_may_be_shorter_or_longer_than_a_pass(length: int, data: Path, train: Command) -> None:
    """Samples come in the same order: after as many steps, the same network as after passes of three steps."""
    steady = ("schedule.name=constant", "schedule.warmup=0", "log_every=1")
    assert train("--data", data, *SMALL, "--epochs", 10, "--out", "whole", "--set", *steady)[0] == 0
    limits = (f"steps_per_epoch={length}", "validation_steps=1")
    assert train("--data", data, *SMALL, "--epochs", 30 // length, "--out", "r", "--set", *steady, *limits)[0] == 0
    learned = [[(row["step"], row["train/loss"]) for row in lines(r) if "train/loss" in row] for r in ("r", "whole")]
    assert learned[0] == learned[1]
    rows = [row for row in lines("r") if "validation/loss" in row]
    assert [row["step"] for row in rows] == list(range(length, 31, length))
    assert [row["epoch"] for row in rows] == list(range(1, 30 // length + 1))


def test_the_first_batches_of_the_validation_samples_may_be_enough(data: Path, train: Command) -> None:
    """Ten samples in batches of 4 are three batches, so a limit of 3 or more changes nothing, and one of 2 does."""
    still = ("optimizer.name=sgd", "optimizer.learning_rate=1e-12", "optimizer.momentum=0")
    found = {}
    for limit in ("none", 9, 2, 1):
        command = ("--data", data, *SMALL, "--batch-size", 4, "--epochs", 1, "--set", *still)
        assert train(*command, f"validation_steps={limit}", "--out", f"r{limit}")[0] == 0
        (found[limit],) = (row["validation/loss"] for row in lines(f"r{limit}") if "validation/loss" in row)
    assert found["none"] == found[9] != found[2] != found[1]


def test_plateau_lowers_the_rate(data: Path, train: Command) -> None:
    rule = ("schedule.name=plateau", "schedule.patience=1", "schedule.factor=0.1", "schedule.warmup=0")
    command = ("--data", data, *SMALL, "--epochs", 6, "--learning-rate", 3, "--out", "r")
    assert train(*command, "--set", "log_every=1", *rule)[0] == 0
    rates = [row["learning_rate"] for row in lines("r") if "learning_rate" in row]
    assert min(rates) < max(rates) / 5


def test_without_validation_the_last_model_is_kept(generate: Command, train: Command) -> None:
    assert generate(*TOY_TASK, "--n", 20, "--validation", 0, "--test", 0, "--out", "bare.zarr")[0] == 0
    for setting in ("patience=3", "schedule.name=plateau"):
        refused(train("--data", "bare.zarr", *SMALL, "--set", setting, "--out", "r"), "no validation samples")
    code, out, _ = train("--data", "bare.zarr", *SMALL, "--out", "r")
    assert code == 0
    assert card("r")["step"] == 6
    assert "train/loss" in lines("r")[-1]
    assert "no validation samples" in out


@pytest.mark.parametrize("mode", ["resident", "stream"])
def test_modes_learn_the_same(data: Path, train: Command, mode: str) -> None:
    assert train("--data", data, *SMALL, "--out", "auto")[0] == 0
    assert train("--data", data, *SMALL, "--out", mode, "--mode", mode)[0] == 0
    assert weights(mode) == weights("auto")


def test_a_rechunked_dataset_teaches_the_same(data: Path, generate: Command, train: Command) -> None:
    again = ("--n", 40, "--validation", 10, "--test", 0, "--out", "again.zarr", "--shard-samples", 7)
    assert generate(*TOY_TASK, *again)[0] == 0
    assert train("--data", data, *SMALL, "--out", "a")[0] == 0
    assert train("--data", "again.zarr", *SMALL, "--out", "b", "--mode", "stream")[0] == 0
    assert weights("a") == weights("b")


@pytest.mark.parametrize("batch", [1, 3, 10, 16, 64])
def test_scores_do_not_depend_on_the_batch_size(data: Path, train: Command, batch: int) -> None:
    from schemas.runtime.settings import make_settings
    from training.contract import find_model
    from training.recipe import recipe_type
    from training.run import prepare

    def scores(size: int) -> dict[str, float]:
        recipe = make_settings(recipe_type("mlp", find_model("mlp")), {}, [f"batch_size={size}", "epochs=1"])
        run = prepare(data, Path(f"r{size}"), recipe)
        mesh = devices.mesh(size)
        machinery = loop._compile(
            run, mesh, model_building.build_network(recipe, run.features), *batch_sources.open_sources(run, mesh)
        )
        state = steps.initial_state(machinery.network, machinery.rule, recipe, mesh)
        assert machinery.validation
        return loop.validate(machinery, state, machinery.validation)

    assert scores(batch) == pytest.approx(scores(7), rel=1e-6)


def test_not_finite_data_stop_the_run_and_are_named(data: Path, train: Command) -> None:
    zarr.open_group(data, mode="r+")["train/blurred"][[7, 23]] = np.nan  # type: ignore[index]
    code, _, err = train("--data", data, *SMALL, "--out", "r", "--set", "log_every=1")
    assert code == 2
    assert err.count("\n") == 1
    assert "samples 7" in err or "samples 23" in err
    assert not list(Path("r", "checkpoints").glob("[0-9]*"))


def test_a_diverging_run_says_so(data: Path, train: Command) -> None:
    command = ("--data", data, *SMALL, "--epochs", 30, "--optimizer", "sgd", "--learning-rate", "1e30", "--out", "r")
    code, _, err = train(*command, "--set", "optimizer.clip=none", "schedule.warmup=0", "loss.mse=1", "loss.relative=0")
    assert code == 2
    assert "learning_rate" in err


BAD: dict[str, tuple[tuple[object, ...], tuple[str, ...]]] = {
    "no data": ((), ("--data is missing",)),
    "no dataset": (("--data", "none.zarr"), ("none.zarr", "no dataset here")),
    "model": (("--model", "unett"), ("unett", "did you mean unet?")),
    "recipe": (("--recipe", "seeed"), ("seeed", "default")),
    "input": (("--input", "pictures"), ("pictures", "line")),
    "scalars": (("--set", "scalars=hight"), ("hight", "height")),
    "setting": (("--set", "model.widht=3"), ("model.widht", "did you mean model.width")),
    "other model's setting": (("--model", "mlp", "--set", "model.width=3"), ("model.width", "no such setting")),
    "value": (("--epochs", "0"), ("epochs", "greater than or equal to 1")),
    "rate": (("--learning-rate", "-1"), ("optimizer.learning_rate", "at least 0")),
    "optimizer": (("--optimizer", "adan"), ("optimizer.name", "did you mean adam?")),
    "option": (("--epoch", "3"), ("--epoch",)),
    "samples": (("--samples", "3:90"), ("samples = 3:90", "B <= 40")),
    "range": (("--samples", "7"), ("samples = 7", "must be A:B")),
    "keep": (("--keep-every", "0"), ("--keep-every", "0: must be a whole number, at least 1")),
    "process": (("--coordinator", "localhost:1"), ("--processes",)),
    "alone": (("--processes", "2", "--process", "1"), ("need --coordinator",)),
    "loss": (("--set", "loss.relative=0"), ("loss", "relative, mse, rmse, l1, huber, cross_entropy")),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_bad_input_gets_one_line_and_leaves_nothing(case: str, data: Path, train: Command) -> None:
    args, parts = BAD[case]
    given = args if case.startswith("no ") else ("--data", data, *args)
    refused(train(*given, "--out", "r"), *parts)
    assert not Path("r").exists()


def test_another_run_in_the_same_folder_is_refused(data: Path, train: Command) -> None:
    assert train("--data", data, *SMALL, "--out", "r")[0] == 0
    before = weights("r")
    refused(train("--data", data, *SMALL, "--epochs", 4, "--out", "r"), "epochs 3, now 4", "--overwrite")
    assert weights("r") == before
    assert train("--data", data, *SMALL, "--epochs", 4, "--out", "r", "--overwrite")[0] == 0
    Path("other").mkdir()
    Path("other", "precious").write_text("")
    refused(train("--data", data, *SMALL, "--out", "other"), "no run")
    refused(train("--data", data, *SMALL, "--out", "other", "--overwrite"), "no run")
    assert Path("other", "precious").exists()


def test_a_dataset_that_lacks_something_is_refused_with_a_list(data: Path, generate: Command, train: Command) -> None:
    assert generate(*TOY_TASK, "--n", 0 + 1, "--validation", 1, "--test", 0, "--out", "one.zarr")[0] == 0
    path = data / "zarr.json"
    content = json.loads(path.read_text())
    task = content["attributes"]["drybeam"]["task"]
    task["fields"] = [field for field in task["fields"] if field["name"] != "blurred"]
    path.write_text(json.dumps(content))
    refused(train("--data", data, *SMALL, "--out", "r"), "cannot be used for training", "field blurred is missing")


def test_describe_prints_every_setting(data: Path, train: Command) -> None:
    code, out, _ = train("--describe", "--model", "unet", "--json")
    rows = json.loads(out)
    assert code == 0
    assert rows["model.width"]["unit"] == "channel"
    assert all(row["about"] and row["unit"] for row in rows.values())


def test_a_setting_is_found_by_its_initials(data: Path, train: Command) -> None:
    refused(train("--data", data, "--set", "lr=1e-3"), "did you mean optimizer.learning_rate?")


def test_describe_lists_what_the_dataset_has(data: Path, train: Command) -> None:
    code, out, _ = train("--describe", "--data", data)
    learn = find_learn("toy")
    assert code == 0
    for name, parts in learn.inputs.items():
        assert f"input {name}: " in out
        fields = fields_read(parts)
        with_fewer = replace(find_task("toy"), fields=tuple(f for f in find_task("toy").fields if f.name not in fields))
        assert not any(line.startswith(f"input {name}: ") for line in _list_choices(with_fewer))
    assert "crop of toy, unless it is set: " in out


def test_where_nothing_was_learned_another_run_may_begin(data: Path, train: Command, infer: Command) -> None:
    assert train("--data", data, *SMALL, "--out", "r")[0] == 0
    for name in ("best", "checkpoints"):
        shutil.rmtree(Path("r", name))
    refused(infer("--model", "r", "--data", data, "--split", "train"), "this run has no model yet")
    assert train("--data", data, *SMALL, "--epochs", 1, "--out", "r")[0] == 0
    assert card("r")["step"] == 3


def test_two_processes_do_not_share_a_run(data: Path, train: Command) -> None:
    assert train("--data", data, *SMALL, "--out", "r")[0] == 0
    with Path(".r.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        refused(train("--data", data, *SMALL, "--out", "r"), "another `train` writes here")


def test_a_model_is_not_written_into_the_run_of_another(
    data: Path, train: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that slept while another took its folder writes no model, also where locks are granted to everybody."""
    refuse = run.refuse_if_changed

    def sleeping(job: run.Run) -> None:
        root = job.out / "run.json"
        root.write_text(root.read_text().replace('"batch_size": ', '"batch_size": 1'))
        refuse(job)

    monkeypatch.setattr("training.loop.refuse_if_changed", sleeping)
    code, _, err = train("--data", data, *SMALL, "--out", "r")
    assert (code, "changed by another `train` meanwhile" in err) == (75, True)
    assert not Path("r/best").exists()


def test_a_model_knows_what_it_was_trained_with(data: Path, generate: Command, train: Command, infer: Command) -> None:
    assert train("--data", data, *SMALL, "--out", "r")[0] == 0
    assert 1 <= card("r")["ranges"]["height"][0][0] < card("r")["ranges"]["height"][0][1] <= 2
    told = infer("--model", "r", "--data", data, "--split", "train", "--out", "p.zarr")[1]
    assert "outside of the training data" not in told
    assert "warning: r was trained with these samples" in told
    assert generate(*TOY_TASK, "--n", 48, "--validation", 12, "--test", 0, "--out", "toy.zarr")[0] == 0
    for split in ("train", "validation"):
        told = infer("--model", "r", "--data", data, "--split", split, "--out", f"{split}.zarr")[1]
        assert "warning: r was" in told, "a larger dataset holds the same samples"
    higher = ("--n", 8, "--validation", 0, "--test", 4, "--set", "height=5:6", "--out", "other.zarr")
    assert generate(*TOY_TASK, *higher)[0] == 0
    code, out, _ = infer("--model", "r", "--data", "other.zarr", "--out", "q.zarr")
    assert code == 0
    assert "100% of the samples lie outside of the training data: height 5" in out


def test_a_damaged_journal_does_not_stop_a_run(data: Path, train: Command) -> None:
    command = ("--data", data, *SMALL, "--set", "log_every=1", "--out", "r")
    assert train(*command)[0] == 0
    path = Path("r", "metrics.jsonl")
    whole = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([whole[0], b"\xff{\n", b"[1]\n", *whole[1:]]))
    assert train(*command)[0] == 0
    assert path.read_bytes() == b"".join(whole)


def test_tensorboard_is_told_the_same_as_by_tensorboardx() -> None:
    board, peer = metrics_log.Board(Path("a")), SummaryWriter("b")
    for step in range(3):
        board.write("train/loss", 0.1 * step, step)
        peer.add_scalar("train/loss", 0.1 * step, step)
    board.close()
    peer.close()
    assert events("a") == events("b")
    assert len(events("a")) == 4


def events(folder: str) -> list[tuple[bytes, str]]:
    """The checksum of each record's length, and what it says but for the time."""
    (path,) = Path(folder).iterdir()
    data, found = path.read_bytes(), []
    while data:
        (length,) = struct.unpack_from("<Q", data)
        event = Event.FromString(data[12 : 12 + length])
        event.wall_time = 0
        found.append((data[8:12], str(event)))
        data = data[16 + length :]
    return found


def test_what_a_kill_left_of_a_folder_is_no_obstacle(data: Path, train: Command) -> None:
    Path("r").mkdir()
    Path("r", f".run.json.host_1_{'ab' * 16}.partial").write_text("")
    assert train("--data", data, *SMALL, "--out", "r")[0] == 0
    Path("r", "run.json").unlink()
    for extra in ((), ("--overwrite",)):  # whose folder it is can no longer be told
        refused(train("--data", data, *SMALL, "--out", "r", *extra), "run.json is missing")


def test_some_samples_are_enough(data: Path, train: Command) -> None:
    assert train("--data", data, *SMALL, "--samples", "5:21", "--out", "r")[0] == 0
    assert card("r")["samples"] == 16
    assert card("r")["step"] == 3
    assert train("--data", data, *SMALL, "--samples", "5:22", "--out", "s")[0] == 0
    assert weights("r") != weights("s")
    refused(train("--data", data, *SMALL, "--out", "r"), "holds another run", 'samples "5:21", now ""')
