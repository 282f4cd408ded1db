"""The one exception for mistakes that a person can mend."""


class UserError(Exception):
    """A mistake of the person at the keyboard: one line with the value, the rule and the remedy.

    Every command line prints it without a traceback and exits with status 2.
    """


class Interrupted(Exception):
    """Work stopped before its end; the same command resumes it. Command lines exit with status 75."""
