"""The results of the functions of `drybeam`. Each has its place on disk, and a notebook displays it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from drybeam.messages import in_python_words
from schemas.runtime.errors import UserError

if TYPE_CHECKING:
    import xarray as xr

    from schemas.manifest import Manifest
    from training.export.predictor import Predictor

    type Fields = Mapping[str, Any] | xr.Dataset | xr.DataTree


@in_python_words
def _read_manifest(path: Path) -> "Manifest":
    from schemas.manifest import read_manifest

    return read_manifest(path)


@dataclass(frozen=True)
class StoredResult:
    """A result on disk, which can be used wherever a path can."""

    path: Path

    def __fspath__(self) -> str:
        return str(self.path)

    def __str__(self) -> str:
        return str(self.path)


@dataclass(frozen=True)
class Dataset(StoredResult):
    """A dataset: a Zarr store with the splits train, validation and test."""

    @cached_property
    def manifest(self) -> "Manifest":
        """Metadata of the dataset: task, sizes, samples, recipe, seed, digest."""
        return _read_manifest(self.path)

    @property
    def digest(self) -> str:
        """Root digest. Two datasets with the same digest hold the same samples."""
        return str(self.manifest.root_digest)

    def open(self) -> "xr.DataTree":
        """Open the dataset lazily with xarray, one node per split."""
        from drybeam import open

        return open(self.path)

    def _repr_png_(self) -> bytes:
        from io import BytesIO

        from drybeam import preview

        picture = BytesIO()
        preview(self.path).savefig(picture, format="png", dpi=110)
        return picture.getvalue()


@dataclass(frozen=True)
class Run(StoredResult):
    """A training run: checkpoints, metrics, learning curves, and the best model in the folder `best`."""

    @property
    def history(self) -> list[dict[str, Any]]:
        """Rows of `metrics.jsonl`, one per log step and per evaluation."""
        return [json.loads(line) for line in (self.path / "metrics.jsonl").read_text().splitlines()]

    @property
    def model(self) -> "Model":
        """Best model of the run."""
        from drybeam import load_model

        return load_model(self.path)

    def _repr_png_(self) -> bytes:
        return (self.path / "curves.png").read_bytes()


@dataclass(frozen=True)
class Predictions(StoredResult):
    """Predictions for one split of a dataset: a Zarr store of the task's targets."""

    def open(self) -> "xr.DataTree":
        """Open the predictions lazily with xarray."""
        from drybeam import open

        return open(self.path)


@dataclass(frozen=True)
class Report(StoredResult):
    """An evaluation: `metrics.json`, `metrics.csv` and `report.html` in a folder."""

    @cached_property
    def metrics(self) -> dict[str, dict[str, Any]]:
        """Scores of each method as `{name: {metric: {"mean", "std", "n", "unit"}}}`."""
        methods = json.loads((self.path / "metrics.json").read_text())["methods"]
        return {name: method["metrics"] for name, method in methods.items()}

    def _repr_html_(self) -> str:
        from html import escape

        page = (self.path / "report.html").read_text(encoding="utf-8")
        return f'<iframe srcdoc="{escape(page)}" sandbox="" style="width: 100%; height: 40em; border: 0"></iframe>'


@dataclass(frozen=True)
class Model:
    """A trained model: call it with the fields of a dataset as arrays.

    >>> model = load_model("runs/tie-unet")  # doctest: +SKIP
    >>> model.inputs  # doctest: +SKIP
    ('intensity', 'defocus', 'window')
    >>> model(intensity=images, defocus=defocus, window=window)["phase"]  # doctest: +SKIP
    """

    trained: "Predictor"

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of the fields that the model reads, each with a leading sample axis."""
        return self.trained.inputs

    def __call__(
        self, fields: "Mapping[str, Any] | xr.Dataset | xr.DataTree | None" = None, /, **more: Any
    ) -> dict[str, Any]:
        """Predict the targets.

        Args:
            fields: arrays or xarray variables by name, (sample, ...), in the units of the dataset; `inputs` lists
                those that are needed. This may be a split opened with xarray.
            more: further fields, as keyword arguments.

        Returns:
            The targets by name, (sample, ...) float32 in the units of the dataset; for classes their probabilities,
            (sample, ..., class).

        Raises:
            UserError: a field is missing, or has a shape that the model does not take.
        """
        given = {**getattr(fields, "variables", {} if fields is None else fields), **more}
        if lacking := [name for name in self.inputs if name not in given]:
            raise UserError(f"the model also needs {', '.join(lacking)}; it reads {', '.join(self.inputs)}")
        arrays = {name: self._array(name, given[name]) for name in self.inputs}
        sizes = self._sizes({name: array.shape for name, array in arrays.items()})
        model = self.trained.adapt(sizes)
        if problems := model.reasons_to_refuse(model.card.task, sizes):
            raise UserError(f"the model cannot read these arrays: {problems[0]}")
        return model.predict(arrays)

    def _array(self, name: str, value: Any) -> Any:
        """Return a field as an array whose axes are in the order of its dimensions, if it names them."""
        import numpy as np

        dims = self.trained.card.task[name].dims
        value_dims = getattr(value, "dims", dims)
        if set(value_dims) != set(dims):
            raise UserError(f"{name} has the dimensions {', '.join(value_dims)}; they must be {', '.join(dims)}")
        array = np.asarray(value if value_dims == dims else value.transpose(*dims))
        if array.dtype.kind not in "biufc":
            raise UserError(f"{name} holds {array.dtype}; it must hold numbers")
        return array

    def _sizes(self, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, int]:
        """Return the size of each dimension. UserError: fields do not fit their dimensions or one another."""
        sizes: dict[str, int] = {}
        for name, shape in shapes.items():
            dims = self.trained.card.task[name].dims
            differs = [dim for dim, n in zip(dims, shape, strict=False) if sizes.setdefault(dim, n) != n]
            if differs or len(dims) != len(shape) or 0 in shape:
                known = ", ".join(f"{dim} {sizes[dim]}" if sizes.get(dim) else dim for dim in dims)
                raise UserError(f"{name} has the shape {shape}; it must be ({known})")
        return {dim: n for dim, n in sizes.items() if dim != "sample"}

    def _repr_html_(self) -> str:
        from html import escape

        card = self.trained.card
        rows = {"task": card.task.name, "model": card.recipe["model"]["name"], "parameters": f"{card.parameters:,}"}
        rows |= {name: f"{value:.4g}" for name, value in card.scores.items()}
        cells = (f"<tr><th>{escape(name)}</th><td>{escape(str(value))}</td></tr>" for name, value in rows.items())
        return f"<table>{''.join(cells)}</table>"
