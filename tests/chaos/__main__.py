"""Stop and wake, or kill, real processes at random moments, and compare what they leave with undisturbed runs.

    python -m tests.chaos --stops 30 --kills 30
    python -m tests.chaos --stops 12 --kills 0 --no-locks

In an event, a command is stopped: its client, one of its workers, or all of its processes. Another command on the same
place runs meanwhile, then the first one wakes up. Or the command is killed (-9). Half of the signals come at a random
time, and half between the last check and a change of a file that is due at that time. What a command called complete
must be so at once, and after the same command again, the whole folder must equal that of an undisturbed run, byte for
byte except for times.
"""

import argparse
import os
import random
import re
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from tests.chaos.cases import CASES, COMMANDS, INPUTS, OVERWRITE, ROOMS
from tests.chaos.runs import Run

ROOT = Path(__file__).resolve().parents[2]
TIMES = re.compile(rb'\A[0-9a-f]{64}\n|"seconds\w*": ?[-+.e\d]+')  # also the hash of a receipt, which covers its time
REFUSED = re.compile(r"was made with other settings|can only grow|holds other predictions")
PATIENCE = 60  # seconds after which a command that waits for a stopped one is given the chance to go on
LONGEST = 300  # seconds after which a command is said to hang

type Tree = dict[str, bytes]


class Chaos:
    """A folder in which commands run, the trees that they leave if undisturbed, and how long they take."""

    def __init__(self, work: Path, *, locks: bool) -> None:
        self.work, self.place, self.orders = work, work / "place", work / "orders"
        self.environment = {**os.environ, "PYTHONPATH": f"{ROOT}/tests/chaos/hook:{ROOT}", "COLUMNS": "200"}
        self.environment |= {} if locks else {"CHAOS_NO_LOCKS": "1"}
        self.trees: dict[str, Tree] = {"": {}}
        self.times: dict[str, tuple[float, float]] = {}  # seconds of a command, and of these those before its workers
        for folder in (work / "inputs", work / "said", self.orders):
            folder.mkdir(parents=True)
        for command in INPUTS:
            self.finish(self.start(command, work / "inputs"))
        for name in COMMANDS:
            self._measure(name)

    def start(self, name: str, folder: Path | None = None, *, watched: bool = False) -> Run:
        """Start a command, given as a line or by its name."""
        known = name.removesuffix(OVERWRITE)
        room, *words = (COMMANDS.get(known, known) + name[len(known) :]).split()
        said = self.work / "said" / f"{len(list((self.work / 'said').iterdir()))}.txt"
        environment = self.environment | ({"CHAOS": str(self.orders)} if watched else {})
        return Run(name, [sys.executable, "-m", *ROOMS[room], *words], folder or self.place, environment, said)

    def finish(self, run: Run) -> None:
        assert run.ended(LONGEST), run.outcome()
        assert run.returncode == 0, run.outcome()

    def _measure(self, name: str) -> None:
        """Run a command undisturbed, and note what it leaves, how long it takes, and when its workers begin."""
        self.clear()
        run, begin, first = self.start(name), time.monotonic(), 0.0
        while not run.ended(0.05):
            if not first and len(run.processes()) > 1:
                first = time.monotonic() - begin
        self.finish(run)
        self.times[name] = (time.monotonic() - begin, first)
        self.trees[name] = self.tree()
        shutil.move(self.place, self.work / name)

    def clear(self, there: str = "") -> None:
        shutil.rmtree(self.place, ignore_errors=True)
        shutil.copytree(self.work / there, self.place) if there else self.place.mkdir()
        for order in self.orders.iterdir():
            order.unlink()

    def tree(self) -> Tree:
        """Return the content of all files of the place, without times; folders are empty files."""
        paths = {str(path.relative_to(self.place)): path for path in sorted(self.place.rglob("*"))}
        return {key: TIMES.sub(b"", path.read_bytes()) if path.is_file() else b"" for key, path in paths.items()}

    def strike(self, run: Run, number: int, chance: random.Random) -> str:
        """Send a signal to a process of a command at some moment. Return which and when; nothing if it had ended."""
        seconds, first = self.times[run.name.removesuffix(OVERWRITE)]
        whom = chance.choice(["client", "all", *3 * ["worker"]]) if first else chance.choice(["client", "all"])
        aimed, begin = whom != "all" and chance.random() < 0.6, time.monotonic()
        after = chance.uniform(0, seconds - first) if whom == "worker" else chance.uniform(0.1, 1) * seconds
        while whom == "worker" and not run.ended(0.02) and len(run.processes()) < 2:
            pass
        if run.ended(after):
            return ""
        if aimed:
            (self.orders / "new").write_text(f"{int(number)} {chance.randrange(12)}")
            (self.orders / "new").rename(self.orders / whom)
            while not (self.orders / "struck").exists():
                if run.ended(0.02):
                    return ""
            time.sleep(0.1)
            return f"{whom} at {(self.orders / 'struck').read_text()}"
        found = run.processes()
        chosen = {"client": found[:1], "worker": chance.sample(found[1:], min(len(found) - 1, 1)), "all": found}[whom]
        for process in chosen:
            process.send_signal(number)
        return f"{whom} after {time.monotonic() - begin:.1f} s" if chosen else ""

    def event(self, kind: str, mode: str, chance: random.Random) -> list[str]:
        """Disturb a command of a kind. Return what happened, faults in capital letters; nothing if it ended before."""
        there, one, other = chance.choice(CASES[kind])
        self.clear(there)
        run = self.start(one, watched=True)
        struck = self.strike(run, signal.SIGSTOP if mode == "stop" else signal.SIGKILL, chance)
        if not struck:
            run.end()
            return []
        log, runs = [f"{there or 'nothing'} there, {one}: {mode} {struck}"], [run]
        if mode == "stop":
            runs = [self.start(other), run]
            waits = not runs[0].ended(PATIENCE)
            os.killpg(run.pid, signal.SIGCONT)
            log += [f"HANG {each.name}" for each in runs if not each.ended(LONGEST)] + ["waited"] * waits
        elif not run.ended(LONGEST):
            log.append("HANG")
        log += [each.outcome() for each in runs]
        if done := [each.name.removesuffix(OVERWRITE) for each in runs if each.returncode == 0]:
            log += [f"NOT COMPLETE {fault}" for fault in self.faults(done[-1], left=False)]
        log += self.settle([one, other] if mode == "kill" else [other, one])
        for each in runs:
            each.end()
        return log

    def settle(self, names: list[str]) -> list[str]:
        """Run the first of some commands that is not refused to its end, and compare what it leaves. Return faults."""
        for name in (name.removesuffix(OVERWRITE) for name in names):
            run = self.start(name)
            if not run.ended(LONGEST):
                run.end()
                return [f"HANG again {run.outcome()}"]
            if run.returncode == 0:
                return [f"at last {name}", *(f"DIFFERENT {fault}" for fault in self.faults(name))]
            if not REFUSED.search(run.said.read_text()):
                return [f"REFUSED again {run.outcome()}"]
        return ["REFUSED all"]

    def faults(self, name: str, *, left: bool = True) -> list[str]:
        """Return how the place differs from that of an undisturbed run; `left`: also what should not be there."""
        found, wanted = self.tree(), self.trees[name]
        changed = [key for key in wanted if key in found and found[key] != wanted[key]]
        kinds = {"missing": wanted.keys() - found.keys(), "changed": changed, "left": found.keys() - wanted.keys()}
        return [f"{kind} {sorted(kinds[kind])[:3]}" for kind in list(kinds)[: 2 + left] if kinds[kind]]


