"""Phase at the exit surface of a specimen from a through-focus series of micrographs."""

from schemas.fields.films import FIELDS as FILM
from schemas.fields.particles import FIELDS as PARTICLE
from schemas.grids import Ambiguities, Grid
from schemas.task import Field, Import, Task

IMAGE = ("sample", "y", "x")
SERIES = ("sample", "plane", "y", "x")
PLANES = ("sample", "plane")

COMPONENTS = ("total", "electrostatic", "magnetic")  # the field `phase_component` holds a position in this list

_POSE = (
    ("rotation", "rad", "turn about the centre"),
    ("scale", "1", "magnification"),
    ("shift_y", "nm", "displacement along y"),
    ("shift_x", "nm", "displacement along x"),
)


def _optional(name: str, dims: tuple[str, ...], units: str, about: str) -> Field:
    return Field(name, dims, "float32", units, "parameter", about, optional=True)


def _measured(name: str, dims: tuple[str, ...], units: str, about: str) -> Field:
    return Field(name, dims, "float32", units, "parameter", about)


TASK = Task(
    name="tie",
    version="1.1",
    about=__doc__,
    formula=(
        "intensity[plane] = |F^-1 exp(-i pi lambda defocus[plane] |f|^2) F (amplitude exp(i phi))|^2, "
        "lambda the relativistic wavelength at `voltage`, F with exp(-2 pi i f.x) on the periodic image; phi is "
        "phase_exit, phase_total or phase, the first of them that is stored; for intensity_flipped, with slices=1, "
        "phase_total - 2 phase_magnetic; exact when "
        "noise=0 misalignment=none window=none supersampling=1 padding=1 in_focus=measured"
    ),
    ambiguities=Ambiguities(("constant",), phases=("phase",)),  # no intensity reveals it
    grids=(Grid(("y", "x"), ("sampling",)),),
    window="window",
    fields=(
        Field("intensity", SERIES, "float32", "1", "input", "image relative to the incident beam, planes as `defocus`"),
        Field(
            "intensity_flipped", SERIES, "float32", "1", "input", "of the specimen turned over, mirrored", optional=True
        ),
        Field("phase_retrieved", IMAGE, "float32", "rad", "input", "found by a classical method", optional=True),
        Field(
            "phase",
            IMAGE,
            "float32",
            "rad",
            "target",
            "projected: + sigma V t - (e / hbar) int A_z dz, not wrapped",
        ),
        Field("phase_total", IMAGE, "float32", "rad", "auxiliary", "electrostatic and magnetic", optional=True),
        Field("phase_magnetic", IMAGE, "float32", "rad", "auxiliary", "- (e / hbar) int A_z dz", optional=True),
        Field("phase_exit", IMAGE, "float32", "rad", "auxiliary", "of the exit wave, unwrapped", optional=True),
        Field("amplitude", IMAGE, "float32", "1", "auxiliary", "of the exit wave; projected: exp(- sigma V' t)"),
        Field("intensity_expected", SERIES, "float32", "1", "auxiliary", "image at infinite dose", optional=True),
        Field("window", ("y", "x"), "float32", "1", "auxiliary", "apodisation of `intensity` and `phase`"),
        Field("phase_component", (), "uint8", "1", "auxiliary", f"what `phase` is: of {COMPONENTS}", optional=True),
        _measured("defocus", PLANES, "nm", "z of image planes, positive downstream"),
        _measured("voltage", ("sample",), "V", "accelerating voltage"),
        _measured("sampling", ("sample",), "nm", "width of a square pixel"),
        Field("noise", ("sample",), "float32", "1", "parameter", "fractional noise s: 1/s^2 electrons a vacuum pixel"),
        _optional("potential", ("sample",), "V", "mean inner potential V"),
        _optional("absorption", ("sample",), "V", "absorptive potential V'"),
        *(Field(name, PLANES, "float32", unit, "parameter", f"misalignment: {about}") for name, unit, about in _POSE),
        *(_optional(f"{name}_flipped", PLANES, unit, f"of the flipped series: {about}") for name, unit, about in _POSE),
        _optional("mass_magnetisation", ("sample",), "emu/g", "magnetisation per mass"),
        _optional("density", ("sample",), "g/cm^3", "of the specimen: M [A/m] = 1000 mass_magnetisation density"),
        _optional("magnetisation_direction", ("sample", "axis"), "1", "unit vector (z, y, x)"),
        Field("item", ("sample",), "int32", "1", "parameter", "file, by its place in the recipe", optional=True),
        Field("turn", ("sample",), "uint8", "1", "parameter", "rotation of the file's cube", optional=True),
        _optional("orientation", ("sample", "component"), "1", "rotation, quaternion"),
        *PARTICLE,
        *FILM,
    ),
)

IMPORT = Import(
    needs=("defocus", "voltage", "sampling"),
    beam="intensity",
    distinct=("defocus",),
    usual={"defocus": (1.0, 1e7), "voltage": (1e4, 5e6), "sampling": (1e-3, 1e3)},
)
