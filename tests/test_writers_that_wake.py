"""Writers that are stopped between their check and their write, and wake up when others have gone on."""

import fcntl
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from generators.engine import shards
from schemas.runtime import locks, publish

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
