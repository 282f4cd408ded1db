"""Lines with a step of random height, and the same lines blurred."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from pydantic import Field

from generators import recipe
from generators.contract import Arrays
from generators.random_streams import Streams
from schemas.runtime.ranges import Range, within
from schemas.runtime.settings import setting

VERSION = 1


class Recipe(recipe.Recipe):
    """Settings of the task."""

    size: int = Field(33, ge=4, **setting("pixels of a line"))
    height: Annotated[Range, within(0)] = Field(Range(low=1, high=2), **setting("height of the step"))
    pixel: Annotated[float, within(0, above=True)] = Field(0.5, **setting("width of a pixel", "nm"))
    noise: Annotated[float, within(0)] = Field(0.1, **setting("standard deviation of the noise"))
    expectation: bool = Field(False, **setting("also store the blurred line without noise"))

    def sizes(self) -> dict[str, int]:
        """Return the lengths of the dimensions."""
        return {"x": self.size, "edge": 2}

    def optional(self) -> frozenset[str]:
        """Return the optional fields that are stored."""
        return frozenset({"expected"} if self.expectation else ())


RECIPES: Mapping[str, Recipe] = {"default": Recipe()}


@dataclass(frozen=True)
class Parameters:
    """The random parameters of one line, in the dtypes of the schema."""

    height: np.float32
    edges: np.ndarray


def draw(recipe: Recipe, rng: Streams) -> Parameters:
    """Draw the parameters of one line from the stream `shape`."""
    edges = np.sort(rng.shape.integers(0, recipe.size, 2)).astype(np.int32)
    return Parameters(np.float32(recipe.height.draw(rng.shape)), edges)


def simulate(recipe: Recipe, block: Sequence[Parameters]) -> Arrays:
    """Return lines and their blurred images without noise, (sample, x) float32."""
    line = np.zeros((len(block), recipe.size), np.float32)
    for row, parameters in zip(line, block, strict=True):
        row[parameters.edges[0] : parameters.edges[1] + 1] = parameters.height
    blurred = (np.roll(line, 1, -1) + line + np.roll(line, -1, -1)) / np.float32(3)
    return {"line": line, "blurred": blurred}


def measure(recipe: Recipe, block: Sequence[Parameters], arrays: Arrays, rngs: Sequence[Streams]) -> Arrays:
    """Add Gaussian noise from the stream `noise` of each sample."""
    expected = arrays["blurred"]
    noise = np.stack([recipe.noise * rng.noise.standard_normal(recipe.size) for rng in rngs])
    measured = arrays | {"blurred": (expected + noise).astype(np.float32)}
    return measured | ({"expected": expected} if recipe.expectation else {})


def constants(recipe: Recipe, rng: Streams) -> Arrays:
    """Return the position of each pixel [nm]."""
    return {"position": recipe.pixel * np.arange(recipe.size)}
