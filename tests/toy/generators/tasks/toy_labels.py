"""Images of discs and their masks."""

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


class Recipe(recipe.Recipe):
    """Settings of the task."""

    size: int = Field(12, ge=8, **setting("pixels of an image along y; one more along x"))
    noise: Annotated[float, within(0)] = Field(0.1, **setting("standard deviation of the noise"))

    def sizes(self) -> dict[str, int]:
        """Return the lengths of the dimensions."""
        return {"y": self.size, "x": self.size + 1}


RECIPES: Mapping[str, Recipe] = {"default": Recipe()}


@dataclass(frozen=True)
class Parameters:
    """The random parameters of one image, in the dtypes of the schema."""

    radius: np.float32
    direction: np.float32
    kind: np.uint8
    place: np.ndarray  # (2,): y and x [pixel]


def draw(recipe: Recipe, rng: Streams) -> Parameters:
    """Draw the parameters of one image from the stream `shape`."""
    radius = rng.shape.uniform(0.15, 0.35) * recipe.size
    kind = np.uint8(radius > 0.25 * recipe.size)
    direction = np.float32(rng.shape.uniform(-np.pi, np.pi))
    return Parameters(np.float32(radius), direction, kind, rng.shape.uniform(0.4, 0.6, 2) * recipe.size)


def simulate(recipe: Recipe, block: Sequence[Parameters]) -> Arrays:
    """Return masks, and images without noise."""
    sizes = recipe.sizes()
    y, x = np.ogrid[: sizes["y"], : sizes["x"]]
    masks, images = [], []
    for one in block:
        away = np.hypot(y - one.place[0], x - one.place[1]) - one.radius
        masks.append(np.where(abs(away) < 0.5, 2, away < 0))
        slope = np.sin(one.direction) * (y - one.place[0]) + np.cos(one.direction) * (x - one.place[1])
        images.append(np.array([0, 1, 0.5])[masks[-1]] * (1 + 0.5 * slope / recipe.size))
    return {"mask": np.stack(masks).astype(np.uint8), "image": np.stack(images).astype(np.float32)}


def measure(recipe: Recipe, block: Sequence[Parameters], arrays: Arrays, rngs: Sequence[Streams]) -> Arrays:
    """Add Gaussian noise from the stream `noise` of each sample."""
    shape = arrays["image"].shape[1:]
    noise = np.stack([recipe.noise * rng.noise.standard_normal(shape) for rng in rngs])
    return arrays | {"image": (arrays["image"] + noise).astype(np.float32)}


def constants(recipe: Recipe, rng: Streams) -> Arrays:
    """Return no fields: the task has none without a sample axis."""
    return {}
