"""Phase under a focused electron probe from its diffraction pattern (4D-STEM): single patterns, and whole scans."""

from schemas.core import DType, Field, Task
from schemas.lattices import FIELDS as LATTICE
from schemas.pictures import FIELDS as PICTURE
from schemas.textures import FIELDS as TEXTURE
from schemas.windows import ENLARGED

PATTERN = ("sample", "qy", "qx")


def _parameter(name: str, units: str, about: str, *, optional: bool = False, dtype: DType = "float32") -> Field:
    return Field(name, ("sample",), dtype, units, "parameter", about, optional=optional)


TASK = Task(
    name="stem4d",
    version="1.0",
    about=__doc__,
    formula=(
        "amplitude = sqrt(dose) |F (P O)|, O = exp((i - object_absorption) phase_patch), sum |F probe|^2 = 1, F with "
        "exp(-2 pi i q.r), not normalised, q = 0 at pixel N//2; P is probe, in scans moved (Fourier's shift) by what "
        "position / sampling lacks to the nearest whole pixel (halves upwards), at which phase_patch is cut from "
        "object with its pixel N//2; exact when noise=0. phase = mask times the middle quarter (n/4 of n pixels along "
        "each side, pixel N//2 on pixel N//2) of phase_patch, in scans of the cubic spline through object about "
        f"position, each pixel repeated {ENLARGED} times along y and x; mask = 1 where |probe|^2 > 0.16 max, enlarged "
        "likewise"
    ),
    gauge=("constant",),
    window="mask",
    measured=("voltage", "sampling"),
    fields=(
        Field("amplitude", PATTERN, "float32", "1", "input", "square root of the electrons counted at each pixel"),
        Field("phase", ("sample", "y", "x"), "float32", "rad", "target", "of the object, where the probe is bright"),
        Field("phase_patch", ("sample", "py", "px"), "float32", "rad", "auxiliary", "under all of it", optional=True),
        Field("amplitude_expected", PATTERN, "float32", "1", "auxiliary", "without noise", optional=True),
        Field("mask", ("y", "x"), "float32", "1", "auxiliary", "1 where the probe is bright"),
        Field("probe", ("py", "px"), "complex64", "1", "auxiliary", "in the plane of the specimen", optional=True),
        Field("object", ("scan", "oy", "ox"), "float32", "rad", "auxiliary", "phase of whole scans", optional=True),
        _parameter("dose", "electron", "in a pattern, behind a pure phase object"),
        _parameter("voltage", "V", "accelerating voltage"),
        _parameter("sampling", "nm", "width of a square pixel of the object (four of those of `phase`)"),
        _parameter("object_range", "rad", "phase of a white pixel relative to a black one", optional=True),
        _parameter("object_absorption", "1", "ratio k of the amplitude exp(-k phase)", optional=True),
        Field(
            "position",
            ("sample", "axis"),
            "float32",
            "nm",
            "parameter",
            "y and x in its object, from the middle of pixel 0, of the origin of the probe, its pixel N//2",
            optional=True,
        ),
        _parameter("scan", "1", "number of the scan", optional=True, dtype="int32"),
        *TEXTURE,
        *LATTICE,
        *PICTURE,
    ),
)
