"""Images of bodies of several classes, with the labels of their pixels.

The bodies are drawn (`generators.specimens.bodies`), then the camera (`generators.instruments.detectors.camera`):

    image = camera( blur( sum over bodies of value * share of the pixel ) )

The label of a pixel is the class with the largest share of it, the lower one of two that are equal.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Self

import numpy as np
from pydantic import Field, model_validator
from scipy.ndimage import gaussian_filter

from generators import recipe
from generators.contract import Arrays
from generators.instruments.detectors import camera
from generators.instruments.detectors.camera import NOISELESS, Camera, DrawnCamera
from generators.instruments.detectors.chain import DetectorChain
from generators.random_streams import Streams
from generators.specimens.bodies import boxes, composite
from generators.specimens.bodies.bodies import DrawnBodies, render
from generators.specimens.bodies.boxes import Boxes
from generators.specimens.bodies.composite import Composite
from generators.specimens.draws import to_float32
from generators.specimens.sections.section import Image
from schemas.runtime.ranges import Range, within
from schemas.runtime.settings import between, setting
from schemas.task import find_task

VERSION = 1

TASK = find_task("segmentation")


class Recipe(recipe.Recipe):
    """Every setting of the task."""

    image_size: int = Field(96, ge=16, le=16384, **setting("width and height of the image", "pixel"))
    sampling: Annotated[float, within(0, above=True)] = Field(1e3, **setting("width of a pixel", "nm"))
    composite: Composite = Field(Composite(), **setting("grains, pores and fibres in a binder"))
    boxes: Boxes | None = Field(None, **setting("squares and discs of one class, in place of a composite"))
    partial_volume: bool = Field(
        True, **setting("true: pixels at edges mix the values of bodies; false: each has the value of one body")
    )
    blur: Annotated[Range, within(0, 100)] = between(
        0.0, 0.0, "standard deviation of the blur in front of the detector, as by motion or a large source", "pixel"
    )
    camera: Camera = Field(Camera(), **setting("noise and errors of the camera"))
    noise: int = Field(1, ge=0, le=1, **setting("1: the noise of the camera; 0: none, the point spread stays"))

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.boxes:
            self.boxes.check_width(self.image_size)
        return self

    @property
    def bodies(self) -> Boxes | Composite:
        """Settings of the bodies that are drawn."""
        return self.boxes or self.composite

    def sizes(self) -> dict[str, int]:
        """Return the lengths of the dimensions."""
        return {"y": self.image_size, "x": self.image_size} | self.bodies.sizes()

    def optional(self) -> frozenset[str]:
        """Return the optional fields that are stored."""
        known = self.sizes().keys()
        return frozenset(field.name for field in TASK.fields if field.optional and set(field.dims[1:]) <= known)


RECIPES: Mapping[str, Recipe] = {
    "default": Recipe(
        blur=Range(low=0.3, high=1.2),
        camera=Camera(
            photons=Range(low=30.0, high=1000.0),
            rings=Range(low=0.0, high=1.0),
            stripes=Range(low=0.0, high=0.03),
            detector=DetectorChain(correlation=0.25),
        ),
    ),
    # superres-tomo, whose generator is that of Pelt's MSDNet: use --n 100 --validation 25 --test 10
    "published": Recipe(
        image_size=1280,
        boxes=Boxes(),
        partial_volume=False,
        camera=Camera(deviation=Range(low=0.3, high=0.3)),
    ),
}


@dataclass(frozen=True)
class Parameters:
    """The values drawn for one sample; floats are rounded to float32, as they are stored."""

    bodies: DrawnBodies
    blur: float
    camera: DrawnCamera
    sampling: np.float32

    def columns(self) -> dict[str, Any]:
        """Return all parameters by field."""
        own = {"sampling": self.sampling, "blur": self.blur}
        return own | self.camera.columns() | self.bodies.columns()


def draw(recipe: Recipe, rng: Streams) -> Parameters:
    """Draw one sample, from the streams `specimen`, `blur` and `camera`.

    Args:
        recipe: the recipe of the dataset
        rng: the streams of the sample
    """
    bodies = (
        boxes.draw(recipe.boxes, recipe.image_size, rng.specimen)
        if recipe.boxes
        else composite.draw(recipe.composite, rng.specimen)
    )
    blur = to_float32(recipe.blur.draw(rng.blur))[0]
    drawn = camera.draw(recipe.camera, rng) if recipe.noise else NOISELESS
    return Parameters(bodies, blur, drawn, np.float32(recipe.sampling))


def simulate(recipe: Recipe, block: Sequence[Parameters]) -> Arrays:
    """Return labels, and images without noise, which `measure` replaces by measured ones.

    Args:
        recipe: the recipe of the dataset
        block: parameters of the samples
    """
    shape, classes = (recipe.image_size,) * 2, len(TASK["mask"].classes)
    pairs = [render(p.bodies, shape, classes, partial_volume=recipe.partial_volume) for p in block]
    images = [_blur(image, p.blur) for p, (image, _) in zip(block, pairs, strict=True)]
    return {"image": np.stack(images), "mask": np.stack([labels for _, labels in pairs])}


def _blur(image: Image, width: float) -> Image:
    blurred: Image = gaussian_filter(image, width) if width else image
    return blurred


def measure(recipe: Recipe, block: Sequence[Parameters], arrays: Arrays, rngs: Sequence[Streams]) -> Arrays:
    """Return the measured images.

    Args:
        recipe: the recipe of the dataset
        block: parameters of the samples
        arrays: the expectations, from `simulate`
        rngs: the streams of each sample
    """
    rows = zip(block, arrays["image"], rngs, strict=True)
    measured = [
        camera.measure(recipe.camera, p.camera, image, rng) if recipe.noise else camera.expect(recipe.camera, image)
        for p, image, rng in rows
    ]
    return arrays | {"image": np.stack(measured)}


def constants(recipe: Recipe, rng: Streams) -> Arrays:
    """Return no fields: the task has none without a sample axis.

    Args:
        recipe: the recipe of the dataset
        rng: unused
    """
    return {}
