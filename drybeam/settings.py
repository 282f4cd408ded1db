"""Settings given as Python values, written as the texts that `--set` takes."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any


def texts(settings: Mapping[str, Any], prefix: str = "") -> list[str]:
    """Return settings as `name=value` texts.

    A tuple (low, high) is a range from which each sample draws, a list holds several values, a mapping holds
    settings of its own, and None switches a setting off.

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
