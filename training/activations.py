"""The responses of a trained network's layers to a measurement: means over channels, as images."""

from collections.abc import Iterator, Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np
from flax import nnx

from schemas.slices import fold
from training.export.predictor import Predictor


class _Listener:
    """Replacement for a layer that calls the layer and keeps its output."""

    def __init__(self, name: str, layer: Any, outputs: dict[str, Any]) -> None:
        self.name, self.layer, self.outputs = name, layer, outputs

    def __call__(self, *args: Any, **options: Any) -> Any:
        values = self.layer(*args, **options)
        if values.ndim > 2:  # an image, not the output of a dense layer
            self.outputs[self.name] = values
        return values


def activations(trained: Predictor, fields: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the mean over channels of each layer's output, before any relu.

    Layers are those that convolve, or that map channels pixel by pixel.

    Args:
        trained: the model.
        fields: the fields that the model reads, of a few samples.

    Returns:
        Arrays (sample, *spatial) by the name of the layer, in the order in which layers are called.
    """
    outputs: dict[str, Any] = {}
    module = trained.network.module(trained.parameters, trained.rest)
    for name, parent, key, layer in list(_find_layers(module)):
        _replace_layer(parent, key, _Listener(name, layer, outputs))
    samples = next(len(values) for name, values in fields.items() if trained.task[name].per_sample)
    rows = {name: jnp.asarray(values) for name, values in fold(trained.task, fields, samples).items()}
    module(trained.features.encode(rows), None, **({"fields": rows} if trained.network.applies_operator else {}))
    return {name: np.asarray(values.mean(axis=-1)) for name, values in outputs.items()}


def _find_layers(module: Any, path: str = "") -> Iterator[tuple[str, Any, Any, Any]]:
    """Yield name, holder, place within the holder, and layer."""
    items = enumerate(module) if isinstance(module, nnx.List) else list(vars(module).items())
    for key, value in items:
        name = f"{path}.{key}".lstrip(".")
        if isinstance(value, nnx.Conv | nnx.Linear):
            yield name, module, key, value
        elif isinstance(value, nnx.Module):
            yield from _find_layers(value, name)


def _replace_layer(parent: Any, key: Any, listener: _Listener) -> None:
    if isinstance(key, int):
        parent[key] = listener
    else:
        setattr(parent, key, listener)
