"""A command that cannot do its work leaves what is there: damaged data, full disks, kills amid a replacement."""

import errno
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
import zarr

from schemas.runtime import publish
from tests.conftest import TOY_TASK, Command, files, launch, refused
from tests.runs import SMALL

GENERATE = (*TOY_TASK, "--n", 20, "--validation", 6, "--test", 20, "--shard-samples", 8, "--out", "toy.zarr")
TRAIN = ("--data", "toy.zarr", *SMALL, "--epochs", 1, "--out", "run")
INFER = ("--method", "wiener", "--data", "toy.zarr", "--set", "noise=0.1")
TIE = ("import", "--task", "tie", "--set", "defocus=-8000,0,8000", "sampling=2", "--from", "a.npy")
SERIES = np.random.default_rng(0).random((3, 16, 16)).astype(np.float32) + 0.5


@pytest.fixture
def toy(generate: Command) -> Path:
    assert generate(*GENERATE)[0] == 0
    return Path("toy.zarr")


def damage(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-9])


def beside_the_data() -> dict[str, bytes]:
    """All files here but those of the dataset."""
    return {name: data for name, data in files(".").items() if not name.startswith("toy.zarr")}


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("mode", ["resident", "stream"])
@pytest.mark.parametrize("split", ["train", "validation"])
def test_train_keeps_the_old_run_where_it_cannot_read_the_data(
    mode: str, split: str, toy: Path, train: Command
) -> None:
    command = (*TRAIN, "--mode", mode, "--overwrite")
    assert train(*command)[0] == 0
    damage(toy / split / "blurred/c/0/0")
    before = beside_the_data()
    refused(train(*command), f"{split} samples", "cannot be read")
    assert beside_the_data() == before


def test_infer_keeps_the_old_predictions_where_it_cannot_read_the_data(toy: Path, infer: Command) -> None:
    assert infer(*INFER, "--out", "p.zarr")[0] == 0
    damage(toy / "test/blurred/c/0/0")
    before = beside_the_data()
    refused(infer(*INFER, "--out", "p.zarr", "--overwrite"), "blurred: cannot be read")
    assert beside_the_data() == before


def another_recipe(toy: Path) -> None:
    shutil.move("p-train.zarr", "p-validation.zarr")


def strangers(toy: Path) -> None:
    Path("p-validation.zarr").mkdir()
    Path("p-validation.zarr/thesis.txt").write_text("mine")


def damaged(toy: Path) -> None:
    damage(toy / "validation/blurred/c/0/0")


@pytest.mark.parametrize("scene", [another_recipe, strangers, damaged])
def test_several_splits_are_refused_before_the_first_is_inverted(
    scene: Callable[[Path], None], toy: Path, infer: Command
) -> None:
    assert infer(*INFER, "--split", "train", "--out", "p-train.zarr")[0] == 0
    scene(toy)
    before = beside_the_data()
    refused(infer(*INFER, "--split", "test,validation", "--out", "p.zarr"), "validation")
    assert beside_the_data() == before


@pytest.mark.parametrize("name", ["../../esc", "a/b", "/etc/x"])
def test_a_name_is_no_path(name: str, toy: Path, infer: Command, evaluate: Command) -> None:
    rule = "must be printable text without /"
    refused(infer(*INFER, "--name", name), f"--name '{name}'", rule)
    refused(evaluate("--data", toy, "--predictions", f"{name}=p.zarr"), f"--predictions '{name}'", rule)
    assert not list(Path().glob("predictions*"))


def test_the_home_of_nobody_is_refused(generate: Command, train: Command, evaluate: Command) -> None:
    rule = "~nosuchuser/x: the home folder of ~nosuchuser is not known"
    refused(generate(*GENERATE, "--out", "~nosuchuser/x"), rule)
    refused(train("--data", "~nosuchuser/x"), rule)
    refused(evaluate("--data", "toy.zarr", "--predictions", "a=~nosuchuser/x"), rule)


