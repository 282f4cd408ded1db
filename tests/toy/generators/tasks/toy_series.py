"""Tilt series of a bright spot that moves around an axis."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from pydantic import Field

from generators import recipe
from generators.contract import Arrays, Sliced
from generators.random_streams import Streams
from schemas.runtime.ranges import within
from schemas.runtime.settings import setting
from schemas.task import find_task

VERSION = 1


class Recipe(recipe.Recipe):
    """Settings of the task."""

    size: int = Field(11, ge=4, **setting("pixels of a view along y; one more along x"))
    tilts: int = Field(4, ge=1, **setting("views per series"))
    noise: Annotated[float, within(0)] = Field(0.1, **setting("standard deviation of the noise"))

    def sizes(self) -> dict[str, int]:
        """Return the lengths of the dimensions."""
        return {"y": self.size, "x": self.size + 1, "tilt": self.tilts}


RECIPES: Mapping[str, Recipe] = {"default": Recipe()}


@dataclass(frozen=True)
class Parameters:
    """The random parameters of one series, in the dtypes of the schema."""

    angle: np.ndarray
    background: np.float32
    place: np.ndarray  # (2,): position along y and radius, relative to the size


def draw(recipe: Recipe, rng: Streams) -> Parameters:
    """Draw the parameters of one series from the stream `shape`."""
    angle = (rng.shape.uniform(0, 6) + np.linspace(-1, 1, recipe.tilts)).astype(np.float32)
    return Parameters(angle, np.float32(rng.shape.uniform(0, 1)), rng.shape.uniform(0.2, 0.4, 2))


def simulate_slice(recipe: Recipe, block: Sequence[Parameters], index: tuple[int, ...]) -> Arrays:
    """Return one view (sample, y, x) of each series, clean and with its background."""
    sizes = recipe.sizes()
    y, x = np.ogrid[: sizes["y"], : sizes["x"]]
    rows = []
    for one in block:
        height, radius = one.place * recipe.size
        middle = sizes["x"] / 2 + radius * np.cos(float(one.angle[index]))
        rows.append(np.exp(-((y - height - 2) ** 2 + (x - middle) ** 2) / 4))
    clean = np.stack(rows)
    background = np.array([one.background for one in block])[:, None, None]
    return {"clean": clean.astype(np.float32), "noisy": (clean + background).astype(np.float32)}


simulate = Sliced(find_task("toy_series"), simulate_slice)


def measure(recipe: Recipe, block: Sequence[Parameters], arrays: Arrays, rngs: Sequence[Streams]) -> Arrays:
    """Add Gaussian noise from the stream `noise` of each sample."""
    shape = arrays["noisy"].shape[1:]
    noise = np.stack([recipe.noise * rng.noise.standard_normal(shape) for rng in rngs])
    return arrays | {"noisy": (arrays["noisy"] + noise).astype(np.float32)}


def constants(recipe: Recipe, rng: Streams) -> Arrays:
    """Return no fields: the task has none without a sample axis."""
    return {}
