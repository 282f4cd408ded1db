"""A trained network that predicts the targets of a dataset from its fields."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import jax
import numpy as np

from schemas import slices
from schemas.digest import canonical_json
from schemas.runtime.hashes import sha256
from schemas.task import Task
from training.contract import find_model
from training.export.card import ModelCard, stored_recipe
from training.features import Features
from training.model_building import build_network
from training.network import Named, Network
from training.recipe import target_names

MAX_BATCH = 64  # maximum number of samples that are predicted at once


@dataclass(frozen=True)
class Predictor:
    """A trained model, ready to predict."""

    card: ModelCard
    features: Features
    network: Network
    parameters: Named
    rest: Named

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of the dataset's fields that the model reads."""
        return self.features.reads

    @property
    def task(self) -> Task:
        """The task for which the model was trained, with the targets that it predicts."""
        names = target_names(str(self.card.recipe.get("target", "")))
        return self.card.task.targeting(names) if names else self.card.task

    @property
    def identity(self) -> str:
        """The sha256 of everything on which its predictions depend."""
        parts = self.card.model_dump(mode="json", include={"weights_sha256", "recipe", "moments", "sizes"})
        return sha256(canonical_json([parts, self.card.task.identity()]))

    @property
    def needs_whole_images(self) -> bool:
        """Return whether images must not be cut for this model."""
        return self.features.needs_whole_samples or self._fit in ("any", "operator")

    def adapt(self, sizes: Mapping[str, int]) -> "Predictor":
        """Return the model for data of other sizes, if its input or operator is computed from whole samples.

        If its weights are bound to the sizes of training, the same model is returned, and `reasons_to_refuse` names the
        other sizes.

        Args:
            sizes: lengths of the dimensions of the data.
        """
        own = self.features.sizes
        known = {dim: sizes.get(dim, n) if dim in self.task.dims else n for dim, n in own.items()}
        if known == own or not self.needs_whole_images or self.features.factor_problems(sizes):
            return self
        if self._fit == "any" and any(known[dim] != own[dim] for dim in self._grids(own)):
            return self
        features = replace(self.features, sizes=known)
        network = build_network(stored_recipe(Path(self.card.name), self.card), features)
        if not all(same_structure(*both) for both in zip((self.parameters, self.rest), network.shapes, strict=True)):
            return self
        return replace(self, features=features, network=network)

    def reasons_to_refuse(self, task: Task, sizes: Mapping[str, int]) -> list[str]:
        """Return the reasons why the model cannot read a dataset; empty if it can.

        Spatial sizes are checked only if the model is bound to them; otherwise the caller cuts large images.

        Args:
            task: task of the dataset.
            sizes: lengths of its dimensions.
        """
        if task.name != self.card.task.name:
            return [f"it was trained for the task {self.card.task.name}, but the dataset is of {task.name}"]
        if version_numbers(task.version)[:1] != version_numbers(self.card.task.version)[:1]:
            return [f"it was trained on schema {self.card.task.version}, but the dataset has {task.version}"]
        found = self.features.problems(task.sliced, sizes)
        if self._fit not in ("any", "operator"):
            return found
        wrong = [dim for dim in self._grids(sizes) if sizes[dim] != self.features.sizes[dim]]
        return found + [
            f"{dim} has {sizes[dim]}, must be {self.features.sizes[dim]}: it takes one size only" for dim in wrong
        ]

    def _grids(self, sizes: Mapping[str, int]) -> list[str]:
        """Return the dimensions of input and output that the data have."""
        dims = dict.fromkeys((*self.features.input_grid, *self.features.target_grid))
        return [dim for dim in dims if dim in sizes]

    @property
    def _fit(self) -> str:
        return find_model(self.card.recipe["model"]["name"]).FIT

    def predict(self, fields: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Predict the targets.

        Args:
            fields: the fields named by `inputs`, (sample, ...), of any number of samples.

        Returns:
            The targets, (sample, ...) float32 in the units of the dataset; for classes their probabilities, (sample,
            ..., class).
        """
        task = self.task
        samples = len(next(fields[name] for name in self.inputs if task[name].per_sample))
        found = self._predict_rows(slices.fold(task, {name: fields[name] for name in self.inputs}, samples))
        return slices.unfold(task, found, slices.slice_lengths(task, fields)) if task.slices else found

    def _predict_rows(self, fields: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Predict the targets of slices."""
        count = len(next(fields[name] for name in self.inputs if self.features.task[name].per_sample))
        length = min(MAX_BATCH, 1 << (count - 1).bit_length())  # few different lengths need few compilations
        pieces = [self._predict_piece(fields, slice(start, start + length)) for start in range(0, count, length)]
        return {name: np.concatenate([piece[name] for piece in pieces])[:count] for name in pieces[0]}

    def _predict_piece(self, fields: Mapping[str, np.ndarray], rows: slice) -> dict[str, np.ndarray]:
        """Predict the targets of some rows. Fields are padded to the length of the piece."""
        length = rows.stop - rows.start
        batch = {}
        for name in self.inputs:
            if self.features.task[name].per_sample:
                values = fields[name][rows]
                batch[name] = np.pad(values, [(0, length - len(values)), *[(0, 0)] * (values.ndim - 1)], mode="edge")
            else:
                batch[name] = fields[name]
        return {name: np.asarray(values) for name, values in self._compiled(self.parameters, self.rest, batch).items()}

    @cached_property
    def _compiled(self) -> Any:
        @jax.jit
        def predict(parameters: Named, rest: Named, batch: Mapping[str, Any]) -> dict[str, Any]:
            output, _, _ = self.network(parameters, rest, self.features.encode(batch), fields=batch)
            return self.features.to_stored(self.features.decode(output, batch))

        return predict


def version_numbers(version: str) -> tuple[int, ...]:
    """Return a version as numbers: "1.2" as (1, 2)."""
    return tuple(int(part) for part in version.split(".") if part.isdigit())


def same_structure(one: Named, other: Named) -> bool:
    """Return whether two sets of arrays have the same names, shapes and dtypes.

    Args:
        one: arrays by name.
        other: arrays by name.
    """
    shapes = [{name: (value.shape, value.dtype) for name, value in arrays.items()} for arrays in (one, other)]
    return shapes[0] == shapes[1]
