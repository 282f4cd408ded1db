"""The one exception for mistakes that a person can mend, and the name that was perhaps meant."""

import errno
import re
from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches
from typing import Any

FULL = (errno.ENOSPC, errno.EDQUOT)  # of an OSError: the disk, or what of it is ours
MANY = 12  # names, at most, are listed
TRACEBACK = "DRYBEAM_TRACEBACK"  # environment: mistakes are told with the calls that led there, for developers


class UserError(Exception):
    """A mistake of the person at the keyboard: one line with the value, the rule and the remedy.

    Every command line prints it without a traceback and exits with status 2.
    """


class Interrupted(Exception):
    """Work stopped before its end; the same command resumes it. Command lines exit with status 75."""


def meant(name: str, known: Iterable[str]) -> str:
    """The end of an error line: the known name nearest to an unknown one, or what there is."""
    there = list(known)
    if close := get_close_matches(name, there, n=1):
        return f"; did you mean {close[0]}?"
    return f"; there are: {', '.join(there[:MANY]) or 'none'}"


WORDS = (  # of pydantic, and ours
    (r"^(Value error|Assertion failed), ", ""),
    (r", unable to parse.*| after validation|, got a number with a fractional part", ""),
    (r"^(Input|String|Tuple|List|Dictionary|Value|Data) should (not )?(be |have |match )", r"must \2\3"),
    (r"valid integer", "whole number"),
    (r"a valid boolean", "true or false"),
    (r" valid ", " "),
    (r"^Field required|^Missing required.*", "is missing"),
    (r"^Unexpected keyword argument|^Extra inputs are not permitted", "no such name"),
)


def rule(error: Mapping[str, Any]) -> str:
    """Return the rule that a value breaks, from one of `pydantic.ValidationError.errors()`."""
    if error["type"] == "literal_error":
        words = re.findall(r"'([^']+)'", error["ctx"]["expected"])
        close = get_close_matches(str(error["input"]).lower(), words, n=1)
        return f"must be one of {', '.join(words)}{f'; did you mean {close[0]}?' if close else ''}"
    said: str = error["msg"]
    for theirs, ours in WORDS:
        said = re.sub(theirs, ours, said)
    return said


def assigned[T](
    option: str, texts: Iterable[str], known: Mapping[str, T], kind: str, form: str
) -> Iterator[tuple[T, str]]:
    """Split `name=value` texts of an option.

    Args:
        option: the option, for messages.
        texts: what it was given.
        known: what there is to name.
        kind: what such a name stands for, and
        form: the text to be written, for messages.

    Yields:
        What is known by each name, and its value.

    Raises:
        UserError: there is no equals sign, or no such name.
    """
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals:
            raise UserError(f"{option} {text}: write {form} without spaces, for example {next(iter(known))}=...")
        if name not in known:
            raise UserError(f"{option} {name}: no such {kind}{meant(name, known)}")
        yield known[name], value


def differences(stored: Mapping[str, Any], asked: Mapping[str, Any]) -> Iterator[str]:
    """Yield what is stored otherwise than it is asked for, by key."""
    for key in dict.fromkeys([*stored, *asked]):
        if stored.get(key) != asked.get(key):
            yield f"{key} is {_short(stored.get(key))}, asked {_short(asked.get(key))}"


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 60 else text[:57] + "..."
