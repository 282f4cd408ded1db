"""What befalls a dataset: damage, strangers, other clients' leftovers; found by `verify`, healed by `generate`."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import zarr

from generators.engine import receipts
from generators.engine.plan import Job
from schemas import layout
from schemas.runtime import publish

from .conftest import TOY_TASK, Command, files, refused, scaled

UNIQUE = "0123456789abcdef" * 2  # in the name of a partial object


def damage_flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def damage_truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-3])


def damage_remove(path: Path) -> None:
    path.unlink()


def damage_swap(path: Path) -> None:
    """Another shard's object: a good checksum in the wrong place."""
    shutil.copy(path.parent.parent / "1" / path.name, path)


OBJECTS = ["train/blurred/c/0/0", "train/line/c/1/0", "test/blurred/c/0/0", "train/height/c/0", "train/position/c/0"]


@pytest.mark.parametrize("damage", [damage_flip, damage_truncate, damage_remove])
@pytest.mark.parametrize("key", [*OBJECTS, "train/leaf_digest/c/0/0"])
def test_damage_is_found_and_healed(generate: Command, dataset: Command, key: str, damage: object) -> None:
    command = (*TOY_TASK, "--n", 40, "--shard-samples", 16)
    generate(*command)
    before = files("toy.zarr")
    damage(Path("toy.zarr") / key)  # type: ignore[operator]
    code, out, err = dataset("verify", "toy.zarr")
    assert (code, err) == (1, "")
    assert key.split("/")[0] in out
    code, out, err = generate(*command)
    assert (code, err) == (0, "")
    assert files("toy.zarr") == before
    assert dataset("verify", "toy.zarr")[0] == 0


@pytest.mark.parametrize(
    ("lost", "what"), [("toy.zarr.run", "every sample"), ("nothing", "repairs the damaged shards")]
)
def test_the_remedies_that_are_named_heal(generate: Command, dataset: Command, lost: str, what: str) -> None:
    generate(*TOY_TASK, "--n", 40, "--shard-samples", 16)
    before = files("toy.zarr")
    shutil.rmtree(lost, ignore_errors=True)
    damage_truncate(Path("toy.zarr/train/blurred/c/0/0"))
    for verb in ("validate", "verify"):
        _, out, _ = dataset(verb, "toy.zarr")
        assert what in out.splitlines()[-1]
        assert "generate --from toy.zarr --out ..." in out.splitlines()[-1]
    generate("--from", "toy.zarr", "--out", "new.zarr", "--scheduler", "synchronous", "--shard-samples", 16)
    assert files("new.zarr") == before
    generate(*TOY_TASK, "--n", 40)
    assert files("toy.zarr") == before


def test_swapped_units_are_found(generate: Command, dataset: Command) -> None:
    generate(*TOY_TASK, "--n", 40, "--shard-samples", 16)
    damage_swap(Path("toy.zarr/train/blurred/c/0/0"))
    code, out, _ = dataset("verify", "toy.zarr")
    assert code == 1
    assert "train samples 0:16: 16 samples differ from their digest, the first is 0" in out


@pytest.mark.parametrize("key", ["train/zarr.json", "train/blurred/zarr.json", "test/height/zarr.json"])
@pytest.mark.parametrize("content", [None, b"", b"{"])
def test_half_written_metadata_below_the_root_are_healed(
    generate: Command, dataset: Command, key: str, content: bytes | None
) -> None:
    command = (*TOY_TASK, "--n", 40)
    generate(*command)
    before = files("toy.zarr")
    path = Path("toy.zarr") / key
    path.unlink() if content is None else path.write_bytes(content)
    assert dataset("validate", "toy.zarr")[0] == 1
    assert dataset("verify", "toy.zarr")[0] == 1
    assert generate(*command)[0] == 0
    assert files("toy.zarr") == before


