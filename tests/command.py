"""Run a command line that knows the toy task as a real process: `python -m tests.command train --data toy.zarr`.

Environment variables can kill it at a chosen point. A point is a place where it publishes, replaces or removes a file.

    POINTS=FILE       write each point to this file before it happens
    KILLED_AT=POINT   kill the process when it reaches this point for the N-th time (TIMES=N), or LATER seconds after
    LAST=POINT        kill the process at once if it reaches this point instead
    STORE_SLICES_ABOVE_SECONDS=SECONDS  store finished slices of samples that take longer than this
"""

import importlib
import itertools
import os
import re
import signal
import sys
import threading
from pathlib import Path
from typing import Any

import generators.tasks
import schemas.tasks
import training.models
import training.tasks

ROOMS = {"generate": "generators.cli", "train": "training.cli"}
EVENTS = {"os.mkdir", "os.rename", "os.link", "os.remove", "os.rmdir", "shutil.rmtree"}  # CPython's audit events
met = itertools.count(1)

for package in (generators.tasks, schemas.tasks, training.tasks):
    package.__path__.append(str(Path(__file__).parent / "toy" / package.__name__.replace(".", "/")))


def point(event: str, args: tuple[Any, ...]) -> str | None:
    """Return the name of an event with the kind of file in the working folder, or None if it does not count."""
    if event not in EVENTS:
        return None
    moved = event in ("os.rename", "os.link")
    path = Path(os.fsdecode(args[1] if moved else args[0])).absolute()
    there = path.exists()
    if not path.is_relative_to(Path.cwd()) or not (moved or there == (event != "os.mkdir")):
        return None
    kind = re.sub(r"/(train|validation|test)/\w+", "/split/array", str(path.relative_to(Path.cwd())))
    return re.sub(r"[0-9a-f]{32}|\d+", "#", f"{event} {kind}") + (" over another" if moved and there else "")


def audit(event: str, args: tuple[Any, ...]) -> None:
    found = point(event, args)
    if found and "POINTS" in os.environ:
        with Path(os.environ["POINTS"]).open("a") as file:
            file.write(f"{found}\n")
    if found and found == os.environ.get("KILLED_AT"):
        if next(met) == int(os.environ["TIMES"]):
            die(float(os.environ["LATER"]))
    elif found and found == os.environ.get("LAST"):
        die(0.0)


def die(later: float) -> None:
    if later:
        threading.Timer(later, die, [0.0]).start()
    else:
        os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    main = importlib.import_module(ROOMS[sys.argv.pop(1)]).main
    if (name := "STORE_SLICES_ABOVE_SECONDS") in os.environ:
        vars(importlib.import_module("generators.engine.pipeline"))[name] = float(os.environ[name])
    if {"POINTS", "KILLED_AT"} & os.environ.keys():
        sys.addaudithook(audit)
    sys.exit(main())
