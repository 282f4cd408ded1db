"""Common parts of all command lines: messages of one line, exit codes, and a clean end when interrupted.

Exit codes: 0 done; 1 a check ran and failed; 2 a mistake that the user can correct; 75 interrupted and resumable.
"""

import argparse
import io
import json
import logging
import math
import os
import re
import shutil
import signal
import sys
import traceback
import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn

from schemas.runtime.errors import FULL, TRACEBACK, Interrupted, UserError

if TYPE_CHECKING:
    from rich.table import Table

MISTAKE = 2
RESUMABLE = 75  # the code EX_TEMPFAIL of sysexits.h
LINE = 480  # maximum number of characters of a message
WIDTH = 160  # characters in a line of a table that is not shown on a terminal
MOST = (1 << 63) - 1  # maximum whole number that options accept
FOREIGN = ("ZARR_", "DASK_", "JAX_ENABLE_X64")  # settings of libraries, made for other programs
FOLLOWED = ("DASK_CONFIG", "DASK_DISTRIBUTED__COMM__TLS")  # certificates for `--scheduler`


class Parser(argparse.ArgumentParser):
    """An argument parser that reports an error in one line, without the usage."""

    def error(self, message: str) -> NoReturn:
        """Raise UserError, where argparse would print two lines and exit."""
        raise UserError(f"{message}; see {self.prog} --help")


def several(parser: Any, option: str, metavar: str, about: str, **more: Any) -> None:
    """Add an option that takes several values and may be given several times.

    Args:
        parser: the parser to which the option is added.
        option: the option, such as `--set`.
        metavar: name of a value in the help.
        about: the help text.
        more: further arguments of `add_argument`.
    """
    parser.add_argument(option, nargs="+", action="extend", default=[], metavar=metavar, help=about, **more)


def number(text: str) -> float:
    """Return a text as a number; NaN if it is not one."""
    try:
        return float(text)
    except ValueError:
        return math.nan


def whole_number(least: int, most: int = MOST) -> Callable[[str], int]:
    """Return a type for argparse that accepts whole numbers from `least` to `most`."""

    def read(text: str) -> int:
        found = int(text) if re.fullmatch(r"[+-]?[0-9]{1,4000}", text) else least - 1
        if not least <= found <= most:
            limit = f" and at most {most}" if most < MOST or found > most else ""
            raise argparse.ArgumentTypeError(f"{text}: must be a whole number, at least {least}{limit}")
        return found

    return read


