"""Conversion of the pixel sizes that microscope files state to nm."""

import math

type Known = dict[str, tuple[float, ...]]

NM = {
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
RADIANS = {"rad": 1.0, "radian": 1.0, "mrad": 1e-3, "milliradian": 1e-3}
PRINTED = 1e4  # wider pixels [nm] are printer dots (72 per inch), not pixels of a specimen


def nanometres(unit: object) -> float | None:
    """Return the length of a unit in nm; None if it is not a unit of length.

    >>> nanometres("Microns"), nanometres("1/nm")
    (1000.0, None)
    """
    name = (
        str(unit).strip().replace("\\u00B5", "µ").replace("μ", "µ").replace("Å", "å").lower().replace("metre", "meter")
    )
    return NM.get(name, NM.get(name.removesuffix("s")))


def pixel(y: float, x: float, unit: object) -> Known:
    """Return the parameters `sampling` [nm] of an image; empty if the file states no usable size.

    Pixels are taken as square if their sides differ by less than 0.1 %.

    Args:
        y: height of a pixel in `unit`.
        x: width of a pixel in `unit`.
        unit: unit of length, as the file writes it.
    """
    scale = nanometres(unit)
    if scale is None or not all(math.isfinite(length) and length > 0 for length in (y, x)):
        return {}
    y, x = y * scale, x * scale
    square = {"sampling": (x,)} if abs(y - x) < 1e-3 * x else {}
    return {**square, "sampling_y": (y,), "sampling_x": (x,)}


def pattern(y: float, x: float, unit: object, shape: tuple[int, ...], wavelength: float | None) -> Known:
    """Return the parameters `sampling` [nm] of the wave behind a diffraction pattern, as `pixel` does.

        d = 1 / (n f) = wavelength / (n angle)

    Args:
        y: height of a pixel in `unit`.
        x: width of a pixel in `unit`.
        unit: a reciprocal length or an angle, as the file writes it.
        shape: shape of the pattern (..., ny, nx).
        wavelength: [nm], needed for angles.
    """
    scale = frequency(unit, wavelength)
    if scale is None or not all(math.isfinite(width) and width > 0 for width in (y, x)):
        return {}
    return pixel(1 / (shape[-2] * y * scale), 1 / (shape[-1] * x * scale), "nm")


def frequency(unit: object, wavelength: float | None = None) -> float | None:
    """Return a unit of diffraction patterns in 1/nm; None if it is not such a unit, or an angle without wavelength.

    >>> frequency("1 / Å"), frequency("A^-1"), frequency("nm")
    (10.0, 10.0, None)

    Args:
        unit: a reciprocal length or an angle, as the file writes it.
        wavelength: [nm], needed for angles.
    """
    name = str(unit).replace(" ", "")
    if name.lower() in RADIANS:
        return None if wavelength is None else RADIANS[name.lower()] / wavelength
    length = (
        nanometres(name.removeprefix("1/").removesuffix("^-1"))
        if name.startswith("1/") != name.endswith("^-1")
        else None
    )
    return None if length is None else 1 / length


def is_pattern(unit: object) -> bool:
    """Return True if this is a unit of diffraction patterns."""
    return frequency(unit, 1.0) is not None
