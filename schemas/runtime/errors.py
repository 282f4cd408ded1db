"""The one exception for mistakes that a person can mend, and the name that was perhaps meant."""

import errno
from collections.abc import Iterable
from difflib import get_close_matches

FULL = (errno.ENOSPC, errno.EDQUOT)  # of an OSError: the disk, or what of it is ours
MANY = 12  # names, at most, are listed


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