def test_a_lost_root_is_made_again_from_the_receipts(generate: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    command = (*TOY_TASK, "--n", 40)
    generate(*command)
    before = files("toy.zarr")
    root = Path("toy.zarr/zarr.json")
    root.write_bytes(b"{")
    code, _, err = generate(*command)
    assert code == 2
    assert "delete this file" in err
    assert root.read_bytes() == b"{"
    root.unlink()
    monkeypatch.setattr(
        layout, "MAX_SHARD_SECONDS", layout.MAX_SHARD_SECONDS / 1000
    )  # a machine so slow that it would cut otherwise
    code, _, err = generate(*command, "--shard-samples", 1)
    assert code == 2
    assert "omit it" in err
    code, out, _ = generate(*command)
    assert "0 made now" in out
    assert files("toy.zarr") == before


def test_damaged_receipts_cost_their_unit_only(generate: Command) -> None:
    command = (*TOY_TASK, "--n", 40, "--shard-samples", 16)
    generate(*command)
    before = files("toy.zarr")
    receipts = sorted(Path("toy.zarr.run/receipts").glob("samples-train-*"))
    receipts[0].write_text("{")
    receipts[1].write_bytes(receipts[2].read_bytes())
    _, out, _ = generate(*command)
    assert "32 made now" in out
    assert files("toy.zarr") == before


def test_leftovers_of_killed_writers_are_swept(generate: Command) -> None:
    generate(*TOY_TASK, "--n", 4)
    left = Path(f"toy.zarr/train/line/c/0/.0.elsewhere_1_{UNIQUE}.partial")
    left.write_text("half")
    generate(*TOY_TASK, "--n", 4)
    assert left.exists()  # perhaps another machine is writing it
    os.utime(left, (0, 0))
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    dead = left.with_name(f".0.{publish.machine()}_{ended.pid}_{UNIQUE}.partial")
    mine = left.with_name(f".0.{publish.machine()}_{os.getpid()}_{UNIQUE}.partial")
    dead.write_text("half")
    mine.write_text("half")
    generate(*TOY_TASK, "--n", 4)
    assert not left.exists()
    assert not dead.exists()
    assert mine.exists()


def test_a_receipt_is_believed_only_if_it_is_whole_and_unchanged(generate: Command, dataset: Command) -> None:
    """A digit of a digest, a missing object, leaves cut short: each costs its shard, and nothing else."""
    command = (*TOY_TASK, "--n", 40, "--shard-samples", 16)
    generate(*command)
    before = files("toy.zarr")
    receipts = sorted(Path("toy.zarr.run/receipts").glob("samples-train-*"))
    for number, receipt in enumerate(receipts):
        content = json.loads(receipt.read_bytes().partition(b"\n")[2])
        if number == 0:
            content["leaves"] = "0" + content["leaves"][1:]
        elif number == 1:
            content["objects"] = {}
        else:
            content["leaves"] = content["leaves"][:-64]
        receipt.write_bytes(receipt.read_bytes().partition(b"\n")[0] + b"\n" + json.dumps(content).encode())
    code, out, _ = generate(*command)
    assert code == 0
    assert "40 made now" in out
    assert files("toy.zarr") == before
    assert dataset("verify", "toy.zarr")[0] == 0


def test_a_receipt_is_written_when_all_that_it_names_is_there(
    generate: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved, save = [], receipts.save

    def noted(job: Job, receipt: receipts.Receipt) -> None:
        saved.append(receipts.holds(job, receipt))
        save(job, receipt)

    monkeypatch.setattr(receipts, "save", noted)
    assert generate(*TOY_TASK, "--n", 8)[0] == 0
    assert saved
    assert all(saved)


def test_constants_of_every_split_are_verified(generate: Command, dataset: Command) -> None:
    generate(*TOY_TASK, "--n", 40)
    zarr.open_array("toy.zarr/test/position", mode="r+")[...] = np.arange(33.0)[::-1]
    code, out, _ = dataset("verify", "toy.zarr")
    assert code == 1
    assert "constants of test" in out
    zarr.open_array("toy.zarr/test/position", mode="r+")[...] = np.nan
    assert dataset("validate", "toy.zarr")[0] == 1


def test_what_xarray_reads_is_verified(generate: Command, dataset: Command) -> None:
    """The copies of the metadata in the groups."""
    generate(*TOY_TASK, "--n", 40)
    path = Path("toy.zarr/train/zarr.json")
    path.write_text(path.read_text().replace('"units": "1"', '"units": "2"'))
    for verb in ("validate", "verify"):
        code, out, _ = dataset(verb, "toy.zarr")
        assert code == 1
        assert "consolidated metadata" in out


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"train": 40', '"train": 1000000000000000000'),
        ('"train": 40', '"train": -5'),
        ('"train": 40', '"../../etc": 40'),
        ('"x": 33', '"x": -1'),
        ('"seed": 0', '"seed": -3'),
        ('"seed": 0', '"seed": null'),
        ('"size": 33', '"size": 1000000000000'),
        ('"about": "the measured line"', '"about": "\\u001b[31m"'),
        ('"name": "line"', '"name": "../line"'),
    ],
)
def test_metadata_of_strangers_are_data(generate: Command, dataset: Command, old: str, new: str) -> None:
    """Whatever stands in them: no traceback, no endless loop, nothing but plain text on the terminal."""
    generate(*TOY_TASK, "--n", 40)
    root = Path("toy.zarr/zarr.json")
    assert old in root.read_text()
    root.write_text(root.read_text().replace(old, new))
    commands = [("info",), ("validate",), ("verify",), ("preview",), ("verify", "--recompute", "50%")]
    for verb, *rest in commands:
        code, out, err = dataset(verb, "toy.zarr", *rest)
        assert code in (0, 1, 2)
        assert err.count("\n") <= 1
        assert "\x1b" not in out + err
    code, _, err = generate("--from", "toy.zarr", "--out", "b.zarr", "--plan")
    assert code in (0, 2)
    assert err.count("\n") <= 1


