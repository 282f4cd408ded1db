"""Phase at the exit surface of a specimen from a through-focus series of micrographs."""

from collections.abc import Mapping

import numpy as np

from physics.electron import wavelength
from physics.optics import exit_wave, intensity, propagate
from schemas.fields.films import FIELDS as FILM
from schemas.fields.particles import FIELDS as PARTICLE
from schemas.grids import Ambiguities, Grid
from schemas.task import Field, Formula, Import, Task

IMAGE = ("sample", "y", "x")
SERIES = ("sample", "plane", "y", "x")
PLANES = ("sample", "plane")

COMPONENTS = ("total", "electrostatic", "magnetic")  # values 0, 1, 2 of the field `phase_component`

_POSE = (
    ("rotation", "rad", "rotation about the centre"),
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
    ambiguities=Ambiguities(("constant",), phases=("phase",)),  # no intensity depends on a constant phase
    grids=(Grid(("y", "x"), ("sampling",)),),
    window="window",
    fields=(
        Field("intensity", SERIES, "float32", "1", "input", "images relative to the beam, in the order of `defocus`"),
        Field("intensity_flipped", SERIES, "float32", "1", "input", "the flipped specimen, mirrored", optional=True),
        Field("phase_retrieved", IMAGE, "float32", "rad", "input", "result of a classical method", optional=True),
        Field(
            "phase",
            IMAGE,
            "float32",
            "rad",
            "target",
            "projected phase + sigma V t - (e / hbar) int A_z dz, not wrapped",
        ),
        Field("phase_total", IMAGE, "float32", "rad", "auxiliary", "electrostatic plus magnetic", optional=True),
        Field("phase_magnetic", IMAGE, "float32", "rad", "auxiliary", "- (e / hbar) int A_z dz", optional=True),
        Field("phase_exit", IMAGE, "float32", "rad", "auxiliary", "phase of the exit wave, unwrapped", optional=True),
        Field("amplitude", IMAGE, "float32", "1", "auxiliary", "exit wave's amplitude; projected: exp(- sigma V' t)"),
        Field("intensity_expected", SERIES, "float32", "1", "auxiliary", "images at infinite dose", optional=True),
        Field("window", ("y", "x"), "float32", "1", "auxiliary", "apodisation of `intensity` and `phase`"),
        Field("phase_component", (), "uint8", "1", "auxiliary", f"component in `phase`: {COMPONENTS}", optional=True),
        _measured("defocus", PLANES, "nm", "z of the image planes; positive: downstream of the specimen"),
        _measured("voltage", ("sample",), "V", "accelerating voltage"),
        _measured("sampling", ("sample",), "nm", "width of a square pixel"),
        Field("noise", ("sample",), "float32", "1", "parameter", "shot noise: 1/sqrt(electrons per vacuum pixel)"),
        _optional("potential", ("sample",), "V", "mean inner potential V"),
        _optional("absorption", ("sample",), "V", "absorptive potential V'"),
        *(Field(name, PLANES, "float32", unit, "parameter", f"misalignment: {about}") for name, unit, about in _POSE),
        *(_optional(f"{name}_flipped", PLANES, unit, f"flipped series: {about}") for name, unit, about in _POSE),
        _optional("mass_magnetisation", ("sample",), "emu/g", "magnetisation per mass"),
        _optional("density", ("sample",), "g/cm^3", "mass density; M [A/m] = 1000 mass_magnetisation density"),
        _optional("magnetisation_direction", ("sample", "axis"), "1", "unit vector (z, y, x)"),
        Field("item", ("sample",), "int32", "1", "parameter", "position of the file in the recipe", optional=True),
        Field("turn", ("sample",), "uint8", "1", "parameter", "rotation of the file's cube", optional=True),
        _optional("orientation", ("sample", "component"), "1", "rotation as a quaternion"),
        *PARTICLE,
        *FILM,
    ),
)


def _inputs(fields: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the images that `TASK.formula` gives."""
    exit_phase = next(fields[name] for name in ("phase_exit", "phase_total", "phase") if name in fields)
    optics = wavelength(fields["voltage"])[:, None], fields["defocus"], fields["sampling"][:, None]

    def images(phase: np.ndarray) -> np.ndarray:
        wave = exit_wave(phase, fields["amplitude"])[:, None]
        return intensity(propagate(wave, *optics))  # type: ignore[no-any-return]

    found = {"intensity": images(exit_phase)}
    if "intensity_flipped" in fields:
        found["intensity_flipped"] = images(fields["phase_total"] - 2 * fields["phase_magnetic"])
    return found


FORMULA = Formula(
    _inputs,
    exact=("noise=0", "misalignment=none", "window=none", "supersampling=1", "padding=1", "in_focus=measured"),
)

IMPORT = Import(
    needs=("defocus", "voltage", "sampling"),
    beam="intensity",
    distinct=("defocus",),
    usual={"defocus": (1.0, 1e7), "voltage": (1e4, 5e6), "sampling": (1e-3, 1e3)},
)
