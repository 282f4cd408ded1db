"""Drybeam from Python: generate datasets, train networks, invert measurements and score the results.

Each function does the same as the command line of its name, with the same options and defaults. A mistake raises
`drybeam.UserError` with one line that says what to do. A function returns a result on disk, which a
notebook displays and which can be used wherever a path can.

    import drybeam

    data = drybeam.generate("tie", 200, out="tie.zarr", noise=0.05)
    run = drybeam.train(data, model="unet", epochs=4)
    found = drybeam.infer(data, model=run)
    drybeam.evaluate(data, found, out="report")

Importing this package loads no other library; each function loads what it needs.
"""

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from drybeam.arguments import command_words
from drybeam.messages import in_python_words
from drybeam.results import Dataset, Model, Predictions, Report, Run
from schemas.runtime.errors import Interrupted, UserError
from schemas.runtime.terminal import say

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure

__all__ = [
    "Dataset",
    "Interrupted",
    "Model",
    "Predictions",
    "Report",
    "Run",
    "UserError",
    "evaluate",
    "generate",
    "infer",
    "load_model",
    "open",
    "preview",
    "train",
]

type PathLike = str | os.PathLike[str]


@in_python_words
def generate(
    task: str | None = None,
    n: int | None = None,
    *,
    out: PathLike | None = None,
    recipe: PathLike | None = None,
    validation: int | None = None,
    test: int | None = None,
    seed: int | None = None,
    source: PathLike | None = None,
    inputs: PathLike | None = None,
    overwrite: bool = False,
    workers: int | None = None,
    scheduler: str | None = None,
    shard_samples: int | None = None,
    **settings: Any,
) -> Dataset:
    """Make a dataset of simulated measurements.

    The same call resumes after an interruption. A call with a larger `n` extends the dataset.

    Args:
        task: kind of dataset, for example "tie".
        n: number of training samples; validation and test get a tenth each unless they are given.
        out: store (`<task>.zarr` in the current folder).
        recipe: name of a recipe, or a JSON file.
        validation: number of validation samples.
        test: number of test samples.
        seed: seed of all random numbers (0).
        source: a dataset whose recipe and numbers of samples are used again (`generate --from`).
        inputs: folder with the input files that `source` recorded by their hashes.
        overwrite: replace the dataset that is there.
        workers: number of local processes (one per core).
        scheduler: "synchronous", or the address of a running Dask scheduler.
        shard_samples: samples per shard, which is made and written at once.
        settings: settings of the recipe; `generate --task TASK --describe` lists them. A tuple (low, high) is a range
            from which a value is drawn for each sample. A mapping holds the settings of a part of the recipe.

    Returns:
        The finished dataset.

    Raises:
        UserError: an option or a setting is wrong, or another dataset is in the way.
        Interrupted: workers or the disk failed; the same call resumes.
    """
    from generators import cli, command

    options: dict[str, Any] = {
        "task": task,
        "n": n,
        "validation": validation,
        "test": test,
        "seed": seed,
        "recipe": recipe,
        "inputs": inputs,
        "out": out,
    }
    options |= {"source": source, "overwrite": overwrite, "workers": workers, "scheduler": scheduler}
    words = command_words(options | {"shard_samples": shard_samples}, settings)
    with _unchanged_process():
        generated = command.generate(cli.options(cli.arguments(words)))
    say(command.summary(generated))
    return Dataset(_absolute(generated.out))


@in_python_words
def open(path: PathLike) -> "xr.DataTree":
    """Open a dataset, or predictions, lazily with xarray.

    Args:
        path: a store that `generate`, `dataset import` or `infer` made.

    Returns:
        A tree with one node per split; arrays are read when they are used.

    Raises:
        UserError: there is no such store, or it is incomplete.
    """
    import xarray as xr

    from schemas.manifest import read_manifest
    from schemas.predictions import METADATA, read_predictions
    from schemas.store import Confined

    place = Path(path)
    read_predictions(place) if METADATA.stands_at(place) else read_manifest(place)
    return xr.open_datatree(Confined(place), engine="zarr")  # type: ignore[arg-type]  # a store of zarr is one, too


