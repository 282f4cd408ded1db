"""Phase of an object under a focused electron probe from diffraction patterns (4D-STEM), singly or in whole scans."""

from collections.abc import Mapping

import numpy as np

from physics.diffraction import amplitude
from physics.probe import shift_wave
from schemas.exchange import scan_checks
from schemas.exchange.raw_data import Raster
from schemas.fields.illuminated_patches import ENLARGEMENT, illuminated_mask
from schemas.fields.lattices import FIELDS as LATTICE
from schemas.fields.picture_views import FIELDS as PICTURE
from schemas.fields.textures import FIELDS as TEXTURE
from schemas.formats.image import Known
from schemas.grids import Ambiguities, Grid
from schemas.runtime.errors import UserError
from schemas.task import DType, Field, Formula, Import, Task

PATTERN = ("sample", "qy", "qx")

type Arrays = dict[str, np.ndarray]


def _parameter(
    name: str,
    units: str,
    about: str,
    *,
    optional: bool = False,
    dtype: DType = "float32",
) -> Field:
    return Field(name, ("sample",), dtype, units, "parameter", about, optional=optional)


TASK = Task(
    name="stem4d",
    version="1.1",
    about=__doc__,
    formula=(
        "amplitude = sqrt(dose) |F (P O)|, O = exp((i - object_absorption) phase_patch), sum |F probe|^2 = 1, F with "
        "exp(-2 pi i q.r), not normalised, q = 0 at pixel N//2; P is probe, in scans moved (Fourier's shift) by what "
        "position / sampling lacks to the nearest whole pixel (halves upwards), at which phase_patch is cut from "
        "object with its pixel N//2; exact when noise=0. phase = mask times the middle quarter (n/4 of n pixels along "
        "each side, pixel N//2 on pixel N//2) of phase_patch, in scans of the cubic spline through object about "
        f"position, each pixel repeated {ENLARGEMENT} times along y and x; mask = 1 where |probe|^2 > 0.16 max, "
        "enlarged likewise"
    ),
    ambiguities=Ambiguities(("constant",), phases=("phase",)),
    window="mask",
    grids=(
        Grid(("y", "x")),
        Grid(("qy", "qx"), of=("y", "x"), how="reciprocal"),
        Grid(("py", "px"), ("sampling",), of=("qy", "qx"), how="reciprocal"),
        Grid(("oy", "ox"), ("sampling",)),
    ),
    fields=(
        Field("amplitude", PATTERN, "float32", "1", "input", "square root of the electrons counted at each pixel"),
        Field("phase", ("sample", "y", "x"), "float32", "rad", "target", "object's phase where the probe is bright"),
        Field("phase_patch", ("sample", "py", "px"), "float32", "rad", "auxiliary", "whole patch", optional=True),
        Field("amplitude_expected", PATTERN, "float32", "1", "auxiliary", "amplitude without noise", optional=True),
        Field("mask", ("y", "x"), "float32", "1", "auxiliary", "1 where the probe is bright", optional=True),
        Field("probe", ("py", "px"), "complex64", "1", "auxiliary", "wave at the specimen's plane", optional=True),
        Field("object", ("scan", "oy", "ox"), "float32", "rad", "auxiliary", "phase of whole scans", optional=True),
        _parameter("dose", "electron", "expected electrons in a pattern of a pure phase object"),
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
            "(y, x) of the probe's origin (its pixel N//2) in the object, from the middle of the object's pixel 0",
            optional=True,
        ),
        _parameter("scan", "1", "number of the scan", optional=True, dtype="int32"),
        _parameter("step", "nm", "distance between neighbouring positions of the scan's raster", optional=True),
        *TEXTURE,
        *LATTICE,
        *PICTURE,
    ),
)


def _inputs(fields: Mapping[str, np.ndarray]) -> Arrays:
    """Return the patterns that `TASK.formula` gives."""
    place = fields["position"].astype(float) / fields["sampling"][:, None]
    probes = shift_wave(fields["probe"], place - np.floor(place + 0.5))
    absorption = np.asarray(fields.get("object_absorption", 0.0))
    wave = probes * np.exp((1j - absorption.reshape(-1, 1, 1)) * fields["phase_patch"])
    return {"amplitude": np.sqrt(fields["dose"])[:, None, None] * amplitude(wave)}


FORMULA = Formula(_inputs, exact=("noise=0", "phase_patch=true"))


def _complete_measurement(arrays: Arrays, stated: Mapping[str, Known]) -> Arrays:
    """Return the arrays that a measurement lacks: the probe with total power 1, its mask, and the number of the scan.

    Args:
        arrays: the known arrays, by field.
        stated: metadata of the files of the arrays that were given by name.

    Raises:
        UserError: patterns, probe, positions and object do not fit together.
    """
    n = arrays["amplitude"].shape[-1]
    if arrays["amplitude"].shape[-2] != n or n % ENLARGEMENT:
        raise UserError(
            f"patterns of {arrays['amplitude'].shape[1:]} pixels: must be square, and a multiple of 4 wide; crop them"
        )
    for name in ("probe", "object"):
        scan_checks.refuse_stated_sampling(name, stated.get(name, {}).get("sampling"), arrays["sampling"])
    probe = _normalise_probe(arrays, n) if "probe" in arrays else {}
    return probe | (_number_scans({**arrays, **probe}, stated, n) if "position" in arrays else {})


def _normalise_probe(arrays: Arrays, n: int) -> Arrays:
    """Return the probe scaled to a total power of 1, and its mask."""
    probe = arrays["probe"]
    power = float((abs(probe.astype(complex)) ** 2).sum()) * n**2
    if not power:
        raise UserError("probe: is 0 everywhere; give a probe with its origin at pixel N//2")
    scaled = (probe / np.sqrt(power)).astype(np.complex64)
    window = arrays.get("mask", illuminated_mask(scaled))
    if not window.any():
        raise UserError("probe: is dark in the middle of the array; centre it on pixel N//2")
    scan_checks.refuse_other_disk(arrays["amplitude"], scaled)
    return {"probe": scaled, "mask": window}


def _number_scans(arrays: Arrays, stated: Mapping[str, Known], n: int) -> Arrays:
    """Return the number of the scan for each position, after checks of the positions."""
    position, sampling = arrays["position"], arrays["sampling"]
    if position.shape[1:] != (2,):
        raise UserError(f"position: shape {position.shape}, must be (sample, 2): y and x in nm")
    scan = arrays.get("scan", np.zeros(len(position), np.int32))
    if "position" in stated:  # positions from a raster need no check: its file states their unit
        scan_checks.refuse_apart(position, scan, sampling, _patch_width(arrays.get("mask"), n))
    if "object" in arrays:
        scan_checks.refuse_outside(position, scan, sampling, arrays["object"], n)
    return {"scan": scan}


def _patch_width(window: np.ndarray | None, n: int) -> int:
    """Return the width of a patch in pixels of the object: of the window if there is one."""
    if window is None:
        return n // ENLARGEMENT
    sides = (np.flatnonzero(window.any(axis=axis)) for axis in (0, 1))
    return int(max(np.ptp(side) + 1 for side in sides)) // ENLARGEMENT


IMPORT = Import(
    needs=("voltage", "sampling"),
    roots=("amplitude",),
    usual={"voltage": (1e4, 1.3e6), "sampling": (2e-3, 2.0)},
    raster=Raster(position="position", scan="scan"),
    complete=_complete_measurement,
    follows={"mask": "probe", "scan": "position"},
)
