"""Images of random spots and their projections."""

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

    size: int = Field(12, ge=4, **setting("pixels of an image along y; one more along x"))
    angles: int = Field(5, ge=1, **setting("number of projections"))
    noise: Annotated[float, within(0)] = Field(0.01, **setting("standard deviation of the noise"))

    def sizes(self) -> dict[str, int]:
        """Return the lengths of the dimensions."""
        return {"y": self.size, "x": self.size + 1, "angle_index": self.angles, "detector": 2 * self.size}


RECIPES: Mapping[str, Recipe] = {"default": Recipe()}


@dataclass(frozen=True)
class Parameters:
    """The random parameters of one image, in the dtypes of the schema."""

    angle: np.ndarray
    places: np.ndarray  # (spot, 2): y and x [pixel]


def draw(recipe: Recipe, rng: Streams) -> Parameters:
    """Draw the parameters of one image from the stream `shape`."""
    angle = np.sort(rng.shape.uniform(0, np.pi, recipe.angles)).astype(np.float32)
    return Parameters(angle, rng.shape.uniform(0.2, 0.8, (2, 2)) * recipe.size)


def rays(angle: np.ndarray, sizes: Mapping[str, int]) -> np.ndarray:
    """Return the weights (angle, detector, y, x) of the pixels in each value of the sinogram."""
    y, x, t = (np.arange(sizes[dim]) - (sizes[dim] - 1) / 2 for dim in ("y", "x", "detector"))
    place = np.cos(angle)[:, None, None] * x + np.sin(angle)[:, None, None] * y[:, None]
    found: np.ndarray = np.maximum(0, 1 - abs(place[:, None] - t[:, None, None]))
    return found


def simulate(recipe: Recipe, block: Sequence[Parameters]) -> Arrays:
    """Return images and their projections without noise."""
    sizes = recipe.sizes()
    y, x = np.ogrid[: sizes["y"], : sizes["x"]]
    images = [sum(np.exp(-((y - a) ** 2 + (x - b) ** 2) / 3) for a, b in one.places) for one in block]
    found = [np.einsum("adyx,yx->ad", rays(one.angle, sizes), image) for one, image in zip(block, images, strict=True)]
    return {"image": np.stack(images).astype(np.float32), "sinogram": np.stack(found).astype(np.float32)}


def measure(recipe: Recipe, block: Sequence[Parameters], arrays: Arrays, rngs: Sequence[Streams]) -> Arrays:
    """Add Gaussian noise from the stream `noise` of each sample."""
    shape = arrays["sinogram"].shape[1:]
    noise = np.stack([recipe.noise * rng.noise.standard_normal(shape) for rng in rngs])
    return arrays | {"sinogram": (arrays["sinogram"] + noise).astype(np.float32)}


def constants(recipe: Recipe, rng: Streams) -> Arrays:
    """Return no fields: the task has none without a sample axis."""
    return {}
