"""Smooth random images, and their means over pixels and over channels."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from pydantic import Field

from generators import recipe
from generators.contract import Arrays
from generators.random_streams import Streams
from schemas.runtime.ranges import within
from schemas.runtime.settings import setting

VERSION = 1
FACTOR, CHANNELS = 3, 2


class Recipe(recipe.Recipe):
    """Settings of the task."""

    size: int = Field(12, ge=3, multiple_of=FACTOR, **setting("pixels of a fine image along y; 3 more along x"))
    noise: Annotated[float, within(0)] = Field(0.01, **setting("standard deviation of the noise"))

    def sizes(self) -> dict[str, int]:
        """Return the lengths of the dimensions."""
        fine = {"y": self.size, "x": self.size + FACTOR}
        return fine | {f"{dim}low": n // FACTOR for dim, n in fine.items()} | {"channel": CHANNELS}


RECIPES: Mapping[str, Recipe] = {"default": Recipe()}


@dataclass(frozen=True)
class Parameters:
    """The random parameters of one sample."""

    sampling: np.float32
    waves: np.ndarray  # (channel, wave, 3): frequencies along y and x [1/pixel], phase


def draw(recipe: Recipe, rng: Streams) -> Parameters:
    """Draw the parameters of one sample from the stream `shape`."""
    return Parameters(np.float32(0.5), rng.shape.uniform(-1, 1, (CHANNELS, 3, 3)))


def simulate(recipe: Recipe, block: Sequence[Parameters]) -> Arrays:
    """Return sums of waves, and their means."""
    sizes = recipe.sizes()
    y, x = np.ogrid[: sizes["y"], : sizes["x"]]
    waves = np.stack([one.waves for one in block])[..., None, None]
    high = np.cos(waves[:, :, :, 0] * y * 0.5 + waves[:, :, :, 1] * x * 0.5 + 3 * waves[:, :, :, 2]).mean(axis=2)
    low = high.reshape(*high.shape[:2], sizes["ylow"], FACTOR, sizes["xlow"], FACTOR).mean((3, 5))
    return {"high": high.astype(np.float32), "low": low.astype(np.float32), "guide": high.mean(1).astype(np.float32)}


def measure(recipe: Recipe, block: Sequence[Parameters], arrays: Arrays, rngs: Sequence[Streams]) -> Arrays:
    """Add Gaussian noise from the stream `noise` of each sample."""
    shape = arrays["low"].shape[1:]
    noise = np.stack([recipe.noise * rng.noise.standard_normal(shape) for rng in rngs])
    return arrays | {"low": (arrays["low"] + noise).astype(np.float32)}


def constants(recipe: Recipe, rng: Streams) -> Arrays:
    """Return no fields: the task has none without a sample axis."""
    return {}
