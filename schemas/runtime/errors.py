"""Exceptions for mistakes that the user can correct, and texts for their messages."""

import errno
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from difflib import SequenceMatcher, get_close_matches
from typing import Any

DISK_FULL_ERRORS = (errno.ENOSPC, errno.EDQUOT)  # errors of a full disk or an exhausted quota
MAX_LISTED_NAMES = 12  # maximum number of names listed in a message
TRACEBACK_VARIABLE = "DRYBEAM_TRACEBACK"  # environment variable: print tracebacks of user errors, for developers


class UserError(Exception):
    """A mistake of the user. Its message is one line with the value, the rule and the remedy.

    Every command line prints the message without a traceback and exits with status 2.
    """


class Interrupted(Exception):
    """Work stopped before its end; the same command resumes it. Command lines exit with status 75."""


def suggestion(name: str, known: Iterable[str]) -> str:
    """Return the end of a message on an unknown name: the most similar known name, or a list of the known ones.

    Args:
        name: the unknown name.
        known: the known names.
    """
    names = list(known)
    return nearest(name, names) or f"; there are: {', '.join(names[:MAX_LISTED_NAMES]) or 'none'}"


def nearest(name: str, known: Iterable[str]) -> str:
    """Return the end of a message that lists the known names: the most similar one, or nothing.

    Args:
        name: the unknown name.
        known: the known names.
    """
    close = closest(name, known) or closest(name.lower(), known)
    return f"; did you mean {close}?" if close else ""


def closest(name: str, known: Iterable[str]) -> str:
    """Return the most similar of some names, with the same first letter if several are equal; empty: none is similar.

    Args:
        name: the unknown name.
        known: the known names.
    """
    found = get_close_matches(name, list(known))
    likeness = {one: SequenceMatcher(None, one, name).ratio() for one in found}
    return max(found, key=lambda one: (likeness[one], one[:1] == name[:1]), default="")


REWORDINGS = (  # wording of pydantic, and its replacement
    (r"^(Value error|Assertion failed), ", ""),
    (r", unable to parse.*| after validation|, got a number with a fractional part", ""),
    (r"^(Input|String|Tuple|List|Dictionary|Value|Data) should (not )?(be |have |match )", r"must \2\3"),
    (r"valid integer", "whole number"),
    (r"a valid boolean", "true or false"),
    (r" valid ", " "),
    (r"^Field required|^Missing required.*", "is missing"),
    (r"^Unexpected keyword argument|^Extra inputs are not permitted", "no such name"),
)


def broken_rule(error: Mapping[str, Any]) -> str:
    """Return the rule that a value breaks, as a phrase for a message.

    Args:
        error: one of `pydantic.ValidationError.errors()`.
    """
    if error["type"] == "literal_error":
        words = re.findall(r"'([^']+)'", error["ctx"]["expected"])
        return rule_of_choice(str(error["input"]), words)
    message: str = error["msg"]
    for theirs, ours in REWORDINGS:
        message = re.sub(theirs, ours, message)
    return message


def rule_of_choice(value: str, words: Sequence[str]) -> str:
    """Return the rule of a value that must be one of some words, with the most similar word if there is one.

    Args:
        value: the value.
        words: the words.
    """
    return f"must be one of {', '.join(words)}{nearest(value, words)}"


def split_assignments[T](
    option: str, texts: Iterable[str], known: Mapping[str, T], kind: str, form: str
) -> Iterator[tuple[T, str]]:
    """Split the `name=value` texts of an option.

    Args:
        option: the option, for messages.
        texts: the values of the option.
        known: the objects that can be named, by name.
        kind: word for such an object, for messages.
        form: the form of a text, for messages.

    Yields:
        The named object, and its value.

    Raises:
        UserError: a text has no equals sign, or names an unknown object.
    """
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals:
            raise UserError(f"{option} {text}: write {form} without spaces, for example {next(iter(known))}=...")
        if name not in known:
            raise UserError(f"{option} {name}: no such {kind}{suggestion(name, known)}")
        yield known[name], value


def differences(stored: Mapping[str, Any], asked: Mapping[str, Any]) -> Iterator[str]:
    """Yield one line for each key whose stored value differs from the one asked for.

    Args:
        stored: the stored values.
        asked: the values asked for.
    """
    for key in dict.fromkeys([*stored, *asked]):
        if stored.get(key) != asked.get(key):
            yield f"{key} is {_shorten(stored.get(key))}, asked {_shorten(asked.get(key))}"


def _shorten(value: object) -> str:
    text = str(value)
    return text if len(text) <= 60 else text[:57] + "..."
