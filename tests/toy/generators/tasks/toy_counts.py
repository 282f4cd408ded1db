"""Views of a bright spot, in which few electrons are counted."""

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

    size: int = Field(16, ge=4, **setting("pixels of a view along y; one more along x"))
    views: int = Field(3, ge=1, **setting("views per sample"))
    noise: Annotated[Range, within(0)] = Field(
        Range(low=0.2, high=0.25), **setting("shot noise: 1/sqrt(counts of the value 1)")
    )
    background: Annotated[float, within(0)] = Field(0.0, **setting("background at the right edge"))

    def sizes(self) -> dict[str, int]:
        """Return the lengths of the dimensions."""
        return {"y": self.size, "x": self.size + 1, "view": self.views}

    def optional(self) -> frozenset[str]:
        """Return the optional fields that are stored."""
        return frozenset({"background"} if self.background else ())


RECIPES: Mapping[str, Recipe] = {"default": Recipe()}


@dataclass(frozen=True)
class Parameters:
    """The random parameters of one sample, in the dtypes of the schema."""

    electrons: np.ndarray  # (view,)
    dose: np.float32
    place: np.ndarray  # (view, 2), relative to the size


def draw(recipe: Recipe, rng: Streams) -> Parameters:
    """Draw the parameters of one sample."""
    noise = np.array([recipe.noise.draw(rng.dose) for _ in range(recipe.views)])
    electrons = np.divide(1, noise**2, out=np.zeros(recipe.views), where=noise > 0).astype(np.float32)
    return Parameters(electrons, electrons.mean(), rng.shape.uniform(0.3, 0.7, (recipe.views, 2)))


def simulate(recipe: Recipe, block: Sequence[Parameters]) -> Arrays:
    """Return views (sample, y, view, x), clean and with their background."""
    sizes = recipe.sizes()
    y, x = (np.arange(sizes[dim]) for dim in ("y", "x"))
    middle = np.stack([one.place for one in block]) * recipe.size
    across = np.exp(-((x - middle[..., 1, None]) ** 2) / recipe.size)[:, None]
    along = np.exp(-((y - middle[..., 0, None]) ** 2) / recipe.size).swapaxes(1, 2)[..., None]
    clean = (0.5 + along * across).astype(np.float32)
    slope = np.broadcast_to(recipe.background * x / recipe.size, clean.shape).astype(np.float32)
    return {"clean": clean, "noisy": clean + slope, **({"background": slope} if recipe.background else {})}


def measure(recipe: Recipe, block: Sequence[Parameters], arrays: Arrays, rngs: Sequence[Streams]) -> Arrays:
    """Count electrons, from the stream `noise` of each sample."""
    noisy = arrays["noisy"].copy()
    for view, one, rng in zip(noisy, block, rngs, strict=True):
        scale = one.electrons[None, :, None].astype(float)
        if scale.all():
            view[:] = rng.noise.poisson(view * scale) / scale
    return arrays | {"noisy": noisy}


def constants(recipe: Recipe, rng: Streams) -> Arrays:
    """Return no fields: the task has none without a sample axis."""
    return {}
