"""What a run reports: `metrics.jsonl` is the truth, a line per log step and per evaluation; the rest is made from it.

metrics.csv and curves.png are made anew when the run stops, tensorboard/ when it starts; it follows while it runs.
"""

import csv
import io
import json
from contextlib import suppress
from pathlib import Path
from typing import Any

from tensorboardX import SummaryWriter

from schemas.objects import publish

type Row = dict[str, float | int]


class Journal:
    """The report of a run in a folder, cut back to a step."""

    def __init__(self, folder: Path, step: int) -> None:
        self._folder = folder
        rows = [row for row in read(folder) if row["step"] <= step]
        publish(folder / "metrics.jsonl", "".join(_line(row) for row in rows).encode())
        self._file = (folder / "metrics.jsonl").open("a")
        for events in (folder / "tensorboard").glob("events.out.tfevents.*"):  # a kill may have cut them short
            events.unlink()
        self._board = SummaryWriter(str(folder / "tensorboard"), max_queue=100, flush_secs=10)
        for row in rows:
            self._show(row)

    def write(self, row: Row) -> None:
        """A line."""
        self._file.write(_line(row))
        self._file.flush()
        self._show(row)

    def _show(self, row: Row) -> None:
        for name, value in row.items():
            if name not in ("step", "epoch"):
                self._board.add_scalar(name, value, row["step"])

    def close(self) -> None:
        """Write what is made from the lines."""
        self._file.close()
        self._board.close()
        rows = read(self._folder)
        publish(self._folder / "metrics.csv", _table(rows).encode())
        publish(self._folder / "curves.png", curves(rows))


def read(folder: Path) -> list[Row]:
    """The lines of a run; torn or damaged ones are left out."""
    path = folder / "metrics.jsonl"
    rows = []
    for line in path.read_text(errors="replace").splitlines() if path.exists() else []:
        with suppress(ValueError):
            row = json.loads(line)
            if isinstance(row, dict) and isinstance(row.get("step"), int):
                rows.append(row)
    return rows


def _line(row: Row) -> str:
    return json.dumps(row) + "\n"


def _table(rows: list[Row]) -> str:
    names = list(dict.fromkeys(name for row in rows for name in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, names)
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def curves(rows: list[Row]) -> bytes:
    """Losses and learning rate against the step, PNG."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.5), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    for name, style in (("train/loss", "-"), ("validation/loss", "o-"), ("validation/nrms", "s--")):
        _plot(upper, rows, name, style)
    _plot(lower, rows, "learning_rate", "-")
    upper.set(yscale="log", ylabel="loss")
    upper.grid(alpha=0.3, which="both")
    if upper.lines:
        upper.legend(frameon=False)
    lower.set(xlabel="step", ylabel="learning rate")
    data = io.BytesIO()
    figure.savefig(data, format="png", dpi=120)
    return data.getvalue()


def _plot(axes: Any, rows: list[Row], name: str, style: str) -> None:
    points = [(row["step"], row[name]) for row in rows if name in row]
    if points:
        axes.plot(*zip(*points, strict=True), style, label=name, markersize=3, linewidth=1)
