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

from schemas.runtime.errors import (
    DISK_FULL_ERRORS,
    TRACEBACK_VARIABLE,
    Interrupted,
    UserError,
    rule_of_choice,
    suggestion,
)

if TYPE_CHECKING:
    from rich.table import Table

MISTAKE_CODE = 2
RESUMABLE_CODE = 75  # the code EX_TEMPFAIL of sysexits.h
MAX_MESSAGE_LENGTH = 480  # maximum number of characters of a message
TABLE_WIDTH = 160  # characters in a line of a table that is not shown on a terminal
FOREIGN_SETTINGS = ("ZARR_", "DASK_", "JAX_ENABLE_X64")  # settings of libraries, made for other programs
FOLLOWED_SETTINGS = ("DASK_CONFIG", "DASK_DISTRIBUTED__COMM__TLS")  # certificates for `--scheduler`
THREAD_COUNTS = ("NUMBA_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
MAX_WHOLE_NUMBER = (1 << 63) - 1  # maximum whole number that options accept


REWORDINGS = (  # wording of argparse, and its replacement
    (r"^argument (--[\w-]+)\S*: ", r"\1 "),
    (r"^argument (path: )?", ""),
    (r" ignored explicit argument '(.*)'$", r" \1: takes no value; leave it out"),
    (r" expected (one|at least one) argument$", ": needs a value"),
    (r" not allowed with argument (--[\w-]+)$", r": excludes \1; leave one of them out"),
    (r"^the following arguments are required: ([^,]*)$", r"\1 is missing"),
    (r"^the following arguments are required: (.*), (\S+)$", r"\1 and \2 are missing"),
)


class Parser(argparse.ArgumentParser):
    """An argument parser that reports an error in one line, without the usage."""

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parse arguments as `argparse` does, but refuse those that are not known, also those after a verb."""
        parsed, unknown = super().parse_known_args(args, namespace)
        if unknown:
            options = re.findall(r"--[a-z][a-z-]*", self.format_help())
            kind = "option" if unknown[0].startswith("-") else "argument"
            close = suggestion(unknown[0], options) if kind == "option" else ""
            self.error(f"{unknown[0]}: no such {kind}{close if 'mean' in close else ''}")
        return parsed, unknown

    def error(self, message: str) -> NoReturn:
        """Raise UserError, where argparse would print two lines and exit."""
        choice = re.fullmatch(r"argument (\S+): invalid choice: (['\"])(.*)\2 \(choose from (.*)\)", message)
        if choice:
            option = f"{choice[1]} " if choice[1].startswith("-") else ""
            message = f"{option}{choice[3]}: {rule_of_choice(choice[3], re.findall(r'[\w-]+', choice[4]))}"
        for theirs, ours in REWORDINGS:
            message = re.sub(theirs, ours, message)
        raise UserError(f"{message}; see {self.prog} --help")


def add_repeatable_option(parser: Any, option: str, metavar: str, about: str, **more: Any) -> None:
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


def whole_number(minimum: int, maximum: int = MAX_WHOLE_NUMBER) -> Callable[[str], int]:
    """Return a type for argparse that accepts whole numbers from `minimum` to `maximum`."""

    def read(text: str) -> int:
        value = int(text) if re.fullmatch(r"[+-]?[0-9]{1,4000}", text) else minimum - 1
        if not minimum <= value <= maximum:
            limit = f" and at most {maximum}" if maximum < MAX_WHOLE_NUMBER or value > maximum else ""
            raise argparse.ArgumentTypeError(f"{text}: must be a whole number, at least {minimum}{limit}")
        return value

    return read


def share(whole: str, maximum: float = 1.0, *, zero: bool = False) -> Callable[[str], float]:
    """Return a type for argparse that accepts a share, written as `1%` or `0.01`.

    Args:
        whole: the whole of which the share is given, for the message.
        maximum: maximum share.
        zero: accept 0, too.
    """

    def read(text: str) -> float:
        value = number(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
        if not (0 < value <= maximum or (zero and value == 0)):
            limit = f"{'' if zero else 'above '}0 to {maximum:g}"
            raise argparse.ArgumentTypeError(f"{text}: must be a share of {whole}, {limit}, such as 1% or 0.01")
        return value

    return read


def run_command(main: Callable[[Sequence[str] | None], int], argv: Sequence[str] | None, interrupted: str) -> int:
    """Run a command line and return its exit code. A UserError becomes one line on stderr.

    Ctrl-C and SIGTERM end the process at once.

    Args:
        main: the command line; it returns an exit code.
        argv: its arguments; None: those of the process.
        interrupted: the message on an interrupt.
    """
    for signal_number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(signal_number) != signal.SIG_IGN:  # shells set SIG_IGN for background jobs
            signal.signal(signal_number, partial(_exit_at_once, interrupted))
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)  # it would log interrupted reads
    _settle_surroundings()
    try:
        if sys.flags.optimize > 1:
            raise UserError("python -OO removes the texts that explain tasks and settings; run it without -OO")
        _check_thread_counts()
        return main(argv)
    except UserError as error:
        if os.environ.get(TRACEBACK_VARIABLE):
            traceback.print_exception(error)
        return _report_error(error, MISTAKE_CODE)
    except Interrupted as error:
        return _report_error(error, RESUMABLE_CODE)
    except KeyboardInterrupt:
        return _report_error(interrupted, RESUMABLE_CODE)
    except (MemoryError, RecursionError) as error:
        return _report_error(f"{type(error).__name__}: {error}; use smaller sizes or batches", MISTAKE_CODE)
    except BrokenPipeError:  # the reader of a pipe (`| head`) has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        if error.errno in DISK_FULL_ERRORS:
            return _report_error(
                f"{error.filename or 'disk'}: {error.strerror}; make room and run the same command again",
                RESUMABLE_CODE,
            )
        return _report_error(
            f"{error.filename or 'system'}: {error.strerror or error}; give another path", MISTAKE_CODE
        )


def _settle_surroundings() -> None:
    """Make a command independent of settings that its user has made for other programs, before libraries are loaded.

    A process without standard streams gets some that lead nowhere: otherwise the first file that it opens would take
    their place. Warnings and logs of libraries are printed like all other messages.
    """
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(descriptor)
    sys.stdout = sys.stdout or open(os.devnull, "w")  # noqa: SIM115  # open as long as the process
    sys.stderr = sys.stderr or open(os.devnull, "w")  # noqa: SIM115
    foreign = [name for name in os.environ if name.startswith(FOREIGN_SETTINGS)]
    for name in foreign:
        if not name.startswith(FOLLOWED_SETTINGS):
            del os.environ[name]
    os.environ |= {"MPLBACKEND": "agg", "MATPLOTLIBRC": os.devnull}
    warnings.showwarning = lambda message, *_: say(f"warning: {one_line(str(message))}", error=True)
    logging.lastResort = _LogPrinter(logging.WARNING)
    ours = logging.getLogger("physics")  # with a handler of its own, since libraries add some to the root
    ours.handlers, ours.propagate = [_LogPrinter(logging.WARNING)], False
    logging.getLogger("matplotlib").setLevel(logging.ERROR)  # it tells of its own folders for settings and fonts


def _check_thread_counts() -> None:
    """Raise UserError if an environment variable for libraries is no number of threads: they would fail much later."""
    for name in THREAD_COUNTS:
        value = os.environ.get(name, "1")
        if not re.fullmatch(r"\s*[1-9]\d*(\s*,\s*[1-9]\d*)*\s*", value):
            raise UserError(f"{name}={value}: must be a whole number of at least 1; unset or correct this variable")


class _LogPrinter(logging.Handler):
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


def _report_error(message: object, code: int) -> int:
    say(one_line(str(message)), error=True)
    return code


def one_line(text: str) -> str:
    """Return a message as one printable line. If it is long, its middle is left out."""
    line = printable(" ".join(text.split()))
    return line if len(line) <= MAX_MESSAGE_LENGTH else f"{line[: MAX_MESSAGE_LENGTH - 200]} ... {line[-195:]}"


def printable(text: str) -> str:
    """Return a text from an untrusted source without characters that could control a terminal."""
    return "".join(letter if letter.isprintable() or letter == "\n" else "?" for letter in text)


def count_text(count: int, noun: str) -> str:
    """Return a number of things in words.

    >>> count_text(1, "sample"), count_text(2000, "sample"), count_text(2, "patch"), count_text(2, "epoch")
    ('1 sample', '2,000 samples', '2 patches', '2 epochs')
    """
    plural = "es" if noun.endswith(("tch", "s", "x")) else "s"  # patches, but epochs
    return f"{count:,} {noun}{'' if count == 1 else plural}"


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
        value = row["default"] if row["value"] is None else row["value"]
        table.add_row(name, _format_value(row), unit_of(value, row["unit"]), row["about"])
    say_table(table)
    say("(in brackets: the default of a setting that is part of a setting above it, which is none)")


def unit_of(value: Any, unit: str) -> str:
    """Return the unit of a setting; empty for a pure number whose value is a word, a switch or none.

    Args:
        value: value of the setting.
        unit: its unit; 1: a pure number, or no unit.
    """
    parts = value if isinstance(value, list | tuple) else [value]
    numbers = all(isinstance(part, int | float) and not isinstance(part, bool) for part in parts)
    return unit if numbers or unit != "1" else ""


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


def say_rows(rows: Sequence[Sequence[str]]) -> None:
    """Print a table. If it is too wide for the terminal, its columns become rows, unless that is wider still.

    Args:
        rows: texts of the cells; the first row and the first column hold names.
    """
    from rich.table import Table

    turned = [list(column) for column in zip(*rows, strict=True)]
    if (width := _rows_width(rows)) > _table_width() and _rows_width(turned) < width:
        rows = turned
    table = Table(*rows[0], box=None, pad_edge=False)
    for row in rows[1:]:
        table.add_row(*row)
    say_table(table)


def _rows_width(rows: Sequence[Sequence[str]]) -> int:
    """Return the width of a table whose columns are two spaces apart [character]."""
    return sum(max(map(len, column)) + 2 for column in zip(*rows, strict=True)) - 2


def _table_width() -> int:
    """Return the width of a table: that of the terminal, or at least TABLE_WIDTH in a file or pipe [character]."""
    width = shutil.get_terminal_size((TABLE_WIDTH, 0)).columns
    return width if sys.stdout and sys.stdout.isatty() else max(width, TABLE_WIDTH)


def say_table(table: "Table") -> None:
    """Print a table, as wide as the terminal, or at least TABLE_WIDTH in a file or pipe.

    Texts are printed as they are: `[...]` is no markup, and `:x:` no emoji.

    Args:
        table: the table.
    """
    from rich.console import Console

    text = io.StringIO()
    Console(file=text, width=_table_width(), markup=False, highlight=False, emoji=False).print(table)
    say(text.getvalue().rstrip("\n"))


def _format_value(row: Mapping[str, Any]) -> str:
    """Return a value in the form for `--set setting=`."""
    value, default = row["value"], row["default"]
    if value is None and default is not None:
        return f"({_format_value({'value': default, 'default': None})})"
    if isinstance(value, dict):
        return "..."
    if isinstance(value, list):
        numbers = all(isinstance(part, int | float) for part in value)
        return (":" if numbers and len(value) == 2 else ",").join(map(str, value))
    return "none" if value is None else str(value).lower() if isinstance(value, bool) else f"{value}"


def _exit_at_once(message: str, *_: object) -> NoReturn:
    """Print a message and end the process at once.

    It raises no exception: libraries swallow exceptions or take seconds to clean up, and the files on disk survive any
    kill.
    """
    if sys.stdout and sys.stdout.isatty():
        os.write(sys.stdout.fileno(), b"\x1b[?25h\n")  # show the cursor, which a progress bar hides
    os.write(2, f"{message}\n".encode())
    os._exit(RESUMABLE_CODE)
