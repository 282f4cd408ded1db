"""Through-focus series of nanoparticles in the projection approximation, for phase retrieval.

    phase = sigma V t,  amplitude = exp(-sigma V' t),  intensity = |Fresnel(defocus) amplitude exp(i phase)|^2

This is computed on a grid `supersampling` times finer than the image. Then follow misalignment, integration over each
pixel, shot noise and window. With noise=0 misalignment=none window=none supersampling=1 the stored fields obey the
formula of the schema. With supersampling, intensity, phase and amplitude are each means over a pixel, so amplitude^2 is
not the in-focus image.

The simulation needs a fine grid: exp(i phase) is sampled at points, and at the edges of a particle the phase may turn
by more than pi from one point to the next. Compared with a grid 16 times finer than the image, the rms error of the
default images is 0.04, 0.011, 0.0023 and 0.0006 for 1, 2, 4 and 8 times; their shot noise is 0.005 on average.

With more than one slice, the wave is computed by multislice; `waves` takes exit waves from files. The target stays the
projected phase. The phase of a magnetised body does not end at the border of the image: use padding=2. A second series
of the body turned over (`flipped`) separates its magnetic from its electrostatic phase.

For a single homogeneous body without a film, the phase is -V / (2 V') times the logarithm of the in-focus intensity. A
network that estimates this one ratio from the series could do without the fringes; compare with this baseline.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from generators import recipe
from generators.contract import Arrays
from generators.instruments import misalignment, retrieved_phase
from generators.instruments.image_formation import SeriesSettings
from generators.instruments.misalignment import Misalignment, Pose
from generators.instruments.window import Window, window
from generators.random_streams import Streams
from generators.specimens import film
from generators.specimens.draws import stored_parameters
from generators.specimens.film import Film
from generators.specimens.from_files.voxels import SpecimenFiles
from generators.specimens.from_files.wavefields import WaveFiles
from generators.specimens.particles import magnetised, nanoparticle
from generators.specimens.particles.magnetised import Magnetisation
from generators.specimens.particles.nanoparticle import Nanoparticle
from generators.specimens.thick_specimens import ThickSpecimen, exit_waves
from physics import noise
from physics.electron import wavelength
from physics.magnetics import separate_phases
from schemas.fields import films, particles
from schemas.runtime.ranges import Range, within
from schemas.runtime.settings import between, setting
from schemas.tasks.tie import COMPONENTS

VERSION = 3

POSE_FIELDS = ("rotation", "scale", "shift_y", "shift_x")

type Component = Literal["total", "electrostatic", "magnetic"]


class Retrieval(retrieved_phase.Retrieval):
    """Settings of the method; `--set retrieval=tie` is short for retrieval.method=tie."""

    method: Literal["tie", "misell"] = Field(
        "tie", **setting("transport of intensity, or the algorithm of Gerchberg, Saxton and Misell, started from it")
    )


class Recipe(recipe.Recipe, SeriesSettings):
    """Every setting of the task."""

    slices: int = Field(
        1, ge=1, le=4096, **setting("number of slices along the beam, for multislice; 1: projection approximation")
    )
    voltage: Annotated[Range, within(1e3, 1e7)] = between(300e3, 300e3, "accelerating voltage", "V")
    defocus: Annotated[Range, within(0, above=True)] = between(
        8e3,
        12e3,
        "defocus z of the outermost images, which lie at -z and +z; the others lie in equal steps between",
        "nm",
    )
    potential: Annotated[Range, within()] = between(12.0, 20.0, "mean inner potential V", "V")
    absorption: Annotated[Range, within(0)] = between(0.5, 1.5, "absorptive potential V'", "V")
    noise: Annotated[Range, within(0, 10)] = between(
        0.0, 0.01, "shot noise as 1/sqrt(dose): 0.05 means 400 electrons per vacuum pixel; 0: infinite dose"
    )
    misalignment: Misalignment | None = Field(
        Misalignment(), **setting("misalignment of the images; none: all are aligned")
    )
    window: Window | None = Field(None, **setting("circular window applied to images and phase; none: the whole image"))
    specimen: Nanoparticle = Field(Nanoparticle(), **setting("random nanoparticles"))
    film: Film | None = Field(None, **setting("support film behind the specimen; none: vacuum"))
    files: SpecimenFiles | None = Field(None, **setting("specimens read from files, in place of random nanoparticles"))
    magnetic: Magnetisation | None = Field(None, **setting("magnetisation of the specimen; none: not magnetic"))
    component: Component = Field("total", **setting("component of the phase that is the target"))
    flipped: bool = Field(
        False, **setting("true: add a second series of the specimen turned over, which reverses its magnetic phase")
    )
    waves: WaveFiles | None = Field(None, **setting("exit waves read from files, in place of specimens"))
    in_focus: Literal["measured", "averaged"] = Field(
        "measured", **setting("middle one of three images; averaged: the mean of the two others takes its place")
    )
    retrieval: Retrieval | None = Field(
        None, **setting("phase retrieved by a classical method and stored as phase_retrieved; none: no such field")
    )
    store: Literal["measurement", "expectation", "both"] = Field(
        "measurement", **setting("stored images: with noise, without noise, or both (adds intensity_expected)")
    )

    @model_validator(mode="after")
    def _check_sampling(self) -> Self:
        """Refuse a film with too many waves to be summed, and a defocus at which waves leave the periodic field."""
        if self.film is not None:
            film.check_correlation(self.film, self.field_of_view * self.padding)
        self.simulation_grid.check_defocus(self.defocus.high, wavelength(self.voltage.low))
        return self

    @model_validator(mode="after")
    def _check_combinations(self) -> Self:
        magnetised = self.magnetic is not None
        one_component = magnetised and self.component != "total"
        for is_wrong, message in (
            (self.files and self.waves, "files and waves: give only one of them"),
            (
                self.waves and (magnetised or self.film or self.slices > 1),
                "waves: cannot be combined with magnetic, film or slices; leave these out",
            ),
            (self.waves and self.padding > 1, "waves: end at the border of the image; set padding=1"),
            (
                self.flipped and not magnetised,
                "flipped: only a magnetic specimen differs when turned over; give magnetic.mass=80",
            ),
            (
                self.component == "magnetic" and not magnetised,
                "component = magnetic: needs a magnetic specimen; give magnetic.mass=80",
            ),
            (self._has_moments and not magnetised, "files.moments: needs a magnetic specimen; give magnetic.mass=80"),
            (
                self._has_moments and self.magnetic and self.magnetic.direction,
                "files.moments: gives the directions; leave magnetic.direction out",
            ),
            (
                one_component and self.retrieval and not self.flipped,
                "retrieval of one component: needs both series; set flipped=true",
            ),
            (self.in_focus == "averaged" and self.images != 3, "in_focus = averaged: needs three images; set images=3"),
        ):
            if is_wrong:
                raise ValueError(message)
        return self

    def sizes(self) -> dict[str, int]:
        """Return the lengths of the dimensions."""
        image = {"plane": self.images, "y": self.image_size, "x": self.image_size}
        return image | nanoparticle.sizes(self.specimen)

    def optional(self) -> frozenset[str]:
        """Return the optional fields that are stored."""
        return frozenset().union(
            {"intensity_expected"} if self.store == "both" else (),
            {"item"} if self.waves else {"potential", "absorption"},
            {"item", "turn", "orientation"} if self.files else (),
            () if self.pool else {field.name for field in particles.FIELDS},
            {field.name for field in films.FIELDS} if self.film else (),
            {"phase_exit"} if self.waves or self.slices > 1 else (),
            {"phase_total", "phase_magnetic", "phase_component"} if self.magnetic else (),
            {"mass_magnetisation", "density"} if self.magnetic else (),
            {"magnetisation_direction"} if self.magnetic and not self._has_moments else (),
            {"intensity_flipped", *(f"{name}_flipped" for name in POSE_FIELDS)} if self.flipped else (),
            {"phase_retrieved"} if self.retrieval else (),
        )

    @property
    def _has_moments(self) -> bool:
        """True if directions of magnetisation come from files."""
        return bool(self.files and self.files.moments)

    def bind(self, inputs: Path | None) -> Self:
        """Return the recipe with its input files found and hashed.

        Args:
            inputs: a folder in which files named by hash are searched; None: the recipe's own paths

        Raises:
            UserError: a file is missing or cannot be read
        """
        pools = {name: pool.bind(inputs) for name in ("files", "waves") if (pool := getattr(self, name))}
        return self.model_copy(update=pools)

    def check_split(self, split: str, samples: int) -> None:
        """Refuse a split for which a pool of files holds no specimens of its own.

        Args:
            split: `train`, `validation` or `test`
            samples: number of samples asked for

        Raises:
            UserError: no file of the pool belongs to the split
        """
        if self.pool:
            self.pool.check_split(split)

    @property
    def pool(self) -> SpecimenFiles | WaveFiles | None:
        """Files in place of random nanoparticles."""
        return self.files or self.waves

    @property
    def reference(self) -> int:
        """Index of the image that defines the frame of the targets: in focus, or the underfocused one of two."""
        return self.images // 2 if self.images > 2 and self.in_focus == "measured" else 0


RECIPES: Mapping[str, Recipe] = {
    "default": Recipe(),
    # After phase-ret-dl (arXiv:1709.09940), the example of its README; use --n 5000 --validation 0 --test 100.
    # docs/phase-ret-dl.md lists the differences: orientations are uniform on SO(3), bodies are smooth, not voxels.
    "published": Recipe(
        images=2,
        supersampling=1,
        defocus=Range(low=10e3, high=10e3),
        potential=Range(low=17.0, high=17.0),
        absorption=Range(low=1.0, high=1.0),
        noise=Range(low=0.0, high=0.01),
        window=Window(radius=0.5),
        specimen=nanoparticle.PUBLISHED_PARTICLE,
    ),
    # Magnetite, and the same particles turned over. The magnetic contrast needs a large defocus (Lorentz microscopy).
    # The two series differ by only 1e-3 to 1e-2 of their intensity: a shift of a twentieth of a pixel between them
    # would hide that, so there is no misalignment.
    "magnetic": Recipe(
        defocus=Range(low=30e3, high=50e3),
        misalignment=None,
        padding=2,
        supersampling=2,
        potential=Range(low=17.0, high=17.0),
        absorption=Range(low=1.0, high=1.0),
        magnetic=Magnetisation(),
        component="magnetic",
        flipped=True,
    ),
}


@dataclass(frozen=True)
class Parameters:
    """The values drawn for one sample; floats are rounded to float32, as they are stored."""

    voltage: np.float32
    sampling: np.float32
    noise: np.float32
    defocus: np.ndarray  # a value per image of the series [nm]
    poses: tuple[Pose, ...]  # pose of each image, then of each image of the flipped series
    specimen: ThickSpecimen

    def columns(self) -> dict[str, Any]:
        """Return all parameters by field, with those of poses and specimen."""
        planes = len(self.defocus)
        found = stored_parameters("", self) | self.specimen.columns()
        for suffix, poses in {"": self.poses[:planes], "_flipped": self.poses[planes:]}.items():
            for name in POSE_FIELDS:
                found[f"{name}{suffix}"] = np.array([getattr(pose, name) for pose in poses], np.float32)
        return found


def draw(recipe: Recipe, rng: Streams) -> Parameters:
    """Draw one sample, from the streams `optics`, `misalignment`, `specimen`, `magnetisation` and `film`.

    Args:
        recipe: the recipe of the dataset
        rng: the streams of the sample

    Returns:
        the parameters of the sample
    """
    lens = rng.optics
    outermost = recipe.defocus.draw(lens)
    planes = [*range(recipe.images)] * (2 if recipe.flipped else 1)
    return Parameters(
        poses=tuple(_draw_pose(recipe, k, plane, rng.misalignment) for k, plane in enumerate(planes)),
        defocus=np.linspace(-outermost, outermost, recipe.images).astype(np.float32),
        voltage=np.float32(recipe.voltage.draw(lens)),
        sampling=np.float32(recipe.simulation_grid.sampling),
        noise=np.float32(recipe.noise.draw(lens)),
        specimen=ThickSpecimen(
            potential=np.float32(recipe.potential.draw(lens)),
            absorption=np.float32(recipe.absorption.draw(lens)),
            shape=recipe.pool.draw(rng) if recipe.pool else nanoparticle.draw(recipe.specimen, rng.specimen),
            magnet=magnetised.draw(recipe.magnetic, rng.magnetisation) if recipe.magnetic else None,
            film=film.draw(recipe.film, rng.film) if recipe.film else None,
        ),
    )


def _draw_pose(recipe: Recipe, image: int, plane: int, rng: np.random.Generator) -> Pose:
    """Draw the pose of an image.

    `image` is the index in both series together: the reference of the flipped series is misaligned, too.
    """
    averaged = recipe.in_focus == "averaged" and plane == 1
    if recipe.misalignment is None or image == recipe.reference or averaged:
        return Pose()
    return misalignment.draw(recipe.misalignment, recipe.field_of_view, rng)


def simulate(recipe: Recipe, block: Sequence[Parameters]) -> Arrays:
    """Return the expectations of a block, without window and noise.

    Args:
        recipe: the recipe of the dataset
        block: parameters of the samples

    Returns:
        intensities (sample, plane, y, x), phases [rad] and amplitude (sample, y, x), all float32
    """
    rows = [_simulate_sample(recipe, parameters) for parameters in block]
    return {name: np.stack([row[name] for row in rows]) for name in rows[0]}


def _simulate_sample(recipe: Recipe, parameters: Parameters) -> Arrays:
    """Return the images of one sample: phases, amplitude, and one or two focal series."""
    grid, voltage = recipe.simulation_grid, float(parameters.voltage)
    exits = exit_waves(parameters.specimen, recipe.pool, grid, voltage, recipe.slices, flipped=recipe.flipped)
    images = {"phase": exits.component(recipe.component), "amplitude": exits.amplitude}
    if exits.phase is not None:
        images["phase_exit"] = exits.phase
    if exits.magnetic is not None:
        images |= {"phase_total": exits.total, "phase_magnetic": exits.magnetic}
    arrays = {name: grid.image(image) for name, image in images.items()}
    for k, wave in enumerate(exits.waves):
        poses = parameters.poses[k * recipe.images : (k + 1) * recipe.images]
        series = grid.focal_series(wave, parameters.defocus, voltage, poses)
        arrays["intensity_flipped" if k else "intensity"] = series
    return arrays


def measure(recipe: Recipe, block: Sequence[Parameters], arrays: Arrays, rngs: Sequence[Streams]) -> Arrays:
    """Apply shot noise (stream `noise`), the averaged in-focus image, the window, and phase retrieval.

    Args:
        recipe: the recipe of the dataset
        block: parameters of the samples
        arrays: the expectations, from `simulate`
        rngs: the streams of each sample

    Returns:
        all fields with a sample axis that are not parameters
    """
    weights = window(recipe.window, recipe.image_size)
    series = [name for name in ("intensity", "intensity_flipped") if name in arrays]
    measured = {name: image * weights if name.startswith("phase") else image for name, image in arrays.items()}
    if recipe.store == "both":
        measured["intensity_expected"] = _average_in_focus(recipe, arrays["intensity"]) * weights
    for name in series:
        images = arrays[name]
        if recipe.store != "expectation":
            images = np.stack([_add_shot_noise(*row) for row in zip(images, block, rngs, strict=True)])
        measured[name] = _average_in_focus(recipe, images)
    if recipe.retrieval:
        rows = zip(block, measured["phase"], *(measured[name] for name in series), strict=True)
        measured["phase_retrieved"] = np.stack([_retrieve_phase(recipe, weights, *row) for row in rows])
    return measured | {name: measured[name] * weights for name in series}


def _add_shot_noise(images: np.ndarray, parameters: Parameters, rng: Streams) -> np.ndarray:
    electrons = noise.electrons_at(float(parameters.noise))
    return noise.detect(images, rng.noise, electrons=electrons)  # type: ignore[no-any-return]


def _average_in_focus(recipe: Recipe, images: np.ndarray) -> np.ndarray:
    """Return images (sample, plane, y, x), the in-focus one as measured or as the mean of the two others."""
    if recipe.in_focus == "measured":
        return images
    under, _, over = np.moveaxis(images, 1, 0)
    return np.stack([under, (under + over) / 2, over], axis=1)


def _retrieve_phase(
    recipe: Recipe, weights: np.ndarray, parameters: Parameters, exact: np.ndarray, *series: np.ndarray
) -> np.ndarray:
    """Return the retrieved phase (y, x) [rad] of the target component, from one series, or from both if flipped."""
    assert recipe.retrieval is not None
    lens = (parameters.defocus, wavelength(float(parameters.voltage)), recipe.simulation_grid.sampling)
    phases = [recipe.retrieval.retrieve(images, *lens, weights) for images in series]
    phase = phases[0]
    if recipe.component != "total" and len(phases) == 2:
        phase = separate_phases(*phases)[recipe.component == "magnetic"]
    return recipe.retrieval.remove_offset(phase, exact, weights)


def constants(recipe: Recipe, rng: Streams) -> Arrays:
    """Return the window, and the component of the phase that is the target.

    Args:
        recipe: the recipe of the dataset
        rng: unused; nothing here is random
    """
    component = np.array(COMPONENTS.index(recipe.component))
    return {"window": window(recipe.window, recipe.image_size), "phase_component": component}
