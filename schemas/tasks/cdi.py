"""Shape and phase of an isolated object from its far-field diffraction pattern (coherent diffractive imaging)."""

from collections.abc import Mapping

import numpy as np

from physics.diffraction import amplitude, embed
from physics.optics import exit_wave
from schemas.fields.object_phases import FIELDS as DISPLACEMENT
from schemas.fields.outlines import FIELDS as OUTLINE
from schemas.grids import Ambiguities, Grid
from schemas.task import Field, Formula, Import, Task

OBJECT = ("sample", "y", "x")


def _parameter(name: str, units: str, about: str, *, optional: bool = False) -> Field:
    return Field(name, ("sample",), "float32", units, "parameter", about, optional=optional)


TASK = Task(
    name="cdi",
    version="1.0",
    about=__doc__,
    formula=(
        "amplitude = |F (shape exp(i phase))|, amplitude_oversampled = the same, object zero-padded to twice the size, "
        "F with exp(-2 pi i q.r), not normalised, q = 0 at pixel N//2; exact when noise=0 coherence=0 "
        "beamstop=0 gaps=none; with oversampling=1, amplitude is every other pixel of amplitude_oversampled"
    ),
    # exp(i phase) to a constant; the object anywhere; conj(object(-r))
    ambiguities=Ambiguities(("constant", "shift", "twin"), phases=("phase",), modulus="shape"),
    grids=(
        Grid(("y", "x"), ("sampling",)),
        Grid(("qy", "qx"), of=("y", "x"), how="reciprocal"),
        Grid(("fine_qy", "fine_qx")),
    ),
    fields=(
        Field("amplitude", ("sample", "qy", "qx"), "float32", "1", "input", "square root of the diffracted intensity"),
        Field(
            "amplitude_oversampled",
            ("sample", "fine_qy", "fine_qx"),
            "float32",
            "1",
            "input",
            "the same pattern at twice as many frequencies along each axis; iterative methods invert this one",
            optional=True,
        ),
        Field("shape", OBJECT, "float32", "1", "target", "modulus of the object, 0 to 1"),
        Field("phase", OBJECT, "float32", "rad", "target", "phase of the object; 0 where shape is 0"),
        Field("shape_canonical", OBJECT, "float32", "1", "auxiliary", "shape in canonical form", optional=True),
        Field("phase_canonical", OBJECT, "float32", "rad", "auxiliary", "phase in canonical form", optional=True),
        Field("seen", ("qy", "qx"), "uint8", "1", "auxiliary", "1 where the detector measures", optional=True),
        Field("seen_oversampled", ("fine_qy", "fine_qx"), "uint8", "1", "auxiliary", "1 where measured", optional=True),
        _parameter("sampling", "nm", "width of a square pixel of the object"),
        _parameter("noise", "1", "relative noise s of the brightest pixel, whose expected count is 1/s^2"),
        _parameter("coherence", "pixel", "standard deviation of the blur of the finest pattern by the source"),
        _parameter("edge", "frame width", "standard deviation of the blur of the outline"),
        *OUTLINE,
        *DISPLACEMENT,
    ),
)


def _inputs(fields: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the patterns that `TASK.formula` gives."""
    wave = exit_wave(fields["phase"], fields["shape"])
    found = {"amplitude": amplitude(wave)}
    if "amplitude_oversampled" in fields:
        ny, nx = wave.shape[-2:]
        found["amplitude_oversampled"] = amplitude(embed(wave, (2 * ny, 2 * nx)))
    return found


FORMULA = Formula(_inputs, exact=("noise=0", "coherence=0", "detector=none"))

IMPORT = Import(
    roots=("amplitude", "amplitude_oversampled"),
    masks={"amplitude": "seen", "amplitude_oversampled": "seen_oversampled"},
)
