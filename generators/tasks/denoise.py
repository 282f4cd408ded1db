"""Noisy images of random sections or of pictures, to be denoised.

    clean = point spread of the detector * image
    noisy = the measurement of the image by a camera (`generators.instruments.detectors.camera`)

The objects are those of `generators.specimens.sections.textured`, or figures in boxes (`generators.specimens.bodies`).
With the default recipe, the detector counts independent quanta, so that the counts of an image can be divided into
independent halves.
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
from generators.instruments.detectors.chain import DetectorChain
from generators.random_streams import Streams
from generators.specimens.bodies import bodies, boxes
from generators.specimens.bodies.bodies import DrawnBodies
from generators.specimens.bodies.boxes import Boxes
from generators.specimens.from_files.pictures import Pictures
from generators.specimens.planar.texture import Texture
from generators.specimens.sections import textured
from generators.specimens.sections.foam import Foam
from generators.specimens.sections.granular import Granular
from generators.specimens.sections.textured import DrawnTexturedObject, TexturedSections
from schemas.fields.sections import BODY_FIELDS
from schemas.fields.transmission import CAMERA_FIELDS
from schemas.runtime.ranges import Range, within
from schemas.runtime.settings import setting

VERSION = 1
IN_FRONT = "in_front"  # name of the image in front of the detector; it is simulated, but not stored


class Recipe(recipe.Recipe, TexturedSections):
    """Every setting of the task."""

    image_size: int = Field(128, ge=8, le=8192, **setting("width and height of the image", "pixel"))
    boxes: Boxes | None = Field(
        None, **setting("squares and discs, in place of other objects; each pixel has the value of one body")
    )
    sampling: Annotated[float, within(0, above=True)] = Field(1e3, **setting("width of a pixel", "nm"))
    camera: Camera = Field(Camera(), **setting("the camera and its noise"))
    noise: int = Field(
        1, ge=0, le=1, **setting("1: with noise; 0: no counting, stripes, rings and white noise; dead pixels stay")
    )

    @model_validator(mode="after")
    def _check_boxes(self) -> Self:
        if self.boxes:
            self.boxes.check_width(self.image_size)
        return self

    def sizes(self) -> dict[str, int]:
        """Return the lengths of the dimensions."""
        objects = self.boxes.sizes() if self.boxes else self.object_sizes()
        return objects | {"y": self.image_size, "x": self.image_size}

    def optional(self) -> frozenset[str]:
        """Return the optional fields that are stored."""
        known = self.sizes().keys()
        figures = {field.name for field in BODY_FIELDS if set(field.dims[1:]) <= known}
        objects = figures if self.boxes else self.object_fields()
        return frozenset({"sampling", *objects, *(field.name for field in CAMERA_FIELDS)})

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


LOW_DOSE = Camera(photons=Range(low=2.0, high=200.0))
GRAINS: Mapping[str, Any] = {"granular": Granular(), "texture": Texture(), "ground": Range(low=0.05, high=0.3)}

RECIPES: Mapping[str, Recipe] = {
    # Grains of different materials in a tube; a detector that counts single quanta
    "default": Recipe(**GRAINS, camera=LOW_DOSE),
    # A camera behind a scintillator: neighbouring pixels share quanta, and the electronics are noisy. Its columns
    # differ in gain.
    "camera": Recipe(
        **GRAINS,
        camera=Camera(
            photons=Range(low=10.0, high=1000.0),
            stripes=Range(low=0.0, high=0.05),
            detector=DetectorChain(correlation=0.25, gain=2.0, offset=100.0, read_noise=4.0, step=1.0),
        ),
    ),
    # Sections of foams with the rings that errors of a tomograph's detector leave
    "rings": Recipe(
        foam=Foam(),
        camera=Camera(deviation=Range(low=0.05, high=0.2), rings=Range(low=0.2, high=1.0)),
    ),
    "pictures": Recipe(pictures=Pictures(), camera=LOW_DOSE),
    # superres-tomo, whose generator is that of Pelt's MSDNet: use --n 200 --validation 5 --test 5
    "published": Recipe(image_size=64, boxes=Boxes(), camera=Camera(deviation=Range(low=0.5, high=0.5))),
}


@dataclass(frozen=True)
class Parameters:
    """The values drawn for one sample; floats are rounded to float32, as they are stored."""

    object: DrawnTexturedObject | DrawnBodies
    camera: DrawnCamera
    sampling: np.float32

    def columns(self) -> dict[str, Any]:
        """Return all parameters by field."""
        return {"sampling": self.sampling, **self.camera.columns(), **self.object.columns()}


def draw(recipe: Recipe, rng: Streams) -> Parameters:
    """Draw one sample, from the streams `specimen`, `texture` and `camera`.

    Args:
        recipe: the recipe of the dataset
        rng: the streams of the sample
    """
    drawn = camera.draw(recipe.camera, rng)
    sampling = np.float32(recipe.sampling)
    drawn_object = (
        boxes.draw(recipe.boxes, recipe.image_size, rng.specimen) if recipe.boxes else textured.draw(recipe, rng)
    )
    return Parameters(drawn_object, drawn if recipe.noise else NOISELESS, sampling)


def simulate(recipe: Recipe, block: Sequence[Parameters]) -> Arrays:
    """Return clean images, and those in front of the detector.

    Args:
        recipe: the recipe of the dataset
        block: parameters of the samples
    """
    images = np.stack([_render(recipe, one.object, (recipe.image_size,) * 2) for one in block])
    clean = np.stack([camera.expect(recipe.camera, image) for image in images])
    return {"clean": clean, "noisy": clean, IN_FRONT: images}


def _render(recipe: Recipe, drawn: DrawnTexturedObject | DrawnBodies, shape: tuple[int, int]) -> np.ndarray:
    if isinstance(drawn, DrawnBodies):
        image, _ = bodies.render(drawn, shape, classes=2, partial_volume=False)
        return image
    return textured.render(recipe, drawn, shape)


def measure(recipe: Recipe, block: Sequence[Parameters], arrays: Arrays, rngs: Sequence[Streams]) -> Arrays:
    """Return the measurement of the images by the camera.

    Args:
        recipe: the recipe of the dataset
        block: parameters of the samples
        arrays: the expectations, from `simulate`
        rngs: the streams of each sample
    """
    rows = zip(block, arrays[IN_FRONT], rngs, strict=True)
    noisy = np.stack([camera.measure(recipe.camera, one.camera, image, rng) for one, image, rng in rows])
    return {"clean": arrays["clean"], "noisy": noisy}


def constants(recipe: Recipe, rng: Streams) -> Arrays:
    """Return no fields: the task has none without a sample axis.

    Args:
        recipe: the recipe of the dataset
        rng: unused; nothing here is random
    """
    return {}
