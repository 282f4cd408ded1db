"""Pieces of a page: all text from files is text, all pictures are in it, nothing is fetched from anywhere."""

import base64
from collections.abc import Iterable, Sequence
from html import escape

from matplotlib.figure import Figure

from inference.report.style import png
from schemas.runtime.terminal import printable

PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>{css}</style>
</head>
<body>
{body}
</body>
</html>
"""

CSS = """
:root { color-scheme: light; }
body { font: 16px/1.5 system-ui, sans-serif; color: #222; background: #fff; margin: 0 auto; padding: 1rem;
       max-width: 70rem; overflow-wrap: break-word; }
h1 { font-size: 1.5rem; line-height: 1.25; margin: .5rem 0; }
h2 { font-size: 1.15rem; margin: 2.2rem 0 .6rem; border-bottom: 1px solid #ddd; padding-bottom: .2rem; }
p { max-width: 48rem; margin: .5rem 0; }
.quiet { color: #666; font-size: .9rem; }
.wide { overflow-x: auto; }
.wide img { min-width: 44rem; }
img { max-width: 100%; height: auto; }
.whole { grid-column: 1 / -1; }
.pair { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 26rem), 1fr)); gap: .5rem 1.5rem; }
table { border-collapse: collapse; font-size: .9rem; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: .3rem 1rem .3rem 0; border-bottom: 1px solid #eee; vertical-align: top; }
th { white-space: nowrap; }
td { max-width: 24rem; }
.prose { min-width: 10rem; }
.number { text-align: right; white-space: nowrap; }
.best { font-weight: 700; }
"""

type Cell = str | tuple[str, str]  # text, or text and its classes


def text(value: object) -> str:
    """Text from files, as text."""
    return escape(printable(str(value)))


def paragraph(words: str, kind: str = "plain") -> str:
    """A paragraph of text."""
    return f'<p class="{kind}">{text(words)}</p>'


def table(header: Sequence[Cell], rows: Iterable[Sequence[Cell]]) -> str:
    """A table of text, which scrolls on a narrow screen."""
    head = "".join(_cell(name, "th") for name in header)
    body = "\n".join(f"<tr>{''.join(_cell(cell, 'td') for cell in row)}</tr>" for row in rows)
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead>\n<tbody>{body}</tbody></table></div>'


def _cell(cell: Cell, tag: str) -> str:
    words, kind = cell if isinstance(cell, tuple) else (cell, "plain")
    return f'<{tag} class="{kind}">{text(words)}</{tag}>'


def image(drawn: Figure, about: str, *, wide: bool = False) -> str:
    """A figure; a wide one scrolls on a narrow screen."""
    encoded = base64.b64encode(png(drawn)).decode()
    tag = f'<img alt="{text(about)}" src="data:image/png;base64,{encoded}">'
    return f'<div class="wide">{tag}</div>' if wide else tag