def main() -> int:
    """Run the events, a line each, and print a table of them. Return 1 if there was a fault."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for mode in ("stops", "kills"):
        parser.add_argument(f"--{mode}", type=int, default=7)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--no-locks", action="store_true", help="the file system refuses locks (ENOSYS)")
    args = parser.parse_args()
    chance, table, bad = random.Random(args.seed), Counter[tuple[str, str, str]](), 0
    with tempfile.TemporaryDirectory(prefix="chaos-") as folder:
        chaos = Chaos(Path(folder), locks=not args.no_locks)
        print({name: tuple(round(part, 1) for part in times) for name, times in chaos.times.items()}, flush=True)
        for number, mode in enumerate(["stop"] * args.stops + ["kill"] * args.kills):
            kind = list(CASES)[number % len(CASES)]
            while not (log := chaos.event(kind, mode, chance)):
                pass
            fault = any(re.match("[A-Z]{3}", part) or "UNCLEAN" in part for part in log)
            bad += fault
            table[kind, mode, "fault" if fault else "good"] += 1
            print(f"{number} {kind}{' FAULT' * fault}: " + "; ".join(log), flush=True)
    for (kind, mode, outcome), count in sorted(table.items()):
        print(f"{kind:10} {mode:5} {outcome:6} {count}")
    return int(bad > 0)


if __name__ == "__main__":
    sys.exit(main())
