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
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import numpy as np
from pydantic import AfterValidator, Field, model_validator

from generators import recipe
from generators.contract import Arrays
from generators.instruments import misalignment
from generators.instruments.image_formation import Frame
from generators.instruments.misalignment import Misalignment, Pose
from generators.instruments.retrieved_phase import Retrieval
from generators.instruments.window import Window, window
from generators.random_streams import Streams
from generators.specimens import film
from generators.specimens.exit_waves import Body, Exit, exit_waves_of, imported, on_film
from generators.specimens.film import DrawnFilm, Film
from generators.specimens.from_files.voxels import Item, SpecimenFiles
from generators.specimens.from_files.wavefields import WaveFiles, WaveItem
from generators.specimens.particles import magnetised, nanoparticle
from generators.specimens.particles.magnetised import Magnet, Magnetisation
from generators.specimens.particles.mesh import reach
from generators.specimens.particles.nanoparticle import Nanoparticle, Particle
from generators.specimens.particles.projection import thickness
from generators.specimens.random_values import columns
from physics import noise, optics
from physics.electron import wavelength
from physics.magnetics import separate_phases
from schemas.fields import films, particles
from schemas.runtime.ranges import Range, power_of_two, within
from schemas.runtime.settings import between, setting
from schemas.tasks.tie import COMPONENTS

VERSION = 3

MAGNET = ("magnetisation_direction", "mass_magnetisation", "density")
POSE = ("rotation", "scale", "shift_y", "shift_x")

type Store = Literal["measurement", "expectation", "both"]
type Component = Literal["total", "electrostatic", "magnetic"]
type Specimen = Particle | Item | WaveItem


def _odd(images: int) -> int:
    if images != 2 and images % 2 == 0:
        raise ValueError("must be 2 or odd (3, 5, ...), with the in-focus image in the middle")
    return images


class Recipe(recipe.Recipe):
    """Every setting of the task."""

    images: Annotated[int, AfterValidator(_odd)] = Field(
        3,
        ge=2,
        le=1001,
        **setting("number of images: 2 (under- and overfocus), or an odd number with the in-focus image in the middle"),
    )
    image_size: int = Field(64, ge=8, le=4096, **setting("width and height of the image", "pixel"))
    field_of_view: Annotated[float, within(0, above=True)] = Field(150.0, **setting("width of the image", "nm"))
    supersampling: Annotated[int, power_of_two()] = Field(
        4, ge=1, le=64, **setting("simulation points per pixel along each side; a power of two")
    )
    padding: int = Field(
        1, ge=1, le=8, **setting("width of the simulated field relative to the image; 1: the image is periodic")
    )
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
    store: Store = Field(
        "measurement", **setting("stored images: with noise, without noise, or both (adds intensity_expected)")
    )

    @model_validator(mode="after")
    def _sampled(self) -> Self:
        """Refuse a defocus at which waves leave the periodic field, and a film with too many waves to be summed."""
        if self.film is not None:
            film.check(self.film, self.field_of_view * self.padding)
        limit = self.frame.farthest(wavelength(self.voltage.low))
        if self.defocus.high > limit:
            raise ValueError(
                f"defocus = {self.defocus.high:g} nm spreads detail beyond the field of view; must be at most "
                f"{limit:.4g} nm for this field_of_view, image_size and supersampling: lower the defocus, or widen "
                "the field_of_view (or set padding=2)"
            )
        return self

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        magnetised = self.magnetic is not None
        apart = magnetised and self.component != "total"
        for wrong, said in (
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
            (self._moments and not magnetised, "files.moments: needs a magnetic specimen; give magnetic.mass=80"),
            (
                self._moments and self.magnetic and self.magnetic.direction,
                "files.moments: gives the directions; leave magnetic.direction out",
            ),
            (
                apart and self.retrieval and not self.flipped,
                "retrieval of one component: needs both series; set flipped=true",
            ),
            (self.in_focus == "averaged" and self.images != 3, "in_focus = averaged: needs three images; set images=3"),
        ):
            if wrong:
                raise ValueError(said)
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
            () if self.files or self.waves else {field.name for field in particles.FIELDS},
            {field.name for field in films.FIELDS} if self.film else (),
            {"phase_exit"} if self.waves or self.slices > 1 else (),
            {"phase_total", "phase_magnetic", "phase_component", *MAGNET[self._moments :]} if self.magnetic else (),
            {"intensity_flipped", *(f"{name}_flipped" for name in POSE)} if self.flipped else (),
            {"phase_retrieved"} if self.retrieval else (),
        )

    @property
    def _moments(self) -> bool:
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

    def serves(self, split: str, samples: int) -> None:
        """Refuse a split for which a pool of files holds no specimens of its own.

        Args:
            split: `train`, `validation` or `test`
            samples: number of samples asked for

        Raises:
            UserError: no file of the pool belongs to the split
        """
        if pool := self.files or self.waves:
            pool.serves(split)

    @property
    def sampling(self) -> float:
        """Width of a pixel [nm]."""
        return self.field_of_view / self.image_size

    @property
    def reference(self) -> int:
        """Index of the image that defines the frame of the targets: in focus, or the underfocused one of two."""
        return self.images // 2 if self.images > 2 and self.in_focus == "measured" else 0

    @property
    def frame(self) -> Frame:
        """Size of the images, and the grid on which they are simulated."""
        return Frame(self.image_size, self.sampling, self.supersampling, self.padding)


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
        specimen=nanoparticle.PUBLISHED,
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
    potential: np.float32
    absorption: np.float32
    defocus: np.ndarray  # a value per image of the series [nm]
    poses: tuple[Pose, ...]  # pose of each image, then of each image of the flipped series
    specimen: Specimen
    magnet: Magnet | None
    film: DrawnFilm | None

    def columns(self) -> dict[str, Any]:
        """Return all parameters by field, with those of poses, magnet, film and specimen."""
        planes = len(self.defocus)
        series = {"": self.poses[:planes], "_flipped": self.poses[planes:]}
        found = columns("", self) | columns("particle_" if isinstance(self.specimen, Particle) else "", self.specimen)
        for end, poses in series.items():
            found |= {f"{name}{end}": np.array([getattr(pose, name) for pose in poses], np.float32) for name in POSE}
        found |= columns("", self.magnet) if self.magnet else {}
        return found | (columns("film_", self.film) if self.film else {})


