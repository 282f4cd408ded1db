"""The report of a run. `metrics.jsonl` holds one line per log step and per evaluation; other files are made from it.

`metrics.csv` and `curves.png` are written when the run stops. `tensorboard/` is written anew when the run starts, and
then follows it.
"""

import io
import json
import platform
import struct
import time
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from tensorboardX.proto.event_pb2 import Event
from tensorboardX.record_writer import masked_crc32c
from tensorboardX.summary import scalar

from schemas.runtime.csv_files import csv_table
from schemas.runtime.publish import entries, publish, remove
from schemas.runtime.publish import read as read_object

type Row = dict[str, float | int]


class Journal:
    """The report of a run in a folder. Lines after a given step, left by a killed process, are removed at the start."""

    def __init__(self, folder: Path, step: int) -> None:
        self._folder = folder
        rows = [row for row in read_journal(folder) if row["step"] <= step]
        publish(folder / "metrics.jsonl", "".join(_line(row) for row in rows).encode())
        self._file = (folder / "metrics.jsonl").open("a")
        for events in entries(folder / "tensorboard"):  # a killed process may have left their last record incomplete
            remove(events)
        self._board = Board(folder / "tensorboard")
        for row in rows:
            self._draw_row(row)

    def write(self, row: Row) -> None:
        """Write a line."""
        self._file.write(_line(row))
        self._file.flush()
        self._draw_row(row)

    def _draw_row(self, row: Row) -> None:
        for name, value in row.items():
            if name not in ("step", "epoch"):
                self._board.write(name, value, int(row["step"]))

    def close(self) -> None:
        """Write the files that are made from the lines."""
        with closing(self._board), closing(self._file):
            pass
        rows = read_journal(self._folder)
        names = list(dict.fromkeys(name for row in rows for name in row))
        publish(self._folder / "metrics.csv", csv_table([names, *([row.get(name) for name in names] for row in rows)]))
        publish(self._folder / "curves.png", draw_curves(rows))


class Board:
    """Scalars for TensorBoard in a folder, as TensorFlow's records: length and data, each with a checksum.

    Each record is written at once, so an OSError is raised here. The writer of tensorboardX uses a thread, which
    ends with a traceback if the disk is full.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        place = folder / f"events.out.tfevents.{time.time():.0f}.{platform.node()}"
        self._file = place.open("wb", buffering=0)
        self._write_event(file_version="brain.Event:2")

    def write(self, name: str, value: float, step: int) -> None:
        """Write a point of a curve.

        Args:
            name: name of the curve.
            value: the value.
            step: step of the run.
        """
        self._write_event(step=step, summary=scalar(name, value))

    def _write_event(self, **content: Any) -> None:
        data = Event(wall_time=time.time(), **content).SerializeToString()
        length = struct.pack("<Q", len(data))
        sums = [struct.pack("<I", masked_crc32c(part)) for part in (length, data)]
        self._file.write(length + sums[0] + data + sums[1])

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def read_journal(folder: Path) -> list[Row]:
    """Return the lines of a run's journal, without those that are incomplete or damaged.

    Args:
        folder: folder of the run.
    """
    rows = []
    for line in (read_object(folder / "metrics.jsonl") or b"").decode(errors="replace").splitlines():
        with suppress(ValueError):
            row = json.loads(line)
            if isinstance(row, dict) and isinstance(row.get("step"), int):
                rows.append(row)
    return rows


def _line(row: Row) -> str:
    return json.dumps(row) + "\n"


def draw_curves(rows: list[Row]) -> bytes:
    """Draw losses and learning rate against the step; return a PNG file.

    Args:
        rows: lines of the journal.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.5), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    scores = sorted({name for row in rows for name in row if name.startswith("validation/")} - {"validation/loss"})
    for name, style in (("train/loss", "-"), ("validation/loss", "o-"), *((score, "s--") for score in scores)):
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
