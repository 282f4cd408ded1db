"""Files of scores without truth: `metrics.json`, `metrics.csv` and `report.html`, and the table on the terminal."""

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from inference.report.evaluation import ScoredPredictions
from inference.without_truth.pairs import MEASUREMENT, Pair
from inference.without_truth.scoring import Scores
from physics.unbiased_error import peak_signal_to_noise
from schemas.runtime.terminal import say, say_rows

DOSE_SHARE = 0.5  # share of the dose at which halves are scored

type Entry = dict[str, float | int | str | None]


def metrics(found: Scores) -> dict[str, Any]:
    """Return the content of `metrics.json`."""
    manifest = found.source.manifest
    return {
        "task": manifest.task.name,
        "split": found.source.split,
        "dataset_digest": manifest.root_digest,
        "input": found.source.counts.input,
        "dose_share": DOSE_SHARE,
        "data_range": found.data_range,
        "samples": found.rows.samples,
        "best": found.best,
        "measurement": _scores(found, MEASUREMENT),
        "methods": {pair.name: _method_entry(found, pair) for pair in found.pairs},
    }


def scored(found: Scores) -> tuple[str, set[tuple[str, str]]]:
    """Return the root digest of the dataset, and the split and name of all methods."""
    return str(found.source.manifest.root_digest), {(found.source.split, pair.name) for pair in found.pairs}


def _method_entry(found: Scores, pair: Pair) -> dict[str, Any]:
    """Return the entry of one method in `metrics.json`."""
    metadata = pair.first.metadata
    return {
        "kind": metadata.kind,
        "method": metadata.method,
        "settings": metadata.settings,
        "estimate": list(pair.estimate),
        "samples": metadata.samples,
        "not_finite": int(np.isnan(found.errors[pair.name].slices).sum()),
        "seconds_per_sample": metadata.seconds_per_sample,
        "hardware": metadata.hardware,
        "parameters": metadata.weights.parameters if metadata.weights else None,
        "metrics": _scores(found, pair.name),
    }


def _scores(found: Scores, name: str) -> dict[str, Entry]:
    """Return the scores of one method; with stored truth, also the errors against it, which need no interval."""
    errors, interval = found.errors[name], found.interval(name)
    known = errors.slices[np.isfinite(errors.slices)]
    common: Entry = {"std": None, "n": len(known)}
    deviation: Entry = {"std": float(known.std())} if len(known) else {}
    decibels = [_decibels(found, value) for value in (errors.mean, *interval[::-1])]
    entries: dict[str, Entry] = {
        "umse": {**common, **_ends(errors.mean, *interval), **deviation, "unit": _squared_unit(found)},
        "upsnr": {**common, **_ends(*decibels), "unit": "dB"},
    }
    if name != found.best:
        above = found.errors[name].mean - found.errors[found.best].mean
        ends = found.interval(name, found.best)
        entries["umse_above_best"] = {**common, **_ends(above, *ends), "unit": _squared_unit(found)}
    if (true := errors.true_mean) is not None:
        entries["mse"] = {**common, "mean": _finite(true), "unit": _squared_unit(found)}
        entries["psnr"] = {**common, "mean": _finite(_decibels(found, true)), "unit": "dB"}
    return entries


def _ends(mean: float, low: float, high: float) -> Entry:
    return {"mean": _finite(mean), "low": _finite(low), "high": _finite(high)}


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _decibels(found: Scores, error: float) -> float:
    return float(peak_signal_to_noise(np.asarray(error), found.data_range)) if found.data_range else math.nan


def _squared_unit(found: Scores) -> str:
    units = found.source.manifest.task[found.source.counts.input].units
    return "1" if units == "1" else f"({units})^2"


def csv_rows(found: Scores) -> Iterator[Sequence[object]]:
    """Yield the rows of `metrics.csv`: names, then one row per slice with the scores of each method."""
    slices = found.rows.slices
    count = np.arange(found.rows.samples)
    columns: dict[str, Any] = {"sample": count // slices, **({"slice": count % slices} if slices > 1 else {})}
    for name, errors in found.errors.items():
        low, high = errors.slice_intervals
        columns |= {f"{name}.umse": errors.slices, f"{name}.umse_low": low, f"{name}.umse_high": high}
        columns[f"{name}.upsnr"] = peak_signal_to_noise(errors.slices, found.data_range)
        columns |= {} if errors.true is None else {f"{name}.mse": errors.true}
    yield list(columns)
    yield from zip(*(map(str, values) for values in columns.values()), strict=True)


def show(found: Scores) -> None:
    """Print a table of the scores, and what they mean."""
    say_rows([[cell if isinstance(cell, str) else cell[0] for cell in row] for row in table(found)])
    say(statement(found))


def statement(found: Scores) -> str:
    """Return in words what the scores are, with the dose at which they hold."""
    return (
        f"umse: squared error of predictions from one half of the counts against the other, minus its noise; it holds "
        f"at half the dose. upsnr: 10 log10(R^2 / umse), R = {found.data_range:.4g}. Brackets: 95 % intervals"
    )


def table(found: Scores) -> list[list[str]]:
    """Return header and rows of the table of all methods, and of the measurement itself."""
    keys = dict.fromkeys(key for name in found.errors for key in _scores(found, name))
    units = {key: unit for name in found.errors for key, one in _scores(found, name).items() if (unit := one["unit"])}
    header = [key if units[key] == "1" else f"{key} [{units[key]}]" for key in keys]
    rows = []
    for name in found.errors:
        entries = _scores(found, name)
        rows.append([name, *(_entry_text(entries.get(key)) for key in keys)])
    return [["method", *header], *rows]


def _entry_text(entry: Entry | None) -> str:
    """Return a score with its interval in words."""
    if entry is None:
        return ""
    mean, low, high = (entry.get(key) for key in ("mean", "low", "high"))
    if mean is None:
        return "undefined"
    ends = ["unknown" if end is None else f"{end:.4g}" for end in (low, high)]
    return f"{mean:.4g} ({' to '.join(ends)})" if low is not None or high is not None else f"{mean:.4g}"


def page(found: Scores) -> str:
    """Return the report as HTML."""
    from inference.report import provenance
    from inference.report.html import number, render
    from inference.report.style import styled
    from inference.without_truth.figures import examples

    stores: list[ScoredPredictions] = [pair.first for pair in found.pairs]
    header, *rows = table(found)
    with styled():
        return render(
            "without_truth.html",
            found=found,
            task=found.source.manifest.task,
            stores=stores,
            header=["method", *map(number, header[1:])],
            rows=[[row[0], *map(number, row[1:])] for row in rows],
            methods=provenance.methods(found.source.manifest.task.name, stores),
            statement=statement(found),
            drawn=examples(found),
        )
