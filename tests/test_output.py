"""Where commands write: what others wrote is not lost, refusals create nothing, and nothing is left behind.

Each refusal is tried with `--overwrite`, and the whole working folder is compared before and after.
"""

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import zarr

from generators.engine import store_creation
from schemas.runtime import publish
from schemas.runtime.locks import locked
from schemas.runtime.publish import publish_folder

from .conftest import TOY_TASK, Command, digest, files, refused

GENERATE = (*TOY_TASK, "--n", 20, "--shard-samples", 8, "--out", "toy.zarr")
TIE = ("--set", "defocus=-8000,0,8000", "voltage=300e3", "sampling=2")
SERIES = np.random.default_rng(0).random((3, 16, 16)).astype(np.float32) + 0.5


def zarr_2() -> None:
    """A store of another program in the place of a dataset whose receipts stayed."""
    shutil.rmtree("toy.zarr")
    zarr.create_array("toy.zarr/train/line", data=np.arange(40.0), zarr_format=2)
    zarr.open_group("toy.zarr", zarr_format=2)


def zarr_3() -> None:
    shutil.rmtree("toy.zarr")
    zarr.open_group("toy.zarr").create_array("train/line", data=np.arange(40.0))


def zarr_3_whose_root_was_deleted() -> None:
    """The advice for a damaged root must not cost a stranger's store."""
    zarr_3()
    Path("toy.zarr/zarr.json").unlink()


def loose_files() -> None:
    shutil.rmtree("toy.zarr")
    Path("toy.zarr").mkdir()
    Path("toy.zarr/thesis.txt").write_text("mine")


def added_file() -> None:
    Path("toy.zarr/train/thesis.txt").write_text("mine")


def added_array() -> None:
    zarr.create_array("toy.zarr/train/labels", data=np.arange(40.0))


def linked_file() -> None:
    Path("thesis.txt").write_text("mine")
    Path("toy.zarr/thesis.txt").symlink_to(Path("thesis.txt").absolute())


def added_to_the_run() -> None:
    Path("toy.zarr.run/thesis.txt").write_text("mine")


def file() -> None:
    shutil.rmtree("toy.zarr")
    Path("toy.zarr").write_text("mine")


FOREIGN: dict[Callable[[], None], str] = {
    zarr_2: "which `generate` did not write",
    zarr_3: "no dataset here",
    zarr_3_whose_root_was_deleted: "is of another dataset, whose root is lost",
    loose_files: "holds thesis.txt, which `generate` did not write",
    added_file: "holds train/thesis.txt, which `generate` did not write",
    added_array: "holds train/labels/c/0, which `generate` did not write",
    linked_file: "holds thesis.txt, which `generate` did not write",
    added_to_the_run: "thesis.txt is not a receipt",
    file: "is a file",
}


@pytest.mark.parametrize("scene", FOREIGN, ids=lambda scene: scene.__name__)
def test_overwrite_never_costs_what_generate_did_not_write(scene: Callable[[], None], generate: Command) -> None:
    generate(*GENERATE)
    scene()
    before = files(".")
    refused(generate(*GENERATE, "--overwrite"), "toy.zarr", FOREIGN[scene])
    assert files(".") == before


def test_a_measurement_is_not_overwritten_by_generate(generate: Command, dataset: Command) -> None:
    np.save("a.npy", SERIES)
    dataset("import", "--task", "tie", "--from", "a.npy", *TIE, "--out", "toy.zarr")
    before = files(".")
    for extra in ((), ("--overwrite",)):
        refused(generate(*GENERATE, *extra), "holds measurements, which cannot be made again")
    assert files(".") == before


def test_a_measurement_is_replaced_only_by_the_same_files(dataset: Command) -> None:
    np.save("a.npy", SERIES)
    np.save("b.npy", SERIES + 1)
    command = ("import", "--task", "tie", *TIE, "--overwrite", "--from")
    assert dataset(*command, "a.npy")[0] == 0
    before = files(".")
    refused(dataset(*command, "b.npy"), "holds a measurement from other files")
    assert files(".") == before
    assert dataset(*command, "a.npy", "--set", "voltage=200e3")[0] == 0
    zarr.create_array("measured.zarr/labels", data=np.arange(3))
    before = files(".")
    refused(dataset(*command, "a.npy"), "holds labels/c/0, which `dataset import` did not write")
    assert files(".") == before


