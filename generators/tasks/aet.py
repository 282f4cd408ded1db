"""Tilt series of nanoparticles, scanned with electrons around an annular detector, with background and noise.

    clean      = blur( image of the particle at the angle ) / signal_unit
    noisy      = blur( Poisson(electrons * (image + background)) / electrons )
    electrons  = dose * sampling^2 * signal_unit

A particle is drawn (`generators.specimens.atoms.cluster`), turned about the axis y, and imaged where the scan hits it
(`generators.instruments.stem`, `.scan_errors`). The background is added (`.background`), electrons are counted, and the
detector's response is smeared along the rows of the scan, which correlates their noise.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from math import cos, isqrt, pi, sin
from pathlib import Path
from typing import Annotated, Any, Self

import numpy as np
from pydantic import Field, model_validator

from generators import recipe
from generators.contract import Arrays, Comparison, Sliced
from generators.instruments import background, scan_errors, stem
from generators.instruments.background import Background, DrawnBackground
from generators.instruments.scan_errors import DrawnScan, Scan
from generators.instruments.stem import DrawnStem, Scanned, Stem
from generators.random_streams import Streams
from generators.specimens.atoms import cluster
from generators.specimens.atoms.alloys import lattice_constant
from generators.specimens.atoms.cluster import Cluster, DrawnCluster
from generators.specimens.atoms.model_file import Model
from generators.specimens.atoms.zone_axes import zone_angles
from generators.specimens.draws import to_float32
from generators.specimens.particles.mesh import rotation_matrix
from physics.scattering.atoms import Atoms
from physics.scattering.factors import atomic_number
from schemas.fields import backgrounds, clusters, scans
from schemas.runtime.errors import UserError
from schemas.runtime.ranges import Range, in_unit, within
from schemas.runtime.settings import Settings, between, setting
from schemas.tasks.aet import TASK

VERSION = 1
EXPECTED = "expected"  # name of the expectation before the detector's response; it is simulated, but not stored
SPARE = 1.5  # atoms for which there is room, relative to those in the sphere of the largest diameter: shells are whole


class Tilts(Settings):
    """Settings of the angles of a series."""

    number: int = Field(41, ge=1, le=10_000, **setting("number of images"))
    first: Annotated[float, within(-360, 360)] = Field(-70.0, **setting("first angle", "degree"))
    last: Annotated[float, within(-360, 360)] = Field(70.0, **setting("last angle", "degree"))
    random: bool = Field(False, **setting("true: angles drawn uniformly between these, instead of equal steps"))
    angles: tuple[Annotated[float, within(-360, 360)], ...] = Field(
        (), **setting("measured angles in place of all these", "degree")
    )

    @property
    def count(self) -> int:
        """Number of images."""
        return len(self.angles) or self.number

    def draw(self, rng: np.random.Generator) -> np.ndarray:
        """Return the angles (tilt,) [rad], float32.

        Args:
            rng: random numbers, of which one is consumed for each image
        """
        drawn = self.first + (self.last - self.first) * rng.random(self.count)
        degrees = self.angles or (drawn if self.random else np.linspace(self.first, self.last, self.number))
        return np.radians(degrees).astype(np.float32)


class Recipe(recipe.Recipe):
    """Every setting of the task."""

    image_size: int = Field(256, ge=16, le=8192, **setting("width and height of the images", "pixel"))
    sampling: Annotated[float, within(1e-3, 10)] = Field(0.04, **setting("width of a pixel", "nm"))
    tilts: Tilts = Field(Tilts(), **setting("angles of the series"))
    cluster: Cluster = Field(Cluster(), **setting("the nanoparticle"))
    model: Model | None = Field(None, **setting("atoms of a file in place of the nanoparticle"))
    particle: Annotated[int, Field(ge=0, lt=2**32)] | None = Field(
        None, **setting("number of the one particle that all samples show; none: each has its own")
    )
    stem: Stem = Field(Stem(), **setting("microscope, and approximation of the scattering"))
    scan: Scan = Field(Scan(), **setting("errors of the scan and of the detector"))
    background: Background = Field(Background(), **setting("background"))
    dose: Annotated[Range, within(1, 1e12), in_unit("e/nm^2", **{"e/A^2": 100.0})] = between(
        1e5, 4e6, "incident electrons per image, drawn on a logarithmic scale; e/A^2 may stand behind", "electron/nm^2"
    )
    signal_unit: Annotated[float, within(0, 1, above=True)] = Field(
        1.0, **setting("share of the incident electrons that the value 1 of the images stands for")
    )
    noise: int = Field(1, ge=0, le=1, **setting("1: electrons are counted; 0: infinite dose, and no flicker"))
    atoms: bool = Field(True, **setting("true: the atoms are stored"))

    @model_validator(mode="after")
    def _check_size(self) -> Self:
        if not self.model and self.cluster.diameter.high > self.image_size * self.sampling:
            raise ValueError(
                f"cluster.diameter = {self.cluster.diameter.high:g} nm: must be at most the field of view, "
                f"{self.image_size * self.sampling:g} nm; raise image_size or sampling"
            )
        return self

    @property
    def room(self) -> int:
        """Number of atoms for which a sample has room."""
        if self.model:
            return self.model.count
        shares = (self.cluster.share.low, self.cluster.share.high)
        given = self.cluster.constant
        constant = given.low if given else min(lattice_constant(self.cluster.elements, share) for share in shares)
        return int(SPARE * pi / 6 * self.cluster.diameter.high**3 / (constant**3 / 4)) + 100

    def bind(self, inputs: Path | None) -> Self:
        """Return the recipe with the file of its atoms found, hashed and checked.

        Args:
            inputs: a folder in which the file is searched by hash; None: the recipe's own path

        Raises:
            UserError: the file is missing, or holds no plausible atoms
        """
        return self.model_copy(update={"model": self.model.bind(inputs)}) if self.model else self

    def sizes(self) -> dict[str, int]:
        """Return the lengths of the dimensions."""
        sizes = {"y": self.image_size, "x": self.image_size, "tilt": self.tilts.count, "atom": self.room}
        return sizes | {"axis": 3, "component": 4, "coordinate": 2}

    def optional(self) -> frozenset[str]:
        """Return the optional fields that are stored."""
        drawn = {field.name for group in (backgrounds, scans) for field in group.FIELDS}
        if not self.model:
            drawn |= {"zone_angle", *(field.name for field in clusters.FIELDS)}
        elif self.model.turned:
            drawn |= {"cluster_quaternion"}
        own = {"dose", "signal_unit", "voltage", "semi_angle", "defocus", "source_width"}
        own |= {"detector_inner", "detector_outer"}
        chosen = {"background"} if self.background.is_on else set()
        chosen |= {"particle_number"} if self.particle is not None else set()
        chosen |= {"atom_count", "atom_element", "atom_position"} if self.atoms else set()
        return frozenset(drawn | own | chosen)


NONE = Range(low=0.0, high=0.0)
SMOOTH = Background(  # all other parts are off
    height=Range(low=1.65, high=1.65), pedestal=NONE, slope=NONE, tails=NONE, contamination=NONE
)

RECIPES: Mapping[str, Recipe] = {
    # Single images of many particles, for networks. A series: --set tilts.number=60 tilts.random=false
    "default": Recipe(
        image_size=128,
        sampling=0.05,
        tilts=Tilts(number=1, first=-90, last=90, random=True),
        cluster=Cluster(diameter=Range(low=2.0, high=4.5)),
    ),
    # DnCNN for tilt series: use --n 162 --validation 18 --test 0. Single images of one particle of NiPt, between 0 and
    # 255, and a smooth background of up to 45. No noise is counted and nothing is blurred. Voltage, angles of probe and
    # detector, size of pixels and orientation are not published: those here are a choice.
    "published": Recipe(
        sampling=0.035,
        tilts=Tilts(number=1, first=-90, last=90, random=True),
        cluster=Cluster(
            kinds=("octahedron",),
            elements=("Ni", "Pt"),
            share=Range(low=0.5, high=0.5),
            arrangements=("random",),
            diameter=Range(low=6.6, high=6.6),
        ),
        particle=1,
        stem=Stem(source=NONE),
        scan=Scan(shift=NONE, drift=NONE, jitter=NONE, afterglow=NONE, flicker=NONE),
        background=SMOOTH,
        signal_unit=0.8 / 255,
        noise=0,
    ),
}


@dataclass(frozen=True)
class Parameters:
    """The values drawn for one sample; floats are rounded to float32, as they are stored."""

    angle: np.ndarray
    dose: float
    cluster: DrawnCluster
    stem: DrawnStem
    background: DrawnBackground
    scan: DrawnScan
    recipe: Recipe

    @property
    def electrons(self) -> np.float32:
        """Electrons that a pixel of the value 1 counts; 0: without noise."""
        known = self.recipe
        return np.float32(self.dose * known.sampling**2 * known.signal_unit if known.noise else 0)

    def columns(self) -> dict[str, Any]:
        """Return all parameters by field."""
        known = self.recipe
        beams = np.stack([np.cos(self.angle), np.zeros_like(self.angle), -np.sin(self.angle)], axis=1)
        return {
            "angle": self.angle,
            "zone_angle": zone_angles(self.cluster, beams).astype(np.float32),
            "electrons": np.full(len(self.angle), self.electrons),
            "dose": self.dose if known.noise else 0.0,
            "signal_unit": np.float32(known.signal_unit),
            "sampling": np.float32(known.sampling),
            "particle_number": known.particle,
            "voltage": np.float32(known.stem.voltage),
            "semi_angle": np.float32(known.stem.semi_angle),
            "detector_inner": np.float32(known.stem.inner),
            "detector_outer": np.float32(known.stem.outer),
            "defocus": self.stem.defocus,
            "source_width": self.stem.source,
            **cluster.columns(self.cluster),
            **self.background.columns(),
            **self.scan.columns(),
        }


def draw(recipe: Recipe, rng: Streams) -> Parameters:
    """Draw one sample, from the streams `tilts`, `dose`, `particle`, `stem`, `background` and `scan`.

    Args:
        recipe: the recipe of the dataset
        rng: the streams of the sample
    """
    one = recipe.particle
    own = rng.particle if one is None else np.random.Generator(np.random.Philox(one))
    return Parameters(
        angle=recipe.tilts.draw(rng.tilts),
        dose=to_float32(recipe.dose.draw_logarithmic(rng.dose))[0],
        cluster=cluster.draw(recipe.cluster, own),
        stem=stem.draw(recipe.stem, rng),
        background=background.draw(recipe.background, recipe.tilts.count, rng.background),
        scan=scan_errors.draw(recipe.scan, recipe.tilts.count, rng.scan),
        recipe=recipe,
    )


def simulate_slice(recipe: Recipe, block: Sequence[Parameters], index: tuple[int, ...]) -> Arrays:
    """Return one image of each series, without noise.

    Args:
        recipe: the recipe of the dataset
        block: parameters of the samples
        index: number of the tilt
    """
    rows = [_expected(recipe, one, index[0]) for one in block]
    return {name: np.stack([row[name] for row in rows]) for name in rows[0]}


def _expected(recipe: Recipe, drawn: Parameters, tilt: int) -> Arrays:
    """Return the expectations of one image (y, x), and the atoms."""
    atoms = _atoms(recipe, drawn)
    if len(atoms) > recipe.room:
        raise UserError(f"a particle of {len(atoms)} atoms: there is room for {recipe.room}; lower cluster.diameter")
    turned, scan = _seen(recipe, drawn, tilt)
    _check_inside(turned, scan)
    clean = stem.image(recipe.stem, drawn.stem, turned, scan) / np.float32(recipe.signal_unit)
    added = background.render(drawn.background, clean, tilt, recipe.sampling)
    known: Arrays = {"clean": clean, "background": added, "noisy": clean + added}
    arrays = {name: scan_errors.smear(values, drawn.scan.afterglow) for name, values in known.items()}
    return arrays | {EXPECTED: clean + added} | (_padded(atoms, recipe.room) if recipe.atoms else {})


def _seen(recipe: Recipe, drawn: Parameters, tilt: int) -> tuple[Atoms, Scanned]:
    """Return the atoms at one angle, and the pixels that are scanned."""
    shape = (recipe.image_size,) * 2
    dy, dx = scan_errors.displacements(drawn.scan, tilt, shape[0])
    y = recipe.sampling * (np.arange(shape[0]) - shape[0] // 2)
    scan = Scanned(shape, recipe.sampling, y + dy, dx)
    return _turned(_atoms(recipe, drawn), float(drawn.angle[tilt])), scan


def _atoms(recipe: Recipe, drawn: Parameters) -> Atoms:
    """Return the atoms of a sample at the angle 0."""
    return _atoms_of_model(recipe.model, drawn.cluster) if recipe.model else _atoms_of(drawn.cluster)


@lru_cache(maxsize=2)
def _atoms_of(drawn: DrawnCluster) -> Atoms:
    return cluster.atoms_of(drawn)


def _atoms_of_model(model: Model, drawn: DrawnCluster) -> Atoms:
    """Return the atoms of a file, in the orientation that was drawn if samples differ in it."""
    atoms = model.atoms()
    if not model.turned:
        return atoms
    return replace(atoms, positions=np.einsum("kc,ic->ik", rotation_matrix(drawn.quaternion), atoms.positions))


def _turned(atoms: Atoms, angle: float) -> Atoms:
    """Return the atoms turned about the axis y: x' = x cos t + z sin t, z' = z cos t - x sin t."""
    z, y, x = atoms.positions.T
    turned = np.stack([z * cos(angle) - x * sin(angle), y, x * cos(angle) + z * sin(angle)], axis=1)
    return Atoms(atoms.elements, atoms.kinds, turned)


def _check_inside(atoms: Atoms, scan: Scanned) -> None:
    """Refuse a particle that does not fit into the field of view."""
    size = 2 * abs(atoms.positions[:, 1:]).max(initial=0)
    if size > (length := min(scan.field_of_view)):
        raise UserError(
            f"a particle of {size:.3g} nm does not fit into the field of view of {length:.3g} nm; raise image_size or "
            "sampling, or lower cluster.diameter"
        )


def _padded(atoms: Atoms, room: int) -> Arrays:
    """Return the atoms as fields with room for more."""
    numbers = np.array([atomic_number(element) for element in atoms.elements], np.uint8)
    element, position = np.zeros(room, np.uint8), np.zeros((room, 3), np.float32)
    element[: len(atoms)], position[: len(atoms)] = numbers[atoms.kinds], atoms.positions
    return {"atom_count": np.array(len(atoms), np.int32), "atom_element": element, "atom_position": position}


simulate = Sliced(TASK, simulate_slice)


def compare(
    recipe: Recipe, drawn: Parameters, index: tuple[int, ...], values: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Return pixels of an image as the recipe approximates them, and by multislice (`stem.compared`).

    Args:
        recipe: the recipe of the dataset
        drawn: the parameters of a sample
        index: number of the tilt
        values: number of pixels; the next smaller square is taken
        rng: chooses their place
    """
    atoms, scan = _seen(recipe, drawn, index[0])
    return stem.compared(recipe.stem, drawn.stem, atoms, scan, max(isqrt(values), 1), rng)


COMPARISON = Comparison("images of a point source, without background and noise, against multislice", compare)


def measure(recipe: Recipe, block: Sequence[Parameters], arrays: Arrays, rngs: Sequence[Streams]) -> Arrays:
    """Return the measurement: electrons counted with the stream `electrons`, and the response of the detector.

    Args:
        recipe: the recipe of the dataset
        block: parameters of the samples
        arrays: the expectations, from `simulate`
        rngs: the streams of each sample
    """
    expected = arrays.pop(EXPECTED)
    if not recipe.noise:
        return arrays
    noisy = np.empty_like(expected)
    for one, row, rng, out in zip(block, expected, rngs, noisy, strict=True):
        for tilt, image in enumerate(row):
            counts = rng.electrons.poisson(image * float(one.electrons)) / float(one.electrons)
            gains = scan_errors.flicker(one.scan, tilt, len(image))[:, None]
            out[tilt] = scan_errors.smear((counts * gains).astype(np.float32), one.scan.afterglow)
    return arrays | {"noisy": noisy}


def constants(recipe: Recipe, rng: Streams) -> Arrays:
    """Return no fields: the task has none without a sample axis.

    Args:
        recipe: the recipe of the dataset
        rng: unused; nothing here is random
    """
    return {}