@in_python_words
def preview(path: PathLike, *, split: str | None = None, samples: int = 8) -> "Figure":
    """Draw a contact sheet: inputs, targets and their histograms.

    Args:
        path: a dataset.
        split: "train", "validation" or "test" (the first that has samples).
        samples: number of rows.

    Returns:
        A Matplotlib figure.

    Raises:
        UserError: there is no such dataset, split or sample.
    """
    from schemas.manifest import read_manifest
    from schemas.preview import draw_contact_sheet

    place = Path(path)
    figure, _ = draw_contact_sheet(place, split or read_manifest(place, incomplete=True).first_split, samples)
    return figure


@in_python_words
def train(
    data: PathLike,
    *,
    model: str | Mapping[str, Any] | None = None,
    out: PathLike | None = None,
    recipe: PathLike | None = None,
    start: PathLike | None = None,
    target: str | Sequence[str] | None = None,
    input: str | None = None,
    samples: str | tuple[int, int] | None = None,
    epochs: int | None = None,
    batch_size: int | None = None,
    optimizer: str | Mapping[str, Any] | None = None,
    learning_rate: float | None = None,
    seed: int | None = None,
    overwrite: bool = False,
    mode: Literal["auto", "resident", "stream"] = "auto",
    keep_every: int | None = None,
    **settings: Any,
) -> Run:
    """Train a network on a dataset. The same call resumes from the last checkpoint.

    Args:
        data: dataset.
        model: name of the network ("unet", for numbers "convnet"), or a mapping with its settings, such as
            {"name": "unet", "width": 32}; `train --describe` lists all networks.
        out: folder of the run (`runs/<task>-<model>`).
        recipe: name of a recipe, or a JSON file.
        start: a trained run whose parameters are the starting point (`train --from`).
        target: targets or parameters to learn, a name or several (all targets of the task).
        input: which of the task's inputs the network receives (the first).
        samples: (A, B) or "A:B": train only on the samples A to B - 1.
        epochs: number of passes over the training samples.
        batch_size: samples per step, over all devices together.
        optimizer: name of the optimizer, or a mapping with its settings.
        learning_rate: highest learning rate of the schedule.
        seed: seed of all random numbers of training.
        overwrite: first remove the run that is in the folder.
        mode: hold the data in memory ("resident"), read them in each epoch ("stream"), or choose by size ("auto").
        keep_every: also keep the checkpoint of every N-th step.
        settings: further settings of the recipe, such as `ema=0.999`. A mapping holds the settings of a part of the
            recipe.

    Returns:
        The finished run.

    Raises:
        UserError: an option or a setting is wrong, or another run is in the way.
        Interrupted: the disk is full; the same call resumes.
    """
    from training import cli, command

    options: dict[str, Any] = {
        "data": data,
        "out": out,
        "recipe": recipe,
        "target": target,
        "input": input,
        "samples": samples,
    }
    options |= {
        "start": start,
        "epochs": epochs,
        "batch_size": batch_size,
        "learning_rate": learning_rate,
        "seed": seed,
    }
    options |= {"overwrite": overwrite, "mode": mode, "keep_every": keep_every}
    for name, value in (("model", model), ("optimizer", optimizer)):
        parts = dict(value) if isinstance(value, Mapping) else {"name": value}
        options[name] = parts.pop("name", None)
        settings |= {f"{name}.{key}": part for key, part in parts.items()}
    run = command.train(cli.options(cli.arguments(command_words(options, settings))))
    say(cli.summary(run.out, run.memory))
    return Run(_absolute(run.out))


