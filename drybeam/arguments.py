"""Arguments given as Python values, written as the command lines take them, which check them."""

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any


def command_words(
    options: Mapping[str, Any], settings: Mapping[str, Any] | None = None, option: str = "set"
) -> list[str]:
    """Return options and settings as the words of a command line.

    Args:
        options: values by the names of the options. None and False leave an option out, True gives it without a value.
        settings: values by the names of the settings, for `option`.
        option: the option that takes settings.

    >>> argv({"n": 5, "overwrite": True, "out": None}, {"defocus": (5000, 8000)})
    ['--n=5', '--overwrite', '--set', 'defocus=5000:8000']
    """
    words = [
        f"--{name.replace('_', '-')}{'' if value is True else f'={_value_text(value)}'}"
        for name, value in _given(options)
    ]
    assignments = setting_texts(settings or {})
    return [*words, *([f"--{option.replace('_', '-')}", *assignments] if assignments else [])]


def _given(options: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    return ((name, value) for name, value in options.items() if value is not None and value is not False)


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
