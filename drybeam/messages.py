"""Errors of the command lines in the words of Python: options become the arguments of a function.

For example, `--workers 0: must be at least 1; see generate --help` becomes `workers=0: must be at least 1; see
help(drybeam.generate)`.
"""

import inspect
import re
from collections.abc import Callable, Mapping
from functools import wraps

from drybeam.arguments import option_name
from schemas.runtime.errors import Interrupted, UserError

OPTION_PATTERN = r"--([a-z][a-z-]*)"
WORD_PATTERN = r"[^\s,;]+"
# What follows an option inside a sentence is its value if it is no word: if it has a capital, a digit or a sign.
VALUE_PATTERN = r"(none\b|(?=[^\s,;)]*[A-Z0-9/*=._~])[^\s,;)]*[^\s,;).:])"
NUMBER_OR_PLACEHOLDER = r"[+-]?[0-9][0-9.]*(e[+-]?[0-9]+)?|[A-Z]+|\.\.\."
QUOTES = "'\""

FUNCTIONS: dict[str, Mapping[str, inspect.Parameter]] = {}  # by function, its arguments by the names of their options


def in_python_words[**P, R](function: Callable[P, R]) -> Callable[P, R]:
    """Let the errors of a function name its own arguments, where the command line names options."""
    name = function.__name__
    FUNCTIONS[name] = {option_name(key): argument for key, argument in inspect.signature(function).parameters.items()}

    @wraps(function)
    def translating(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return function(*args, **kwargs)
        except (UserError, Interrupted) as error:
            error.args = (translate(str(error), name),)
            raise

    return translating


def translate(message: str, function: str) -> str:
    """Return the message of a command line in the words of Python.

    Args:
        message: the message.
        function: name of the function of `drybeam` that was called.
    """

    def option(match: re.Match[str]) -> str:
        if argument := FUNCTIONS[function].get(match[1]):
            return f"{argument.name}=True" if argument.default is False else argument.name
        return f"`{function} --{match[1]}` (in a shell)"

    def assignment(match: re.Match[str]) -> str:
        return _assignment(function, match[1], match[2])

    rules: list[tuple[str, str | Callable[[re.Match[str]], str]]] = [
        (rf"\b(generate|train|infer|evaluate)(?: \.\.\.)?((?: {OPTION_PATTERN} {WORD_PATTERN})+)(?: \.\.\.)?", _call),
        (r"see (\w+) --help", r"see help(drybeam.\1)"),
        (r"`(generate|train|infer|evaluate)` command", r"call of drybeam.\1"),
        (r"same command", "same call"),
        (
            rf"for example {OPTION_PATTERN} ({WORD_PATTERN})",
            lambda match: f"for example drybeam.{function}(..., {assignment(match)})",
        ),
        (r"--set (?!is |and |or )(?=[a-z_.]+([=:,;\s]|$))", ""),
        (rf"^{OPTION_PATTERN} (?!is |are |and |needs? )([^:]+(?:://[^:]+)?)(?=: )", assignment),
        (rf"{OPTION_PATTERN} {VALUE_PATTERN}", assignment),
        (OPTION_PATTERN, option),
    ]
    for pattern, replacement in rules:
        message = re.sub(pattern, replacement, message)
    return message


def _call(match: re.Match[str]) -> str:
    """Return a command with its options as a call."""
    arguments = [
        _assignment(match[1], option, value)
        for option, value in re.findall(rf"{OPTION_PATTERN} ({WORD_PATTERN})", match[2])
    ]
    return f"drybeam.{match[1]}({', '.join([*arguments, *(['...'] if ' ... ' in f'{match[0]} ' else [])])})"


def _assignment(function: str, option: str, value: str) -> str:
    """Return an option with its value as an argument with its value."""
    argument = FUNCTIONS[function].get(option)
    if argument and argument.kind is argument.VAR_POSITIONAL:
        return f"({', '.join(map(_literal, value.split('=')))})"
    return f"{argument.name if argument else option}={_literal(value)}"


def _literal(value: str) -> str:
    return value if re.fullmatch(NUMBER_OR_PLACEHOLDER, value) else f'"{value.strip(QUOTES)}"'
