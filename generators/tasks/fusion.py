"""Coarse images of many channels and a fine guide image of the same random section, to be fused.

    high  = sum over phases of density * intensity of the phase in each channel
    low   = measurement by a camera of ( point spread, then means over coarse pixels )   (`physics.pixel_integration`)
    guide = (sum over phases of density * grey value of the phase) * (1 + contrast * (2 t - 1)) + noise

The phases of figures and their spectra are those of `generators.specimens.sections.channels`. The grey value of a phase
is drawn: two phases may look alike in the guide, which also has a texture t that no channel shows, and does not lie
exactly where the channels lie. Densities are drawn on a grid `supersampling` times finer than `high`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Self

import numpy as np
from pydantic import Field, model_validator

from generators import recipe
from generators.contract import Arrays
from generators.instruments.detectors import camera
from generators.instruments.detectors.camera import NOISELESS, Camera, DrawnCamera
from generators.random_streams import Streams
from generators.specimens.draws import stored_parameters, to_float32
from generators.specimens.planar import texture
from generators.specimens.planar.texture import DrawnTexture, Texture
from generators.specimens.sections import objects, section
from generators.specimens.sections.channels import Channels, select_phase
from generators.specimens.sections.granular import Granular
from generators.specimens.sections.objects import DrawnObject, Sections
from generators.specimens.sections.section import DrawnSection
from physics.pixel_integration import integrate_pixels
from schemas.fields.textures import FIELDS as TEXTURE
from schemas.fields.transmission import CAMERA_FIELDS
from schemas.runtime.ranges import Range, within
from schemas.runtime.settings import Settings, between, setting

VERSION = 1


class Guide(Settings):
    """Settings of the guide image."""

    grey: Annotated[Range, within(0)] = between(0.2, 1.0, "grey value of a phase at density 1")
    texture: Texture = Field(Texture(), **setting("structure that the guide alone shows"))
    contrast: Annotated[Range, within(0, 1)] = between(
        0.0, 0.3, "largest deviation from the grey value of a figure that the texture makes, relative to it"
    )
    deviation: Annotated[Range, within(0, 1e6)] = between(0.01, 0.05, "standard deviation of its white noise")
    shift: Annotated[float, within(0, 100)] = Field(
        0.25, **setting("standard deviation of its shift along each axis, an error of registration", "fine pixel")
    )
    turn: Annotated[float, within(0, 180)] = Field(
        0.1, **setting("standard deviation of its rotation about the middle of the image", "degree")
    )


class Recipe(recipe.Recipe, Sections):
    """Every setting of the task."""

    image_size: int = Field(64, ge=8, le=4096, **setting("width and height of the fine images", "pixel"))
    low_size: int = Field(
        32, ge=2, le=4096, **setting("width and height of the coarse images; it need not divide image_size", "pixel")
    )
    channels: Channels = Field(Channels(), **setting("channels, such as scattering angles, and phases"))
    point_spread: Annotated[Range, within(0, 100)] = between(
        0.5, 1.0, "standard deviation of the Gaussian point spread of the coarse images; 0: none", "fine pixel"
    )
    guide: Guide = Field(Guide(), **setting("the guide image"))
    sampling: Annotated[float, within(0, above=True)] = Field(1e3, **setting("width of a fine pixel", "nm"))
    supersampling: int = Field(
        2, ge=1, le=16, **setting("points per fine pixel along each side, on which objects are drawn")
    )
    camera: Camera = Field(Camera(), **setting("what takes the coarse images, and its noise"))
    noise: int = Field(1, ge=0, le=1, **setting("1: with noise; 0: no noise of the coarse images and of the guide"))

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
        own = {"photons", "sampling", "sampling_low", "guide_grey", "guide_contrast", "guide_deviation"}
        drawn = {field.name for field in (*CAMERA_FIELDS, *TEXTURE)}
        return frozenset({*own, "guide_shift", "guide_turn", *drawn, *self.object_fields()})


GRAINS: Mapping[str, Any] = {"granular": Granular(), "camera": Camera(deviation=Range(low=0.005, high=0.03))}

RECIPES: Mapping[str, Recipe] = {
    "default": Recipe(**GRAINS),
    "factor4": Recipe(**GRAINS, low_size=16, point_spread=Range(low=1.0, high=2.0)),
    # The sizes of the sections of a reactor bed in superres-tomo, which has 2038 channels: --set channels.channels=2038
    "reactor": Recipe(**GRAINS, image_size=149, low_size=75),
}


@dataclass(frozen=True)
class DrawnGuide:
    """The drawn guide image of a sample; floats are rounded to float32, as they are stored."""

    grey: np.ndarray  # (phase,)
    contrast: float
    deviation: float
    shift: np.ndarray  # (y, x) [pixel]
    turn: float  # [rad]


@dataclass(frozen=True)
class Parameters:
    """The values drawn for one sample; floats are rounded to float32, as they are stored."""

    object: DrawnObject
    texture: DrawnTexture
    guide: DrawnGuide
    camera: DrawnCamera
    point_spread: float
    sampling: np.float32
    sampling_low: np.float32

    @property
    def spectrum(self) -> np.ndarray:
        """Intensity of each phase in each channel, (phase, channel)."""
        assert self.object.channels is not None
        return self.object.channels.spectrum

    def columns(self) -> dict[str, Any]:
        """Return all parameters by field."""
        own = {name: getattr(self, name) for name in ("point_spread", "sampling", "sampling_low")}
        guide = stored_parameters("guide_", self.guide) | stored_parameters("texture_", self.texture)
        return {**own, **guide, **self.camera.columns(), **self.object.columns()}


def draw(recipe: Recipe, rng: Streams) -> Parameters:
    """Draw one sample, from the streams `specimen`, `channels`, `guide`, `texture`, `camera` and `instrument`.

    Args:
        recipe: the recipe of the dataset
        rng: the streams of the sample
    """
    drawn = camera.draw(recipe.camera, rng)
    return Parameters(
        object=objects.draw(recipe, rng),
        texture=texture.draw(recipe.guide.texture, rng.texture),
        guide=_draw_guide(recipe, rng.guide),
        camera=drawn if recipe.noise else NOISELESS,
        point_spread=to_float32(recipe.point_spread.draw(rng.instrument))[0],
        sampling=np.float32(recipe.sampling),
        sampling_low=np.float32(recipe.sampling * recipe.image_size / recipe.low_size),
    )


def _draw_guide(recipe: Recipe, rng: np.random.Generator) -> DrawnGuide:
    settings = recipe.guide
    grey = np.array([settings.grey.draw(rng) for _ in range(recipe.channels.phases)], np.float32)
    contrast, deviation = to_float32(settings.contrast.draw(rng), settings.deviation.draw(rng))
    y, x, turn = rng.standard_normal(3)
    shift = (settings.shift * np.array([y, x])).astype(np.float32)
    return DrawnGuide(
        grey, contrast, deviation if recipe.noise else 0.0, shift, float(np.float32(np.radians(settings.turn) * turn))
    )


def simulate(recipe: Recipe, block: Sequence[Parameters]) -> Arrays:
    """Return fine images, coarse ones and guides, without noise.

    Args:
        recipe: the recipe of the dataset
        block: parameters of the samples
    """
    rows = [_expected(recipe, one) for one in block]
    return {name: np.stack([row[name] for row in rows]) for name in rows[0]}


def _expected(recipe: Recipe, drawn: Parameters) -> Arrays:
    """Return the expectations of one sample."""
    fine, coarse, points = (recipe.image_size,) * 2, (recipe.low_size,) * 2, recipe.supersampling
    structure = drawn.object.structure
    assert isinstance(structure, DrawnSection)
    finest = _densities(drawn, structure, (recipe.image_size * points,) * 2)
    y, x = (drawn.guide.shift / np.float32(recipe.image_size)).tolist()
    displaced = _densities(drawn, section.displace(structure, (y, x), drawn.guide.turn), fine)
    own = 1 + np.float32(drawn.guide.contrast) * (2 * texture.render(drawn.texture, fine) - 1)
    return {
        "high": _by_channel(drawn, integrate_pixels(finest, fine)),
        "low": _by_channel(drawn, integrate_pixels(finest, coarse, drawn.point_spread * points)),
        "guide": np.tensordot(drawn.guide.grey, displaced, 1) * own,
    }


def _densities(drawn: Parameters, structure: DrawnSection, shape: tuple[int, int]) -> np.ndarray:
    """Return the density of each phase, (phase, y, x)."""
    channels = drawn.object.channels
    assert channels is not None
    phases = range(len(channels.spectrum))
    return np.stack([section.render(select_phase(structure, channels, phase), shape) for phase in phases])


def _by_channel(drawn: Parameters, densities: np.ndarray) -> np.ndarray:
    """Return the image of each channel, (channel, y, x)."""
    images: np.ndarray = np.tensordot(drawn.spectrum.T, densities, 1)
    return images


def measure(recipe: Recipe, block: Sequence[Parameters], arrays: Arrays, rngs: Sequence[Streams]) -> Arrays:
    """Return the measurement of the coarse images, channel by channel, and of the guide (stream `guide_noise`).

    Args:
        recipe: the recipe of the dataset
        block: parameters of the samples
        arrays: the expectations, from `simulate`
        rngs: the streams of each sample
    """
    low, guide = np.empty_like(arrays["low"]), arrays["guide"].copy()
    for n, (one, rng) in enumerate(zip(block, rngs, strict=True)):
        for channel, image in enumerate(arrays["low"][n]):
            low[n, channel] = camera.measure(recipe.camera, one.camera, image, rng)
        if one.guide.deviation:
            guide[n] += np.float32(one.guide.deviation) * rng.guide_noise.standard_normal(guide[n].shape, np.float32)
    return arrays | {"low": low, "guide": guide}


def constants(recipe: Recipe, rng: Streams) -> Arrays:
    """Return no fields: the task has none without a sample axis.

    Args:
        recipe: the recipe of the dataset
        rng: unused; nothing here is random
    """
    return {}
