"""Let `tests.chaos` stop or kill a process between its last check and a change of a file. Python imports this itself.

Processes that are forked inherit the hook. Environment variables:

    CHAOS=FOLDER       the first process that changes a file below its working folder while FOLDER/client (or worker) is
                       there takes that file. It holds a signal, and a number of changes after which the process sends
                       it to itself
    CHAOS_NO_LOCKS=1   locks are refused, as by some network file systems
"""

import errno
import fcntl
import os
import sys
from pathlib import Path
from typing import Any

EVENTS = ("os.mkdir", "os.rename", "os.link", "os.remove", "os.rmdir")  # CPython's audit events
FIRST = os.getpid()  # workers are forked from the process that has imported this
taken: list[int] = []  # the signal, and the number of changes before it


def refuse(*_: object) -> None:
    raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))


def strike(event: str, args: tuple[Any, ...]) -> None:
    """Send this process the signal that waits for it, if any."""
    changed = os.path.abspath(os.fsdecode(args[0])) if event in EVENTS else ""
    if not changed.startswith(f"{os.getcwd()}/") or changed.endswith(".lock"):
        return
    orders = Path(os.environ["CHAOS"])
    if not taken:
        mine = orders / str(os.getpid())
        try:
            (orders / ("client" if os.getpid() == FIRST else "worker")).rename(mine)  # one process only can take it
        except FileNotFoundError:
            return
        taken.extend(map(int, mine.read_text().split()))
    if taken[1] == 0:
        (orders / "struck").write_text(f"{event} {os.path.relpath(os.fsdecode(args[event == 'os.rename']))}")
        os.kill(os.getpid(), taken[0])
    taken[1] -= 1


if "CHAOS" in os.environ:
    sys.addaudithook(strike)
if "CHAOS_NO_LOCKS" in os.environ:
    fcntl.flock = refuse
