"""Far-field diffraction patterns of isolated objects, for the inversion to shape and phase.

    amplitude = sqrt(I),   I = |F (shape exp(i phase))|^2

An object's outline and edge, and the phase within, are drawn (`generators.specimens.planar.outline`,
`.displacement`); the
finest pattern, of an object in at most half of the frame, is blurred by the source, counted, and seen by the detector.

oversampling 1: the object may take the whole image, whose pattern is too coarse to be inverted by iteration: it is
every other pixel of `amplitude_oversampled`, the same measurement. oversampling 2: the object takes half of the image
at most, along each axis, and its pattern is the finest.

A far field shows an object to a constant phase, a shift and the twin. canonical: the targets are the one of these that
`schemas.wave_ambiguities.canonical` names, so that a pattern has one answer to be learned; if not, that one is
stored beside.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Self

import numpy as np
from pydantic import Field, model_validator

from generators import recipe
from generators.contract import Arrays
from generators.instruments.detector import Detector
from generators.specimens.planar import displacement, outline
from generators.specimens.planar.displacement import Displacement, DrawnDisplacement
from generators.specimens.planar.outline import DrawnOutline, Outline
from generators.specimens.random_values import columns
from generators.streams import Streams
from physics import noise
from physics.diffraction import amplitude, coarser, embed, partially_coherent
from schemas.fields import displacements, outlines
from schemas.runtime.ranges import Range, within
from schemas.runtime.settings import between, setting
from schemas.wave_ambiguities import canonical

VERSION = 2  # 1 left hulls as narrow as they were drawn
INTENSITY = "intensity"  # of patterns: simulated and measured, not stored


class Recipe(recipe.Recipe):
    """Every setting of the task."""

    image_size: int = Field(32, ge=8, le=2048, **setting("of the square image, and of the network's pattern", "pixel"))
    oversampling: int = Field(
        1, ge=1, le=2, **setting("pixels of that pattern to those that the object needs, each way")
    )
    sampling: Annotated[float, within(0, above=True)] = Field(
        10.0, **setting("width of a pixel of the object: a scale for plots, patterns do not depend on it", "nm")
    )
    outline: Outline = Field(Outline(), **setting("of the object"))
    edge: Annotated[Range, within(0)] = between(1.0, 1.0, "of the outline, a standard deviation; 0: sharp", "pixel")
    narrowest: Annotated[float, within(0)] = Field(
        2.2,  # from 3 / sqrt(2) on, a disc of half a pixel's diagonal fits in, so that a pixel's centre lies within
        **setting("least width of a hull: if it is less, points are drawn again, up to 20 times", "pixel"),
    )
    displacement: Displacement = Field(Displacement(), **setting("the phase within"))
    canonical: bool = Field(True, **setting("targets are centred, of mean phase 0, the chosen one of both twins"))
    noise: Annotated[Range, within(0, 10)] = between(
        0.0, 0.01, "fractional shot noise s of the brightest pixel, stopped or not: 1/s^2 counts; 0: none"
    )
    coherence: Annotated[Range, within(0, 100)] = between(
        0.0, 0.0, "blur of the finest pattern by the source, a standard deviation", "pixel"
    )
    detector: Detector | None = Field(None, **setting("what the detector does not see; none: it sees all"))

    @model_validator(mode="after")
    def _fits(self) -> Self:
        """The object and its edge must fit into the frame, and something must be seen."""
        widest = self.reach * self.image_size / (2 * outline.SOFT)
        if self.edge.high > widest:
            raise ValueError(
                f"edge = {self.edge.high:g} pixel: must be at most {widest:g} for this image_size and oversampling; "
                "take a sharper edge, or more pixels"
            )
        if self.detector and not self.detector.seen((self.image_size,) * 2).any():
            raise ValueError("detector.beamstop and gaps leave nothing to be seen; make them smaller")
        return self

    def sizes(self) -> dict[str, int]:
        """Lengths of the dimensions."""
        image = dict.fromkeys(("y", "x", "qy", "qx"), self.image_size)
        fine = dict.fromkeys(("fine_qy", "fine_qx"), self.finest[0])
        return image | fine | outline.sizes(self.outline) | displacement.sizes(self.displacement)

    def optional(self) -> frozenset[str]:
        """The optional fields that are stored."""
        drawn = {field.name for field in (*outlines.FIELDS, *displacements.FIELDS)}
        fine = {"amplitude_oversampled"} if self.oversampling == 1 else set()
        moved = set() if self.canonical else {"shape_canonical", "phase_canonical"}
        seen = {name.replace("amplitude", "seen") for name in {"amplitude", *fine}} if self.detector else set()
        return frozenset(drawn | fine | moved | seen)

    @property
    def reach(self) -> float:
        """How far from the middle of the image an object may extend [frame width]."""
        return 0.5 / self.oversampling

    @property
    def finest(self) -> tuple[int, int]:
        """Pixels (qy, qx) of the finest pattern."""
        return (self.image_size * 2 // self.oversampling,) * 2


RECIPES: Mapping[str, Recipe] = {
    "default": Recipe(),
    # Cherukara, Nashed and Harder 2018; with --n 180000 --validation 20000 --test 1000. Their numbers of points,
    # gratings and Gaussians are not published.
    "published": Recipe(canonical=False, noise=Range(low=0.0, high=0.0)),
}


@dataclass(frozen=True)
class Parameters:
    """What is drawn for one sample; floats as float32 stores them."""

    sampling: np.float32
    noise: np.float32
    coherence: np.float32
    edge: np.float32
    outline: DrawnOutline
    displacement: DrawnDisplacement

    def columns(self) -> dict[str, Any]:
        """Return all parameters by field, with those of outline and displacement."""
        body, phase = columns("outline_", self.outline), columns("displacement_", self.displacement)
        return columns("", self) | body | phase


def draw(recipe: Recipe, rng: Streams) -> Parameters:
    """The parameters of one sample, from the streams `optics`, `outline`, `displacement`."""
    edge = np.float32(recipe.edge.draw(rng.optics) / recipe.image_size)
    narrowest = recipe.narrowest / recipe.image_size
    body = outline.draw(recipe.outline, rng.outline, recipe.reach, float(edge), narrowest)
    return Parameters(
        sampling=np.float32(recipe.sampling),
        noise=np.float32(recipe.noise.draw(rng.optics)),
        coherence=np.float32(recipe.coherence.draw(rng.optics)),
        edge=edge,
        outline=body,
        displacement=displacement.draw(recipe.displacement, rng.displacement, recipe.reach, outline.disc(body)),
    )


def simulate(recipe: Recipe, block: Sequence[Parameters]) -> Arrays:
    """Objects, and the expected intensity (sample, qy, qx) of the finest pattern: it is measured, then not stored."""
    size = recipe.image_size
    shape = np.stack([outline.render(p.outline, size, size, float(p.edge)) for p in block])
    phase = np.stack([displacement.render(p.displacement, row) for p, row in zip(block, shape, strict=True)])
    moved = canonical(shape, phase)
    arrays = {} if recipe.canonical else dict(zip(("shape_canonical", "phase_canonical"), moved, strict=True))
    if recipe.canonical:
        shape, phase = moved
    return arrays | {"shape": shape, "phase": phase, INTENSITY: _patterns(recipe, block, shape, phase)}


def _patterns(recipe: Recipe, block: Sequence[Parameters], shape: np.ndarray, phase: np.ndarray) -> np.ndarray:
    wave = shape * (np.cos(phase) + 1j * np.sin(phase))
    intensity = amplitude(embed(wave, recipe.finest)) ** 2
    if not recipe.coherence.high:
        return intensity  # type: ignore[no-any-return]
    rows = zip(intensity, block, strict=True)
    return np.stack([partially_coherent(row, float(parameters.coherence)) for row, parameters in rows])


def measure(recipe: Recipe, block: Sequence[Parameters], arrays: Arrays, rngs: Sequence[Streams]) -> Arrays:
    """Counts, from the stream `noise`; what the detector sees; amplitudes."""
    expected = arrays[INTENSITY]
    rows = zip(expected, block, rngs, strict=True)
    found = np.sqrt(np.stack([_counted(row, float(p.noise), rng) for row, p, rng in rows]))
    if recipe.detector:
        found = found * recipe.detector.seen(recipe.finest)
    kept = {name: values for name, values in arrays.items() if name != INTENSITY}
    if recipe.oversampling == 1:
        return kept | {"amplitude_oversampled": found, "amplitude": np.ascontiguousarray(coarser(found, 2))}
    return kept | {"amplitude": found}


def _counted(intensity: np.ndarray, level: float, rng: Streams) -> np.ndarray:
    peak = intensity.max()
    if not level or not peak:
        return intensity
    return noise.shot(intensity / peak, noise.electrons_at(level), rng.noise) * peak  # type: ignore[no-any-return]


def constants(recipe: Recipe, rng: Streams) -> Arrays:
    """What the detector sees."""
    if recipe.detector is None:
        return {}
    seen = recipe.detector.seen(recipe.finest)
    if recipe.oversampling == 2:
        return {"seen": seen}
    return {"seen_oversampled": seen, "seen": np.ascontiguousarray(coarser(seen, 2))}
