"""The numbers of an evaluation: `metrics.json`, `metrics.csv`, and a table on the terminal."""

import csv
import io
import json
import math
from pathlib import Path
from typing import Any

import numpy as np

from inference.evaluation import Result, Run
from schemas.errors import UserError
from schemas.objects import publish
from schemas.scores import SCORES, Score


def write(result: Result, folder: Path) -> None:
    """Both files, each whole or not at all."""
    publish(folder / "metrics.json", (json.dumps(metrics(result), indent=2, sort_keys=True) + "\n").encode())
    publish(folder / "metrics.csv", rows(result).encode())


def refuse_loss(result: Result, folder: Path) -> None:
    """UserError if the numbers in a folder would be lost: those of other data, or of a method that is not in these."""
    try:
        there = json.loads((folder / "metrics.json").read_text())
        same = there["dataset_digest"] == result.source.manifest.root_digest and there["split"] == result.source.split
        lost = set(there["methods"]) - {run.name for run in result.runs} if same else set(there["methods"])
    except FileNotFoundError:
        return
    except (OSError, ValueError, KeyError, TypeError):
        raise UserError(f"{folder}/metrics.json: not this program's; give another --out, or --overwrite") from None
    if lost:
        raise UserError(
            f"{folder}: holds the report of {', '.join(sorted(map(str, lost)))}"
            f"{'' if same else ' on other samples'}; give another --out, or --overwrite"
        )


def metrics(result: Result) -> dict[str, Any]:
    """What `metrics.json` holds."""
    return {
        "task": result.task.name,
        "split": result.source.split,
        "dataset_digest": result.source.manifest.root_digest,
        "samples": result.source.samples,
        "methods": {run.name: _method(result, run) for run in result.runs},
    }


def _method(result: Result, run: Run) -> dict[str, Any]:
    found = run.predictions
    return {
        "kind": found.kind,
        "method": found.method,
        "settings": found.settings,
        "samples": found.samples,
        "not_finite": result.broken(run),
        "seconds_per_sample": found.seconds_per_sample,
        "hardware": found.hardware,
        "parameters": found.weights.parameters if found.weights else None,
        "metrics": result.summaries[run.name],
    }


def rows(result: Result) -> str:
    """`metrics.csv`: a row per sample; index, parameters, `<run>.<metric>`. Values with all their digits.

    A parameter of several values is that of several columns: defocus.0, defocus.1, ...
    """
    columns: dict[str, np.ndarray] = {"sample": np.arange(result.source.samples)}
    for name, values in sorted(result.parameters.items()):
        flat = values.reshape(len(values), -1)
        columns |= {name: values} if values.ndim == 1 else {f"{name}.{i}": part for i, part in enumerate(flat.T)}
    columns |= {
        f"{run.name}.{metric}": values for run in result.runs for metric, values in result.scores[run.name].items()
    }
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(zip(*(map(str, column) for column in columns.values()), strict=True))
    return text.getvalue()


def metric_of(key: str) -> Score:
    """What a key of the scores (`nrms`, `phase.nrms`) means."""
    return SCORES[key.rpartition(".")[2]]


def arrow(key: str) -> str:
    """Which way is better."""
    return "↓" if metric_of(key).better == "lower" else "↑"


def mean_and_deviation(values: dict[str, Any]) -> str:
    """As `0.312 ± 0.101`."""
    if values["mean"] is None:
        return "undefined"
    return f"{values['mean']:.4g} ± {values['std']:.2g}"


def unit_of(values: dict[str, Any]) -> str:
    """As `[rad]`; nothing for pure numbers."""
    return "" if values["unit"] == "1" else f" [{values['unit']}]"


def ratio(result: Result, run: Run, reference: Run) -> float | None:
    """Mean nrms over that of another run, of the samples that both have one of; None if there are none, or it is 0."""
    ours, theirs = _common(result, run, reference)
    return float(ours.mean() / theirs.mean()) if len(ours) and theirs.mean() else None


def ratio_error(result: Result, run: Run, reference: Run) -> float:
    """Standard error of `ratio`: that of mean(a - r b) / mean(b)."""
    share, (ours, theirs) = ratio(result, run, reference), _common(result, run, reference)
    if share is None or len(ours) < 2:
        return math.nan
    left = ours - share * theirs
    return float(left.std(ddof=1) / np.sqrt(len(left)) / theirs.mean())


def _common(result: Result, *runs: Run) -> tuple[np.ndarray, np.ndarray]:
    a, b = (result.scores[run.name]["nrms"] for run in runs)
    known = np.isfinite(a) & np.isfinite(b)
    return a[known], b[known]


def show(result: Result) -> None:
    """Print means and standard deviations of all metrics."""
    import sys

    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    first = result.summaries[result.runs[0].name]
    table = Table("method", box=None, pad_edge=False)
    for key, values in first.items():
        table.add_column(f"{key}{escape(unit_of(values))} {arrow(key)}")
    for run in result.runs:
        cells = [mean_and_deviation(values) for values in result.summaries[run.name].values()]
        table.add_row(escape(run.name), *cells)
    Console(width=None if sys.stdout.isatty() else 160).print(table)
