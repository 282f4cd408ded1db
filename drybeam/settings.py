"""Convert settings from Python values to the texts that `--set` takes."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any


def texts(settings: Mapping[str, Any], prefix: str = "") -> list[str]:
    """Return settings as `name=value` texts.

    A tuple (low, high) is a range from which a value is drawn for each sample. A list holds several values, and a
    mapping holds the settings of a part of the recipe. None switches a setting off.

    Args:
        settings: values by the names of the settings.
        prefix: prefix of all names.

    >>> texts({"defocus": (5000, 8000), "specimen": {"kind": "cube"}, "noise": 0})
    ['defocus=5000:8000', 'specimen.kind=cube', 'noise=0']
    """
    return list(_texts(settings, prefix))


def _texts(settings: Mapping[str, Any], prefix: str) -> Iterator[str]:
    for name, value in settings.items():
        if isinstance(value, Mapping):
            yield from _texts(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}={_text(value)}"


def _text(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return ":".join(map(str, value))
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ",".join(map(_text, value))
    return str(value)