def test_predictions_are_overwritten_only_if_they_hold_nothing_else(generate: Command, infer: Command) -> None:
    generate(*GENERATE)
    command = ("--method", "identity", "--data", "toy.zarr", "--out", "p.zarr", "--overwrite")
    assert infer(*command)[0] == 0
    assert infer(*command)[0] == 0
    Path("p.zarr/notes.txt").write_text("mine")
    before = files(".")
    refused(infer(*command), "holds notes.txt, which `infer` did not write")
    refused(infer(*command, "--out", "toy.zarr"), "no predictions here")
    assert files(".") == before


def test_a_run_is_overwritten_only_if_it_holds_nothing_else(generate: Command, train: Command) -> None:
    generate(*GENERATE)
    command = ("--data", "toy.zarr", "--out", "run", "--model", "mlp", "--epochs", 1, "--overwrite")
    assert train(*command)[0] == 0
    Path("run/notes.txt").write_text("mine")
    before = files(".")
    refused(train(*command), "holds notes.txt, which `train` did not write")
    assert files(".") == before
    Path("run/notes.txt").unlink()
    assert train(*command)[0] == 0
    assert not list(Path().glob(".*"))


def test_nothing_is_written_into_a_store(
    generate: Command, dataset: Command, infer: Command, evaluate: Command, train: Command
) -> None:
    generate(*GENERATE)
    infer("--method", "identity", "--data", "toy.zarr", "--out", "p.zarr")
    zarr.open_group("old.zarr", zarr_format=2)
    np.save("a.npy", SERIES)
    Path("link").symlink_to("toy.zarr")
    before = files(".")
    for inside in ("toy.zarr/train", "toy.zarr/x/y", "p.zarr/x", "old.zarr/x", "link/x"):
        rule = f"--out {inside}: lies inside the store"
        refused(generate(*GENERATE, "--out", inside), rule)
        refused(dataset("import", "--task", "tie", "--from", "a.npy", *TIE, "--out", inside), rule)
        refused(dataset("export", "toy.zarr", "--format", "npy", "--out", inside), rule)
        refused(dataset("preview", "toy.zarr", "--out", f"{inside}.png"), "lies inside the store")
        refused(infer("--method", "identity", "--data", "toy.zarr", "--out", inside), rule)
        refused(evaluate("--data", "toy.zarr", "--predictions", "p.zarr", "--out", inside), rule)
        refused(train("--data", "toy.zarr", "--model", "mlp", "--out", inside), rule)
    for store in ("toy.zarr", "p.zarr", "old.zarr", "link"):
        refused(evaluate("--data", "toy.zarr", "--predictions", "p.zarr", "--out", store), "is a Zarr store")
        refused(train("--data", "toy.zarr", "--model", "mlp", "--out", store), "is a Zarr store")
        refused(dataset("export", "toy.zarr", "--format", "npy", "--out", store), "is a Zarr store")
    assert files(".") == before


def test_a_link_is_followed_and_not_replaced(generate: Command) -> None:
    generate(*GENERATE)
    Path("disk").mkdir()
    Path("disk/there").mkdir()
    Path("link.zarr").symlink_to("disk/there")
    for extra in ((), ("--overwrite",), ("--n", 30)):
        assert generate(*GENERATE, "--out", "link.zarr", *extra)[0] == 0
        assert Path("link.zarr").is_symlink()
    assert sorted(path.name for path in Path().glob("*")) == ["disk", "link.zarr", "toy.zarr", "toy.zarr.run"]
    assert sorted(path.name for path in Path("disk").glob("*")) == ["there", "there.run"]
    Path("nowhere").symlink_to("gone/x")
    refused(generate(*GENERATE, "--out", "nowhere"), "is a link to nowhere")
    for root in ("/", "/tmp/.."):
        refused(generate(*GENERATE, "--out", root), "is the root of the file system")


ADDRESSES = ("s3://bucket/x.zarr", "gs://bucket/x.zarr", "https://example.org/x.zarr", "file:///tmp/x.zarr")


