"""Geometry of a scan in a MATLAB struct, as the Helsinki tomography laboratory writes it beside its projections.

The laboratory reconstructs with `astra-toolbox`, so the axis y of its images points up.
"""

from pathlib import Path

import numpy as np

from schemas.formats.image import Beside
from schemas.runtime.errors import UserError

PARAMETERS = "parameters"  # field of the struct that holds the geometry, a struct itself
LENGTHS = {  # names of the lengths, ours and theirs
    "source_to_axis": "distanceSourceOrigin",
    "source_to_detector": "distanceSourceDetector",
    "detector_pixel": "pixelSizePost",
}
FAN = "Cone"  # with one row of the detector


def geometry(path: Path, stored: np.ndarray | None) -> dict[str, Beside]:
    """Return the angles [unit not stated] and the lengths of a fan beam; nothing if they are not stated.

    Args:
        path: the file, for messages.
        stored: the struct of parameters, as SciPy reads it; or None.

    Raises:
        UserError: the struct states a geometry that is neither parallel nor a fan.
    """
    names = (stored.dtype.names or ()) if stored is not None else ()
    if stored is None or stored.size != 1 or "angles" not in names:
        return {}
    found = {name: np.asarray(stored[name].item()) for name in names}
    beside = {"rotation": Beside(np.asarray(found["angles"], np.float64).reshape(-1))}
    kind = _text(found.get("geometryType"))
    if kind == FAN:
        unit = _text(found.get("distanceUnit")) or "mm"
        lengths = {ours: found[theirs] for ours, theirs in LENGTHS.items() if theirs in found}
        if len(lengths) < len(LENGTHS) or any(value.size != 1 for value in lengths.values()):
            raise UserError(f"{path}: a fan beam needs {', '.join(LENGTHS.values())} in its {PARAMETERS}; add them")
        beside |= {name: Beside(np.asarray(value, np.float64).reshape(1), unit) for name, value in lengths.items()}
    elif kind.lower() not in ("", "parallel"):
        raise UserError(f"{path}: states the geometry {kind}; only {FAN} and parallel are known; rebin the projections")
    return beside


def _text(value: np.ndarray | None) -> str:
    return str(value.reshape(-1)[0]) if value is not None and value.size else ""
