"""Conversion of the pixel sizes that microscope files state to nm."""

import math
import re

type Known = dict[str, tuple[float, ...]]

NM_PER_UNIT = {
    "pm": 1e-3,
    "picometer": 1e-3,
    "a": 0.1,
    "å": 0.1,
    "angstrom": 0.1,
    "nm": 1.0,
    "nanometer": 1.0,
    "um": 1e3,
    "µm": 1e3,
    "micron": 1e3,
    "micrometer": 1e3,
    "mm": 1e6,
    "millimeter": 1e6,
    "cm": 1e7,
    "centimeter": 1e7,
    "inch": 2.54e7,
    "m": 1e9,
    "meter": 1e9,
}
RADIANS_PER_UNIT = {"rad": 1.0, "radian": 1.0, "mrad": 1e-3, "milliradian": 1e-3, "µrad": 1e-6, "deg": math.pi / 180}
MIN_PRINTED_WIDTH = 1e4  # wider pixels [nm] are printer dots (72 per inch), not pixels of a specimen


SPELLINGS = {"\\u00b5": "µ", "\\xb5": "µ", "μ": "µ", "Å": "å", "⁻¹": "^-1", "**": "^", "metre": "meter"}


def nanometres(unit: object) -> float | None:
    """Return the length of a unit in nm; None if it is not a unit of length.

    >>> nanometres("Microns"), nanometres("[n_m]"), nanometres("1/nm")
    (1000.0, 1.0, None)
    """
    name = _normalise_unit(unit)
    return NM_PER_UNIT.get(name, NM_PER_UNIT.get(name.removesuffix("s")))


def _normalise_unit(unit: object) -> str:
    """Return a unit in small letters, without spaces, brackets and the underscores of Berkeley's EMD."""
    name = unit.decode(errors="replace") if isinstance(unit, bytes) else str(unit)
    name = re.sub(r"[\s_\[\]()]", "", name).lower()
    for theirs, ours in SPELLINGS.items():
        name = name.replace(theirs.lower(), ours.lower())
    return name


def pixel(y: float, x: float) -> Known:
    """Return the parameters `sampling` [nm] of an image; empty if there is no usable size.

    Pixels are taken as square if their sides differ by less than 0.1 %.

    Args:
        y: height of a pixel [nm].
        x: width of a pixel [nm].
    """
    if not all(math.isfinite(length) and length > 0 for length in (y, x)):
        return {}
    square = {"sampling": (x,)} if abs(y - x) < 1e-3 * x else {}
    return {**square, "sampling_y": (y,), "sampling_x": (x,)}


def frequency(unit: object, wavelength: float | None = None) -> float | None:
    """Return a unit of diffraction patterns in 1/nm; None if it is not such a unit, or an angle without wavelength.

    >>> frequency("1 / Å"), frequency("A^-1"), frequency("nm")
    (10.0, 10.0, None)

    Args:
        unit: a reciprocal length or an angle, as the file writes it.
        wavelength: [nm], needed for angles.
    """
    name = _normalise_unit(unit)
    angle = RADIANS_PER_UNIT.get(name, RADIANS_PER_UNIT.get(name.removesuffix("s")))
    if angle is not None:
        return None if wavelength is None else angle / wavelength
    below = name.removeprefix("1/")
    above = re.sub(r"\^?-1$", "", name)
    length = nanometres(below if above == name else above) if (below == name) != (above == name) else None
    return None if length is None else 1 / length


def is_pattern(unit: object) -> bool:
    """Return True if this is a unit of diffraction patterns."""
    return frequency(unit, 1.0) is not None
