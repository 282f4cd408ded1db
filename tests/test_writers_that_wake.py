"""Writers that are stopped between their check and their write, and wake up when others have gone on.

`python -m tests.chaos` stops and kills real processes.
"""

import fcntl
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from generators.engine import shards
from inference.report import document, tables
from schemas.exchange import importing
from schemas.runtime import locks, publish
from schemas.runtime.hashes import sha256

from .conftest import TOY_TASK, Command, files, refused, values

SHARD = ("--shard-samples", 4, "--scheduler", "synchronous")


@pytest.fixture
def surroundings(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """File systems with and without locks: what is added there must be harmless by itself."""

    def refuse(*_: object) -> None:
        raise OSError(37, "No locks available")

    if request.param == "no locks":
        monkeypatch.setattr(fcntl, "flock", refuse)
    monkeypatch.setattr(locks, "LOCK_TIMEOUT", 0.01)
    return str(request.param)


@pytest.fixture
def asleep(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Callable[[], object], int], None]]:
    """Let something happen once, after an object was made and before it is created."""
    create = publish.create
    events: list[tuple[Callable[[], object], int]] = []
    turns = iter(range(10**6))

    def sleeping(path: Path, data: bytes) -> bool:
        if events and next(turns) == events[0][1]:
            events.pop()[0]()
        return create(path, data)

    monkeypatch.setattr(shards, "create", sleeping)
    yield lambda event, turn: events.append((event, turn))
    assert not events


def check(generate: Command, dataset: Command, *arguments: object) -> None:
    """The dataset is whole and the same as an undisturbed one; nothing else is left behind."""
    for name in ("toy.zarr", "undisturbed.zarr"):
        code, _, err = generate(*TOY_TASK, *arguments, *SHARD, "--out", name)
        assert code == 0, err
    assert dataset("verify", "toy.zarr")[0] == 0
    assert values("toy.zarr") == values("undisturbed.zarr")
    assert files("toy.zarr.run").keys() == files("undisturbed.zarr.run").keys()
    assert not {path.name for path in Path().iterdir()} - {
        f"{name}.zarr{end}" for name in ("toy", "undisturbed") for end in ("", ".run")
    }


OTHERS = {
    "extends": ("--n", 14, "--validation", 1, "--test", 1),
    "overwrites by another seed": ("--n", 10, "--validation", 1, "--test", 1, "--seed", 7, "--overwrite"),
    "overwrites by fewer": ("--n", 3, "--validation", 1, "--test", 1, "--overwrite"),
    "finishes": ("--n", 10, "--validation", 1, "--test", 1),
}


# With locks, another client that finishes the same plan waits for this one, which is asleep.
CASES = [
    (place, other) for place in ("locks", "no locks") for other in OTHERS if (place, other) != ("locks", "finishes")
]


@pytest.mark.parametrize(("surroundings", "other"), CASES, indirect=["surroundings"])
@pytest.mark.parametrize("turn", [0, 2, 5, 9])  # objects: parameters of three splits, shards of 4 + 4 + 2, 1, 1 samples
def test_a_worker_that_wakes_up_does_no_harm(
    generate: Command,
    dataset: Command,
    surroundings: str,
    asleep: Callable[[Callable[[], object], int], None],
    other: str,
    turn: int,
) -> None:
    mine, theirs = (*OTHERS["finishes"], *SHARD), (*OTHERS[other], *SHARD)
    codes = []

    def meanwhile() -> None:
        code, _, err = generate(*TOY_TASK, *theirs)
        codes.append(code)
        if surroundings == "locks":
            refused((code, "", err), "another `generate` writes here")

    asleep(meanwhile, turn)
    codes.append(generate(*TOY_TASK, *mine)[0])
    if surroundings == "locks":
        assert codes == [2, 0]
        check(generate, dataset, *OTHERS["finishes"])
    else:
        assert codes == [0, 0 if other == "finishes" else 75]
        check(generate, dataset, *(word for word in OTHERS[other] if word != "--overwrite"))


@pytest.fixture
def toy(generate: Command, infer: Command) -> tuple[object, ...]:
    """A dataset with predictions, and the options of `evaluate` for them."""
    generate(*TOY_TASK, *OTHERS["finishes"], *SHARD, "--out", "toy.zarr")
    infer("--method", "wiener", "--set", "noise=0.1", "--data", "toy.zarr", "--out", "p.zarr")
    return ("--data", "toy.zarr", "--predictions", "p.zarr")