def test_a_folder_that_is_a_link_to_nowhere_is_refused(generate: Command) -> None:
    Path("disk").mkdir()
    Path("link").symlink_to("disk/gone")
    for out in ("link/toy.zarr", "link/a/b/toy.zarr"):
        refused(generate(*GENERATE, "--out", out), f"--out {out}: lies in link, a link to nowhere")
    assert not list(Path("disk").iterdir())
    Path("disk/gone").mkdir()
    assert generate(*GENERATE, "--out", "link/toy.zarr")[0] == 0
    assert Path("disk/gone/toy.zarr/zarr.json").exists()


def fills(after: int, publish: Any) -> Any:
    """A disk that is full after so many objects."""
    left = iter(range(after))

    def published(*args: Any, **options: Any) -> None:
        if next(left, None) is None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        publish(*args, **options)

    return published


def full(result: tuple[int, str, str], place: str, *parts: str) -> None:
    code, _, err = result
    assert code == 75
    assert err.count("\n") == 1
    for part in (f"{place}: No space left on device", "run the same command again", *parts):
        assert part in err


def test_infer_can_be_resumed_after_a_full_disk(toy: Path, infer: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("inference.invert.inversion.publish", fills(1, publish.publish))
        full(infer(*INFER, "--out", "p.zarr"), "p.zarr", "finished shards are kept")
        patch.setattr(publish, "publish", fills(0, publish.publish))
        full(infer(*INFER, "--out", "q.zarr"), "q.zarr", "make room")
    assert "12 made now" in infer(*INFER, "--out", "p.zarr")[1]


@pytest.mark.usefixtures("without_report")
def test_evaluate_can_be_run_again_after_a_full_disk(
    toy: Path, infer: Command, evaluate: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert infer(*INFER, "--out", "p.zarr")[0] == 0
    command = ("--data", toy, "--predictions", "p.zarr", "--out", "report")
    with monkeypatch.context() as patch:
        patch.setattr("inference.report.tables.publish", fills(1, publish.publish))
        full(evaluate(*command), "disk", "make room")
    assert evaluate(*command)[0] == 0


@pytest.mark.usefixtures("quick")
def test_train_can_be_resumed_after_a_full_disk(toy: Path, train: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("training.metrics_log.publish", fills(1, publish.publish))
        full(train(*TRAIN), "run", "checkpoints are kept")
        patch.setattr("training.run.publish", fills(0, publish.publish))
        full(train(*TRAIN, "--overwrite"), "run", "make room")
    assert train(*TRAIN)[0] == 0


def test_a_split_of_another_format_is_one_line(toy: Path, dataset: Command, infer: Command) -> None:
    shutil.rmtree(toy / "test")
    zarr.create_array(toy / "test/line", data=np.zeros((20, 33), np.float32), zarr_format=2)
    zarr.open_group(toy / "test", zarr_format=2)
    code, out, err = dataset("validate", toy)
    assert (code, err) == (1, "")
    assert "test: the group cannot be read" in out
    assert dataset("verify", toy)[0] == 1
    refused(infer(*INFER), "cannot be read")


def test_what_cannot_be_removed_is_said(toy: Path, generate: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    def in_use(path: Path, *, onexc: Callable[..., object]) -> None:
        onexc(os.rmdir, path, PermissionError(errno.EACCES, os.strerror(errno.EACCES)))

    monkeypatch.setattr("schemas.runtime.publish.shutil.rmtree", in_use)
    code, _, err = generate(*GENERATE, "--overwrite")
    assert code == 0
    assert err.count("\n") == 1
    (left,) = Path().glob("toy.zarr.removed-*")
    assert err.endswith(f"{left.name}: cannot be removed (Permission denied); remove it yourself\n")


def test_a_dataset_that_the_recipe_reads_is_not_replaced(generate: Command) -> None:
    command = ("--task", "stem4d", "--n", 3, "--validation", 0, "--test", 0, "--scheduler", "synchronous")
    assert generate(*command, "--out", "s.zarr")[0] == 0
    Path("link").symlink_to("s.zarr")
    before = files(".")
    for store in ("s.zarr", "link"):
        pictures = (f"pictures.path={store}/train/phase", "pictures.levels=image", "pictures.shared=true")
        refused(generate(*command, "--out", "s.zarr", "--overwrite", "--set", *pictures), "which this recipe reads")
    assert files(".") == before


KILLED = """
import os, sys
from pathlib import Path
from schemas.runtime import publish
from schemas.cli import main

rename, left = Path.rename, int(sys.argv.pop(1))
def dies(path, to):
    global left
    if "measured.zarr" in str(path):
        left -= 1
        if left < 0:
            os._exit(9)
    return rename(path, to)
Path.rename = dies
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.parametrize("renames", range(3))
def test_an_import_that_is_killed_while_it_replaces_another_loses_nothing(renames: int, dataset: Command) -> None:
    """The first command of the same kind puts the old one back or ends what was begun."""
    np.save("a.npy", SERIES)
    np.save("b.npy", SERIES + 1)
    assert dataset(*TIE, "--set", "voltage=300e3")[0] == 0
    before = files("measured.zarr")
    again = (*TIE, "--set", "voltage=200e3", "--overwrite")
    assert killed(renames, *again) == 9
    refused(
        dataset(*TIE[:-1], "b.npy", "--set", "voltage=300e3", "--overwrite"), "holds a measurement from other files"
    )
    assert len(files("measured.zarr")) == len(before)
    assert dataset(*again)[0] == 0
    assert float(xr.open_zarr("measured.zarr/test").voltage[0]) == 200e3
    assert sorted(path.name for path in Path().iterdir()) == ["a.npy", "b.npy", "measured.zarr"]


def killed(renames: int, *command: object) -> int:
    process = launch([sys.executable, "-c", KILLED, str(renames), *map(str, command)])
    process.communicate()
    return process.returncode


def test_an_import_that_cannot_take_its_place_leaves_the_old_one(
    dataset: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    np.save("a.npy", SERIES)
    assert dataset(*TIE, "--set", "voltage=300e3")[0] == 0
    before, rename = files("measured.zarr"), Path.rename

    def fails(path: Path, to: Path) -> Path:
        if path.name.endswith(".partial"):
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return rename(path, to)

    monkeypatch.setattr(Path, "rename", fails)
    refused(dataset(*TIE, "--set", "voltage=200e3", "--overwrite"), "Input/output error")
    assert files("measured.zarr") == before
    assert sorted(path.name for path in Path().iterdir()) == ["a.npy", "measured.zarr"]


def test_what_dead_writers_left_beside_imports_and_pictures_is_removed(toy: Path, dataset: Command) -> None:
    """Those of other machines after an hour without a write; never those of a process that runs, nor other files."""
    np.save("a.npy", SERIES)
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    here = f"{publish.machine()}_{ended.pid}_{'0' * 32}.partial"
    left = [Path(f".{name}.{here}") for name in ("measured.zarr", "toy.png")]
    elsewhere = Path(f".measured.zarr.elsewhere_1_{'1' * 32}.partial")
    kept = [
        Path(f".toy.png.{publish.machine()}_{os.getpid()}_{'0' * 32}.partial"),
        Path(f".measured.zarr.elsewhere_1_{'2' * 32}.partial"),
        Path(".measured.zarr.notes.partial"),
    ]
    for path in (*left, elsewhere, *kept):
        path.mkdir() if "measured" in path.name else path.touch()
        (path / "x").touch() if path.is_dir() else None
    for path in (elsewhere, elsewhere / "x", kept[1]):
        os.utime(path, (0, 0))
    for _ in range(2):  # the second finds it there already
        assert dataset(*TIE, "--set", "voltage=300e3")[0] == 0
        assert dataset("preview", "toy.zarr", "--samples", 1)[0] == 0
        assert not [path for path in (*left, elsewhere) if path.exists()]
        assert all(path.exists() for path in kept)
        left[0].mkdir()
        left[1].touch()
