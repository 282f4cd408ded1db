"""Through-focus series of nanoparticles in the projection approximation, for phase retrieval.

    phase = sigma V t,  amplitude = exp(-sigma V' t),  intensity = |Fresnel(defocus) amplitude exp(i phase)|^2

on a grid `supersampling` times finer than the image; then misalignment, integration over each pixel, shot noise and
window. With noise=0 misalignment=none window=none supersampling=1 the stored fields obey the formula of the schema;
with supersampling, intensity, phase and amplitude are each means over a pixel: amplitude^2 is not the in-focus image.

A fine grid is needed: exp(i phase) is sampled at points, and at the edges of a particle the phase may turn by more than
pi from one to the next. Against 16 times the image, the rms error of the default images is 0.04, 0.011, 0.0023 and
0.0006 for 1, 2, 4 and 8 times; their shot noise is 0.005 on average.

One homogeneous body: its phase is -V / (2 V') times the logarithm of the in-focus intensity. A network that estimates
that one ratio from the series could do without the fringes; compare with this baseline.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import numpy as np
from pydantic import Field, field_validator, model_validator

from generators import misalignment, recipe
from generators.contract import Arrays
from generators.misalignment import Misalignment, Pose, misalign
from generators.specimens import nanoparticle
from generators.specimens.nanoparticle import Nanoparticle, Particle
from generators.specimens.pool import Item, SpecimenFiles
from generators.specimens.projection import fine_origin, thickness
from generators.streams import Streams
from generators.window import Window, window
from physics import noise, optics
from physics.electron import wavelength
from schemas import particles
from schemas.knobs import knob
from schemas.quantities import Range, within

VERSION = 1

DETAIL = 5.0  # nm: finer fringes are faint, and may come in again on the other side

type Store = Literal["measurement", "expectation", "both"]


class Recipe(recipe.Recipe):
    """Every knob of the task."""

    images: int = Field(
        3, ge=2, le=1001, **knob("of a series: 2 (under, over), or an odd number with the in-focus one amid")
    )
    image_size: int = Field(64, ge=8, le=4096, **knob("of the square image", "pixel"))
    field_of_view: Annotated[float, within(0, above=True)] = Field(150.0, **knob("width of the image", "nm"))
    supersampling: int = Field(4, ge=1, le=64, **knob("simulation grid to image, a power of two"))
    voltage: Annotated[Range, within(1e3, 1e7)] = Field(
        Range(low=300e3, high=300e3), **knob("accelerating voltage", "V")
    )
    defocus: Annotated[Range, within(0, above=True)] = Field(
        Range(low=8e3, high=12e3), **knob("of the outermost images, -z and +z; the others in equal steps", "nm")
    )
    potential: Annotated[Range, within()] = Field(Range(low=12.0, high=20.0), **knob("mean inner potential V", "V"))
    absorption: Annotated[Range, within(0)] = Field(Range(low=0.5, high=1.5), **knob("absorptive potential V'", "V"))
    noise: Annotated[Range, within(0, 10)] = Field(
        Range(low=0.0, high=0.01), **knob("fractional shot noise s: 1/s^2 electrons a vacuum pixel; 0: infinite dose")
    )
    misalignment: Misalignment | None = Field(Misalignment(), **knob("of the images; none: all in one frame"))
    window: Window | None = Field(None, **knob("circular window on images and phase; none: the whole image"))
    specimen: Nanoparticle = Field(Nanoparticle(), **knob("procedural nanoparticles"))
    files: SpecimenFiles | None = Field(None, **knob("specimens read from files in place of procedural ones"))
    store: Store = Field("measurement", **knob("images with noise, without, or both (adds intensity_expected)"))

    @field_validator("images")
    @classmethod
    def _odd(cls, images: int) -> int:
        if images != 2 and images % 2 == 0:
            raise ValueError("must be 2 or odd (3, 5, ...): the in-focus image lies amid the others")
        return images

    @field_validator("supersampling")
    @classmethod
    def _power_of_two(cls, factor: int) -> int:
        if factor & (factor - 1):
            raise ValueError("must be a power of two (1, 2, 4, ...)")
        return factor

    @model_validator(mode="after")
    def _sampled(self) -> Self:
        """Waves must not leave the periodic field.

        Sampling of the kernel: it turns by less than pi from one frequency to the next while lambda z / (2 d) is below
        half the field. Wrap-around: detail of DETAIL travels by lambda z / DETAIL, at most a quarter of the field.
        """
        field, fine = self.field_of_view, self.field_of_view / (self.image_size * self.supersampling)
        limit = min(field * fine, field * DETAIL / 4) / wavelength(self.voltage.low)
        if self.defocus.high > limit:
            raise ValueError(
                f"a defocus of {self.defocus.high:g} nm spreads detail beyond the field of view; at most "
                f"{limit:.4g} nm for this field_of_view, image_size and supersampling: lower the defocus, or widen "
                "the field_of_view"
            )
        return self

    def sizes(self) -> dict[str, int]:
        """Lengths of the dimensions."""
        image = {"plane": self.images, "y": self.image_size, "x": self.image_size}
        return image | {
            "axis": 3,
            "component": 4,
            "wave": nanoparticle.WAVES,
            "cut": max(int(self.specimen.cuts.high), 1),
        }

    def optional(self) -> frozenset[str]:
        """The optional fields that are stored."""
        expected = {"intensity_expected"} if self.store == "both" else set()
        specimen = {"item", "turn", "orientation"} if self.files else {field.name for field in particles.FIELDS}
        return frozenset(expected | specimen)

    def bind(self, inputs: Path | None) -> Self:
        """With the specimen files found and hashed."""
        return self.model_copy(update={"files": self.files.bind(inputs)}) if self.files else self

    def serves(self, split: str) -> None:
        """A pool of files may be too small to give each split specimens of its own."""
        if self.files:
            self.files.serves(split)

    @property
    def sampling(self) -> float:
        """Width of a pixel [nm]."""
        return self.field_of_view / self.image_size

    @property
    def reference(self) -> int:
        """The image that defines the frame of the targets: in focus, or the under-focus one of two."""
        return self.images // 2 if self.images > 2 else 0


RECIPES: Mapping[str, Recipe] = {
    "default": Recipe(),
    # After phase-ret-dl (arXiv:1709.09940), the example of its README: one material, one defocus, two images, hard
    # window, no supersampling; with --n 5000 --validation 0 --test 100. Other than there: phases have our sign and the
    # relativistic interaction constant (23 % larger), rotations go both ways, images are periodic and not filled with
    # 1, particles are turned uniformly on SO(3), and thickness is that of a smooth body, not of voxels.
    "seed": Recipe(
        images=2,
        supersampling=1,
        defocus=Range(low=10e3, high=10e3),
        potential=Range(low=17.0, high=17.0),
        absorption=Range(low=1.0, high=1.0),
        noise=Range(low=0.0, high=0.01),
        window=Window(radius=0.5),
        specimen=nanoparticle.SEED,
    ),
}


@dataclass(frozen=True)
class Parameters:
    """What is drawn for one sample; floats as float32 stores them."""

    voltage: np.float32
    sampling: np.float32
    noise: np.float32
    potential: np.float32
    absorption: np.float32
    defocus: np.ndarray  # these have a value per image of the series
    rotation: np.ndarray
    scale: np.ndarray
    shift_y: np.ndarray
    shift_x: np.ndarray
    specimen: Particle | Item

    def __getattr__(self, name: str) -> Any:
        """The specimen's own columns."""
        return getattr(self.specimen, name.removeprefix("particle_"))

    def pose(self, plane: int) -> Pose:
        """How an image of the series lies in the frame of the targets."""
        return Pose(*(float(row[plane]) for row in (self.rotation, self.scale, self.shift_y, self.shift_x)))