@pytest.mark.parametrize("surroundings", ["no locks"], indirect=True)
@pytest.mark.parametrize("turn", [0, 1, 2])
@pytest.mark.usefixtures("surroundings")
def test_files_of_two_evaluations_are_told_apart(
    turn: int, toy: tuple[object, ...], evaluate: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    events = [lambda: evaluate(*toy[:2], "--predictions", "other=p.zarr", "--out", "report", "--overwrite")]
    turns = iter(range(10**6))

    def sleeping(path: Path, data: bytes) -> None:
        if events and next(turns) == turn:
            assert events.pop()()[0] == 0
        publish.publish(path, data)

    def fits() -> bool:
        hashes = json.loads(Path("report/metrics.json").read_text())["sha256"]
        return all(sha256(Path("report", name).read_bytes()) == hash for name, hash in hashes.items())

    monkeypatch.setattr(document, "page", lambda found: found.main.methods[0].name)
    monkeypatch.setattr(tables, "publish", sleeping)
    code, _, err = evaluate(*toy, "--out", "report")
    assert (code, "changed by another `evaluate` meanwhile" in err) == ((75, True) if turn else (0, False))
    assert fits() == (turn == 0)
    assert evaluate(*toy, "--out", "report", "--overwrite")[0] == 0
    assert fits()


TIE = ("import", "--task", "tie", "--set", "defocus=-8000,0,8000", "sampling=2", "voltage=300e3", "--from")


@pytest.mark.parametrize("surroundings", ["no locks"], indirect=True)
@pytest.mark.parametrize("extra", [(), ("--set", "voltage=200e3", "--overwrite")], ids=["new", "overwrites"])
@pytest.mark.usefixtures("surroundings")
def test_an_import_that_wakes_up_replaces_no_other(
    extra: tuple[str, ...], dataset: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither one in a place that was free, nor one that has replaced what it was allowed to overwrite."""
    for number, name in enumerate("ab"):
        np.save(f"{name}.npy", np.full((3, 8, 9), 1.0 + number, np.float32))
    if extra:
        assert dataset(*TIE, "a.npy")[0] == 0
    objects, found = importing._objects, []

    def sleeping(*args: Any) -> Iterator[tuple[str, bytes]]:
        monkeypatch.setattr(importing, "_objects", objects)
        shutil.rmtree("measured.zarr", ignore_errors=True)
        assert dataset(*TIE, "b.npy")[0] == 0
        found.append(files("measured.zarr"))
        return objects(*args)

    monkeypatch.setattr(importing, "_objects", sleeping)
    code, _, err = dataset(*TIE[:-1], *extra, "--from", "a.npy")
    assert (code, "was removed or replaced by somebody meanwhile" in err) == (75, True)
    assert files("measured.zarr") == found[0]
    assert sorted(path.name for path in Path().iterdir()) == ["a.npy", "b.npy", "measured.zarr"]


PLACES: dict[str, tuple[object, ...]] = {
    "generate": (*TOY_TASK, *OTHERS["finishes"], *SHARD, "--out", "w/x"),
    "infer": ("--method", "wiener", "--set", "noise=0.2", "--data", "toy.zarr", "--out", "w/x"),
    "evaluate": ("--data", "toy.zarr", "--predictions", "p.zarr", "--out", "w/x"),
    "dataset export": ("export", "toy.zarr", "--format", "npy", "--out", "w/x"),
    "dataset import": (*TIE, "a.npy", "--out", "w/x"),
}


@pytest.mark.parametrize("command", PLACES)
@pytest.mark.parametrize("turn", [0, 1])
@pytest.mark.usefixtures("without_report", "toy")
def test_a_place_that_somebody_removes_can_be_filled_again(
    command: str, turn: int, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    np.save("a.npy", np.ones((3, 8, 9), np.float32))
    run, partial, turns = request.getfixturevalue(command.split()[0]), publish._partial, iter(range(10**6))

    def removing(path: Path) -> Path:
        if next(turns) == turn + (command == "dataset import"):  # first the folder that is made beside its place
            shutil.rmtree("w")
        return partial(path)

    monkeypatch.setattr(publish, "_partial", removing)
    code, _, err = run(*PLACES[command])
    assert (code, err.count("\n"), "run the same command again" in err) == (75, 1, True)
    assert run(*PLACES[command])[0] == 0
