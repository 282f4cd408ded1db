"""Tables at the end of a report: settings of methods and their tuning, recipe, digests, versions, hardware."""

from collections.abc import Sequence
from typing import Any

from inference.contract import Setting
from inference.invert.split_reader import Source
from inference.report.evaluation import Evaluation, Result, ScoredPredictions
from inference.report.html import Cell, Table, number
from inference.task_modules import find_inference
from schemas.predictions import Tuning
from schemas.runtime.settings import flatten
from schemas.runtime.terminal import count_text, unit_of


def methods(task: str, stores: Sequence[ScoredPredictions]) -> Table:
    """Return a table of the methods: their settings, how these were found, and the time that they take.

    Args:
        task: name of the task.
        stores: predictions of each method.
    """
    header = ["method", "description", "settings", "tuning", number("s per sample"), "hardware"]
    return header, [_method_row(task, store) for store in stores]


def _method_row(task: str, store: ScoredPredictions) -> list[Cell]:
    """Return the row of one method."""
    metadata = store.metadata
    settings = [_setting_text(task, store, key, value) for key, value in metadata.settings.items()]
    tiles = ", ".join(f"{dim} {length}" for dim, length in metadata.tiles.items())
    settings += [f"tiles of {tiles}, overlap {metadata.overlap:g}"] if tiles else []
    prose = [(text, "prose") for text in (metadata.about, "; ".join(settings), _tuning_text(metadata.tuning))]
    seconds = "unknown" if metadata.seconds_per_sample is None else f"{metadata.seconds_per_sample:.2g}"
    return [store.name, *prose, number(seconds), metadata.hardware]


def _setting_text(task: str, store: ScoredPredictions, key: str, value: float | str) -> str:
    """Return a setting in words, with unit and meaning if this program still knows the method."""
    method = find_inference(task).METHODS.get(store.metadata.method)
    known: Setting | None = method.settings.get(key) if method else None
    if known is None:
        return f"{key} = {value}"
    unit = unit_of(value, known.unit)
    return f"{key} = {value}{'' if unit in ('', '1') else ' ' + unit} ({known.about})"


def _tuning_text(tuning: Tuning | None) -> str:
    """Return in words how settings were tuned; empty if they were not."""
    if tuning is None:
        return ""
    fixed = f"; fixed by the user: {', '.join(tuning.fixed)}" if tuning.fixed else ""
    beyond = "is the smallest or largest value tried, so a value beyond it may be better"
    edges = f"; the best {', '.join(tuning.edges)} {beyond}" if tuning.edges else ""
    combinations = count_text(tuning.combinations, "combination")
    return (
        f"lowest mean {tuning.metric} ({tuning.nrms:.4g}) of {combinations} of settings on "
        f"{count_text(tuning.samples, 'sample')} of {tuning.split}{fixed}{edges}"
    )


def recipe(result: Result) -> Table:
    """Return a table of all settings in the recipe of the dataset."""
    settings = result.source.manifest.settings
    rows = [
        _recipe_row(name, value, settings.get(name, {})) for name, value in flatten(result.source.manifest.recipe or {})
    ]
    return ["setting", "value", "unit", "meaning"], rows


def _recipe_row(name: str, value: Any, known: dict[str, Any]) -> list[Cell]:
    unit, about = (str(known.get(key, "")) for key in ("unit", "about"))
    return [name, _value_text(value), unit_of(value, unit), (about, "prose")]


def _value_text(value: Any) -> str:
    """Return a value in words: a range as low to high, a long list by its length."""
    if not isinstance(value, list):
        return "none" if value is None else str(value)
    if len(value) == 2 and all(isinstance(end, int | float) for end in value):
        return f"{value[0]:g} to {value[1]:g}"
    return f"{len(value)} values" if len(value) > 16 else ", ".join(map(str, value))


def provenance(evaluation: Evaluation) -> list[Sequence[Cell]]:
    """Return a table of the origin of samples and predictions: digests, seed, versions, platform."""
    result, manifest = evaluation.main, evaluation.main.source.manifest
    return [
        ["dataset", f"{result.source.path.name}, {manifest.origin}, digest {manifest.root_digest}"],
        *(["split", _split_text(result.source)] for result in evaluation.results),
        ["made with", f"seed {manifest.seed}, generator version {manifest.generator_version}, {_packages(manifest)}"],
        ["made on", manifest.platform],
        ["formula", manifest.task.formula],
        ["ambiguities", ", ".join(manifest.task.ambiguities.free) or "none"],
        *([store.name, _origin_text(result, store)] for store in result.methods),
    ]


def _split_text(source: Source) -> str:
    digest = source.manifest.split_digests.get(source.split)
    return f"{source.split}, {count_text(source.samples, 'sample')}, digest {digest}"


def _origin_text(result: Result, store: ScoredPredictions) -> str:
    """Return in words the versions of programs, and for a network its weights and training data."""
    metadata = store.metadata
    packages = _packages(metadata)
    if metadata.weights is None:
        return packages
    same = metadata.weights.trained_on == result.source.manifest.root_digest
    data = "this dataset" if same else f"dataset {metadata.weights.trained_on}"
    samples = count_text(metadata.weights.samples, "sample")
    return f"weights {metadata.weights.sha256}, trained on {samples} of {data}; {packages}"


def _packages(made: Any) -> str:
    return ", ".join(f"{name} {version}" for name, version in made.packages.items())