def draw(recipe: Recipe, rng: Streams) -> Parameters:
    """The parameters of one sample, from the streams `optics`, `misalignment` and `specimen`."""
    lens = rng.optics
    outermost = recipe.defocus.draw(lens)
    poses = [_draw_pose(recipe, plane, rng.misalignment) for plane in range(recipe.images)]
    return Parameters(
        defocus=np.linspace(-outermost, outermost, recipe.images).astype(np.float32),
        voltage=np.float32(recipe.voltage.draw(lens)),
        sampling=np.float32(recipe.sampling),
        noise=np.float32(recipe.noise.draw(lens)),
        potential=np.float32(recipe.potential.draw(lens)),
        absorption=np.float32(recipe.absorption.draw(lens)),
        rotation=np.array([pose.rotation for pose in poses], np.float32),
        scale=np.array([pose.scale for pose in poses], np.float32),
        shift_y=np.array([pose.shift_y for pose in poses], np.float32),
        shift_x=np.array([pose.shift_x for pose in poses], np.float32),
        specimen=recipe.files.draw(rng) if recipe.files else nanoparticle.draw(recipe.specimen, rng.specimen),
    )


def _draw_pose(recipe: Recipe, plane: int, rng: np.random.Generator) -> Pose:
    if recipe.misalignment is None or plane == recipe.reference:
        return Pose()
    return misalignment.draw(recipe.misalignment, recipe.field_of_view, rng)


