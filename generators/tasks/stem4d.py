"""Diffraction patterns of a focused probe on thin objects: single patterns to learn from, and whole scans.

    amplitude = sqrt(counts),   counts = Poisson(dose |F (P O)|^2),   O = exp((i - k) phi),   sum |F P|^2 = 1

P is the probe in the plane of the specimen, F the Fourier transform to the far field, and phi the phase of the object
[rad]. k is the ratio of absorptive potential to mean inner potential. The dose is the number of electrons per pattern.
With an extended source (`probe.source`), |F (P O)|^2 is the sum over the modes of P (`physics.probe.source_modes`).

Single patterns: an object is drawn for a group of samples (`patterns_per_object`). Each sample has a random position of
its own in the object, on whole pixels. So an object is made once for many patterns, and belongs to one split.

Scans: the positions of a scan (`generators.instruments.scan_positions`) are the samples of a group, in order. All of
them belong to the split test, and `object` holds the phases of the objects. Between pixels of the object, the probe is
moved by a Fourier shift (`physics.ptychography`), and the target is interpolated by a cubic spline through the object.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import numpy as np
from pydantic import Field, model_validator
from scipy import ndimage

from generators import recipe
from generators.contract import Arrays
from generators.instruments.probe import Probe
from generators.instruments.scan_positions import Scan
from generators.random_streams import Streams
from generators.specimens import thin_objects
from generators.specimens.draws import stored_parameters
from generators.specimens.planar import lattice
from generators.specimens.planar.lattice import Lattice
from generators.specimens.planar.phase_object import transmission
from generators.specimens.thin_objects import DrawnThinObject, ThinObjectSettings
from physics import noise
from physics.diffraction import far_field
from physics.optics import intensity
from physics.ptychography import patterns
from schemas.fields import lattices, picture_views, textures
from schemas.fields.illuminated_patches import (
    ENLARGEMENT,
    enlarge_middle,
    illuminated_mask,
    pixel_offsets,
    repeat_pixels,
)
from schemas.runtime.errors import UserError
from schemas.runtime.ranges import Range, within
from schemas.runtime.settings import between, setting

VERSION = 1
INTENSITY = "intensity"  # name of the intensity of the patterns, which is simulated and measured, but not stored
SCAN_SPLIT = "test"  # the split of whole scans

type Shape = tuple[int, int]


class Recipe(recipe.Recipe, ThinObjectSettings):
    """Every setting of the task."""

    pattern: int = Field(
        32,
        ge=8,
        le=512,
        multiple_of=ENLARGEMENT,
        **setting("width and height of a pattern; a multiple of 4", "pixel"),
    )
    sampling: Annotated[float, within(0, above=True)] = Field(0.0285, **setting("width of a pixel of the object", "nm"))
    probe: Probe = Field(Probe(), **setting("electron probe in the plane of the specimen"))
    dose: Annotated[Range, within(0, 1e12, above=True)] = between(
        1e3,
        1e5,
        "electrons per pattern, drawn on a logarithmic scale; with scan.fluence, it is fluence x step^2 instead, "
        "such as 4.5e7/nm^2 x (0.0248 nm)^2 = 27677",
        "electron",
    )
    noise: int = Field(
        1, ge=0, le=1, **setting("1: electrons are counted (Poisson noise); 0: no noise, as for an infinite dose")
    )
    store: Literal["measurement", "expectation", "both"] = Field(
        "measurement", **setting("stored amplitudes: with noise, without noise, or both (adds amplitude_expected)")
    )
    phase_patch: bool = Field(False, **setting("true: also store the phase under the whole probe, as phase_patch"))
    object_size: int = Field(
        64, ge=8, le=8192, **setting("width and height of the object of single patterns; no effect on scans", "pixel")
    )
    patterns_per_object: int = Field(
        16, ge=1, **setting("number of patterns at random positions of one object; no effect on scans")
    )
    scan: Scan | None = Field(
        None, **setting("whole scans, which belong to the split test alone; none: single patterns")
    )

    @model_validator(mode="after")
    def _check_settings(self) -> Self:
        if self.pictures and self.lattice:
            raise ValueError("pictures and lattice: give only one of them")
        if self.object_size < self.pattern:
            raise ValueError(f"object_size = {self.object_size}: must be at least pattern = {self.pattern}")
        if not self.probe.sha256 and self.probe.path is None:
            self.probe.wave(self.pattern, self.sampling)
        if self.scan and self.scan.positions is None:
            self.scan.object_shape(self.pattern, self.sampling)
        return self

    def sizes(self) -> dict[str, int]:
        """Return the lengths of the dimensions."""
        sizes = dict.fromkeys(("y", "x", "qy", "qx", "py", "px"), self.pattern) | {"axis": 2}
        if self.lattice:
            sizes |= lattice.sizes(self.lattice)
        if self.scan:
            y, x = self.object_shape
            sizes |= {"scan": self.scan.scans, "oy": y, "ox": x}
        return sizes

    def optional(self) -> frozenset[str]:
        """Return the optional fields that are stored."""
        object_fields = (lattices if self.lattice else picture_views if self.pictures else textures).FIELDS
        return frozenset().union(
            {"mask", "probe", "position", "object_absorption"},
            {field.name for field in object_fields},
            () if self.lattice else {"object_range"},
            {"phase_patch"} if self.phase_patch else (),
            {"amplitude_expected"} if self.store == "both" else (),
            {"scan", "object"} if self.scan else (),
            {"step"} if self.scan and not self.scan.positions else (),
        )

    def bind(self, inputs: Path | None) -> Self:
        """Return the recipe with its input files found, hashed and checked.

        Args:
            inputs: a folder in which files named by hash are searched; None: the recipe's own paths

        Raises:
            UserError: a file is missing, or does not hold what its setting needs
        """
        scan = self.scan
        if scan and scan.positions:
            scan = scan.model_copy(update={"positions": scan.positions.bind(inputs)})
        bound_pictures = {"pictures": self.pictures.bind(inputs)} if self.pictures else {}
        bound = self.model_copy(update={**bound_pictures, "probe": self.probe.bind(inputs), "scan": scan})
        bound.probe.wave(self.pattern, self.sampling)
        try:
            _ = bound.object_shape
        except ValueError as error:
            raise UserError(str(error)) from None
        return bound

    def check_split(self, split: str, samples: int) -> None:
        """Refuse whole scans outside the split test, and splits without pictures.

        Args:
            split: `train`, `validation` or `test`
            samples: number of samples asked for

        Raises:
            UserError: the split holds no scans, the scans have fewer positions, or no picture belongs to the split
        """
        if self.pictures:
            self.pictures.check_split(split)
        if self.scan is None:
            return
        if split != SCAN_SPLIT:
            raise UserError(
                f"scan: whole scans belong to the split {SCAN_SPLIT} alone; give --n 0 --validation 0 --test N"
            )
        if samples > (maximum := self.scan.count * self.scan.scans):
            raise UserError(
                f"--test {samples}: there are only {self.scan.count} positions x {self.scan.scans} scans; "
                f"give --test {maximum}, or raise scan.scans"
            )

    @property
    def object_shape(self) -> Shape:
        """Pixels (y, x) of an object."""
        return self.scan.object_shape(self.pattern, self.sampling) if self.scan else (self.object_size,) * 2

    @property
    def samples_per_object(self) -> int:
        """Number of samples that share an object."""
        return self.scan.count if self.scan else self.patterns_per_object

    def phase(self, drawn: DrawnThinObject) -> np.ndarray:
        """Return the phase (y, x) [rad] of an object.

        Args:
            drawn: the object
        """
        return thin_objects.phase(self, drawn, self.object_shape, self.sampling, self.probe.voltage)


RECIPES: Mapping[str, Recipe] = {
    "default": Recipe(),
    # Only the dose is set: the counts of a pattern without object of deep-phase-imaging (Phys. Rev. Lett. 130, 016101),
    # sum |F P|^2 of its probe.npy. To repeat the experiment, also give --n 23750 --validation 1250, its probe
    # (--set probe.path=probe.npy), and pictures (pictures.path=FOLDER pictures.part=1 object_size=32
    # patterns_per_object=1).
    "published": Recipe(dose=Range(low=27_882, high=27_882)),
    # Twisted layers of hexagonal boron nitride, as measured by the same authors; use --n 0 --validation 0 --test 65536.
    "hbn_scan": Recipe(
        lattice=Lattice(
            crystal="hbn",
            sheets=Range(low=2, high=2),
            orientation=Range(low=0.1, high=0.1),
            twist=Range(low=math.radians(18), high=math.radians(18)),
        ),
        scan=Scan(fluence=Range(low=4.5e7, high=4.5e7)),
    ),
}


@dataclass(frozen=True)
class Parameters:
    """The values drawn for one sample; floats are rounded to float32, as they are stored."""

    dose: np.float32
    voltage: np.float32
    sampling: np.float32
    position: np.ndarray  # (y, x) of the probe's origin from the middle of object pixel 0 [nm]
    scan: np.int32
    step: np.float32  # step of the scan [nm]; 0 for a single pattern
    pixel: tuple[int, int]  # (y, x) of the pixel of the object nearest to the origin of the probe, its pixel N//2
    shift: tuple[float, float]  # (y, x) of the origin from that pixel [pixel of the object]
    drawn: DrawnThinObject

    def columns(self) -> dict[str, Any]:
        """Return all parameters by field, with those of the object."""
        return stored_parameters("", self) | self.drawn.columns()


def draw(recipe: Recipe, rng: Streams) -> Parameters:
    """Draw one sample: from the streams `optics` and `place`, and its object from the streams of its group.

    Step and fluence of a scan come from the streams `step` and `fluence` of group 0, which all scans share.

    Args:
        recipe: the recipe of the dataset
        rng: the streams of the sample

    Returns:
        the parameters of the sample
    """
    number, index = divmod(rng.sample, recipe.samples_per_object)
    scan, scan_streams = recipe.scan, rng.group(0)
    step = scan.step_of(number, scan_streams) if scan else 0.0
    pixels = _scan_position(recipe, index, step, rng) if scan else _draw_pixel(recipe, rng)
    sampling = np.float32(recipe.sampling)
    position = (pixels * recipe.sampling).astype(np.float32)
    # Scans: the position in pixels as readers of the dataset compute it, after rounding to float32.
    stored_pixels = position.astype(float) / float(sampling) if scan else pixels
    pixel = np.floor(stored_pixels + 0.5).astype(int)
    fluence = scan.fluence_of(number, scan_streams) if scan else None
    return Parameters(
        dose=np.float32(recipe.dose.draw_logarithmic(rng.optics) if fluence is None else fluence * step**2),
        voltage=np.float32(recipe.probe.voltage),
        sampling=sampling,
        position=position,
        scan=np.int32(number),
        step=np.float32(step),
        pixel=tuple(pixel.tolist()),
        shift=tuple((stored_pixels - pixel).tolist()),
        drawn=thin_objects.draw(recipe, rng.group(number)),
    )


def _draw_pixel(recipe: Recipe, rng: Streams) -> np.ndarray:
    """Draw a pixel of the object around which the whole probe lies inside the object."""
    choices = recipe.object_size - recipe.pattern + 1
    return recipe.pattern // 2 + np.floor(choices * rng.place.random(2))


def _scan_position(recipe: Recipe, index: int, step: float, rng: Streams) -> np.ndarray:
    """Return the jittered position (y, x) [pixel] of a pattern in a scan with this step [nm]."""
    assert recipe.scan is not None
    reach = recipe.scan.jitter / recipe.sampling
    coordinates: np.ndarray = recipe.scan.coordinates(recipe.pattern, recipe.sampling, step)[index]
    return coordinates + np.asarray(reach * (2 * rng.place.random(2) - 1))


def simulate(recipe: Recipe, block: Sequence[Parameters]) -> Arrays:
    """Return `phase`, the target, and `intensity`, the expected electrons in each pixel of the patterns.

    With the setting `phase_patch`, `phase_patch` is returned, too.

    Args:
        recipe: the recipe of the dataset
        block: parameters of the samples

    Returns:
        `phase` and `phase_patch` [rad] (sample, y, x); `intensity` (sample, qy, qx), replaced in `measure`
    """
    patches = np.stack([_phase_under_probe(recipe, p) for p in block])
    grid = (recipe.pattern, recipe.sampling)
    probe, modes = recipe.probe.wave(*grid), recipe.probe.modes(*grid)
    target = np.stack([_interpolated_target(recipe, p) for p in block]) if recipe.scan else enlarge_middle(patches)
    waves = np.stack([transmission(*row) for row in zip(patches, _absorptions(block), strict=True)])
    dose = np.array([p.dose for p in block])[:, None, None]
    arrays = {"phase_patch": patches} if recipe.phase_patch else {}
    return arrays | {
        "phase": target * illuminated_mask(probe),
        INTENSITY: dose * _expected_patterns(recipe, block, waves, modes),
    }


def _absorptions(block: Sequence[Parameters]) -> list[float]:
    return [p.drawn.strength.absorption for p in block]


def _phase_under_probe(recipe: Recipe, parameters: Parameters) -> np.ndarray:
    """Return the phase (y, x) [rad] under the whole probe."""
    n, (y, x) = recipe.pattern, (pixel - recipe.pattern // 2 for pixel in parameters.pixel)
    return recipe.phase(parameters.drawn)[y : y + n, x : x + n]


def _interpolated_target(recipe: Recipe, parameters: Parameters) -> np.ndarray:
    """Return the enlarged central part of the phase [rad] about a position between pixels."""
    moves = zip(parameters.pixel, parameters.shift, strict=True)
    grid = np.meshgrid(*(pixel + shift + pixel_offsets(recipe.pattern) for pixel, shift in moves), indexing="ij")
    coefficients = _spline_coefficients(recipe, parameters.drawn)
    values = ndimage.map_coordinates(coefficients, grid, order=3, mode="mirror", prefilter=False)
    return repeat_pixels(values.astype(np.float32))


@lru_cache(maxsize=2)
def _spline_coefficients(recipe: Recipe, drawn: DrawnThinObject) -> np.ndarray:
    return ndimage.spline_filter(recipe.phase(drawn).astype(np.float64), order=3, mode="mirror")


def _expected_patterns(recipe: Recipe, block: Sequence[Parameters], waves: np.ndarray, modes: np.ndarray) -> np.ndarray:
    """Return |F (P O)|^2 (sample, qy, qx), summed over the modes (mode, y, x) of the probe; scans move the probe."""
    if recipe.scan is None:
        return np.stack([intensity(far_field(modes * wave)).sum(axis=0) for wave in waves])
    middle = recipe.pattern // 2
    rows = zip(waves, block, strict=True)
    return np.concatenate([patterns(wave, modes, middle + np.array([p.shift])) for wave, p in rows])


def measure(recipe: Recipe, block: Sequence[Parameters], arrays: Arrays, rngs: Sequence[Streams]) -> Arrays:
    """Count electrons (stream `noise`) and return amplitudes.

    Args:
        recipe: the recipe of the dataset
        block: parameters of the samples
        arrays: the expectations, from `simulate`
        rngs: the streams of each sample

    Returns:
        all fields with a sample axis that are not parameters
    """
    expected = arrays[INTENSITY]
    measured = {name: values for name, values in arrays.items() if name != INTENSITY}
    if recipe.store == "both":
        measured["amplitude_expected"] = np.sqrt(expected)
    counted = recipe.noise and recipe.store != "expectation"
    rows = zip(expected, rngs, strict=True)
    counts = np.stack([noise.add_shot_noise(row, 1.0, rng.noise) for row, rng in rows]) if counted else expected
    return measured | {"amplitude": np.sqrt(counts)}


def constants(recipe: Recipe, rng: Streams) -> Arrays:
    """Return `probe`, `mask` and, for scans, `object` (scan, oy, ox) [rad].

    The object of a scan is drawn from the streams of its group.

    Args:
        recipe: the recipe of the dataset
        rng: the streams of the dataset
    """
    probe = recipe.probe.wave(recipe.pattern, recipe.sampling)
    arrays = {"probe": probe, "mask": illuminated_mask(probe)}
    if recipe.scan is None:
        return arrays
    groups = (rng.group(number, SCAN_SPLIT) for number in range(recipe.scan.scans))
    return arrays | {"object": np.stack([recipe.phase(thin_objects.draw(recipe, group)) for group in groups])}
