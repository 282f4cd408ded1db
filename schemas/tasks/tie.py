"""Phase at the exit surface of a specimen from a through-focus series of micrographs."""

from schemas.core import Field, Task
from schemas.particles import FIELDS as PARTICLE

IMAGE = ("sample", "y", "x")
SERIES = ("sample", "plane", "y", "x")

TASK = Task(
    name="tie",
    version="1.0",
    about=__doc__,
    formula=(
        "intensity[plane] = |F^-1 exp(-i pi lambda defocus[plane] |f|^2) F (amplitude exp(i phase))|^2, "
        "lambda the relativistic wavelength at `voltage`, F with exp(-2 pi i f.x) on the periodic image; exact when "
        "noise=0 misalignment=none window=none supersampling=1"
    ),
    gauge=("constant",),  # no intensity reveals it; scores are given as they are and after alignment
    window="window",
    measured=("defocus", "voltage", "sampling"),
    beam="intensity",
    fields=(
        Field("intensity", SERIES, "float32", "1", "input", "image relative to the incident beam, planes as `defocus`"),
        Field("phase", IMAGE, "float32", "rad", "target", "phase at the exit surface, + sigma V t, not wrapped"),
        Field("amplitude", IMAGE, "float32", "1", "auxiliary", "modulus of the exit wave, exp(- sigma V' t)"),
        Field("intensity_expected", SERIES, "float32", "1", "auxiliary", "image at infinite dose", optional=True),
        Field("window", ("y", "x"), "float32", "1", "auxiliary", "apodisation of `intensity` and `phase`"),
        Field("defocus", ("sample", "plane"), "float32", "nm", "parameter", "z of image planes, positive downstream"),
        Field("voltage", ("sample",), "float32", "V", "parameter", "accelerating voltage"),
        Field("sampling", ("sample",), "float32", "nm", "parameter", "width of a square pixel"),
        Field("noise", ("sample",), "float32", "1", "parameter", "fractional noise s: 1/s^2 electrons a vacuum pixel"),
        Field("potential", ("sample",), "float32", "V", "parameter", "mean inner potential V"),
        Field("absorption", ("sample",), "float32", "V", "parameter", "absorptive potential V'"),
        Field("rotation", ("sample", "plane"), "float32", "rad", "parameter", "misalignment: turn about the centre"),
        Field("scale", ("sample", "plane"), "float32", "1", "parameter", "misalignment: magnification"),
        Field("shift_y", ("sample", "plane"), "float32", "nm", "parameter", "misalignment: displacement along y"),
        Field("shift_x", ("sample", "plane"), "float32", "nm", "parameter", "misalignment: displacement along x"),
        Field(
            "item", ("sample",), "int32", "1", "parameter", "specimen file, by its place in the recipe", optional=True
        ),
        Field("turn", ("sample",), "uint8", "1", "parameter", "rotation of the file's cube", optional=True),
        Field(
            "orientation", ("sample", "component"), "float32", "1", "parameter", "rotation, quaternion", optional=True
        ),
        *PARTICLE,
    ),
)
