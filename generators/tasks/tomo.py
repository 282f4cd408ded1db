"""Sinograms of random sections, to be inverted to images.

    sinogram = measured * noise( integral of image along each ray ),   image = value * attenuation / image_size

The object is drawn (`generators.specimens.sections`), then its rays (`generators.instruments.rays`), the views that are
measured (`generators.instruments.views`), and the transmission measurement (`generators.instruments.transmission`).

With `emission`, quanta are emitted and not transmitted, as the diffracted quanta of one channel are:

    sinogram = measured * Poisson(emission * p) / emission,   p: the integral of image along each ray

operator=independent: line integrals come from the figures in closed form, averaged over detector pixels, or else from
an image with `supersampling` times more pixels along each side. They do not follow exactly from the stored image, as in
a measurement. operator=grid: they are the projection of the stored image, by the same operator that inverts it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import inf
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from generators import recipe
from generators.contract import Arrays
from generators.instruments import rays, transmission, views
from generators.instruments.detectors.chain import DetectorChain
from generators.instruments.rays import DrawnRays, Rays
from generators.instruments.transmission import DrawnTransmission, Transmission
from generators.instruments.views import DrawnViews, Views
from generators.random_streams import Streams
from generators.specimens.draws import stored_parameters, to_float32
from generators.specimens.from_files.pictures import Pictures
from generators.specimens.sections import objects
from generators.specimens.sections.foam import Foam
from generators.specimens.sections.granular import Granular
from generators.specimens.sections.objects import DrawnObject, Sections
from generators.specimens.sections.perforated import Perforated
from generators.specimens.sections.shapes import Shapes, add_image_noise
from physics.noise import add_shot_noise
from physics.tomography.geometry import Geometry, field_of_view
from physics.tomography.projection import project
from schemas.fields import transmission as transmission_fields
from schemas.fields import views as view_fields
from schemas.runtime.errors import UserError
from schemas.runtime.ranges import Range, within
from schemas.runtime.settings import between, setting

VERSION = 2  # version 1 spread light from one end of a detector to the other, and took masks from values


class Recipe(recipe.Recipe, Sections):
    """Every setting of the task."""

    image_size: int = Field(64, ge=8, le=8192, **setting("width and height of the image", "pixel"))
    sampling: Annotated[float, within(0, above=True)] = Field(1e3, **setting("width of a pixel of the image", "nm"))
    attenuation: Annotated[Range, within(0, 1e6)] = between(
        2.0, 6.0, "line integral through the width of the image where the value is 1"
    )
    rays: Rays = Field(Rays(), **setting("views, detector and beam"))
    measured: Views = Field(Views(), **setting("views that are measured, out of all"))
    transmission: Transmission = Field(Transmission(), **setting("noise and errors of the measurement"))
    emission: Annotated[Range, within(0, 1e12)] = between(
        0.0,
        0.0,
        "counted quanta per detector pixel where the line integral is 1, if they are emitted in the object, drawn on a "
        "logarithmic scale; 0: they are transmitted",
        "photon",
    )
    noise: int = Field(
        1,
        ge=0,
        le=1,
        **setting(
            "1: quanta are counted; 0: no counting, read noise, rings, drift and zingers; defects stay, such as "
            "hardening, the point spread and dead columns"
        ),
    )
    image_counts: Annotated[float, within(0, 1e12)] = Field(
        0.0,
        **setting(
            "counts at the maximum of the image, whose noise is part of the object, as in superres-tomo; 0: none"
        ),
    )
    image_blur: Annotated[float, within(0, 100)] = Field(
        1.0, **setting("standard deviation of the Gaussian filter that follows that noise", "pixel")
    )
    operator: Literal["independent", "grid"] = Field(
        "independent", **setting("line integrals in closed form or from a finer grid, or those of the stored image")
    )
    supersampling: int = Field(
        4, ge=1, le=16, **setting("finer pixels per pixel along each side, for objects without closed sinograms")
    )
    mask: bool = Field(False, **setting("true: also store where figures cover at least half of a pixel, as a target"))

    @model_validator(mode="after")
    def _check_settings(self) -> Self:
        reach = self.image_size / 2**0.5
        if 0 < self.rays.source_distance <= reach:
            raise ValueError(f"rays.source_distance: the source must lie outside of the image, beyond {reach:.1f}")
        if 180 <= self.rays.turn < self.complete_turn:
            raise ValueError(
                f"rays.turn: a fan measures every line only within {self.complete_turn:.1f} degrees, half a turn and "
                f"its own angle, and {self.rays.turn:g} are less; give 360, and measured.length for a limited range"
            )
        if self.image_counts and self.operator != "grid":
            raise ValueError("image_counts: noise of the image is projected with it; give operator=grid, too")
        if self.mask and self.pictures:
            raise ValueError("mask: pictures do not tell where material is; leave it out, or draw figures")
        if self.emission.high and not self.emission.low:
            raise ValueError("emission: 0 means that quanta are transmitted, and cannot be the end of a range")
        if self.emission.high and self.transmission != Transmission():
            raise ValueError("emission: no quanta are transmitted; give transmission.photons=0, and no other of these")
        return self

    @property
    def detectors(self) -> int:
        """Number of detector pixels."""
        return self.rays.detectors or self.image_size

    @property
    def complete_turn(self) -> float:
        """Least range of views [degree] in which every line through the image is measured."""
        distance = self.rays.source_distance
        if distance == 0:
            return 180.0
        ends = np.arcsin(self.image_size / 2 / distance), np.arctan(self.detectors * self.rays.pitch / 2 / distance)
        return 180 + 2 * float(np.degrees(min(ends)))

    def sizes(self) -> dict[str, int]:
        """Return the lengths of the dimensions."""
        sizes = {"y": self.image_size, "x": self.image_size, "view": self.rays.views, "detector": self.detectors}
        return self.object_sizes() | sizes

    def optional(self) -> frozenset[str]:
        """Return the optional fields that are stored."""
        groups = (view_fields.FIELDS, transmission_fields.FIELDS)
        names = {
            "attenuation",
            "photons",
            "sampling",
            *(field.name for group in groups for field in group),
            *self.object_fields(),
        }
        return frozenset(
            names
            | ({"mask"} if self.mask else set())
            | ({"object_number", "channel_number"} if self.channels else set())
        )

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


SEED_SHAPES = Shapes(overlap="replace", cut=True, normalise=True, background=1 / 255)
DISC = {"image_size": 256, "sampling": 512 * 148_320 / 256, "perforated": Perforated(), "mask": True}

RECIPES: Mapping[str, Recipe] = {
    "default": Recipe(
        measured=Views(every=Range(low=1, high=4)),
        transmission=Transmission(photons=Range(low=1e4, high=1e4)),
    ),
    # superres-tomo: use --n 9000 --validation 1000 --test 1000. The first and the last of its views are the same.
    "published": Recipe(
        shapes=SEED_SHAPES,
        attenuation=Range(low=64.0, high=64.0),
        rays=Rays(end_point=True),
        image_counts=256.0,
        operator="grid",
    ),
    # superres-tomo: use --n 162000 --validation 18000 --set pictures.path=DIR, a folder of the pictures of DIV2K. It is
    # known that images of 64 pixels were scaled by linear interpolation, and not how they were chosen: a random part
    # is shown here, turned and mirrored. No noise is mentioned.
    "div2k64": Recipe(
        pictures=Pictures(),
        attenuation=Range(low=64.0, high=64.0),
        rays=Rays(end_point=True),
        operator="grid",
    ),
    # superres-tomo: use --n 55000
    "shapes128": Recipe(
        image_size=128,
        shapes=SEED_SHAPES,
        attenuation=Range(low=128.0, high=128.0),
        rays=Rays(views=128, end_point=True),
        image_counts=256.0,
        operator="grid",
    ),
    "foam": Recipe(image_size=128, foam=Foam(), rays=Rays(views=128)),
    "granular": Recipe(image_size=128, granular=Granular(), rays=Rays(views=128)),
    # The geometry and the dose of LoDoPaB-CT (Leuschner et al., Scientific Data 8 (2021) 109), with other images: 362
    # pixels over 26 cm, and a detector as wide as the diagonal
    "lodopab": Recipe(
        image_size=362,
        sampling=260e6 / 362,
        shapes=Shapes(shapes=Range(low=10, high=40)),
        rays=Rays(views=1000, detectors=513, pitch=362 * 2**0.5 / 513),
        transmission=Transmission(photons=Range(low=4096.0, high=4096.0)),
    ),
    # Helsinki Tomography Challenge 2022: an acrylic disc of 70 mm; 410.66 mm from the source to the axis. The measured
    # range begins at angle 0. Noise, hardening, rings and offset hold those of the solid disc (docs/detector.md).
    "htc": Recipe(
        **DISC,
        attenuation=Range(low=3.2, high=3.3),
        rays=Rays(views=181, turn=90.5, detectors=560, pitch=0.5, source_distance=410.66 / 75.94 * 256),
        measured=Views(start=Range(low=0.0, high=0.0), length=Range(low=30.0, high=90.0)),
        transmission=Transmission(
            photons=Range(low=3.85e4, high=3.85e4),
            hardening=Range(low=0.08, high=0.1),
            rings=Range(low=0.0, high=0.003),
            air_offset=Range(low=0.0, high=0.02),
            detector=DetectorChain(correlation=0.25),
        ),
    ),
}


@dataclass(frozen=True)
class Parameters:
    """The values drawn for one sample; floats are rounded to float32, as they are stored."""

    object_number: int
    attenuation: float
    object: DrawnObject
    rays: DrawnRays
    views: DrawnViews
    transmission: DrawnTransmission
    angle: np.ndarray
    sampling: np.float32

    def columns(self) -> dict[str, Any]:
        """Return all parameters by field."""
        own = {name: getattr(self, name) for name in ("object_number", "attenuation", "angle", "sampling")}
        drawn_views = stored_parameters("views_", self.views)
        return {
            **own,
            "channel_number": self.object.channel,
            "measured": drawn_views.pop("views_measured"),
            **drawn_views,
            **stored_parameters("", self.rays),
            **self.transmission.columns(),
            **self.object.columns(),
        }


def draw(recipe: Recipe, rng: Streams) -> Parameters:
    """Draw one sample, from the streams `specimen`, `rays`, `views`, `transmission` and `emission`.

    The channels of an object share the streams of a group: one object, and one measurement except for its noise.

    Args:
        recipe: the recipe of the dataset
        rng: the streams of the sample
    """
    channels = recipe.channels.channels if recipe.channels else 1
    number, channel = divmod(rng.sample, channels)
    shared = rng.group(number) if recipe.channels else rng
    angles = recipe.rays.angles()
    period = np.pi if recipe.rays.source_distance == 0 else 2 * np.pi
    drawn = transmission.draw(recipe.transmission, shared)
    if recipe.emission.high:
        drawn = replace(drawn, photons=to_float32(recipe.emission.draw_logarithmic(shared.emission))[0])
    return Parameters(
        object_number=number,
        attenuation=to_float32(recipe.attenuation.draw(shared.attenuation))[0],
        object=objects.draw(recipe, shared, channel),
        rays=rays.draw(recipe.rays, shared),
        views=views.draw(recipe.measured, angles, period, shared),
        transmission=drawn if recipe.noise else drawn.without_noise(),
        angle=angles,
        sampling=np.float32(recipe.sampling),
    )


def simulate(recipe: Recipe, block: Sequence[Parameters]) -> Arrays:
    """Return images, and ideal sinograms, which `measure` replaces by measured ones.

    Args:
        recipe: the recipe of the dataset
        block: parameters of the samples
    """
    shape = (recipe.image_size,) * 2
    relative = np.stack([objects.render(recipe, p.object, shape) for p in block]) * field_of_view(recipe.image_size)
    factors = np.array([p.attenuation / recipe.image_size for p in block], np.float32)[:, None, None]
    arrays = {"image": relative * factors}
    if recipe.mask:
        covers = np.stack([objects.material_cover(recipe, p.object, shape) for p in block])
        arrays["mask"] = (covers * field_of_view(recipe.image_size) >= 0.5).astype(np.uint8)
    sinograms = [_ideal_sinogram(recipe, p, row) for p, row in zip(block, relative, strict=True)]
    return arrays | {"sinogram": np.stack(sinograms) * factors}


def _ideal_sinogram(recipe: Recipe, drawn: Parameters, relative: np.ndarray) -> np.ndarray:
    """Return the line integrals (view, detector) of an object in its own unit, lengths in pixels."""
    if recipe.operator == "grid":
        return project(relative, rays.geometry(recipe.rays, drawn.rays, recipe.detectors))  # type: ignore[no-any-return]
    if drawn.object.exact:
        return objects.sinogram(
            drawn.object, recipe.image_size, rays.geometry(recipe.rays, drawn.rays, recipe.detectors)
        )
    return _from_finer_grid(recipe, drawn)


def _from_finer_grid(recipe: Recipe, drawn: Parameters) -> np.ndarray:
    """Return the line integrals of an image with more pixels, averaged over detector pixels."""
    finer = recipe.supersampling
    geometry: Geometry = rays.geometry(recipe.rays, drawn.rays, recipe.detectors, finer)
    size = recipe.image_size * finer
    image = objects.render(recipe, drawn.object, (size, size)) * field_of_view(size)
    sums = project(image, geometry).reshape(recipe.rays.views, recipe.detectors, finer)
    means: np.ndarray = sums.mean(axis=-1) / np.float32(finer)
    return means


def measure(recipe: Recipe, block: Sequence[Parameters], arrays: Arrays, rngs: Sequence[Streams]) -> Arrays:
    """Return the measurement: noise and errors of the instrument, and 0 in views that are not measured.

    Args:
        recipe: the recipe of the dataset
        block: parameters of the samples
        arrays: the expectations, from `simulate`
        rngs: the streams of each sample
    """
    if recipe.image_counts and recipe.noise:
        arrays = arrays | _with_image_noise(recipe, block, arrays["image"], rngs)
    rows = zip(block, arrays["sinogram"], rngs, strict=True)
    measured = [
        _count_emitted(row, p.transmission.photons, rng)
        if recipe.emission.high
        else transmission.measure(recipe.transmission, p.transmission, row, rng)
        for p, row, rng in rows
    ]
    known = np.stack([p.views.measured for p in block])
    return arrays | {"sinogram": views.hide_unmeasured(np.stack(measured), known)}


def _count_emitted(sinogram: np.ndarray, quanta: float, rng: Streams) -> np.ndarray:
    """Return line integrals of emitted quanta, counted with the stream `emitted_quanta`; 0 quanta: without noise."""
    lowest, highest = float(sinogram.min()), float(abs(sinogram).max())
    if lowest < -1e-5 * highest:
        raise UserError(
            f"emission: a line integral is {lowest:g}, and no quanta are negative; give values of 0 or more"
        )
    noisy: np.ndarray = add_shot_noise(np.maximum(sinogram, 0), quanta or inf, rng.emitted_quanta)
    return noisy


def _with_image_noise(
    recipe: Recipe, block: Sequence[Parameters], images: np.ndarray, rngs: Sequence[Streams]
) -> Arrays:
    """Return images with noise of their own (stream `image_noise`), and their sinograms."""
    inside = field_of_view(recipe.image_size)
    noisy = np.empty_like(images)
    for n, (image, rng) in enumerate(zip(images, rngs, strict=True)):
        unit = image.max() or np.float32(1)
        noisy[n] = (
            add_image_noise(image / unit, recipe.image_counts, recipe.image_blur, rng.image_noise) * unit * inside
        )
    return {
        "image": noisy,
        "sinogram": np.stack([_ideal_sinogram(recipe, *row) for row in zip(block, noisy, strict=True)]),
    }


def constants(recipe: Recipe, rng: Streams) -> Arrays:
    """Return the field of view, a disc that touches the edges of the image.

    Args:
        recipe: the recipe of the dataset
        rng: unused; nothing here is random
    """
    return {"field_of_view": field_of_view(recipe.image_size).astype(np.float32)}
