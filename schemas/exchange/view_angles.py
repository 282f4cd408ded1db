"""Angles of views in rad: as given, as a file states them, or inferred from their range; a wrong unit is refused."""

from pathlib import Path

import numpy as np

from schemas.formats.image import Beside
from schemas.formats.pixel_sizes import RADIANS_PER_UNIT

DEGREE = np.pi / 180
MAX_RADIANS = 2.1 * np.pi  # angles up to this value are taken as rad, if no unit is stated
MAX_TURNS = 4  # largest range of angles in turns
TURN_TOLERANCE = 0.02  # relative difference below which a range is that of half a turn or a turn


def read_angles(path: Path, shape: tuple[int, ...], given: str, found: Beside | None) -> tuple[np.ndarray, list[str]]:
    """Return one angle [rad] for each view, and warnings.

    Args:
        path: the file, for messages.
        shape: of the projections, (angle, row, detector).
        given: FIRST:LAST [degree] of evenly spaced views, both included; empty: as in the file.
        found: the angles that belong to the projections, in any order, and their unit.

    Raises:
        ValueError: there are no angles, or their number or unit is wrong.
    """
    if given:
        return np.linspace(*_bounds(given), shape[0]) * DEGREE, []
    if found is None:
        raise ValueError("states no angles; give --set angles=0:180 (degrees, both included) or --from rotation=FILE")
    values = np.asarray(found.values, np.float64).reshape(-1)
    if len(values) != shape[0]:
        names = ("angle", "sample", "detector")
        fits = [name for name, length in zip(names, shape, strict=True) if length == len(values) and name != "angle"]
        hint = f"; its axis {fits[0]} has this length: transposed? name the axes with --axes" if fits else ""
        axes = ", ".join(f"{name} {length}" for name, length in zip(names, shape, strict=True))
        raise ValueError(f"{len(values)} angles for {shape[0]} views ({axes}); give one angle per view{hint}")
    if not np.isfinite(values).all():
        raise ValueError("some angles are not finite numbers; correct them, or leave these views out")
    return _to_radians(values, found.unit)


def _bounds(text: str) -> tuple[float, float]:
    first, colon, last = text.partition(":")
    try:
        bounds = float(first), float(last)
    except ValueError:
        bounds = (np.nan, np.nan)
    if not (colon and np.isfinite(bounds).all()):
        raise ValueError(f"angles = {text}: must be FIRST:LAST in degrees, for example 0:180")
    return bounds


def _to_radians(values: np.ndarray, unit: str) -> tuple[np.ndarray, list[str]]:
    """Return angles in rad. Refuse a unit that their range contradicts, and infer it if there is none."""
    name = unit.strip().lower()
    scale = RADIANS_PER_UNIT.get(name, RADIANS_PER_UNIT.get(name.removesuffix("s").replace("degree", "deg")))
    span = float(np.ptp(values))
    if not name:
        scale = 1.0 if float(abs(values).max()) <= MAX_RADIANS else DEGREE
        note = f"warning: angles from {values.min():g} to {values.max():g} without a unit are taken as "
        return values * scale, [note + ("rad" if scale == 1.0 else "degrees")]
    if scale is None:
        raise ValueError(f"angles in {unit}: must be in degrees or rad; convert them, or give --set angles=FIRST:LAST")
    step = span / max(len(values) - 1, 1)
    turns = [(span + extra) / np.pi for extra in (0.0, step)]
    if scale == DEGREE and len(values) > 2 and any(abs(t - n) < TURN_TOLERANCE * n for t in turns for n in (1, 2)):
        raise ValueError(
            f"angles over {span:g} degrees look like rad; correct the unit, or give --set angles=FIRST:LAST"
        )
    if span * scale > MAX_TURNS * 2 * np.pi:
        raise ValueError(
            f"angles over {span:g} {unit}: must be less than {MAX_TURNS} turns; correct the unit, or give --set "
            "angles=FIRST:LAST"
        )
    return values * scale, []