def test_overwrite_removes_what_is_ours_alone(generate: Command) -> None:
    Path("toy.zarr.run").mkdir()
    Path("toy.zarr.run/thesis.txt").write_text("mine")
    refused(generate(*TOY_TASK, "--n", 4, "--overwrite"), "thesis.txt is not a receipt")
    assert Path("toy.zarr.run/thesis.txt").read_text() == "mine"
    generate(*TOY_TASK, "--n", 40, "--out", "b.zarr", "--set", "expectation=true")
    small = (*TOY_TASK, "--n", 4, "--shard-samples", 4)  # else the layout follows from the speed of the moment
    generate(*small, "--out", "b.zarr", "--overwrite")
    generate(*small, "--out", "c.zarr")
    assert files("b.zarr") == files("c.zarr")
    refused(generate("--from", "b.zarr", "--out", "x/../b.zarr", "--overwrite"), "needs a place of its own")
    refused(generate("--from", "b.zarr", "--out", "b.zarr/inner.zarr"), "needs a place of its own")


def test_a_kill_in_the_first_object_can_be_resumed(generate: Command) -> None:
    Path("toy.zarr").mkdir()
    Path(f"toy.zarr/.zarr.json.elsewhere_1_{UNIQUE}.partial").write_text("{")
    assert generate(*TOY_TASK, "--n", 4)[0] == 0


def test_a_dataset_without_its_receipts_is_extended_only_with_the_same_bits(
    generate: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    generate(*TOY_TASK, "--n", 40)
    shutil.rmtree("toy.zarr.run")
    assert generate(*TOY_TASK, "--n", 50)[0] == 0
    shutil.rmtree("toy.zarr.run")
    scaled(monkeypatch, 1.0000002)
    refused(generate(*TOY_TASK, "--n", 60), "this installation produces different bits for its samples")