def draw(recipe: Recipe, rng: Streams) -> Parameters:
    """Draw one sample, from the streams `optics`, `misalignment`, `specimen`, `magnetisation` and `film`.

    Args:
        recipe: the recipe of the dataset
        rng: the streams of the sample

    Returns:
        the parameters of the sample
    """
    lens, pool = rng.optics, recipe.files or recipe.waves
    outermost = recipe.defocus.draw(lens)
    planes = [*range(recipe.images)] * (2 if recipe.flipped else 1)
    return Parameters(
        poses=tuple(_draw_pose(recipe, k, plane, rng.misalignment) for k, plane in enumerate(planes)),
        defocus=np.linspace(-outermost, outermost, recipe.images).astype(np.float32),
        voltage=np.float32(recipe.voltage.draw(lens)),
        sampling=np.float32(recipe.sampling),
        noise=np.float32(recipe.noise.draw(lens)),
        potential=np.float32(recipe.potential.draw(lens)),
        absorption=np.float32(recipe.absorption.draw(lens)),
        specimen=pool.draw(rng) if pool else nanoparticle.draw(recipe.specimen, rng.specimen),
        magnet=magnetised.draw(recipe.magnetic, rng.magnetisation) if recipe.magnetic else None,
        film=film.draw(recipe.film, rng.film) if recipe.film else None,
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
    rows = [_simulate(recipe, parameters) for parameters in block]
    return {name: np.stack([row[name] for row in rows]) for name in rows[0]}


def _simulate(recipe: Recipe, parameters: Parameters) -> Arrays:
    """Return the images of one sample: phases, amplitude, and one or two focal series."""
    frame, found = recipe.frame, _exit(recipe, parameters)
    images = {"phase": found.component(recipe.component), "amplitude": found.amplitude}
    if found.phase is not None:
        images["phase_exit"] = found.phase
    if found.magnetic is not None:
        images |= {"phase_total": found.total, "phase_magnetic": found.magnetic}
    arrays = {name: frame.image(image) for name, image in images.items()}
    for k, wave in enumerate(found.waves):
        poses = parameters.poses[k * recipe.images : (k + 1) * recipe.images]
        series = frame.series(wave, parameters.defocus, float(parameters.voltage), poses)
        arrays["intensity_flipped" if k else "intensity"] = series
    return arrays


def _exit(recipe: Recipe, parameters: Parameters) -> Exit:
    """Return the phases, amplitude and waves behind the specimen, on the simulation grid."""
    specimen, voltage = parameters.specimen, float(parameters.voltage)
    if isinstance(specimen, WaveItem):
        assert recipe.waves is not None
        return imported(*recipe.waves.waves(specimen, recipe.frame.size))
    slabs, height = _slabs(recipe, specimen)
    body = Body(
        phases=optics.phase_shift(slabs, float(parameters.potential), voltage),
        amplitudes=optics.attenuation(slabs, float(parameters.absorption), voltage),
        magnetic=_magnetic(recipe, parameters, slabs),
        height=height,
        voltage=voltage,
        sampling=recipe.frame.pitch,
    )
    if parameters.film:
        drawn, frame = parameters.film, recipe.frame
        support = film.thickness(drawn, *frame.grid, origin=frame.origin(frame.supersampling))
        phase = optics.phase_shift(support, drawn.potential, voltage)
        body = on_film(body, phase, optics.attenuation(support, drawn.absorption, voltage))
    return exit_waves_of(body, flipped=recipe.flipped)


def _slabs(recipe: Recipe, specimen: Particle | Item) -> tuple[np.ndarray, float]:
    """Return the thickness [nm] within each slab of the specimen, (slab, y, x) float32, and the slab height [nm]."""
    frame = recipe.frame
    if isinstance(specimen, Item):
        assert recipe.files is not None
        found, height = recipe.files.slabs(specimen, frame.grid, recipe.field_of_view, frame.middle, recipe.slices)
        return found.astype(np.float32), height
    mesh = nanoparticle.build(specimen, recipe.field_of_view)
    edges = np.linspace(-reach(mesh, (-1, 0, 0)), reach(mesh, (1, 0, 0)), recipe.slices + 1)
    origin = frame.origin(frame.supersampling)
    slabs = [thickness(mesh, *frame.grid, z_range=pair, origin=origin) for pair in pairwise(edges.tolist())]
    return np.stack(slabs).astype(np.float32), float(edges[1] - edges[0])


def _magnetic(recipe: Recipe, parameters: Parameters, slabs: np.ndarray) -> np.ndarray | None:
    """Return the phase (y, x) [rad] due to the magnetisation; None if the specimen is not magnetic."""
    magnet, specimen, frame = parameters.magnet, parameters.specimen, recipe.frame
    if magnet is None:
        return None
    if isinstance(specimen, Item) and recipe.files and recipe.files.moments:
        moment = recipe.files.moment(specimen, frame.grid, recipe.field_of_view, frame.middle)
        return magnet.along(moment, frame.pitch)
    return magnet.uniform(slabs.sum(axis=0), frame.pitch)


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
    shape = window(recipe.window, recipe.image_size)
    series = [name for name in ("intensity", "intensity_flipped") if name in arrays]
    measured = {name: image * shape if name.startswith("phase") else image for name, image in arrays.items()}
    if recipe.store == "both":
        measured["intensity_expected"] = _averaged(recipe, arrays["intensity"]) * shape
    for name in series:
        images = arrays[name]
        if recipe.store != "expectation":
            images = np.stack([_noisy(*row) for row in zip(images, block, rngs, strict=True)])
        measured[name] = _averaged(recipe, images)
    if recipe.retrieval:
        rows = zip(block, measured["phase"], *(measured[name] for name in series), strict=True)
        measured["phase_retrieved"] = np.stack([_retrieved(recipe, shape, *row) for row in rows])
    return measured | {name: measured[name] * shape for name in series}


def _noisy(images: np.ndarray, parameters: Parameters, rng: Streams) -> np.ndarray:
    electrons = noise.electrons_at(float(parameters.noise))
    return noise.detect(images, rng.noise, electrons=electrons)  # type: ignore[no-any-return]


def _averaged(recipe: Recipe, images: np.ndarray) -> np.ndarray:
    """Return images (sample, plane, y, x), the in-focus one as measured or as the mean of the two others."""
    if recipe.in_focus == "measured":
        return images
    under, _, over = np.moveaxis(images, 1, 0)
    return np.stack([under, (under + over) / 2, over], axis=1)


def _retrieved(
    recipe: Recipe, shape: np.ndarray, parameters: Parameters, exact: np.ndarray, *series: np.ndarray
) -> np.ndarray:
    """Return the retrieved phase (y, x) [rad] of the target component, from one series, or from both if flipped."""
    assert recipe.retrieval is not None
    lens = (parameters.defocus, wavelength(float(parameters.voltage)), recipe.sampling)
    found = [recipe.retrieval.retrieve(images, *lens, shape) for images in series]
    phase = found[0]
    if recipe.component != "total" and len(found) == 2:
        phase = separate_phases(*found)[recipe.component == "magnetic"]
    return recipe.retrieval.adjusted(phase, exact, shape)


def constants(recipe: Recipe, rng: Streams) -> Arrays:
    """Return the window, and the component of the phase that is the target.

    Args:
        recipe: the recipe of the dataset
        rng: unused; nothing here is random
    """
    component = np.array(COMPONENTS.index(recipe.component))
    return {"window": window(recipe.window, recipe.image_size), "phase_component": component}