def simulate(recipe: Recipe, block: Sequence[Parameters]) -> Arrays:
    """Expectations, without window: intensity (sample, plane, y, x), phase and amplitude (sample, y, x), float32."""
    rows = [_simulate(recipe, parameters) for parameters in block]
    return {name: np.stack([row[name] for row in rows]) for name in ("intensity", "phase", "amplitude")}


def _simulate(recipe: Recipe, parameters: Parameters) -> Arrays:
    thickness = _thickness(recipe, parameters.specimen)
    voltage = float(parameters.voltage)
    phase = optics.phase_shift(thickness, float(parameters.potential), voltage)
    amplitude = optics.attenuation(thickness, float(parameters.absorption), voltage)
    return {
        "intensity": _images(recipe, parameters, phase, amplitude),
        "phase": _means(phase, recipe.supersampling),
        "amplitude": _means(amplitude, recipe.supersampling),
    }


def _thickness(recipe: Recipe, specimen: Particle | Item) -> np.ndarray:
    """Projected thickness [nm] on the fine grid, (y, x) float32."""
    factor = recipe.supersampling
    shape = (recipe.image_size * factor,) * 2
    if isinstance(specimen, Item):
        assert recipe.files is not None
        return recipe.files.thickness(specimen, shape, recipe.field_of_view).astype(np.float32)
    mesh = nanoparticle.build(specimen, recipe.field_of_view)
    origin = fine_origin((recipe.image_size,) * 2, factor)
    return thickness(mesh, shape, (recipe.sampling / factor,) * 2, origin=origin).astype(np.float32)


def _images(recipe: Recipe, parameters: Parameters, phase: np.ndarray, amplitude: np.ndarray) -> np.ndarray:
    """The series, each image in its own pose, (plane, y, x).

    Posed on a grid at most twice as fine as the image: finer, the splines that turn an image would take most of the
    time, and the pixels average their gain away.
    """
    factor = min(recipe.supersampling, 2)
    sampling = float(parameters.sampling)
    fine = _through_focus(parameters, phase, amplitude, sampling / recipe.supersampling)
    images = _means(fine, recipe.supersampling // factor)
    centre = fine_origin((recipe.image_size,) * 2, factor)
    for plane, image in enumerate(images):
        # a spline can undershoot where the image is dark
        images[plane] = np.maximum(misalign(image, parameters.pose(plane), sampling / factor, centre), 0)
    return _means(images, factor)


def _through_focus(parameters: Parameters, phase: np.ndarray, amplitude: np.ndarray, sampling: float) -> np.ndarray:
    """Intensities at each defocus, (plane, y, x), on the grid of the wave; sampling: [nm]. In focus, amplitude^2."""
    defocus = parameters.defocus.astype(float)
    images = np.empty((len(defocus), *phase.shape), np.float32)
    away = defocus != 0
    wave = optics.exit_wave(phase, amplitude)
    electrons = wavelength(float(parameters.voltage))
    images[away] = optics.intensity(optics.propagate(wave, electrons, defocus[away], sampling))
    images[~away] = amplitude**2
    return images


def _means(image: np.ndarray, step: int) -> np.ndarray:
    """Means over blocks of step x step pixels: (..., y, x), in the dtype of the image."""
    if step == 1:
        return image
    # as a sum of strided views: ten times faster than a mean over short axes
    total = np.zeros_like(image[..., ::step, ::step])
    for i in range(step):
        for j in range(step):
            total += image[..., i::step, j::step]
    return total / np.float32(step**2)


def measure(recipe: Recipe, block: Sequence[Parameters], arrays: Arrays, rngs: Sequence[Streams]) -> Arrays:
    """Shot noise, from the stream `noise`, then the window."""
    shape = window(recipe.window, recipe.image_size)
    expected = arrays["intensity"]
    images = expected
    if recipe.store != "expectation":
        images = np.stack([_noisy(x, float(p.noise), rng) for x, p, rng in zip(expected, block, rngs, strict=True)])
    measured = {"intensity": images * shape, "phase": arrays["phase"] * shape, "amplitude": arrays["amplitude"]}
    if recipe.store == "both":
        measured["intensity_expected"] = expected * shape
    return measured


def _noisy(images: np.ndarray, level: float, rng: Streams) -> np.ndarray:
    return noise.detect(images, rng.noise, electrons=noise.electrons_at(level))  # type: ignore[no-any-return]


def constants(recipe: Recipe) -> Arrays:
    """The window."""
    return {"window": window(recipe.window, recipe.image_size)}
