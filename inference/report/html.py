"""Render pages from `inference/templates`. Text from files is escaped, and all pictures are embedded in the page."""

import base64
from collections.abc import Iterable, Sequence
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from matplotlib.figure import Figure

from inference.report.style import png
from schemas.runtime.terminal import count_text, printable

type Cell = str | tuple[str, str]  # text, or text and the CSS class of its cell
type Table = tuple[Sequence[Cell], Iterable[Sequence[Cell]]]  # header and rows


def number(text: str) -> Cell:
    """Return a cell for a number, or for the name of a column of numbers."""
    return text, "number"


def mark_lowest(texts: Sequence[str], values: Sequence[float | None]) -> list[Cell]:
    """Return cells for numbers, with the lowest value in bold if there are several.

    Args:
        texts: the numbers as they are written.
        values: the numbers; None for an undefined one.
    """
    known = [value for value in values if value is not None]
    best = values.index(min(known)) if known and len(values) > 1 else None
    return [(text, "number best" if i == best else "number") for i, text in enumerate(texts)]


def _printable_text(value: object) -> object:
    return value if isinstance(value, Markup) else printable(str(value))


def _data_address(drawn: Figure) -> str:
    return f"data:image/png;base64,{base64.b64encode(png(drawn)).decode()}"


_ENVIRONMENT = Environment(
    loader=PackageLoader("inference"),
    autoescape=True,
    trim_blocks=True,
    lstrip_blocks=True,
    undefined=StrictUndefined,
    finalize=_printable_text,
)
_ENVIRONMENT.filters |= {"png": _data_address, "counted": count_text}


def render(template: str, **content: Any) -> Markup:
    """Return a template filled with content. All values are escaped, except those that are Markup already.

    Args:
        template: name of the file in `inference/templates`.
        content: values by the names that the template uses.
    """
    return Markup(_ENVIRONMENT.get_template(template).render(content))