@pytest.mark.parametrize("address", ADDRESSES)
def test_addresses_are_refused(
    address: str, generate: Command, dataset: Command, infer: Command, evaluate: Command, train: Command
) -> None:
    rule = f"{address}: addresses are not supported; give a path on this machine"
    refused(generate(*GENERATE, "--out", address), rule)
    refused(generate("--from", address, "--out", "x.zarr"), rule)
    refused(dataset("info", address), rule)
    refused(dataset("import", "--task", "tie", "--from", "a.npy", "--out", address), rule)
    refused(dataset("export", "toy.zarr", "--format", "npy", "--out", address), rule)
    refused(infer("--method", "identity", "--data", address), rule)
    refused(infer("--method", "identity", "--data", "toy.zarr", "--out", address), rule)
    refused(evaluate("--data", "toy.zarr", "--predictions", f"name={address}"), rule)
    refused(evaluate("--data", "toy.zarr", "--predictions", address), rule)
    refused(train("--data", address), rule)
    refused(train("--data", "toy.zarr", "--out", address), rule)
    assert not list(Path().iterdir())


def test_home_is_meant_by_a_tilde(generate: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert generate(*GENERATE, "--out", "~/toy.zarr")[0] == 0
    assert [path.name for path in tmp_path.iterdir()] == ["home"]
    assert digest("home/toy.zarr")


def test_nothing_is_left_behind(generate: Command, infer: Command, evaluate: Command, dataset: Command) -> None:
    """Kills at their worst moments leave partial objects, locks and half removed stores: the same command tidies up."""
    commands: tuple[Callable[[], tuple[int, str, str]], ...] = (
        lambda: generate(*GENERATE),
        lambda: infer("--method", "identity", "--data", "toy.zarr", "--out", "p.zarr"),
        lambda: evaluate("--data", "toy.zarr", "--predictions", "p.zarr", "--out", "report"),
        lambda: dataset("export", "toy.zarr", "--format", "npy", "--out", "files"),
    )
    for command in commands:
        command()
    expected = files(".").keys()
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    dead = f"{publish.machine()}_{ended.pid}"
    for name in (
        "toy.zarr/train/line/c/0",
        "toy.zarr.run",
        "toy.zarr.run/receipts",
        "p.zarr/line/c",
        "report",
        "files",
    ):
        Path(name, f".x.{dead}_{'0' * 32}.partial").write_bytes(b"half")
    Path(".toy.zarr.lock").touch()
    for name in ("toy.zarr", "p.zarr"):
        shutil.copytree(name, f"{name}.removed-{'0' * 32}")
    Path("toy.zarr.removed-by-me").mkdir()
    for command in commands:
        code, _, err = command()
        assert code == 0, err
    assert files(".").keys() == expected
    assert Path("toy.zarr.removed-by-me").exists()


def test_a_lock_is_held_by_one_and_leaves_no_file(tmp_path: Path) -> None:
    path = tmp_path / "x.lock"
    with locked(path):
        with pytest.raises(BlockingIOError), locked(path, patience=0):
            pass
        assert path.exists()
    assert not path.exists()


def test_a_place_is_changed_by_whoever_holds_its_lock(
    generate: Command, dataset: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of two that come at once, the second sees what the first has written."""
    held = []

    def noting(lock: str, work: Callable[..., object]) -> Callable[..., object]:
        def noted(*args: object, **options: object) -> object:
            try:
                with locked(Path(lock), patience=0):
                    held.append(False)
            except BlockingIOError:
                held.append(True)
            return work(*args, **options)

        return noted

    monkeypatch.setattr(store_creation, "_publish", noting(".toy.zarr.lock", store_creation._publish))
    monkeypatch.setattr("schemas.exchange.importing.publish_folder", noting(".measured.zarr.lock", publish_folder))
    assert generate(*GENERATE)[0] == 0
    np.save("a.npy", SERIES)
    assert dataset("import", "--task", "tie", "--from", "a.npy", *TIE)[0] == 0
    assert held == [True, True]


WAITS = """
import sys
from pathlib import Path
from generators.engine import store_creation
from schemas.runtime.locks import locked
from schemas.runtime.publish import publish_folder
for _ in range(200):
    with locked(Path("x.lock")):
        count = int(Path("count").read_text())
        Path("count").write_text(str(count + 1))
"""


def test_a_lock_that_vanishes_with_its_holder_is_still_one_lock() -> None:
    Path("count").write_text("0")
    processes = [subprocess.Popen([sys.executable, "-c", WAITS], cwd=Path.cwd()) for _ in range(3)]
    assert [process.wait() for process in processes] == [0, 0, 0]
    assert Path("count").read_text() == "600"
    assert not Path("x.lock").exists()


FOREIGN_RUNS = {
    "tensorboard/exp1/events.out": "is not empty, and no run",
    "metrics.csv": "is not empty, and no run",
    "run.json": "is not empty, and no run",
    "best/weights.pt": "is not empty, and no run",
}


@pytest.mark.parametrize("name", FOREIGN_RUNS)
@pytest.mark.parametrize("extra", [(), ("--overwrite",)])
def test_a_folder_of_another_program_is_no_run(
    name: str, extra: tuple[str, ...], generate: Command, train: Command
) -> None:
    generate(*GENERATE)
    Path("run", name).parent.mkdir(parents=True)
    Path("run", name).write_text('{"my": "config"}')
    before = files(".")
    refused(train("--data", "toy.zarr", "--out", "run", "--model", "mlp", "--epochs", 1, *extra), FOREIGN_RUNS[name])
    assert files(".") == before


@pytest.mark.parametrize("name", ["best/notes.txt", "checkpoints/notes.txt", "tensorboard/notes.txt"])
def test_files_put_into_a_run_are_not_lost(name: str, generate: Command, train: Command) -> None:
    generate(*GENERATE)
    command = ("--data", "toy.zarr", "--out", "run", "--model", "mlp", "--epochs", 1)
    assert train(*command)[0] == 0
    Path("run", name).write_text("mine")
    before = files(".")
    for extra in ((), ("--overwrite",)):
        refused(train(*command, *extra), f"holds {name}, which `train` did not write")
    assert files(".") == before


def test_a_measurement_without_its_root_is_not_taken_for_a_dataset(generate: Command, dataset: Command) -> None:
    """Its arrays are described as those of a simulation."""
    np.save("a.npy", SERIES)
    for run in (False, True):
        dataset("import", "--task", "tie", "--from", "a.npy", *TIE, "--out", "m.zarr")
        Path("m.zarr/zarr.json").unlink()
        Path("m.zarr.run/receipts").mkdir(parents=True) if run else None
        before = files(".")
        command = ("--task", "tie", "--n", 0, "--test", 1, "--set", "image_size=16", "--scheduler", "synchronous")
        for extra in ((), ("--overwrite",)):
            refused(generate(*command, "--validation", 0, "--out", "m.zarr", *extra), "whose root is lost")
        assert files(".") == before
        shutil.rmtree("m.zarr")


def test_receipts_are_ours_and_no_link(generate: Command) -> None:
    generate(*GENERATE)
    Path("toy.zarr.run/receipts/invoice-2026.json").write_text("mine")
    refused(generate(*GENERATE, "--overwrite"), "invoice-2026.json is not a receipt")
    Path("toy.zarr.run/receipts/invoice-2026.json").unlink()
    shutil.move("toy.zarr.run/receipts", "docs")
    Path("toy.zarr.run/receipts").symlink_to(Path("docs").absolute())
    before = files(".")
    refused(generate(*GENERATE, "--overwrite"), "receipts is not a receipt")
    assert files(".") == before


def test_pictures_do_not_replace_other_files(generate: Command, dataset: Command) -> None:
    generate(*GENERATE)
    Path("raw.tif").write_text("mine")
    Path("raw.png").write_text("mine")
    before = files(".")
    refused(dataset("preview", "toy.zarr", "--out", "raw.tif"), "must end in .png")
    refused(dataset("preview", "toy.zarr", "--out", "raw.png"), "already exists and is not a PNG file")
    assert files(".") == before
    assert dataset("preview", "toy.zarr", "--out", "new.png")[0] == 0
    assert dataset("preview", "toy.zarr", "--out", "new.png")[0] == 0


def test_two_inferences_do_not_share_a_place(generate: Command, infer: Command) -> None:
    generate(*GENERATE)
    with locked(Path(".p.zarr.lock")):
        refused(infer("--method", "identity", "--data", "toy.zarr", "--out", "p.zarr"), "another `infer` writes here")
    assert infer("--method", "identity", "--data", "toy.zarr", "--out", "p.zarr")[0] == 0
    assert not Path(".p.zarr.lock").exists()


def test_a_lock_of_others_stays(tmp_path: Path) -> None:
    path = tmp_path / "x.lock"
    path.write_text("important")
    with locked(path):
        pass
    assert path.read_text() == "important"
    path.unlink()
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="symbolic link"), locked(path):
        pass
    assert not (tmp_path / "elsewhere").exists()
