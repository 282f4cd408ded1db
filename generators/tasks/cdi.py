"""Far-field diffraction patterns of isolated objects, to be inverted to shape and phase.

    amplitude = sqrt(I),   I = |F (shape exp(i phase))|^2

The outline and edge of an object and the phase within it are drawn (`generators.specimens.planar.outline`,
`.displacement`). The finest pattern is that of an object that takes at most half of the frame. It is blurred by the
source, counted, and masked by the detector.

oversampling 1: the object may take the whole image. The pattern of the image is then too coarse to be inverted by
iteration: it is every other pixel of `amplitude_oversampled`, from the same measurement. oversampling 2: the object
takes at most half of the image along each axis, and the pattern of the image is the finest.

A far field determines an object except for a constant phase, a shift and the twin. With canonical=true, the targets are
the one of these objects that `physics.wave_ambiguities.canonical_form` selects, so that a pattern has one answer to be
learned. With canonical=false, the targets are the object as drawn, and the selected one is stored beside it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Self

import numpy as np
from pydantic import Field, model_validator

from generators import recipe
from generators.contract import Arrays
from generators.instruments.detectors.blind_pixels import Detector
from generators.random_streams import Streams
from generators.specimens.draws import stored_parameters
from generators.specimens.planar import object_phase, outline
from generators.specimens.planar.object_phase import Displacement, DrawnDisplacement
from generators.specimens.planar.outline import DrawnOutline, Outline
from physics import noise
from physics.diffraction import amplitude, embed, partially_coherent, subsample
from physics.wave_ambiguities import canonical_form
from schemas.fields import object_phases, outlines
from schemas.runtime.ranges import Range, within
from schemas.runtime.settings import between, setting

VERSION = 2  # version 1 did not draw narrow hulls again
INTENSITY = "intensity"  # name of the intensity of the patterns, which is simulated and measured, but not stored


class Recipe(recipe.Recipe):
    """Every setting of the task."""

    image_size: int = Field(
        32, ge=8, le=2048, **setting("width and height of the image, and of the pattern for networks", "pixel")
    )
    oversampling: int = Field(
        1,
        ge=1,
        le=2,
        **setting("pattern pixels per pixel of the largest object, along each axis; 2: it takes half of the image"),
    )
    sampling: Annotated[float, within(0, above=True)] = Field(
        10.0, **setting("width of a pixel of the object: the scale of plots; patterns do not depend on it", "nm")
    )
    outline: Outline = Field(Outline(), **setting("outline of the object"))
    edge: Annotated[Range, within(0)] = between(
        1.0, 1.0, "blur of the outline, a standard deviation; 0: sharp", "pixel"
    )
    narrowest: Annotated[float, within(0)] = Field(
        2.2,  # from 3 / sqrt(2) on, a hull contains a disc of half a pixel's diagonal, and so a pixel centre
        **setting("minimum width of a hull; the points of a narrower one are drawn again, up to 20 times", "pixel"),
    )
    displacement: Displacement = Field(
        Displacement(), **setting("phase of the object (for a crystal, Q.u of the displacement u)")
    )
    canonical: bool = Field(
        True, **setting("true: targets are centred, have mean phase 0, and are a fixed choice of the two twins")
    )
    noise: Annotated[Range, within(0, 10)] = between(
        0.0,
        0.01,
        "shot noise as 1/sqrt(counts) of the brightest pixel, even if hidden: 0.01 means 10,000 counts; 0: no noise",
    )
    coherence: Annotated[Range, within(0, 100)] = between(
        0.0, 0.0, "blur of the finest pattern by partial coherence, a standard deviation", "pixel"
    )
    detector: Detector | None = Field(None, **setting("beamstop and gaps of the detector; none: it sees every pixel"))

    @model_validator(mode="after")
    def _check_edge_and_detector(self) -> Self:
        """Refuse an edge that does not fit into the frame, and a detector that sees nothing."""
        limit = self.reach * self.image_size / (2 * outline.EDGE_REACH)
        if self.edge.high > limit:
            raise ValueError(
                f"edge = {self.edge.high:g} pixel: must be at most {limit:g} for this image_size and oversampling; "
                "lower the edge, or raise image_size"
            )
        if self.detector and not self.detector.mask((self.image_size,) * 2).any():
            raise ValueError("detector.beamstop and detector.gaps hide every pixel; make them smaller")
        return self

    def sizes(self) -> dict[str, int]:
        """Return the lengths of the dimensions."""
        image = dict.fromkeys(("y", "x", "qy", "qx"), self.image_size)
        fine = dict.fromkeys(("fine_qy", "fine_qx"), self.finest_shape[0])
        return image | fine | outline.sizes(self.outline) | object_phase.sizes(self.displacement)

    def optional(self) -> frozenset[str]:
        """Return the optional fields that are stored."""
        drawn = {field.name for field in (*outlines.FIELDS, *object_phases.FIELDS)}
        oversampled = {"amplitude_oversampled"} if self.oversampling == 1 else set()
        canonical_fields = set() if self.canonical else {"shape_canonical", "phase_canonical"}
        masks = {name.replace("amplitude", "seen") for name in {"amplitude", *oversampled}} if self.detector else set()
        return frozenset(drawn | oversampled | canonical_fields | masks)

    @property
    def reach(self) -> float:
        """Largest distance of an object from the middle of the image [frame width]."""
        return 0.5 / self.oversampling

    @property
    def finest_shape(self) -> tuple[int, int]:
        """Pixels (qy, qx) of the finest pattern."""
        return (self.image_size * 2 // self.oversampling,) * 2


RECIPES: Mapping[str, Recipe] = {
    "default": Recipe(),
    # After Cherukara, Nashed and Harder (2018); use --n 180000 --validation 20000 --test 1000. Their numbers of
    # points, gratings and Gaussians are not published.
    "published": Recipe(canonical=False, noise=Range(low=0.0, high=0.0)),
}


@dataclass(frozen=True)
class Parameters:
    """The values drawn for one sample; floats are rounded to float32, as they are stored."""

    sampling: np.float32
    noise: np.float32
    coherence: np.float32
    edge: np.float32
    outline: DrawnOutline
    displacement: DrawnDisplacement

    def columns(self) -> dict[str, Any]:
        """Return all parameters by field, with those of outline and displacement."""
        body, phase = stored_parameters("outline_", self.outline), stored_parameters("displacement_", self.displacement)
        return stored_parameters("", self) | body | phase


def draw(recipe: Recipe, rng: Streams) -> Parameters:
    """Draw one sample, from the streams `optics`, `outline` and `displacement`.

    Args:
        recipe: the recipe of the dataset
        rng: the streams of the sample

    Returns:
        the parameters of the sample
    """
    edge = np.float32(recipe.edge.draw(rng.optics) / recipe.image_size)
    narrowest = recipe.narrowest / recipe.image_size
    body = outline.draw(recipe.outline, rng.outline, recipe.reach, float(edge), narrowest)
    disc = outline.bounding_disc(body)
    return Parameters(
        sampling=np.float32(recipe.sampling),
        noise=np.float32(recipe.noise.draw(rng.optics)),
        coherence=np.float32(recipe.coherence.draw(rng.optics)),
        edge=edge,
        outline=body,
        displacement=object_phase.draw(recipe.displacement, rng.displacement, recipe.reach, disc),
    )


def simulate(recipe: Recipe, block: Sequence[Parameters]) -> Arrays:
    """Return objects, and the expected intensity of their finest patterns.

    Args:
        recipe: the recipe of the dataset
        block: parameters of the samples

    Returns:
        shape and phase [rad] (sample, y, x); intensity (sample, qy, qx), which `measure` replaces by amplitudes
    """
    size = recipe.image_size
    shape = np.stack([outline.render(p.outline, size, size, float(p.edge)) for p in block])
    phase = np.stack([object_phase.render(p.displacement, row) for p, row in zip(block, shape, strict=True)])
    moved = canonical_form(shape, phase)
    arrays = {} if recipe.canonical else dict(zip(("shape_canonical", "phase_canonical"), moved, strict=True))
    if recipe.canonical:
        shape, phase = moved
    return arrays | {"shape": shape, "phase": phase, INTENSITY: _finest_patterns(recipe, block, shape, phase)}


def _finest_patterns(recipe: Recipe, block: Sequence[Parameters], shape: np.ndarray, phase: np.ndarray) -> np.ndarray:
    """Return the intensities of the finest patterns, blurred by the source if it is extended."""
    wave = shape * (np.cos(phase) + 1j * np.sin(phase))
    intensity = amplitude(embed(wave, recipe.finest_shape)) ** 2
    if not recipe.coherence.high:
        return intensity  # type: ignore[no-any-return]
    rows = zip(intensity, block, strict=True)
    return np.stack([partially_coherent(row, float(parameters.coherence)) for row, parameters in rows])


def measure(recipe: Recipe, block: Sequence[Parameters], arrays: Arrays, rngs: Sequence[Streams]) -> Arrays:
    """Apply counting noise (stream `noise`), mask pixels that the detector does not see, and return amplitudes.

    Args:
        recipe: the recipe of the dataset
        block: parameters of the samples
        arrays: the expectations, from `simulate`
        rngs: the streams of each sample

    Returns:
        all fields with a sample axis that are not parameters
    """
    expected = arrays[INTENSITY]
    rows = zip(expected, block, rngs, strict=True)
    amplitudes = np.sqrt(np.stack([_add_shot_noise(row, float(p.noise), rng) for row, p, rng in rows]))
    if recipe.detector:
        amplitudes = amplitudes * recipe.detector.mask(recipe.finest_shape)
    stored = {name: values for name, values in arrays.items() if name != INTENSITY}
    if recipe.oversampling == 1:
        coarse = np.ascontiguousarray(subsample(amplitudes, 2))
        return stored | {"amplitude_oversampled": amplitudes, "amplitude": coarse}
    return stored | {"amplitude": amplitudes}


def _add_shot_noise(intensity: np.ndarray, level: float, rng: Streams) -> np.ndarray:
    peak = intensity.max()
    if not level or not peak:
        return intensity
    return noise.add_shot_noise(intensity / peak, noise.electrons_at(level), rng.noise) * peak  # type: ignore[no-any-return]


def constants(recipe: Recipe, rng: Streams) -> Arrays:
    """Return the masks of the pixels that the detector sees; none without a detector.

    Args:
        recipe: the recipe of the dataset
        rng: unused; nothing here is random
    """
    if recipe.detector is None:
        return {}
    detector_mask = recipe.detector.mask(recipe.finest_shape)
    if recipe.oversampling == 2:
        return {"seen": detector_mask}
    return {"seen_oversampled": detector_mask, "seen": np.ascontiguousarray(subsample(detector_mask, 2))}
