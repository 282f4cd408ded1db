"""Processes killed (-9) where they publish, replace or remove something: the same command resumes to the same bits.

A few kills, spread over these points in the order in which a run comes to them; `pytest -m long`: most of the points.
"""

import random
import signal
from collections import Counter
from functools import partial
from pathlib import Path

import pytest

from tests.conftest import TOY_TASK, Command, command, files, finish
from tests.runs import lines, weights

MOST = pytest.mark.long
complete = partial(finish, room="tests.command")
TRAIN = ("train", "--model", "mlp", "--batch-size", 16)
NOTED = {"POINTS": "points.txt"}
GENERATE = ("generate", *TOY_TASK, "--n", 60, "--validation", 5, "--test", 0, "--shard-samples", 4)


def points(path: str) -> Counter[str]:
    """The kinds of points that a whole run came to, and how often; folders that are made are none of a dataset."""
    return Counter(point for point in Path(path).read_text().splitlines() if "mkdir whole.zarr" not in point)


def kill(found: Counter[str], kills: int, chance: random.Random, *args: object) -> None:
    """Run a command so many times and kill it: at a point, when it comes there once or twice, or a little later.

    What a killed run had done already, the next one does not do again: that is killed at the last point of all.
    """
    kinds = [kind.replace("whole", "killed") for kind in found]
    for turn in range(kills):
        number = chance.randrange(turn * len(kinds) // kills, (turn + 1) * len(kinds) // kills)
        times = chance.randint(1, min(2, list(found.values())[number]))
        later = chance.choice((0, chance.uniform(0, 0.02)))
        environment = {"KILLED_AT": kinds[number], "TIMES": str(times), "LATER": str(later), "LAST": kinds[-1]}
        print(environment)
        process = command(*args, environment=environment)
        said, _ = process.communicate(timeout=300)
        assert process.returncode == -signal.SIGKILL, said


@pytest.mark.slow(30)
@pytest.mark.parametrize("kills", [6, pytest.param(20, marks=MOST)])
def test_a_killed_training_ends_with_the_same_bits(kills: int, learnable: Path, chance: random.Random) -> None:
    often = ("--data", learnable, "--epochs", 2 * kills, "--set", "log_every=1", "save_every=3")
    complete(*TRAIN, *often, "--out", "whole", environment=NOTED)
    kill(points("points.txt"), kills, chance, *TRAIN, *often, "--out", "killed")
    complete(*TRAIN, *often, "--out", "killed")
    assert weights("killed") == weights("whole")
    for row in (last := [lines(run)[-1] for run in ("killed", "whole")]):
        row.pop("seconds", None)
    assert last[0] == last[1]


@pytest.mark.slow(10)
@pytest.mark.parametrize("kills", [4, pytest.param(10, marks=MOST)])
def test_a_killed_dataset_is_the_same(kills: int, chance: random.Random) -> None:
    complete(*GENERATE, "--out", "whole.zarr", environment=NOTED)
    kill(points("points.txt"), kills, chance, *GENERATE, "--out", "killed.zarr")
    complete(*GENERATE, "--out", "killed.zarr")
    assert files("killed.zarr") == files("whole.zarr")


def test_a_killed_sample_of_slices_goes_on(generate: Command) -> None:
    """Slices that were finished before a kill are kept if they are whole, and leave no trace."""
    few = ("--n", 3, "--validation", 0, "--test", 0, "--shard-samples", 2)
    series = ("--task", "toy_series", *few, "--scheduler", "synchronous", "--out")
    assert generate(*series, "whole.zarr")[0] == 0
    made = "os.rename killed.zarr.run/slices/train-#-#.slice"
    slow = {"STORE_SLICES_ABOVE_SECONDS": "0"}
    process = command(
        "generate", *series, "killed.zarr", environment=slow | {"KILLED_AT": made, "TIMES": "7", "LATER": "0"}
    )
    assert process.wait(300) == -signal.SIGKILL
    kept = sorted(Path("killed.zarr.run/slices").glob("train*"))  # all four of the first sample, two of the second
    assert [path.name for path in kept] == [f"train-{i:012d}-{k}.slice" for i in (0, 1) for k in range(4)][:6]
    kept[0].write_bytes(kept[0].read_bytes()[:-1])
    kept[1].write_bytes(kept[2].read_bytes())
    complete("generate", *series, "killed.zarr", environment=slow | NOTED)
    found = points("points.txt")
    assert (found[made], found[f"{made} over another"]) == (12 - len(kept), 2)
    assert files("killed.zarr") == files("whole.zarr")
    assert not Path("killed.zarr.run/slices").exists()
