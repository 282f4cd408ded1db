"""Coarse images of random sections or of pictures, to be refined.

    low = measurement by a camera of ( point spread, then means over coarse pixels )   (`physics.pixel_integration`)

The objects are those of `generators.specimens.sections.textured`. They are drawn on a grid `supersampling` times finer
than `high`, whose means over pixels are `high`. So `low` does not follow exactly from the stored `high`, as in a
measurement; with supersampling=1 it does.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Self

import numpy as np
from pydantic import Field, model_validator

from generators import recipe
from generators.contract import Arrays
from generators.instruments.detectors import camera
from generators.instruments.detectors.camera import NOISELESS, Camera, DrawnCamera
from generators.random_streams import Streams
from generators.specimens.draws import to_float32
from generators.specimens.from_files.pictures import Pictures
from generators.specimens.planar.texture import Texture
from generators.specimens.sections import textured
from generators.specimens.sections.granular import Granular
from generators.specimens.sections.textured import DrawnTexturedObject, TexturedSections
from physics.pixel_integration import integrate_pixels
from schemas.fields.transmission import CAMERA_FIELDS
from schemas.runtime.ranges import Range, within
from schemas.runtime.settings import between, setting

VERSION = 1


class Recipe(recipe.Recipe, TexturedSections):
    """Every setting of the task."""

    image_size: int = Field(128, ge=8, le=8192, **setting("width and height of the fine image", "pixel"))
    low_size: int = Field(
        64, ge=2, le=8192, **setting("width and height of the coarse image; it need not divide image_size", "pixel")
    )
    point_spread: Annotated[Range, within(0, 100)] = between(
        0.5, 1.0, "standard deviation of the Gaussian point spread; 0: none", "fine pixel"
    )
    sampling: Annotated[float, within(0, above=True)] = Field(1e3, **setting("width of a fine pixel", "nm"))
    supersampling: int = Field(
        2, ge=1, le=16, **setting("points per fine pixel along each side, on which objects are drawn")
    )
    camera: Camera = Field(Camera(), **setting("the camera that takes the coarse image, and its noise"))
    noise: int = Field(
        1, ge=0, le=1, **setting("1: with noise; 0: no counting, stripes, rings and white noise; dead pixels stay")
    )

    @model_validator(mode="after")
    def _check_sizes(self) -> Self:
        if self.low_size > self.image_size:
            raise ValueError(f"low_size = {self.low_size}: must be at most image_size = {self.image_size}")
        return self

    def sizes(self) -> dict[str, int]:
        """Return the lengths of the dimensions."""
        fine, coarse = self.image_size, self.low_size
        return self.object_sizes() | {"y": fine, "x": fine, "ylow": coarse, "xlow": coarse}

    def optional(self) -> frozenset[str]:
        """Return the optional fields that are stored."""
        own = {"photons", "sampling", "sampling_low"}
        return frozenset({*own, *self.object_fields(), *(field.name for field in CAMERA_FIELDS)})

    def bind(self, inputs: Path | None) -> Self:
        """Return the recipe with its pictures found, hashed and checked.

        Args:
            inputs: a folder in which pictures are searched by hash; None: the recipe's own paths

        Raises:
            UserError: a picture is missing or cannot be read
        """
        return self.with_files(inputs)

    def check_split(self, split: str, samples: int) -> None:
        """Refuse splits for which there is no picture.

        Args:
            split: `train`, `validation` or `test`
            samples: number of samples asked for

        Raises:
            UserError: no picture belongs to the split
        """
        if self.pictures and samples:
            self.pictures.check_split(split)


GRAINS: Mapping[str, Any] = {"granular": Granular(), "texture": Texture(), "ground": Range(low=0.05, high=0.3)}
FAINT_NOISE = Camera(deviation=Range(low=0.005, high=0.02))

RECIPES: Mapping[str, Recipe] = {
    "default": Recipe(**GRAINS, camera=FAINT_NOISE),
    "factor4": Recipe(**GRAINS, camera=FAINT_NOISE, low_size=32, point_spread=Range(low=1.0, high=2.0)),
    # The sizes of the sections of a reactor bed in superres-tomo: micro-CT, and XRD-CT. Its images are measured and not
    # part of it; here the beds are random.
    "reactor_micro": Recipe(**GRAINS, camera=FAINT_NOISE, image_size=369, low_size=185),
    "reactor_xrd": Recipe(**GRAINS, camera=FAINT_NOISE, image_size=149, low_size=75),
    "pictures": Recipe(pictures=Pictures(), camera=FAINT_NOISE),
}


@dataclass(frozen=True)
class Parameters:
    """The values drawn for one sample; floats are rounded to float32, as they are stored."""

    object: DrawnTexturedObject
    camera: DrawnCamera
    point_spread: float
    factor: np.float32
    sampling: np.float32

    def columns(self) -> dict[str, Any]:
        """Return all parameters by field."""
        own = {name: getattr(self, name) for name in ("point_spread", "factor", "sampling")}
        own["sampling_low"] = self.sampling * self.factor
        return {**own, **self.camera.columns(), **self.object.columns()}


def draw(recipe: Recipe, rng: Streams) -> Parameters:
    """Draw one sample, from the streams `specimen`, `texture`, `camera` and `instrument`.

    Args:
        recipe: the recipe of the dataset
        rng: the streams of the sample
    """
    drawn = camera.draw(recipe.camera, rng)
    return Parameters(
        object=textured.draw(recipe, rng),
        camera=drawn if recipe.noise else NOISELESS,
        point_spread=to_float32(recipe.point_spread.draw(rng.instrument))[0],
        factor=np.float32(recipe.image_size / recipe.low_size),
        sampling=np.float32(recipe.sampling),
    )


def simulate(recipe: Recipe, block: Sequence[Parameters]) -> Arrays:
    """Return fine images, and coarse ones without noise.

    Args:
        recipe: the recipe of the dataset
        block: parameters of the samples
    """
    fine, coarse, points = (recipe.image_size,) * 2, (recipe.low_size,) * 2, recipe.supersampling
    high, low = np.empty((len(block), *fine), np.float32), np.empty((len(block), *coarse), np.float32)
    for n, one in enumerate(block):
        finest = textured.render(recipe, one.object, (recipe.image_size * points,) * 2)
        high[n] = integrate_pixels(finest, fine)
        low[n] = integrate_pixels(finest, coarse, one.point_spread * points)
    return {"high": high, "low": low}


def measure(recipe: Recipe, block: Sequence[Parameters], arrays: Arrays, rngs: Sequence[Streams]) -> Arrays:
    """Return the measurement of the coarse images by the camera.

    Args:
        recipe: the recipe of the dataset
        block: parameters of the samples
        arrays: the expectations, from `simulate`
        rngs: the streams of each sample
    """
    rows = zip(block, arrays["low"], rngs, strict=True)
    low = np.stack([camera.measure(recipe.camera, one.camera, image, rng) for one, image, rng in rows])
    return arrays | {"low": low}


def constants(recipe: Recipe, rng: Streams) -> Arrays:
    """Return no fields: the task has none without a sample axis.

    Args:
        recipe: the recipe of the dataset
        rng: unused; nothing here is random
    """
    return {}