def share(of: str, most: float = 1.0, *, zero: bool = False) -> Callable[[str], float]:
    """Return a type for argparse that accepts a share, written as `1%` or `0.01`.

    Args:
        of: the whole of which the share is given, for the message.
        most: maximum share.
        zero: accept 0, too.
    """

    def read(text: str) -> float:
        found = number(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
        if not (0 < found <= most or (zero and found == 0)):
            limit = f"{'' if zero else 'above '}0 to {most:g}"
            raise argparse.ArgumentTypeError(f"{text}: must be a share of {of}, {limit}, such as 1% or 0.01")
        return found

    return read


def command(main: Callable[[Sequence[str] | None], int], argv: Sequence[str] | None, interrupted: str) -> int:
    """Run a command line and return its exit code. A UserError becomes one line on stderr.

    Ctrl-C and SIGTERM end the process at once.

    Args:
        main: the command line; it returns an exit code.
        argv: its arguments; None: those of the process.
        interrupted: the message on an interrupt.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) != signal.SIG_IGN:  # shells set SIG_IGN for background jobs
            signal.signal(number, partial(_leave, interrupted))
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)  # it would log interrupted reads
    _settle_surroundings()
    try:
        if sys.flags.optimize > 1:
            raise UserError("python -OO removes the texts that explain tasks and settings; run it without -OO")
        return main(argv)
    except UserError as error:
        if os.environ.get(TRACEBACK):
            traceback.print_exception(error)
        return _fail(error, MISTAKE)
    except Interrupted as error:
        return _fail(error, RESUMABLE)
    except KeyboardInterrupt:
        return _fail(interrupted, RESUMABLE)
    except (MemoryError, RecursionError) as error:
        return _fail(f"{type(error).__name__}: {error}; use smaller sizes or batches", MISTAKE)
    except BrokenPipeError:  # the reader of a pipe (`| head`) has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        if error.errno in FULL:
            return _fail(
                f"{error.filename or 'disk'}: {error.strerror}; make room and run the same command again", RESUMABLE
            )
        return _fail(f"{error.filename or 'system'}: {error.strerror or error}; give another path", MISTAKE)


def _settle_surroundings() -> None:
    """Make a command independent of settings that its user has made for other programs, before libraries are loaded.

    A process without standard streams gets some that lead nowhere: otherwise the first file that it opens would take
    their place. Warnings and logs of libraries are printed like all other messages.
    """
    while (number := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(number)
    sys.stdout = sys.stdout or open(os.devnull, "w")  # noqa: SIM115  # open as long as the process
    sys.stderr = sys.stderr or open(os.devnull, "w")  # noqa: SIM115
    for name in [name for name in os.environ if name.startswith(FOREIGN) and not name.startswith(FOLLOWED)]:
        del os.environ[name]
    os.environ |= {"MPLBACKEND": "agg", "MATPLOTLIBRC": os.devnull}
    warnings.showwarning = lambda message, *_: say(f"warning: {one_line(str(message))}", error=True)
    logging.lastResort = _Messages(logging.WARNING)


class _Messages(logging.Handler):
    """Print the logs of libraries."""

    def emit(self, record: logging.LogRecord) -> None:
        say(one_line(record.getMessage()), error=True)


def on_huge_pages() -> None:
    """Start this process again with glibc's large allocations on huge pages, if they are not on them yet.

    JAX allocates and frees all working memory of a step at once. On pages of 4 kB, training on a CPU takes 1.3 times as
    long.
    """
    if sys.platform == "linux" and "GLIBC_TUNABLES" not in os.environ:
        os.environ["GLIBC_TUNABLES"] = "glibc.malloc.hugetlb=1"
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


def _fail(message: object, code: int) -> int:
    say(one_line(str(message)), error=True)
    return code


def say(text: str, *, error: bool = False) -> None:
    """Print a text. All output of the commands passes through this function.

    Names, units and digests may come from strangers, so characters that could control a terminal are replaced, as are
    those that the encoding of the stream lacks.

    Args:
        text: one line or several.
        error: print on stderr.
    """
    stream = sys.stderr if error else sys.stdout
    encoding = getattr(stream, "encoding", None) or "utf-8"
    print(printable(text).encode(encoding, "replace").decode(encoding), file=stream, flush=True)


def say_table(table: "Table") -> None:
    """Print a table, as wide as the terminal, or at least WIDTH in a file or pipe."""
    from rich.console import Console

    text = io.StringIO()
    shown = shutil.get_terminal_size((WIDTH, 0)).columns
    width = shown if sys.stdout and sys.stdout.isatty() else max(shown, WIDTH)
    Console(file=text, width=width, markup=False, highlight=False, emoji=False).print(table)
    say(text.getvalue().rstrip("\n"))


def one_line(text: str) -> str:
    """Return a message as one printable line. If it is long, its middle is left out."""
    line = printable(" ".join(text.split()))
    return line if len(line) <= LINE else f"{line[: LINE - 200]} ... {line[-195:]}"


def printable(text: str) -> str:
    """Return a text from an untrusted source without characters that could control a terminal."""
    return "".join(letter if letter.isprintable() or letter == "\n" else "?" for letter in text)


def show_settings(rows: Mapping[str, Mapping[str, Any]], as_json: bool) -> None:
    """Print every setting with its value, unit and meaning.

    Args:
        rows: from `schemas.runtime.settings.describe`.
        as_json: print JSON instead of a table.
    """
    if as_json:
        say(json.dumps(rows, indent=2))
        return
    from rich.table import Table

    table = Table("setting", "value", "unit", "meaning", box=None, pad_edge=False)
    for name, row in rows.items():
        table.add_row(name, _written(row), row["unit"], row["about"])
    say_table(table)
    say("(in brackets: the default of a setting that is part of a setting above it, which is none)")


def _written(row: Mapping[str, Any]) -> str:
    """Return a value in the form for `--set setting=`."""
    value, default = row["value"], row["default"]
    if value is None and default is not None:
        return f"({_written({'value': default, 'default': None})})"
    if isinstance(value, dict):
        return "..."
    if isinstance(value, list):
        numbers = all(isinstance(part, int | float) for part in value)
        return (":" if numbers and len(value) == 2 else ",").join(map(str, value))
    return "none" if value is None else str(value).lower() if isinstance(value, bool) else f"{value}"


def _leave(said: str, *_: object) -> NoReturn:
    """Print a message and end the process at once.

    It raises no exception: libraries swallow exceptions or take seconds to clean up, and the files on disk survive any
    kill.
    """
    if sys.stdout and sys.stdout.isatty():
        os.write(sys.stdout.fileno(), b"\x1b[?25h\n")  # show the cursor, which a progress bar hides
    os.write(2, f"{said}\n".encode())
    os._exit(RESUMABLE)
