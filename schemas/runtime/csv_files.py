"""Tables in CSV, which people open in spreadsheets."""

import csv
import io
from collections.abc import Iterable
from contextlib import suppress

from schemas.runtime.terminal import printable

FORMULA_STARTS = tuple("=+-@＝＋－＠")  # a spreadsheet computes cells that begin with these, also in full width


def csv_table(rows: Iterable[Iterable[object]]) -> bytes:
    """Return rows as the content of a CSV file, each cell of which a spreadsheet takes as a number or a plain text.

    Names may come from strangers: `printable` replaces characters that control, and a text that would be computed as a
    formula gets an apostrophe in front.

    Args:
        rows: the cells of each row, numbers or texts; None: an empty cell.
    """
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([_cell(value) for value in row] for row in rows)
    return text.getvalue().encode()


def _cell(value: object) -> object:
    """Return a number as it is, and a text in a form that is no formula."""
    if not isinstance(value, str):
        return value
    with suppress(ValueError):
        float(value)
        return value
    text = printable(value)
    return f"'{text}" if text.startswith(FORMULA_STARTS) else text
