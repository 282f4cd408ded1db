"""Pixel sizes as files of microscopes state them, in nm."""

import math

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
PRINTED = 1e4  # nm: wider pixels are dots of a printer (72 per inch), not those of a specimen


def nanometres(unit: object) -> float | None:
    """How many nm a unit is; None if it is no length.

    >>> nanometres("Microns"), nanometres("1/nm")
    (1000.0, None)
    """
    name = (
        str(unit).strip().replace("\\u00B5", "µ").replace("μ", "µ").replace("Å", "å").lower().replace("metre", "meter")
    )
    return NM.get(name, NM.get(name.removesuffix("s")))


def pixel(y: float, x: float, unit: object) -> dict[str, tuple[float, ...]]:
    """What pixels of y by x units say of `sampling` [nm]; empty if they say nothing.

    Pixels are square if they differ by less than 0.1 %.
    """
    scale = nanometres(unit)
    if scale is None or not all(math.isfinite(length) and length > 0 for length in (y, x)):
        return {}
    y, x = y * scale, x * scale
    square = {"sampling": (x,)} if abs(y - x) < 1e-3 * x else {}
    return {**square, "sampling_y": (y,), "sampling_x": (x,)}
