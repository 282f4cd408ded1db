"""Arguments given as Python values, written as the command lines take them, which check them."""

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

OPTIONS = {  # options of the command lines that have another name than the argument
    "source": "from",
    "start": "from",
    "settings": "set",
    "stitch_settings": "stitch-set",
}


def option_name(argument: str) -> str:
    """Return the name of the option, without its dashes, that an argument of a function stands for."""
    return OPTIONS.get(argument, argument.replace("_", "-"))


def command_words(
    arguments: Mapping[str, Any], settings: Mapping[str, Any] | None = None, settings_argument: str = "settings"
) -> list[str]:
    """Return arguments and settings as the words of a command line.

    Args:
        arguments: values by name. None and False leave an option out, True gives it without a value.
        settings: values by the names of the settings.
        settings_argument: the argument that takes the settings.

    >>> command_words({"n": 5, "overwrite": True, "out": None}, {"defocus": (5000, 8000)})
    ['--n=5', '--overwrite', '--set', 'defocus=5000:8000']
    """
    given = {name: value for name, value in arguments.items() if value is not None and value is not False}
    words = [
        f"--{option_name(name)}{'' if value is True else f'={_value_text(value)}'}" for name, value in given.items()
    ]
    assignments = setting_texts(settings or {})
    return [*words, *([f"--{option_name(settings_argument)}", *assignments] if assignments else [])]


def setting_texts(settings: Mapping[str, Any], prefix: str = "") -> list[str]:
    """Return settings as `name=value` texts.

    A tuple of two numbers (low, high) is a range from which a value is drawn for each sample. Other tuples, lists and
    arrays hold several values, and a mapping holds the settings of a part of the recipe. None switches a setting off.

    Args:
        settings: values by the names of the settings.
        prefix: prefix of all names.

    >>> texts({"defocus": (5000, 8000), "specimen": {"kind": "cube"}, "noise": 0})
    ['defocus=5000:8000', 'specimen.kind=cube', 'noise=0']
    """
    return list(_setting_texts(settings, prefix))


def _setting_texts(settings: Mapping[str, Any], prefix: str) -> Iterator[str]:
    for name, value in settings.items():
        if isinstance(value, Mapping):
            yield from _setting_texts(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}={_value_text(value)}"


def _value_text(value: Any) -> str:
    value = value.tolist() if getattr(value, "ndim", 0) else value  # an array
    if value is None or isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple) and len(value) == 2 and not any(isinstance(part, str) for part in value):
        return ":".join(map(_value_text, value))
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ",".join(map(_value_text, value))
    return os.fspath(value) if isinstance(value, os.PathLike) else str(value)