@in_python_words
def infer(
    data: PathLike,
    *,
    model: PathLike | None = None,
    method: str | None = None,
    checkpoint: int | None = None,
    split: str = "test",
    out: PathLike | None = None,
    name: str | None = None,
    batch_size: int | None = None,
    tile: int | Literal["none"] | None = None,
    overlap: float | None = None,
    probabilities: bool = False,
    refine: int | None = None,
    tune_on: PathLike | None = None,
    tune_by: str | None = None,
    stitch: PathLike | None = None,
    stitch_settings: Mapping[str, Any] | None = None,
    overwrite: bool = False,
    **settings: Any,
) -> Predictions:
    """Invert the measurements of a dataset with a network or a classical method. The same call resumes.

    Args:
        data: dataset.
        model: a trained network; give this or `method`.
        method: a classical method, tuned on validation samples; `infer --describe` lists all.
        checkpoint: step of a kept checkpoint (the best model).
        split: "train", "validation" or "test".
        out: store of the predictions (`predictions-<dataset>-<name>.zarr`).
        name: label in tables and plots.
        batch_size: number of samples that are processed at once.
        tile: side of the tiles that images are cut into [pixel], or "none".
        overlap: overlap of neighbouring tiles, as a share of their side.
        probabilities: store the probabilities of classes, too.
        refine: iterations that start from the output of the network, for tasks that have them.
        tune_on: another dataset, on whose validation samples the method is tuned; or predictions: their settings.
        tune_by: score by which the method is tuned, such as "mask.mcc" (that of rank).
        stitch: store of images that are stitched from predicted patches.
        stitch_settings: settings of the stitching.
        overwrite: remove the predictions that are there.
        settings: settings of the method that shall not be tuned.

    Returns:
        The predictions.

    Raises:
        UserError: an option or a setting is wrong, or other predictions are in the way.
        Interrupted: the disk is full; the same call resumes.
    """
    from inference import cli, command

    options: dict[str, Any] = {
        "data": data,
        "model": model,
        "method": method,
        "checkpoint": checkpoint,
        "split": split,
        "out": out,
        "name": name,
    }
    options |= {
        "batch_size": batch_size,
        "tile": tile,
        "overlap": overlap,
        "probabilities": probabilities,
        "refine": refine,
        "tune_on": tune_on,
        "tune_by": tune_by,
    }
    words = command_words(options | {"stitch": stitch, "overwrite": overwrite}, settings)
    words += command_words({}, stitch_settings, "stitch_settings")
    written = command.infer(cli.options(command.InferOptions, cli.infer_arguments(words)))
    return Predictions(_absolute(written[0]))


@in_python_words
def evaluate(
    data: PathLike,
    *predictions: PathLike | tuple[str, PathLike],
    out: PathLike = "report",
    split: str | None = None,
    overwrite: bool = False,
) -> Report:
    """Score predictions against the truth, side by side: `metrics.json`, `metrics.csv` and `report.html`.

    Args:
        data: dataset with targets.
        predictions: stores that `infer` made, each given as a path or as (label, store).
        out: folder of the report.
        split: "train", "validation" or "test" (that of the first predictions).
        overwrite: replace a report of other predictions.

    Returns:
        The report.

    Raises:
        UserError: predictions are incomplete, damaged, or not of this dataset, or another report is in the way.
    """
    from inference import cli, command

    if not predictions:
        raise UserError("predictions are missing: drybeam.evaluate(data, predictions), with what drybeam.infer made")
    stores = [f"{item[0]}={os.fspath(item[1])}" if isinstance(item, tuple) else os.fspath(item) for item in predictions]
    words = [
        *command_words({"data": data, "out": out, "split": split, "overwrite": overwrite}),
        "--predictions",
        *stores,
    ]
    command.evaluate(cli.options(command.EvaluateOptions, cli.evaluate_arguments(words)))
    return Report(_absolute(Path(out)))


@in_python_words
def load_model(path: PathLike) -> Model:
    """Load a trained model as a function of arrays.

    Args:
        path: a run, its folder `best`, or a copy of that.

    Returns:
        The model. Called with the fields of `model.inputs`, such as `model(intensity=..., defocus=..., window=...)`, it
        returns the targets by name.

    Raises:
        UserError: there is no model, or it is damaged or newer than this program.
    """
    from training.export.store import load_model as load

    return Model(load(Path(path)))


def _absolute(path: Path) -> Path:
    """Return a place that stays the same when the working directory changes."""
    return Path(os.path.abspath(path))


@contextmanager
def _unchanged_process() -> Iterator[None]:
    """Restore what Dask and multiprocessing change in this process: its environment and its options for warnings."""
    environment, options = dict(os.environ), list(sys.warnoptions)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(environment)
        sys.warnoptions[:] = options
